"""The real tenant behind a run: Exchange and Graph joined, read whole where reach is asked, its witnesses asked at gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta

from exoscope import entra, exchange
from exoscope.clock import Clock
from exoscope.model import AppPlan, Gate, Migration, Observed, Plan, Snapshot, Stage, Step, Target, Unset, WaitKind
from exoscope.outcome import BadInput, Unreadable, Verdict
from exoscope.planning import registration, states
from exoscope.planning.hashing import dump_plan
from exoscope.planning.migration import plan_migration
from exoscope.planning.timing import gate_seconds
from exoscope.powershell import holes
from exoscope.profile import MICROSOFT, Profile, on_loopback
from exoscope.proving import GateProof, History, Options, gate_proof
from exoscope.reach import Reach
from exoscope.reading import Connection, Wanted, read_snapshot
from exoscope.reading.wanted import asked_by
from exoscope.running.desk import Desk, Opened
from exoscope.running.filling import Filled
from exoscope.running.handing import Hands, lent
from exoscope.running.ports import Event, Evidence, Progress, Survey
from exoscope.running.resting import moved_between
from exoscope.running.state import gate_of
from exoscope.running.store import Store
from exoscope.running.survey import compare

FRESH = 120.0
"""Seconds for which one reading of the tenant serves several apps; an app's own writes end it for that app at once."""

DOUBTS = 5
"""Readings of the tenant that failed proofs may cost without showing that anything moved: where much fails, it is not for that."""
TRIES = 4
"""How often one proof is asked while the tenant moves under it."""
NOES = (Verdict.VIOLATED, Verdict.UNKNOWN)

WRITE_SECONDS = exchange.DEADLINE
"""How long a write over Exchange may take; what became of one that took longer is found out by reading."""

GRAPH_KINDS = frozenset({"consent", "request", *registration.KINDS})

SHOWN = frozenset(
    {
        "organization",
        "pointer",
        "management_scope",
        "role_assignment",
        "access_policy",
        "group",
        "group_member",
        "consent",
        "request",
    }
)
"""Kinds of object that a whole reading shows as a reading of the object itself would."""


