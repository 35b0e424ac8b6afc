"""What is planned, refused and said: tests/data/plan/*.yaml, one case each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from exoscope import outcome
from exoscope.intent import loads_intent
from exoscope.model import Plan, Step
from exoscope.planning import plan_scope
from exoscope.planning.answer import addresses_of
from exoscope.planning.planner import moments
from exoscope.reach import Reach
from planning_tenants import address, guid, tenant

DATA = Path(__file__).parents[1] / "data" / "plan"
BASE: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "eve"],
    "groups": {"sales": ["ada", "bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}},
}
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(DATA.glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]
KEYS = {"name", "tenant", "intent", "accept_customization", "stages", "gates", "scoped", "token", "reach", "notes"}
KEYS |= {"tenant_wide", "expected", "refused", "says", "error"}
REFUSALS = {
    "leftover-consent",
    "enforcement-unknown",
    "extra-permission",
    "group-missing",
    "scope-shared",
    "membership-unread",
    "name-clash",
    "nested-lost",
    "unscoped-beside",
    "unknown-permission",
    "no-role",
    "not-governed",
    "not-customized",
    "self-widening",
}


def label(step: Step) -> str:
    sign = "+" if step.before is None else "-" if step.after is None else "~"
    state = step.after or step.before or {}
    detail = state.get("role") or state.get("permission")
    return f"{sign}{step.target.kind}" + (f" {detail}" if detail else "")


def intent_text(entries: list[dict[str, Any]]) -> str:
    filled = [{"mechanism": "rbac", **entry} for entry in entries]
    return yaml.safe_dump({"version": 1, "apps": filled}, sort_keys=False)


def run(case: dict[str, Any]) -> Plan:
    snapshot = tenant({**BASE, **case.get("tenant", {})})
    intent = loads_intent(intent_text(case["intent"]).replace("apps:", "apps:", 1))
    return plan_scope(snapshot, intent, accept_customization=case.get("accept_customization", False))


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    assert not set(case) - KEYS
    if "error" in case:
        with pytest.raises(getattr(outcome, case["error"])) as caught:
            run(case)
        assert all(text in caught.value.message for text in case.get("says", ())), caught.value.message
        return
    refused = {guid(f"{app} app"): code for app, code in case.get("refused", {}).items()}
    try:
        plan = run(case)
    except outcome.Refused as error:
        assert {each.app: each.code for each in error.refusals} == refused, error.refusals
        said = " ".join(each.message for each in error.refusals)
        assert all(text in said for text in case.get("says", ())), said
        return
    assert {each.app: each.code for each in plan.refusals} == refused
    check_plan(case, plan)


def check_plan(case: dict[str, Any], plan: Plan) -> None:
    if "stages" in case:
        assert {s.id: [label(e) for e in plan.steps if e.stage == s.id] for s in plan.stages} == case["stages"]
    if "gates" in case:
        gates = {s.id: " / ".join((" ".join(g.waits), " ".join(g.evidence))) for s in plan.stages for g in s.gates}
        assert gates == case["gates"]
    app = plan.apps[0]
    if "scoped" in case:
        assert (app.scoped or list(app.not_scoped_because)) == case["scoped"]
    if "token" in case:
        assert app.token_wait == case["token"]
    if "tenant_wide" in case:
        assert list(app.tenant_wide) == case["tenant_wide"]
    for text in case.get("notes", ()):
        assert any(text in note for note in app.notes), app.notes
    if "expected" in case:
        assert [list(entry.expected.addresses) for entry in app.entries] == [[address(n) for n in case["expected"]]]
    snapshot = tenant({**BASE, **case.get("tenant", {})})
    everyone = Reach(snapshot).mailboxes.addresses()
    for permission, parts in case.get("reach", {}).items():
        for part, names in parts.items():
            got = addresses_of(getattr(app.permissions[permission], part), everyone)
            assert list(got) == [address(name) for name in names], (permission, part)


def test_every_stable_refusal_has_a_case() -> None:
    seen = {code for param in CASES for code in param.values[0].get("refused", {}).values()}
    assert seen >= REFUSALS - {"scope-shared"}, (
        REFUSALS - seen
    )  # scope-shared needs our own name: test_planning_objects


def test_a_plan_is_the_same_whenever_the_tenant_was_read() -> None:
    from datetime import UTC, datetime

    from exoscope.planning import plan_hash

    snapshot = tenant(BASE)
    later = msgspec.structs.replace(snapshot, read_at=datetime(2027, 1, 1, tzinfo=UTC))
    case = next(param.values[0] for param in CASES)
    intent = loads_intent(intent_text([{"app": "omni", "permissions": ["Mail.Read"], "scope": {"group": "sales"}}]))
    assert plan_hash(plan_scope(snapshot, intent)) == plan_hash(plan_scope(later, intent))
    assert case["name"]


def test_a_plan_that_breaks_an_invariant_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "violations", lambda *_: ("in stage grant Mail.Read could reach ceo@contoso.com",))
    intent = loads_intent(intent_text([{"app": "omni", "permissions": ["Mail.Read"], "scope": {"group": "sales"}}]))
    with pytest.raises(outcome.Refused) as caught:
        plan_scope(tenant(BASE), intent)
    assert [each.code for each in caught.value.refusals] == ["unproven"]
