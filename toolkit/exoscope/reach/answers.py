"""What reach answers: the JSON shapes, and the sets behind them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from exoscope.outcome import Finding
from exoscope.reach.sets import Mailboxes

ReasonKind = Literal["consent", "policy", "assignment"]
Effect = Literal["allows", "denies", "restricts", "unknown"]
Word = Literal["allowed", "denied", "unknown"]


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing an answer rests on. ``id``: the consent's assignment id, the policy's identity, the assignment's name, or
    the snapshot's list (``access_policies``, ``role_assignments``) where that was not read.
    """

    kind: ReasonKind
    id: str
    effect: Effect
    text: str


class ReachAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``exoscope reach --app A --permission P --json``. Addresses are primary ones, as stored, sorted without case;
    a mailbox in neither list is denied.
    """

    app_id: str
    permission: str
    mailboxes: tuple[str, ...]
    unknown: tuple[str, ...]
    because: tuple[Reason, ...]
    findings: tuple[Finding, ...]


class Answer(NamedTuple):
    """Reach of one app with one permission, as sets. ``allowed`` and ``unknown`` are disjoint; every other mailbox is denied."""

    app_id: str
    permission: str
    allowed: Mailboxes
    unknown: Mailboxes
    because: tuple[Reason, ...]
    findings: tuple[Finding, ...]

    def word(self, address: str) -> Word:
        """The answer for the mailbox with this primary address."""
        if address in self.allowed:
            return "allowed"
        return "unknown" if address in self.unknown else "denied"

    def document(self) -> ReachAnswer:
        """The same with addresses, as it is printed."""
        return ReachAnswer(
            app_id=self.app_id,
            permission=self.permission,
            mailboxes=self.allowed.addresses(),
            unknown=self.unknown.addresses(),
            because=self.because,
            findings=self.findings,
        )


class AppOnMailbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One app that reaches (or may reach) a mailbox with one permission it holds."""

    app_id: str
    display_name: str
    permission: str
    answer: Literal["allowed", "unknown"]
    via: tuple[Reason, ...]


class MailboxAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``exoscope reach --mailbox M --json``: every app that reaches it, by permission held; an app that is not listed does
    not. ``unread``: snapshot lists that were not read, so that other apps or permissions may reach it too.
    """

    mailbox: str
    apps: tuple[AppOnMailbox, ...]
    findings: tuple[Finding, ...]
    unread: tuple[str, ...] = ()

    @property
    def unknown(self) -> bool:
        """Is any of it unknown?"""
        return bool(self.unread) or any(app.answer == "unknown" for app in self.apps)


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of a story: which rule, what it was asked of (null: the rule as a whole), and what came of it for the mailbox.

    ``outcome``: allows · denies · restricts · unknown · nothing (the rule has no say here).
    """

    rule: Literal["consent", "policy", "enforcement", "assignment", "union"]
    id: str | None
    outcome: Literal["allows", "denies", "restricts", "unknown", "nothing"]
    text: str


class Story(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``exoscope explain --json``: how one answer comes about, rule by rule, in the order of the rules."""

    app_id: str
    display_name: str
    permission: str
    mailbox: str
    answer: Word
    told: tuple[Told, ...]
    findings: tuple[Finding, ...]
