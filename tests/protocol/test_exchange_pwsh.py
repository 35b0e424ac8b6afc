"""A session over a local pwsh, held against a child that is none but speaks its protocol: deadlines, losses, ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exoscope import exchange
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession, local
from exoscope.exchange.inventory import read_management_scopes
from exoscope.exchange.local import PwshPool
from exoscope.model import Snapshot
from exoscope.outcome import (
    AlreadyExists,
    BadInput,
    Deadline,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.powershell import render_guarded
from exoscope.powershell.child import command_of, find_program
from exoscope.profile import LocalPwsh, Profile, load_profile
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh, gone
from twin_fixtures import sample, serve

__all__ = ["sample", "serve"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")

Connect = Callable[..., ExchangeSession]
NEW = render_guarded("rbac/new_management_scope", {"name": "Fresh", "filter": "Department -eq 'Sales'"}).text
REMOVE = render_guarded("rbac/remove_management_scope", {"name": "Fresh"}).text


class QuickClock(SystemClock):
    """The machine's time, without waiting: what would have been slept is noted. It can be turned ahead."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture
def twin(serve: Callable[..., Twin], sample: Snapshot, clock: QuickClock) -> Twin:
    """A twin of the same time, whose tokens live an hour of it."""
    return serve(sample, token_lifetime=3600.0, clock=clock)


@pytest.fixture
def fake(tmp_path: Path, twin: Twin) -> Iterator[FakePwsh]:
    made = FakePwsh(tmp_path, twin)
    yield made
    made.close()


@pytest.fixture
def profile(twin: Twin, fake: FakePwsh) -> Profile:
    loaded = load_profile(Path(twin.ready["profile"]), os.environ)
    return msgspec.structs.replace(loaded, transport=LocalPwsh(kind="pwsh", path=fake.path))


@pytest.fixture
def connect(profile: Profile, clock: QuickClock) -> Iterator[Connect]:
    with ExitStack() as stack:

        def start(used: Profile = profile) -> ExchangeSession:
            session = exchange.connect(used, Tokens(used, clock), clock=clock)
            stack.callback(session.close)
            return session

        yield start


def names(session: ExchangeSession) -> set[str]:
    return {scope.name for scope in read_management_scopes(session)}


def test_reads_and_writes_on_one_proven_session(connect: Connect, twin: Twin, fake: FakePwsh) -> None:
    session = connect()
    assert (session.road, session.tenant_id) == ("pwsh", twin.tenant.state.tenant.id.casefold())
    assert fake.arguments == ["-NoLogo -NoProfile -s"]
    assert "Fresh" not in names(session)
    assert session.run(NEW).rows == ()
    assert "Fresh" in names(session)
    with pytest.raises(AlreadyExists):
        session.run(NEW)
    with pytest.raises(ObjectNotFound):
        session.run(render_guarded("rbac/remove_management_scope", {"name": "Absent"}).text)
    session.close()
    assert gone(fake.pids[0])
    assert len(fake.pids) == 1


def test_errors_are_those_of_the_gateway(connect: Connect, twin: Twin, clock: QuickClock) -> None:
    gateway_profile = load_profile(Path(twin.ready["profile"]), os.environ)
    gateway = exchange.connect(gateway_profile, Tokens(gateway_profile, clock), clock=clock)
    try:
        session = connect()
        session.run(NEW)
        for script in (
            NEW,
            render_guarded("rbac/remove_management_scope", {"name": "Absent"}).text,
            render_guarded("rbac/new_management_scope", {"name": "Odd", "filter": "Nonsense -eq 'x'"}).text,
            NEW.rstrip() + " -ErrorAction Stop",
        ):
            told = []
            for each in (session, gateway):
                with pytest.raises(ServiceError) as error:
                    each.run(script)
                told.append((type(error.value), error.value.code, error.value.message, error.value.next))
            assert told[0] == told[1]
    finally:
        gateway.close()


