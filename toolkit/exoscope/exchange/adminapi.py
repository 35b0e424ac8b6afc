"""A session with Exchange Online over its admin API: the REST road of Exchange's own module, without any PowerShell.

Microsoft does not document this road and may change it without notice. What is relied on is what public clients of it show
(CIPP-API, ExoHelper, azapptoolkit, ScubaGear). The same script text as on every road is read by the guard, and what it reads
is sent: a cmdlet and its parameters as data, never text that anything would parse.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import msgspec

from exoscope import powershell
from exoscope.clock import Clock
from exoscope.exchange.adminapi_http import AdminApi, Page
from exoscope.exchange.connect import MARGIN, AccessToken, TokenSource, column
from exoscope.exchange.errors import REFUSED, SIGN_IN, TokenRefused
from exoscope.exchange.repeating import PASSING, is_read, repeated
from exoscope.exchange.selecting import Selection, limit, needed, plain_rows, select, selections
from exoscope.exchange.session import DEADLINE, Result, Row
from exoscope.model import Noun
from exoscope.outcome import (
    AccessDenied,
    BadInput,
    Deadline,
    LostSession,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.powershell import Operation, Pipeline
from exoscope.profile import Profile

log = logging.getLogger("exoscope.exchange")

Answer = TypeVar("Answer")

ROAD = "admin-api"
OPEN_DEADLINE = 120.0
PAGE = 1000  # rows; the service gives no more at once
BATCH_LIMIT = 10  # requests in one batch

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Cmdlets of the module: they are about its connections, which this road has none of.
_MODULE = frozenset({"Connect-ExchangeOnline", "Disconnect-ExchangeOnline", "Get-ConnectionInformation"})
# A recipient has some hundred properties of which a read wants a dozen, and there may be very many of them.
_WIDE = frozenset({"Get-Recipient"})
_LASTING = frozenset({"foreign-origin", "unexpected-answer", "untrusted-endpoint"})  # asked again they are the same
# An error is an error here whatever was asked for, and warnings are always told.
_SAME_ANYWAY = {"ErrorAction": ("stop", "continue"), "WarningAction": ("continue",)}
_BY_ID = "Compare tenant, organization and operator in the profile."


class _Call(Noun, frozen=True):
    """A pipeline made ready: what is sent, what is chosen of its answer here, and the properties that are asked for by name
    (none: the service sends all).
    """

    cmdlet: str
    body: dict[str, object]
    chain: tuple[Selection, ...]
    only: tuple[str, ...] = ()


def open_session(profile: Profile, tokens: TokenSource, *, clock: Clock) -> AdminApiSession:
    """A session in the profile's tenant, proven. Raises SignInFailed, WrongTenant, AccessDenied, Throttled, Transient."""
    session = AdminApiSession(profile, tokens, clock)
    session.open()
    return session


