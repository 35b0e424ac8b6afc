"""The twin's admin API: the REST road of Exchange's own module, on the origin of its Exchange, before the same cmdlets as PSRP.

Microsoft does not document it. What stands here is what public clients of it show (CIPP-API, ExoHelper, azapptoolkit,
ScubaGear): envelope, anchor mailbox, pages of 1000 by POST, errors, companions. What none of them shows is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from exoscope.catalog import EXCHANGE, MANAGE_AS_APP, MANAGE_AS_USER
from exoscope.outcome import GuardRefused
from exoscope.powershell import LiteralError, Operation, Pipeline, literal, read
from exoscope.twin.adminapi_answers import Answer, empty, expired, failed, fault, forbidden, rows_answer
from exoscope.twin.exchange import CMDLETS, CmdletError, Connection
from exoscope.twin.exchange.call import Row, bad_argument, not_modelled
from exoscope.twin.exchange.session import MODULE, Dropped, Session, Stopped
from exoscope.twin.faults import Faults
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.tokens import Principal, TokenRefused, Tokens
from exoscope.twin.view import fold
from exoscope.twin.web import cut_off

PREFIX = "/adminapi"
PAGE = 1000
BATCH_LIMIT = 10
LINK_SECONDS = 300.0  # public clients found a link good for five to ten minutes
KEPT = 64  # results with pages left, the oldest forgotten first
GENERIC = "#Exchange.GenericHashTable"
ANCHOR = "SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}"
_LIMIT = 16 * 1024 * 1024

Start = Callable[..., Any]


class _Asked(NamedTuple):
    """Who asks with which body (its digest), for pages of which size, and whether as PowerShell's serialiser writes."""

    app_id: str
    body: str
    size: int
    clixml: bool


class _Rows:
    """The rows of a read, made as their pages are asked for. An error record after the first row ends them."""

    def __init__(self, source: Iterator[Row]) -> None:
        self._source = source
        self._made: list[Row] = []
        self._ended = False
        self._errors: list[str] = []
        self._lock = threading.Lock()

    def page(self, begin: int, end: int) -> tuple[list[Row], bool, list[str]]:
        """The rows, whether there are more, and (with the last of them) the error that ended them.

        Raises CmdletError where it came before the first row, Dropped.
        """
        with self._lock:
            while not self._ended and len(self._made) <= end:
                self._make()
            more = len(self._made) > end
            return self._made[begin:end], more, [] if more else self._errors

    def _make(self) -> None:
        try:
            self._made.append(next(self._source))
        except StopIteration:
            self._ended = True
        except Stopped:
            raise Dropped from None
        except CmdletError as error:
            if not self._made:
                raise
            self._ended, self._errors = True, [error.record_text]


class _Rest(NamedTuple):
    """A result with pages left: whose it is, its rows, until when its links are good."""

    asked: _Asked
    rows: _Rows
    ends: Any


