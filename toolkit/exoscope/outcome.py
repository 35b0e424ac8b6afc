"""What commands answer: exit codes, verdicts, refusals, and the exception tree.

::

    ExoscopeError                    code, changed, next; exit 6 unless the class says otherwise
    ├── BadInput                     2  a file, option or argument is wrong; nothing was tried
    │   └── NotFound / Ambiguous     2  names the candidates
    ├── Refused                      4  exoscope will not do this; nothing was changed; carries Refusals
    ├── Stopped                      5  a run stopped part-way; resume or undo is named
    ├── Unreadable                   6  something that had to be read could not be
    └── ServiceError                 6  a tenant's service answered with an error (one family whatever the road)
        ├── ObjectNotFound           the object is not there
        ├── AlreadyExists            the object is there already
        ├── AccessDenied             the operator may not do this
        ├── Throttled                too many requests; ``retry_after`` seconds when told
        ├── Transient                worth another try
        ├── LostSession              the session is gone; the outcome of what ran is unknown
        ├── Deadline                 no answer in time; the outcome of what ran is unknown
        ├── GuardRefused             the script is not one the guard understands; it did not run
        ├── SignInFailed             no token; says what the admin should do
        └── WrongTenant              the session is in another tenant than the one meant

Shapes and exit codes are contracts that others script against.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import msgspec


class Exit(enum.IntEnum):
    """Process exit codes."""

    DONE = 0
    FINDINGS = 1
    USAGE = 2
    PENDING = 3
    REFUSED = 4
    STOPPED = 5
    UNKNOWN = 6
    INTERRUPTED = 130


_PRECEDENCE = (Exit.STOPPED, Exit.FINDINGS, Exit.REFUSED, Exit.UNKNOWN, Exit.PENDING)


def worst(exits: Iterable[Exit]) -> Exit:
    """Where several exit codes hold at once: 5, 1, 4, 6, 3, else 0."""
    held = set(exits)
    return next((code for code in _PRECEDENCE if code in held), Exit.DONE)


class Verdict(enum.StrEnum):
    """What a proof says. The verdict of several is the first that holds in this order."""

    VIOLATED = "violated"
    UNKNOWN = "unknown"
    PENDING = "pending"
    CONFIGURED = "configured"
    PROVEN = "proven"


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several; an empty list proves nothing and is unknown."""
    held = set(verdicts)
    return next((verdict for verdict in Verdict if verdict in held), Verdict.UNKNOWN)


def verdict_exit(verdict: Verdict, *, accept_configured: bool) -> Exit:
    """violated 1, unknown 6, pending 3, configured 6 (0 when accepted), proven 0."""
    return {
        Verdict.VIOLATED: Exit.FINDINGS,
        Verdict.UNKNOWN: Exit.UNKNOWN,
        Verdict.PENDING: Exit.PENDING,
        Verdict.CONFIGURED: Exit.DONE if accept_configured else Exit.UNKNOWN,
        Verdict.PROVEN: Exit.DONE,
    }[verdict]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One app (or, with ``app`` null, the whole request) that is refused. ``code`` is stable, ``message`` is for people."""

    code: str
    app: str | None
    message: str


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something an admin should know beside an answer; never changes an exit code by itself."""

    code: str
    app_id: str | None
    permission: str | None
    message: str


class ExoscopeError(Exception):
    """Every error of ours. ``changed`` says whether a tenant was touched; ``next`` what to do now."""

    code = "error"
    exit = Exit.UNKNOWN

    def __init__(
        self, message: str, *, code: str | None = None, changed: bool = False, next: str = "", exit: Exit | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if exit is not None:
            self.exit = exit
        self.changed = changed
        self.next = next


class BadInput(ExoscopeError):
    """A file, option or argument is wrong; the message names its place (line, key, JSON path)."""

    code = "bad-input"
    exit = Exit.USAGE


class NotFound(BadInput):
    """What was named is not there; the message names near candidates."""

    code = "not-found"


class Ambiguous(BadInput):
    """What was named is there more than once; the message names all candidates."""

    code = "ambiguous"


class Refused(ExoscopeError):
    """exoscope will not do this. Nothing was changed."""

    code = "refused"
    exit = Exit.REFUSED

    def __init__(
        self, message: str, *, refusals: Sequence[Refusal] = (), code: str | None = None, next: str = ""
    ) -> None:
        super().__init__(message, code=code, next=next)
        self.refusals = tuple(refusals)


class Stopped(ExoscopeError):
    """A run stopped part-way after it had changed something."""

    code = "stopped"
    exit = Exit.STOPPED

    def __init__(
        self, message: str, *, run: str, code: str | None = None, changed: bool = True, next: str = ""
    ) -> None:
        super().__init__(message, code=code, changed=changed, next=next)
        self.run = run


class Unreadable(ExoscopeError):
    """Something that had to be read could not be. Not the same as empty."""

    code = "unreadable"


class ServiceError(ExoscopeError):
    """A service answered with an error. ``request_id`` is the service's or client's id, ``service_code`` the service's own code
    (Graph's, or an AADSTS number), where there is one.
    """

    code = "service-error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        changed: bool = False,
        next: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        service_code: str | None = None,
    ) -> None:
        super().__init__(message, code=code, changed=changed, next=next)
        self.request_id = request_id
        self.service_code = service_code
        self.retry_after = retry_after


class ObjectNotFound(ServiceError):
    """The object named is not in the tenant."""

    code = "object-not-found"


class AlreadyExists(ServiceError):
    """The object to be made is there already."""

    code = "already-exists"


class AccessDenied(ServiceError):
    """The operator (or the app, in a probe) may not do this."""

    code = "access-denied"


class Throttled(ServiceError):
    """Too many requests. ``retry_after`` holds seconds where the service named them."""

    code = "throttled"


class Transient(ServiceError):
    """A passing fault; the same call may succeed later."""

    code = "transient"


class LostSession(ServiceError):
    """The session is gone. What was running may or may not have happened: re-read before repeating."""

    code = "lost-session"


class Deadline(ServiceError):
    """No answer within the deadline. What was running may or may not have happened: re-read before repeating."""

    code = "deadline"


class GuardRefused(ServiceError):
    """The guard does not understand the script, so it did not run. ``line`` and ``column`` count from 1, in code points."""

    code = "refused-by-guard"
    exit = Exit.REFUSED

    def __init__(self, message: str, *, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class SignInFailed(ServiceError):
    """No token was issued; ``next`` says what the admin should do about it."""

    code = "sign-in-failed"


class WrongTenant(ServiceError):
    """The session is in another tenant than the profile, plan or run names. Nothing was tried."""

    code = "wrong-tenant"
    exit = Exit.REFUSED
