"""Who can reach what, and why: set algebra over a snapshot.

::

    reach = Reach(snapshot)                       # or Reach(other, like=reach), reach.with_(role_assignments=…): shared indexes
    answer = reach.of("Omniscope", "Mail.Read")   # .allowed .unknown: Mailboxes; .because: Reasons; .findings; .document()
    reach.on("ada@contoso.com")                   # every app that reaches the mailbox
    reach.explain("Omniscope", "Mail.Read", "ada@contoso.com")
    reach.scope_members(scope or filter text)     # Members(inside, unknown, problem)

A mailbox that is neither allowed nor unknown is denied. What could not be read makes the answers it could change unknown,
and no others: an answer that another rule settles stays settled.
"""

from __future__ import annotations

from exoscope.reach.answers import (
    Answer,
    AppOnMailbox,
    Effect,
    MailboxAnswer,
    ReachAnswer,
    Reason,
    ReasonKind,
    Story,
    Told,
    Word,
)
from exoscope.reach.sets import Mailboxes
from exoscope.reach.whole import Members, Reach

__all__ = [
    "Answer",
    "AppOnMailbox",
    "Effect",
    "MailboxAnswer",
    "Mailboxes",
    "Members",
    "Reach",
    "ReachAnswer",
    "Reason",
    "ReasonKind",
    "Story",
    "Told",
    "Word",
]
