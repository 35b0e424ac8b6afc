"""Calls on mailbox data: each needs a permission, and the tenant decides. No content is kept: a mailbox has one made-up message."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

from exoscope.catalog import GRAPH
from exoscope.model import Recipient
from exoscope.twin.graph.call import Call, Reply, context
from exoscope.twin.graph.errors import (
    GraphError,
    access_denied,
    bad_request,
    invalid_user,
    missing,
    no_mailbox,
    not_modelled,
)
from exoscope.twin.graph.faults import GraphFaults
from exoscope.twin.graph.limits import Limits
from exoscope.twin.graph.query import check_options, many, select
from exoscope.twin.tenant import TwinTenant

# Mail.ReadBasic gives a message without these properties, and no attachments (permissions reference).
_NOT_BASIC = {"body", "bodypreview", "uniquebody", "attachments", "extensions", "singlevalueextendedproperties"}
_NEEDS = {
    "messages": "Mail.ReadBasic",
    "mailFolders": "Mail.ReadBasic",
    "calendars": "Calendars.ReadBasic.All",
    "events": "Calendars.ReadBasic.All",
    "contacts": "Contacts.Read",
    "contactFolders": "Contacts.Read",
}


class Mailboxes:
    """The mailbox half of Graph."""

    def __init__(self, tenant: TwinTenant, limits: Limits, faults: GraphFaults) -> None:
        self.tenant = tenant
        self.limits = limits
        self.faults = faults
        self.sent: list[tuple[str, str]] = []  # (app id, mailbox address) of each message that would have gone out

    # -- deciding ----------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Recipient:
        """The mailbox a path names. Raises the 404s of facts §4.2."""
        view = self.tenant.view
        found = self.tenant.user(name)
        if found is None:
            if view.recipients(name) and "@" in name:
                raise not_modelled("addressing a mailbox by an alias")
            raise invalid_user(name)
        if found.recipient_type != "UserMailbox":
            raise no_mailbox()
        return found

    def _allowed(self, call: Call, name: str, permission: str, answer: Callable[[Recipient], Reply]) -> Reply:
        """Decide, hold one of the app's places at the mailbox, answer."""
        if call.principal.user:
            raise not_modelled("delegated access to mailboxes")
        mailbox = self._find(name)
        if call.principal.operator:
            raise access_denied(by_policy=False)
        with self.limits.mailbox(call.principal.app_id, mailbox.guid):
            if not call.in_batch:
                self.faults.linger()
            decision = self.tenant.decide(
                call.principal.object_id, call.principal.roles, permission, mailbox, resource=GRAPH
            )
            if decision.answer == "not-modelled":
                raise not_modelled(decision.because)
            if decision.answer == "denied":
                raise access_denied(by_policy=decision.mechanism == "raop")
            return answer(mailbox)

    def _needed(self, call: Call, kind: str) -> str:
        wanted = {name.strip().casefold() for name in call.query.get("$select", "").split(",")}
        if _NEEDS[kind] == "Mail.ReadBasic" and (wanted & _NOT_BASIC or "$expand" in call.query):
            return "Mail.Read"
        return _NEEDS[kind]

    # -- calls -------------------------------------------------------------------------------------------------

    def collection(self, call: Call, user: str, kind: str) -> Reply:
        """GET /users/{user}/messages, mailFolders, calendars, events, contacts, contactFolders."""
        check_options(call)

        def rows(mailbox: Recipient) -> list[dict[str, Any]]:
            return {
                "messages": [_message(mailbox)],
                "mailFolders": [_folder(mailbox, name) for name in ("Inbox", "Sent Items")],
                "calendars": [_entry(mailbox, "calendar", name="Calendar")],
            }.get(kind, [])

        return self._allowed(
            call,
            user,
            self._needed(call, kind),
            lambda mailbox: many(call, rows(mailbox), f"users('{user}')/{kind}", page=10),
        )

    def calendar(self, call: Call, user: str) -> Reply:
        """GET /users/{user}/calendar: the default one."""
        check_options(call)

        def answer(mailbox: Recipient) -> Reply:
            row = _entry(mailbox, "calendar", name="Calendar")
            return Reply(
                200, {"@odata.context": context(call, f"users('{user}')/calendar/$entity"), **select(call, row)}
            )

        return self._allowed(call, user, _NEEDS["calendars"], answer)

    def message(self, call: Call, user: str, id: str) -> Reply:
        """GET /users/{user}/messages/{id}."""
        check_options(call)

        def answer(mailbox: Recipient) -> Reply:
            row = _message(mailbox)
            if row["id"] != id:
                raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
            return Reply(
                200, {"@odata.context": context(call, f"users('{user}')/messages/$entity"), **select(call, row)}
            )

        return self._allowed(call, user, self._needed(call, "messages"), answer)

    def attachments(self, call: Call, user: str, id: str) -> Reply:
        """GET /users/{user}/messages/{id}/attachments: needs Mail.Read."""
        check_options(call)
        return self._allowed(call, user, "Mail.Read", lambda mailbox: many(call, [], "attachments"))

    def folder(self, call: Call, user: str, id: str) -> Reply:
        """GET /users/{user}/mailFolders/{inbox or an id}."""
        check_options(call)

        def answer(mailbox: Recipient) -> Reply:
            rows = {name: _folder(mailbox, shown) for name, shown in (("inbox", "Inbox"), ("sentitems", "Sent Items"))}
            row = rows.get(id.casefold()) or next((row for row in rows.values() if row["id"] == id), None)
            if row is None:
                raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
            return Reply(
                200, {"@odata.context": context(call, f"users('{user}')/mailFolders/$entity"), **select(call, row)}
            )

        return self._allowed(call, user, self._needed(call, "mailFolders"), answer)

    def folder_messages(self, call: Call, user: str, id: str) -> Reply:
        """GET /users/{user}/mailFolders/{id}/messages."""
        if id.casefold() != "inbox":
            raise not_modelled("messages of another folder than the inbox")
        return self.collection(call, user, "messages")

    def settings(self, call: Call, user: str) -> Reply:
        """GET /users/{user}/mailboxSettings."""
        check_options(call)
        row = {"timeZone": "W. Europe Standard Time", "userPurpose": "user", "dateFormat": "dd.MM.yyyy"}
        body = {"@odata.context": context(call, f"users('{user}')/mailboxSettings"), **select(call, row)}
        return self._allowed(call, user, "MailboxSettings.Read", lambda mailbox: Reply(200, body))

    def send(self, call: Call, user: str) -> Reply:
        """POST /users/{user}/sendMail. A message without recipients is refused after the permission was checked
        (the order is not documented; the twin takes the one that a probe relies on).
        """
        body = call.object()

        def answer(mailbox: Recipient) -> Reply:
            message = body.get("message") or body.get("Message")
            if not isinstance(message, dict):
                raise bad_request("The request has no message.", code="ErrorInvalidRequest")
            fields = ("toRecipients", "ccRecipients", "bccRecipients")
            if not any(message.get(field) for field in fields):
                text = (
                    "At least one recipient is not valid., A message can't be sent because it contains no recipients."
                )
                raise GraphError(400, "ErrorInvalidRecipients", text)
            self.sent.append((call.principal.app_id, mailbox.primary_smtp_address))
            return Reply(202)

        return self._allowed(call, user, "Mail.Send", answer)

    def mail_tips(self, call: Call, user: str) -> Reply:
        """POST /users/{user}/getMailTips."""
        asked = call.object().get("EmailAddresses")
        if not isinstance(asked, list):
            raise bad_request("EmailAddresses is missing.", code="BadRequest")
        rows = [{"emailAddress": {"name": "", "address": address}} for address in asked]
        body = {"@odata.context": context(call, "Collection(microsoft.graph.mailTips)"), "value": rows}
        return self._allowed(call, user, "MailTips.ReadBasic.All", lambda mailbox: Reply(200, body))

    def folders(self, call: Call, mailbox: str) -> Reply:
        """GET /admin/exchange/mailboxes/{mailbox}/folders."""
        return self._allowed(
            call,
            _mailbox_name(mailbox),
            "MailboxFolder.Read.All",
            lambda found: many(call, [_folder(found, "Inbox")], "mailboxFolders"),
        )

    def items(self, call: Call, mailbox: str, folder: str) -> Reply:
        """GET /admin/exchange/mailboxes/{mailbox}/folders/{folder}/items."""

        def answer(found: Recipient) -> Reply:
            if folder not in ("inbox", _folder(found, "Inbox")["id"]):
                raise missing(folder)
            return many(call, [{"id": _message(found)["id"], "type": "IPM.Note", "size": 1024}], "mailboxItems")

        return self._allowed(call, _mailbox_name(mailbox), "MailboxItem.Read.All", answer)


def _mailbox_name(text: str) -> str:
    # the documented form is MBX:{id}@{tenant id}
    return text[4:].partition("@")[0] if text.startswith("MBX:") else text


def _identifier(mailbox: Recipient, what: str) -> str:
    made = uuid.uuid5(uuid.NAMESPACE_URL, f"{mailbox.guid.casefold()}/{what}")
    return "AAMk" + base64.urlsafe_b64encode(made.bytes).decode().rstrip("=")


def _message(mailbox: Recipient) -> dict[str, Any]:
    return {
        "id": _identifier(mailbox, "message"),
        "subject": "A message of the twin",
        "receivedDateTime": "2026-01-05T08:00:00Z",
        "isRead": True,
        "hasAttachments": False,
    }


def _folder(mailbox: Recipient, name: str) -> dict[str, Any]:
    return {"id": _identifier(mailbox, name), "displayName": name, "totalItemCount": 1, "unreadItemCount": 0}


def _entry(mailbox: Recipient, what: str, *, name: str) -> dict[str, Any]:
    return {"id": _identifier(mailbox, what), "name": name, "canEdit": True}
