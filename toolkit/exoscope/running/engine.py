"""The run: each app goes through its stages by itself, as far as it can; a gate that is not open ends its turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Literal

from exoscope import system
from exoscope.clock import Clock, iso
from exoscope.model import AppPlan, Gate, Plan, Stage, Step
from exoscope.outcome import AccessDenied, ExoscopeError, Refused, ServiceError, Verdict, WrongTenant
from exoscope.planning import registration, states
from exoscope.powershell import HoleError, holes
from exoscope.running.answer import LEFT, UNTIL, RunAnswer, duration
from exoscope.running.filling import fill_target, found
from exoscope.running.journal import Journal, stamp
from exoscope.running.levelling import follows, levelled, unsettled_copy
from exoscope.running.patience import PASSING, AppStops, Patience
from exoscope.running.ports import Event, Evidence, Progress, Service, Tenancy
from exoscope.running.records import (
    AppStopped,
    Finished,
    GateEvidence,
    GateOpen,
    GateWaiting,
    Noted,
    Paused,
    Record,
    StepLeft,
    WaitingFor,
)
from exoscope.running.state import SHARED, RunState, gate_of
from exoscope.running.steps import Steps, moved


class Engine:
    """Goes on with a run whose journal is open. Nothing is kept but in the journal."""

    def __init__(
        self,
        state: RunState,
        journal: Journal,
        tenancy: Tenancy,
        clock: Clock,
        *,
        patience: Patience,
        progress: Progress,
        held: Callable[[], AbstractContextManager[None]] = nullcontext,
        until: str | None = None,
        only: Service | None = None,
    ) -> None:
        self.state = state
        self.run_id = state.started.run
        self.journal = journal
        self.tenancy = tenancy
        self.clock = clock
        self.progress = progress
        self.until = until
        self.only = only
        self.steps = Steps(state, journal, tenancy, clock, patience=patience, progress=progress, held=held)
        self._surveyed: set[tuple[str, str]] = set()
        self._unclear: set[tuple[str, str]] = set()
        self._announced: set[tuple[str, str, str]] = set()

    @property
    def plan(self) -> Plan:
        """The plan as this run carries it out."""
        return self.state.plan

    def run(self, budget: float = 0.0) -> RunAnswer:
        """Go on until every app is done, stopped, or waits longer than ``budget`` seconds (in all) allow.

        Raises WrongTenant, and whatever nobody foresaw; the journal then says how far it came.
        """
        left = budget
        while True:
            self._turn()
            ready = self._next_ready()
            if ready is None:
                break
            pause = (ready - self.clock.now()).total_seconds()
            if pause > left:
                break
            if pause > 0:
                self.progress(Event("wait", f"waiting quietly until {iso(ready)}"))
                self.clock.sleep(pause)
                left -= pause
        final = self.state.final()
        if final is not None and self.state.finished is None:
            self._record(Finished(outcome=final))
        return self.state.answer(self.clock.now())

    def _turn(self) -> None:
        """Every app as far as it can go now. What all apps share comes first; without it none begins."""
        if not self._shared():
            return
        for app in self.plan.apps:
            if not self.state.rests(app.app_id):
                self._advance(app)

    def _next_ready(self) -> datetime | None:
        """The next time at which an app can go on; None when no app waits for a time."""
        times = []
        for app in self.plan.apps:
            stage = self.state.stage_of(app.app_id)
            if stage is None or self.state.rests(app.app_id) or (app.app_id, stage.id) in self._unclear:
                continue
            ready = self.state.ready_at(app.app_id, stage)
            if ready is not None:
                times.append(ready)
        return min(times, default=None)

    def _shared(self) -> bool:
        if SHARED in self.state.paused:
            return False
        for step in self.state.left(SHARED):
            try:
                if not self._does(step):
                    return False
            except AppStops as stop:
                for app in self.plan.apps:
                    if app.app_id not in self.state.ended:
                        self._stop(app.app_id, None, stop)
                return False
            except WrongTenant:
                raise
            except ServiceError as error:
                self._pause(SHARED, step.stage, error, _service(step))
                return False
        return True

    # -- one app -------------------------------------------------------------------------------------------------

    def _advance(self, app: AppPlan) -> None:
        stage = self.state.stage_of(app.app_id)
        while stage is not None:
            if self._beyond(stage):
                why = f"stage {self.until} and its gate are through, as asked; stage {stage.id} comes next."
                self._record(Paused(app=app.app_id, stage=stage.id, code=UNTIL, why=why, waiting_for="approval"))
                return
            doing: WaitingFor | None = None
            try:
                if self.state.left(app.app_id, stage.id):
                    self._before_stage(app, stage)
                    # A managed copy that has to be brought level goes back to the stage that made it.
                    stage = self.state.stage_of(app.app_id) or stage
                    app = self._planned(app.app_id)
                for step in self.state.left(app.app_id, stage.id):
                    doing = _service(step)
                    if not self._does(step):
                        return
                doing = None
                gate = gate_of(stage, app.app_id)
                if gate is not None and (app.app_id, stage.id) not in self.state.opened:
                    doing = "evidence" if gate.evidence else None
                    if not self._passes(app, stage, gate):
                        return
            except AppStops as stop:
                self._stop(app.app_id, stage, stop)
                return
            except Refused as error:
                self._stop(app.app_id, stage, AppStops(error.code, error.message))
                return
            except WrongTenant:
                raise
            except ExoscopeError as error:
                self._pause(app.app_id, stage.id, error, doing)
                return
            stage = self.state.stage_of(app.app_id)

    def _does(self, step: Step) -> bool:
        """Do the step, or find it done; False: it is for somebody else and still to be done, so what rests on it waits."""
        if self.only in (None, step.kind):
            self.steps.run(step)
            return True
        if step.id in self.state.unsettled:
            self.steps.settle(step)  # a call of this run's own, made before
        if step.id in self.state.done or not self._leaves(step):
            return True
        turn = list(takewhile(lambda each: each.kind == step.kind, self._from(step)))
        for later in turn[1:]:
            # Whoever has the turn does these too. How they read now tells later whose doing it was.
            with suppress(AppStops):
                self._leaves(later)
        to, where = _service(step), "Entra" if step.kind == "graph" else "Exchange"
        titles = "; ".join(each.title for each in turn if each.id not in self.state.done)
        why = f"left to whoever changes {where}: {titles}. Then: exoscope resume {self.run_id} --only {self.only}"
        self._record(Paused(app=step.app_id, stage=step.stage, code=LEFT, why=why, waiting_for=to))
        self.progress(Event("stop", why, step.app_id))
        return False

    def _leaves(self, step: Step) -> bool:
        """Is the step, which somebody else is to do, still to be done? Journals it done, or how it was left."""
        reads = self.steps.done_by_others(step)
        if reads is False:
            return False
        if step.id not in self.state.left_to_others:
            self._record(StepLeft(app=step.app_id, stage=step.stage, step=step.id, observed=reads))
        return True

    def _from(self, step: Step) -> list[Step]:
        """This step and those of its app and stage that come after it."""
        left = self.state.left(step.app_id, step.stage)
        return left[[each.id for each in left].index(step.id) :]

    def _planned(self, app: str) -> AppPlan:
        return next(each for each in self.plan.apps if each.app_id == app)

    def _beyond(self, stage: Stage) -> bool:
        """Does the stage come after the last one that was asked for?"""
        order = [each.id for each in self.plan.stages]
        return self.until is not None and order.index(stage.id) > order.index(self.until)

    def _before_stage(self, app: AppPlan, stage: Stage) -> None:
        """The tenant is read again where the stage's answer rests on it. Raises AppStops (``moved``) naming what is not covered."""
        if (app.app_id, stage.id) in self._surveyed:
            return
        if not any(step.id in self.state.done for step in self.state.steps(app.app_id)):
            self._starts_as_planned(app)
        self._still_holds(app)
        for step in unsettled_copy(self.state, app):
            self.steps.settle(step)
        left = self.state.left(app.app_id)
        known = {hole: value for hole, value in found(self.state.yields).items() if isinstance(value, str)}
        survey = self.tenancy.survey(self.plan, app, left, known)
        if survey.notes:
            self._record(Noted(app=app.app_id, stage=stage.id, notes=survey.notes))
            for note in survey.notes:
                self.progress(Event("note", note, app.app_id))
        if survey.moved:
            raise AppStops("moved", f"the tenant changed since the plan: {'; '.join(survey.moved)}.")
        if survey.level is not None:
            self._record(levelled(survey.level, self.state.levels))
            for note in survey.level.notes:
                self.progress(Event("note", note, app.app_id))
            self._surveyed.add((app.app_id, survey.level.stage))
            if survey.level.joined and survey.level.stage != stage.id:
                return  # whoever is new in the copy is waited for first, and this stage looks again then
        self._surveyed.add((app.app_id, stage.id))

    def _starts_as_planned(self, app: AppPlan) -> None:
        """Before an app's first step: each object it will change reads as the plan found it, or already as it is to become."""
        seen = set()
        for step in self.state.left(app.app_id):
            key = states.key_of(step.target)
            first = key not in seen
            seen.add(key)
            if not first or step.id in self.state.found or holes([*step.target.key.values(), step.before, step.after]):
                continue  # it rests on another step, or a call of this run may have changed it: the step itself settles that
            reading = self.steps.glance(step)
            if self.steps.place(step, reading) == "other":
                raise moved(step, reading, "changed since the plan")

    def _still_holds(self, app: AppPlan) -> None:
        """What this run did for the app is still so; the steps to come rest on it."""
        latest: dict[object, Step] = {}
        # Who is in a migration's managed copy is for the survey and for the gates to judge: people come and go.
        copied = members = follows(self.plan, app)
        for step in self.state.steps(app.app_id):
            if copied and step.target.kind == "group_member":
                continue
            if step.id in self.state.done:
                members = members or step.target.kind == "group_member"
                subject = self.steps.subject(step)
                latest[states.key_of(subject.target)] = subject
            elif step.id in self.state.unsettled:
                # A later call on the same object may have landed: settling that one tells. What a script sent may rest on a
                # step that is not settled either; then nothing is done to its object yet, as far as this run has read.
                with suppress(HoleError):
                    latest.pop(states.key_of(fill_target(step, self.state.yields)), None)
        for subject in latest.values():
            differs = self.steps.holds(subject, without_members=members)
            if differs is not None:
                raise AppStops("moved", f"undone by somebody else: {differs}.")

    # -- gates ---------------------------------------------------------------------------------------------------

    def _passes(self, app: AppPlan, stage: Stage, gate: Gate) -> bool:
        """Is the gate open, or can it be opened now? Journals what it waits for, and what its witnesses said."""
        ready = self.state.ready_at(app.app_id, stage)
        if ready is None or (app.app_id, stage.id) in self._unclear:
            return False
        if self.clock.now() < ready:
            self._announce(app, stage, ready)
            return False
        self._still_holds(app)
        if not gate.evidence:
            self._record(GateOpen(app=app.app_id, stage=stage.id, verdict=None, why="waited"))
            return True
        since = self.state.last_done(app.app_id, stage.id)
        self.progress(Event("evidence", f"{app.display_name}: asking the witnesses of stage {stage.id}", app.app_id))
        evidence = self.tenancy.evidence(self.plan, self._called(app), stage, gate, since)
        self._witnessed(app, stage, gate, evidence)
        if evidence.verdict in (Verdict.PROVEN, Verdict.CONFIGURED):
            self._record(GateOpen(app=app.app_id, stage=stage.id, verdict=evidence.verdict, why=evidence.why))
            return True
        if evidence.verdict == Verdict.VIOLATED:
            raise AppStops(evidence.code or "proof-failed", f"the proof of stage {stage.id} failed: {evidence.why}")
        if evidence.verdict == Verdict.UNKNOWN:
            self._unclear.add((app.app_id, stage.id))
        return False

    def _called(self, app: AppPlan) -> AppPlan:
        """The app by its ids, where the plan calls it by holes."""
        return registration.named_app(app, found(self.state.yields))

    def _witnessed(self, app: AppPlan, stage: Stage, gate: Gate, evidence: Evidence) -> None:
        again = evidence.ready_at
        if evidence.verdict == Verdict.PENDING:
            # Asking a service that still answers from its cache keeps that answer alive: leave it alone for a whole cache time.
            quiet = self.clock.now() + timedelta(seconds=self._cache_seconds())
            again = quiet if again is None or again <= self.clock.now() else again
        self._record(
            GateEvidence(
                app=app.app_id,
                stage=stage.id,
                verdict=evidence.verdict,
                why=evidence.why,
                summary=evidence.summary,
                ready_at=None if again is None else stamp(again),
            )
        )
        self.progress(Event("evidence", f"{app.display_name}: {evidence.verdict}. {evidence.why}".rstrip(), app.app_id))

    def _announce(self, app: AppPlan, stage: Stage, ready: datetime) -> None:
        mark = (app.app_id, stage.id, stamp(ready))
        if mark in self._announced:
            return
        self._announced.add(mark)
        self._record(GateWaiting(app=app.app_id, stage=stage.id, ready_at=stamp(ready)))
        self.progress(Event("wait", f"{app.display_name}: stage {stage.id} waits until {iso(ready)}", app.app_id))

    # -- ends ----------------------------------------------------------------------------------------------------

    def _stop(self, app: str, stage: Stage | None, stop: AppStops) -> None:
        changed = self.state.changed(app)
        failed_proof = (
            stage is not None and (app, stage.id) in self.state.evidence and not self.state.left(app, stage.id)
        )
        back = self.step_back(app, stage) if changed and failed_proof and stage is not None else None
        stop = self._with_new_plan(app, stop)
        self._record(
            AppStopped(
                app=app,
                stage=None if stage is None else stage.id,
                outcome="stopped" if changed else "refused",
                code=stop.code,
                why=stop.why,
                step_back=back,
            )
        )
        self.progress(Event("stop", stop.why, app))
        if back is not None:
            self.progress(Event("step-back", back, app))

    def _with_new_plan(self, app: str, stop: AppStops) -> AppStops:
        """Where a migration finds the tenant changed, the plan from what is there now lies beside the run."""
        if stop.code != "moved" or self.plan.purpose != "migrate":
            return stop
        try:
            data = self.tenancy.replan(self.plan, app)
        except Refused as refused:
            told = "; ".join(f"{each.code}: {each.message}" for each in refused.refusals) or refused.message
            return AppStops(stop.code, f"{stop.why} Planned anew it is refused: {told}")
        except WrongTenant:
            raise
        except ExoscopeError as error:
            return AppStops(stop.code, f"{stop.why} It could not be planned anew: {error.message}")
        place = self.journal.path.with_name(f"plan-{app}.json")
        # A process killed before its next record has left this file; what is there now is what counts.
        system.write_private(place, data, replace=True)
        return AppStops(stop.code, f"{stop.why} The plan from what is there now: {place}")

    def step_back(self, app: str, stage: Stage) -> str:
        """The quickest safe step back from a failed stage, as a command, and how long it takes to act."""
        own = [each.id for each in self.plan.stages if self.state.steps(app, each.id)]
        here = own.index(stage.id) if stage.id in own else len(own)
        keep = f" --to {own[here - 1]}" if here > 0 else ""
        seconds = self._cache_seconds()
        made_grant = any(
            step.target.kind == "consent" and step.after is not None for step in self.state.steps(app, stage.id)
        )
        if made_grant:
            # A consent taken back acts on in the tokens it gave, until they end.
            kind = next(each.token_wait for each in self.plan.apps if each.app_id == app)
            seconds = max(seconds, self.state.waits.get(kind, seconds))
        called = registration.fill_ids(app, found(self.state.yields))
        return f"exoscope undo {self.run_id} --app {called}{keep}   (acts within {duration(seconds)})"

    def _pause(self, app: str | None, stage: str, error: ExoscopeError, waiting_for: WaitingFor | None) -> None:
        # What a service's error says to do next is for one command; a run goes on by its own.
        hint = f"Go on later with: exoscope resume {self.run_id}" if isinstance(error, PASSING) else error.next
        why = f"{error.message.rstrip('.')}. {hint}".rstrip()
        if isinstance(error, AccessDenied):
            waiting_for = "approval"  # somebody has to give the operator the right first
        self._record(Paused(app=app, stage=stage, code=error.code, why=why, waiting_for=waiting_for))
        self.progress(Event("stop", why, app))

    def _cache_seconds(self) -> float:
        return self.state.waits["cache"]

    def _record(self, record: Record) -> None:
        self.state.take(self.journal.append(record))


def _service(step: Step) -> Literal["exchange", "entra"]:
    return "exchange" if step.kind == "exchange" else "entra"
