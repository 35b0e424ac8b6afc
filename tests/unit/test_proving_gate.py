"""What else the app reaches, at a gate: only what no later stage takes away and the plan does not say fails it."""

from __future__ import annotations

from typing import Any

import yaml
from msgspec.structs import replace

from exoscope.catalog import permission
from exoscope.intent import loads_intent
from exoscope.model import Consent, Plan, Snapshot
from exoscope.planning import effect, plan_scope
from exoscope.proving.gate import _unplanned
from exoscope.reach import Reach
from planning_tenants import guid, tenant

RBAC = {"app": "omni", "permissions": ["Mail.Read"], "mechanism": "rbac", "scope": {"group": "sales"}}
POLICY = {**RBAC, "permissions": ["Calendars.Read"], "mechanism": "access-policy"}


def planned(consents: list[str], *entries: dict[str, Any]) -> tuple[Snapshot, Plan]:
    snapshot = tenant(
        {
            "mailboxes": ["ada", "bob", "cid"],
            "groups": {"sales": ["ada", "bob"]},
            "apps": {"omni": {"consents": consents}},
        }
    )
    return snapshot, plan_scope(snapshot, loads_intent(yaml.safe_dump({"version": 1, "apps": list(entries)})))


def consented(snapshot: Snapshot, name: str) -> Snapshot:
    known = permission(name)
    assert known is not None
    assert isinstance(snapshot.apps, tuple)
    (app,) = snapshot.apps
    consent = Consent(guid(name), known.resource, known.app_role_id or guid(f"role {name}"), known.name)
    return replace(snapshot, apps=(replace(app, consents=(*app.consents, consent)),))


def test_a_consent_that_a_later_stage_restricts_does_not_fail_an_earlier_gate() -> None:
    snapshot, plan = planned(["Mail.Read", "Calendars.Read"], RBAC, POLICY)
    assert [stage.id for stage in plan.stages] == ["grant", "cutover", "restrict"]
    now = effect.apply_steps(snapshot, [step for step in plan.steps if step.stage != "restrict"])
    assert _unplanned(plan.apps[0], Reach(now), last=False) == ()
    assert _unplanned(plan.apps[0], Reach(now), last=True) == ("leftover-consent",)
    assert _unplanned(plan.apps[0], Reach(effect.apply_steps(snapshot, plan.steps)), last=True) == ()


def test_what_restricts_a_consent_already_counts_at_a_gate_that_does_not_ask_about_it() -> None:
    snapshot, first = planned(["Mail.Read", "Calendars.Read"], RBAC, POLICY)
    restricted = effect.apply_steps(snapshot, [step for step in first.steps if step.stage == "restrict"])
    again = plan_scope(restricted, loads_intent(yaml.safe_dump({"version": 1, "apps": [RBAC, POLICY]})))
    assert [stage.id for stage in again.stages] == ["grant", "cutover"]
    assert _unplanned(again.apps[0], Reach(effect.apply_steps(restricted, again.steps)), last=True) == ()


def test_that_the_app_can_widen_itself_fails_every_gate() -> None:
    snapshot, plan = planned([], RBAC)
    now = Reach(consented(effect.apply_steps(snapshot, plan.steps), "Application.ReadWrite.All"))
    assert _unplanned(plan.apps[0], now, last=False) == ("self-widening",)


def test_a_plan_that_says_the_app_is_not_scoped_does_not_say_it_of_what_came_since() -> None:
    snapshot, plan = planned(["Mail.Read"], {**RBAC, "on-leftover-consent": "keep"})
    assert plan.apps[0].not_scoped_because == ("leftover-consent",)
    now = effect.apply_steps(snapshot, plan.steps)
    assert _unplanned(plan.apps[0], Reach(now), last=True) == ()
    assert _unplanned(plan.apps[0], Reach(consented(now, "full_access_as_app")), last=True) == ("ews",)
