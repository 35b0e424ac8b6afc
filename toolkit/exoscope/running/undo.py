"""Take a run back: a plan like any other, made from what the journal says was done, applied as a run of its own."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from exoscope.model import Plan, PlanFile, Step
from exoscope.outcome import ExoscopeError, Refused, Unreadable
from exoscope.planning.hashing import plan_hash
from exoscope.planning.undo import DoneStep, undo_plan
from exoscope.running.answer import RunAnswer
from exoscope.running.apply import refuse_elsewhere
from exoscope.running.desk import Desk, Opened, begin, go_on
from exoscope.running.journal import Journal
from exoscope.running.patience import AppStops
from exoscope.running.ports import Service
from exoscope.running.state import RunState
from exoscope.running.steps import Steps
from exoscope.running.store import Folder, Store


def undo(
    run: str,
    desk: Desk,
    *,
    approve: Callable[[Plan], None],
    app: str | None = None,
    to: str | None = None,
    wait: float = 0.0,
    only: Service | None = None,
) -> RunAnswer:
    """Plan the way back over a fresh reading, have it approved, and run it up to the first gate that is not open.

    ``approve`` is shown the undo plan and raises when it is not wanted. ``app``: only this one; ``to``: keep this stage and what
    came before it; ``only``: as :func:`~exoscope.running.apply`.

    Raises NotFound, Ambiguous, Refused (``changed-since``, ``referred-to``, ``run-open``, ``locked``, ``nothing-done``),
    Unreadable, and what opening the tenant raises: nothing was changed then.
    """
    folder = desk.store.find(run)
    with desk.store.lock(folder.plan().plan.tenant.id):
        file, state = desk.store.open(folder)
        refuse_elsewhere(state, lengthen=desk.lengthen)
        refuse_second_undo(desk.store, folder)
        with desk.open(file.plan) as opened:
            if opened.snapshot is None:
                raise Unreadable("the tenant was not read, so no way back can be planned", code="snapshot-missing")
            done = _done(desk, folder, file.plan, opened)
            if all(each.already for each in done):
                # "Done, 0 steps" would read as if the change that an earlier run made had been taken back.
                raise Refused(
                    f"the run {folder.run} changed nothing, so there is nothing to take back",
                    code="nothing-done",
                    next="exoscope runs lists the runs: name the one that made the change."
                    if state.final() is not None
                    else f"Go on with: exoscope resume {folder.run}, or plan again.",
                )
            plan = msgspec.structs.replace(
                undo_plan(file.plan, done, opened.snapshot, before=folder.snapshot(), app=app, to=to),
                of_run=folder.run,
            )
            approve(plan)
            back = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
            _, journal, state = begin(desk, back, opened.snapshot)
            return go_on(desk, journal, state, opened.tenancy, wait, resumed=False, only=only)


def _done(desk: Desk, folder: Folder, plan: Plan, opened: Opened) -> list[DoneStep]:
    """What the run landed, in the plan's order; what was so already is told apart.

    A call whose outcome is unknown is settled by reading, and journalled so. What brought a managed copy level is not taken back
    by itself: a copy that goes takes its members with it, and one that stays follows the policies' groups."""
    journal = Journal(folder.journal, desk.clock)
    state = RunState(plan, journal.records)
    steps = Steps(state, journal, opened.tenancy, desk.clock, patience=desk.patience_for(state), progress=desk.progress)
    for step in state.plan.steps:
        told = state.told.get(step.id)
        if step.id in state.unsettled:
            _settle(steps.settle, step)
        elif step.id not in state.done and told is not None and told.outcome == "already":
            _settle(steps.find, step)  # what scripts did later may rest on what it yields
    return [
        DoneStep(step.id, record.before, state.as_left(step, record), dict(record.yields), record.already)
        for step, record in ((step, state.done.get(step.id)) for step in plan.steps)
        if record is not None
    ]


def _settle(how: Callable[[Step], None], step: Step) -> None:
    try:
        how(step)
    except AppStops as stop:
        raise Refused(
            stop.why, code=stop.code, next="Look at the object, and plan again from a fresh snapshot."
        ) from None


def refuse_second_undo(store: Store, folder: Folder) -> None:
    """Refuse (``run-open``) while another run takes this one back."""
    for other in store.folders():
        try:
            records = other.records()
            if getattr(records[0], "of_run", None) != folder.run or store.open(other)[1].final() is not None:
                continue
        except ExoscopeError:
            continue
        raise Refused(
            f"the run {other.run} is already taking {folder.run} back",
            code="run-open",
            next=f"Go on with: exoscope resume {other.run}",
        )
