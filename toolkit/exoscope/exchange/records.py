"""What a pipeline gives on every road of PSRP: its output, or its error records as one typed error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from exoscope.exchange.errors import Failure, typed
from exoscope.model import Noun, Secret
from exoscope.outcome import ServiceError

Parameter = Secret | str | tuple[str, ...]

# PowerShell's ErrorCategory, by number.
_CATEGORIES = (
    "NotSpecified",
    "OpenError",
    "CloseError",
    "DeviceError",
    "DeadlockDetected",
    "InvalidArgument",
    "InvalidData",
    "InvalidOperation",
    "InvalidResult",
    "InvalidType",
    "MetadataError",
    "NotImplemented",
    "NotInstalled",
    "ObjectNotFound",
    "OperationStopped",
    "OperationTimeout",
    "SyntaxError",
    "ParserError",
    "PermissionDenied",
    "ResourceBusy",
    "ResourceExists",
    "ResourceUnavailable",
    "ReadError",
    "WriteError",
    "FromStdErr",
    "SecurityError",
    "ProtocolError",
    "ConnectionError",
    "AuthenticationError",
    "LimitsExceeded",
    "QuotaExceeded",
    "NotEnabled",
)


class Output(Noun, frozen=True):
    """What a pipeline that completed without an error record gave."""

    objects: tuple[Any, ...]
    warnings: tuple[str, ...]


def category(number: object) -> str:
    """The name of an ErrorCategory; empty for a number that has none."""
    return _CATEGORIES[number] if isinstance(number, int) and 0 <= number < len(_CATEGORIES) else ""


def judge(failures: Iterable[Failure], secrets: Iterable[Secret], *, completed: bool) -> None:
    """Raise what the error records say, the one that says most; a pipeline succeeded when it completed without any.

    Raises the ServiceError family. No error repeats one of the secrets that the script was given.
    """
    hidden = tuple(secrets)
    errors = [typed(without(failure, hidden)) for failure in failures]
    if errors:
        raise next((error for error in errors if type(error) is not ServiceError), errors[0])
    if not completed:
        raise ServiceError("the script failed without saying why")


def without(failure: Failure, secrets: Iterable[Secret]) -> Failure:
    """A failure whose texts do not repeat a secret that the script was given."""
    hidden = tuple(secrets)

    def clean(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret.reveal(), repr(secret))
        return text

    return msgspec.structs.replace(failure, message=clean(failure.message), error_id=clean(failure.error_id))
