"""What this machine has for a road: each PowerShell is started and loads Exchange's module, as a session would."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping

from exoscope import powershell
from exoscope.exchange.connect import Pool
from exoscope.exchange.roads import Tried
from exoscope.outcome import Deadline, ExoscopeError
from exoscope.powershell.child import programs

log = logging.getLogger("exoscope.exchange")

SECONDS = 120.0
"""How long one PowerShell may take to start and to load the module; it is ended then."""

_WORDS = 300  # characters of a reason


def look(
    environ: Mapping[str, str] = os.environ, say: Callable[[str], None] = log.info, *, seconds: float = SECONDS
) -> tuple[Tried, ...]:
    """Every PowerShell at hand, best first, up to the first that loads the module. ``say`` gets a line before each is tried.

    Raises BadInput (code ``no-pwsh``) when EXOSCOPE_PWSH names one that cannot be run.
    """
    found: list[Tried] = []
    for program in programs(environ):
        say(f"trying {program}")
        found.append(try_module(program, seconds=seconds))
        if found[-1].module is not None:
            break
    return tuple(found)


def try_module(program: str, environ: Mapping[str, str] | None = None, *, seconds: float = SECONDS) -> Tried:
    """Start one PowerShell as a session does, load the module in it, and end it. ``environ``: its own, else this process's."""
    from exoscope.exchange.local import PwshPool  # psrpcore is slow to load

    return try_pool(PwshPool(program, environ), program, seconds=seconds)


def try_pool(pool: Pool, program: str, *, seconds: float = SECONDS) -> Tried:
    """Open a pool (on a gateway too), load the module in it, and end it. ``program`` names it."""
    end = time.monotonic() + seconds
    try:
        pool.open(deadline=seconds)
        told = pool.invoke(
            powershell.prelude(powershell.MODULE).text, deadline=max(0.0, end - time.monotonic())
        ).objects
    except Deadline:
        return Tried(program, why=f"it did not load the module within {seconds:g} s")
    except ExoscopeError as error:
        log.debug("%s was tried: %s", program, error.message)
        words = " ".join(error.message.split())
        why = words if len(words) <= _WORDS else f"{words[:_WORDS]}…"
        return Tried(program, why=why, code=error.code, next=error.next)
    finally:
        pool.close()
    if len(told) != 3 or not all(isinstance(each, str) and each for each in told):
        return Tried(program, why="it answered something else than its version, the module's, and the module's folder")
    return Tried(program, engine=told[0], module=told[1], where=told[2])


def module_folders(program: str, *, seconds: float = SECONDS) -> str:
    """PSModulePath as one PowerShell makes it for itself: what it was given, and its own folders before that.

    Raises BadInput, ServiceError (it serves no session, or does not answer).
    """
    from exoscope.exchange.local import PwshPool

    pool = PwshPool(program)
    try:
        pool.open(deadline=seconds)
        found = pool.invoke(powershell.prelude(powershell.FOLDERS).text, deadline=seconds).objects
    finally:
        pool.close()
    return "".join(each for each in found if isinstance(each, str))
