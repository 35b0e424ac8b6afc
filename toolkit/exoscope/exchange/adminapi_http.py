"""The admin API on the wire: headers, pages, batches, redirects, and its errors as ours.

Sources: CIPP-API, ExoHelper and azapptoolkit for envelope, headers, paging and errors; ScubaGear and CIPP-API for the redirect
to a regional host. Microsoft documents none of it.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from exoscope.exchange.adminapi_errors import error_of, retry_after
from exoscope.exchange.errors import SIGN_IN, Failure, TokenRefused, typed
from exoscope.exchange.session import Row
from exoscope.model import Noun, Secret
from exoscope.origins import CONNECT_SECONDS, OriginSession, origin_of
from exoscope.outcome import Deadline, LostSession, ServiceError, Throttled, Transient
from exoscope.profile import Profile

log = logging.getLogger("exoscope.exchange")

ANCHOR = "SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}"  # of every tenant; requests are routed by it
MODULE_VERSION = "3.9.2"  # asked for by its number; any that exists is answered
HOPS = 3
CHUNK = 65536


class Page(Noun, frozen=True):
    """One page: its rows as they came (:func:`plain_rows` makes them plain), the service's warnings, and the link to the next
    (None: the last page).
    """

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    next: str | None


class Reply(Noun, frozen=True):
    """An HTTP answer. ``headers`` by lower-case name; ``body`` None where it is no JSON object."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any] | None
    empty: bool
    request_id: str


