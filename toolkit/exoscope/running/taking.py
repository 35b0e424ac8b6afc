"""A script's result taken into a journal: what it says it sent is what resume then settles by reading the tenant."""

from __future__ import annotations

from collections.abc import Sequence

from exoscope.model import PlanFile
from exoscope.outcome import BadInput, NotFound, Refused
from exoscope.running.answer import RunAnswer
from exoscope.running.apply import refuse_elsewhere, refuse_misfits
from exoscope.running.desk import Desk, begin
from exoscope.running.journal import Journal
from exoscope.running.records import StepIntent
from exoscope.running.state import RunState
from exoscope.running.store import Folder
from exoscope.scripting.parts import missing_of
from exoscope.scripting.results import ScriptResult

SENT = ("done", "sent")


def take_result(result: ScriptResult, desk: Desk, file: PlanFile | None = None) -> RunAnswer:
    """Note in the open run of the result's plan what its script sent; begin that run where there is none yet.

    Nothing is believed of the result but that a call may have been sent: each such step stands in the journal as one whose
    outcome is unknown, and ``resume`` settles it by reading the object before it does anything else. Opens no session.

    Raises NotFound where the plan is neither given nor that of an open run, Refused (``other-plan``, ``wrong-tenant``,
    ``plan-edited``, ``other-endpoints``, ``locked``), BadInput for steps that the plan has not, Unreadable.
    """
    if file is not None and file.hash != result.plan:
        raise Refused(
            f"the result is of the plan {result.plan}, not of {file.hash}",
            code="other-plan",
            next="Name the plan that the script was written from.",
        )
    folder = _open_run(desk, result.plan)
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
    holed = [each.id for each in result.steps if each.outcome in SENT and missing_of(steps[each.id])]
    if holed:
        # No script can have sent these: their values were not known.
        raise BadInput(f"{', '.join(holed)} cannot have been sent before an earlier step gave its value")
    with desk.store.lock(plan.tenant.id):
        if folder is None:
            _, journal, state = begin(desk, known, None)
        else:
            journal = Journal(folder.journal, desk.clock)
            state = RunState(plan, journal.records, desk.store.undone_by(folder.run))
            refuse_elsewhere(state, desk)
        for each in result.steps:
            step = steps[each.id]
            if each.outcome not in SENT or step.id in state.done or step.id in state.unsettled:
                continue
            state.take(
                journal.append(
                    StepIntent(
                        app=step.app_id,
                        stage=step.stage,
                        step=step.id,
                        # The script sends only when the object reads as the plan found it.
                        observed=step.before,
                        script=step.script,
                        request=step.request,
                    )
                )
            )
        return state.answer(desk.clock.now())


def _open_run(desk: Desk, plan_hash: str) -> Folder | None:
    """The open run of this plan, if there is one. Raises Unreadable for a damaged journal of it."""
    found: Sequence[Folder] = desk.store.folders()
    for folder in reversed(found):
        try:
            same = folder.plan().hash == plan_hash
        except (BadInput, Refused):
            continue  # another run, whose files are damaged
        if same and desk.store.open(folder)[1].final() is None:
            return folder
    return None
