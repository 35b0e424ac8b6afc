"""The nouns of doctor: what was seen of the operator's set-up, and the lines that are made of it."""

from __future__ import annotations

from typing import Literal

from exoscope.checking.contact import Contact
from exoscope.entra.holders import Holder
from exoscope.model import Noun, Tenant
from exoscope.outcome import Exit, worst

State = Literal["ok", "note", "unknown", "failed"]
CODES = (
    "cloud",
    "clock",
    "road",
    "powershell",
    "language-mode",
    "sign-in",
    "tenant",
    "cmdlets",
    "delegating",
    "entra-role",
    "graph-permissions",
    "dehydrated",
    "ews",
    "enforcement",
    "credential",
    "first-contact",
)
"""Every code that a line may have."""
UNREADABLE = "token-unreadable"


class Line(Noun, frozen=True):
    """One line. ``code`` is stable; ``subject``: which of several (a role, an app, a host); ``remedy`` is empty where nothing is to
    do.
    """

    code: str
    state: State
    said: str
    remedy: str = ""
    subject: str | None = None


class DoctorAnswer(Noun, frozen=True):
    """The answer. ``road`` and ``tenant`` are null where they are not known; ``plan``: the hash of the plan that it was asked for.
    ``contact`` is null where the tenant could not be met.
    """

    profile: str
    tool_version: str
    road: str | None
    tenant: Tenant | None
    plan: str | None
    engine: str | None
    module: str | None
    lines: tuple[Line, ...]
    contact: Contact | None

    @property
    def exit(self) -> Exit:
        """1 where something failed, 6 where something could not be told, else 0."""
        kinds = {"failed": Exit.FINDINGS, "unknown": Exit.UNKNOWN}
        return worst(kinds.get(line.state, Exit.DONE) for line in self.lines)


class Trouble(Noun, frozen=True):
    """Why something could not be seen: an error's code, words and advice."""

    code: str
    message: str
    next: str = ""


class PowerShell(Noun, frozen=True):
    """A PowerShell that was tried: its version and the module's."""

    engine: str
    module: str


class Flags(Noun, frozen=True):
    """The organisation's settings that bear on applications, as they came; null is not set, or not shown."""

    dehydrated: bool | None
    ews_enabled: bool | None
    ews_policy: str | None
    ews_allowed: int | None
    enforce: bool | None


class Delegating(Noun, frozen=True):
    """Who may hand on which application role: ``own`` by the operator's own assignments (those of its role groups among them),
    ``holders``: role → everyone who may. None: it could not be read.
    """

    own: tuple[str, ...] | None
    holders: dict[str, tuple[str, ...]] | None
    why: str = ""


class Signing(Noun, frozen=True):
    """An app of the profile. ``trouble``: it cannot sign in. ``ends``: when its credentials of that kind in Entra end, in days from
    now, earliest first; None: Graph did not show them.
    """

    app: str
    trouble: Trouble | None
    ends: tuple[int, ...] | None


class Seen(Noun, frozen=True):
    """Everything that was looked at. What could not be is a Trouble, or None where the question did not arise. ``writer``: who
    changes things in Graph, where that is not the operator.
    """

    cloud: str
    hosts: tuple[str, ...]
    own_endpoints: bool
    road: str | None
    road_said: str
    powershell: PowerShell | Trouble | None
    clocks: dict[str, float | Trouble]
    graph: Holder | Trouble
    writer: Holder | Trouble | None
    tenant: Tenant | Trouble
    session: Trouble | None
    cmdlets: frozenset[str] | Trouble | None
    roles_of: dict[str, tuple[str, ...]]
    delegating: Delegating | None
    eligible: tuple[str, ...] | Trouble | None
    flags: Flags | Trouble | None
    signing: tuple[Signing, ...]
    contact: Contact | Trouble | None
