"""What the last reading of the whole tenant shows of a step's object. Where that is just what is expected, it is enough; anything
else is read by itself, with patience. A step's own precondition and its read-back never rest on this: those read the object.

A run of hundreds of apps asks thousands of times whether objects still stand as they did; the reading that a survey rests on
has them all.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from exoscope.model import Observed, State, Step, Target
from exoscope.planning import states


@runtime_checkable
class ReadsWhole(Protocol):
    """What a tenancy also is where it keeps the reading that surveys rest on."""

    def shown(self, app_id: str | None, target: Target) -> Observed | None:
        """An object as the whole reading at hand shows it. None: no reading that is recent, and later than what this run wrote for
        the app, shows it. Sends nothing."""
        ...


def seen_by(tenancy: object, app_id: str | None, target: Target) -> Observed | None:
    """An object as the reading at hand shows it; None: it is to be read by itself."""
    return tenancy.shown(app_id, target) if isinstance(tenancy, ReadsWhole) else None


def shows(tenancy: object, step: Step, expected: State) -> bool:
    """Does the reading at hand show the step's object for certain as expected?"""
    seen = seen_by(tenancy, step.app_id, step.target)
    return seen is not None and states.agrees(step.target.kind, seen.state, expected) is True
