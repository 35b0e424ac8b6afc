"""Every moment of a run, over states put together by hand: what waits too short would have shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.intent import loads_intent
from exoscope.model import Plan, ServicePrincipal, Snapshot
from exoscope.planning import plan_scope
from exoscope.planning.effect import apply_step
from exoscope.planning.states import listed
from exoscope.reach import Reach
from exoscope.rehearsing import watching
from exoscope.rehearsing.watching import (
    Delays,
    Made,
    Seen,
    bearing_on,
    changed_reach,
    moments_of,
    not_as_planned,
    watch,
)
from exoscope.twin.tenant import Version
from exoscope.twin.view import View
from planning_tenants import tenant

DELAYS = Delays(propagation=8.0, lifetime=20.0)
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CONSENTED = tenant(
    {
        "mailboxes": ["ada", "bob", "cyd", "dan"],
        "groups": {"sales": ["ada", "bob"]},
        "apps": {"omni": {"consents": ["Mail.Read"], "requested": ["Mail.Read"]}},
    }
)
BARE = replace(CONSENTED, apps=tuple(replace(app, consents=(), requested=()) for app in CONSENTED.apps))  # type: ignore[union-attr]  # the list is there


def planned(snapshot: Snapshot, mechanism: str) -> Plan:
    text = (
        "version: 1\napps:\n  - app: omni\n    permissions: [Mail.Read]\n"
        f"    mechanism: {mechanism}\n    scope: {{group: sales@contoso.com}}\n"
    )
    plan = plan_scope(snapshot, loads_intent(text, "intent"))
    assert plan.steps
    return plan


def run(snapshot: Snapshot, plan: Plan, pauses: dict[str, float]) -> tuple[list[Version], list[Made]]:
    """The plan's steps a second apart, and before each stage so many seconds more."""
    states, made, yields = [Version(datetime.min.replace(tzinfo=UTC), "the beginning", View(snapshot))], [], {}
    at, stage = START, plan.steps[0].stage
    for step in plan.steps:
        at += timedelta(seconds=1 + (pauses.get(step.stage, 0.0) if step.stage != stage else 0.0))
        stage = step.stage
        snapshot, yields = apply_step(snapshot, step, yields)
        states.append(Version(at, step.title, View(snapshot)))
        made.append(Made(step, len(states) - 1, len(states)))
    return states, made


def told(found: Any) -> set[tuple[str, str]]:
    return {(each.permission, each.mailbox) for each in found}


def seen(snapshot: Snapshot, mechanism: str, **pauses: float) -> Seen:
    plan = planned(snapshot, mechanism)
    states, made = run(snapshot, plan, pauses)
    return watch(plan, states, made, DELAYS)


def test_with_its_waits_nothing_is_ever_wrong() -> None:
    found = seen(CONSENTED, "rbac", cutover=8.0)
    assert (found.gained, found.lost, found.disagreed) == ((), (), ())
    assert found.moments > 5
    assert found.decisions >= found.moments


def test_a_consent_removed_before_the_cache_has_the_scope_loses_mailboxes() -> None:
    found = seen(CONSENTED, "rbac", cutover=2.0)
    assert told(found.lost) >= {("Mail.Read", "ada@contoso.com"), ("Mail.Read", "bob@contoso.com")}
    assert not any("cyd" in each.mailbox for each in found.lost), "that one is to be lost"
    assert found.gained == ()
    assert "consent" in found.lost[0].after


def test_a_consent_given_before_the_policy_acts_opens_the_others() -> None:
    plan = planned(BARE, "access-policy")
    stages = list(dict.fromkeys(step.stage for step in plan.steps))
    states, made = run(BARE, plan, dict.fromkeys(stages[1:], 8.0))
    assert watch(plan, states, made, DELAYS).gained == ()
    states, made = run(BARE, plan, {})
    found = watch(plan, states, made, DELAYS)
    assert {("Mail.Read", "cyd@contoso.com"), ("Mail.Read", "dan@contoso.com")} <= told(found.gained)
    assert not any("ada" in each.mailbox for each in found.gained), "that one is intended"


