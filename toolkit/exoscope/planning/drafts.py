"""What planning works with before a plan stands: resolved entries, changes without numbers, refusals under way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar

from exoscope.catalog import Permission
from exoscope.model import App, Gate, Group, IntentEntry, Noun, Recipient, State, Target, WaitKind
from exoscope.planning.world import Mailboxes

_T = TypeVar("_T")

StageId = Literal[
    "customize",
    "register",
    "baseline",
    "overlap",
    "grant",
    "cutover",
    "finish",
    "restrict",
    "consent",
    "revoke",
    "reopen",
    "restrain",
    "restore",
    "withdraw",
    "deregister",
]

TITLES: dict[StageId, str] = {
    "customize": "Enable organisation customisation",
    "register": "Register the app and hand over what it signs in with",
    "baseline": "See that Exchange's test of the policies agrees with the prediction",
    "overlap": "Give by roles what the policies leave, beside consents and policies",
    "grant": "Grant the narrow access beside what is held",
    "cutover": "Remove the tenant-wide consents",
    "finish": "Remove the access policies that restrain nothing any more",
    "restrict": "Restrict by access policy before anything is consented",
    "consent": "Consent to what the policy now restricts",
    "revoke": "Take back what was consented",
    "reopen": "Remove the restriction",
    "restrain": "Make the removed access policies again",
    "restore": "Give the removed consents back",
    "withdraw": "Withdraw the narrow access",
    "deregister": "Remove what the app signs in with, and its registration",
}
"""Every stage a plan can have, in the order in which stages run. Ids are stable.

Where an app has both mechanisms, its scoped access comes first: a policy would cut the consent that the grant replaces.
"""


class Denied(Exception):
    """This app is refused, for a stable code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Wanted(Noun, frozen=True):
    """One entry of the intent against the tenant.

    ``place`` tells apart entries of this app with the same permissions. ``mailbox`` and ``directory`` are its permissions by what
    they are about. ``expected`` are the mailboxes its scope holds. One of these says what the scope is in Exchange:
    ``filter`` (canonical OPATH), ``unit`` (Guid), ``group`` (for a group scope, or of a policy), ``managed`` (the members of
    the group that is made), or none of them: the whole organisation.
    """

    entry: IntentEntry
    place: int
    mailbox: tuple[Permission, ...]
    directory: tuple[Permission, ...]
    expected: Mailboxes
    filter: str | None = None
    unit: str | None = None
    group: Group | None = None
    managed: tuple[Recipient, ...] = ()
    notes: tuple[str, ...] = ()


class Change(Noun, frozen=True):
    """One transition to be. Texts may hold ``<made NAME.field>``: what the step that makes group NAME will yield.

    ``label`` says in a title who or what a Guid is.
    """

    stage: StageId
    target: Target
    before: State
    after: State
    identity: str | None = None
    label: str | None = None


class Draft(Noun, frozen=True):
    """All that is to be done for one app, and what must be said of it."""

    app: App
    wanted: tuple[Wanted, ...]
    changes: tuple[Change, ...]
    gates: dict[StageId, Gate]
    token_wait: WaitKind
    filters: tuple[str | None, ...] = ()
    groups: tuple[str | None, ...] = ()
    kept: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def known(value: _T | None, why: str) -> _T:
    """A value that earlier checks made sure of; ``why`` says which."""
    if value is None:
        raise RuntimeError(why)
    return value


def made(name: str, what: str) -> str:
    """Stands for a value that the step which makes group ``name`` will yield."""
    return f"<made {name}.{what}>"


def listing(names: Iterable[str], limit: int = 20) -> str:
    """Names for a message: sorted without case, the first of many."""
    every = sorted(names, key=str.casefold)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(every[:limit]) + more
