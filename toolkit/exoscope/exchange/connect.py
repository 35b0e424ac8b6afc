"""A session with Exchange Online over a road of PSRP: opened, proven to be in the right tenant, opened again when lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from exoscope import powershell
from exoscope.clock import Clock
from exoscope.exchange.errors import REFUSED, SIGN_IN, TokenRefused
from exoscope.exchange.psrp import PsrpPool
from exoscope.exchange.records import Output
from exoscope.exchange.repeating import is_read, repeated
from exoscope.exchange.session import BATCH, DEADLINE, ExchangeSession, Result, Row
from exoscope.model import Secret
from exoscope.outcome import (
    AccessDenied,
    BadInput,
    Deadline,
    LostSession,
    ServiceError,
    Transient,
    WrongTenant,
)
from exoscope.powershell.child import find_program
from exoscope.profile import AdminApiRoad, LocalPwsh, Profile, Transport, resolve

log = logging.getLogger("exoscope.exchange")

OPEN_DEADLINE = 120.0
PRELUDE_DEADLINE = 300.0  # Connect-ExchangeOnline downloads its cmdlets
MARGIN = 300.0  # seconds before its end at which a token is no longer begun with

_SELECT = "Select-Object"


class AccessToken(Protocol):
    """A token and until when it is good. ``tenant_id``: the tenant that issued it, as its own claim says; None: unreadable.
    ``user``: the sign-in name of the person it speaks for; None: an application.
    """

    @property
    def secret(self) -> Secret: ...

    @property
    def expires_at(self) -> datetime: ...

    @property
    def tenant_id(self) -> str | None: ...

    @property
    def user(self) -> str | None: ...


class TokenSource(Protocol):
    """Where the operator's token for Exchange comes from (:class:`exoscope.entra.Tokens`)."""

    def exchange(self, *, valid_for: float, fresh: bool = False) -> AccessToken:
        """A token that is good for ``valid_for`` seconds more, where the service gives such; ``fresh``: issued now.

        Raises SignInFailed, Transient.
        """
        ...


class Pool(Protocol):
    """What the session needs of the road under it."""

    broken: bool

    def open(self, *, deadline: float) -> None: ...

    def invoke(self, script: str, parameters: Any = None, *, deadline: float, batch: int | None = None) -> Output: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


def connect(
    profile: Profile, tokens: TokenSource, *, clock: Clock, open_pool: Callable[[], Pool] | None = None
) -> ExchangeSession:
    """A session in the profile's tenant, open and proven. ``open_pool`` puts another road under it (tests).

    The profile names its road (:func:`exoscope.exchange.roads.settled` chooses where a file does not).
    Raises BadInput (code ``no-road``) when it does not; SignInFailed, WrongTenant, Transient, Deadline, AccessDenied.
    """
    transport = profile.transport
    if isinstance(transport, AdminApiRoad) and open_pool is None:
        from exoscope.exchange.adminapi import open_session  # requests is slow to load

        return open_session(profile, tokens, clock=clock)
    road = "pwsh" if isinstance(transport, LocalPwsh) else "gateway"
    if open_pool is None:
        if transport is None or isinstance(transport, AdminApiRoad):
            raise BadInput(
                f"{profile.path} names no road to Exchange, and none was chosen",
                code="no-road",
                next="Name one as [transport] kind.",
            )
        open_pool = _local(transport) if isinstance(transport, LocalPwsh) else _gateway(transport)
    session = _Session(profile, tokens, clock, open_pool, road)
    session.open()
    return session


def _gateway(transport: Transport) -> Callable[[], Pool]:
    password = resolve(transport.password) if transport.password is not None else None
    return lambda: PsrpPool(transport, password)


def _local(transport: LocalPwsh) -> Callable[[], Pool]:
    from exoscope.exchange.local import PwshPool  # psrpcore is slow to load

    program = find_program(transport.path)
    return lambda: PwshPool(program)


