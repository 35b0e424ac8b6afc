"""What a migration derives, plans and refuses: tests/data/migration/*.yaml, one case each, with why and its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import UnsetType

from exoscope import opath, outcome
from exoscope.model import Accepted, AcceptedLoss, Migration, Plan, Snapshot, Step
from exoscope.planning import dump_plan, load_plan
from exoscope.planning.answer import addresses_of
from exoscope.planning.effect import apply_steps
from exoscope.planning.migration import plan_migration
from exoscope.reach import Reach
from planning_tenants import address, guid, named, tenant

DATA = Path(__file__).parents[1] / "data" / "migration"
BASE: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "eve"],
    "groups": {"sales": ["ada", "bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}},
    "policies": [{"app": "omni", "group": "sales"}],
}
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(DATA.glob("*.yaml"))
    for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]
KEYS = {
    "name",
    "why",
    "source",
    "tenant",
    "ask",
    "apps",
    "filter",
    "managed",
    "roles",
    "stages",
    "gates",
    "refused",
    "says",
}
KEYS |= {"findings", "notes", "reach", "error", "scoped", "entries", "token"}
REFUSALS = {
    "app-unread",
    "consent-mismatch",
    "deny-fails-open",
    "deny-unreadable",
    "dynamic-group",
    "enforcement-unknown",
    "legacy-consent",
    "membership-unread",
    "name-clash",
    "nested-groups",
    "nested-inexact",
    "no-policy",
    "no-role",
    "not-customized",
    "policy-invalid",
    "policy-scope-missing",
    "policy-wildcard-unknown-app",
    "reach-unknown",
    "scope-differs",
    "scope-shared",
    "stale-pointer",
    "unproven",
    "wider-assignment",
}


def label(step: Step) -> str:
    sign = "+" if step.before is None else "-" if step.after is None else "~"
    state = step.after or step.before or {}
    detail = state.get("role") or state.get("permission") or step.target.key.get("access_right")
    return f"{sign}{step.target.kind}" + (f" {detail}" if detail else "")


def asked(given: dict[str, Any]) -> Migration:
    def app(text: str) -> str:
        return guid(f"{text} app")

    accept = [each.split(":") for each in given.get("accept", ())]
    lost = [each.split(":") for each in given.get("accept_loss", ())]
    plain = {key: value for key, value in given.items() if key not in ("accept", "accept_loss")}
    return Migration(
        **plain,
        accept=tuple(Accepted(code, app(name)) for code, name in accept),
        accept_loss=tuple(AcceptedLoss(app(name), address(box)) for name, box in lost),
    )


def given(case: dict[str, Any]) -> Snapshot:
    return tenant({**BASE, **case.get("tenant", {})})


def run(case: dict[str, Any]) -> Plan:
    return plan_migration(given(case), case.get("apps", ()), asked(case.get("ask", {})))


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    assert not set(case) - KEYS
    assert case["why"]
    assert case["source"]
    if "error" in case:
        with pytest.raises(getattr(outcome, case["error"])) as caught:
            run(case)
        assert all(text in caught.value.message for text in case.get("says", ())), caught.value.message
        return
    refused = {guid(f"{app} app"): code for app, code in case.get("refused", {}).items()}
    try:
        plan = run(case)
    except outcome.Refused as error:
        check_refused(case, refused, error.refusals)
        return
    check_refused(case, refused, plan.refusals)
    check_plan(case, plan)
    check_equal(case, plan)


def check_refused(case: dict[str, Any], refused: dict[str, str], refusals: tuple[outcome.Refusal, ...]) -> None:
    assert {each.app: each.code for each in refusals} == refused, refusals
    said = " ".join(each.message for each in refusals)
    assert all(text in said for text in case.get("says", ())), said


def check_plan(case: dict[str, Any], plan: Plan) -> None:
    assert load_plan(dump_plan(plan)).plan == plan
    if "stages" in case:
        assert {s.id: [label(e) for e in plan.steps if e.stage == s.id] for s in plan.stages} == case["stages"]
    if "gates" in case:
        gates = {s.id: " / ".join((" ".join(g.waits), " ".join(g.evidence))) for s in plan.stages for g in s.gates[:1]}
        assert gates == case["gates"]
    made = [each.after for each in plan.steps if each.target.kind == "management_scope" and each.after]
    if "filter" in case:
        assert [each["recipient_filter"] for each in made] == [named(case["filter"])]
        assert opath.same(opath.parse(made[0]["recipient_filter"]), opath.parse(named(case["filter"])))
    if "managed" in case:
        groups = [each.after for each in plan.steps if each.target.kind == "group" and each.before is None]
        assert [sorted(each["members"]) for each in groups if each] == [sorted(guid(box) for box in case["managed"])]
    if "roles" in case:
        given_roles = [e.after["role"] for e in plan.steps if e.target.kind == "role_assignment" and e.after]
        assert given_roles == case["roles"]
    if "findings" in case:
        assert not isinstance(plan.findings, UnsetType)
        assert sorted({each.code for each in plan.findings}) == sorted(case["findings"])
    notes = [note for each in plan.apps for note in each.notes]
    assert not isinstance(plan.findings, UnsetType)
    notes += [each.message for each in plan.findings]
    for text in case.get("notes", ()):
        assert any(text in note for note in notes), notes
    if "scoped" in case:
        assert (plan.apps[0].scoped or list(plan.apps[0].not_scoped_because)) == case["scoped"]
    if "token" in case:
        assert plan.apps[0].token_wait == case["token"]
    if "entries" in case:
        assert [f"{e.scope.kind}: {' '.join(e.permissions)}" for e in plan.apps[0].entries] == case["entries"]


def check_equal(case: dict[str, Any], plan: Plan) -> None:
    """Reach after is what the case says, and (but for what it says is lost) what it was before."""
    snapshot = given(case)
    before, after = Reach(snapshot), Reach(apply_steps(snapshot, plan.steps))
    everyone = before.mailboxes.addresses()
    for app in plan.apps:
        if not app.object_id:
            continue
        for name, reach in app.permissions.items():
            then, now = (set(each.sets(app.app_id, name)[0]) for each in (before, after))
            assert set(addresses_of(reach.before, everyone)) == then
            assert set(addresses_of(reach.after, everyone)) == now
            assert now <= then
            wanted = case.get("reach", {}).get(name)
            if wanted is not None:
                assert sorted(now) == sorted(address(box) for box in wanted), name
            if not case.get("ask", {}).get("also_scope"):
                assert now == then, name


def test_every_stable_refusal_has_a_case() -> None:
    seen = {code for param in CASES for code in param.values[0].get("refused", {}).values()}
    assert seen >= REFUSALS, REFUSALS - seen


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len({param.values[0]["name"] for param in CASES}) == len(CASES) >= 60
