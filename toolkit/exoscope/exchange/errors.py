"""An error record of Exchange as one of our error types: by exception type and error id first, by text last.

Texts are localised, so a text decides only where nothing else was sent. Sources: office-docs-powershell (exception names in
error ids), ExoHelper and azapptoolkit (texts of the REST road), about_Remote_Troubleshooting; facts are marked in the table.
"""

from __future__ import annotations

import re

from exoscope.model import Noun
from exoscope.outcome import (
    AccessDenied,
    AlreadyExists,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
)

REFUSED = "token-refused"
LANGUAGE = "language-mode"
SIGN_IN = "Check [operator], and that it has the application permission Exchange.ManageAsApp."


class TokenRefused(SignInFailed):
    """Exchange did not take the operator's token; one that is issued now may do."""


class Failure(Noun, frozen=True):
    """What an error record says. ``types`` are the exception's .NET types, ``error_id`` the FullyQualifiedErrorId."""

    message: str
    error_id: str = ""
    category: str = ""
    types: tuple[str, ...] = ()
    activity: str = ""


# In order: the first that holds decides. Each pattern is looked for in types and error id together, without case.
_BY_NAME: tuple[tuple[str, type[ServiceError]], ...] = (
    (r"ExoscopeNotConnected", LostSession),
    (r"CommandNotFoundException", AccessDenied),
    (r"NamedParameterNotFound", AccessDenied),
    (r"ManagementObjectNotFound|MemberNotFoundException|MapiObjectNotFound|RecipientNotFoundException", ObjectNotFound),
    (r"ObjectAlreadyExists|MemberAlreadyExists|AlreadyExistsException|ProxyAddressExists|DuplicateName", AlreadyExists),
    (
        r"CmdletAccessDenied|UnauthorizedAccess|AuthorizationException|AccessDenied|PermissionDenied|InsufficientPermission",
        AccessDenied,
    ),
    (r"Throttl|OverBudget|MicroDelay|TooManyRequests|ResourceUnhealthy", Throttled),
    # TaskCanceled: what .NET's HttpClient raises when its own time is over; the module gives Exchange fifteen minutes.
    (r"Transient|TimeoutException|TaskCanceled|ServiceUnavailable|ServerBusy|ADOperationException", Transient),
)

# What the module says where Exchange answers 401: its word alone, or the status with it.
_REFUSED = re.compile(
    r"token.{0,40}(expired|is no longer valid)|\b401\b.{0,40}unauthorized|^\W*unauthorized\b|(http|status)[^0-9]{0,20}401\b",
    re.IGNORECASE,
)

# Error ids of a script, or of a piece of one, that the endpoint's language mode does not take (seen on the engine 7.6.9).
_LANGUAGE = re.compile(r"ScriptsNotAllowed|InDataSection|InConstrainedLanguage", re.IGNORECASE)

_BY_TEXT: tuple[tuple[str, type[ServiceError]], ...] = (
    (r"ExoscopeNotConnected|You must call the Connect-ExchangeOnline cmdlet", LostSession),
    (r"ManagementObjectNotFound|couldn['’]t be found|could not be found|isn['’]t a member of", ObjectNotFound),
    (r"AlreadyExists|already exists|is already (a member|being used|in use by)", AlreadyExists),
    (
        r"maximum number of concurrent (requests|connections)|too many requests|throttl|micro delay|exceeded .{0,30}budget"
        r"|(http|status)[^0-9]{0,20}429\b|server (is )?too busy",
        Throttled,
    ),
    (
        r"access is denied|access denied|don['’]t have (sufficient )?permission|isn['’]t within (a|your current) .*scope",
        AccessDenied,
    ),
    (r"(token|session).{0,40}(expired|is no longer valid)", LostSession),
    (
        r"try again later|temporarily unavailable|server side error|(http|status)[^0-9]{0,20}50[234]\b|operation has timed out"
        r"|a task was canceled|httpclient\.timeout",
        Transient,
    ),
)

_BY_CATEGORY: dict[str, type[ServiceError]] = {
    "ObjectNotFound": ObjectNotFound,
    "ResourceExists": AlreadyExists,
    "PermissionDenied": AccessDenied,
    "SecurityError": AccessDenied,
    "LimitsExceeded": Throttled,
    "QuotaExceeded": Throttled,
    "ResourceBusy": Transient,
    "ResourceUnavailable": Transient,
    "OperationTimeout": Transient,
    "ConnectionError": Transient,
}

_AFTER = re.compile(
    r"(?:retry[- ]after|back ?off)\D{0,20}?(\d+(?:\.\d+)?)\s*(milliseconds|ms|seconds|s)?\b", re.IGNORECASE
)

_FULL = (
    "exoscope needs a PowerShell in full language: a JEA endpoint without language is no gateway. Name another endpoint as "
    "[transport] configuration."
)
_NEXT: dict[type[ServiceError], str] = {
    AccessDenied: "Give the operator the Exchange role the operation needs; Organization Management has them all.",
    Throttled: "Wait, then run the same command again.",
    Transient: "Run the same command again in a few minutes.",
}


# The records of Exchange's own module say the type in the text (``Ex6F9304|Full.Exception.Type|Text``), and nowhere else: seen
# in records that users of module 3.x showed (Microsoft Q&A 1023619, timmcmic/DLConversionV2 issue 129). The code may be empty.
_IN_TEXT = re.compile(r"\s*(?:Ex[0-9A-F]+)?\|([\w.]+)\|", re.IGNORECASE)


def typed(failure: Failure) -> ServiceError:
    """The error of our family that a failure is; a plain ServiceError where nothing tells more."""
    kind = _kind(failure)
    message = " ".join(failure.message.split()) or failure.error_id or "an error without a text"
    if failure.activity:
        message = f"{failure.activity}: {message}"
    names = " ".join((failure.error_id, *failure.types))
    if "CommandNotFoundException" in names or "NamedParameterNotFound" in names:
        # Exchange exports the cmdlets and parameters that the caller's roles allow; others are "not recognized", "not found".
        message += " (Exchange offers a session only what its roles allow)"
    if _LANGUAGE.search(failure.error_id):
        return ServiceError(message, code=LANGUAGE, next=_FULL)
    if kind is LostSession and _REFUSED.search(failure.message):
        return kind(message, code=REFUSED)
    after = _AFTER.search(failure.message) if kind is Throttled else None
    seconds = None
    if after is not None:
        seconds = float(after.group(1)) / (1000 if (after.group(2) or "s").lower().startswith("m") else 1)
    return kind(message, next=_NEXT.get(kind, ""), retry_after=seconds)


def _kind(failure: Failure) -> type[ServiceError]:
    told = _IN_TEXT.match(failure.message)
    names = " ".join((failure.error_id, *failure.types, *((told[1],) if told else ())))
    for pattern, kind in _BY_NAME:
        if re.search(pattern, names, re.IGNORECASE):
            return kind
    if _REFUSED.search(failure.message):
        return LostSession
    for pattern, kind in _BY_TEXT:
        if re.search(pattern, failure.message, re.IGNORECASE):
            return kind
    return _BY_CATEGORY.get(failure.category, ServiceError)