class _Session:
    def __init__(
        self, profile: Profile, tokens: TokenSource, clock: Clock, open_pool: Callable[[], Pool], road: str
    ) -> None:
        self._profile, self._tokens, self._clock, self._open_pool = profile, tokens, clock, open_pool
        self._road = road
        self._pool: Pool | None = None
        self._renew_at: datetime | None = None
        self._proven = ""
        self._over = False

    @property
    def road(self) -> str:
        return self._road

    @property
    def tenant_id(self) -> str:
        return self._proven

    def run(self, script: str, *, deadline: float = DEADLINE, batch: int | None = None) -> Result:
        pipelines = powershell.read(script)
        cmdlets = [operation.cmdlet for pipeline in pipelines for operation in pipeline if operation.cmdlet != _SELECT]
        if not cmdlets:
            return Result()
        if not is_read(cmdlets):
            return self._call(script, cmdlets, deadline, batch=None)
        if len(pipelines) != 1:
            raise BadInput("reads are sent one by one: their rows would not be told apart")
        return self._read(script, cmdlets, deadline, batch or BATCH)

    def _read(self, script: str, cmdlets: list[str], deadline: float, batch: int) -> Result:
        return repeated(
            lambda left: self._call(script, cmdlets, left, batch), cmdlets[0], clock=self._clock, deadline=deadline
        )

    def _call(self, script: str, cmdlets: list[str], deadline: float, batch: int | None) -> Result:
        pool = self._ready(deadline)
        began = time.monotonic()
        try:
            output = pool.invoke(script, deadline=deadline, batch=batch)
        except LostSession:
            self._drop()
            raise
        result = Result(rows=_rows(output.objects) if batch else (), warnings=output.warnings)
        log.info("%s: %d rows in %.2f s", ", ".join(cmdlets), len(result.rows), time.monotonic() - began)
        for warning in result.warnings:
            log.info("%s warned: %s", cmdlets[0], warning)
        return result

    def offered(self, *, deadline: float = DEADLINE) -> frozenset[str]:
        """See :class:`~exoscope.exchange.session.TellsCmdlets`: those of ours that the module imported."""
        pool = self._ready(deadline)
        text = powershell.prelude(powershell.CMDLETS).text
        try:
            found = pool.invoke(text, {"CommandName": powershell.cmdlet_names()}, deadline=deadline).objects
        except LostSession:
            self._drop()
            raise
        return frozenset(str(each).casefold() for each in found)

    # -- opening -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open, connect, prove the tenant. Raises what :func:`connect` raises."""
        self._ready(DEADLINE)

    def _ready(self, deadline: float) -> Pool:
        if self._over:
            raise LostSession("the session is closed")
        if self._pool is not None and self._pool.broken:
            self._drop()
        if self._pool is not None and self._renew_at is not None and self._clock.now() >= self._renew_at:
            log.info("the token ends soon: a new session is opened")
            self._drop()
        if self._pool is None:
            self._pool = self._opened(max(MARGIN, deadline))
        return self._pool

    def _opened(self, margin: float) -> Pool:
        try:
            return self._opened_with(self._tokens.exchange(valid_for=margin), margin)
        except TokenRefused:
            # One that was kept may have been ended before its time, or is older than a role that was given since.
            log.info("Exchange refused the token: a new one is asked for")
            return self._opened_with(self._tokens.exchange(valid_for=margin, fresh=True), margin)

    def _opened_with(self, token: AccessToken, margin: float) -> Pool:
        self._expect(token.tenant_id, "the operator's token is for")
        pool = self._open_pool()
        try:
            pool.open(deadline=OPEN_DEADLINE)
            self._connect(pool, token)
        except BaseException as error:
            pool.close()
            if isinstance(error, LostSession | Deadline):
                # Nothing but reads and the connection itself ran, so this is no unknown outcome.
                raise Transient(f"no session with Exchange: {error.message}", next=error.next) from None
            raise
        left = (token.expires_at - self._clock.now()).total_seconds()
        self._renew_at = token.expires_at - timedelta(seconds=min(margin, max(0.0, left) / 2))
        return pool

    def _connect(self, pool: Pool, token: AccessToken) -> None:
        """Connect the pool's runspace and prove its tenant. Raises TokenRefused, and what :func:`connect` raises."""
        prelude = powershell.prelude()
        parameters = {
            "AccessToken": token.secret,
            **organization_of(self._profile, token.user),
            "CommandName": powershell.cmdlet_names(),
            "ExchangeEnvironmentName": self._profile.cloud_endpoints.exchange_environment,
        }
        log.info("connecting to Exchange, prelude %s", prelude.sha256[:12])
        try:
            pool.invoke(prelude.text, parameters, deadline=PRELUDE_DEADLINE)
            self._prove(pool, token.tenant_id)
        except LostSession as error:
            if error.code != REFUSED:
                raise
            raise TokenRefused(f"Exchange refused the operator's token: {error.message}", next=SIGN_IN) from None

    def _expect(self, tenant_id: str | None, what: str) -> None:
        meant = self._profile.tenant
        if "." not in meant and tenant_id is not None and tenant_id.casefold() != meant:
            raise WrongTenant(f"{what} the tenant {tenant_id}, the profile names {meant}")

    def _prove(self, pool: Pool, issuer: str | None) -> None:
        """Invariant 10: what Exchange says of this session must be the tenant that the profile names and that issued the
        token. Source of the columns: Get-ConnectionInformation and Get-OrganizationConfig.
        """
        meant = self._profile.tenant if "." not in self._profile.tenant else (issuer or "").casefold()
        if not meant:
            raise WrongTenant("the tenant cannot be proven: the token does not say which one issued it", next=_BY_ID)
        rows = self._template(pool, "session/connection")
        # The module lists every connection of the process; one to another tenant would make cmdlets ambiguous.
        seen = {str(value).casefold() for row in rows if (value := column(row, "TenantID")) is not None}
        if seen != {meant}:
            named = ", ".join(sorted(seen)) or "no tenant at all"
            raise WrongTenant(f"Exchange says the session is in {named}; meant is {meant}", next=_BY_ID)
        states = {str(column(row, "State")).casefold() for row in rows}
        if states != {"connected"}:
            raise Transient(f"Exchange says the connection is {', '.join(sorted(states))}")
        try:
            rows = self._template(pool, "inventory/organization")
        except AccessDenied as error:
            if is_partner(self._profile):
                # The module was seen to name the customer's tenant while its cmdlets answered from the partner's own
                # (MicrosoftDocs/office-docs-powershell, issue 10378): its word alone proves nothing here.
                raise AccessDenied(
                    f"the customer's tenant cannot be proven: {error.message}",
                    next=f"{error.next} A partner must read the organisation's settings (View-Only Configuration).",
                    request_id=error.request_id,
                ) from None
            log.info("the organisation's settings may not be read: the connection's answer stands alone")
            rows = ()
        for row in rows:
            found = column(row, "ExternalDirectoryOrganizationId")
            if found is not None and str(found).casefold() != meant:
                raise WrongTenant(
                    f"Exchange's organisation belongs to the tenant {found}; meant is {meant}", next=_BY_ID
                )
        self._proven = meant

    def _template(self, pool: Pool, name: str) -> tuple[Row, ...]:
        script = powershell.render_guarded(name, {}).text
        return _rows(pool.invoke(script, deadline=DEADLINE, batch=BATCH).objects)

    def _drop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def abandon(self) -> None:
        self._over = True
        pool = self._pool
        if pool is not None:
            pool.abandon()

    def close(self) -> None:
        self._over = True
        pool = self._pool
        if pool is not None and not pool.broken:
            try:
                pool.invoke(powershell.render_guarded("session/disconnect", {}).text, deadline=30)
            except ServiceError as error:
                log.debug("disconnecting: %s", error.code)
        self._drop()


