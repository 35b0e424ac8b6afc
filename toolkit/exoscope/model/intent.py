"""What an admin wants: the nouns of scope.yaml."""

from __future__ import annotations

from typing import Literal

from exoscope.model.tenant import Noun

Mechanism = Literal["rbac", "access-policy"]
OnLeftover = Literal["remove", "refuse", "keep"]
ScopeKind = Literal["group", "filter", "administrative-unit", "group-scope", "mailboxes", "organization"]


class IntentScope(Noun, frozen=True):
    """Where an app may reach. ``value``: the group, filter, unit; ``mailboxes`` for a list; neither for ``organization``."""

    kind: ScopeKind
    value: str | None = None
    mailboxes: tuple[str, ...] = ()


class Prove(Noun, frozen=True):
    """Mailboxes (addresses) that must be among the proofs, inside and outside."""

    reach: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


class IntentEntry(Noun, frozen=True):
    """One entry of scope.yaml. ``line`` (from 1) is where it stands, for messages; it is not part of its meaning."""

    app: str
    permissions: tuple[str, ...]
    mechanism: Mechanism
    scope: IntentScope
    on_leftover_consent: OnLeftover = "remove"
    also_holds: tuple[str, ...] = ()
    no_cae: bool = False
    prove: Prove = Prove()
    line: int = 0


class Intent(Noun, frozen=True):
    """A whole scope.yaml, version 1."""

    version: Literal[1]
    apps: tuple[IntentEntry, ...]
