"""When a read is tried again, the same on every road: after a lost session, throttling or a passing fault, within its deadline."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from exoscope.clock import Clock
from exoscope.outcome import LostSession, ServiceError, Throttled, Transient

log = logging.getLogger("exoscope.exchange")

Answer = TypeVar("Answer")

TRIES = 4  # of a read
SLOWEST = 60.0  # longest pause between two tries
PASSING: tuple[type[ServiceError], ...] = (LostSession, Throttled, Transient)

_READING = ("Get", "Test")


def is_read(cmdlets: Iterable[str]) -> bool:
    """Do all of these cmdlets only read? Only such a script may ever be sent twice."""
    return all(cmdlet.partition("-")[0] in _READING for cmdlet in cmdlets)


def repeated(
    read: Callable[[float], Answer],
    name: str,
    *,
    clock: Clock,
    deadline: float,
    passing: tuple[type[ServiceError], ...] = PASSING,
) -> Answer:
    """What ``read`` answers, which is given the seconds it has left; after a passing error it is asked again.

    Raises the last error when the tries or the ``deadline`` seconds are used up, and every other error at once.
    """
    end = time.monotonic() + deadline
    for tried in range(1, TRIES + 1):
        try:
            return read(max(1.0, end - time.monotonic()))
        except passing as error:
            pause = 0.0 if isinstance(error, LostSession) else min(SLOWEST, error.retry_after or 2.0**tried)
            if tried == TRIES or time.monotonic() + pause >= end:
                raise
            log.info("%s: %s, tried again in %g s", name, error.code, pause)
            clock.sleep(pause)
    raise AssertionError("unreachable: the last try returns or raises")
