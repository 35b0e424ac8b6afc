"""What a session makes of the road under it, with a road made of data: the tenant's proof, odd answers, when it is opened anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exoscope import exchange, powershell
from exoscope.exchange.psrp import Output
from exoscope.model import Secret
from exoscope.outcome import (
    AccessDenied,
    BadInput,
    Deadline,
    LostSession,
    ServiceError,
    SignInFailed,
    Transient,
    WrongTenant,
)
from exoscope.powershell import pack, render_guarded
from exoscope.profile import loads_profile

HERE = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
THERE = "00000000-0000-0000-0000-00000000beef"
GET = render_guarded("inventory/management_scopes", {}).text
REMOVE = render_guarded("rbac/remove_management_scope", {"name": "x"}).text


PARTNER = '[operator]\nkind = "interactive"\nclient_id = "microsoft"\npartner = true\n'


def profile(tenant: str = HERE, more: str = "") -> Any:
    text = f'tenant = "{tenant}"\norganization = "contoso.onmicrosoft.com"\n{more}'
    return loads_profile(text.encode(), Path("exoscope.toml"))


class Time:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Token:
    secret = Secret("the-token")

    def __init__(self, expires_at: datetime, tenant_id: str | None, user: str | None) -> None:
        self.expires_at = expires_at
        self.tenant_id = tenant_id
        self.user = user


class Source:
    def __init__(self, time: Time, tenant_id: str | None = HERE, life: float = 3600, user: str | None = None) -> None:
        self.time, self.tenant_id, self.life, self.user = time, tenant_id, life, user
        self.fresh: list[bool] = []

    def exchange(self, *, valid_for: float, fresh: bool = False) -> Token:
        self.fresh.append(fresh)
        return Token(self.time.now() + timedelta(seconds=self.life), self.tenant_id, self.user)


class Road:
    """A pool that answers by cmdlet: rows, or an error to raise; ``raw`` answers objects as they are."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.broken = False
        self.ran: list[str] = []
        self.parameters: dict[str, Any] = {}
        self.closed = False
        self.refused: ServiceError | None = None

    def open(self, *, deadline: float) -> None:
        self.ran.append("open")

    def invoke(self, script: str, parameters: Any = None, *, deadline: float, batch: int | None = None) -> Output:
        if powershell.known_prelude(script):
            self.ran.append("connect")
            self.parameters = parameters
            if self.refused is not None:
                raise self.refused
            return Output((), ())
        cmdlet = powershell.read(script)[0][0].cmdlet
        self.ran.append(cmdlet)
        answer = self.answers.get(cmdlet, [])
        if isinstance(answer, Exception):
            self.broken = isinstance(answer, LostSession)
            raise answer
        if isinstance(answer, tuple):
            return Output(answer, ("a warning",))
        return Output((pack(answer),) if batch else (), ("a warning",))

    def close(self) -> None:
        self.closed = True

    abandon = close


CONNECTED = [{"TenantID": HERE.upper(), "State": "Connected"}]
ORGANIZATION = [{"ExternalDirectoryOrganizationId": HERE}]
GOOD = {"Get-ConnectionInformation": CONNECTED, "Get-OrganizationConfig": ORGANIZATION}


def connect(answers: dict[str, Any], *, tenant: str = HERE, issuer: str | None = HERE, life: float = 3600) -> Any:
    time = Time()
    roads: list[Road] = []

    def open_pool() -> Road:
        roads.append(Road({**GOOD, **answers}))
        return roads[-1]

    session = exchange.connect(profile(tenant), Source(time, issuer, life), clock=time, open_pool=open_pool)
    return session, roads, time


def test_the_prelude_gets_its_data_as_parameters() -> None:
    session, roads, _ = connect({})
    given = roads[0].parameters
    known = {each.name for each in powershell.prelude().parameters}
    assert set(given) == known - {"ModuleBasePath", "UserPrincipalName", "DelegatedOrganization"}
    assert isinstance(given["AccessToken"], Secret)
    assert given["Organization"] == "contoso.onmicrosoft.com"
    assert given["ExchangeEnvironmentName"] == "O365Default"
    assert "New-ManagementRoleAssignment" in given["CommandName"]
    assert session.tenant_id == HERE