class LiveTenancy:
    """A connection as a run sees it. Use it from one thread."""

    def __init__(
        self,
        connection: Connection,
        waits: Mapping[WaitKind, float],
        *,
        lengthen: bool,
        progress: Progress,
        everything: bool = False,
        hands: Hands | None = None,
    ) -> None:
        self._connection = connection
        self._hands = hands
        self._registered: dict[object, str] = {}
        self._waits = waits
        self._lengthen = lengthen
        self._options = Options(everything=everything)
        self._progress = progress
        self._snapshot: Snapshot | None = None
        self._reach: Reach | None = None
        self._read_at: datetime | None = None
        self._written: set[str | None] = set()
        self._doubts = 0
        self._ids = exchange.Ids()
        self._resources: entra.Resources | None = None

    def read(self, target: Target) -> Observed:
        """See :class:`exoscope.running.ports.Tenancy`."""
        if target.kind in GRAPH_KINDS:
            # What was made a moment ago is not in every list yet: by its id it is found.
            made = self._registered.get(states.key_of(target))
            target = target if made is None else registration.known_target(target, {"app_id": made})
            found = entra.read_object(self._connection.graph, target, self._known_resources())
        else:
            found = exchange.read_object(self._connection.exchange, target, self._ids)
        return Observed(None) if found is None else found

    def shown(self, app_id: str | None, target: Target) -> Observed | None:
        """See :class:`exoscope.running.glancing.ReadsWhole`."""
        if self._snapshot is None or target.kind not in SHOWN or self._late(app_id):
            return None
        try:
            state = states.shown(self._snapshot, target)
        except Unreadable:
            return None
        consent = states.find_consent(self._snapshot, target) if target.kind == "consent" else None
        return Observed(state, {} if consent is None else {"id": consent.id})

    def write(self, step: Step, call: Filled) -> tuple[str, ...]:
        """See :class:`exoscope.running.ports.Tenancy`."""
        self._written.add(step.app_id)
        if call.request is not None:
            reply = entra.perform(self._connection.graph_writes, call.request)
            self._note(step, reply.body)
            return tuple(dict.fromkeys(each for each in (reply.request_id, reply.client_request_id) if each))
        self._connection.exchange.run(call.script or "", deadline=WRITE_SECONDS)
        return ()

    def _note(self, step: Step, body: Mapping[str, object]) -> None:
        """What a write on a registration or a credential means for what is known here."""
        key = step.target.key
        if step.target.kind == "application" and step.after is not None and isinstance(body.get("appId"), str):
            self._registered[states.key_of(step.target)] = str(body["appId"])
        goes = step.after is None and step.target.kind in ("application", "credential")
        if goes and self._hands is not None and key.get("app_id"):
            self._hands.removed(self._connection, key["app_id"], key.get("key_id"))

    def hand_over(self, step: Step, run: str, ends: datetime) -> str:
        """See :class:`exoscope.running.ports.Tenancy`."""
        if self._hands is None:
            raise BadInput("nothing here hands credentials over", next="Use exoscope apply or resume.")
        self._written.add(step.app_id)

        def say(text: str) -> None:
            self._progress(Event("note", text, step.app_id, step.id))

        return self._hands.make(self._connection, step, run, ends, say)

    def survey(self, plan: Plan, app: AppPlan, left: Sequence[Step], known: Mapping[str, str]) -> Survey:
        """See :class:`exoscope.running.ports.Tenancy`."""
        if self._hands is not None:
            self._hands.allowed(self._connection, left)
        reach = self._reached(plan, app.app_id)
        migration = plan if plan.purpose == "migrate" else None
        return compare(app, left, known, reach.snapshot, migration=migration, reach=reach)

    def replan(self, plan: Plan, app_id: str) -> bytes:
        """See :class:`exoscope.running.ports.Tenancy`."""
        asked = plan.migration if isinstance(plan.migration, Migration) else Migration()
        return dump_plan(plan_migration(self.snapshot(plan, app_id), [app_id], asked))

    def evidence(self, plan: Plan, app: AppPlan, stage: Stage, gate: Gate, since: datetime) -> Evidence:
        """See :class:`exoscope.running.ports.Tenancy`."""
        removed = any(
            step.app_id == gate.app_id and step.target.kind == "consent" and step.after is None for step in plan.steps
        )
        tokens = Gate(app.app_id, (app.token_wait,), (), gate.token_minutes)
        history = History(
            settled_at=since + timedelta(seconds=self._waits["cache"]),
            old_tokens_until=since + timedelta(seconds=gate_seconds(tokens, self._waits, lengthen=self._lengthen))
            if removed
            else None,
        )
        last = stage.id == [each.id for each in plan.stages if gate_of(each, gate.app_id) is not None][-1]

        def ask(reach: Reach) -> GateProof:
            clock = self._connection.clock
            return gate_proof(self._connection, app, gate, reach, history, clock, self._say, self._options, last=last)

        proof = self._asked(plan, app, gate.app_id, ask)
        return Evidence(proof.verdict, proof.why, proof.summary, proof.code, proof.ready_at)

    def _asked(self, plan: Plan, app: AppPlan, planned: str, ask: Callable[[Reach], GateProof]) -> GateProof:
        """A proof that says no is asked again over a new reading: it is believed where nobody joined or left in between.
        ``planned``: what the plan calls the app."""
        reach = self._reached(plan, planned)
        proof = ask(reach)
        for _ in range(TRIES - 1):
            if proof.verdict not in NOES or self._doubts == DOUBTS:
                return proof
            self._snapshot = None
            later = self._reached(plan, planned)
            proof = ask(later)
            if proof.verdict in NOES and not moved_between(app, reach, later):
                self._doubts += 1
                return proof
            reach = later
        if proof.verdict not in NOES:
            return proof
        return GateProof(Verdict.UNKNOWN, f"people join or leave faster than they can be asked about: {proof.why}")

    def snapshot(self, plan: Plan, app: str | None = None) -> Snapshot:
        """The tenant read whole, anew where the last reading is old or ``app`` was written to since."""
        if self._snapshot is None or self._late(app):
            now = self._connection.clock.now()
            self._snapshot = read_snapshot(self._connection, wanted=wanted_by(plan), progress=self._say)
            self._read_at = now
            self._written.clear()
            self._resources = None
            pointers, groups = self._snapshot.service_principals, self._snapshot.groups
            self._ids.know(() if isinstance(pointers, Unset) else pointers, () if isinstance(groups, Unset) else groups)
        return self._snapshot

    def _known_resources(self) -> entra.Resources:
        """The resources with their roles, read once between two readings of the whole tenant."""
        if self._resources is None:
            self._resources = entra.Resources(self._connection.graph)
        return self._resources

    def _late(self, app: str | None) -> bool:
        """Is the reading at hand too old to tell something of an app by?"""
        old = self._read_at is None or (self._connection.clock.now() - self._read_at).total_seconds() > FRESH
        return old or app in self._written or None in self._written

    def _reached(self, plan: Plan, app: str) -> Reach:
        """Reach over the tenant as it reads; one reading's indexes serve every app that is asked about meanwhile."""
        snapshot = self.snapshot(plan, app)
        if self._reach is None or self._reach.snapshot is not snapshot:
            self._reach = Reach(snapshot)
        return self._reach

    def _say(self, text: str) -> None:
        self._progress(Event("step", text))


