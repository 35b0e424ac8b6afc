"""Graph asked as the app itself: may it, or may it not, reach this mailbox?

Source of what answers mean: facts 4.2 (200 reaches; 403 ErrorAccessDenied does not; a 404 does not prove denial; a 400 says
the call was taken up). Answers are cached by the service for up to two hours, and asking keeps a cached denial alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from exoscope import catalog
from exoscope.entra.graph import Call, GraphClient
from exoscope.model import Noun, Recipient

ProbeAnswered = Literal["allowed", "denied", "unknown"]


class ProbeAnswer(Noun, frozen=True):
    """What Graph said. ``status`` is HTTP's (None: not asked), ``code`` Graph's error code, ``request_id`` finds the call."""

    mailbox: str
    answer: ProbeAnswered
    status: int | None
    code: str | None
    request_id: str | None


def can_probe(permission: str, *, send: bool = False) -> bool:
    """Is there a Graph call that tells whether this permission reaches a mailbox and reads no content?

    ``send``: the caller agreed to post a message without recipients, which tells for Mail.Send (that Graph checks the
    permission before the recipients is not documented).
    """
    return catalog.probe_for(permission) is not None or (send and catalog.canonical(permission) == "Mail.Send")


def probe(
    graph: GraphClient,
    permission: str,
    mailboxes: Sequence[Recipient],
    *,
    send: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[ProbeAnswer]:
    """Ask about each mailbox, in their order, in batches. ``graph`` signs in as the app.

    Throttled answers are asked again; one that stays throttled is unknown, as is every 404, 5xx and code not known here.
    Raises ValueError where :func:`can_probe` says no, and the ServiceError family where a whole batch fails.
    """
    if not can_probe(permission, send=send):
        raise ValueError(f"Graph has no safe call that asks for {permission}")
    asked = [mailbox for mailbox in mailboxes if mailbox.external_directory_object_id]
    calls = [_call(permission, str(mailbox.external_directory_object_id)) for mailbox in asked]
    replies = graph.batch(calls, progress=progress)
    sending = catalog.canonical(permission) == "Mail.Send"
    answers = {
        mailbox.guid: ProbeAnswer(
            mailbox=mailbox.primary_smtp_address,
            answer=meaning(reply.status, reply.code, sending=sending),
            status=reply.status,
            code=reply.code,
            request_id=reply.request_id or reply.client_request_id,
        )
        for mailbox, reply in zip(asked, replies, strict=True)
    }
    return [answers.get(mailbox.guid) or _unasked(mailbox) for mailbox in mailboxes]


def meaning(status: int, code: str | None, *, sending: bool = False) -> ProbeAnswered:
    """What one answer says of the permission. Only what the service's documents settle is an answer; the rest is unknown."""
    if status == 200 and not sending:
        return "allowed"
    if sending and status == 400 and code == "ErrorInvalidRecipients":
        return "allowed"
    if status == 403 and code in ("ErrorAccessDenied", "AccessDenied", "extensionError"):
        return "denied"
    return "unknown"


def _call(permission: str, user: str) -> Call:
    found = catalog.probe_for(permission)
    if found is None:
        message: dict[str, Any] = {"subject": "", "body": {"contentType": "Text", "content": ""}, "toRecipients": []}
        return Call("POST", f"/users/{user}/sendMail", {"message": message, "saveToSentItems": False})
    method, path = found
    return Call(method, path.replace("{id}", user))


def _unasked(mailbox: Recipient) -> ProbeAnswer:
    # A mailbox without a directory object cannot be named to Graph.
    return ProbeAnswer(mailbox.primary_smtp_address, "unknown", None, "not-in-entra", None)
