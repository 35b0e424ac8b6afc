"""A migration's managed copy in a run: what its journal says when it is brought level, and what is settled before. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from exoscope.model import AppPlan, Plan, Step
from exoscope.planning.migration.levelling import LEVEL, Level, copy_of, is_level
from exoscope.running.records import Levelled
from exoscope.running.state import RunState


def follows(plan: Plan, app: AppPlan) -> bool:
    """Does a managed copy of this app follow the policies' groups, so that its members come and go?"""
    return plan.purpose == "migrate" and copy_of(app) is not None


def unsettled_copy(state: RunState, app: AppPlan) -> Iterator[Step]:
    """What may have been sent to the managed copy: it is found out by reading before anybody asks who is still missing in it."""
    if follows(state.plan, app):
        for step in state.left(app.app_id):
            if step.id in state.unsettled and (is_level(step) or step.target.kind == "group"):
                yield step


def levelled(level: Level, before: int) -> Levelled:
    """The record of what brings a copy level; the steps are then done like any other. ``before``: steps of the run's own so far."""
    numbered = enumerate(level.steps, before + 1)
    return Levelled(
        app=level.app.app_id,
        stage=level.stage,
        steps=tuple(replace(each, id=f"{LEVEL}{number}") if is_level(each) else each for number, each in numbered),
        members=level.members,
        expected=level.expected,
        joined=bool(level.joined),
        notes=level.notes,
    )
