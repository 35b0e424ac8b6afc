"""A script's result taken into a journal: what it says it sent, and what it says it saw.

A run believes nothing of a result but that a call may have been sent: ``resume`` settles each such step by reading the tenant.
Other scripts may rest on what this one saw, where no connection is: its rows are read as exoscope reads its own, each row's
identity compared with the plan's, and must show the object as the step leaves it; and a script that rests on such a value reads
the object again before each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec.structs import replace

from exoscope.model import Plan, PlanFile, Snapshot, Step
from exoscope.outcome import BadInput, NotFound, Refused
from exoscope.powershell import HoleError
from exoscope.running.answer import RunAnswer
from exoscope.running.apply import refuse_elsewhere, refuse_misfits
from exoscope.running.desk import Desk, begin
from exoscope.running.exporting import filled_step
from exoscope.running.filling import fill_subject
from exoscope.running.journal import Journal, moment
from exoscope.running.records import StepIntent, StepTold
from exoscope.running.state import RunState
from exoscope.running.store import Folder, Store
from exoscope.running.undo import refuse_second_undo
from exoscope.scripting.parts import OWN
from exoscope.scripting.results import ScriptResult, StepResult
from exoscope.scripting.seeing import NotSeen, seen_as, stands_as
from exoscope.scripting.undoing import refuse_other_snapshot

SENT = ("done", "sent")
STANDS = ("done", "already")


def take_result(
    result: ScriptResult,
    desk: Desk,
    file: PlanFile | None = None,
    snapshot: Callable[[], Snapshot] | None = None,
) -> RunAnswer:
    """Note in the open run of the result's plan what its script sent and saw; begin that run where there is none yet.

    Each step that may have been sent stands in the journal as one whose outcome is unknown, and ``resume`` settles it by reading
    the object before it does anything else. Opens no session. ``snapshot`` gives the one that the plan was made from: a run that
    begins here keeps it, so that its undo can tell what opens that was not open before (a plan that takes one back needs none).

    Raises NotFound where the plan is neither given nor that of an open run, Refused (``other-plan``, ``wrong-tenant``,
    ``plan-edited``, ``other-endpoints``, ``other-snapshot``, ``run-open``, ``old-result``, ``locked``), BadInput for steps that the
    plan has not or that its rows speak against, Unreadable.
    """
    if file is not None and file.hash != result.plan:
        raise Refused(
            f"the result is of the plan {result.plan}, not of {file.hash}",
            code="other-plan",
            next="Name the plan that the script was written from.",
        )
    folder = open_run(desk.store, result.plan)
    known = file if folder is None else folder.plan()
    if known is None:
        raise NotFound(
            f"no open run is of the plan {result.plan}",
            next="Name the plan: exoscope verify plan.json --from-script RESULT",
        )
    refuse_misfits(known)
    plan = known.plan
    if plan.tenant.id.casefold() != result.tenant.casefold():
        raise Refused(f"the result is of the tenant {result.tenant}, the plan of {plan.tenant.id}", code="wrong-tenant")
    steps = {step.id: step for step in plan.steps}
    strange = [each.id for each in result.steps if each.id not in steps or steps[each.id].stage != result.stage]
    if strange:
        raise BadInput(f"the plan has no such step in stage {result.stage}: {', '.join(strange)}")
    with desk.store.lock(plan.tenant.id):
        if folder is None:
            _refuse_old(desk.store, result)
            told = _told(plan, result, RunState(plan))
            _, journal, state = begin(desk, known, _found_before(desk.store, plan, snapshot))
        else:
            journal = Journal(folder.journal, desk.clock)
            state = RunState(plan, journal.records, desk.store.undone_by(folder.run))
            refuse_elsewhere(state, lengthen=desk.lengthen)
            told = _told(plan, result, state)
        for each in result.steps:
            step = steps[each.id]
            if each.outcome in SENT and step.id not in state.done and step.id not in state.unsettled:
                state.take(journal.append(_intent(step, state.known)))
            news = told.get(step.id)
            if news is not None and news.outcome == "already" and step.id in state.unsettled:
                news = replace(news, outcome="done")  # an earlier result noted it as sent: what stands is our own
            if news is not None and _is_news(news, state):
                state.take(journal.append(news))
        return state.answer(desk.clock.now())


def open_run(store: Store, plan_hash: str) -> Folder | None:
    """The open run of this plan, if there is one. Raises Unreadable for a damaged journal of it."""
    return next((folder for folder, state in store.runs_of(plan_hash) if state.final() is None), None)


def _refuse_old(store: Store, result: ScriptResult) -> None:
    """A result that is older than the end of a run of its plan was part of that run, and begins no other."""
    for folder, _ in store.runs_of(result.plan):
        # A run that was taken back ended with the run that did so.
        backs = [store.runs / run for run in store.undone_by(folder.run).values()]
        ended = max(moment(each.records()[-1].at) for each in (folder, *map(Folder, backs)))
        if moment(result.started_at) <= ended:
            raise Refused(
                f"the run {folder.run} of this plan has ended, and the result is older than its end",
                code="old-result",
                next="See exoscope runs; what the tenant is now, exoscope verify tells.",
            )


def _found_before(store: Store, plan: Plan, snapshot: Callable[[], Snapshot] | None) -> Snapshot | None:
    """The tenant as it was before the run that begins: the snapshot of its plan, which must be the very one."""
    if plan.purpose == "undo":
        if plan.of_run is not None:
            refuse_second_undo(store, store.find(plan.of_run))
        return None
    if snapshot is None:
        raise BadInput(
            "the run that begins with this result needs the snapshot that its plan was made from",
            next="Name it with --snapshot.",
        )
    found = snapshot()
    refuse_other_snapshot(plan, found)
    return found


def _intent(step: Step, known: Mapping[str, Mapping[str, Any]]) -> StepIntent:
    sent = filled_step(step, known) or step
    return StepIntent(
        app=step.app_id,
        stage=step.stage,
        step=step.id,
        # The script sends only when the object reads as the plan found it.
        observed=sent.before,
        script=sent.script,
        request=sent.request,
    )


# -- what a result says of its steps ---------------------------------------------------------------------------------------


def _told(plan: Plan, result: ScriptResult, state: RunState) -> dict[str, StepTold]:
    """By step id. Raises BadInput for a step that cannot have been sent, or that its own rows speak against."""
    told: dict[str, StepTold] = {}
    steps = {step.id: step for step in plan.steps}
    known = state.known  # what this very result gives was not known when its script was written
    for each in result.steps:
        try:
            step = fill_subject(steps[each.id], known)
        except HoleError:
            if each.outcome in (*SENT, *STANDS):
                raise BadInput(f"{each.id} cannot have been sent before an earlier step gave its value") from None
            continue
        outcome, yields = _outcome(plan, step, each, known, ended=result.finished_at is not None)
        if outcome is not None:
            told[step.id] = StepTold(
                app=step.app_id,
                stage=step.stage,
                step=step.id,
                script=result.script,
                began=result.started_at,
                outcome=outcome,
                yields=yields,
            )
    return told


def _outcome(
    plan: Plan, step: Step, noted: StepResult, known: Mapping[str, Mapping[str, Any]], *, ended: bool
) -> tuple[Literal["done", "already", "sent", "undone"] | None, dict[str, Any]]:
    """What a result tells of a step, and what the step then yields. Its word alone is enough only for what is worse than done."""
    rows = noted.seen if noted.outcome in (*STANDS, "failed") else noted.found
    if noted.outcome == "sent":
        return "sent", {}
    if noted.outcome == "open" and not ended:
        return None, {}  # it may be sent yet
    try:
        observed = seen_as(step, rows)
    except NotSeen as error:
        if noted.outcome in STANDS:
            raise BadInput(f"the result says that {step.id} is {noted.outcome}, but {error}") from None
        return None, {}
    if noted.outcome not in STANDS:
        # Not sent, or sent in vain: what it read tells that it is not done.
        return ("undone" if stands_as(step, observed, step.before) else None), {}
    place = [each.id for each in plan.steps].index(step.id)
    later = tuple(_filled(each, known) for each in plan.steps[place + 1 :])
    if any(each.target.kind == "group_member" for each in later):
        step, later = _without_members(step), tuple(map(_without_members, later))
    if stands_as(step, observed, step.after, later) is False:
        raise BadInput(f"the result says that {step.id} is {noted.outcome}, but its rows show the object otherwise")
    shown = {} if observed is None else observed.yields
    yields = {name: shown[name] for name in step.yields if name not in OWN and shown.get(name)}
    whole = all(name in yields for name in step.yields if name not in OWN)
    if not whole:
        return "sent", {}
    return ("already" if noted.outcome == "already" else "done"), yields


def _without_members(step: Step) -> Step:
    """A group's step without its members, which later steps move; any other step as it is."""
    if step.target.kind != "group" or step.after is None:
        return step
    return replace(step, after={name: value for name, value in step.after.items() if name != "members"})


def _filled(step: Step, known: Mapping[str, Mapping[str, Any]]) -> Step:
    try:
        return fill_subject(step, known)
    except HoleError:
        return step


def _is_news(told: StepTold, state: RunState) -> bool:
    """Does it say more than what earlier results told? One of an older run of the script does not."""
    before = state.told.get(told.step)
    if before is None:
        return True
    older = moment(told.began) < moment(before.began)
    return not older and (before.outcome, before.yields) != (told.outcome, told.yields)
