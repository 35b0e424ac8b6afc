"""Faults on demand: what a test can make the twin's Exchange do wrong. Nothing here happens unless it was asked for."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

import msgspec

from exoscope.twin.exchange.call import CmdletError

Kind = Literal["fail", "drop", "act-then-drop", "hang", "act-then-hang"]


class Fault(msgspec.Struct, frozen=True):
    """One planned fault. ``fail`` carries its error; ``drop`` loses the shell and cuts the connection; ``hang`` never answers."""

    kind: Kind
    error: CmdletError | None = None


class Faults:
    """Planned faults, by cmdlet (or ``*``), taken in the order they were planned. Safe to use from many threads.

    ``stale_reads`` seconds: Get- and Test- cmdlets see the tenant as it was that long ago. ``everything_for_unknown``: a Get- with
    an identity that is not there answers with all objects, as its reference page says. ``http_status`` N: the next
    requests to Exchange are answered with these statuses (429, 503, …) before anything is looked at. ``slow``: seconds before
    each cmdlet.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: dict[str, deque[Fault]] = {}
        self._statuses: deque[int] = deque()
        self.stale_reads = 0.0
        self.slow = 0.0
        self.everything_for_unknown = False
        self.lose_shells = False

    def fail(self, cmdlet: str, error: CmdletError, times: int = 1) -> None:
        """The next ``times`` calls of the cmdlet answer this error and do nothing."""
        self._plan(cmdlet, Fault("fail", error), times)

    def throttle(self, cmdlet: str = "*", times: int = 1) -> None:
        """The next calls are told that there are too many."""
        self.fail(
            cmdlet,
            CmdletError(
                "Microsoft.Exchange.Data.Directory.ResourceUnhealthyException",
                "You have reached the maximum number of concurrent requests per tenant. Please wait and try again.",
                category="LimitsExceeded",
            ),
            times,
        )

    def drop(self, cmdlet: str, times: int = 1, *, act: bool = True) -> None:
        """The next calls lose the shell and the connection: after doing their work (``act``) or before."""
        self._plan(cmdlet, Fault("act-then-drop" if act else "drop"), times)

    def hang(self, cmdlet: str, times: int = 1, *, act: bool = False) -> None:
        """The next calls never answer (a stop ends them): after doing their work (``act``), or without."""
        self._plan(cmdlet, Fault("act-then-hang" if act else "hang"), times)

    def http_status(self, status: int, times: int = 1) -> None:
        """The next ``times`` requests to Exchange are answered with this HTTP status."""
        with self._lock:
            self._statuses.extend([status] * times)

    def clear(self) -> None:
        """Forget everything planned."""
        with self._lock:
            self._planned.clear()
            self._statuses.clear()
        self.stale_reads = self.slow = 0.0
        self.everything_for_unknown = self.lose_shells = False

    def take(self, cmdlet: str) -> Fault | None:
        """The fault planned for this call, once."""
        with self._lock:
            for key in (cmdlet.lower(), "*"):
                planned = self._planned.get(key)
                if planned:
                    return planned.popleft()
        return None

    def take_status(self) -> int | None:
        """The HTTP status planned for this request, once."""
        with self._lock:
            return self._statuses.popleft() if self._statuses else None

    def take_lost_shells(self) -> bool:
        """Whether all shells are to be forgotten now, once."""
        with self._lock:
            lost, self.lose_shells = self.lose_shells, False
            return lost

    def _plan(self, cmdlet: str, fault: Fault, times: int) -> None:
        with self._lock:
            self._planned.setdefault(cmdlet.lower(), deque()).extend([fault] * times)