class AdminApiSession:
    """An :class:`~exoscope.exchange.session.ExchangeSession`, and reads ten at a time (:meth:`run_each`)."""

    def __init__(self, profile: Profile, tokens: TokenSource, clock: Clock) -> None:
        self._profile, self._tokens, self._clock = profile, tokens, clock
        self._api: AdminApi | None = None
        self._renew_at: datetime | None = None
        self._proven = ""
        self._over = False
        self._selects = True  # until the service shows that it does not

    @property
    def road(self) -> str:
        return ROAD

    @property
    def tenant_id(self) -> str:
        return self._proven

    def open(self) -> None:
        """Sign in, find the tenant's host, prove the tenant."""
        self._ready(DEADLINE)

    def run(self, script: str, *, deadline: float = DEADLINE, batch: int | None = None) -> Result:
        """Run an operation script; see :meth:`ExchangeSession.run`. ``batch``: rows of one page (1000 where it is more)."""
        pipelines = powershell.read(script)
        if not pipelines:
            return Result()
        if len(pipelines) != 1:
            raise BadInput("operations are sent one by one over the admin API: their outcomes would not be told apart")
        call = _call(pipelines[0])
        if is_read([call.cmdlet]):
            return self._list(call, deadline, _size(batch))
        return self._write(call, deadline)

    def run_each(
        self, scripts: Sequence[str], *, deadline: float = DEADLINE, batch: int | None = None
    ) -> tuple[Result | ServiceError, ...]:
        """Run reads of one pipeline each, ten in a request: each one's result, or the error that it answered.

        ``deadline`` is for all of them. What a batch could not answer is asked for once more by itself, as :meth:`run` does.
        Raises SignInFailed, WrongTenant and GuardRefused; BadInput when one of them is no read.
        """
        end = time.monotonic() + deadline
        calls = [_whole(_call(pipeline)) for script in scripts for pipeline in powershell.read(script)]
        if len(calls) != len(scripts) or not is_read([call.cmdlet for call in calls]):
            raise BadInput("a batch takes reads, one pipeline each")
        found: list[Result | ServiceError] = []
        for at in range(0, len(calls), BATCH_LIMIT):
            few = calls[at : at + BATCH_LIMIT]
            first = self._first_pages(few, max(1.0, end - time.monotonic()), _size(batch))
            for script, call, page in zip(scripts[at:], few, first, strict=False):
                left = max(1.0, end - time.monotonic())
                found.append(self._settled(script, call, page, left, batch))
        return tuple(found)

    def offered(self, *, deadline: float = DEADLINE) -> frozenset[str]:
        """See :class:`~exoscope.exchange.session.TellsCmdlets`."""
        ours = frozenset(name.casefold() for name in powershell.cmdlet_names())
        api = self._ready(deadline)
        return ours & self._within(lambda: api.exported(deadline=deadline))

    # -- reads and writes --------------------------------------------------------------------------------------

    def _list(self, call: _Call, deadline: float, size: int) -> Result:
        """A read, asked again after what passes; with its properties by name where the service answers so.

        Public clients ask so (CIPP-API's New-ExoRequest, ExoHelper's PropertiesToLoad), but nobody says what the service does
        with a name that it does not like. So a refusal, or a row without one of the names, counts as "cannot", never as an answer;
        and no rows at all, or a property that nobody has, are believed only of the read that is known, without names.
        """
        end = time.monotonic() + deadline
        narrow = self._narrow(call, deadline, size) if call.only and self._selects else None
        if narrow is not None and _told(narrow.rows):
            return narrow
        whole = self._repeated(_whole(call), max(1.0, end - time.monotonic()), size)
        self._selects = self._selects and (not call.only or (narrow is not None and narrow.rows == whole.rows))
        return whole

    def _narrow(self, call: _Call, deadline: float, size: int) -> Result | None:
        wanted = len({name.casefold() for name in call.only})  # rows hold these and no others: plain_rows sees to it
        try:
            result = self._repeated(call, deadline, size)
        except ServiceError as error:
            # Those that have a type of their own would come again; so would a foreign host.
            if type(error) is not ServiceError or error.code in _LASTING:
                raise
            log.info("%s: refused by property name (%s), asked for as a whole", call.cmdlet, error.code)
            return None
        if all(len(row) == wanted for row in result.rows):
            return result
        log.info("%s: not every property came by name, asked for as a whole", call.cmdlet)
        return None

    def _repeated(self, call: _Call, deadline: float, size: int) -> Result:
        return repeated(lambda left: self._read(call, left, size), call.cmdlet, clock=self._clock, deadline=deadline)

    def _read(self, call: _Call, deadline: float, size: int, first: Page | None = None) -> Result:
        """All pages of a read. A page that fails is an error of the whole: a short list would look like a whole one."""
        api, began = self._ready(deadline), time.monotonic()
        wanted, columns = limit(call.chain), needed(call.chain)
        rows: list[Row] = []
        warnings: list[str] = []
        seen: set[str] = set()

        def ask(link: str | None) -> Page:
            return self._page(api, call, link, deadline - (time.monotonic() - began), size)

        page = first if first is not None else ask(None)
        while True:
            link = page.next
            if link in seen:
                raise ServiceError(
                    f"{call.cmdlet}: Exchange answered with the same page again", code="unexpected-answer"
                )
            if link is not None:
                seen.add(link)
            # Where all pages will be asked for, the next one is under way while this one is worked on.
            coming = _ahead(partial(ask, link)) if link is not None and wanted is None else None
            rows += plain_rows(page.rows, columns)
            warnings += page.warnings
            if link is None or (wanted is not None and len(rows) >= wanted):
                break
            page = coming() if coming is not None else ask(link)
        result = Result(rows=select(rows, call.chain), warnings=tuple(warnings))
        log.info("%s: %d rows in %.2f s", call.cmdlet, len(result.rows), time.monotonic() - began)
        self._tell(call, result)
        return result

    def _page(self, api: AdminApi, call: _Call, link: str | None, deadline: float, size: int) -> Page:
        if deadline <= 0:
            raise Deadline(f"{call.cmdlet}: no whole answer in time", next="Run the same command again later.")
        try:
            if link is None:
                return self._within(
                    lambda: api.post(call.cmdlet, call.body, size=size, deadline=deadline, only=call.only)
                )
            # A page of many is asked for again by itself: the whole would begin anew.
            return repeated(
                lambda left: self._within(
                    lambda: api.post(call.cmdlet, call.body, size=size, deadline=left, link=link)
                ),
                call.cmdlet,
                clock=self._clock,
                deadline=deadline,
                passing=(Throttled, Transient),
            )
        except ServiceError as error:
            if link is None or error.code in _LASTING or isinstance(error, (*PASSING, Deadline)):
                raise
            # Whatever it says, it is about a link that is good for minutes only, not about what was asked for.
            raise Transient(f"{call.cmdlet}: a later page failed: {error.message}") from None

    def _write(self, call: _Call, deadline: float) -> Result:
        api, began = self._ready(deadline), time.monotonic()
        page = self._within(lambda: api.post(call.cmdlet, call.body, size=PAGE, deadline=deadline))
        result = Result(warnings=page.warnings)
        log.info("%s: done in %.2f s", call.cmdlet, time.monotonic() - began)
        self._tell(call, result)
        return result

    def _tell(self, call: _Call, result: Result) -> None:
        for warning in result.warnings:
            log.info("%s warned: %s", call.cmdlet, warning)

    def _first_pages(self, calls: Sequence[_Call], deadline: float, size: int) -> tuple[Page | ServiceError, ...]:
        api = self._ready(deadline)
        asked = [(call.cmdlet, call.body) for call in calls]
        try:
            return self._within(lambda: api.post_batch(asked, size=size, deadline=deadline))
        except (SignInFailed, WrongTenant):
            raise
        except ServiceError as error:
            # What is wrong with the batch says nothing of the reads in it.
            return (Transient(f"the batch failed: {error.message}"),) * len(calls)

    def _settled(
        self, script: str, call: _Call, page: Page | ServiceError, deadline: float, batch: int | None
    ) -> Result | ServiceError:
        try:
            if isinstance(page, ServiceError):
                raise page
            return self._read(call, deadline, _size(batch), page)
        except PASSING as error:
            log.info("%s: %s in a batch, asked for by itself", call.cmdlet, error.code)
        except (SignInFailed, WrongTenant):
            raise
        except ServiceError as error:
            return error
        try:
            return self.run(script, deadline=deadline, batch=batch)
        except (SignInFailed, WrongTenant):
            raise
        except ServiceError as error:
            return error

    # -- opening -----------------------------------------------------------------------------------------------

    def _within(self, ask: Callable[[], Answer]) -> Answer:
        try:
            return ask()
        except LostSession:
            self._drop()
            raise

    def _ready(self, deadline: float) -> AdminApi:
        if self._over:
            raise LostSession("the session is closed")
        if self._api is not None and self._renew_at is not None and self._clock.now() >= self._renew_at:
            log.info("the token ends soon: a new session is opened")
            self._drop()
        if self._api is None:
            self._api = self._opened(max(MARGIN, deadline))
        return self._api

    def _opened(self, margin: float) -> AdminApi:
        try:
            return self._opened_with(self._tokens.exchange(valid_for=margin), margin)
        except TokenRefused:
            # One that was kept may have been ended before its time, or is older than a role that was given since.
            log.info("Exchange refused the token: a new one is asked for")
            return self._opened_with(self._tokens.exchange(valid_for=margin, fresh=True), margin)

    def _opened_with(self, token: AccessToken, margin: float) -> AdminApi:
        meant = self._meant(token.tenant_id)
        api = AdminApi(self._profile, meant, token.secret, token.user)
        try:
            repeated(
                lambda left: api.find_home(deadline=left),
                "EXOModuleFile",
                clock=self._clock,
                deadline=OPEN_DEADLINE,
                passing=(Throttled, Transient),
            )
            self._prove(api, meant)
        except BaseException as error:
            api.close()
            if isinstance(error, LostSession) and error.code == REFUSED:
                raise TokenRefused(error.message, next=SIGN_IN) from None
            if isinstance(error, LostSession | Deadline):
                # Nothing but a read ran, so this is no unknown outcome.
                raise Transient(f"no session with Exchange: {error.message}", next=error.next) from None
            raise
        left = (token.expires_at - self._clock.now()).total_seconds()
        self._renew_at = token.expires_at - timedelta(seconds=min(margin, max(0.0, left) / 2))
        self._proven = meant
        return api

    def _meant(self, issuer: str | None) -> str:
        """The tenant's Guid: the profile's, which must be the one that issued the token."""
        if issuer is None:
            raise WrongTenant("the tenant cannot be proven: the token does not say which one issued it", next=_BY_ID)
        issued, meant = issuer.casefold(), self._profile.tenant
        if "." not in meant and issued != meant:
            raise WrongTenant(
                f"the operator's token is for the tenant {issued}, the profile names {meant}", next=_BY_ID
            )
        if not _GUID.fullmatch(issued):
            raise WrongTenant("the tenant cannot be proven: the token names no Guid of one", next=_BY_ID)
        return issued

    def _prove(self, api: AdminApi, meant: str) -> None:
        """Invariant 10. The API has no Get-ConnectionInformation, which is the module's own word about itself. In its place
        stand the tenant in the address of every call, for which Exchange takes only that tenant's tokens, and the
        organisation that Exchange shows there. Unlike on the other roads it must be readable: nothing else would speak.
        """
        call = _call(powershell.read(powershell.render_guarded("inventory/organization", {}).text)[0])
        try:
            rows = repeated(
                lambda left: api.post(call.cmdlet, call.body, size=PAGE, deadline=left).rows,
                call.cmdlet,
                clock=self._clock,
                deadline=OPEN_DEADLINE,
                passing=(Throttled, Transient),
            )
        except AccessDenied as error:
            raise AccessDenied(
                f"the tenant cannot be proven: {error.message}",
                next=f"{error.next} It must read the organisation's settings (View-Only Configuration is enough for that).",
                request_id=error.request_id,
            ) from None
        found = {str(column(row, "ExternalDirectoryOrganizationId")).casefold() for row in rows}
        if found != {meant}:
            told = ", ".join(sorted(found)) or "no tenant at all"
            raise WrongTenant(f"Exchange's organisation belongs to {told}; meant is {meant}", next=_BY_ID)

    def _drop(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            api.close()

    def abandon(self) -> None:
        """Ask nothing more; what is under way is left to itself."""
        self._over = True

    def close(self) -> None:
        """End the session; never raises."""
        self._over = True
        self._drop()


def _ahead(work: Callable[[], Page]) -> Callable[[], Page]:
    """Begin this in a thread, which the process does not wait for at its end; the call that is returned has its outcome."""
    outcome: Future[Page] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
            outcome.set_exception(error)

    threading.Thread(target=run, name="next page", daemon=True).start()
    return outcome.result


def _size(batch: int | None) -> int:
    return PAGE if batch is None else max(1, min(batch, PAGE))


def _call(pipeline: Pipeline) -> _Call:
    """A pipeline as the admin API takes it. Raises BadInput for what this road cannot do, before anything is sent."""
    operation, *rest = pipeline
    if operation.cmdlet in _MODULE:
        raise BadInput(f"{operation.cmdlet} is a cmdlet of the module; the admin API has none of that name")
    chain = selections(rest)
    wide = operation.cmdlet in _WIDE and "Identity" not in operation.parameters
    names = next((each.names for each in chain if each.names), ()) if wide else ()
    return _Call(operation.cmdlet, envelope(operation), chain, names)


def _told(rows: Sequence[Row]) -> bool:
    """Are there rows, and has each of their properties a value in some row?"""
    return bool(rows) and all(any(row.get(name) not in (None, "", []) for row in rows) for name in rows[0])


def _whole(call: _Call) -> _Call:
    return msgspec.structs.replace(call, only=())


def envelope(operation: Operation) -> dict[str, object]:
    """``{"CmdletInput": …}``: switches as booleans, lists as arrays, hashtables told by their type.

    What PowerShell itself would do with the common parameters is left to nobody: those that change nothing here are left
    out, the others raise BadInput. -WhatIf among them: a service that overlooked it would write.
    """
    parameters: dict[str, object] = {}
    for name, value in operation.parameters.items():
        if name == "WhatIf":
            if value is not False:
                raise BadInput("-WhatIf is not sent over the admin API: nobody says that it is honoured there")
        elif name in ("ErrorAction", "WarningAction"):
            if str(value).casefold() not in _SAME_ANYWAY[name]:
                raise BadInput(f"-{name} {value} is PowerShell's to do; the admin API road has none")
        elif name != "Verbose":
            parameters[name] = _value(value)
    return {"CmdletInput": {"CmdletName": operation.cmdlet, "Parameters": parameters}}


def _value(value: object) -> object:
    if isinstance(value, tuple):
        return [_value(each) for each in value]
    if isinstance(value, dict):
        if any(key.startswith("@") for key in value):
            raise BadInput("a hashtable's key must not begin with @ on the admin API's road: there it would be a type")
        return {"@odata.type": "#Exchange.GenericHashTable", **{key: _value(each) for key, each in value.items()}}
    return value
