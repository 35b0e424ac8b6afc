"""A rehearsal: a plan applied to the twin of the tenant it is for, over PSRP, every moment of it looked at, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from exoscope.clock import Clock
from exoscope.model import AppPlan, Gate, Noun, Observed, Plan, PlanFile, Snapshot, Stage, Step, Target
from exoscope.outcome import ExoscopeError, Refused, Verdict, WrongTenant
from exoscope.planning import content_hash
from exoscope.planning.registration import fill_ids, named_plan
from exoscope.planning.states import listed
from exoscope.profile import load_profile
from exoscope.proving.selection import SAMPLE
from exoscope.rehearsing.watching import (
    Delays,
    Deviation,
    Made,
    Seen,
    changed_reach,
    not_as_planned,
    watch,
)
from exoscope.running import (
    Desk,
    Event,
    Evidence,
    Opened,
    RunAnswer,
    Store,
    Survey,
    Tenancy,
    apply,
    filling,
    glancing,
    undo,
)
from exoscope.running.filling import Filled
from exoscope.running.handing import Hands
from exoscope.running.ports import Progress
from exoscope.running.tenancy import desk_for
from exoscope.system import make_private_dir
from exoscope.twin.server import serve
from exoscope.twin.tenant import TwinTenant

DELAYS = Delays(propagation=1.0, lifetime=4.0)
ASKED = 5
QUESTIONS = 1_000
"""Apps whose gates ask every witness over the wire, as a real run does: at most so many, those with the fewest mailboxes to ask
about, and beside the first of them only as many as come with so few questions. The twin itself is all those witnesses, and every
moment is looked at afterwards for all apps: for the others the gate waits and asks nobody, since a call for each mailbox of
hundreds of apps would take hours and show nothing more.
"""
_PATIENCE = 24 * 3600.0  # seconds at gates in all; the twin's own waits are a few
_SHIFT = 12 * 3600.0  # the operator's tokens outlive the rehearsal: it is about the apps' tokens


class Rehearsal(Noun, frozen=True):
    """How a rehearsal went. ``moments``: pairs of states that could act at one time, over all apps, each looked at for every
    mailbox by the rules of reach; ``decisions``: how often the twin's own evaluator was asked the same. ``undone``: every app of
    the tenant reaches again what it reached before. ``asked``: apps whose gates asked their witnesses over the wire. ``why``:
    sentences on whatever keeps the verdict from *proven*.
    """

    verdict: Verdict
    gained: tuple[Deviation, ...]
    lost: tuple[Deviation, ...]
    moments: int
    undone: bool
    decisions: int
    asked: int
    steps: int
    plan: str
    why: tuple[str, ...]


def rehearse(
    file: PlanFile, snapshot: Snapshot, clock: Clock, tell: Callable[[str], None], *, delays: Delays = DELAYS
) -> Rehearsal:
    """Rehearse a plan on the twin of a snapshot, on loopback and at accelerated time.

    Raises Refused (``undo-plan``, ``empty-plan``), WrongTenant, and whatever :func:`~exoscope.running.apply` raises before its
    first step.
    """
    _refuse(file.plan, snapshot)
    if content_hash(snapshot) != file.plan.snapshot_hash:
        tell("The plan was made from another snapshot: an app of which something moved since stops, as it would.")
    with serve(
        snapshot, propagation=delays.propagation, token_lifetime=delays.lifetime, operator_lifetime=_SHIFT
    ) as twin:
        made: list[Made] = []
        profile = load_profile(Path(twin.ready["profile"]), {})
        store = Store(twin.folder.state)
        asked = _asked(file.plan, len(listed(snapshot, "recipients")))
        # What a rehearsal hands over signs in to the twin alone, and ends with it.
        hands = Hands(store.state, scratch=make_private_dir(twin.folder.path / "handed-over"))
        plain = desk_for(profile, store, clock=clock, progress=_talk(tell), hands=hands)
        desk = _watched(plain, twin.tenant, made, asked)
        tell(f"The twin of {snapshot.tenant.domain} serves on this machine. The plan is applied over PSRP:")
        run = apply(file, desk, wait=_PATIENCE)
        applied = twin.tenant.state
        tell(f"{run.done} of {run.steps} steps, {run.outcome}. It is taken back, in the safe order:")
        found = _found(store, run)
        back = _take_back(run, desk)
        history = twin.tenant.history()
    tell("Every moment of it is looked at.")
    plan = named_plan(file.plan, found)
    seen = watch(plan, history, [_named(each, found) for each in made], delays)
    return _judge(
        replace(file, plan=plan),
        run,
        back,
        seen,
        before=history[0].view.snapshot,
        applied=applied,
        after=history[-1].view.snapshot,
        asked=len(asked),
    )


def _found(store: Store, run: RunAnswer) -> Mapping[str, Any]:
    """What the run's holes stand for: by it an app that the plan registers is known."""
    return filling.found(store.open(store.find(run.run))[1].yields)


def _named(made: Made, found: Mapping[str, Any]) -> Made:
    app_id = made.step.app_id
    return made if app_id is None else made._replace(step=replace(made.step, app_id=fill_ids(app_id, found)))


def _refuse(plan: Plan, snapshot: Snapshot) -> None:
    if plan.purpose == "undo":
        raise Refused(
            "this plan takes a run back, and every rehearsal takes its plan back by itself",
            code="undo-plan",
            next="Rehearse the plan that the run was made from.",
        )
    if not plan.steps:
        raise Refused("the plan has no step, so there is nothing to rehearse", code="empty-plan")
    if plan.tenant.id.casefold() != snapshot.tenant.id.casefold():
        raise WrongTenant(
            f"the plan is for the tenant {plan.tenant.id}, the snapshot is of {snapshot.tenant.id}",
            next="Name the snapshot that the plan was made from.",
        )


