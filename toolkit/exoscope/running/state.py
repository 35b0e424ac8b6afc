"""Where a run stands: the fold of its journal. No I/O, no clock.

Resuming is folding the journal again and going on, so whatever decides what happens next must be in the records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec.structs import replace

from exoscope.clock import iso
from exoscope.model import Gate, Plan, Stage, State, Step, WaitKind
from exoscope.outcome import Unreadable, Verdict
from exoscope.planning.migration.levelling import is_level, placed, with_copy
from exoscope.planning.registration import fill_ids
from exoscope.planning.timing import WAITS, gate_seconds
from exoscope.running.answer import (
    EVIDENCE_UNKNOWN,
    INTERRUPTED,
    LEFT,
    UNDONE,
    UNTIL,
    AppAnswer,
    RunAnswer,
    duration,
    overall_outcome,
)
from exoscope.running.filling import found, identity_of
from exoscope.running.journal import moment
from exoscope.running.records import (
    AnyRecord,
    AppStopped,
    Finished,
    GateEvidence,
    GateOpen,
    Levelled,
    Noted,
    Paused,
    RunResumed,
    RunStarted,
    StepDone,
    StepFailed,
    StepIntent,
    StepLeft,
    StepTold,
    WaitingFor,
)

SHARED = None


class RunState:
    """The fold. ``plan`` is the plan as the run carries it out: with the steps that bring a managed copy level, and the copy as
    those leave it; ``planned`` is the plan as it was approved. ``done`` and ``unsettled`` are by step id, ``opened`` and
    ``evidence`` by (app, stage).

    ``unsettled`` are steps whose call may have been sent and whose object has not been seen since, with the time of that;
    ``undone`` names, by app, the run that takes it back: this one does not go on with it;
    ``sent`` those of which some call may have reached the service; ``found`` how their objects read before the first call;
    ``told`` what results of scripts say, which this run does not rest on: it reads for itself;
    ``left_to_others`` steps that read undone when they were left to somebody else: done since, they belong to this run.
    """

    def __init__(self, plan: Plan, records: Iterable[AnyRecord] = (), undone: Mapping[str, str] | None = None) -> None:
        self.plan = self.planned = plan
        self._own: dict[str | None, list[Step]] = {}
        self._yields: dict[str, Mapping[str, Any]] = {}
        self.levels = 0
        self.joined: dict[tuple[str, str], str] = {}
        self.notes: dict[str, list[str]] = {}
        self.undone = dict(undone or {})
        self._started: RunStarted | None = None
        self.done: dict[str, StepDone] = {}
        self.unsettled: dict[str, str] = {}
        self.sent: set[str] = set()
        self.found: dict[str, State] = {}
        self.told: dict[str, StepTold] = {}
        self.left_to_others: set[str] = set()
        self.opened: dict[tuple[str, str], GateOpen] = {}
        self.evidence: dict[tuple[str, str], GateEvidence] = {}
        self.ended: dict[str, AppStopped] = {}
        self.paused: dict[str | None, Paused] = {}
        self.finished: Finished | None = None
        for record in records:
            self.take(record)

    def take(self, record: AnyRecord) -> None:
        """One more record."""
        match record:
            case RunStarted():
                self._started = record
            case RunResumed():
                self.paused.clear()
            case StepIntent():
                if record.step in self.unsettled:
                    self.sent.add(record.step)
                self.unsettled[record.step] = record.at
                self.found.setdefault(record.step, record.observed)
            case StepDone():
                self.unsettled.pop(record.step, None)
                self.done[record.step] = record
                self._yields[record.step] = record.yields
                self.paused.pop(record.app, None)
            case StepFailed(sent=True):
                self.unsettled[record.step] = record.at
                self.sent.add(record.step)
            case StepFailed():
                self.unsettled.pop(record.step, None)
            case StepTold():
                self.told[record.step] = record
            case StepLeft():
                self.left_to_others.add(record.step)
                self.found.setdefault(record.step, record.observed)
            case GateEvidence():
                self.evidence[record.app, record.stage] = record
                self.paused.pop(record.app, None)
            case Noted():
                self.notes.setdefault(record.app, []).extend(record.notes)
            case Levelled():
                self._level(record)
            case GateOpen():
                self.opened[record.app, record.stage] = record
            case AppStopped():
                self.ended[record.app] = record
            case Paused():
                self.paused[record.app] = record
            case Finished():
                self.finished = record
            case _:
                pass  # what was tried is for people

    def _level(self, record: Levelled) -> None:
        stages = [each.id for each in self.plan.stages]
        self.plan = replace(
            self.plan,
            steps=placed(self.plan.steps, record.steps, record.app, record.stage, stages, self.done),
            apps=tuple(
                with_copy(each, record.members, record.expected) if each.app_id == record.app else each
                for each in self.plan.apps
            ),
        )
        self._own.clear()
        self.levels += sum(is_level(each) for each in record.steps)
        self.notes.setdefault(record.app, []).extend(record.notes)
        if record.joined:
            # Who is new in it must be reached by the copy before anything that reaches them goes: that gate opens anew.
            self.joined[record.app, record.stage] = record.at
            self.opened.pop((record.app, record.stage), None)
            self.evidence.pop((record.app, record.stage), None)

    # -- what follows from it ------------------------------------------------------------------------------------

    @property
    def started(self) -> RunStarted:
        """The run's first record. Raises Unreadable where the process ended before it was written: then nothing was changed."""
        if self._started is None:
            raise Unreadable("the run ended before it began", code="never-started", next="Apply the plan again.")
        return self._started

    def changed(self, app: str | None = None) -> bool:
        """May this run have changed the tenant (for this app)?"""
        own = {each.id for each in self.plan.steps if app in (None, each.app_id)}
        done = {step for step, record in self.done.items() if not record.already}
        return bool(own & (done | self.unsettled.keys() | self.sent))

    @property
    def yields(self) -> dict[str, Mapping[str, Any]]:
        """What done steps yielded, by step id."""
        return dict(self._yields)

    def as_left(self, step: Step, landed: StepDone) -> State:
        """How a landed step's object stands as the run leaves it: later steps may have moved members of a group."""
        members = None if landed.after is None else landed.after.get("members")
        if step.target.kind != "group" or landed.after is None or members is None:
            return landed.after
        guid = str(identity_of(step, self.yields) or landed.yields.get("guid")).casefold()
        held = {str(each).casefold(): each for each in members}
        for each in self.plan.steps:
            key = each.target.key
            if each.target.kind != "group_member" or each.id not in self.done or key["group"].casefold() != guid:
                continue
            if each.after is None:
                held.pop(key["member"].casefold(), None)
            else:
                held[key["member"].casefold()] = key["member"]
        return landed.after | {"members": sorted(held.values())}

    @property
    def known(self) -> dict[str, Mapping[str, Any]]:
        """What scripts may rest on, by step id: what this run read, else what a result says was read."""
        told = {step: each.yields for step, each in self.told.items() if each.outcome in ("done", "already")}
        return {**told, **self.yields}

    def steps(self, app: str | None, stage: str | None = None) -> list[Step]:
        """The steps of an app (None: those that all apps share), in the plan's order."""
        if not self._own:
            for each in self.plan.steps:
                self._own.setdefault(each.app_id, []).append(each)
        return [each for each in self._own.get(app, ()) if stage in (None, each.stage)]

    def left(self, app: str | None, stage: str | None = None) -> list[Step]:
        """Those of :meth:`steps` that have not landed yet."""
        return [each for each in self.steps(app, stage) if each.id not in self.done]

    def stage_of(self, app: str) -> Stage | None:
        """The first stage in which the app has a step to do or a gate to pass; None when it has come through."""
        for stage in self.plan.stages:
            gate = gate_of(stage, app)
            if self.left(app, stage.id) or (gate is not None and (app, stage.id) not in self.opened):
                return stage
        return None

    def last_done(self, app: str, stage: str) -> datetime:
        """When the stage's waits begin: at the last landed step of the app in it (or when somebody was seen to be new in a
        managed copy), else where the stage before it ended."""
        landed = [moment(done.at) for done in self.done.values() if done.app == app and done.stage == stage]
        landed += [moment(at) for place, at in self.joined.items() if place == (app, stage)]
        if landed:
            return max(landed)
        before = [moment(gate.at) for (owner, _), gate in self.opened.items() if owner == app]
        return max(before, default=moment(self.started.at))

    def wait_seconds(self, gate: Gate) -> float:
        """How long a gate waits after the last step, with the waits the run was approved with."""
        return gate_seconds(gate, self.waits, lengthen=self.started.lengthen)

    @property
    def waits(self) -> dict[WaitKind, float]:
        """Seconds by kind, as the run was approved with. A profile may not name less than these for a tenant, and so a journal
        that somebody edited may not either."""
        approved = self.started.waits
        if not self.started.lengthen:
            return dict(approved)
        return {kind: max(least, approved.get(kind, least)) for kind, least in WAITS.items()}

    def ready_at(self, app: str, stage: Stage) -> datetime | None:
        """When the app's gate can open; None where the stage has no gate for it, or steps of it are left."""
        gate = gate_of(stage, app)
        if gate is None or self.left(app, stage.id):
            return None
        ready = self.last_done(app, stage.id) + timedelta(seconds=self.wait_seconds(gate))
        seen = self.evidence.get((app, stage.id))
        if seen is not None and seen.verdict == Verdict.PENDING and seen.ready_at is not None:
            ready = max(ready, moment(seen.ready_at))
        return ready

    def app_answer(self, app: str, now: datetime) -> AppAnswer:
        """Where one app stands."""
        return replace(self._app_answer(app, now), notes=tuple(dict.fromkeys(self.notes.get(app, ()))))

    def _app_answer(self, app: str, now: datetime) -> AppAnswer:
        stage = self.stage_of(app)
        name = None if stage is None else stage.id
        if app in self.undone:
            # A run that had come through stays done, though it does not stand any more; `code` says so.
            return AppAnswer(app, name, "done" if stage is None else "stopped", UNDONE, None)
        ended = self.ended.get(app)
        if ended is not None:
            return AppAnswer(app, ended.stage, ended.outcome, ended.code, None)
        if stage is None:
            return AppAnswer(app, None, "done", None, None)
        paused = self.paused.get(app) or self.paused.get(SHARED)
        if paused is not None and paused.code in (UNTIL, LEFT):
            return AppAnswer(app, name, "waiting", None, None)
        ready = self.ready_at(app, stage)
        if paused is not None and (paused.code != INTERRUPTED or ready is None):
            return AppAnswer(app, name, "stopped" if self.changed() else "waiting", paused.code, None)
        if ready is None:
            # Steps are left and no record says why: the process that ran them is gone, or still at work.
            return AppAnswer(app, name, "stopped" if self.changed() else "waiting", INTERRUPTED, None)
        seen = self.evidence.get((app, stage.id))
        code = EVIDENCE_UNKNOWN if seen is not None and seen.verdict == Verdict.UNKNOWN and now >= ready else None
        return AppAnswer(app, name, "waiting", code, None if code else iso(ready))

    def answer(self, now: datetime) -> RunAnswer:
        """Where the whole run stands, as every command about it answers."""
        apps = tuple(self.app_answer(each.app_id, now) for each in self.plan.apps)
        times = sorted(app.ready_at for app in apps if app.outcome == "waiting" and app.ready_at is not None)
        return RunAnswer(
            run=self.started.run,
            outcome=overall_outcome(apps),
            done=len(self.done),
            steps=len(self.plan.steps),
            ready_at=times[0] if times else None,
            waiting_for=self._waiting_for(apps, now),
            why=" ".join(self._why(app, now) for app in apps) or "There was nothing to do.",
            apps=tuple(self._called(app) for app in apps),
        )

    def _called(self, app: AppAnswer) -> AppAnswer:
        """The app by its appId, where the plan calls it by the hole of one and the run has read it."""
        return replace(app, app_id=fill_ids(app.app_id, found(self.yields)))

    def _waiting_for(self, apps: tuple[AppAnswer, ...], now: datetime) -> WaitingFor | None:
        for paused in self.paused.values():
            if paused.waiting_for is not None:
                return paused.waiting_for
        waiting = [app for app in apps if app.outcome == "waiting"]
        if not waiting:
            return None
        if any(app.ready_at is not None and app.ready_at > iso(now) for app in waiting):
            return "time"
        return "evidence"

    def _why(self, app: AppAnswer, now: datetime) -> str:
        name = next(each.display_name for each in self.plan.apps if each.app_id == app.app_id)
        if app.app_id in self.undone:
            return f"{name}: taken back by the run {self.undone[app.app_id]}."
        ended = self.ended.get(app.app_id)
        if ended is not None:
            back = f" Quickest safe step back: {ended.step_back}" if ended.step_back else ""
            return f"{name}: {ended.why}{back}"
        if app.outcome == "done":
            return f"{name}: done{self._only_configured(app.app_id)}."
        paused = self.paused.get(app.app_id) or self.paused.get(SHARED)
        # Who pressed Ctrl-C at a gate knows that; what they ask is how long the gate still takes.
        if paused is not None and (paused.code != INTERRUPTED or app.ready_at is None):
            return f"{name}: {paused.why}"
        if app.code == INTERRUPTED:
            return f"{name}: {self._of_scripts(app.app_id) or f'interrupted in stage {app.stage}'}; resume goes on."
        seen = self.evidence.get((app.app_id, app.stage or ""))
        if seen is not None and seen.verdict in (Verdict.UNKNOWN, Verdict.PENDING):
            return f"{name}: the evidence of stage {app.stage} is {seen.verdict}: {seen.why}"
        if app.ready_at is not None and app.ready_at > iso(now):
            more = duration((moment(app.ready_at) - now).total_seconds())
            return f"{name}: stage {app.stage} waits until {app.ready_at} (another {more})."
        return f"{name}: stage {app.stage} has waited long enough; its evidence comes next."

    def _of_scripts(self, app: str) -> str | None:
        """What is known of an app's steps from results of scripts alone."""
        left = self.left(app)
        told = [each.id for each in left if each.id in self.told and self.told[each.id].outcome in ("done", "already")]
        if not told:
            return None
        return f"{len(told)} of {len(left)} step(s) stand, as results of scripts say; exoscope has not read them yet"

    def _only_configured(self, app: str) -> str:
        last = [gate for (owner, _), gate in self.opened.items() if owner == app and gate.verdict is not None]
        if last and last[-1].verdict == Verdict.CONFIGURED:
            return f", only configured: {last[-1].why}"
        return ""

    def rests(self, app: str) -> bool:
        """Does this process leave the app alone: stopped, taken back, or paused until somebody resumes?"""
        return app in self.ended or app in self.undone or app in self.paused

    def final(self) -> Literal["done", "stopped", "refused"] | None:
        """The run's end, when no app has anything left to do in it; else None."""
        apps = [each.app_id for each in self.plan.apps]
        over = [app for app in apps if app in self.undone or app in self.ended or self.stage_of(app) is None]
        if over != apps or self.left(SHARED):
            return None
        outcomes = {
            "stopped" if app in self.undone else self.ended[app].outcome if app in self.ended else "done"
            for app in apps
        }
        if "stopped" in outcomes:
            return "stopped"
        return "refused" if outcomes == {"refused"} else "done"


def gate_of(stage: Stage, app: str) -> Gate | None:
    """The app's gate at the end of a stage."""
    return next((gate for gate in stage.gates if gate.app_id == app), None)
