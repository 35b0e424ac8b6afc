"""A session with Exchange over the real pypsrp against the twin's gateway: what it survives, what it refuses, what it hides."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exoscope import exchange
from exoscope.catalog import EXCHANGE
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession
from exoscope.exchange import psrp as road
from exoscope.exchange.inventory import read_management_scopes, read_service_principals, rows_of
from exoscope.model import Snapshot
from exoscope.outcome import (
    AccessDenied,
    AlreadyExists,
    Deadline,
    GuardRefused,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.powershell import render_guarded
from exoscope.profile import Profile, load_profile
from exoscope.twin.exchange.call import CmdletError
from exoscope.twin.server import Twin
from twin_fixtures import sample, serve

__all__ = ["sample", "serve"]

Connect = Callable[..., ExchangeSession]
LIST = render_guarded("inventory/management_scopes", {}).text
NEW = render_guarded("rbac/new_management_scope", {"name": "Fresh", "filter": "Department -eq 'Sales'"}).text


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


def profile_of(twin: Twin) -> Profile:
    return load_profile(Path(twin.ready["profile"]), os.environ)


def changed(profile: Profile, **transport: Any) -> Profile:
    assert profile.transport is not None
    return msgspec.structs.replace(profile, transport=msgspec.structs.replace(profile.transport, **transport))


@pytest.fixture
def connect(twin: Twin, clock: QuickClock) -> Iterator[Connect]:
    with ExitStack() as stack:

        def start(profile: Profile | None = None) -> ExchangeSession:
            used = profile or profile_of(twin)
            session = exchange.connect(used, Tokens(used, clock), clock=clock)
            stack.callback(session.close)
            return session

        yield start


def names(session: ExchangeSession) -> set[str]:
    return {scope.name for scope in read_management_scopes(session)}


def test_reads_and_writes_on_one_proven_session(connect: Connect, twin: Twin) -> None:
    session = connect()
    assert session.road == "gateway"
    assert session.tenant_id == twin.tenant.state.tenant.id.casefold()
    assert "Fresh" not in names(session)
    assert session.run(NEW).rows == ()
    assert "Fresh" in names(session)
    with pytest.raises(AlreadyExists):
        session.run(NEW)
    with pytest.raises(ObjectNotFound):
        session.run(render_guarded("rbac/remove_management_scope", {"name": "Absent"}).text)


def test_rows_come_in_batches_of_any_size(connect: Connect) -> None:
    session = connect()
    script = render_guarded("inventory/recipients", {"properties": []}).text
    whole = session.run(script).rows
    assert len(whole) > 60
    assert session.run(script, batch=7).rows == whole
    assert session.run(script, batch=1).rows == whole


def test_a_script_that_the_guard_does_not_understand_is_not_sent(connect: Connect, twin: Twin) -> None:
    session = connect()
    before = len(twin.tenant.log)
    for script in (
        "Get-Process",
        "Remove-ManagementScope -Identity $x",
        f"{NEW}; iex 'x'",
        "Get-ManagementScope | ForEach-Object {}",
    ):
        with pytest.raises(GuardRefused):
            session.run(script)
    assert len(twin.tenant.log) == before


def test_a_read_goes_on_after_the_session_was_lost(connect: Connect, twin: Twin) -> None:
    session = connect()
    before = names(session)
    twin.faults.lose_shells = True
    assert names(session) == before
    twin.faults.drop("Get-ManagementScope")
    assert names(session) == before


def test_a_write_is_never_repeated_after_the_session_was_lost(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.faults.drop("New-ManagementScope", act=True)
    with pytest.raises(LostSession):
        session.run(NEW)
    assert "Fresh" in names(session)
    assert [change.what for change in twin.tenant.log].count("New-ManagementScope: Fresh") == 1
    twin.faults.drop("Remove-ManagementScope", act=False)
    with pytest.raises(LostSession):
        session.run(render_guarded("rbac/remove_management_scope", {"name": "Fresh"}).text)
    assert "Fresh" in names(session)


def test_throttling_of_a_read_is_waited_out_and_of_a_write_told(
    connect: Connect, twin: Twin, clock: QuickClock
) -> None:
    session = connect()
    twin.faults.throttle("Get-ManagementScope", times=2)
    assert names(session)
    assert len(clock.slept) == 2
    assert clock.slept[1] > clock.slept[0]
    twin.faults.throttle("Get-ManagementScope", times=99)
    with pytest.raises(Throttled):
        names(session)
    twin.faults.clear()
    twin.faults.throttle("New-ManagementScope")
    with pytest.raises(Throttled):
        session.run(NEW)
    assert "Fresh" not in names(session)


def test_a_pipeline_that_never_answers_ends_at_its_deadline_and_the_session_serves_on(
    connect: Connect, twin: Twin
) -> None:
    session = connect()
    twin.faults.hang("New-ManagementScope")
    began = time.monotonic()
    with pytest.raises(Deadline):
        session.run(NEW, deadline=1.0)
    assert time.monotonic() - began < 5
    assert "Fresh" not in names(session)
    session.run(NEW)


def test_a_gateway_that_falls_silent_ends_at_the_deadline_too(
    connect: Connect,
    twin: Twin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = connect()
    monkeypatch.setattr(road, "GRACE", 0.2)
    monkeypatch.setattr("pypsrp.powershell.PowerShell.poll_invoke", lambda self, timeout=None: time.sleep(4))
    began = time.monotonic()
    with pytest.raises(Deadline, match="did not answer"):
        session.run(NEW, deadline=0.5)
    assert time.monotonic() - began < 3
    monkeypatch.undo()
    assert names(session)


def test_an_error_in_the_state_message_counts_as_much_as_one_in_the_stream(
    connect: Connect,
    twin: Twin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = connect()
    twin.faults.fail("New-ManagementScope", CmdletError("System.Exception", "Something odd.", category="NotSpecified"))
    with pytest.raises(ServiceError, match="Something odd") as odd:
        session.run(NEW)
    assert type(odd.value) is ServiceError
    # -ErrorAction Stop makes the same error a terminating one: it then stands in the pipeline's state.
    twin.faults.fail("New-ManagementScope", CmdletError("System.Exception", "Something odd.", category="NotSpecified"))
    with pytest.raises(ServiceError, match="Something odd"):
        session.run(NEW.rstrip() + " -ErrorAction Stop")


def test_access_denied_is_access_denied(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.faults.fail(
        "Get-ManagementScope", CmdletError("System.UnauthorizedAccessException", "No.", category="PermissionDenied")
    )
    with pytest.raises(AccessDenied) as denied:
        names(session)
    assert "Organization Management" in denied.value.next


def test_the_session_is_renewed_before_its_token_ends(
    connect: Connect, clock: QuickClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exoscope.exchange")
    session = connect()
    for _ in range(9):
        assert names(session)
        clock.ahead += timedelta(minutes=10)
    told = caplog.text
    assert "the token ends soon" in told
    assert "tried again" not in told, "it was renewed only after the service refused the old token"


@pytest.mark.parametrize("status", [429, 503])
def test_a_gateway_that_is_busy(connect: Connect, twin: Twin, status: int) -> None:
    session = connect()
    twin.faults.http_status(status)
    assert names(session)
    twin.faults.http_status(status)
    with pytest.raises((LostSession, Transient)):
        session.run(NEW)
    assert "Fresh" not in names(session)


def test_a_gateway_without_room_is_waited_for(connect: Connect, twin: Twin, clock: QuickClock) -> None:
    session = connect()
    twin.faults.lose_shells = True
    twin.faults.refuse_shells(2)
    assert names(session)
    assert (twin.faults.planned, clock.slept) == (0, [0.0, 4.0, 8.0])
    twin.faults.refuse_shells()
    with pytest.raises(Throttled, match="maximum number of 30 concurrent shells") as full:
        connect()
    assert "MaxShellsPerUser" in full.value.next


def test_a_token_that_was_ended_early(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.entra.tokens.end_all(EXCHANGE)
    assert names(session), "a read goes on with a new one"
    twin.entra.tokens.end_all(EXCHANGE)
    with pytest.raises(LostSession) as ended:
        session.run(NEW)
    assert ended.value.code == "token-refused"
    assert "Fresh" not in names(session)


def test_rows_are_checked_against_what_was_asked(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.faults.everything_for_unknown = True
    assert len(rows_of(session, "inventory/management_scope", {"identity": "Absent"})) > 1
    from exoscope.exchange import read_object
    from exoscope.model import Target

    assert read_object(session, Target("management_scope", {"name": "Absent"})) is None


def test_a_wrong_password_and_an_unknown_ca(connect: Connect, twin: Twin, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("hunter2")
    (tmp_path / "wrong").chmod(0o600)
    profile = profile_of(twin)
    assert profile.transport is not None
    assert profile.transport.password is not None
    wrong = msgspec.structs.replace(profile.transport.password, scheme="file", text=str(tmp_path / "wrong"))
    with pytest.raises(SignInFailed, match="refused the operator") as refused:
        connect(changed(profile, password=wrong))
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ServiceError, match="not trusted") as untrusted:
        connect(changed(profile, ca=None))
    assert untrusted.value.code == "untrusted-gateway"
    with pytest.raises(Transient, match="cannot be used"):
        connect(changed(profile, url="https://127.0.0.1:1/wsman"))


def test_a_client_certificate_opens_the_gateway(connect: Connect, twin: Twin) -> None:
    pem = twin.directory / "gateway.pem"
    session = connect(
        changed(profile_of(twin), auth="certificate", certificate=pem, key=pem, username=None, password=None)
    )
    assert read_service_principals(session)


def test_another_tenant_than_the_profiles_is_refused(
    serve: Callable[..., Twin], sample: Snapshot, clock: QuickClock
) -> None:
    here = serve(sample)
    other_tenant = msgspec.structs.replace(sample.tenant, id="00000000-0000-0000-0000-00000000beef")
    there = serve(msgspec.structs.replace(sample, tenant=other_tenant))
    profile = profile_of(here)
    theirs = profile_of(there).transport
    assert theirs is not None
    wrong = changed(profile, url=there.ready["wsman"], ca=Path(there.ready["ca"]), password=theirs.password)

    class Theirs:
        """The other tenant's token, as if it were ours."""

        def exchange(self, *, valid_for: float, fresh: bool = False) -> Any:
            found = Tokens(profile_of(there), clock).exchange(valid_for=valid_for)
            return msgspec.structs.replace(found, tenant_id=sample.tenant.id)

    before = len(there.tenant.log)
    with pytest.raises(WrongTenant, match="beef"):
        exchange.connect(wrong, Theirs(), clock=clock)
    with pytest.raises(WrongTenant, match="beef"):
        exchange.connect(profile, Tokens(profile_of(there), clock), clock=clock)
    assert len(there.tenant.log) == before


def test_neither_token_nor_password_reaches_a_log(
    connect: Connect,
    twin: Twin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("pypsrp").setLevel(logging.DEBUG)  # whoever asked for it does not get it
    profile = profile_of(twin)
    tokens = Tokens(profile, SystemClock())
    connect().run(NEW)
    # psrpcore is the twin's end of the road, in this process by chance.
    text = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("psrpcore"))
    assert "exoscope.exchange" in {record.name for record in caplog.records}
    assert twin.gateway_password not in text
    assert tokens.exchange().secret.reveal()[:20] not in text
    assert "Department -eq" not in text
