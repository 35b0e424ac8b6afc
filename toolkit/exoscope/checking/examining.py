"""Looking at the operator's set-up: everything that :mod:`exoscope.checking.doctor` decides from. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from exoscope._version import __version__
from exoscope.checking.contact import Contact
from exoscope.checking.doctor import lines_of
from exoscope.checking.meeting import meet
from exoscope.checking.needs import EVERYTHING, Needs, needs_of
from exoscope.checking.passes import Passes
from exoscope.checking.seen import (
    UNREADABLE,
    Delegating,
    DoctorAnswer,
    Flags,
    PowerShell,
    Seen,
    Signing,
    Trouble,
)
from exoscope.clock import Clock
from exoscope.entra import Token
from exoscope.entra.holders import Holder, holder_of
from exoscope.entra.inventory import parse_credentials
from exoscope.exchange.inventory import APPLICATION_ROLE, rows_of
from exoscope.exchange.roads import Tried, choose
from exoscope.exchange.rows import Cells
from exoscope.exchange.session import DEADLINE, TellsCmdlets
from exoscope.model import PlanFile, Tenant
from exoscope.outcome import BadInput, ExoscopeError, ObjectNotFound, ServiceError
from exoscope.profile import AdminApiRoad, LocalPwsh, Profile, Transport, resolve
from exoscope.reading import Connection

Answer = TypeVar("Answer")
ROADS = {"pwsh": "a PowerShell of this machine", "admin-api": "Exchange's admin API (undocumented)"}
_INSTANCES = "/roleManagement/directory/roleEligibilityScheduleInstances"
_ELIGIBLE = f"{_INSTANCES}/filterByCurrentUser(on='principal')?$select=roleDefinitionId"


def examine(
    profile: Profile,
    *,
    clock: Clock,
    passes: Passes,
    plan: PlanFile | None = None,
    look: Callable[[], Sequence[Tried]] | None = None,
    admin_api: bool = False,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[str], None] = lambda text: None,
) -> DoctorAnswer:
    """Everything the operator of a profile needs, and first contact with its tenant, which is recorded where it passes.

    ``plan``: exactly what this one needs. ``look`` tries the PowerShells of this machine, where the profile names no road;
    ``admin_api``: the admin API may be taken then. ``say`` gets what a person must read (sign-in by device code), ``progress`` a
    line before each thing. Whatever fails is a line of the answer, and no error.
    """
    needs = EVERYTHING if plan is None else needs_of(plan.plan, plan.hash)
    return _Examination(profile, clock, passes, needs, say, progress).answer(look, admin_api=admin_api)


class _Examination:
    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        passes: Passes,
        needs: Needs,
        say: Callable[[str], None],
        progress: Callable[[str], None],
    ) -> None:
        self._profile, self._clock, self._passes, self._needs = profile, clock, passes, needs
        self._say, self._progress = say, progress

    def answer(self, look: Callable[[], Sequence[Tried]] | None, *, admin_api: bool) -> DoctorAnswer:
        said, tried = self._settle_road(look, admin_api=admin_api)
        road = None if self._profile.transport is None else self._profile.transport.kind
        clocks = self._clocks()
        with Connection(self._profile, self._clock, self._say) as connection:
            seen = self._seen(connection, road, said, tried, clocks)
        return DoctorAnswer(
            profile=str(self._profile.path),
            tool_version=__version__,
            road=road,
            tenant=seen.tenant if isinstance(seen.tenant, Tenant) else None,
            plan=self._needs.plan,
            engine=tried.engine if isinstance(tried, PowerShell) else None,
            module=tried.module if isinstance(tried, PowerShell) else None,
            lines=lines_of(seen, self._needs),
            contact=seen.contact if isinstance(seen.contact, Contact) else None,
        )

    def _seen(
        self,
        connection: Connection,
        road: str | None,
        said: str,
        tried: PowerShell | Trouble | None,
        clocks: dict[str, float | Trouble],
    ) -> Seen:
        self._progress("signing in")
        graph = self._try(lambda: self._holder(connection))
        tenant: Tenant | Trouble = self._try(connection.prove_tenant)
        session: Trouble | None = None
        if road is not None:
            self._progress("opening a session with Exchange")
            opened = self._try(lambda: connection.exchange)
            session = opened if isinstance(opened, Trouble) else None
        there = road is not None and session is None
        if session is not None and session.code == "wrong-tenant":
            tenant = session
        cmdlets = self._try(lambda: self._offered(connection)) if there else session
        holder = graph if isinstance(graph, Holder) else None
        contact: Contact | Trouble | None = session
        if there and isinstance(tenant, Tenant):
            contact = self._try(lambda: self._met(connection))
        ends = self._profile.endpoints
        return Seen(
            cloud=self._profile.cloud,
            hosts=tuple(urlsplit(each).netloc for each in (ends.authority, ends.graph, ends.exchange)),
            own_endpoints=ends.own,
            road=road,
            road_said=said,
            powershell=tried,
            clocks=clocks,
            graph=graph,
            writer=self._writer(connection),
            tenant=tenant,
            session=session,
            cmdlets=cmdlets,
            roles_of=self._roles_of(connection, cmdlets),
            delegating=self._delegating(connection, holder) if there else None,
            eligible=self._try(lambda: self._eligible(connection)) if holder and holder.user else None,
            flags=self._try(lambda: self._flags(connection)) if there else session,
            signing=tuple(self._signing(connection, app) for app in self._apps()),
            contact=contact,
        )

    def _try(self, ask: Callable[[], Answer]) -> Answer | Trouble:
        try:
            return ask()
        except ExoscopeError as error:
            return Trouble(error.code, error.message, error.next)

    # -- the road ----------------------------------------------------------------------------------------------

    def _settle_road(
        self, look: Callable[[], Sequence[Tried]] | None, *, admin_api: bool
    ) -> tuple[str, PowerShell | Trouble | None]:
        """The road in words, and the PowerShell on it (None: it has none)."""
        transport = self._profile.transport
        if transport is None:
            return self._choose(look, admin_api=admin_api)
        if isinstance(transport, AdminApiRoad):
            return ROADS["admin-api"], None
        tried = self._try(lambda: self._tried(transport))
        if isinstance(transport, Transport):
            return f"the gateway {urlsplit(transport.url).netloc}", tried
        return ROADS["pwsh"], tried

    def _choose(
        self, look: Callable[[], Sequence[Tried]] | None, *, admin_api: bool
    ) -> tuple[str, PowerShell | Trouble | None]:
        try:
            found = tuple(look()) if look is not None else ()
        except BadInput as error:
            return f"the profile names none, and {error.message}", Trouble(error.code, error.message, error.next)
        choice = choose(found)
        if not choice.asks or admin_api:
            self._profile = replace(self._profile, transport=choice.transport)
            good = next((each for each in found if each.module is not None), None)
            return f"chosen: {choice.reason}", None if good is None else _powershell(good)
        return f"the profile names none, and {choice.reason}", _powershell(found[0]) if found else None

    def _tried(self, transport: Transport | LocalPwsh) -> PowerShell | Trouble:
        from exoscope.exchange import trying
        from exoscope.exchange.psrp import PsrpPool
        from exoscope.powershell.child import find_program

        self._progress("loading Exchange's module")
        if isinstance(transport, LocalPwsh):
            return _powershell(trying.try_module(find_program(transport.path)))
        password = resolve(transport.password) if transport.password is not None else None
        return _powershell(trying.try_pool(PsrpPool(transport, password), transport.url))

    def _clocks(self) -> dict[str, float | Trouble]:
        """How far the clocks of the sign-in service and of Graph are ahead of ours, in seconds. No token is sent."""
        ends = self._profile.endpoints
        asked = {
            ends.authority: f"{ends.authority}/{self._profile.tenant}/v2.0/.well-known/openid-configuration",
            ends.graph: f"{ends.graph}/v1.0/organization",
        }
        return {urlsplit(origin).netloc: self._ahead(origin, url) for origin, url in asked.items()}

    def _ahead(self, origin: str, url: str) -> float | Trouble:
        import requests

        from exoscope.origins import OriginSession

        self._progress(f"asking {urlsplit(origin).netloc} for the time")
        try:
            with OriginSession([origin], self._profile.endpoints.ca) as http:
                began, before = time.monotonic(), self._clock.now()
                answer = http.request("GET", url)
                took = time.monotonic() - began
        except requests.exceptions.RequestException as error:
            return Trouble(
                "unreachable", f"it cannot be reached ({type(error).__name__})", "Check the network and proxy."
            )
        try:
            told = parsedate_to_datetime(answer.headers.get("Date", ""))
            # The header has whole seconds: half of one lies in between.
            return (told - (before + timedelta(seconds=took / 2))).total_seconds() + 0.5
        except (TypeError, ValueError):
            return Trouble("no-date", "it does not tell the time", "A proxy may take the header away.")

    # -- the operator ------------------------------------------------------------------------------------------

    def _holder(self, connection: Connection) -> Holder:
        return _read(connection.tokens.operator("graph"))

    def _writer(self, connection: Connection) -> Holder | Trouble | None:
        """Who changes things in Graph, where that is another; nobody is asked to sign in for it."""
        if not connection.tokens.second_writer:
            return None
        return self._try(lambda: _read(connection.tokens.operator("graph", writing=True, ask=False)))

    def _offered(self, connection: Connection) -> frozenset[str]:
        session = connection.exchange
        if not isinstance(session, TellsCmdlets):
            raise ServiceError("this road does not tell which cmdlets it has", code="not-told")
        self._progress("which cmdlets the operator has")
        return session.offered()

    def _roles_of(self, connection: Connection, cmdlets: frozenset[str] | Trouble | None) -> dict[str, tuple[str, ...]]:
        """Which roles of the tenant hold the cmdlets that are missing; nothing where that may not be asked."""
        if not isinstance(cmdlets, frozenset):
            return {}
        missing = {each for need in self._needs.cmdlets for each in need.cmdlets if each.casefold() not in cmdlets}
        found: dict[str, tuple[str, ...]] = {}
        for cmdlet in sorted(missing):
            self._progress(f"which roles hold {cmdlet}")
            rows = self._try(
                lambda name=cmdlet: rows_of(  # type: ignore[misc]  # a default of a lambda has no type of its own
                    connection.exchange, "setup/roles_of_cmdlet", {"cmdlet": name}, deadline=DEADLINE
                )
            )
            if isinstance(rows, Trouble):
                break  # who may not ask once may not ask again
            found[cmdlet] = tuple(sorted(str(Cells(row).raw("Name")) for row in rows))
        return found

    def _delegating(self, connection: Connection, holder: Holder | None) -> Delegating:
        self._progress("who may give application roles")
        every = self._try(lambda: rows_of(connection.exchange, "setup/delegating", deadline=DEADLINE))
        holders: dict[str, tuple[str, ...]] | None = None
        if not isinstance(every, Trouble):
            holders = {}
            for row in every:
                role, who = str(Cells(row).raw("Role")), str(Cells(row).raw("RoleAssigneeName"))
                if role.casefold().startswith(APPLICATION_ROLE):
                    holders[role] = (*holders.get(role, ()), who)
        me = None if holder is None else holder.user or holder.object_id
        if me is None:
            return Delegating(None, holders, "who the operator is, its token does not say")
        try:
            mine = rows_of(connection.exchange, "setup/delegating_of", {"assignee": me}, deadline=DEADLINE)
        except ObjectNotFound:
            mine = ()  # Exchange knows nobody of that name to whom a role was given
        except ServiceError as error:
            return Delegating(None, holders, error.message)
        why = every.message if isinstance(every, Trouble) else ""
        return Delegating(tuple(sorted({str(Cells(row).raw("Role")) for row in mine})), holders, why)

    def _eligible(self, connection: Connection) -> tuple[str, ...]:
        """Template ids of the Entra roles that the person may activate (PIM). Built-in roles have their template's id."""
        self._progress("which Entra roles the operator may activate")
        return tuple(str(row.get("roleDefinitionId")).casefold() for row in connection.graph.pages(_ELIGIBLE))

    def _flags(self, connection: Connection) -> Flags:
        self._progress("the organisation's settings")
        rows = rows_of(connection.exchange, "setup/organization", deadline=DEADLINE)
        if len(rows) != 1:
            raise ServiceError(f"Exchange answered {len(rows)} organisations", code="unexpected-answer")
        cells = Cells(rows[0])
        allowed = cells.texts("EwsAllowedAppIDs")
        return Flags(
            dehydrated=_flag(cells.optional_flag("IsDehydrated")),
            ews_enabled=_flag(cells.optional_flag("EwsEnabled")),
            ews_policy=cells.optional("EwsApplicationAccessPolicy"),
            ews_allowed=None if allowed is None else len(allowed),
            enforce=_flag(cells.optional_flag("EnforceExoAppRbacPermissions")),
        )

    # -- the apps ----------------------------------------------------------------------------------------------

    def _apps(self) -> Iterable[str]:
        """The apps that can be asked as: all of the profile, or those of the plan."""
        if self._needs.plan is None:
            return self._profile.apps
        return [app for app in self._needs.apps if self._profile.credential(app) is not None]

    def _signing(self, connection: Connection, app: str) -> Signing:
        self._progress(f"signing in as {app}")
        token = self._try(lambda: connection.tokens.app(app, fresh=True))
        if isinstance(token, Trouble):
            return Signing(app, token, None)
        ends = self._try(lambda: self._ends(connection, app))
        return Signing(app, None, None if isinstance(ends, Trouble) else ends)

    def _ends(self, connection: Connection, app: str) -> tuple[int, ...]:
        """Days until the app's credentials of the kind in the profile end, in Entra."""
        held = self._profile.credential(app)
        kind = "secret" if held is not None and held.secret is not None else "certificate"
        select = "?$select=id,passwordCredentials,keyCredentials"
        try:
            body = connection.graph.get(f"/applications(appId='{app}'){select}")
        except ObjectNotFound:
            body = connection.graph.get(f"/servicePrincipals(appId='{app}'){select}")
        listed = parse_credentials(body)
        if isinstance(listed, UnsetType):
            return ()
        now = self._clock.now()
        times = sorted(each.end for each in listed if each.kind == kind and each.end)
        return tuple((datetime.fromisoformat(each) - now).days for each in times)

    # -- first contact -----------------------------------------------------------------------------------------

    def _met(self, connection: Connection) -> Contact:
        contact = meet(connection, self._progress)
        self._passes.keep(connection, contact)
        return contact


def _read(token: Token) -> Holder:
    holder = holder_of(token)
    if holder is None:
        raise ServiceError("the operator's token for Graph cannot be read", code=UNREADABLE)
    return holder


def _powershell(tried: Tried) -> PowerShell | Trouble:
    if tried.module is None or tried.engine is None:
        return Trouble(tried.code, f"{tried.program}: {tried.why}", tried.next)
    return PowerShell(tried.engine, tried.module)


def _flag(value: bool | UnsetType | None) -> bool | None:
    return None if value is UNSET or isinstance(value, UnsetType) else value
