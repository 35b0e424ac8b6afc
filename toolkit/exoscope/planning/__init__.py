"""Deciding: an intent and a snapshot to a plan, a run to the plan that takes it back. Pure: no I/O, no clock, no environment.

::

    plan = plan_scope(snapshot, intent)              # raises Refused with .refusals when every app is refused
    plan = plan_onboard(snapshot, connector)         # registers an app, and scopes it
    data = dump_plan(plan)                           # plan.json, hashed; load_plan(data) refuses an edited one
    schedule(plan, waits)                            # when its gates can open
    undo_plan(plan, done, snapshot_now)              # the way back

Beside these: ``states.agrees`` compares states of an object by meaning, ``effect.after`` says what a transition does to a
snapshot, ``operations.step`` makes the step of any transition.
"""

from __future__ import annotations

from exoscope.planning.answer import (
    MigrateAnswer,
    PlanAnswer,
    migrate_answer,
    plan_answer,
    refused_answer,
    refused_migration,
)
from exoscope.planning.hashing import content_hash, dump_plan, load_plan, plan_hash
from exoscope.planning.onboard import plan_onboard
from exoscope.planning.planner import plan_scope
from exoscope.planning.timing import WAITS, StageTime, gate_seconds, schedule
from exoscope.planning.undo import DoneStep, undo_plan

__all__ = [
    "WAITS",
    "DoneStep",
    "MigrateAnswer",
    "PlanAnswer",
    "StageTime",
    "content_hash",
    "dump_plan",
    "gate_seconds",
    "load_plan",
    "migrate_answer",
    "plan_answer",
    "plan_hash",
    "plan_onboard",
    "plan_scope",
    "refused_answer",
    "refused_migration",
    "schedule",
    "undo_plan",
]