class AdminApi:
    """InvokeCommand of one tenant (its Guid), with one token. ``user``: whose token it is; None: an application's.

    Every method raises the ServiceError family: LostSession (the token was refused, the connection was cut) and Deadline and
    Transient leave the outcome of a write open; Throttled, AccessDenied and the rest say that it did not happen.
    """

    def __init__(self, profile: Profile, tenant_id: str, token: Secret, user: str | None) -> None:
        ends = profile.endpoints
        self._tenant = tenant_id
        self._token = token
        self._own = ends.own
        self._home = self._front = origin_of(ends.exchange)
        self._cloud = urlsplit(ends.exchange).hostname or ""
        self._anchor = _anchor(profile, tenant_id, user)
        self._connection_id = str(uuid.uuid4())
        self._http = OriginSession([self._home], ends.ca)

    def find_home(self, *, deadline: float) -> None:
        """Ask which host serves this tenant, and go there when it is one of the cloud's own.

        Raises TokenRefused, ServiceError (``foreign-origin``) when the service names another host.
        """
        end = time.monotonic() + deadline
        for _ in range(HOPS):
            reply = self._module_file(end)
            if not 300 <= reply.status < 400:
                break
            self._move(reply.headers.get("location", ""))
        else:
            raise ServiceError("Exchange sends this tenant from host to host", code="unexpected-answer")
        if reply.status == 401:
            raise TokenRefused("Exchange refused the operator's token", next=SIGN_IN)
        if reply.status == 429:
            raise Throttled("Exchange is busy", retry_after=retry_after(reply.headers))
        if reply.status >= 500:
            raise Transient(f"Exchange answered HTTP {reply.status}", retry_after=retry_after(reply.headers))
        # Anything else is this question's own trouble: the tenant's proof follows, at the host that answered.

    def exported(self, *, deadline: float) -> frozenset[str]:
        """The cmdlets (lower case) that the caller's roles allow, as the module's file lists them (source: CIPP-API's
        New-ExoRequest -AvailableCmdlets). Raises the ServiceError family.
        """
        reply = self._module_file(time.monotonic() + deadline)
        if reply.status != 200:
            raise error_of(reply.status, reply.headers, reply.body, "EXOModuleFile", reply.request_id)
        rows = (reply.body or {}).get("value")
        texts = [row.get("exportedCmdlets") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if not texts or not all(isinstance(each, str) for each in texts):
            raise ServiceError("Exchange did not say which cmdlets this operator has", code="unexpected-answer")
        return frozenset(name.strip().casefold() for text in texts for name in str(text).split(",") if name.strip())

    def post(
        self,
        cmdlet: str,
        body: object,
        *,
        size: int,
        deadline: float,
        only: Sequence[str] = (),
        link: str | None = None,
    ) -> Page:
        """Send an envelope, or send it again to a page's ``link``; ``size``: rows of a page, 1000 at most; ``only``: the
        properties to answer (none: all). A link says by itself which.
        """
        first = f"{self._root}/InvokeCommand" + (f"?$select={quote(','.join(only), safe=',')}" if only else "")
        url = first if link is None else self._of_this_api(link)
        reply = self._send("POST", url, body, self._headers(cmdlet, size), time.monotonic() + deadline)
        return _page(reply, cmdlet)

    def post_batch(
        self, calls: Sequence[tuple[str, object]], *, size: int, deadline: float
    ) -> tuple[Page | ServiceError, ...]:
        """Send up to ten envelopes in one request: the first page of each, or its error. For reads only."""
        entries = [
            {
                "id": str(number),
                "method": "POST",
                "url": f"/adminapi/beta/{self._tenant}/InvokeCommand",
                "headers": {"Content-Type": "application/json; charset=utf-8", **self._headers(cmdlet, size)},
                "body": body,
            }
            for number, (cmdlet, body) in enumerate(calls)
        ]
        headers = {"X-AnchorMailbox": self._anchor}
        end = time.monotonic() + deadline
        reply = self._send("POST", f"{self._root}/$batch", {"requests": entries}, headers, end)
        if reply.status != 200:
            raise error_of(reply.status, reply.headers, reply.body, "a batch", reply.request_id)
        answers = (reply.body or {}).get("responses")
        by_id = {str(each.get("id")): each for each in answers or () if isinstance(each, dict)}
        if not isinstance(answers, list) or len(answers) != len(calls) or set(by_id) != {e["id"] for e in entries}:
            raise ServiceError("Exchange did not answer each request of a batch once", code="unexpected-answer")
        return tuple(_of_batch(by_id[str(number)], cmdlet, reply) for number, (cmdlet, _) in enumerate(calls))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- one exchange ------------------------------------------------------------------------------------------

    def _module_file(self, end: float) -> Reply:
        url = f"{self._home}/AdminApi/v1.0/{self._tenant}/EXOModuleFile?Version={MODULE_VERSION}"
        return self._send("GET", url, None, {"CommandName": "*"}, end)

    @property
    def _root(self) -> str:
        return f"{self._home}/adminapi/beta/{self._tenant}"

    def _headers(self, cmdlet: str, size: int) -> dict[str, str]:
        return {
            "X-AnchorMailbox": self._anchor,
            "X-CmdletName": cmdlet,
            "X-ResponseFormat": "json",
            "Prefer": f"odata.maxpagesize={size}",
        }

    def _send(self, method: str, url: str, body: object | None, headers: Mapping[str, str], end: float) -> Reply:
        import requests

        ours = str(uuid.uuid4())
        left = end - time.monotonic()
        if left <= 0:
            raise Deadline("Exchange: no answer in time", next="Run the same command again later.")
        sent = {
            **headers,
            "Authorization": f"Bearer {self._token.reveal()}",
            "Accept": "application/json",
            "client-request-id": ours,
            "connection-id": self._connection_id,
        }
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode("utf-8")
            sent["Content-Type"] = "application/json; charset=utf-8"
        began = time.monotonic()
        try:
            answer = self._http.request(
                method, url, data=data, headers=sent, timeout=(min(left, CONNECT_SECONDS), left), stream=True
            )
            with answer:
                text = self._whole(answer, end)
        except requests.exceptions.RequestException as error:
            raise self._typed(error) from None
        found = {str(name).casefold(): str(value) for name, value in answer.headers.items()}
        request_id = found.get("request-id") or ours
        path = urlsplit(url).path
        took = time.monotonic() - began
        log.debug("%s %s: %d in %.2f s (request-id %s)", method, path, answer.status_code, took, request_id)
        return Reply(answer.status_code, found, _json(text), not text.strip(b"\0 \r\n\t"), request_id)

    def _whole(self, answer: Any, end: float) -> bytes:
        """The body. A limit on silence is no limit on drops that keep falling, so the clock is looked at between them."""
        parts = []
        for part in answer.iter_content(CHUNK):
            parts.append(part)
            if time.monotonic() > end:
                raise Deadline("Exchange: no whole answer in time", next="Run the same command again later.")
        return b"".join(parts)

    def _typed(self, error: Exception) -> ServiceError:
        import requests
        from urllib3.exceptions import NewConnectionError, ReadTimeoutError

        inner = error.args[0] if error.args else None
        reason = getattr(inner, "reason", inner)
        host = urlsplit(self._home).netloc
        if isinstance(error, requests.exceptions.SSLError):
            return ServiceError(
                f"the certificate of {host} is not trusted",
                code="untrusted-endpoint",
                next="Name the CA that signed it as [endpoints] ca, or in REQUESTS_CA_BUNDLE.",
            )
        if isinstance(error, requests.exceptions.ReadTimeout) or isinstance(reason, ReadTimeoutError):
            return Deadline(f"{host} did not answer in time", next="Run the same command again later.")
        if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError) or isinstance(
            reason, NewConnectionError
        ):
            return Transient(f"{host} cannot be reached", next="Check the network and proxy.")
        if isinstance(error, requests.exceptions.ContentDecodingError):
            # Seen by others: bodies that cannot be decompressed. From now on they are asked for as they are.
            self._http.headers["Accept-Encoding"] = "identity"
        return LostSession(f"the connection to {host} is lost ({type(error).__name__})")

    # -- where it may go ---------------------------------------------------------------------------------------

    def _move(self, location: str) -> None:
        """Go to the host that a redirect names: of the same cloud, or nowhere."""
        url = location if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", location) else f"{self._home}{location}"
        self._home = self._admitted(url)
        self._http.origins = frozenset([self._home])
        log.info("this tenant is served by %s", self._home)

    def _admitted(self, url: str) -> str:
        """The origin of a URL that a token may go to. With endpoints of the profile's own: to these only."""
        try:
            parts, origin = urlsplit(url), origin_of(url)
            host = parts.hostname or ""
            regional = not self._own and host.endswith("." + self._cloud) and parts.port in (None, 443)
            good = parts.scheme == "https" and not parts.username and not parts.password
        except ValueError:
            origin, good, regional = "a broken URL", False, False
        if not good or not (regional or origin in (self._home, self._front)):
            raise ServiceError(
                f"refused to send the operator's token to {origin}: it is no host of {self._cloud}",
                code="foreign-origin",
                next="Nothing was sent there. Exchange named an address that is not its own.",
            )
        return origin

    def _of_this_api(self, link: str) -> str:
        """A link to a page: on the host that serves this tenant, below its own API."""
        here = urlsplit(f"{self._root}/InvokeCommand").path
        if self._admitted(link) != self._home or urlsplit(link).path.casefold() != here.casefold():
            raise ServiceError("Exchange named a next page that is not of this API", code="foreign-origin")
        return link