def test_a_token_acts_until_it_ends() -> None:
    plan = planned(CONSENTED, "rbac")
    states, made = run(CONSENTED, plan, {"cutover": 8.0})
    removed = next(number for number, each in enumerate(made, 1) if each.step.target.kind == "consent")
    met = moments_of(states, made, DELAYS)
    last = states[-1]
    assert any(each.exchange is last and each.tokens is states[removed - 1] for each in met), (
        "an older token, the last state"
    )
    quick = moments_of(states, made, Delays(propagation=8.0, lifetime=0.5))
    assert not any(each.exchange is last and each.tokens is states[removed - 1] for each in quick)


def test_an_assignment_to_a_name_that_two_pointers_share_may_be_somebody_elses() -> None:
    shared = tenant(
        {
            "mailboxes": ["ada", "bob"],
            "apps": {"omni": {}, "other": {}},
            "pointers": ["omni", "other"],
            "assignments": [
                {"name": "by hand", "role": "Application Mail.Read", "app": "omni", "scope": "organization"}
            ],
        }
    )
    pointers = tuple(replace(each, display_name="Connector") for each in listed(shared, "service_principals"))
    by_name = tuple(replace(each, assignee="Connector") for each in listed(shared, "role_assignments"))
    shared = replace(shared, service_principals=pointers, role_assignments=by_name)
    app = listed(shared, "apps")[0]
    found = Reach(bearing_on(shared, app)).sets(app, "Mail.Read")
    assert found[0].addresses() == ()
    assert found[1].addresses() == ("ada@contoso.com", "bob@contoso.com"), "whose it is cannot be told"


def test_a_pointer_that_changes_alone_is_looked_at_anew() -> None:
    """Its switch makes what a consent gives unknown; nothing else of the app differs."""
    plan = planned(CONSENTED, "rbac")
    app = listed(CONSENTED, "apps")[0]
    pointer = ServicePrincipal(app.app_id, app.object_id, "omni", override_enforce_exo_app_rbac_permissions=False)
    states, made = [Version(datetime.min.replace(tzinfo=UTC), "the beginning", View(CONSENTED))], []
    for number, override in enumerate((False, True), 1):
        switched = replace(pointer, override_enforce_exo_app_rbac_permissions=override)
        view = View(replace(CONSENTED, service_principals=(switched,)), states[-1].view)
        states.append(Version(START + timedelta(seconds=30 * number), f"override {override}", view))
        made.append(Made(plan.steps[number], number, number + 1))
    found = watch(plan, states, made, DELAYS)
    assert told(found.lost) >= {("Mail.Read", "ada@contoso.com"), ("Mail.Read", "bob@contoso.com")}
    assert found.lost[0].after == plan.steps[2].title
    assert found.disagreed == ()


