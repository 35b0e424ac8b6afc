"""A tenant in memory, a clock that is turned by hand, and small plans: what the tests of running stand on."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from exoscope.model import (
    Addresses,
    App,
    AppPlan,
    Consent,
    Gate,
    IntentScope,
    Migration,
    Observed,
    PermissionReach,
    Plan,
    PlanEntry,
    PlanFile,
    Requested,
    Snapshot,
    Stage,
    State,
    Step,
    Target,
    Tenant,
)
from exoscope.outcome import AlreadyExists, ObjectNotFound, ServiceError, Verdict
from exoscope.planning import effect, registration, states
from exoscope.planning.hashing import dump_plan, plan_hash
from exoscope.planning.migration import plan_migration
from exoscope.planning.operations import step as make_step
from exoscope.running import Desk, Event, Evidence, Opened, Store, Survey
from exoscope.running.filling import Filled
from exoscope.running.patience import Patience
from exoscope.running.survey import compare

TENANT = Tenant(id="10000000-0000-0000-0000-000000000001", domain="contoso.onmicrosoft.com", cloud="worldwide")
GRAPH = "00000003-0000-0000-c000-000000000000"
MAIL_READ = "810c84a8-4a9e-49e6-bf7d-12d183f40d01"
WAITS = {"cache": 7200.0, "token": 5400.0, "managed_identity": 86400.0, "long_token": 100800.0}
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class HandClock:
    """Time moves when somebody sleeps, and a millisecond each time it is looked at."""

    def __init__(self) -> None:
        self.at = START
        self.slept: list[float] = []

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


def app(number: int) -> App:
    """An app with one consent and one request entry."""
    digits = f"{number:012d}"
    return App(
        app_id=f"20000000-0000-0000-0000-{digits}",
        object_id=f"30000000-0000-0000-0000-{digits}",
        application_object_id=f"40000000-0000-0000-0000-{digits}",
        display_name=f"Connector {number}",
        consents=(Consent(f"consent-{number}", GRAPH, MAIL_READ, "Mail.Read"),),
        requested=(Requested(GRAPH, MAIL_READ, "Mail.Read"),),
    )


def _reach() -> PermissionReach:
    return PermissionReach(
        before=Addresses((), all_but=True),
        after=Addresses(("ada@contoso.com",)),
        gained=Addresses(()),
        lost=Addresses(("ada@contoso.com",), all_but=True),
        unknown=Addresses(()),
    )


def app_plan(subject: App) -> AppPlan:
    entry = PlanEntry(
        permissions=("Mail.Read",),
        mechanism="rbac",
        scope=IntentScope("mailboxes", mailboxes=("ada@contoso.com",)),
        expected=Addresses(("ada@contoso.com",)),
    )
    return AppPlan(
        app_id=subject.app_id,
        object_id=subject.object_id,
        display_name=subject.display_name,
        scoped=True,
        not_scoped_because=(),
        entries=(entry,),
        permissions={"Mail.Read": _reach()},
        token_wait="long_token",
    )


class _Numbers:
    def __init__(self) -> None:
        self.count = 0

    def next(self) -> str:
        self.count += 1
        return f"step-{self.count}"


def rbac_steps(subject: App, numbers: _Numbers) -> list[Step]:
    """A managed group, the scope over it (with a hole), pointer, assignment; then consent and request entry go."""
    name = f"exoscope {subject.display_name} Mail.Read"
    group = Target("group", {"name": name})
    made = {
        "alias": f"exoscope-{subject.app_id[-4:]}",
        "display_name": name,
        "notes": "exoscope: changes mailbox access",
        "hidden": False,
        "join_restriction": "Closed",
        "depart_restriction": "Closed",
        "owners": [],
        "members": ["50000000-0000-0000-0000-000000000001"],
        "type": "Security",
    }
    new_group = make_step(numbers.next(), "grant", group, None, made, subject)
    hide = make_step(
        numbers.next(), "grant", group, made, {**made, "hidden": True}, subject, identity=f"<{new_group.id}.guid>"
    )
    pointer = Target("pointer", {"app_id": subject.app_id, "object_id": subject.object_id})
    new_pointer = make_step(numbers.next(), "grant", pointer, None, {"display_name": subject.display_name}, subject)
    scope_state = {
        "recipient_filter": f"MemberOfGroup -eq '<{new_group.id}.distinguished_name>'",
        "recipient_root": None,
        "exclusive": False,
    }
    new_scope = make_step(
        numbers.next(), "grant", Target("management_scope", {"name": name}), None, scope_state, subject
    )
    assigned = {
        "role": "Application Mail.Read",
        "assignee": subject.object_id,
        "enabled": True,
        "scope": {"kind": "management_scope", "name": name},
    }
    assign = make_step(numbers.next(), "grant", Target("role_assignment", {"name": name}), None, assigned, subject)
    held = {"app_id": subject.app_id, "resource": GRAPH, "app_role_id": MAIL_READ}
    permission = {"permission": "Mail.Read"}
    unconsent = make_step(
        numbers.next(), "cutover", Target("consent", held), permission, None, subject, identity=subject.consents[0].id
    )
    unrequest = make_step(numbers.next(), "cutover", Target("request", held), permission, None, subject)
    return [new_group, hide, new_pointer, new_scope, assign, unconsent, unrequest]


def plan_of(*subjects: App, steps: Callable[[App, _Numbers], list[Step]] = rbac_steps) -> PlanFile:
    """A scoping plan for these apps, with the two gates a scoping plan has."""
    numbers = _Numbers()
    plan = Plan(
        purpose="scope",
        tenant=TENANT,
        snapshot_hash="sha256:" + "0" * 64,
        apps=tuple(app_plan(each) for each in subjects),
        stages=(
            Stage(
                "grant",
                "Grant the narrow access",
                tuple(Gate(each.app_id, ("cache",), ("exchange",)) for each in subjects),
            ),
            Stage(
                "cutover",
                "Remove the wide access",
                tuple(Gate(each.app_id, ("cache",), ("exchange", "graph")) for each in subjects),
            ),
        ),
        steps=tuple(step for each in subjects for step in steps(each, numbers)),
    )
    return PlanFile("exoscope/plan@1", plan_hash(plan), plan)


class FakeTenancy:
    """Objects by key. ``faults`` are asked before a write; ``stale`` readings of an object still show what it was."""

    def __init__(self, plan: Plan) -> None:
        self.objects: dict[object, dict[str, Any]] = {}
        self.former: dict[object, State] = {}
        self.consents: dict[object, str] = {}
        self.stale: Counter[object] = Counter()
        self.stale_after_write = 0
        self.writes: Counter[str] = Counter()
        self.landed: Counter[str] = Counter()
        self.calls: list[tuple[str, Filled]] = []
        self.before_write: Callable[[Step], None] = lambda step: None
        self.after_write: Callable[[Step], None] = lambda step: None
        self.before_read: Callable[[Target], None] = lambda target: None
        self.surveys: list[str] = []
        self.survey_answer: Callable[[str], Survey] = lambda app_id: Survey((), ())
        self.evidence_answer: Callable[[str, str], Evidence] = lambda app_id, stage: Evidence(
            Verdict.PROVEN, "as expected"
        )
        self.asked: list[tuple[str, str]] = []
        for step in plan.steps:
            key = states.key_of(step.target)
            if (
                step.before is not None
                and key not in self.objects
                and key not in {states.key_of(each.target) for each in plan.steps[: plan.steps.index(step)]}
            ):
                self.objects[key] = dict(step.before)

    def _yields(self, target: Target) -> dict[str, Any]:
        name = next(iter(target.key.values()), "")
        if target.kind == "group":
            return {
                "distinguished_name": f"CN={name} O'Neil,OU=contoso,DC=example",
                "guid": "60000000-0000-0000-0000-000000000001",
                "external_directory_object_id": "60000000-0000-0000-0000-000000000002",
                "primary_smtp_address": "managed@contoso.com",
            }
        if target.kind == "consent":
            first = f"consent-{int(target.key['app_id'][-12:])}"
            given = self.consents.get(states.key_of(target), first)
            return {"id": given, "resource_id": "70000000-0000-0000-0000-000000000001"}
        if target.kind == "request":
            return {"required_resource_access": [{"resourceAppId": "other", "resourceAccess": []}]}
        return {}

    def read(self, target: Target) -> Observed:
        self.before_read(target)
        key = states.key_of(target)
        state: State = self.objects.get(key)
        if self.stale[key] > 0:
            self.stale[key] -= 1
            state = self.former.get(key)
        own = target.kind == "request" or state is not None
        return Observed(None if state is None else dict(state), self._yields(target) if own else {})

    def write(self, step: Step, call: Filled) -> tuple[str, ...]:
        self.writes[step.id] += 1
        self.calls.append((step.id, call))
        self.before_write(step)
        key = states.key_of(step.target)
        here = self.objects.get(key)
        if step.before is None and here is not None:
            raise AlreadyExists(f"{step.id}: there already")
        if step.after is None and here is None:
            raise ObjectNotFound(f"{step.id}: not there")
        self.former[key] = here
        self.stale[key] = self.stale_after_write
        if step.after is None:
            del self.objects[key]
        else:
            self.objects[key] = dict(step.after)
            self.consents[key] = "new/consent id"
        self.landed[step.id] += 1
        self.after_write(step)
        return (f"request-{step.id}",)

    def survey(self, plan: Plan, app: AppPlan, left: Sequence[Step], known: Mapping[str, str]) -> Survey:
        self.surveys.append(app.app_id)
        return self.survey_answer(app.app_id)

    def evidence(self, plan: Plan, app: AppPlan, stage: Stage, gate: Gate, since: datetime) -> Evidence:
        self.asked.append((app.app_id, stage.id))
        return self.evidence_answer(app.app_id, stage.id)


def once(error: ServiceError, step_id: str) -> Callable[[Step], None]:
    """A hook that raises once, for one step."""
    left = [error]

    def hook(step: Step) -> None:
        if step.id == step_id and left:
            raise left.pop()

    return hook


class Bench:
    """A store in a folder, a clock, a tenancy, and the talk that came by."""

    def __init__(self, state: Path, file: PlanFile, tenancy: FakeTenancy | None = None) -> None:
        self.file = file
        self.clock = HandClock()
        self.tenancy = tenancy or FakeTenancy(file.plan)
        self.events: list[Event] = []
        self.opened = 0
        self.desk = Desk(
            store=Store(state),
            clock=self.clock,
            progress=self.events.append,
            open=self._open,
            operator="80000000-0000-0000-0000-000000000001",
            waits=dict(WAITS),  # type: ignore[arg-type]  # the keys are wait kinds
            lengthen=True,
            patience=Patience(settle=5.0, landing=30.0),
        )

    @contextlib.contextmanager
    def _open(self, plan: Plan) -> Iterator[Opened]:
        self.opened += 1
        yield Opened(self.tenancy, getattr(self.tenancy, "whole", None))


class SnapshotTenancy(FakeTenancy):
    """A tenant that is a snapshot: read by planning's own eyes, changed by planning's own effects.

    ``unseen`` are fields of groups that a snapshot does not hold.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        super().__init__(plan)
        self.snapshot = snapshot
        self.unseen: dict[str, dict[str, Any]] = {}

    @property
    def whole(self) -> Snapshot:
        """What a reading of the whole tenant shows: of apps, those with a service principal."""
        apps = self.snapshot.apps
        if not isinstance(apps, tuple) or all(each.object_id for each in apps):
            return self.snapshot
        return replace(self.snapshot, apps=tuple(each for each in apps if each.object_id))

    def read(self, target: Target) -> Observed:
        self.before_read(target)
        state = states.shown(self.snapshot, target)
        yields: dict[str, Any] = {}
        if target.kind == "group" and state is not None:
            state = {**self.unseen.get(target.key["name"], {}), **state}
            made = states.find_group_named(self.snapshot, target.key["name"])
            assert made is not None
            yields = {
                "distinguished_name": made.distinguished_name,
                "guid": made.guid,
                "external_directory_object_id": made.external_directory_object_id,
                "primary_smtp_address": made.primary_smtp_address,
            }
        if target.kind in registration.KINDS and state is not None:
            owner = states.find_registered(self.snapshot, target.key) if target.kind == "application" else None
            owner = owner or states.find_app(self.snapshot, target.key.get("app_id", ""))
            assert owner is not None or target.kind == "application"
            if target.kind == "application":
                state = {"owner": None, "sign_in_audience": "AzureADMyOrg", **state}
                if owner is not None:
                    yields = {"app_id": owner.app_id, "application_object_id": owner.application_object_id}
            elif owner is not None and target.kind == "service_principal":
                yields = {"object_id": owner.object_id}
            elif owner is not None and isinstance(owner.credentials, tuple):
                yields = {"key_id": owner.credentials[0].key_id}
        if target.kind == "consent":
            owner = states.find_app(self.snapshot, target.key["app_id"])
            assert owner is not None
            yields = {"resource_id": "70000000-0000-0000-0000-000000000001"}
            for consent in owner.consents:
                if (consent.resource, consent.app_role_id) == (target.key["resource"], target.key["app_role_id"]):
                    yields["id"] = consent.id
        if target.kind == "request":
            yields = {"required_resource_access": [{"resourceAppId": "other", "resourceAccess": []}]}
        if target.kind == "access_policy" and state is not None:
            policy = states.find_policy(self.snapshot, target.key)
            assert policy is not None
            yields = {"identity": policy.identity}
        return Observed(state, yields)

    def write(self, step: Step, call: Filled) -> tuple[str, ...]:
        self.writes[step.id] += 1
        self.calls.append((step.id, call))
        self.before_write(step)
        self.snapshot = effect.after(self.snapshot, step.target, step.after)
        if step.target.kind == "group" and step.after is not None:
            self.unseen[step.target.key["name"]] = {
                name: step.after[name] for name in ("alias", "notes", "hidden", "type", "owners")
            }
        self.landed[step.id] += 1
        self.after_write(step)
        return (f"request-{step.id}",)

    def hand_over(self, step: Step, run: str, ends: datetime) -> str:
        self.writes[step.id] += 1
        self.before_write(step)
        self.snapshot = effect.after(self.snapshot, step.target, step.after)
        owner = states.find_app(self.snapshot, step.target.key["app_id"])
        assert owner is not None
        assert isinstance(owner.credentials, tuple)
        self.landed[step.id] += 1
        self.after_write(step)
        return owner.credentials[-1].key_id

    def survey(self, plan: Plan, app: AppPlan, left: Sequence[Step], known: Mapping[str, str]) -> Survey:
        self.surveys.append(app.app_id)
        return compare(app, left, known, self.whole)


class Migrated(SnapshotTenancy):
    """A tenant that is a snapshot, surveyed and planned anew as the real one is."""

    def survey(self, plan: Plan, app: AppPlan, left: Any, known: Any) -> Survey:
        self.surveys.append(app.app_id)
        return compare(app, left, known, self.snapshot, migration=plan if plan.purpose == "migrate" else None)

    def replan(self, plan: Plan, app_id: str) -> bytes:
        assert isinstance(plan.migration, Migration)
        return dump_plan(plan_migration(self.snapshot, [app_id], plan.migration))
