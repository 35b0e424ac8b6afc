"""Apply a plan, go on with a run."""

from __future__ import annotations

from datetime import timedelta

from exoscope.model import Plan, PlanFile
from exoscope.outcome import ExoscopeError, NotFound, Refused, Unreadable
from exoscope.planning.gating import ungated
from exoscope.planning.hashing import plan_hash
from exoscope.planning.operations import fits
from exoscope.running.answer import RunAnswer
from exoscope.running.desk import Desk, begin, go_on, left_open
from exoscope.running.journal import Journal
from exoscope.running.ports import Service
from exoscope.running.state import RunState
from exoscope.running.store import Folder, Store


def apply(
    file: PlanFile,
    desk: Desk,
    *,
    wait: float = 0.0,
    expected_hash: str | None = None,
    until: str | None = None,
    only: Service | None = None,
) -> RunAnswer:
    """Run an approved plan up to the first gate that is not open, waiting at gates for ``wait`` seconds in all.

    ``until``: the last stage to run, with its gate. ``only``: change nothing but this service; a step at the other one is found
    done, or the app waits for whoever does it. Raises NotFound for a stage that the plan has not, Refused (``plan-edited``,
    ``other-plan``, ``undo-plan``, ``run-open``, ``locked``), WrongTenant, and what opening the tenant raises: nothing was changed
    then.
    """
    if plan_hash(file.plan) != file.hash:
        raise Refused("the plan was edited: its hash is not that of what it holds", code="plan-edited")
    if expected_hash is not None and expected_hash != file.hash:
        raise Refused(
            f"this plan has the hash {file.hash}, not {expected_hash}",
            code="other-plan",
            next="Review the plan at hand, or name the file that was reviewed.",
        )
    if file.plan.purpose == "undo":
        # Its order was worked out for the tenant as scripts left it; undo reads the tenant, and asks about what opens.
        raise Refused(
            "this plan takes a run back by its scripts",
            code="undo-plan",
            next=f"Run them, or use: exoscope undo {file.plan.of_run or 'RUN'}",
        )
    refuse_misfits(file)
    _check_stage(file.plan, until)
    if desk.hands is not None and only != "exchange":
        desk.hands.check(file.plan, lambda step: False)
    with desk.store.lock(file.plan.tenant.id):
        _refuse_twice(desk.store, file)
        with desk.open(file.plan) as opened:
            _, journal, state = begin(desk, file, opened.snapshot)
            return go_on(desk, journal, state, opened.tenancy, wait, resumed=False, until=until, only=only)


def _check_stage(plan: Plan, until: str | None) -> None:
    stages = [each.id for each in plan.stages]
    if until is not None and until not in stages:
        raise NotFound(f"the plan has no stage {until}", next=f"Its stages: {', '.join(stages) or 'none'}.")


def resume(
    run: str, desk: Desk, *, wait: float = 0.0, until: str | None = None, only: Service | None = None
) -> RunAnswer:
    """Go on with a run: nothing that was done is repeated, and a call whose outcome is unknown is settled by reading first.

    ``until``: the last stage to run, with its gate; ``only``: as :func:`apply`.
    A run in which no app can go on before ``wait`` seconds are over is answered without opening the tenant.
    Raises NotFound, Ambiguous, Refused (``locked``, ``plan-edited``), Unreadable (a damaged journal), and as :func:`apply`.
    """
    folder = desk.store.find(run)
    with desk.store.lock(folder.plan().plan.tenant.id):
        file, state = desk.store.open(folder)
        _check_stage(file.plan, until)
        if state.final() is not None or _must_wait(state, desk, wait):
            return state.answer(desk.clock.now())
        refuse_elsewhere(state, lengthen=desk.lengthen)
        if desk.hands is not None and only != "exchange":
            begun = {*state.done, *state.unsettled, *state.sent}
            desk.hands.check(state.plan, lambda step: step.id in begun)
        try:
            with desk.open(file.plan) as opened:
                journal = Journal(folder.journal, desk.clock)
                state = RunState(file.plan, journal.records, desk.store.undone_by(folder.run))
                return go_on(desk, journal, state, opened.tenancy, wait, resumed=True, until=until, only=only)
        except KeyboardInterrupt:
            # Nothing was sent yet, but the run is open all the same: not "nothing was changed".
            return left_open(desk, state, "Interrupted.")


def refuse_misfits(file: PlanFile) -> None:
    """A hash tells that a plan was not edited since it was hashed, not that exoscope wrote it."""
    apps = {app.app_id.casefold(): app for app in file.plan.apps}
    for step in file.plan.steps:
        if not fits(step, apps.get((step.app_id or "").casefold())):
            raise Refused(
                f"{step.id} ({step.title}) would not do what the plan says of it",
                code="plan-edited",
                next="Plan again, and review the plan that will run.",
            )
    for missing in ungated(file.plan):
        raise Refused(missing, code="plan-edited", next="Plan again, and review the plan that will run.")


def refuse_elsewhere(state: RunState, *, lengthen: bool) -> None:
    """A run on a twin has the tenant's id but neither its objects nor its waits: it goes on there, or not at all.

    ``lengthen``: does the profile in use leave this machine?
    """
    if state.started.lengthen != lengthen:
        raise Refused(
            "the run is of a twin, and the profile leads to the tenant"
            if lengthen
            else "the run is of the tenant, and the profile leads to a twin",
            code="other-endpoints",
            next="Use the profile with which the run began.",
        )


def _must_wait(state: RunState, desk: Desk, wait: float) -> bool:
    """Is there nothing to do but to wait longer than allowed? Then no session is opened for it."""
    until = desk.clock.now() + timedelta(seconds=wait)
    if state.left(None) or state.unsettled or state.paused:
        return False
    for app in state.plan.apps:
        stage = state.stage_of(app.app_id)
        if stage is None or state.rests(app.app_id):
            continue
        ready = state.ready_at(app.app_id, stage)
        if ready is None or ready <= until:
            return False
    return True


def _refuse_twice(store: Store, file: PlanFile) -> None:
    """A run of this very plan that is still open goes on by resume: a second one would not know what the first one made."""
    for folder in store.folders():
        open_run = _open_run_of(store, folder, file.hash)
        if open_run is not None:
            raise Refused(
                f"the run {open_run} of this plan is still open",
                code="run-open",
                next=f"Go on with: exoscope resume {open_run}, or take it back with: exoscope undo {open_run}",
            )


def _open_run_of(store: Store, folder: Folder, wanted: str) -> str | None:
    try:
        if folder.plan().hash != wanted:
            return None
        _, state = store.open(folder)
    except Unreadable as error:
        raise Refused(
            f"{error.message}: whether that run is still open cannot be told", code="journal-damaged", next=error.next
        ) from None
    except ExoscopeError:
        return None  # its plan is not this one, or it holds none that could be gone on with
    return folder.run if state.final() is None else None