def _take_back(run: RunAnswer, desk: Desk) -> str | None:
    """Take everything back that was done; why not, where that was not possible."""
    if run.done == 0:
        return None
    try:
        back = undo(run.run, desk, approve=lambda plan: None, wait=_PATIENCE)
    except ExoscopeError as error:
        return error.message
    return None if back.outcome == "done" else f"the undo ended {back.outcome}: {back.why}"


def _judge(
    file: PlanFile,
    run: RunAnswer,
    back: str | None,
    seen: Seen,
    *,
    before: Snapshot,
    applied: Snapshot,
    after: Snapshot,
    asked: int,
) -> Rehearsal:
    """The verdict: *violated* where something was seen that may not be, *unknown* where not everything could be seen."""
    planned = {app.app_id for app in file.plan.apps}
    beside = [app_id for app_id in changed_reach(before, applied) if app_id not in planned]
    left = changed_reach(before, after)
    other = not_as_planned(file.plan, applied) if run.outcome == "done" else ()
    violated = [
        *(f"{len(found)} times a mailbox was {word}" for word, found in _both(seen) if found),
        *(f"{each.app_id} {each.permission}: {each.mailbox} is not as the plan says" for each in other),
        *(f"{app_id}, which the plan does not name, reaches otherwise" for app_id in beside),
        *(f"{app_id} does not reach what it reached before" for app_id in left if back is None),
    ]
    untold = [
        *(
            f"{each.app_id} {each.permission}: the twin and the rules differ on {each.mailbox}"
            for each in seen.disagreed
        ),
        *([f"the plan ended {run.outcome}: {run.why}"] if run.outcome != "done" else []),
        *([f"it was not taken back: {back}"] if back is not None else []),
    ]
    return Rehearsal(
        verdict=Verdict.VIOLATED if violated else Verdict.UNKNOWN if untold else Verdict.PROVEN,
        gained=seen.gained,
        lost=seen.lost,
        moments=seen.moments,
        undone=back is None and not left,
        decisions=seen.decisions,
        asked=asked,
        steps=run.done,
        plan=file.hash,
        why=(*violated, *untold),
    )


def _both(seen: Seen) -> Sequence[tuple[str, Sequence[Deviation]]]:
    return (("reachable that may not be", seen.gained), ("lost that must stay", seen.lost))


def _talk(tell: Callable[[str], None]) -> Progress:
    def progress(event: Event) -> None:
        if event.step is not None or event.kind in ("wait", "evidence", "stop", "step-back"):
            tell(f"  {event.text}")

    return progress


def _watched(desk: Desk, tenant: TwinTenant, made: list[Made], asked: frozenset[str]) -> Desk:
    """The desk, with each step noted beside the states of the twin that it made; the gates of ``asked`` alone ask witnesses."""

    @contextmanager
    def opened(plan: Plan) -> Iterator[Opened]:
        with desk.open(plan) as inner:
            yield Opened(_Watched(inner.tenancy, tenant, made, asked), inner.snapshot)

    return replace(desk, open=opened)


class _Watched:
    """A tenancy that notes what each write makes of the twin. Only the run writes, one step at a time."""

    def __init__(self, inner: Tenancy, tenant: TwinTenant, made: list[Made], asked: frozenset[str]) -> None:
        self._inner, self._tenant, self._made, self._asked = inner, tenant, made, asked

    def read(self, target: Target) -> Observed:
        return self._inner.read(target)

    def shown(self, app_id: str | None, target: Target) -> Observed | None:
        return glancing.seen_by(self._inner, app_id, target)

    def write(self, step: Step, call: Filled) -> tuple[str, ...]:
        since = self._tenant.count()
        try:
            return self._inner.write(step, call)
        finally:
            self._made.append(Made(step, since, self._tenant.count()))

    def hand_over(self, step: Step, run: str, ends: datetime) -> str:
        since = self._tenant.count()
        try:
            return self._inner.hand_over(step, run, ends)
        finally:
            self._made.append(Made(step, since, self._tenant.count()))

    def survey(self, plan: Plan, app: AppPlan, left: Sequence[Step], known: Mapping[str, str]) -> Survey:
        return self._inner.survey(plan, app, left, known)

    def replan(self, plan: Plan, app_id: str) -> bytes:
        return self._inner.replan(plan, app_id)

    def evidence(self, plan: Plan, app: AppPlan, stage: Stage, gate: Gate, since: datetime) -> Evidence:
        if gate.app_id not in self._asked:
            told = f"{app.display_name}: not asked here; every moment is looked at afterwards"
            return Evidence(Verdict.PROVEN, "", (told,))
        return self._inner.evidence(plan, app, stage, gate, since)


def _asked(plan: Plan, mailboxes: int) -> frozenset[str]:
    """The apps whose gates ask their witnesses."""

    def questions(app: AppPlan) -> int:
        """About how many mailboxes a gate asks about: whom the app is to reach, and a sample beside, by each permission."""
        named = [(len(each.after.addresses), each.after.all_but) for each in app.permissions.values()]
        return sum((mailboxes - count if all_but else count) + SAMPLE for count, all_but in named)

    asked: set[str] = set()
    room = QUESTIONS
    for app in sorted(plan.apps, key=questions)[:ASKED]:
        room -= questions(app)
        if asked and room < 0:
            break
        asked.add(app.app_id)
    return frozenset(asked)
