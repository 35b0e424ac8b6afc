"""Time, handed in by the command line so that what decides needs none and tests can turn it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """``now`` is UTC wall time; ``sleep`` takes seconds."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def iso(moment: datetime) -> str:
    """``2026-11-23T09:00:00Z``: UTC, whole seconds rounded up, as every file and answer of ours writes a time."""
    moment = moment.astimezone(UTC)
    if moment.microsecond:
        moment = moment.replace(microsecond=0).fromtimestamp(int(moment.timestamp()) + 1, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
