"""What every migration must keep, over random tenants: nesting, circles, deny, policies for every app, unreadable parts."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from msgspec import UnsetType

from exoscope import opath
from exoscope.catalog import permission
from exoscope.model import AcceptCode, Accepted, App, Migration, Nested, Plan, Snapshot
from exoscope.outcome import Refused, Unreadable
from exoscope.planning import DoneStep, dump_plan, effect, load_plan, undo_plan
from exoscope.planning.migration import plan_migration
from exoscope.powershell import fill
from exoscope.reach import Reach
from strategies.migrations import tenants

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
FAST = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
CODES: tuple[AcceptCode, ...] = ("deny-fails-open", "no-role", "legacy-consent", "reconsent")
NESTED: tuple[Nested, ...] = ("auto", "auto", "filter", "group")
UNKNOWN = {
    "consent-mismatch",
    "deny-unreadable",
    "dynamic-group",
    "enforcement-unknown",
    "membership-unread",
    "policy-invalid",
    "policy-scope-missing",
    "reach-unknown",
}


def accepting(snapshot: Snapshot, **given: Any) -> Migration:
    """Everything that can be accepted is, so that only what is unknown is refused."""
    apps = snapshot.apps if isinstance(snapshot.apps, tuple) else ()
    return Migration(accept=tuple(Accepted(code, app.app_id) for app in apps for code in CODES), **given)


def planned(snapshot: Snapshot, asked: Migration) -> Plan:
    """A plan, or the example is thrown away."""
    try:
        return plan_migration(snapshot, (), asked)
    except (Refused, Unreadable):
        assume(False)
        raise


def governed_of(app: App) -> list[str]:
    names = [permission(each.permission, each.resource) for each in app.consents]
    return [each.name for each in names if each is not None and each.governed]


@FAST
@given(tenants(), st.sampled_from(NESTED), st.booleans())
def test_reach_before_is_reach_after_and_at_every_step(given: Snapshot, nested: Nested, compact: bool) -> None:
    plan = planned(given, accepting(given, nested=nested, compact=compact))
    before = Reach(given)
    for app in plan.apps:
        names = {*app.permissions, *before.held(before.find_app(app.app_id))}
        then = {name: before.sets(app.app_id, name) for name in names if known_on_mailboxes(name)}
        world, known = given, {}
        for step in plan.steps:
            world, known = effect.apply_step(world, step, known)
            now = Reach(world, like=before)
            for name, (allowed, unknown) in then.items():
                sure, perhaps = now.sets(app.app_id, name)
                # in the order of the steps nothing is gained, and nothing lost: roles come before consents go
                assert set(sure) | set(perhaps) <= set(allowed) | set(unknown), (step.title, name)
                assert set(allowed) <= set(sure), (step.title, name)


MADE_AHEAD = ("pointer", "group", "management_scope")
"""What changes no answer before something uses it; made whatever else acts, since what uses it could not be made without."""


@FAST
@given(tenants(), st.sampled_from(NESTED), st.integers(0, 3), st.lists(st.booleans(), min_size=16, max_size=16))
def test_no_moment_is_wider_or_narrower(given: Snapshot, nested: Nested, place: int, acts: list[bool]) -> None:
    """Within a stage any of its changes may act or not: the cache and older tokens lag, whatever the order of the steps."""
    plan = planned(given, accepting(given, nested=nested))
    stage = ("baseline", "overlap", "cutover", "finish")[place]
    order = [each.id for each in plan.stages]
    before = Reach(given)
    for app in plan.apps:
        own = [each for each in plan.steps if each.app_id == app.app_id]
        reached = order[: order.index(stage)] if stage in order else order
        here = [each for each in own if each.stage == stage]
        chosen = [each for each, on in zip(here, acts * 2, strict=False) if on or each.target.kind in MADE_AHEAD]
        world, known = given, {}
        for step in (each for each in own if each.stage in reached or each in chosen):
            world, known = effect.apply_step(world, step, known)
        now = Reach(world, like=before)
        for name in app.permissions:
            allowed, unknown = before.sets(app.app_id, name)
            sure, perhaps = now.sets(app.app_id, name)
            assert set(sure) | set(perhaps) <= set(allowed) | set(unknown)
            assert set(allowed) <= set(sure)


def known_on_mailboxes(name: str) -> bool:
    known = permission(name)
    return known is not None and known.about in ("mailbox", "protocol")


@FAST
@given(tenants())
def test_an_app_is_refused_as_unknown_exactly_where_something_is_unknown(given: Snapshot) -> None:
    asked = accepting(given)
    try:
        refusals = plan_migration(given, (), asked).refusals
    except Refused as refused:
        refusals = refused.refusals
    except Unreadable:
        assume(False)
        raise
    reach = Reach(given)
    refused_as_unknown = {each.app for each in refusals if each.code in UNKNOWN}
    assert isinstance(given.apps, tuple)
    for app in given.apps:
        if not governed_of(app) or not counted(given, app):
            continue
        doubts = [name for name in governed_of(app) if reach.sets(app, name)[1]]
        unclear = [each for each in counted(given, app) if reach.policy_members(each).unknown]
        if doubts or unclear or reach.enforcement_doubt(app):
            assert app.app_id in {each.app for each in refusals}, (doubts, unclear)
        elif app.app_id in refused_as_unknown:
            told = next(each for each in refusals if each.app == app.app_id)
            assert (told.code, "root" in told.message or "not read" in told.message) == ("reach-unknown", True), told


def counted(snapshot: Snapshot, app: App) -> list[Any]:
    policies = snapshot.access_policies if isinstance(snapshot.access_policies, tuple) else ()
    return [each for each in policies if each.app_id.casefold() in ("*", app.app_id.casefold())]


@FAST
@given(tenants(), st.sampled_from(NESTED))
def test_filters_read_back_as_the_same_meaning_and_policies_for_every_app_stay(given: Snapshot, nested: Nested) -> None:
    plan = planned(given, accepting(given, nested=nested))
    for step in plan.steps:
        if step.target.kind == "management_scope" and step.after is not None:
            text = step.after["recipient_filter"]
            assert str(opath.parse(text)) == text
            assert "PrimarySmtpAddress" not in text
            assert opath.scope_problem(opath.parse(text.replace("<", "CN=x").replace(">", ""))) is None
        if step.target.kind == "access_policy":
            assert step.target.key["app_id"] != "*"
            assert step.stage == "finish"
            assert step.after is None


@FAST
@given(tenants(), st.integers(0, 30))
def test_undo_from_any_step_brings_reach_back(given: Snapshot, stop: int) -> None:
    plan = planned(given, accepting(given))
    stop = stop % (len(plan.steps) + 1)
    world, done = simulate(given, plan, stop)
    undo = undo_plan(plan, done, world, before=given)
    back = Reach(effect.apply_steps(world, undo.steps))
    before = Reach(given)
    for app in plan.apps:
        for name in app.permissions:
            assert set(back.sets(app.app_id, name)[0]) == set(before.sets(app.app_id, name)[0])


def simulate(snapshot: Snapshot, plan: Plan, stop: int) -> tuple[Snapshot, list[DoneStep]]:
    """Run the first steps; what a journal would say of each."""
    known: dict[str, str] = {}
    done = []
    for step in plan.steps[:stop]:
        before = None if step.before is None else fill(step.before, known)
        snapshot, after_known = effect.apply_step(snapshot, step, known)
        after = None if step.after is None else fill(step.after, after_known)
        prefix = f"<{step.id}."
        yields = {
            hole.removeprefix(prefix).rstrip(">"): v for hole, v in after_known.items() if hole.startswith(prefix)
        }
        known = after_known
        done.append(DoneStep(step.id, before, after, yields))
    return snapshot, done


@FAST
@given(tenants(), st.integers(0, 30))
def test_planned_anew_at_any_point_the_rest_remains(given: Snapshot, stop: int) -> None:
    """The state folder is lost: a fresh snapshot plans the remaining steps, and ends where the first plan would have."""
    asked = accepting(given)
    plan = planned(given, asked)
    assume(plan.steps)
    stop = stop % (len(plan.steps) + 1)
    half, _ = simulate(given, plan, stop)
    whole, _ = simulate(given, plan, len(plan.steps))
    refused_before = {each.app for each in plan.refusals}
    try:
        again = plan_migration(half, (), asked)
    except Refused as refused:
        refusals, steps = refused.refusals, ()
    else:
        refusals, steps = again.refusals, again.steps
    more = {each.app for each in refusals} - refused_before
    if more:
        # within a stage: a pointer replaced in part, or some of several policies removed (the others would allow less);
        # and roles that gave more than the policies all along are no sign of a migration half done
        begun = {each.app_id for each in plan.steps[:stop]}
        replaced = {each.app_id for each in plan.steps if each.target.kind == "pointer" and each.after is None}
        finishing = [each.app_id for each in plan.steps if each.stage == "finish"]
        several = {each for each in finishing if finishing.count(each) > 1}
        wider = {"org-wide-assignment", "wider-assignment", "unknown-role", "ews"}
        wide = {each.app_id for each in plan.apps if wider & set(each.not_scoped_because)}
        assert more <= begun & (replaced | several | wide), refusals
        return
    end = effect.apply_steps(half, steps)
    for app in plan.apps:
        for name in app.permissions:
            assert set(Reach(end).sets(app.app_id, name)[0]) == set(Reach(whole).sets(app.app_id, name)[0])
    left = {(each.app_id, each.scope.object_id) for each in listed(end) if each.app_id != "*"}
    planned_left = {(each.app_id, each.scope.object_id) for each in listed(whole) if each.app_id != "*"}
    assert left == planned_left


def listed(snapshot: Snapshot) -> tuple[Any, ...]:
    assert isinstance(snapshot.access_policies, tuple)
    return snapshot.access_policies


@FAST
@given(tenants())
def test_the_same_tenant_gives_the_same_plan_and_a_file_reads_back(given: Snapshot) -> None:
    asked = accepting(given)
    plan = planned(given, asked)
    assert dump_plan(plan_migration(given, (), asked)) == dump_plan(plan)
    assert load_plan(dump_plan(plan)).plan == plan
    assert not isinstance(plan.migration, UnsetType)