class AdminApi:
    """The WSGI application under ``/adminapi``. ``origin`` is set once the port is known: links name it.

    ``read_only`` says of an app id that its operator may only read. A request with a token that is not the operator's is
    answered 401 (no token of this tenant for Exchange) or an empty 403 (no role), before anything else of it is looked at.
    """

    def __init__(
        self,
        tenant: TwinTenant,
        tokens: Tokens,
        *,
        faults: Faults,
        read_only: Callable[[str], bool] | None = None,
    ) -> None:
        self.tenant = tenant
        self.faults = faults
        self.origin = ""
        self._tokens = tokens
        self._read_only = read_only or (lambda app_id: False)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._rest: dict[str, _Rest] = {}

    def close(self) -> None:
        """End the calls that hang."""
        self._closing.set()

    # --- WSGI ------------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        # the body is read in any case: the connection is kept for the next request
        data = environ["wsgi.input"].read(length) if 0 < length <= _LIMIT else b""
        if self.faults.away(self.tenant.clock.now()):
            raise cut_off(environ)
        status = self.faults.take_status()
        if status is not None:
            answer = Answer(status, {"Retry-After": "1"}, None)
        else:
            headers = {
                key[5:].replace("_", "-").lower(): str(value) for key, value in environ.items() if key[:5] == "HTTP_"
            }
            headers["content-type"] = str(environ.get("CONTENT_TYPE", ""))
            try:
                answer = self._answer(
                    str(environ.get("REQUEST_METHOD")),
                    str(environ.get("PATH_INFO", "")),
                    str(environ.get("QUERY_STRING", "")),
                    headers,
                    data,
                )
            except Dropped:
                raise cut_off(environ) from None
        return answer.send(start, headers.get("client-request-id", "") if status is None else "")

    def _answer(self, method: str, path: str, query: str, headers: Mapping[str, str], data: bytes) -> Answer:
        holder = self._holder(headers)
        if isinstance(holder, Answer):
            return holder
        parts = path.strip("/").split("/")
        if len(parts) != 4 or parts[0].lower() != "adminapi":
            return fault(404, "ResourceNotFound", "Resource not found for the segment.")
        if fold(parts[2]) != fold(self.tenant.state.tenant.id):
            return forbidden(None)
        version, name = parts[1].lower(), parts[3].lower()
        if (version, name) == ("v1.0", "exomodulefile"):
            return self._module(method, query, holder)
        if version != "beta" or name not in ("invokecommand", "$batch"):
            return fault(404, "ResourceNotFound", f"Resource not found for the segment '{parts[3]}'.")
        if method != "POST":
            return fault(405, "MethodNotAllowed", f"The {method} method is not allowed here.")
        if "json" not in headers["content-type"].lower():
            return fault(415, "UnsupportedMediaType", "The request's content is not JSON.")
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return fault(400, "BadRequest", "The request's body could not be read.")
        if name == "$batch":
            return self._batch(body, headers, holder)
        return self._invoke(body, query, headers, holder)

    def _holder(self, headers: Mapping[str, str]) -> Principal | Answer:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        try:
            principal = self._tokens.read(token, EXCHANGE) if scheme.lower() == "bearer" else None
        except TokenRefused:
            principal = None
        if principal is None:
            return Answer(401, {"WWW-Authenticate": 'Bearer client_id="exchange", error="invalid_token"'}, None)
        # the role claim is what the service looks at, and it does not say so
        if not principal.operator or not {MANAGE_AS_APP, MANAGE_AS_USER} & set(principal.roles):
            return forbidden(None)
        return principal

    # --- what can be asked -----------------------------------------------------------------------------------

    def _module(self, method: str, query: str, holder: Principal) -> Answer:
        """The module's file: of it only the list of the cmdlets that the caller's roles export."""
        if method != "GET":
            return fault(405, "MethodNotAllowed", f"The {method} method is not allowed here.")
        if "version" not in {name.lower() for name in parse_qs(query)}:
            return fault(400, "BadRequest", "The query option 'Version' is missing.")
        names = ",".join(sorted(CMDLETS[name].name for name in self._exported(holder)))
        return Answer(200, {}, {"value": [{"exportedCmdlets": names}]})

    def _exported(self, holder: Principal) -> frozenset[str]:
        reads_only = self._read_only(holder.app_id)
        return frozenset(
            name
            for name, each in CMDLETS.items()
            if name not in MODULE and name not in self.faults.withheld and not (reads_only and each.writes)
        )

    def _batch(self, body: Mapping[str, Any], headers: Mapping[str, str], holder: Principal) -> Answer:
        entries = body.get("requests")
        if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
            return fault(400, "BadRequest", "A batch needs requests.")
        if len(entries) > BATCH_LIMIT:
            return fault(400, "BadRequest", f"A batch takes {BATCH_LIMIT} requests at most.")
        if len({str(each.get("id")) for each in entries}) != len(entries):
            return fault(400, "BadRequest", "Each request of a batch needs an id of its own.")
        responses = []
        for entry in entries:
            answer = self._of_batch(entry, headers, holder)
            responses.append(
                {"id": str(entry.get("id")), "status": answer.status, "headers": answer.headers, "body": answer.body}
            )
        return Answer(200, {}, {"responses": responses})

    def _of_batch(self, entry: Mapping[str, Any], outer: Mapping[str, str], holder: Principal) -> Answer:
        path, _, query = str(entry.get("url", "")).removeprefix(self.origin).partition("?")
        wanted = f"{PREFIX}/beta/{self.tenant.state.tenant.id}/InvokeCommand"
        if str(entry.get("method")).upper() != "POST" or fold(path) != fold(wanted):
            return fault(400, "BadRequest", "A batch takes POSTs to InvokeCommand.")
        given = entry.get("headers")
        own = {str(k).lower(): str(v) for k, v in given.items()} if isinstance(given, dict) else {}
        body = entry.get("body")
        if not isinstance(body, dict):
            return fault(400, "BadRequest", "The request's body could not be read.")
        return self._invoke(body, query, {**outer, **own}, holder)

    def _invoke(self, body: Mapping[str, Any], query: str, headers: Mapping[str, str], holder: Principal) -> Answer:
        wrong = self._wrong_headers(headers, holder)
        if wrong is not None:
            return wrong
        found = re.search(r"odata\.maxpagesize\s*=\s*(\d+)", headers.get("prefer", ""), re.IGNORECASE)
        size = min(PAGE, max(1, int(found.group(1)))) if found else PAGE
        options = parse_qs(query)
        if set(options) - {"$skiptoken", "$select"} or len(options) > 1:
            return failed(not_modelled(f"the query options {', '.join(sorted(options))}"))
        asked = _Asked(
            app_id=holder.app_id,
            body=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
            size=size,
            clixml=headers.get("x-responseformat", "").lower() == "clixml",
        )
        if "$skiptoken" in options:
            return self._page(options["$skiptoken"][0], asked)
        warnings: list[str] = []
        try:
            operation = operation_of(body)
            writes = CMDLETS[operation.cmdlet.lower()].writes if operation.cmdlet.lower() in CMDLETS else False
            if fold(headers.get("x-cmdletname", operation.cmdlet)) != fold(operation.cmdlet):
                return fault(400, "BadRequest", "X-CmdletName names another cmdlet than the body.")
            rows = _Rows(self._run(_pipeline(operation, options), holder, warnings))
            shown, more, errors = rows.page(0, asked.size)
        except CmdletError as error:
            return failed(error)
        if writes and not shown:
            return empty()
        link = self._kept(rows, asked) if more else None
        return rows_answer(self._context, shown, warnings, link, errors, clixml=asked.clixml)

    def _wrong_headers(self, headers: Mapping[str, str], holder: Principal) -> Answer | None:
        if headers.get("x-responseformat", "json").lower() not in ("json", "clixml"):
            return failed(not_modelled("the response format " + headers["x-responseformat"]))
        tenant = self.tenant.state.tenant
        # the tenant's system mailbox, as a partner in a customer's tenant names it, routes anybody's request
        own = f"UPN:{holder.user}" if holder.user else f"APP:{ANCHOR}@{tenant.id}"
        right = {own, f"UPN:{ANCHOR}@{tenant.domain}"}
        if fold(headers.get("x-anchormailbox", "")) not in {fold(each) for each in right}:
            return fault(400, "BadRequest", "X-AnchorMailbox is missing, or names no mailbox of the caller's tenant.")
        return None

    def _run(self, pipeline: Pipeline, holder: Principal, warnings: list[str]) -> Iterator[Row]:
        """The rows, one by one. Raises CmdletError, Stopped."""
        session = Session(self.tenant, lambda token: None, self.faults, self._read_only)
        session.connection = Connection(
            id=str(uuid.uuid4()),
            organization=self.tenant.state.tenant.id,
            expires_at=holder.expires_at,
            cmdlets=self._exported(holder),
            app_id=holder.app_id,
            object_id=holder.object_id,
            reads_only=self._read_only(holder.app_id),
        )
        if pipeline[0].cmdlet.lower() in MODULE:
            raise unknown_cmdlet(pipeline[0].cmdlet)
        yield from session.run(pipeline, self._closing, warnings.append)

    # --- pages -----------------------------------------------------------------------------------------------

    def _kept(self, rows: _Rows, asked: _Asked) -> str:
        """The link to the second page."""
        key = uuid.uuid4().hex
        ends = self.tenant.clock.now() + timedelta(seconds=LINK_SECONDS)
        with self._lock:
            self._rest[key] = _Rest(asked, rows, ends)
            while len(self._rest) > KEPT:
                del self._rest[next(iter(self._rest))]
        return self._link(key, asked.size)

    def _page(self, token: str, asked: _Asked) -> Answer:
        """A later page: for the same caller and the same body, while the link is good."""
        key, _, at = token.partition("-")
        with self._lock:
            rest = self._rest.get(key)
        good = rest is not None and at.isdecimal() and rest.asked[:2] == asked[:2]
        if rest is None or not good or self.tenant.clock.now() >= rest.ends:
            return expired()
        begin = int(at)
        end = begin + asked.size
        shown, more, errors = rest.rows.page(begin, end)
        link = self._link(key, end) if more else None
        return rows_answer(self._context, shown, [], link, errors, clixml=asked.clixml)

    def _link(self, key: str, at: int) -> str:
        tenant = self.tenant.state.tenant.id
        return f"{self.origin}{PREFIX}/beta/{tenant}/InvokeCommand?$skiptoken={key}-{at}"

    @property
    def _context(self) -> str:
        return (
            f"{self.origin}{PREFIX}/beta/{self.tenant.state.tenant.id}/$metadata#Collection(Exchange.GenericHashTable)"
        )


