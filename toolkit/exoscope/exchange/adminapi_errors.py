"""An error of the admin API as one of our error types: the same table of exception types as for PowerShell's error records.

Source of the shapes: ExoHelper and azapptoolkit. A cmdlet's error is HTTP 400, also for what is not there; its details hold
``Code|Full.Exception.Type|Text``. A 403 has no body, or one of NULs, and its reason in a header, or nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from exoscope.exchange.errors import REFUSED, Failure, typed
from exoscope.outcome import AccessDenied, LostSession, ServiceError, Throttled, Transient

_REASON = re.compile(r'reason="([^"]*)"')
_ROLE = "Give the operator the Exchange role the operation needs; Organization Management has them all."
_STALE = (
    "Exchange gave no reason. A role given lately takes up to some hours to act, and a new token; else the operator lacks "
    "Exchange.ManageAsApp, or an Exchange role."
)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; None where there is none (or a date, which nobody was seen to send)."""
    text = headers.get("retry-after", "").strip()
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else None


def error_of(
    status: int, headers: Mapping[str, str], body: Mapping[str, Any] | None, cmdlet: str, request_id: str
) -> ServiceError:
    """The error that an answer with this status is. ``headers`` by lower-case name; ``body`` None: none that can be read."""
    error = _error_of(status, headers, body, cmdlet)
    error.request_id = request_id
    if isinstance(error, Throttled | Transient) and error.retry_after is None:
        error.retry_after = retry_after(headers)
    return error


def _error_of(status: int, headers: Mapping[str, str], body: Mapping[str, Any] | None, cmdlet: str) -> ServiceError:
    if 300 <= status < 400:
        return LostSession(f"{cmdlet}: this tenant is served by another host now")
    if status == 401:
        return LostSession(f"{cmdlet}: Exchange refused the operator's token", code=REFUSED)
    failure = _failure(headers, body, cmdlet)
    found = typed(failure) if failure is not None else None
    if status == 403:
        reason = _diagnostics(headers)
        if reason is None and found is not None:
            reason = found.message
        plain = reason is None or "denied" not in reason.casefold()
        text = ": ".join((cmdlet, *(("access is denied",) if plain else ()), *((reason,) if reason else ())))
        return AccessDenied(text, next=_ROLE if reason else _STALE)
    if status == 429:
        return found if isinstance(found, Throttled) else Throttled(f"{cmdlet}: Exchange asks for fewer requests")
    if status == 408 or status >= 500:
        if found is not None and type(found) is not ServiceError:
            return found
        return Transient(f"{cmdlet}: Exchange answered HTTP {status}" + (f": {found.message}" if found else ""))
    # What a cmdlet says is its own whatever the status: a body with code NotFound was seen too (Microsoft365DSC issue 2998).
    if found is not None and (status == 400 or (status == 404 and failure is not None and failure.types)):
        return found
    # Another status is about the address or the request, never about the object that was asked for.
    told = f": {found.message}" if found is not None else ""
    return ServiceError(f"{cmdlet}: Exchange answered HTTP {status}{told}", code="unexpected-answer")


def _failure(headers: Mapping[str, str], body: Mapping[str, Any] | None, cmdlet: str) -> Failure | None:
    """The error record in a body: of its details, else of its innermost message; None where there is none."""
    error = body.get("error") if body is not None else None
    if not isinstance(error, dict):
        return None
    types = [headers["x-exceptiontype"]] if "x-exceptiontype" in headers else []
    details = error.get("details")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    parts = str(first.get("message") or "").split("|", 2)
    if len(parts) == 3:
        code, kind, text = parts
        return Failure(message=text, error_id=code, types=(kind, *types), activity=cmdlet)
    inner = error.get("innererror")
    inner = inner if isinstance(inner, dict) else {}
    internal = inner.get("internalexception")
    internal = internal if isinstance(internal, dict) else {}
    texts = (first.get("message"), internal.get("message"), inner.get("message"), error.get("message"))
    text = next((str(each) for each in texts if each), "")
    kinds = [str(each["type"]) for each in (internal, inner) if each.get("type")]
    return Failure(message=text, error_id=str(error.get("code") or ""), types=(*kinds, *types), activity=cmdlet)


def _diagnostics(headers: Mapping[str, str]) -> str | None:
    text = headers.get("x-ms-diagnostics")
    if not text:
        return None
    found = _REASON.search(text)
    return " ".join((found[1] if found else text).split()) or None