ONE = {"name": "one", "role": "Application Mail.Read", "app": "omni", "scope": "scope:S"}
CONSENT: dict[str, Any] = {"apps": {"omni": {"consents": ["Mail.Read"]}}}
PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "management_scopes": ({}, {"scopes": {"S": "MemberOfGroup -eq 'DN(hr)'"}}),
    "groups": ({}, {"groups": {"sales": ["bob"], "hr": ["dan"]}}),
    "administrative_units": ({}, {"units": {"berlin": ["ada"]}}),
    "role_assignments": ({"assignments": [ONE]}, {"assignments": [{**ONE, "enabled": False}]}),
    "organization": (CONSENT, {"organization": {"enforce_exo_app_rbac_permissions": True}}),
    "access_policies": (CONSENT, {"policies": [{"app": "omni", "right": "RestrictAccess", "group": "hr"}]}),
    "roles": ({"roles": {"Application Mail.Read": ["Mail.Read"]}}, {"roles": {"Application Mail.Read": []}}),
}
"""Parts of a snapshot that a run may change, or that somebody else changes meanwhile: a tenant, and what is different then."""


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_tenant_that_changes_alone_is_looked_at_anew(part: str) -> None:
    """What a state is known by must hold everything that bears on an app: else an older state's answers stand for it."""
    first, then = PARTS[part]
    usual: dict[str, Any] = {
        "mailboxes": ["ada", "bob", "cyd", "dan"],
        "groups": {"sales": ["ada", "bob"], "hr": ["dan"]},
        "units": {"berlin": ["dan"]},
        "apps": {"omni": {}},
        "pointers": ["omni"],
        "scopes": {"S": "MemberOfGroup -eq 'DN(sales)'"},
        "assignments": [
            ONE,
            {"name": "two", "role": "Application Mail.Read", "app": "omni", "scope": "unit:berlin"},
        ],
        **first,
    }
    before = tenant(usual)
    after = replace(before, **{part: getattr(tenant({**usual, **then}), part)})
    app = listed(before, "apps")[0].app_id
    assert Reach(before).sets(app, "Mail.Read") != Reach(after, like=Reach(before)).sets(app, "Mail.Read")
    plan = planned(CONSENTED, "rbac")
    states = [Version(datetime.min.replace(tzinfo=UTC), "the beginning", View(before))]
    made = []
    for number, snapshot in enumerate((before, after), 1):
        states.append(Version(START + timedelta(seconds=30 * number), f"state {number}", View(snapshot)))
        made.append(Made(plan.steps[number], number, number + 1))
    found = watch(plan, states, made, DELAYS)
    assert found.decisions > 0
    assert found.disagreed == (), "the twin decides by the state itself"


def test_what_another_app_does_is_not_this_apps() -> None:
    plan = planned(CONSENTED, "rbac")
    states, made = run(CONSENTED, plan, {"cutover": 8.0})
    others = [each._replace(step=replace(each.step, app_id="00000000-0000-0000-0000-000000000001")) for each in made]
    assert len(moments_of(states, [], DELAYS)) == 1
    assert watch(plan, states, others, DELAYS).moments == 1


def test_an_evaluator_that_says_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = watching.decide_with_roles

    def wrong(view: Any, object_id: str, app_id: str, roles: Any, resource: str, permission: str, mailbox: Any) -> Any:
        outcome = real(view, object_id, app_id, roles, resource, permission, mailbox)
        return replace(outcome, answer="denied") if mailbox.display_name == "ada" else outcome

    monkeypatch.setattr(watching, "decide_with_roles", wrong)
    found = seen(CONSENTED, "rbac", cutover=8.0)
    assert {mailbox for _, mailbox in told(found.disagreed)} == {"ada@contoso.com"}


def test_few_decisions_are_a_seeded_draw() -> None:
    plan = planned(CONSENTED, "rbac")
    states, made = run(CONSENTED, plan, {"cutover": 8.0})
    moments = watch(plan, states, made, DELAYS).moments
    few = watch(plan, states, made, DELAYS, most=moments)
    assert few.decisions == moments, "one mailbox at every moment"
    assert few == watch(plan, states, made, DELAYS, most=moments)


def test_the_end_is_held_against_the_plan() -> None:
    plan = planned(CONSENTED, "rbac")
    states, _ = run(CONSENTED, plan, {})
    assert not_as_planned(plan, states[-1].view.snapshot) == ()
    before_the_removal = states[-3].view.snapshot
    assert {each.mailbox for each in not_as_planned(plan, before_the_removal)} == {"cyd@contoso.com", "dan@contoso.com"}
    assert changed_reach(CONSENTED, states[-1].view.snapshot) == (plan.apps[0].app_id,)
    assert changed_reach(CONSENTED, CONSENTED) == ()
    assert changed_reach(CONSENTED, replace(CONSENTED, apps=())) == (plan.apps[0].app_id,)
