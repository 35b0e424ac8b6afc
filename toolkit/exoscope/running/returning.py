"""The way back of a run as scripts, where no reading of the tenant is at hand: from what the run knows of each step.

A step of which no result tells may have been done all the same, so its way back is part of the plan: it does nothing where the
object reads as before the step. What identifies such an object (a consent's id, a policy's identity, a group's Guid) is not
known; a name that nothing has stands in its place, so that the script stops where the object is there after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from exoscope.model import Plan, PlanFile, Snapshot, Step
from exoscope.outcome import Refused
from exoscope.planning import DoneStep, effect, states, undo_plan
from exoscope.planning.registration import KINDS
from exoscope.powershell import HoleError
from exoscope.running.apply import refuse_elsewhere
from exoscope.running.filling import fill_subject
from exoscope.running.state import RunState
from exoscope.running.store import Folder, Store
from exoscope.scripting.parts import OWN, UNDO, LeftOut
from exoscope.scripting.undoing import only_known_by_running, refuse_other_snapshot, undo_of

_NOTHING = "00000000-0000-0000-0000-000000000000"
_UNKNOWN = {"id": "not-known", "identity": "not-known"}


def plan_back(
    file: PlanFile, store: Store, given: Snapshot | None, beside: Callable[[], Snapshot], *, lengthen: bool
) -> Plan | tuple[LeftOut, ...]:
    """The plan that takes this one back: what its last run knows to be done or cannot tell, or without a run all of it.

    The scripts that cannot be written instead, where no run knows what identifies what they would remove. ``given``: the snapshot
    that the plan was made from; without it the run's own is taken, else the one ``beside``. Raises as :func:`way_back` and
    :func:`exoscope.scripting.undo_of`; Refused ``undone``, ``other-endpoints``.
    """
    if file.plan.purpose == "undo":
        raise Refused("An undo is not undone.", code="undo-of-undo", next="Plan the intent again instead.")
    if any(step.target.kind in KINDS for step in file.plan.steps):
        raise Refused(
            "the plan registers an app, and no script takes a registration back",
            code="makes-secret",
            next="Use exoscope undo.",
        )
    found = _run_of(store, file.hash)
    if found is None:
        why = "the way back of {} needs what only running it gives, and no result tells that"
        left = tuple(
            LeftOut(f"{UNDO}{each.id}", each.stage, why.format(each.id)) for each in only_known_by_running(file.plan)
        )
        return left or undo_of(file.plan, given or beside())
    folder, state = found
    refuse_elsewhere(state, lengthen=lengthen)
    kept = None if given is not None else folder.snapshot()
    if kept is not None:
        return way_back(folder, state, kept)
    named = given or beside()
    refuse_other_snapshot(file.plan, named)
    return way_back(folder, state, named)


def _run_of(store: Store, plan_hash: str) -> tuple[Folder, RunState] | None:
    """The last run of this plan that may have changed anything. Raises Refused ``undone``, Unreadable for a damaged journal."""
    for folder, state in store.runs_of(plan_hash):
        if not state.changed():
            continue
        if all(app.app_id in state.undone for app in state.plan.apps):
            back = state.undone[state.plan.apps[0].app_id]
            raise Refused(
                f"the run {folder.run} of this plan is taken back by the run {back}",
                code="undone",
                next="Its files are those of the plan that was written beside them: exoscope script undo-plan.json",
            )
        return folder, state
    return None


def way_back(folder: Folder, state: RunState, snapshot: Snapshot) -> Plan:
    """The plan that takes a run back over the tenant as the run leaves it. Its notes name what no result tells of.

    ``snapshot``: the tenant before the run. Raises Refused ``nothing-done``, and as :func:`exoscope.planning.undo_plan`.
    """
    done = list(_done(state))
    if all(each.already for each, _ in done):
        raise Refused(f"the run {folder.run} changed nothing, so there is nothing to take back", code="nothing-done")
    try:
        after = _after(state, snapshot, [each for each, _ in done])
    except LookupError as error:
        raise Refused(f"what the run did cannot be followed: {error}", code="no-way-back") from None
    plan = undo_plan(state.planned, [each for each, _ in done], after, before=snapshot)
    apps = {step.id: step.app_id for step in state.planned.steps}
    return replace(
        plan,
        of_run=folder.run,
        apps=tuple(
            replace(
                app, notes=(*app.notes, *(note for each, note in done if note and apps[each.step_id] == app.app_id))
            )
            for app in plan.apps
        ),
    )


def _done(state: RunState) -> Iterator[tuple[DoneStep, str]]:
    """What counts as done, in the plan's order, each with a sentence where the files can only look whether it is there."""
    touched: set[object] = set()
    for step in state.planned.steps:
        if step.app_id in state.undone:
            continue
        record = state.done.get(step.id)
        if record is not None:
            touched |= set() if record.already else {states.key_of(_filled(step, state).target)}
            stands = state.as_left(step, record)
            yield DoneStep(step.id, record.before, stands, dict(record.yields), record.already), ""
            continue
        told = state.told.get(step.id)
        outcome = None if told is None else told.outcome
        try:
            subject = fill_subject(step, state.known)
        except HoleError:
            continue  # no script can hold what nobody knows
        key = states.key_of(subject.target)
        if outcome == "undone" and key in touched:
            continue  # the object stands as an earlier step left it
        if outcome != "already":
            touched.add(key)
        yields = _yields(step, state.known.get(step.id))
        note = ""
        if outcome not in ("done", "already") and set(step.yields) - OWN:
            note = (
                f"{step.id} ({subject.title}): no result tells whether it was done; these files stop where it was. "
                "Then give its result to exoscope verify --from-script and write them again."
            )
        yield DoneStep(step.id, subject.before, subject.after, yields, outcome == "already"), note


def _filled(step: Step, state: RunState) -> Step:
    return fill_subject(step, state.known)


def _yields(step: Step, known: Mapping[str, Any] | None) -> dict[str, Any]:
    if known is not None:
        return dict(known)
    return {name: _UNKNOWN.get(name, _NOTHING) for name in step.yields if name not in OWN}


def _after(state: RunState, snapshot: Snapshot, done: list[DoneStep]) -> Snapshot:
    steps = {step.id: step for step in state.plan.steps}
    for each in done:
        target = fill_subject(steps[each.step_id], state.known).target
        snapshot = effect.named(effect.after(snapshot, target, each.observed_after), target, each.yields)
    return snapshot