def _anchor(profile: Profile, tenant_id: str, user: str | None) -> str:
    """By what Exchange routes a request: the person's own mailbox, else the tenant's system mailbox, which a partner names by the
    customer's domain (their own mailbox would lead to their own tenant). Source: CIPP-API, which serves partners.
    """
    if profile.operator is not None and profile.operator.partner:
        return f"UPN:{ANCHOR}@{profile.organization}"
    return f"UPN:{user}" if user else f"APP:{ANCHOR}@{tenant_id}"


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        body = msgspec.json.decode(text)
    except ValueError:
        # What only the standard library reads (a byte order mark, half a surrogate pair) is read all the same.
        try:
            body = json.loads(text)
        except ValueError:
            return None
    return body if isinstance(body, dict) else None


def _page(reply: Reply, cmdlet: str) -> Page:
    if not 200 <= reply.status < 300:
        raise error_of(reply.status, reply.headers, reply.body, cmdlet, reply.request_id)
    reading = cmdlet.startswith(("Get-", "Test-"))
    if reply.body is None or "error" in reply.body:
        if not reading and reply.empty:
            return Page((), (), None)
        if reading and reply.empty:
            # An answer without rows has an empty list in it: this one has nothing, which is not "none".
            raise ServiceError(f"{cmdlet}: Exchange answered nothing at all", code="unexpected-answer")
        # For a write nobody knows what that means: it is looked at before anything else is done.
        raise Transient(f"{cmdlet}: Exchange answered something that cannot be read")
    errors = reply.body.get("@adminapi.errors")
    if errors:
        # Error records beside rows, in an answer that calls itself a success: the module writes them as errors, and so do we.
        first = errors[0] if isinstance(errors, list) else errors
        raise typed(Failure(message=str(first), activity=cmdlet))
    warnings = reply.body.get("@adminapi.warnings") or []
    told = tuple(str(each) for each in warnings) if isinstance(warnings, list) else (str(warnings),)
    if not reading:
        return Page((), told, None)
    value, link = reply.body.get("value"), reply.body.get("@odata.nextLink")
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ServiceError(f"{cmdlet}: Exchange answered something else than rows", code="unexpected-answer")
    if link is not None and not isinstance(link, str):
        raise ServiceError(f"{cmdlet}: Exchange answered a next page without an address", code="unexpected-answer")
    return Page(tuple(value), told, link)


def _of_batch(entry: Mapping[str, Any], cmdlet: str, outer: Reply) -> Page | ServiceError:
    given, body = entry.get("headers"), entry.get("body")
    headers = {str(k).casefold(): str(v) for k, v in given.items()} if isinstance(given, dict) else {}
    status = entry.get("status")
    reply = Reply(
        status=status if isinstance(status, int) else 0,
        headers=headers,
        body=body if isinstance(body, dict) else None,
        empty=body is None or body == "",
        request_id=headers.get("request-id") or outer.request_id,
    )
    try:
        return _page(reply, cmdlet)
    except ServiceError as error:
        return error
