"""Graph's errors: status, code and text as facts §4.2 and Graph's errors page have them. Branch on codes, never on texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class GraphError(Exception):
    """An error to be answered. ``retry_after`` in seconds becomes a decimal Retry-After header; ``details`` as Graph nests them."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: float | None = None,
        details: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.details = details


def not_modelled(what: str) -> GraphError:
    """The twin does not know what Graph would do, so it does nothing."""
    return GraphError(501, "NotModelled", f"not modelled: {what}")


def bad_request(message: str, code: str = "Request_BadRequest") -> GraphError:
    """400: the request is wrong."""
    return GraphError(400, code, message)


def missing(resource: str) -> GraphError:
    """404: a directory object is not there."""
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{resource}' does not exist or one of its queried reference-property objects are not present.",
    )


def no_privilege() -> GraphError:
    """403: the directory privilege is lacking (or the snapshot did not read this, which looks the same)."""
    return GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def access_denied(*, by_policy: bool) -> GraphError:
    """403 of a mailbox call; ``by_policy``: an Application Access Policy blocks it, and the text says so."""
    if by_policy:
        text = "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings."
        return GraphError(403, "ErrorAccessDenied", text)
    return GraphError(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def no_mailbox() -> GraphError:
    """404: the user is there and has no mailbox that Graph can use (a mail user, a guest)."""
    return GraphError(
        404,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    )


def invalid_user(name: str) -> GraphError:
    """404: no such mailbox (a group's address too)."""
    return GraphError(404, "ErrorInvalidUser", f"The requested user '{name}' is invalid.")


def throttled(retry_after: float, *, mailbox: bool = False) -> GraphError:
    """429, with a decimal Retry-After."""
    if mailbox:
        text = "Application is over its MailboxConcurrency limit."
        return GraphError(429, "ApplicationThrottled", text, retry_after=retry_after)
    return GraphError(429, "TooManyRequests", "Too many requests. Try again later.", retry_after=retry_after)


def bad_token(text: str) -> GraphError:
    """401: no token, or one that does not act here."""
    return GraphError(401, "InvalidAuthenticationToken", text)