# --- the envelope --------------------------------------------------------------------------------------------


def unknown_cmdlet(name: str) -> CmdletError:
    """Exchange's answer to a cmdlet that the caller's roles do not export, or that is none of its own."""
    return CmdletError(
        "System.Management.Automation.CommandNotFoundException",
        f"The term '{name}' is not recognized as a name of a cmdlet, function, script file, or executable program.",
        category="ObjectNotFound",
        target=name,
    )


def operation_of(body: Mapping[str, Any]) -> Operation:
    """The operation in ``{"CmdletInput": {"CmdletName", "Parameters"}}``, in the catalogue's spelling.

    It is held to what the guard holds scripts to: known parameters, their types, sets that go together. Raises CmdletError.
    """
    given = body.get("CmdletInput")
    name = given.get("CmdletName") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]+-[A-Za-z]+", name):
        raise bad_argument("CmdletInput", "The envelope names no cmdlet.")
    parameters = given.get("Parameters", {})
    if not isinstance(parameters, dict):
        raise bad_argument("Parameters", "The parameters are no object.")
    if name.lower() not in CMDLETS:
        raise unknown_cmdlet(name)
    try:
        words = [f"-{_name(key)}:{literal(_value(key, value))}" for key, value in parameters.items()]
        ((operation,),) = read(" ".join([name, *words]))
    except (GuardRefused, LiteralError) as error:
        raise bad_argument("Parameters", error.message) from None
    return operation


def _pipeline(operation: Operation, options: Mapping[str, Sequence[str]]) -> Pipeline:
    """The operation, with the properties that ``$select`` names, as public clients ask for them. Only recipients know at once
    which they have: what the service does with a name that an object lacks nobody says, so elsewhere it is refused.
    """
    if "$select" not in options:
        return (operation,)
    if operation.cmdlet != "Get-Recipient":
        raise not_modelled(f"$select with {operation.cmdlet}")
    return operation, Operation("Select-Object", {"Property": tuple(options["$select"][0].split(","))})


def _name(key: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", key):
        raise bad_argument("Parameters", "A parameter cannot be found that matches the parameter name.")
    return key


def _value(key: str, value: Any) -> Any:
    """A hashtable says that it is one."""
    if isinstance(value, dict):
        if value.get("@odata.type") != GENERIC:
            raise bad_argument(key, f"An object needs the @odata.type {GENERIC}.")
        return {name: each for name, each in value.items() if name != "@odata.type"}
    return value


__all__ = ["ANCHOR", "BATCH_LIMIT", "GENERIC", "LINK_SECONDS", "PAGE", "PREFIX", "AdminApi", "operation_of"]
