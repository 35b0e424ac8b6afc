"""When each app was last changed, as the journals under a state folder tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from exoscope.model import AppPlan, Gate, Noun, Plan, PlanFile, Snapshot, WaitKind
from exoscope.outcome import ExoscopeError, Refused
from exoscope.planning.registration import found_in, named_plan
from exoscope.planning.timing import gate_seconds
from exoscope.powershell import holes
from exoscope.proving import History
from exoscope.running import Store
from exoscope.running.filling import found
from exoscope.running.state import RunState


class Past(Noun, frozen=True):
    """What the journals say. ``run``: the last run of the plan in question (null: none here), ``plan`` what it ran, a
    managed copy as the run left it;
    ``histories`` by app id in lower case; ``unreadable`` names runs whose journal could not be read, so that they may have
    changed anything.
    """

    histories: dict[str, History]
    run: str | None
    plan: Plan | None
    unreadable: tuple[str, ...]


def past(
    store: Store, tenant_id: str, plan_hash: str | None, waits: Mapping[WaitKind, float], *, lengthen: bool
) -> Past:
    """Read every journal of this tenant. ``plan_hash``: whose run is looked for; None: the last one that made anything."""
    histories: dict[str, History] = {}
    run, plan, unreadable = None, None, []
    for folder in store.folders():
        try:
            file, state = store.open(folder)
        except ExoscopeError:
            unreadable.append(folder.run)
            continue
        if file.plan.tenant.id.casefold() != tenant_id.casefold():
            continue
        if state.started.lengthen != lengthen:
            continue  # a run on a twin of this tenant, or the other way round: it changed nothing here
        ran = named_plan(state.plan, found(state.yields))
        if file.hash == plan_hash or (plan_hash is None and file.plan.purpose != "undo"):
            run, plan = folder.run, ran
        for app in ran.apps:
            changes = [
                (datetime.fromisoformat(at), step.target.kind == "consent" and step.after is None)
                for step in ran.steps
                if step.app_id == app.app_id and (at := _changed_at(state, step.id)) is not None
            ]
            if changes:
                key = app.app_id.casefold()
                histories[key] = _later(
                    histories.get(key, History()),
                    _history(changes, _token_gate(ran, app), waits, lengthen),
                )
    return Past(histories, run, plan, tuple(unreadable))


def as_run(file: PlanFile, known: Past, snapshot: Snapshot) -> Plan:
    """A plan as its last run here carried it out, else as the file has it; apps that it registers by the ids that they have in
    ``snapshot``. ``known`` is of this plan. Raises Refused ``not-registered`` where one is not there.
    """
    plan = file.plan if known.plan is None else known.plan
    plan = named_plan(plan, found_in(plan, snapshot))
    for app in plan.apps:
        if holes(app.app_id):
            raise Refused(
                f"{app.display_name} is not registered yet, so there is nothing to prove",
                code="not-registered",
                next="Apply the plan first.",
            )
    return plan


def _changed_at(state: RunState, step: str) -> str | None:
    """When the step may last have changed its object: when it landed, or was sent (or a script's result says so)."""
    if step in state.unsettled:
        return state.unsettled[step]
    record = state.done.get(step)
    return None if record is None or record.already else record.at


def _token_gate(plan: Plan, app: AppPlan) -> Gate:
    minutes = [gate.token_minutes for stage in plan.stages for gate in stage.gates if gate.app_id == app.app_id]
    return Gate(app.app_id, (app.token_wait,), (), next((each for each in minutes if each is not None), None))


def _history(
    changes: Iterable[tuple[datetime, bool]], tokens: Gate, waits: Mapping[WaitKind, float], lengthen: bool
) -> History:
    listed = list(changes)
    removals = [at for at, removed in listed if removed]
    ends = timedelta(seconds=gate_seconds(tokens, waits, lengthen=lengthen))
    return History(
        settled_at=max(at for at, _ in listed) + timedelta(seconds=waits["cache"]),
        old_tokens_until=max(removals) + ends if removals else None,
    )


def _later(one: History, other: History) -> History:
    def latest(*moments: datetime | None) -> datetime | None:
        return max((each for each in moments if each is not None), default=None)

    return History(latest(one.settled_at, other.settled_at), latest(one.old_tokens_until, other.old_tokens_until))
