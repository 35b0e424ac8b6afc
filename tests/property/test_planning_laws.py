"""What every plan must keep, over random tenants and intents; runs are simulated with planning.effect."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st

from exoscope.catalog import canonical, implied_by
from exoscope.intent import loads_intent
from exoscope.model import Plan, Snapshot, State, Step
from exoscope.outcome import BadInput, Refused
from exoscope.planning import DoneStep, dump_plan, effect, load_plan, plan_scope, undo_plan
from exoscope.planning.answer import addresses_of
from exoscope.planning.gating import ungated
from exoscope.planning.states import key_of
from exoscope.powershell import fill
from exoscope.proving import of_plan
from exoscope.reach import Reach
from exoscope.running.survey import compare
from planning_tenants import tenant
from strategies.intents import intents, tenants

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking takes longer than reading a small tenant
FAST = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)


# A policy beside an assignment, and a consent that stays: found by chance, and none would look for it every night.
BOTH_MECHANISMS = (
    {
        "mailboxes": ["ada", "bob", "cid", "dan", "eve"],
        "groups": {"sales": ["dan"], "hr": [], "inner": {"members": [], "type": "MailUniversalSecurityGroup"}},
        "apps": {"omni": {"consents": ["Mail.ReadWrite"], "requested": ["Mail.ReadWrite"], "foreign": True}},
        "pointers": ["omni"],
        "scopes": {"Sales people": "MemberOfGroup -eq 'DN(sales)'"},
        "assignments": [],
        "policies": [],
        "organization": {"is_dehydrated": False},
    },
    "version: 1\napps:\n"
    "- {app: omni, permissions: [Mail.Read], mechanism: rbac, scope: {group: sales@contoso.com}, on-leftover-consent: keep}\n"
    "- {app: omni, permissions: [Mail.Read], mechanism: access-policy, scope: {mailboxes: [bob@contoso.com]}, "
    "also-holds: [Mail.ReadWrite]}\n",
)


def planned(given: dict[str, Any], text: str) -> tuple[Snapshot, Plan]:
    """A plan, or the example is thrown away."""
    snapshot = tenant(given)
    try:
        return snapshot, plan_scope(snapshot, loads_intent(text), accept_customization=True)
    except (Refused, BadInput):
        assume(False)
        raise


def simulate(snapshot: Snapshot, steps: tuple[Step, ...]) -> tuple[Snapshot, list[DoneStep]]:
    """Run the steps; what a journal would say of each."""
    known: dict[str, str] = {}
    done = []
    for step in steps:
        before: State = None if step.before is None else fill(step.before, known)
        snapshot, after_known = effect.apply_step(snapshot, step, known)
        after: State = None if step.after is None else fill(step.after, after_known)
        prefix = f"<{step.id}."
        yields = {
            hole.removeprefix(prefix).rstrip(">"): v for hole, v in after_known.items() if hole.startswith(prefix)
        }
        known = after_known
        done.append(DoneStep(step.id, before, after, yields))
    return snapshot, done


def content(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot says, whatever the order of its lists and the ids that services give."""
    return {
        "apps": sorted(
            (
                a.app_id,
                sorted((c.resource, c.app_role_id) for c in a.consents),
                sorted((r.resource, r.app_role_id) for r in a.requested),
            )
            for a in snapshot.apps  # type: ignore[union-attr] # the tenants here are read in full
        ),
        "pointers": sorted((p.app_id, p.object_id) for p in snapshot.service_principals),  # type: ignore[union-attr] # as above
        "scopes": sorted((s.name, s.recipient_filter) for s in snapshot.management_scopes),  # type: ignore[union-attr] # as above
        "assignments": sorted(
            (a.name, a.role, a.assignee, a.enabled, str(a.scope))
            for a in snapshot.role_assignments  # type: ignore[union-attr] # as above
        ),
        "policies": sorted((p.app_id, p.access_right, p.scope.object_id) for p in snapshot.access_policies),  # type: ignore[union-attr] # as above
        "groups": sorted((g.display_name, sorted(g.members or ())) for g in snapshot.groups),  # type: ignore[union-attr] # as above
    }


def is_confirmation(step: Step) -> bool:
    """The hiding of a managed group is planned again each time the group is used: a snapshot does not show it."""
    return step.target.kind == "group" and step.before is not None


@FAST
@given(tenants(), intents())
def test_planning_on_what_the_plan_made_gives_an_empty_plan(given: dict[str, Any], text: str) -> None:
    snapshot, plan = planned(given, text)
    again = plan_scope(effect.apply_steps(snapshot, plan.steps), loads_intent(text))
    assert again.steps == ()
    assert again.stages == ()
    assert [(app.scoped, app.not_scoped_because) for app in again.apps] == [
        (app.scoped, app.not_scoped_because) for app in plan.apps
    ]