@pytest.mark.parametrize(
    ("more", "user", "told"),
    [
        ("", None, {"Organization": "contoso.onmicrosoft.com"}),
        ("", "admin@contoso.com", {"UserPrincipalName": "admin@contoso.com"}),
        (PARTNER, "admin@partner.com", {"DelegatedOrganization": "contoso.onmicrosoft.com"}),
    ],
)
def test_the_module_is_told_whose_the_token_is(more: str, user: str | None, told: dict[str, str]) -> None:
    time, road = Time(), Road(GOOD)
    exchange.connect(profile(HERE, more), Source(time, user=user), clock=time, open_pool=lambda: road)
    names = {"Organization", "UserPrincipalName", "DelegatedOrganization"}
    assert {name: value for name, value in road.parameters.items() if name in names} == told


def test_a_partner_must_see_whose_organisation_it_is() -> None:
    """The module was seen to name the customer's tenant while its cmdlets answered from the partner's."""
    hidden = {**GOOD, "Get-OrganizationConfig": AccessDenied("no role")}
    time, road = Time(), Road(hidden)
    with pytest.raises(AccessDenied, match="the customer's tenant cannot be proven"):
        exchange.connect(profile(HERE, PARTNER), Source(time, user="a@b.com"), clock=time, open_pool=lambda: road)
    assert road.closed
    road = Road(hidden)
    own = exchange.connect(profile(), Source(time, user="a@contoso.com"), clock=time, open_pool=lambda: road)
    assert own.tenant_id == HERE


@pytest.mark.parametrize(
    "answers",
    [
        {"Get-ConnectionInformation": [{"TenantID": THERE, "State": "Connected"}], "Get-OrganizationConfig": []},
        {"Get-ConnectionInformation": [], "Get-OrganizationConfig": []},
        {"Get-ConnectionInformation": [{"State": "Connected"}], "Get-OrganizationConfig": []},
        {"Get-ConnectionInformation": [{"TenantID": "", "State": "Connected"}]},
        {"Get-ConnectionInformation": [*CONNECTED, {"TenantID": THERE, "State": "Connected"}]},
        {"Get-OrganizationConfig": [{"ExternalDirectoryOrganizationId": THERE}]},
    ],
)
def test_every_sign_of_another_tenant_refuses_the_session(answers: dict[str, Any]) -> None:
    time = Time()
    road = Road({**GOOD, **answers})
    with pytest.raises(WrongTenant):
        exchange.connect(profile(), Source(time), clock=time, open_pool=lambda: road)
    assert road.closed
    assert set(road.ran) <= {"open", "connect", "Get-ConnectionInformation", "Get-OrganizationConfig"}


def test_the_issuer_of_the_token_counts_too() -> None:
    with pytest.raises(WrongTenant, match="token is for"):
        connect({}, issuer=THERE)
    with pytest.raises(WrongTenant):
        connect({}, tenant="contoso.com", issuer=THERE)
    with pytest.raises(WrongTenant, match="cannot be proven"):
        connect({}, tenant="contoso.com", issuer=None)
    assert connect({}, tenant="contoso.com")[0].tenant_id == HERE
    assert connect({}, issuer=None)[0].tenant_id == HERE


def test_a_connection_that_is_not_connected_is_no_connection() -> None:
    with pytest.raises(Transient, match="broken"):
        connect({"Get-ConnectionInformation": [{"TenantID": HERE, "State": "Broken"}]})


def test_an_organisation_that_may_not_be_read_leaves_the_other_witness() -> None:
    assert connect({"Get-OrganizationConfig": AccessDenied("no")})[0].tenant_id == HERE
    with pytest.raises(ServiceError, match="odd"):
        connect({"Get-OrganizationConfig": ServiceError("odd")})


@pytest.mark.parametrize("error", [LostSession("gone"), Deadline("late")])
def test_a_road_lost_while_opening_left_nothing_unknown(error: ServiceError) -> None:
    with pytest.raises(Transient, match="no session with Exchange"):
        connect({"Get-ConnectionInformation": error})


def test_no_road_in_the_profile() -> None:
    with pytest.raises(BadInput, match="names no road to Exchange"):
        exchange.connect(profile(), Source(Time()), clock=Time())


@pytest.mark.parametrize(
    "objects", [("no batch",), ('[{"Name": "x"}]',), (None,), ([{"Name": "x"}],), (pack([{"Name": "x"}]), 7)]
)
def test_an_answer_that_is_no_batch_is_an_error_and_not_empty(objects: Any) -> None:
    session, _, _ = connect({"Get-ManagementScope": objects})
    with pytest.raises(ServiceError) as odd:
        session.run(GET)
    assert odd.value.code == "unexpected-answer"


