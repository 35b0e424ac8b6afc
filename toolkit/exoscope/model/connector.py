"""A connector to be registered in Entra and handed over scoped: the nouns of connector.yaml."""

from __future__ import annotations

from typing import Literal

from exoscope.model.intent import IntentScope, Mechanism, Prove
from exoscope.model.tenant import Noun

CredentialKind = Literal["secret", "certificate"]
HandOverKind = Literal["file", "keyring", "terminal"]


class CredentialWish(Noun, frozen=True):
    """What the connector signs in with, for how many ``days``, and where it is handed over.

    ``where``: the file's absolute path, the keyring's SERVICE/USER, nothing for a terminal.
    """

    kind: CredentialKind
    days: int
    place: HandOverKind
    where: str = ""


class Connector(Noun, frozen=True):
    """A whole connector.yaml, version 1. ``notes`` are what its recipe says; ``line`` (from 1) is where it begins, for messages."""

    version: Literal[1]
    name: str
    permissions: tuple[str, ...]
    mechanism: Mechanism
    scope: IntentScope
    credential: CredentialWish
    consent: bool
    prove: Prove = Prove()
    recipe: str | None = None
    notes: tuple[str, ...] = ()
    line: int = 0
