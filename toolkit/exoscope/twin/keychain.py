"""What apps sign in with at the twin: the sandbox's own secrets and certificates, and those made through Graph.

The sandbox's own have no key id and stand apart from the tenant: no answer of Graph or Exchange shows them.
"""

from __future__ import annotations

import secrets
import threading
from datetime import datetime

from exoscope.model import Noun


class Held(Noun, frozen=True):
    """One secret or certificate (DER) that signs in. ``ends`` None: it does not expire. ``since`` and ``until``: from when to when
    the sign-in service knows it, while what changed is still spreading.
    """

    secret: str | None
    certificate: bytes | None
    ends: datetime | None
    key_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Keychain:
    """By app id, without case. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, list[Held]] = {}

    def add(self, app_id: str, held: Held) -> None:
        """Let the app sign in with it too."""
        with self._lock:
            self._held.setdefault(app_id.casefold(), []).append(held)

    def remove(self, app_id: str, key_id: str, *, until: datetime) -> None:
        """Let a credential made through Graph sign in until then and no longer."""
        with self._lock:
            held = self._held.get(app_id.casefold(), [])
            for place, each in enumerate(held):
                if each.key_id is not None and each.key_id.casefold() == key_id.casefold():
                    held[place] = Held(each.secret, each.certificate, each.ends, each.key_id, each.since, until)

    def drop(self, app_id: str) -> None:
        """Forget what an app signs in with."""
        with self._lock:
            self._held.pop(app_id.casefold(), None)

    def of(self, app_id: str, now: datetime) -> list[Held]:
        """What the sign-in service knows of an app now, expired ones too."""
        with self._lock:
            return [
                each
                for each in self._held.get(app_id.casefold(), ())
                if (each.since is None or each.since <= now) and (each.until is None or now < each.until)
            ]


def new_secret() -> str:
    """A random secret of 40 characters (Graph's are 16 to 64 long: application-addpassword)."""
    return secrets.token_urlsafe(30)
