"""A session over the admin API against the twin: the same rows, errors and side effects as over the gateway, and no PowerShell."""

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
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange.adminapi import AdminApiSession, open_session
from exoscope.exchange.inventory import read_management_scopes, rows_of
from exoscope.model import Snapshot
from exoscope.outcome import (
    AccessDenied,
    AlreadyExists,
    BadInput,
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
from exoscope.profile import AdminApiRoad, Operator, Profile, load_profile
from exoscope.reading import Connection, read_snapshot
from exoscope.twin.exchange.call import CmdletError
from exoscope.twin.server import Twin
from twin_fixtures import sample, serve, shared_twin

__all__ = ["sample", "serve", "shared_twin"]

Connect = Callable[..., AdminApiSession]
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
    """The twin's profile, with the other road."""
    loaded = load_profile(Path(twin.ready["profile"]), os.environ)
    return msgspec.structs.replace(loaded, transport=AdminApiRoad(kind="admin-api"))


@pytest.fixture
def connect(twin: Twin, clock: QuickClock) -> Iterator[Connect]:
    with ExitStack() as stack:

        def start(profile: Profile | None = None) -> AdminApiSession:
            used = profile or profile_of(twin)
            session = exchange.connect(used, Tokens(used, clock), clock=clock)
            assert isinstance(session, AdminApiSession)
            stack.callback(session.close)
            return session

        yield start


def names(session: AdminApiSession) -> set[str]:
    return {scope.name for scope in read_management_scopes(session)}


def test_reads_and_writes_in_the_proven_tenant(connect: Connect, twin: Twin) -> None:
    session = connect()
    assert session.road == "admin-api"
    assert session.tenant_id == twin.tenant.state.tenant.id.casefold()
    assert "Fresh" not in names(session)
    assert session.run(NEW).rows == ()
    assert "Fresh" in names(session)
    with pytest.raises(AlreadyExists):
        session.run(NEW)
    with pytest.raises(ObjectNotFound):
        session.run(render_guarded("rbac/remove_management_scope", {"name": "Absent"}).text)
    session.run(render_guarded("rbac/remove_management_scope", {"name": "Fresh"}).text)
    assert "Fresh" not in names(session)
    assert twin.wsman.shells == 0


def test_a_whole_tenant_reads_as_over_the_gateway(shared_twin: Twin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "exoscope.exchange")
    gateway = load_profile(Path(shared_twin.ready["profile"]), os.environ)
    found = []
    for profile in (gateway, profile_of(shared_twin)):
        with Connection(profile, SystemClock()) as connection:
            snapshot = read_snapshot(connection)
            found.append(msgspec.structs.replace(snapshot, read_at=shared_twin.tenant.state.read_at))
    assert found[0] == found[1]
    groups = found[1].groups
    assert isinstance(groups, tuple)
    assert sum(group.members is not None for group in groups) > 2
    sent = [record.getMessage() for record in caplog.records if "$batch" in record.getMessage()]
    assert sent, "members are read several groups to a request"


def test_pages_are_joined_and_of_any_size(connect: Connect) -> None:
    session = connect()
    script = render_guarded("inventory/recipients", {"properties": []}).text
    whole = session.run(script).rows
    assert len(whole) > 60
    assert session.run(script, batch=7).rows == whole
    first = session.run("Get-Recipient -ResultSize Unlimited | Select-Object -Property Guid -First 9", batch=4).rows
    assert first == tuple({"Guid": row["Guid"]} for row in whole[:9])


def test_hostile_values_arrive_unchanged(connect: Connect) -> None:
    session = connect()
    for name in ("d’Arcy; Remove-X", "--%", "a`$(x)\n#>", "😀 \u202e\u00a0'\"", "@odata.type"):
        session.run(render_guarded("rbac/new_management_scope", {"name": name, "filter": "City -eq 'x'"}).text)
        assert name in names(session)


def test_what_the_guard_or_the_road_does_not_take_is_not_sent(connect: Connect, twin: Twin) -> None:
    session = connect()
    before = len(twin.tenant.log)
    for script in ("Get-Process", "Remove-ManagementScope -Identity $x", f"{NEW}; iex 'x'"):
        with pytest.raises(GuardRefused):
            session.run(script)
    for script in (
        NEW.rstrip() + " -WhatIf",
        NEW.rstrip() + " -ErrorAction SilentlyContinue",
        f"{NEW}\n{NEW}",
        f"{LIST}\n{LIST}",
        "Get-ConnectionInformation",
        "Disconnect-ExchangeOnline -Confirm:$false",
        "Get-ManagementScope | Select-Object -ExpandProperty Name",
        "Get-ManagementScope | Select-Object -Property 'Na*'",
    ):
        with pytest.raises(BadInput):
            session.run(script)
    assert len(twin.tenant.log) == before
    assert session.run("# nothing but a comment").rows == ()


def test_a_read_goes_on_after_the_connection_was_cut_and_a_write_is_never_repeated(
    connect: Connect, twin: Twin
) -> None:
    session = connect()
    twin.faults.drop("Get-ManagementScope")
    assert names(session)
    twin.faults.drop("New-ManagementScope", act=True)
    with pytest.raises(LostSession):
        session.run(NEW)
    assert [change.what for change in twin.tenant.log].count("New-ManagementScope: Fresh") == 1
    twin.faults.drop("Remove-ManagementScope", act=False)
    with pytest.raises(LostSession):
        session.run(render_guarded("rbac/remove_management_scope", {"name": "Fresh"}).text)
    assert "Fresh" in names(session)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_a_busy_service(connect: Connect, twin: Twin, clock: QuickClock, status: int) -> None:
    session = connect()
    twin.faults.http_status(status)
    assert names(session)
    assert clock.slept == [1.0], "as Retry-After says"
    twin.faults.http_status(status)
    with pytest.raises(Throttled if status == 429 else Transient):
        session.run(NEW)
    assert "Fresh" not in names(session)


def test_throttling_of_a_cmdlet_is_waited_out_for_reads_only(connect: Connect, twin: Twin, clock: QuickClock) -> None:
    session = connect()
    twin.faults.throttle("Get-ManagementScope", times=2)
    assert names(session)
    assert len(clock.slept) == 2
    twin.faults.throttle("Get-ManagementScope", times=99)
    with pytest.raises(Throttled):
        names(session)
    twin.faults.clear()
    twin.faults.throttle("New-ManagementScope")
    with pytest.raises(Throttled):
        session.run(NEW)
    assert "Fresh" not in names(session)


def test_a_call_that_never_answers_ends_at_its_deadline(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.faults.hang("New-ManagementScope")
    began = time.monotonic()
    with pytest.raises(Deadline):
        session.run(NEW, deadline=1.0)
    assert time.monotonic() - began < 4
    assert "Fresh" not in names(session)
    session.run(NEW)


def test_a_denial_tells_the_reason_of_the_header(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(msgspec.structs.replace(sample, access_policies=msgspec.UNSET))
    profile = profile_of(twin)
    session = open_session(profile, Tokens(profile, SystemClock()), clock=SystemClock())
    with pytest.raises(
        AccessDenied, match=r"^Get-ApplicationAccessPolicy: Access is denied: access_policies"
    ) as denied:
        rows_of(session, "inventory/access_policies")
    assert denied.value.request_id
    session.close()


def test_a_cmdlet_that_the_operators_roles_do_not_export(connect: Connect, twin: Twin) -> None:
    session = connect()
    twin.admin_api._read_only = lambda app_id: True
    with pytest.raises(AccessDenied, match="only what its roles allow"):
        session.run(NEW)
    assert names(session)


def test_the_token_is_renewed_before_it_ends(
    connect: Connect, clock: QuickClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exoscope.exchange")
    session = connect()
    for _ in range(9):
        assert names(session)
        clock.ahead += timedelta(minutes=10)
    assert "the token ends soon" in caplog.text
    assert "tried again" not in caplog.text, "it was renewed only after the service refused the old token"


def test_reads_in_one_request_and_each_with_its_own_outcome(
    connect: Connect, twin: Twin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "exoscope.exchange")
    session = connect()
    caplog.clear()
    absent = render_guarded("inventory/management_scope", {"identity": "Absent"}).text
    recipients = render_guarded("inventory/recipients", {"properties": []}).text
    scripts = [LIST, absent, *([LIST] * 12), recipients]
    found = session.run_each(scripts)
    assert len(found) == len(scripts)
    assert found[0] == found[2] == session.run(LIST)
    assert isinstance(found[1], ObjectNotFound)
    assert found[-1] == session.run(recipients)
    sent = [record.getMessage() for record in caplog.records if "$batch" in record.getMessage()]
    assert len(sent) == 2
    paged = session.run_each([recipients], batch=7)
    assert paged[0] == found[-1], "later pages of a batch's answer are fetched"
    twin.faults.throttle("Get-ManagementScope")
    assert session.run_each([LIST, LIST]) == (found[0], found[0])
    twin.faults.drop("Get-ManagementScope")
    assert session.run_each([LIST, LIST]) == (found[0], found[0])
    with pytest.raises(BadInput):
        session.run_each([LIST, NEW])
    assert "Fresh" not in names(session)


def test_a_person_signed_in_by_device_code_is_their_own_anchor(connect: Connect, twin: Twin) -> None:
    profile = profile_of(twin)
    person = msgspec.structs.replace(profile, operator=Operator(client_id=twin.operator.app_id, device_code=True))
    assert names(connect(person))


def test_another_tenant_than_the_profiles_is_refused(
    serve: Callable[..., Twin], sample: Snapshot, clock: QuickClock
) -> None:
    here = serve(sample)
    other = "00000000-0000-0000-0000-00000000beef"
    there = serve(msgspec.structs.replace(sample, tenant=msgspec.structs.replace(sample.tenant, id=other)))
    profile, theirs = profile_of(here), profile_of(there)
    before = len(there.tenant.log)
    with pytest.raises(WrongTenant, match="beef"):
        open_session(profile, Tokens(theirs, clock), clock=clock)
    named = msgspec.structs.replace(profile, endpoints=theirs.endpoints)

    class Ours:
        """A token that says it is of the profile's tenant, at the other tenant's service."""

        def exchange(self, *, valid_for: float, fresh: bool = False) -> Any:
            found = Tokens(theirs, clock).exchange(valid_for=valid_for)
            return msgspec.structs.replace(found, tenant_id=sample.tenant.id)

    with pytest.raises((AccessDenied, WrongTenant)):
        open_session(named, Ours(), clock=clock)

    class Nobody(Ours):
        def exchange(self, *, valid_for: float, fresh: bool = False) -> Any:
            return msgspec.structs.replace(super().exchange(valid_for=valid_for), tenant_id=None)

    with pytest.raises(WrongTenant, match="cannot be proven"):
        open_session(named, Nobody(), clock=clock)
    assert len(there.tenant.log) == before


def test_an_organisation_that_cannot_be_read_proves_no_tenant(serve: Callable[..., Twin], sample: Snapshot) -> None:
    profile = profile_of(serve(msgspec.structs.replace(sample, organization=msgspec.UNSET)))
    with pytest.raises(AccessDenied, match="the tenant cannot be proven"):
        open_session(profile, Tokens(profile, SystemClock()), clock=SystemClock())


def test_a_refused_token_and_an_unknown_ca(connect: Connect, twin: Twin, clock: QuickClock) -> None:
    profile = profile_of(twin)

    class Graphs:
        """A token for something else."""

        def exchange(self, *, valid_for: float, fresh: bool = False) -> Any:
            return Tokens(profile, clock).operator("graph")

    with pytest.raises(SignInFailed, match="refused the operator's token"):
        open_session(profile, Graphs(), clock=clock)
    ends = msgspec.structs.replace(profile.endpoints, ca=None)
    tokens = Tokens(profile, clock)
    with pytest.raises(ServiceError, match="not trusted") as untrusted:
        open_session(msgspec.structs.replace(profile, endpoints=ends), tokens, clock=clock)
    assert untrusted.value.code == "untrusted-endpoint"
    ends = msgspec.structs.replace(profile.endpoints, exchange="https://127.0.0.1:1")
    with pytest.raises(Transient, match="cannot be reached"):
        open_session(msgspec.structs.replace(profile, endpoints=ends), tokens, clock=clock)


def test_the_token_reaches_no_log_and_no_error(connect: Connect, twin: Twin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    profile = profile_of(twin)
    tokens = Tokens(profile, SystemClock())
    held = tokens.exchange().secret.reveal()
    session = open_session(profile, tokens, clock=SystemClock())
    session.run(NEW)
    twin.faults.fail("Get-ManagementScope", CmdletError("System.Exception", "Something odd.", category="NotSpecified"))
    with pytest.raises(ServiceError, match="Something odd") as odd:
        names(session)
    assert type(odd.value) is ServiceError
    text = "\n".join(record.getMessage() for record in caplog.records) + str(odd.value) + repr(vars(session))
    assert "exoscope.exchange" in {record.name for record in caplog.records}
    assert held[:20] not in text
    assert held.split(".")[1][:20] not in text
    assert "Department -eq" not in text
    session.close()