def test_rows_come_in_batches_of_any_size_and_big_scripts_arrive(connect: Connect) -> None:
    session = connect()
    script = render_guarded("inventory/recipients", {"properties": []}).text
    whole = session.run(script).rows
    assert len(whole) > 60
    assert session.run(script, batch=7).rows == whole
    # several fragments in each direction
    comment = "# " + "x" * 100 + "\n"
    assert session.run(comment * 2000 + script).rows == whole


def test_a_read_goes_on_after_the_child_was_killed(connect: Connect, twin: Twin, fake: FakePwsh) -> None:
    session = connect()
    before = names(session)
    os.kill(fake.pids[-1], signal.SIGKILL)
    assert names(session) == before
    twin.faults.drop("Get-ManagementScope")
    assert names(session) == before
    assert len(fake.pids) == 3
    assert all(gone(pid) for pid in fake.pids[:2])


def test_a_write_is_never_repeated_after_the_child_was_lost(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.faults.drop("New-ManagementScope", act=True)
    with pytest.raises(LostSession):
        session.run(NEW)
    assert "Fresh" in names(session)
    assert [change.what for change in twin.tenant.log].count("New-ManagementScope: Fresh") == 1
    twin.faults.drop("Remove-ManagementScope", act=False)
    with pytest.raises(LostSession):
        session.run(REMOVE)
    assert "Fresh" in names(session)


def test_throttling_of_a_read_is_waited_out_and_of_a_write_told(
    connect: Connect, twin: Twin, clock: QuickClock
) -> None:
    session = connect()
    twin.faults.throttle("Get-ManagementScope", times=2)
    assert names(session)
    assert len(clock.slept) == 2
    twin.faults.throttle("New-ManagementScope")
    with pytest.raises(Throttled):
        session.run(NEW)
    assert "Fresh" not in names(session)


def test_a_pipeline_that_never_answers_is_stopped_and_the_child_serves_on(
    connect: Connect, twin: Twin, fake: FakePwsh
) -> None:
    session = connect()
    twin.faults.hang("New-ManagementScope")
    began = time.monotonic()
    with pytest.raises(Deadline):
        session.run(NEW, deadline=0.5)
    assert time.monotonic() - began < 4
    assert "Fresh" not in names(session)
    assert len(fake.pids) == 1


@pytest.mark.parametrize("mood", ["deaf", "silent"])
def test_a_child_that_does_not_even_stop_is_killed(
    connect: Connect, twin: Twin, fake: FakePwsh, monkeypatch: pytest.MonkeyPatch, mood: str
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.3)
    session = connect()
    twin.faults.hang("New-ManagementScope")
    fake.mood = mood
    with pytest.raises(Deadline):
        session.run(NEW, deadline=0.5)
    assert gone(fake.pids[0])
    fake.mood = "well"
    assert "Fresh" not in names(session)
    assert len(fake.pids) == 2


def test_the_session_is_renewed_before_its_token_ends(
    connect: Connect, fake: FakePwsh, clock: QuickClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exoscope.exchange")
    session = connect()
    for _ in range(9):
        assert names(session)
        clock.ahead += timedelta(minutes=10)
    assert "the token ends soon" in caplog.text
    assert "tried again" not in caplog.text, "it was renewed only after the service refused the old token"
    assert len(fake.pids) >= 2
    assert all(gone(pid) for pid in fake.pids[:-1])


def test_the_tenant_is_proven_here_too(connect: Connect, profile: Profile, fake: FakePwsh) -> None:
    with pytest.raises((WrongTenant, SignInFailed)):
        connect(msgspec.structs.replace(profile, tenant="00000000-0000-0000-0000-00000000beef"))
    assert all(gone(pid) for pid in fake.pids)


def test_a_pool_that_does_not_open_says_why(connect: Connect, fake: FakePwsh) -> None:
    fake.mood = "refuse"
    with pytest.raises(ServiceError, match="no room for another session") as refused:
        connect()
    assert refused.value.code == "pwsh-refused"
    assert gone(fake.pids[0])


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("exec 1>&-; sleep 0.3; echo 'no libicu here' >&2; exit 134", "no libicu here"),
        ("exit 0", "it ended"),
        ("echo Welcome; sleep 5", "no PSRP"),
        ("exec sleep 5", "no answer within"),
    ],
)
def test_a_program_that_serves_nothing(tmp_path: Path, program: str, words: str) -> None:
    path = tmp_path / "pwsh"
    path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    path.chmod(0o755)
    pool = PwshPool(str(path))
    began = time.monotonic()
    with pytest.raises(Transient, match=words):
        pool.open(deadline=1.0)
    assert time.monotonic() - began < 4
    assert pool.broken
    assert pool.pid is not None
    assert gone(pool.pid)
    with pytest.raises(LostSession):
        pool.invoke("1", deadline=1)
    pool.close()


