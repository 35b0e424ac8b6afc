"""The way back of a plan whose scripts all ran, worked out from the plan and the snapshot it was made from."""

from __future__ import annotations

from exoscope.model import Plan, Snapshot, Step
from exoscope.outcome import Refused
from exoscope.planning import DoneStep, content_hash, undo_plan
from exoscope.planning.effect import apply_steps
from exoscope.scripting.parts import OWN


def only_known_by_running(plan: Plan) -> tuple[Step, ...]:
    """The steps whose way back needs what only running them gives (a group's Guid, a policy's identity, a consent's id)."""
    return tuple(step for step in plan.steps if set(step.yields) - OWN)


def undo_of(plan: Plan, snapshot: Snapshot) -> Plan:
    """The plan that takes all of ``plan`` back, over the tenant as the plan leaves it.

    ``snapshot`` is the one the plan was made from. Every step counts as done by the scripts. Raises Refused: ``other-snapshot``,
    and as :func:`exoscope.planning.undo_plan` (``no-way-back``, ``unproven``, ``undo-of-undo`` …).
    """
    refuse_other_snapshot(plan, snapshot)
    done = [DoneStep(step.id, step.before, step.after) for step in plan.steps]
    return undo_plan(plan, done, apply_steps(snapshot, plan.steps), before=snapshot)


def refuse_other_snapshot(plan: Plan, snapshot: Snapshot) -> None:
    """Refuse (``other-snapshot``) a snapshot that the plan was not made from."""
    if content_hash(snapshot) != plan.snapshot_hash:
        raise Refused(
            "This is not the snapshot that the plan was made from.",
            code="other-snapshot",
            next="Name the file that exoscope plan wrote beside the plan, or was given with --snapshot.",
        )
