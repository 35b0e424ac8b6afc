"""The demo through a gateway whose shells are children of another program, which is no PowerShell but answers as one would."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import exoscope.twin.server
from exoscope.clock import SystemClock
from exoscope.model import Snapshot
from exoscope.outcome import BadInput
from exoscope.rehearsing import demo as rehearsing
from exoscope.rehearsing.shells import loads_ours
from exoscope.twin.exchange.session import POWERSHELL, Session
from exoscope.twin.module import NAME, VERSION
from exoscope.twin.passthrough import Shells
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh, gone
from twin_fixtures import OMNISCOPE_GROUP, load_sample, shared_twin

__all__ = ["shared_twin"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")


def few() -> Snapshot:
    """The sample tenant with ten mailboxes: what takes its time is the calls."""
    whole = load_sample()
    assert isinstance(whole.groups, tuple)
    assert isinstance(whole.recipients, tuple)
    inside = next(each for each in whole.groups if each.primary_smtp_address == OMNISCOPE_GROUP).members or ()
    others = {"ada@contoso.com", "ceo@contoso.com", "admin@contoso.com"}
    kept = [each for each in whole.recipients if each.guid in inside or each.primary_smtp_address in others]
    return replace(whole, recipients=tuple(kept))


@pytest.mark.timeout(240)
@pytest.mark.long
def test_the_demo_runs_in_shells_that_are_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePwsh(tmp_path)
    serve = exoscope.twin.server.serve

    @contextlib.contextmanager
    def serving(tenant: Snapshot, **options: Any) -> Iterator[Twin]:
        with serve(tenant, **options) as twin:
            fake.twin = twin
            where = str(twin.folder.modules / NAME)
            monkeypatch.setattr(Session, "module", lambda session: (POWERSHELL, VERSION, where))
            yield twin

    monkeypatch.setattr(exoscope.twin.server, "serve", serving)
    monkeypatch.setattr(rehearsing, "sample_tenant", few)
    told: list[str] = []
    answer = rehearsing.demo(SystemClock(), told.append, pwsh=str(fake.path))
    fake.close()
    assert (answer.verdict, answer.before, answer.after, answer.undone) == ("proven", 10, 8, True)
    assert answer.powershell == POWERSHELL
    assert f"Behind its gateway each shell is a process of {fake.path}, PowerShell {POWERSHELL}." in told
    assert len(fake.pids) == 4, "one was tried; reading, applying and undoing had one each"
    assert all(gone(pid) for pid in fake.pids)


def test_one_that_loads_another_module_whatever_it_is_told_is_refused(tmp_path: Path, shared_twin: Twin) -> None:
    fake = FakePwsh(tmp_path, shared_twin)
    with pytest.raises(BadInput, match="loads ExchangeOnlineManagement from ExchangeOnlineManagement") as refused:
        loads_ours(Shells(str(fake.path), tmp_path / "modules"))
    fake.close()
    assert refused.value.code == "other-module"


@pytest.mark.parametrize("mood", ["refuse", "babble"])
def test_one_that_serves_no_session_is_refused(tmp_path: Path, shared_twin: Twin, mood: str) -> None:
    fake = FakePwsh(tmp_path, shared_twin)
    fake.mood = mood
    with pytest.raises(BadInput, match="cannot stand behind the gateway") as refused:
        loads_ours(Shells(str(fake.path), tmp_path / "modules"))
    fake.close()
    assert refused.value.code == "no-pwsh"
