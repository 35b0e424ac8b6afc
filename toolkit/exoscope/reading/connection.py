"""A connection to one tenant: Exchange and Graph as the operator, Graph as each app, all opened when they are first used.

Before its first operation each side proves which tenant it is in; two sides that disagree are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from exoscope import exchange
from exoscope.clock import Clock
from exoscope.entra import GraphClient, Tokens
from exoscope.entra.inventory import OrganizationRow, read_organization
from exoscope.exchange import ExchangeSession
from exoscope.model import Tenant
from exoscope.outcome import WrongTenant
from exoscope.profile import Profile

log = logging.getLogger("exoscope.reading")

_NEXT = "Compare tenant, organization, operator and [endpoints] in the profile."


class Connection:
    """A connection for one profile; a context manager. Use it from one thread at a time.

    ``say`` gets sentences for people on stderr (own endpoints, device code sign-in). Every property that opens something
    raises BadInput (the profile lacks it), SignInFailed, WrongTenant, Transient, Deadline and the rest of the family.
    ``parallel``: how many sessions with Exchange share its reads; all are opened when the first is needed.
    """

    def __init__(
        self, profile: Profile, clock: Clock, say: Callable[[str], None] | None = None, *, parallel: int = 1
    ) -> None:
        self.profile = profile
        self._parallel = parallel
        self.clock = clock
        self._say = say or log.info
        # Without anybody who passes sentences on, a person must still be told how to sign in: that is a warning then.
        self.tokens = Tokens(profile, clock, say)
        self._exchange: ExchangeSession | None = None
        self._graph: GraphClient | None = None
        self._writer: GraphClient | None = None
        self._apps: dict[str, GraphClient] = {}
        self._organization: OrganizationRow | None = None
        self._named = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def exchange(self) -> ExchangeSession:
        """The session with Exchange, proven."""
        if self._exchange is None:
            self._name_endpoints()
            session = exchange.connect_several(self.profile, self.tokens, clock=self.clock, count=self._parallel)
            try:
                if self._organization is not None:
                    self._agree(session, self._organization)
            except BaseException:
                session.close()
                raise
            self._exchange = session
        return self._exchange

    @property
    def graph(self) -> GraphClient:
        """Graph as the operator, proven."""
        return self._open_graph()

    def _open_graph(self) -> GraphClient:
        if self._graph is not None:
            return self._graph
        self._name_endpoints()
        ends = self.profile.endpoints
        client = GraphClient(
            ends.graph, lambda fresh: self.tokens.operator("graph", fresh=fresh), self.clock, ca=ends.ca
        )
        try:
            organization = read_organization(client)
            self._meant(organization)
            if self._exchange is not None:
                self._agree(self._exchange, organization)
        except BaseException:
            client.close()
            raise
        self._organization, self._graph = organization, client
        return client

    @property
    def graph_writes(self) -> GraphClient:
        """Graph as whoever changes things there: the operator, or the profile's operator for Graph writes, signed in now.

        Its token must be of the tenant that Graph proved to be in. Raises SignInFailed, WrongTenant.
        """
        meant = self.prove_tenant().id
        if not self.tokens.asks_more_to_write:
            return self._open_graph()
        if self._writer is None:
            issued = self.tokens.operator("graph", writing=True).tenant_id
            if issued is None or issued.casefold() != meant.casefold():
                raise WrongTenant(
                    f"the token for Graph writes is of the tenant {issued or 'that it does not name'}; meant is {meant}",
                    next=_NEXT,
                )
            ends = self.profile.endpoints
            self._writer = GraphClient(
                ends.graph,
                lambda fresh: self.tokens.operator("graph", fresh=fresh, writing=True),
                self.clock,
                ca=ends.ca,
            )
        return self._writer

    def as_app(self, app_id: str, *, fresh: bool = False) -> GraphClient:
        """Graph as the app itself. ``fresh``: with a token issued now, which carries the consents of now.

        Raises SignInFailed (code ``no-credential`` where the profile has none), WrongTenant.
        """
        self._name_endpoints()
        token = self.tokens.app(app_id, fresh=fresh)
        meant = self.prove_tenant().id
        if token.tenant_id is not None and token.tenant_id.casefold() != meant.casefold():
            raise WrongTenant(f"the token of {app_id} is of the tenant {token.tenant_id}; meant is {meant}", next=_NEXT)
        key = app_id.casefold()
        if key not in self._apps:
            ends = self.profile.endpoints
            self._apps[key] = GraphClient(
                ends.graph, lambda fresh: self.tokens.app(key, fresh=fresh), self.clock, ca=ends.ca
            )
        return self._apps[key]

    def prove_tenant(self, meant: Tenant | None = None) -> Tenant:
        """The tenant, as Graph and (where it is open) Exchange say it. Opens Graph.

        Raises WrongTenant when they disagree with each other, with the profile, or with ``meant`` (a plan's or run's).
        """
        self._open_graph()
        organization = self._organization
        if organization is None:
            raise WrongTenant("the tenant is not proven", next=_NEXT)
        found = Tenant(id=organization.id, domain=organization.initial_domain, cloud=self.profile.cloud)
        if meant is not None and (found.id.casefold(), found.cloud) != (meant.id.casefold(), meant.cloud):
            raise WrongTenant(
                f"this is the tenant {found.id} ({found.domain}, {found.cloud}); "
                f"meant is {meant.id} ({meant.domain}, {meant.cloud})",
                next="Use the profile of the tenant that was planned for.",
            )
        return found

    def close(self) -> None:
        """End all sessions; never raises."""
        session, self._exchange = self._exchange, None
        if session is not None:
            session.close()
        for client in (self._graph, self._writer, *self._apps.values()):
            if client is not None:
                client.close()
        self._graph, self._writer, self._apps = None, None, {}

    def _meant(self, organization: OrganizationRow) -> None:
        meant = self.profile.tenant
        names = {organization.id.casefold(), *(domain.casefold() for domain in organization.domains)}
        if meant not in names:
            raise WrongTenant(
                f"Graph says this is the tenant {organization.id} ({organization.initial_domain}); the profile names {meant}",
                next=_NEXT,
            )

    def _agree(self, session: ExchangeSession, organization: OrganizationRow) -> None:
        if session.tenant_id != organization.id.casefold():
            raise WrongTenant(
                f"Exchange is in the tenant {session.tenant_id}, Graph in {organization.id}: they must be one",
                next=_NEXT,
            )

    def _name_endpoints(self) -> None:
        ends = self.profile.endpoints
        if ends.own and not self._named:
            self._say(
                f"Endpoints of {self.profile.path}: authority {ends.authority}, Graph {ends.graph}, Exchange {ends.exchange}"
            )
        self._named = True
