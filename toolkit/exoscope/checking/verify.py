"""``verify``: read the tenant now, put the claims of a plan or an intent to every witness, and say what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta

from msgspec.structs import replace

from exoscope import snapshot as snapshots
from exoscope._version import __version__
from exoscope.checking.history import Past, as_run, past
from exoscope.clock import Clock, iso
from exoscope.model import Intent, Noun, Plan, PlanFile, Proof, Snapshot, WaitKind
from exoscope.outcome import Verdict
from exoscope.proving import LOUD, AppClaim, Options, estimate, of_intent, of_plan, prove
from exoscope.reach import Reach
from exoscope.reading import Connection, read_snapshot, wanted_for
from exoscope.running import Store
from exoscope.running.tenancy import wanted_by

Subject = PlanFile | Intent
Lend = Callable[[Sequence[AppClaim], Options], AbstractContextManager[list[str]]]
"""Gives apps what they sign in with while witnesses are asked; notes on that are whole when the block has ended."""


class Verification(Noun, frozen=True):
    """A proof and all it rests on. ``plan``: the plan in question, or the last run's (for the reach before); null: none."""

    proof: Proof
    snapshot: Snapshot
    snapshot_hash: str
    claims: tuple[AppClaim, ...]
    started: datetime
    finished: datetime
    operator: str
    tool_version: str
    plan_hash: str | None
    plan: Plan | None
    run: str | None
    graph: str


def verify(
    subject: Subject,
    connection: Connection,
    store: Store,
    *,
    options: Options,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    operator: str,
    clock: Clock,
    wait: float = 0.0,
    lend: Lend | None = None,
    say: Callable[[str], None],
    progress: Callable[[str], None],
) -> Verification:
    """Prove a plan, or an intent, over a fresh reading. A pending verdict is waited for, quietly, for ``wait`` seconds at most.

    ``lend`` is entered while the witnesses are asked, each time anew, and never while time must pass.
    Raises BadInput (the intent names what is not there), WrongTenant (the plan is another tenant's), Unreadable, and the
    ServiceError family.
    """
    deadline = clock.now() + timedelta(seconds=wait)
    notes: tuple[str, ...] = ()
    while True:
        done = _once(
            subject,
            connection,
            store,
            options,
            waits,
            lengthen,
            operator,
            clock,
            lend or _nothing,
            say=say,
            progress=progress,
        )
        # What was done to the tenant for a proof that was pending was done all the same.
        notes = (*notes, *done.proof.notes)
        ready = _ready(done, deadline)
        if ready is None:
            return replace(done, proof=replace(done.proof, notes=notes))
        say(f"Pending until {done.proof.ready_at}; waiting, without asking meanwhile.")
        clock.sleep(max(0.0, (ready - clock.now()).total_seconds()))
        say = _silent  # what it will ask was said once


@contextmanager
def _nothing(claims: Sequence[AppClaim], options: Options) -> Iterator[list[str]]:
    yield []


def _silent(_: str) -> None:
    return None


def _ready(done: Verification, deadline: datetime) -> datetime | None:
    """When to ask again; None: the verdict stands, or it would be too late."""
    if done.proof.verdict is not Verdict.PENDING or done.proof.ready_at is None:
        return None
    ready = datetime.fromisoformat(done.proof.ready_at)
    return ready if ready <= deadline else None


def _once(
    subject: Subject,
    connection: Connection,
    store: Store,
    options: Options,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    operator: str,
    clock: Clock,
    lend: Lend,
    *,
    say: Callable[[str], None],
    progress: Callable[[str], None],
) -> Verification:
    planned = subject.plan if isinstance(subject, PlanFile) else None
    started = clock.now()
    tenant = connection.prove_tenant(planned.tenant if planned else None)
    wanted = wanted_by(planned) if planned else wanted_for(_intent(subject))
    fresh = read_snapshot(connection, wanted=wanted, progress=progress)
    reach = Reach(fresh)
    known = past(store, tenant.id, subject.hash if isinstance(subject, PlanFile) else None, waits, lengthen=lengthen)
    claims = (
        claims_of(as_run(subject, known, fresh), reach) if isinstance(subject, PlanFile) else of_intent(subject, reach)
    )
    with lend(claims, options) as notes:
        _forewarn(connection, reach, claims, options, known, say)
        proof = prove(connection, reach, claims, options, known.histories, clock, progress)
    proof = replace(proof, notes=tuple(notes))
    return conclusion(
        proof,
        fresh,
        claims,
        known,
        waits,
        subject=subject,
        started=started,
        clock=clock,
        finished=clock.now(),
        operator=operator,
        graph=connection.profile.endpoints.graph,
    )


def claims_of(plan: Plan, reach: Reach) -> tuple[AppClaim, ...]:
    """What a plan claims. An app that a migration found gone (it has no object id in the plan) claims nothing."""
    return tuple(of_plan(app, reach) for app in plan.apps if app.object_id)


def conclusion(
    proof: Proof,
    fresh: Snapshot,
    claims: tuple[AppClaim, ...],
    known: Past,
    waits: Mapping[WaitKind, float],
    *,
    subject: Subject,
    started: datetime,
    finished: datetime,
    clock: Clock,
    operator: str,
    graph: str,
) -> Verification:
    """A proof with what it rests on; a pending one says when to come back."""
    if known.unreadable:
        untold = f"what these runs changed, and so older tokens, whose journals cannot be read: {', '.join(known.unreadable)}"
        proof = replace(proof, not_covered=(*proof.not_covered, untold))
    if proof.verdict is Verdict.PENDING and proof.ready_at is None:
        # No journal here tells of the change, so it may be as young as this moment: a whole cache time from now settles it.
        proof = replace(proof, ready_at=iso(clock.now() + timedelta(seconds=waits["cache"])))
    file = subject if isinstance(subject, PlanFile) else None
    return Verification(
        proof=proof,
        snapshot=fresh,
        snapshot_hash=snapshots.digest(fresh),
        claims=claims,
        started=started,
        finished=finished,
        operator=operator,
        tool_version=__version__,
        plan_hash=file.hash if file else None,
        plan=as_run(file, known, fresh) if file else known.plan,
        run=known.run,
        graph=graph,
    )


def _intent(subject: Subject) -> Intent:
    if isinstance(subject, PlanFile):
        raise TypeError("a plan has no intent of its own")
    return subject


def _forewarn(
    connection: Connection,
    reach: Reach,
    claims: tuple[AppClaim, ...],
    options: Options,
    known: Past,
    say: Callable[[str], None],
) -> None:
    calls = estimate(connection, reach, claims, options)
    minutes = f"about {calls.seconds:.0f} s" if calls.seconds < 120 else f"about {calls.seconds / 60:.0f} min"
    say(f"This asks Exchange's test cmdlets {calls.tests} times and Graph as the app {calls.probes} times, {minutes}.")
    if calls.refusals > LOUD:
        say(
            f"For the security team: about {calls.refusals} of those Graph calls are expected to be refused (403). They come "
            "from exoscope, as the app itself, to prove that it cannot read those mailboxes. --limit-refusals N asks fewer."
        )
    for run in known.unreadable:
        say(f"The journal of run {run} cannot be read: when it last changed something is not known.")
