"""The gateway with a child behind each shell, where the child is no PowerShell: fragments pass, losses and ends are told."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import exoscope.twin
from exoscope import exchange
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession
from exoscope.exchange.inventory import read_management_scopes
from exoscope.model import Snapshot
from exoscope.outcome import AlreadyExists, Deadline, LostSession, Transient
from exoscope.powershell import render_guarded
from exoscope.profile import load_profile
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh, gone
from twin_fixtures import sample

__all__ = ["sample"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")
NEW = render_guarded("rbac/new_management_scope", {"name": "Fresh", "filter": "Department -eq 'Sales'"}).text


@pytest.fixture
def fake(tmp_path: Path, sample: Snapshot) -> Iterator[FakePwsh]:
    made = FakePwsh(tmp_path)
    with exoscope.twin.serve(sample, propagation=0.1, token_lifetime=60.0, pwsh=str(made.path)) as twin:
        made.twin = twin
        yield made
        made.close()
    assert all(gone(pid) for pid in made.pids), "no child outlives the twin"


@pytest.fixture
def connect(fake: FakePwsh) -> Iterator[Callable[[], ExchangeSession]]:
    made: list[ExchangeSession] = []

    def start() -> ExchangeSession:
        profile = load_profile(Path(twin_of(fake).ready["profile"]), os.environ)
        clock = SystemClock()
        made.append(exchange.connect(profile, Tokens(profile, clock), clock=clock))
        return made[-1]

    yield start
    for each in made:
        each.close()


def twin_of(fake: FakePwsh) -> Twin:
    assert fake.twin is not None
    return fake.twin


def names(session: ExchangeSession) -> set[str]:
    return {scope.name for scope in read_management_scopes(session)}


def test_a_shell_is_a_child_and_ends_with_it(connect: Callable[[], ExchangeSession], fake: FakePwsh) -> None:
    session = connect()
    session.run(NEW)
    assert "Fresh" in names(session)
    with pytest.raises(AlreadyExists):
        session.run(NEW)
    script = render_guarded("inventory/recipients", {"properties": []}).text
    assert session.run("# " + "x" * 300_000 + "\n" + script, batch=7).rows == session.run(script).rows
    other = connect()
    assert len(fake.pids) == 2
    assert "Fresh" in names(other)
    session.close()
    assert gone(fake.pids[0])
    assert "Fresh" in names(other), "each shell has a child of its own"


def test_a_killed_child_is_a_lost_shell(connect: Callable[[], ExchangeSession], fake: FakePwsh) -> None:
    session = connect()
    before = names(session)
    os.kill(fake.pids[-1], signal.SIGKILL)
    assert names(session) == before
    os.kill(fake.pids[-1], signal.SIGKILL)
    with pytest.raises((LostSession, Transient)):
        session.run(NEW)
    assert names(session) == before


def test_a_stop_reaches_the_child(connect: Callable[[], ExchangeSession], fake: FakePwsh) -> None:
    session = connect()
    twin_of(fake).faults.hang("New-ManagementScope")
    began = time.monotonic()
    with pytest.raises(Deadline):
        session.run(NEW, deadline=1.0)
    assert time.monotonic() - began < 5
    assert "Fresh" not in names(session)
    assert len(fake.pids) == 1


def test_a_program_that_cannot_serve_is_no_gateway(tmp_path: Path, sample: Snapshot) -> None:
    broken = tmp_path / "pwsh"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    with exoscope.twin.serve(sample, pwsh=str(broken)) as twin:
        profile = load_profile(Path(twin.ready["profile"]), os.environ)
        clock = SystemClock()
        with pytest.raises(Transient):
            exchange.connect(profile, Tokens(profile, clock), clock=clock)
