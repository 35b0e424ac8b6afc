"""What was made or removed a moment ago is not known everywhere yet.

Sources: "Designing for eventual consistency" (devblogs.microsoft.com/identity), and the refusals that others met right after a
create (facts in :mod:`exoscope.twin.graph.errors`). How long it takes is stated nowhere; here it is ``lag``:
none unless a test asks.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from exoscope.clock import Clock


class Spreading:
    """``lag``: how long a new application, service principal or credential stays unknown, and a removed credential known."""

    def __init__(self, clock: Clock) -> None:
        self.lag = timedelta(0)
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, datetime] = {}
        self._refusals = 0

    def began(self, *names: str) -> datetime:
        """Something of these names (ids) was made or removed now. Returns when everybody will know."""
        until = self._clock.now() + self.lag
        with self._lock:
            if self.lag:
                self._until |= {name.casefold(): until for name in names}
        return until

    def over(self, id: str) -> bool:
        """Does everybody know what became of it?"""
        with self._lock:
            until = self._until.get(id.casefold())
        return until is None or until <= self._clock.now()

    def turn(self) -> bool:
        """False, True, False …: where a service has been seen to refuse in two ways, both are met."""
        with self._lock:
            self._refusals += 1
            return self._refusals % 2 == 0
