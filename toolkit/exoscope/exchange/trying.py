"""What this machine has for a road: each PowerShell is started and loads Exchange's module, as a session would."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping

from exoscope import powershell
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


def try_module(program: str, *, seconds: float = SECONDS) -> Tried:
    """Start one PowerShell as a session does, load the module in it, and end it."""
    from exoscope.exchange.local import PwshPool  # psrpcore is slow to load

    end = time.monotonic() + seconds
    pool = PwshPool(program)
    try:
        pool.open(deadline=seconds)
        versions = pool.invoke(
            powershell.prelude(powershell.MODULE).text, deadline=max(0.0, end - time.monotonic())
        ).objects
    except Deadline:
        return Tried(program, why=f"it did not load the module within {seconds:g} s")
    except ExoscopeError as error:
        log.debug("%s was tried: %s", program, error.message)
        words = " ".join(error.message.split())
        return Tried(program, why=words if len(words) <= _WORDS else f"{words[:_WORDS]}…")
    finally:
        pool.close()
    if len(versions) != 2 or not all(isinstance(each, str) and each for each in versions):
        return Tried(program, why="it answered something else than two versions")
    return Tried(program, engine=versions[0], module=versions[1])
