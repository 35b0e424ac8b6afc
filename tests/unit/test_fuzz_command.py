"""``python -m tests.fuzz``: its parts, what it says of them, and its exit code."""

from __future__ import annotations

import sys

import pytest

from fuzz import __main__ as command
from fuzz import exported, roads, scripts
from fuzz.written import Found
from road_sessions import ADMIN_API, GATEWAY, PWSH


@pytest.fixture(autouse=True)
def no_powershell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "pwsh", lambda: None)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fuzz", *words])
    return command.main()


def test_parts_by_name_and_a_seed_that_repeats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "scripts", "values", "--count", "60", "--seed", "7") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("seed 7, PowerShell: none")
    assert [line.split(":")[0] for line in told[1:]] == ["scripts", "values"]
    assert "60 mutated scripts" in told[1] and all(" 0 problems" in line for line in told[1:])
    run(monkeypatch, "scripts", "--count", "60", "--seed", "7")
    assert capsys.readouterr().out.splitlines()[1].split(";")[0] == told[1].split(";")[0]


def test_problems_are_told_and_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scripts, "check", lambda seed, count, program: ([f"odd {n}" for n in range(9)], "9 scripts"))
    assert run(monkeypatch, "scripts", "--seed", "1") == 1
    told = capsys.readouterr().out
    assert "9 scripts; 9 problems" in told and "odd 0" in told and "odd 8" not in told


def test_roads_that_need_powershell_are_left_out_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int]] = []

    def check(road: str, stream: object, count: int, program: str | None) -> Found:
        asked.append((road, count))
        found = Found()
        found.fates["unchanged"] += count
        return found

    monkeypatch.setattr(roads, "check", check)
    assert run(monkeypatch, "roads", "--count", "5") == 0
    told = capsys.readouterr().out
    assert asked == [(GATEWAY, 5), (ADMIN_API, 5)]
    assert f"{PWSH}: left out" in told and f"{exported.ROAD}: left out" in told
    assert "5 values: 5 unchanged; 0 problems" in told


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "nothing")
    assert ended.value.code == 2