def organization_of(profile: Profile, user: str | None) -> dict[str, str]:
    """The one parameter by which Connect-ExchangeOnline is told whose the token is, "depending on the type of access token":
    -DelegatedOrganization (a partner in a customer's tenant), -UserPrincipalName (a person), -Organization (an app). Source:
    Connect-ExchangeOnline, -AccessToken.
    """
    if is_partner(profile):
        return {"DelegatedOrganization": profile.organization}
    return {"UserPrincipalName": user} if user else {"Organization": profile.organization}


def is_partner(profile: Profile) -> bool:
    """Is the operator's account one of another tenant?"""
    return profile.operator is not None and profile.operator.partner


_BY_ID = "Compare tenant, organization and operator in the profile."


def column(row: Row, name: str) -> Any:
    """A row's value in a column, whatever the spelling of its case; None when the row has no such column."""
    if name in row:
        return row[name]
    folded = name.casefold()
    return next((value for key, value in row.items() if key.casefold() == folded), None)


def _rows(objects: tuple[Any, ...]) -> tuple[Row, ...]:
    """The rows in the batches of a read. Anything else in the output means that the batching did not take place."""
    rows: list[Row] = []
    try:
        for text in objects:
            rows += powershell.unpack(text)
    except ValueError:
        raise ServiceError(
            "the session answered something else than batches of rows", code="unexpected-answer"
        ) from None
    return tuple(rows)
