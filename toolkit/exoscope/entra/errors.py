"""A refusal of Graph as one of our error types, by status and code. Source: Graph's errors and throttling pages, facts 4.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exoscope.outcome import (
    AccessDenied,
    AlreadyExists,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
)

_BY_STATUS: dict[int, type[ServiceError]] = {
    401: SignInFailed,
    403: AccessDenied,
    404: ObjectNotFound,
    409: AlreadyExists,
    429: Throttled,
    500: Transient,
    502: Transient,
    503: Transient,
    504: Transient,
}

_DIRECTORY = "Give the operator the Graph permission that the call needs (docs: prerequisites), and sign in anew."


def typed(
    status: int, body: Mapping[str, Any], request_id: str | None, path: str, headers: Mapping[str, str]
) -> ServiceError:
    """The error of our family. Its message holds Graph's code and text, its ``request_id`` finds the call again."""
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    code, text = str(error.get("code") or ""), " ".join(str(error.get("message") or "").split())
    kind = _BY_STATUS.get(status, ServiceError)
    if status == 400 and "already exists on the object" in text:
        kind = AlreadyExists  # a duplicate grant has no code of its own
    if status == 403 and code in ("TooManyRequests", "ApplicationThrottled"):
        kind = Throttled
    told = headers.get("retry-after", "")
    return kind(
        f"Graph refused {path}: HTTP {status}{f' {code}' if code else ''}{f': {text}' if text else ''}",
        next=_DIRECTORY if kind is AccessDenied else "",
        request_id=request_id,
        service_code=code or None,
        retry_after=float(told) if told.replace(".", "", 1).isdecimal() else None,
    )
