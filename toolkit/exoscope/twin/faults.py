"""Faults on demand: what a test can make the twin's Exchange do wrong. Nothing here happens unless it was asked for."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime
from typing import Literal

import msgspec

from exoscope.twin.exchange.call import OMITTED, CmdletError

Kind = Literal["fail", "act-then-fail", "rows-then-fail", "drop", "act-then-drop", "hang", "act-then-hang"]


class Fault(msgspec.Struct, frozen=True):
    """One planned fault. What fails has its error; ``drop`` loses the shell and cuts the connection; ``hang`` never answers."""

    kind: Kind
    error: CmdletError | None = None


class Faults:
    """Planned faults, by cmdlet (or ``*``), taken in the order they were planned. Safe to use from many threads.

    ``stale_reads`` seconds: Get- and Test- cmdlets see the tenant as it was that long ago. ``everything_for_unknown``: a Get- with
    an identity that is not there answers with all objects, as its reference page says. ``http_status`` N: the next
    requests to Exchange are answered with these statuses (429, 503, …) before anything is looked at. ``slow``: seconds before
    each cmdlet. ``shell_life``: seconds after which the gateway ends a shell, used or not. Times are the tenant's clock's.
    ``withheld``: cmdlets (lower case) that the operator's roles do not hold.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: dict[str, deque[Fault]] = {}
        self._statuses: deque[int] = deque()
        self.stale_reads = 0.0
        self.slow = 0.0
        self.everything_for_unknown = False
        self.lose_shells = False
        self.shell_life: float | None = None
        self.withheld: frozenset[str] = frozenset()
        self._reshaped: dict[str, dict[str, object]] = {}
        self._away_until: datetime | None = None
        self._full = 0

    def fail(self, cmdlet: str, error: CmdletError, times: int = 1, *, act: bool = False) -> None:
        """The next ``times`` calls of the cmdlet answer this error and do nothing, or (``act``) do their work all the same."""
        self._plan(cmdlet, Fault("act-then-fail" if act else "fail", error), times)

    def time_out(self, cmdlet: str, times: int = 1, *, act: bool = True) -> None:
        """The next calls are given up, as the module does after fifteen minutes (over the admin API: HTTP 504): Exchange has
        done their work by then (``act``), or not.
        """
        self.fail(
            cmdlet,
            CmdletError(
                "System.Threading.Tasks.TaskCanceledException",
                "The request was canceled due to the configured HttpClient.Timeout of 900 seconds elapsing.",
                category="OperationTimeout",
            ),
            times,
            act=act,
        )

    def fail_after_rows(self, cmdlet: str, error: CmdletError) -> None:
        """The next call of the cmdlet gives its rows, and then this error."""
        self._plan(cmdlet, Fault("rows-then-fail", error), 1)

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

    def reshape(self, cmdlet: str, column: str, value: object = OMITTED) -> None:
        """Each row of the cmdlet has this value in the column from now on, or the column no more."""
        with self._lock:
            self._reshaped.setdefault(cmdlet.lower(), {})[column.lower()] = value

    def reshaped(self, cmdlet: str) -> dict[str, object]:
        """Columns (lower case) of the cmdlet's rows that are otherwise than they should be."""
        with self._lock:
            return dict(self._reshaped.get(cmdlet.lower(), {}))

    def http_status(self, status: int, times: int = 1) -> None:
        """The next ``times`` requests to Exchange are answered with this HTTP status."""
        with self._lock:
            self._statuses.extend([status] * times)

    def restart(self, until: datetime) -> None:
        """The machine goes down: its shells are gone, and each connection is cut before its first answer until then."""
        with self._lock:
            self.lose_shells = True
            self._away_until = until

    def refuse_shells(self, times: int = 1) -> None:
        """The gateway has no room for the next ``times`` new shells (MaxShellsPerUser)."""
        with self._lock:
            self._full += times

    def clear(self) -> None:
        """Forget everything planned."""
        with self._lock:
            self._planned.clear()
            self._statuses.clear()
            self._reshaped.clear()
            self._away_until, self._full = None, 0
        self.stale_reads = self.slow = 0.0
        self.everything_for_unknown = self.lose_shells = False
        self.shell_life = None
        self.withheld = frozenset()

    @property
    def planned(self) -> int:
        """How many planned faults nobody has met yet."""
        with self._lock:
            return sum(len(each) for each in self._planned.values()) + len(self._statuses) + self._full

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

    def away(self, now: datetime) -> bool:
        """Whether nothing answers at this time."""
        with self._lock:
            return self._away_until is not None and now < self._away_until

    def take_full(self) -> bool:
        """Whether there is no room for this new shell, once."""
        with self._lock:
            full = self._full > 0
            self._full -= full
            return full

    def take_lost_shells(self) -> bool:
        """Whether all shells are to be forgotten now, once."""
        with self._lock:
            lost, self.lose_shells = self.lose_shells, False
            return lost

    def _plan(self, cmdlet: str, fault: Fault, times: int) -> None:
        with self._lock:
            self._planned.setdefault(cmdlet.lower(), deque()).extend([fault] * times)
