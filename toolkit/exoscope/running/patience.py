"""How long a run waits for services to agree with themselves, and how an app stops."""

from __future__ import annotations

import msgspec

from exoscope.outcome import Deadline, LostSession, Throttled, Transient

PASSING = (Transient, Throttled, LostSession, Deadline)


class Patience(msgspec.Struct, frozen=True):
    """How long services may take to agree with themselves, in seconds.

    ``settle``: an object that still reads as before this long after a call whose answer was lost was not changed by it.
    ``landing``: a write that was answered must read back within this. ``first`` and ``ceiling`` bound the pauses between readings.
    ``registering``: as ``settle`` for a new app, which is found by its name in lists that lag behind. ``spreading``: how long a
    service may go on not knowing it.
    """

    settle: float = 15.0
    landing: float = 90.0
    first: float = 0.25
    ceiling: float = 8.0
    attempts: int = 4
    registering: float = 90.0
    spreading: float = 300.0

    @classmethod
    def within(cls, cache: float) -> Patience:
        """Patience for a tenant whose slowest cache is this slow: nothing settles slower than that."""
        return cls(
            settle=min(cls().settle, cache),
            registering=min(cls().registering, cache),
            spreading=min(cls().spreading, 30.0 + cache),
        )


class AppStops(Exception):
    """One app goes no further: the stable code, and why in words."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