def test_babble_in_the_middle_ends_the_session(connect: Connect, fake: FakePwsh) -> None:
    fake.mood = "babble"
    with pytest.raises(Transient, match="no PSRP"):
        connect()


def test_which_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "powershell"
    named.write_text("#!/bin/sh\n", encoding="utf-8")
    named.chmod(0o755)
    (tmp_path / "pwsh").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "pwsh").chmod(0o755)
    assert find_program(named, {"EXOSCOPE_PWSH": "/nowhere"}) == str(named)
    assert find_program(None, {"EXOSCOPE_PWSH": str(named), "PATH": ""}) == str(named)
    assert find_program(None, {"PATH": str(tmp_path)}) == str(tmp_path / "pwsh")
    for path, environ in ((tmp_path / "absent", {}), (None, {"EXOSCOPE_PWSH": "/nowhere"}), (None, {"PATH": "/none"})):
        with pytest.raises(BadInput) as missing:
            find_program(path, environ)
        assert missing.value.code == "no-pwsh"
    assert command_of("/usr/bin/pwsh")[1:] == ["-NoLogo", "-NoProfile", "-s"]
    assert command_of(str(named))[1:] == ["-Version", "5.1", "-NoLogo", "-NoProfile", "-ServerMode"]


def test_an_interrupted_call_leaves_nothing_running(
    profile: Profile, fake: FakePwsh, clock: QuickClock, connect: Connect, twin: Twin
) -> None:
    session: Any = connect()
    twin.faults.hang("New-ManagementScope")
    session._pool._client.next_event = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        session.run(NEW)
    assert gone(fake.pids[0])
    assert "Fresh" not in names(session)


def test_another_thread_can_end_a_call(connect: Connect, twin: Twin, fake: FakePwsh) -> None:
    session: Any = connect()
    twin.faults.hang("New-ManagementScope")
    timer = threading.Timer(0.3, session.abandon)
    timer.start()
    with pytest.raises(LostSession):
        session.run(NEW)
    timer.join()
    assert gone(fake.pids[0])
    assert len(fake.pids) == 1


HOLDER = """
import os, signal, sys, time
from exoscope.exchange.local import PwshPool
pool = PwshPool(sys.argv[1])
pool.open(deadline=60)
print(pool.pid, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "terminated":
    os.kill(os.getpid(), signal.SIGTERM)
if sys.argv[2] == "raised":
    raise RuntimeError("no close")
"""


@pytest.mark.parametrize("end", ["killed", "terminated", "raised", "left"])
def test_the_child_ends_with_its_parent(fake: FakePwsh, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLDER, str(fake.path), end], capture_output=True, text=True, timeout=60, check=False
    )
    assert gone(int(done.stdout)), done.stderr


def test_neither_token_nor_script_reaches_a_log_or_the_command_line(
    profile: Profile, connect: Connect, fake: FakePwsh, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("psrpcore").setLevel(logging.DEBUG)  # whoever asked for it does not get it
    tokens = Tokens(profile, SystemClock())
    connect().run(NEW)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "exoscope.exchange" in {record.name for record in caplog.records}
    assert tokens.exchange().secret.reveal()[:20] not in text
    assert "Department -eq" not in text
    assert fake.arguments == ["-NoLogo -NoProfile -s"]