@FAST
@given(tenants(), intents(), st.integers(0, 20))
def test_planning_at_any_point_gives_the_remaining_steps(given: dict[str, Any], text: str, stop: int) -> None:
    snapshot, plan = planned(given, text)
    stop = stop % (len(plan.steps) + 1)
    half, _ = simulate(snapshot, plan.steps[:stop])
    again = plan_scope(half, loads_intent(text), accept_customization=True)
    known: dict[str, str] = {}
    whole = snapshot
    remaining = []
    for number, step in enumerate(plan.steps):
        whole, known = effect.apply_step(whole, step, known)
        if number >= stop:
            remaining.append(step)
    assert content(effect.apply_steps(half, again.steps)) == content(whole)
    wanted = {(each.target.kind, each.stage) for each in remaining if not is_confirmation(each)}
    assert {(each.target.kind, each.stage) for each in again.steps if not is_confirmation(each)} == wanted
    assert len([e for e in again.steps if not is_confirmation(e)]) == len(
        [e for e in remaining if not is_confirmation(e)]
    )


@FAST
@given(tenants(), intents())
def test_nothing_is_gained_outside_the_intent_and_nothing_intended_is_lost(given: dict[str, Any], text: str) -> None:
    snapshot, plan = planned(given, text)
    reach = Reach(snapshot)
    everyone = reach.mailboxes.addresses()
    for app in plan.apps:
        names = {name for entry in app.entries for name in entry.permissions} | set(app.permissions)
        for name in names:
            wanted = {
                address
                for entry in app.entries
                if any(canonical(wide) in map(canonical, entry.permissions) for wide in implied_by(name))
                for address in addresses_of(entry.expected, everyone)
            }
            before = set(reach.sets(app.app_id, name)[0])
            world, known = snapshot, {}
            for step in plan.steps:
                world, known = effect.apply_step(world, step, known)
                now = set(Reach(world).sets(app.app_id, name)[0])
                assert now <= before | wanted
                assert before & wanted <= now


@FAST
@given(tenants(), intents(), st.integers(0, 20))
@example(*BOTH_MECHANISMS, 5)
def test_undoing_a_run_brings_the_tenant_back(given: dict[str, Any], text: str, stop: int) -> None:
    snapshot, plan = planned(given, text)
    stop = stop % (len(plan.steps) + 1)
    made, done = simulate(snapshot, plan.steps[:stop])
    try:
        undo = undo_plan(plan, done, made)
    except Refused as refused:
        # Of two policies beside a consent that stays, one goes first: for a moment the other alone decides whom it reaches.
        policies = [each for each in touched(plan, done) if each.kind == "access_policy"]
        assert refused.code == "unproven" and len(policies) > 1, refused.message
        return
    assert content(effect.apply_steps(made, undo.steps)) == content(snapshot)
    assert undo.purpose == "undo"
    assert {key_of(step.target) for step in undo.steps} <= {key_of(each) for each in touched(plan, done)}


def touched(plan: Plan, done: list[DoneStep]) -> list[Any]:
    known = {f"<{each.step_id}.{name}>": value for each in done for name, value in each.yields.items()}
    from msgspec.structs import replace

    return [
        replace(step.target, key={k: str(v) for k, v in fill(step.target.key, known).items()})
        for step in plan.steps[: len(done)]
    ]


@FAST
@given(tenants(), intents())
def test_a_plan_file_reads_back_as_the_same_plan(given: dict[str, Any], text: str) -> None:
    _, plan = planned(given, text)
    data = dump_plan(plan)
    assert load_plan(data).plan == plan
    assert dump_plan(load_plan(data).plan) == data


@FAST
@given(tenants(), intents())
def test_a_tenant_that_did_not_move_stops_no_app_at_any_stage(given_tenant: dict[str, Any], text: str) -> None:
    snapshot, plan = planned(given_tenant, text)
    stages = [stage.id for stage in plan.stages]
    for number in range(len(stages) + 1):
        done = tuple(step for step in plan.steps if step.stage in stages[:number])
        left = plan.steps[len(done) :]
        known: dict[str, str] = {}
        now = snapshot
        for step in done:
            now, known = effect.apply_step(now, step, known)
        for app in plan.apps:
            survey = compare(app, [step for step in left if step.app_id in (None, app.app_id)], known, now)
            assert (survey.notes, survey.moved) == ((), ())
            if not left:
                assert of_plan(app, Reach(now)).not_scoped_because == app.not_scoped_because


@FAST
@given(tenants(), intents())
def test_every_plan_has_the_gates_it_must_have(given_tenant: dict[str, Any], text: str) -> None:
    _, plan = planned(given_tenant, text)
    assert list(ungated(plan)) == []
