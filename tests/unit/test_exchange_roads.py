"""Which road is taken, from what is at hand; what is said of it; who must say yes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from exoscope.exchange import trying
from exoscope.exchange.roads import Choice, Tried, choose, not_approved, settled
from exoscope.outcome import BadInput, Refused
from exoscope.powershell.child import command_of, programs
from exoscope.profile import AdminApiRoad, LocalPwsh, Profile, loads_profile

GOOD = Tried("/usr/bin/pwsh", "7.6.1", "3.10.1")
OLD = Tried("/usr/bin/pwsh", why="the module was not loaded")
WINDOWS = Tried(r"C:\Windows\powershell.exe", "5.1.26100.1", "3.9.2")
BARE_WINDOWS = Tried(r"C:\Windows\powershell.exe", why="it did not load the module within 120 s")


@pytest.mark.parametrize(
    ("tried", "program", "words"),
    [
        ((GOOD,), GOOD.program, "/usr/bin/pwsh (PowerShell 7.6.1) loads ExchangeOnlineManagement 3.10.1"),
        ((GOOD, WINDOWS), GOOD.program, "3.10.1"),
        ((OLD, WINDOWS), WINDOWS.program, "3.9.2, not so /usr/bin/pwsh: the module was not loaded"),
        ((WINDOWS,), WINDOWS.program, "PowerShell 5.1.26100.1"),
    ],
)
def test_a_powershell_that_loads_the_module_is_taken_the_first_of_them(
    tried: Sequence[Tried], program: str, words: str
) -> None:
    choice = choose(tried)
    assert choice.transport == LocalPwsh(kind="pwsh", path=Path(program))
    assert words in choice.reason
    assert not choice.asks


@pytest.mark.parametrize(
    ("tried", "words"),
    [
        ((), "there is no pwsh on PATH"),
        ((OLD,), "/usr/bin/pwsh: the module was not loaded"),
        ((OLD, BARE_WINDOWS), "within 120 s"),
    ],
)
def test_without_one_it_is_the_admin_api_after_a_yes(tried: Sequence[Tried], words: str) -> None:
    choice = choose(tried)
    assert choice.transport == AdminApiRoad(kind="admin-api")
    assert choice.asks
    assert "3.2.0 or newer" in choice.reason
    assert words in choice.reason


def profile(transport: str = "") -> Profile:
    text = f'tenant = "contoso.onmicrosoft.com"\n{transport}'
    return loads_profile(text.encode(), Path("exoscope.toml"))


def settle(used: Profile, tried: Sequence[Tried], answer: Exception | None = None) -> tuple[Profile, list[Any]]:
    told: list[Any] = []

    def approve(choice: Choice) -> None:
        told.append(choice)
        if answer is not None:
            raise answer

    return settled(used, look=lambda: tried, approve=approve, say=told.append), told


def test_a_road_that_is_named_is_neither_tried_nor_told() -> None:
    def never() -> Sequence[Tried]:
        raise AssertionError("nothing is tried")

    for road in ('kind = "pwsh"', 'kind = "admin-api"', 'kind = "gateway"\nurl = "https://gateway.contoso.com/wsman"'):
        used = profile(f"[transport]\n{road}\n")
        assert settled(used, look=never, approve=lambda choice: never(), say=lambda text: never()) is used  # type: ignore[arg-type,return-value]  # none of the three is called


def test_the_road_is_said_with_its_reason() -> None:
    used, told = settle(profile(), (GOOD,))
    assert used.transport == LocalPwsh(kind="pwsh", path=Path(GOOD.program))
    assert told == [
        'Road to Exchange: "pwsh". The profile names none, and /usr/bin/pwsh (PowerShell 7.6.1) loads '
        "ExchangeOnlineManagement 3.10.1."
    ]
    used, told = settle(profile(), (OLD,))
    assert used.transport == AdminApiRoad(kind="admin-api")
    assert told[0].asks, "asked before it is said to be taken"
    assert "Microsoft does not document it" in told[1]


def test_a_no_is_a_no() -> None:
    with pytest.raises(Refused):
        settle(profile(), (), Refused("not approved"))
    refused = not_approved(choose(()), "--yes")
    assert isinstance(refused, BadInput)
    assert (refused.code, refused.exit, refused.changed) == ("no-road", 2, False)
    for words in ("Install that module", "[transport]", "--yes", "Microsoft does not document it"):
        assert words in refused.next


def test_every_powershell_at_hand_best_first(tmp_path: Path) -> None:
    for name in ("pwsh", "powershell.exe", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    pwsh, windows, mine = (str(tmp_path / name) for name in ("pwsh", "powershell.exe", "mine"))
    path = {"PATH": str(tmp_path)}
    named = {**path, "EXOSCOPE_PWSH": mine}
    assert programs(path, windows=False) == (pwsh,)
    assert programs(path, windows=True) == (pwsh, windows)
    assert programs(named, windows=False) == (mine,)
    assert programs(named, windows=True) == (mine, windows)
    assert programs({**path, "EXOSCOPE_PWSH": windows}, windows=True) == (windows,)
    assert programs({"PATH": "/none"}, windows=True) == ()
    with pytest.raises(BadInput, match="EXOSCOPE_PWSH names /nowhere") as missing:
        programs({**path, "EXOSCOPE_PWSH": "/nowhere"}, windows=True)
    assert missing.value.code == "no-pwsh"
    assert command_of(windows)[1:3] == ["-Version", "5.1"]


@pytest.mark.parametrize(
    ("loading", "expected"), [({"/a"}, ["/a"]), ({"/b"}, ["/a", "/b"]), (set(), ["/a", "/b"]), ({"/a", "/b"}, ["/a"])]
)
def test_programs_are_tried_up_to_the_first_that_loads_the_module(
    loading: set[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(program: str, *, seconds: float) -> Tried:
        return Tried(program, module="3.9.2" if program in loading else None, why="" if program in loading else "no")

    monkeypatch.setattr(trying, "programs", lambda environ: ("/a", "/b"))
    monkeypatch.setattr(trying, "try_module", tried)
    told: list[str] = []
    assert [each.program for each in trying.look({}, told.append)] == expected
    assert told == [f"trying {each}" for each in expected]