def test_rows_and_warnings() -> None:
    session, roads, _ = connect({"Get-ManagementScope": (pack([{"Name": "a"}]), pack([{"Name": "b"}]))})
    result = session.run(GET)
    assert result.rows == ({"Name": "a"}, {"Name": "b"})
    assert result.warnings == ("a warning",)
    assert session.run(REMOVE).rows == ()
    assert session.run("# nothing but a comment").rows == ()
    assert roads[0].ran[-1] == "Remove-ManagementScope"
    with pytest.raises(BadInput, match="one by one"):
        session.run(f"{GET}\n{GET}")


def test_a_lost_read_is_asked_again_on_a_new_road_a_lost_write_is_not() -> None:
    session, roads, _ = connect({})
    roads[0].answers["Get-ManagementScope"] = LostSession("gone")
    session.run(GET)
    assert len(roads) == 2
    assert roads[0].closed
    roads[1].answers["Remove-ManagementScope"] = LostSession("gone")
    with pytest.raises(LostSession):
        session.run(REMOVE)
    assert len(roads) == 2
    session.run(REMOVE)
    assert len(roads) == 3, "the next call has a session again"


def test_a_read_that_is_lost_every_time_ends() -> None:
    session, roads, _ = connect({"Get-ManagementScope": LostSession("gone")})
    with pytest.raises(LostSession):
        session.run(GET)
    assert len(roads) == 4
    assert all(road.closed for road in roads)


def test_the_session_is_renewed_in_time_for_the_call_at_hand() -> None:
    session, roads, time = connect({}, life=3600)
    session.run(GET)
    assert len(roads) == 1
    time.sleep(3600 - 301)
    session.run(GET)
    assert len(roads) == 1
    time.sleep(2)
    session.run(REMOVE)
    assert len(roads) == 2, "a write is not begun with a token that ends within minutes"
    assert roads[0].closed


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_a_session_that_was_ended_opens_no_other(end: str) -> None:
    session, roads, _ = connect({})
    getattr(session, end)()
    assert roads[0].closed
    for script in (GET, REMOVE):
        with pytest.raises(LostSession, match="closed"):
            session.run(script)
    assert len(roads) == 1


def test_closing_disconnects_and_never_raises() -> None:
    session, roads, _ = connect({"Disconnect-ExchangeOnline": ServiceError("no")})
    session.close()
    session.close()
    assert roads[0].closed
    assert roads[0].ran.count("Disconnect-ExchangeOnline") == 1


REFUSED = LostSession("Pipeline: UnAuthorized", code="token-refused")


@pytest.mark.parametrize("where", ["connecting", "proving"])
def test_a_token_that_exchange_refuses_is_asked_for_anew_once(where: str) -> None:
    time, roads = Time(), []
    source = Source(time)

    def open_pool() -> Road:
        road = Road(dict(GOOD))
        if len(roads) < refusals and where == "connecting":
            road.refused = REFUSED
        elif len(roads) < refusals:
            road.answers["Get-OrganizationConfig"] = REFUSED
        roads.append(road)
        return road

    refusals = 1
    session = exchange.connect(profile(), source, clock=time, open_pool=open_pool)
    assert source.fresh == [False, True]
    assert [road.closed for road in roads] == [True, False]
    assert session.run(GET).rows == ()
    refusals = 9
    source.fresh.clear()
    roads.clear()
    with pytest.raises(SignInFailed, match="refused the operator's token") as failed:
        exchange.connect(profile(), source, clock=time, open_pool=open_pool)
    assert (failed.value.code, source.fresh) == ("sign-in-failed", [False, True])
    assert "Exchange.ManageAsApp" in failed.value.next
    assert all(road.closed for road in roads)


def test_a_gateway_that_refuses_the_operator_is_asked_once() -> None:
    """A wrong password, tried again and again, locks the account."""
    time, roads = Time(), []

    class Shut(Road):
        def open(self, *, deadline: float) -> None:
            raise SignInFailed("the gateway refused")

    def open_pool() -> Road:
        roads.append(Shut({}))
        return roads[-1]

    with pytest.raises(SignInFailed, match="gateway refused"):
        exchange.connect(profile(), Source(time), clock=time, open_pool=open_pool)
    assert len(roads) == 1
