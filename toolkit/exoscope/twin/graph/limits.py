"""Throttling: requests per second of an app (switched on by ``--throttle``), and four at a time of an app on one mailbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from exoscope.clock import Clock
from exoscope.twin.graph.errors import throttled

MAILBOX_CONCURRENCY = 4  # throttling-limits: four concurrent requests of one app on one mailbox


class Limits:
    """``rate``: requests a second each app may make, None: any number."""

    def __init__(self, clock: Clock, rate: float | None) -> None:
        self.clock = clock
        self.rate = rate
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}
        self._busy: dict[tuple[str, str], int] = {}

    def request(self, app_id: str) -> None:
        """Count a request of this app. Raises 429 with a decimal Retry-After when there were too many."""
        rate = self.rate
        if rate is None:
            return
        now = self.clock.now().timestamp()
        with self._lock:
            burst = max(1.0, rate)
            left, at = self._buckets.get(app_id, (burst, now))
            left = min(burst, left + (now - at) * rate)
            if left < 1:
                self._buckets[app_id] = (left, now)
                raise throttled((1 - left) / rate)
            self._buckets[app_id] = (left - 1, now)

    @contextmanager
    def mailbox(self, app_id: str, mailbox: str) -> Iterator[None]:
        """Hold one of the app's places at a mailbox. Raises 429 when all are taken."""
        key = (app_id, mailbox)
        with self._lock:
            if self._busy.get(key, 0) >= MAILBOX_CONCURRENCY:
                raise throttled(0.25, mailbox=True)
            self._busy[key] = self._busy.get(key, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._busy[key] -= 1
                if not self._busy[key]:
                    del self._busy[key]