def wanted_by(plan: Plan) -> Wanted:
    """What a plan needs to see of the tenant beside what the tenant itself asks for."""
    groups: dict[str, None] = {}
    attributes: dict[str, None] = {}
    for entry in (entry for app in plan.apps for entry in app.entries):
        if entry.scope.kind in ("group", "group-scope") and entry.scope.value:
            groups[entry.scope.value] = None
        if entry.filter is not None and not holes(entry.filter):
            names, dns = asked_by(entry.filter)
            attributes.update(dict.fromkeys(names))
            groups.update(dict.fromkeys(dns))
    # Once a policy is gone nothing names its group any more, and whoever brings the policy back must see who is in it.
    policies = [step.target.key["group"] for step in plan.steps if step.target.kind == "access_policy"]
    groups.update(dict.fromkeys(each for each in policies if not holes(each)))
    apps = tuple(app.app_id for app in plan.apps if not holes(app.app_id))
    return Wanted(tuple(groups), tuple(attributes), apps)


Condition = Callable[[Connection, Callable[[str], None], Callable[[str], None]], None]
"""What must hold of a tenant before a run goes on in it; raises where it does not. It gets what says, and what shows progress."""


def desk_for(
    profile: Profile,
    store: Store,
    *,
    clock: Clock,
    progress: Progress,
    hands: Hands | None = None,
    everything: bool = False,
    condition: Condition | None = None,
) -> Desk:
    """The desk of a profile. Nothing is opened before a run needs it. ``hands``: what hands credentials over (without: into files
    and keyrings, since nobody is there to be shown one). ``everything``: gates ask about every mailbox.

    ``condition`` is put to each tenant once it is open and proven, but for the way back of a run: that must not be barred.
    """
    hand = hands or Hands(store.state)
    waits: dict[WaitKind, float] = {
        "cache": float(profile.waits.cache),
        "token": float(profile.waits.token),
        "managed_identity": float(profile.waits.managed_identity),
        "long_token": float(profile.waits.long_token),
    }
    lengthen = not on_loopback(profile)
    named = profile.operator
    operator = "interactive" if named is None else named.account or named.client_id
    operator = named.kind if named is not None and operator == MICROSOFT else operator

    @contextmanager
    def opened(plan: Plan) -> Iterator[Opened]:
        def say(text: str) -> None:
            progress(Event("note", text))

        with Connection(lent(profile, store.state), clock, say) as connection:
            connection.prove_tenant(plan.tenant)
            if condition is not None and plan.purpose != "undo":
                condition(connection, say, lambda text: progress(Event("step", text)))
            tenancy = LiveTenancy(
                connection, waits, lengthen=lengthen, progress=progress, hands=hand, everything=everything
            )
            yield Opened(tenancy, tenancy.snapshot(plan))

    def open_(plan: Plan) -> AbstractContextManager[Opened]:
        return opened(plan)

    return Desk(
        store=store,
        clock=clock,
        progress=progress,
        open=open_,
        operator=operator or "managed identity",
        waits=waits,
        lengthen=lengthen,
        hands=hand,
    )
