"""``verify --stage``: what the gate at the end of one stage needs to see, asked as a run asks it, and told without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from exoscope.checking.history import Past, as_run, past
from exoscope.checking.recorded import see
from exoscope.clock import Clock, iso
from exoscope.model import AppPlan, Gate, Noun, Plan, PlanFile, Stage, WaitKind
from exoscope.outcome import BadInput, LostSession, NotFound, ServiceError, SignInFailed, Verdict, WrongTenant, overall
from exoscope.proving import GateProof, History, Options, Sources, gate_proof
from exoscope.reach import Reach
from exoscope.reading import Connection, read_snapshot
from exoscope.running import Store
from exoscope.running.tenancy import wanted_by
from exoscope.scripting import Recorded


class StageApp(Noun, frozen=True):
    """One app at the gate. ``code`` names the cause of a violation, ``ready_at`` when a pending answer may be another."""

    app_id: str
    display_name: str
    verdict: Verdict
    why: str
    summary: tuple[str, ...]
    code: str | None
    ready_at: str | None


class StageAnswer(Noun, frozen=True):
    """The evidence of a stage's gate. It opens with ``proven`` and with ``configured``: where Graph cannot speak yet, Exchange's
    evidence and the whole wait are enough."""

    plan: str
    stage: str
    verdict: Verdict
    ready_at: str | None
    apps: tuple[StageApp, ...]


def verify_stage(
    file: PlanFile,
    stage_id: str,
    connection: Connection,
    store: Store,
    *,
    options: Options,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    progress: Callable[[str], None],
) -> StageAnswer:
    """Ask the witnesses of a stage's gate now. Raises NotFound for a stage that the plan has not, BadInput for one that ends
    without evidence, WrongTenant, and the ServiceError family where the tenant cannot be read.
    """
    stage = _stage(file.plan, stage_id)
    tenant = connection.prove_tenant(file.plan.tenant)
    reach = Reach(read_snapshot(connection, wanted=wanted_by(file.plan), progress=progress))
    known = past(store, tenant.id, file.hash, waits, lengthen=lengthen)
    return _asked(file, stage, connection, reach, known, connection.clock, progress, options, waits)


def verify_stage_recorded(
    file: PlanFile,
    stage_id: str,
    results: Recorded,
    store: Store,
    *,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    now: datetime,
    progress: Callable[[str], None],
) -> StageAnswer:
    """The same from what the scripts of a check noted. Raises as :func:`exoscope.checking.recorded.see` besides."""
    stage = _stage(file.plan, stage_id)
    seen = see(file, results, store, waits=waits, lengthen=lengthen, now=now, progress=progress)
    reach = Reach(seen.snapshot)
    return _asked(file, stage, results, reach, seen.known, results.clock, progress, seen.options, waits)


def _stage(plan: Plan, stage_id: str) -> Stage:
    for stage in plan.stages:
        if stage.id == stage_id:
            if not any(gate.evidence for gate in stage.gates):
                raise BadInput(f"stage {stage_id} ends without evidence: there is nothing to see")
            return stage
    known = ", ".join(each.id for each in plan.stages) or "none"
    raise NotFound(f"the plan has no stage {stage_id} (its stages: {known})")


def _asked(
    file: PlanFile,
    stage: Stage,
    sources: Sources,
    reach: Reach,
    known: Past,
    clock: Clock,
    progress: Callable[[str], None],
    options: Options,
    waits: Mapping[WaitKind, float],
) -> StageAnswer:
    plan = as_run(file, known, reach.snapshot)
    planned = {app.app_id: app for app in plan.apps}
    apps = []
    for gate in _stage(plan, stage.id).gates:
        if not gate.evidence:
            continue
        app = planned[gate.app_id]
        history = known.histories.get(app.app_id.casefold(), History())
        last = stage.id == [each.id for each in plan.stages if _has(each, app.app_id)][-1]
        proof = _proof(sources, app, gate, reach, history, clock, progress, options, last=last)
        ready = proof.ready_at
        if proof.verdict is Verdict.PENDING and (ready is None or ready <= clock.now()):
            # No journal tells of the change, or the service still answers from its cache: leave it alone for a whole cache time.
            ready = clock.now() + timedelta(seconds=waits["cache"])
        told = None if ready is None or proof.verdict is not Verdict.PENDING else iso(ready)
        apps.append(StageApp(app.app_id, app.display_name, proof.verdict, proof.why, proof.summary, proof.code, told))
    times = [each.ready_at for each in apps if each.ready_at is not None]
    verdict = overall(each.verdict for each in apps)
    ready_at = max(times) if times and verdict is Verdict.PENDING else None
    return StageAnswer(file.hash, stage.id, verdict, ready_at, tuple(apps))


def _proof(
    sources: Sources,
    app: AppPlan,
    gate: Gate,
    reach: Reach,
    history: History,
    clock: Clock,
    progress: Callable[[str], None],
    options: Options,
    *,
    last: bool,
) -> GateProof:
    try:
        return gate_proof(sources, app, gate, reach, history, clock, progress, options, last=last)
    except (SignInFailed, WrongTenant, LostSession):
        raise
    except ServiceError as error:
        return GateProof(Verdict.UNKNOWN, error.message)


def _has(stage: Stage, app_id: str) -> bool:
    return any(gate.app_id == app_id for gate in stage.gates)
