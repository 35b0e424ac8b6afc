"""What the twin's admin API answers: pages of rows with companions, errors in three parts, refusals without a word."""

from __future__ import annotations

import functools
import http
import json
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from exoscope.twin.clixml import dumps, is_guid, is_time
from exoscope.twin.exchange.call import CmdletError, Row
from exoscope.twin.exchange.call import is_time as holds_time

NULS = b"\0" * 16


class Answer(msgspec.Struct, frozen=True):
    """A status, headers, and the JSON body: None for no body, a text for one that is not JSON."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any] | str | None

    def send(self, start: Callable[..., Any], request_id: str) -> Iterable[bytes]:
        """Answer a WSGI request."""
        data = b""
        headers = dict(self.headers)
        if isinstance(self.body, str):
            data = self.body.encode()
        elif self.body is not None:
            try:
                data = msgspec.json.encode(self.body)
            except UnicodeEncodeError:  # half of a surrogate pair, which somebody sent: it goes back as it came
                data = json.dumps(self.body, ensure_ascii=False).encode("utf-8", "surrogatepass")
            headers["Content-Type"] = "application/json;odata.metadata=minimal;charset=utf-8"
        if request_id:
            headers["client-request-id"] = request_id
        headers["request-id"] = str(uuid.uuid4())
        if self.status != 204:
            headers["Content-Length"] = str(len(data))
        known = {each.value for each in http.HTTPStatus}
        phrase = http.HTTPStatus(self.status).phrase if self.status in known else "Planned"
        start(f"{self.status} {phrase}", list(headers.items()))
        return [data] if data else []


def empty() -> Answer:
    """A write that has nothing to show."""
    return Answer(204, {}, None)


def fault(status: int, code: str, message: str) -> Answer:
    """A request that reached no cmdlet."""
    return Answer(status, {}, {"error": {"code": code, "message": message}})


def forbidden(reason: str | None) -> Answer:
    """403: the reason stands in a header, or nowhere; the body is NULs, or nothing."""
    if reason is None:
        return Answer(403, {}, None)
    told = re.sub(r"[^ -~]", "?", reason).replace('"', "'")
    headers = {"x-ms-diagnostics": f'2000003;reason="{told}";error_category="invalid_user"'}
    return Answer(403, headers, NULS.decode())


def failed(error: CmdletError) -> Answer:
    """An error record of a cmdlet: 400 whose details hold code, type and text; 403, 429 and 504 where those mean the same."""
    if error.kind == "System.UnauthorizedAccessException":
        return forbidden(error.message)
    text = error.record_text if error.is_exchanges else f"|{error.kind}|{error.message}"
    body = {
        "error": {
            "code": "NotFound" if error.short == "ManagementObjectNotFoundException" else "BadRequest",
            "message": "Error executing cmdlet",
            "details": [{"code": "Context", "target": "", "message": text}],
            "innererror": _inner("Error executing cmdlet", error.kind, error.message),
        }
    }
    headers = {"X-ExceptionType": error.short}
    if error.category == "LimitsExceeded":
        return Answer(429, {**headers, "Retry-After": "1"}, body)
    if error.category == "OperationTimeout":
        return Answer(504, headers, None)  # the front door gives up on it: what the cmdlet does is not known there
    return Answer(400, headers, body)


def expired() -> Answer:
    """A link to a page that is not good any more, or never was (the text: Microsoft Q&A 1023619)."""
    text = "Expired or Invalid pagination request. Default Expiry time is 00:30:00"
    inner = _inner("Invalid Operation", "System.Exception", text)
    return Answer(400, {}, {"error": {"code": "BadRequest", "message": "Invalid Operation", "innererror": inner}})


def _inner(message: str, kind: str, text: str) -> dict[str, Any]:
    own = {"message": message, "type": "Microsoft.Exchange.Admin.OData.Core.ODataServiceException", "stacktrace": ""}
    return {**own, "internalexception": {"message": text, "type": kind, "stacktrace": ""}}


def rows_answer(
    context: str,
    rows: Iterable[Row],
    warnings: Sequence[str],
    link: str | None,
    errors: Sequence[str] = (),
    *,
    clixml: bool = False,
) -> Answer:
    """A page of rows. ``errors``: the texts of error records that came after rows; the answer is a success all the same.

    ``clixml``: as the module asks for them, for PowerShell's deserialiser. How many texts they come in is not known: one here.
    """
    body: dict[str, Any] = {
        "@odata.context": context,
        "adminapi.warnings@odata.type": "#Collection(String)",
        "@adminapi.warnings": list(warnings),
    }
    if errors:
        body |= {"adminapi.errors@odata.type": "#Collection(String)", "@adminapi.errors": list(errors)}
    body["value"] = [dumps(rows)] if clixml else [_companioned(row) for row in rows]
    if link is not None:
        body["@odata.nextLink"] = link
    return Answer(200, {}, body)


def _companioned(row: Row) -> dict[str, Any]:
    """A row, lists, Guids and times beside their types, as rows of real tenants show them."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        kind = type(value)
        if kind is str:
            if _may_have_type(name):
                if is_guid(name, value):
                    shown[name + "@data.type"] = "System.Guid"
                    shown[name + "@odata.type"] = "#Guid"
                elif is_time(name, value):
                    shown[name + "@data.type"] = "System.DateTime"
            shown[name] = value
        elif value is None or kind is bool:
            shown[name] = value
        else:
            if kind is list or kind is tuple:
                shown[name + "@odata.type"] = "#Collection(String)"
            shown[name] = msgspec.to_builtins(value)
    return shown


@functools.lru_cache(maxsize=4096)
def _may_have_type(name: str) -> bool:
    """Whether a text in this column can be a Guid or a time on Exchange's object."""
    return name.lower().endswith("guid") or holds_time(name)
