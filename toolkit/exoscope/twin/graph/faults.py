"""Switches for tests: what a Graph of flesh and blood does now and then."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import msgspec

from exoscope.twin.graph.call import Call
from exoscope.twin.graph.errors import GraphError


class Planned(msgspec.Struct):
    """One planned fault; ``left`` counts down. ``drop``: the connection is cut off instead of an answer."""

    method: str | None
    path: str
    status: int
    code: str
    message: str
    retry_after: float | None
    after_acting: bool
    drop: bool
    left: int


class Dropped(Exception):
    """The connection is to be cut off now."""


class GraphFaults:
    """``latency``: seconds each mailbox call takes. ``replication``: how long lists of app role assignments stay as they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Planned] = []
        self.latency = 0.0
        self.replication = timedelta(0)

    def fail(
        self,
        status: int,
        code: str,
        message: str = "A planned fault.",
        *,
        times: int = 1,
        method: str | None = None,
        path: str = "",
        retry_after: float | None = None,
        after_acting: bool = False,
    ) -> None:
        """Answer the next ``times`` calls (of a method, whose path holds ``path``) with an error; ``after_acting``: the call's
        effect happens all the same, as when a gateway gives up on it.
        """
        self._plan(Planned(method, path, status, code, message, retry_after, after_acting, False, times))

    def drop(self, *, times: int = 1, method: str | None = None, path: str = "", after_acting: bool = True) -> None:
        """Cut off the connection of the next ``times`` calls, by default after the call had its effect."""
        self._plan(Planned(method, path, 0, "", "", None, after_acting, True, times))

    def _plan(self, planned: Planned) -> None:
        with self._lock:
            self._planned.append(planned)

    def take(self, call: Call, *, after_acting: bool) -> None:
        """Raise the fault planned for this call at this moment, if there is one."""
        with self._lock:
            for planned in self._planned:
                fits = planned.method in (None, call.method) and planned.path in call.path
                if planned.left and planned.after_acting == after_acting and fits:
                    planned.left -= 1
                    break
            else:
                return
        if planned.drop:
            raise Dropped
        raise GraphError(planned.status, planned.code, planned.message, retry_after=planned.retry_after)

    def linger(self, calls: int = 1) -> None:
        """Take the time of that many mailbox calls, of which Graph works on four of a batch at once."""
        if self.latency:
            time.sleep(self.latency * -(-calls // 4))
