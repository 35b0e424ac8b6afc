"""States by meaning, operations of every transition, hash and file, times, tokens, and the proof of moments."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.intent import loads_intent
from exoscope.model import Gate, Plan, Snapshot, Stage, Target
from exoscope.outcome import BadInput, Refused, Unreadable
from exoscope.planning import (
    WAITS,
    dump_plan,
    effect,
    gate_seconds,
    load_plan,
    moments,
    plan_hash,
    plan_scope,
    schedule,
)
from exoscope.planning.gating import ungated
from exoscope.planning.operations import Context, NoOperation, operation
from exoscope.planning.operations import step as make_step
from exoscope.planning.states import agrees, differences, key_of, shown
from exoscope.planning.tokens import token_minutes, token_wait, token_wait_now
from exoscope.planning.world import World
from exoscope.proving import of_intent, of_plan
from exoscope.reach import Reach
from exoscope.running.survey import compare
from planning_tenants import dn, guid, tenant

SALES = dn("sales")
BASE: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "eve"],
    "groups": {"sales": ["ada", "bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}},
}
SCOPE = {"recipient_filter": f"MemberOfGroup -eq '{SALES}'", "recipient_root": None, "exclusive": False}
ASSIGNMENT = {
    "role": "Application Mail.Read",
    "assignee": "A-B",
    "enabled": True,
    "scope": {"kind": "group", "id": "G"},
}


@pytest.mark.parametrize(
    ("kind", "observed", "expected", "answer"),
    [
        ("pointer", None, None, True),
        ("pointer", None, {"display_name": "x"}, False),
        ("pointer", {"display_name": "X"}, None, False),
        ("pointer", {"display_name": "OMNI"}, {"display_name": "omni"}, True),
        ("pointer", {}, {"display_name": "omni"}, None),
        ("management_scope", SCOPE | {"recipient_filter": f"((memberofgroup -EQ '{SALES.upper()}'))"}, SCOPE, True),
        ("management_scope", SCOPE | {"recipient_filter": "Department -eq 'x'"}, SCOPE, False),
        ("management_scope", SCOPE | {"recipient_filter": "(((("}, SCOPE, None),
        ("management_scope", SCOPE | {"recipient_filter": "((((", "exclusive": True}, SCOPE, False),
        ("management_scope", SCOPE | {"recipient_root": "OU=x"}, SCOPE, False),
        ("role_assignment", ASSIGNMENT | {"assignee": "a-b", "scope": {"kind": "group", "id": "g"}}, ASSIGNMENT, True),
        ("role_assignment", ASSIGNMENT | {"enabled": False}, ASSIGNMENT, False),
        ("role_assignment", ASSIGNMENT | {"scope": {"kind": "organization"}}, ASSIGNMENT, False),
        ("access_policy", {"description": " exoscope\n"}, {"description": "exoscope"}, True),
        ("access_policy", {"description": None}, {"description": ""}, True),
        ("access_policy", {"description": "theirs"}, {"description": "exoscope"}, False),
        ("group", {"members": ["B", "a"]}, {"members": ["A", "b"]}, True),
        ("group", {"members": ["a"]}, {"members": ["a", "b"]}, False),
        ("group", {"members": None}, {"members": ["a"]}, None),
        ("group", {"owners": ["Organization Management"]}, {"owners": []}, True),
        ("group", {"owners": [guid("ada")]}, {"owners": []}, False),
        ("group", {"display_name": "x"}, {"display_name": "x", "notes": "ours"}, None),
        ("group", {"notes": "Ours"}, {"notes": "ours"}, False),
        ("group_member", {}, {}, True),
        ("consent", {"permission": "mail.read"}, {"permission": "Mail.Read"}, True),
        ("organization", {}, {"is_dehydrated": False}, None),
    ],
)
def test_states_agree_by_meaning(kind: Any, observed: Any, expected: Any, answer: bool | None) -> None:
    assert agrees(kind, observed, expected) is answer
    assert bool(differences(kind, observed, expected)) is (answer is not True)


def test_a_snapshots_own_state_agrees_with_itself_and_with_what_effect_makes_of_it() -> None:
    snapshot = tenant(
        {
            **BASE,
            "pointers": ["omni"],
            "scopes": {"s": "Department -eq 'Sales'"},
            "assignments": [{"name": "a", "role": "Application Mail.Read", "app": "omni", "scope": "scope:s"}],
            "policies": [{"app": "omni", "group": "sales"}],
        }
    )
    key = {"app_id": guid("omni app"), "resource": "00000003-0000-0000-c000-000000000000"}
    key["app_role_id"] = "810c84a8-4a9e-49e6-bf7d-12d183f40d01"
    targets = [
        Target("organization", {}),
        Target("pointer", {"app_id": guid("omni app").upper(), "object_id": guid("omni object")}),
        Target("management_scope", {"name": "S"}),
        Target("role_assignment", {"name": "A"}),
        Target("access_policy", {"app_id": guid("omni app"), "access_right": "RestrictAccess", "group": guid("sales")}),
        Target("group", {"name": "SALES"}),
        Target("group_member", {"group": guid("sales external"), "member": guid("ada").upper()}),
        Target("consent", key),
        Target("request", key),
    ]
    for target in targets:
        state = shown(snapshot, target)
        assert state is not None, target
        assert agrees(target.kind, state, state) is True
        if target.kind == "organization":
            continue
        gone = effect.after(snapshot, target, None)
        assert shown(gone, target) is None, target
        if target.kind != "access_policy":
            again = shown(effect.after(gone, target, state), target)
            assert agrees(target.kind, again, state) is True, target


def test_what_was_not_read_is_no_state() -> None:
    snapshot = replace(tenant(BASE), groups=UNSET, service_principals=UNSET)
    for target in (Target("group", {"name": "x"}), Target("pointer", {"app_id": "a", "object_id": "b"})):
        with pytest.raises(Unreadable):
            shown(snapshot, target)
        with pytest.raises(Unreadable):
            effect.after(snapshot, target, None)
    unread = tenant({**BASE, "groups": {"sales": {"members": None}}})
    member = Target("group_member", {"group": guid("sales"), "member": guid("ada")})
    with pytest.raises(Unreadable):
        shown(unread, member)
    with pytest.raises(LookupError):
        effect.after(unread, member, {})


def test_keys_compare_without_case() -> None:
    assert key_of(Target("consent", {"a": "X", "b": "y"})) == key_of(Target("consent", {"b": "Y", "a": "x"}))


# -- operations ------------------------------------------------------------------------------------

GROUP = {"alias": "g", "display_name": "g", "notes": "n", "hidden": False, "members": []}
GROUP |= {"join_restriction": "Closed", "depart_restriction": "Closed", "owners": [], "type": "Security"}
ORG = {"kind": "organization"}


@pytest.mark.parametrize(
    ("kind", "before", "after", "identity", "template"),
    [
        (
            "organization",
            {"is_dehydrated": True},
            {"is_dehydrated": False},
            None,
            "rbac/enable_organization_customization",
        ),
        ("organization", {"is_dehydrated": False}, {"is_dehydrated": True}, None, None),
        ("pointer", None, {"display_name": "x"}, None, "rbac/new_service_principal"),
        ("pointer", {"display_name": "x"}, None, None, "rbac/remove_service_principal"),
        ("pointer", {"display_name": "x"}, {"display_name": "y"}, None, None),
        ("management_scope", None, SCOPE, None, "rbac/new_management_scope"),
        ("management_scope", SCOPE, SCOPE | {"recipient_filter": "City -eq 'x'"}, None, "rbac/set_management_scope"),
        ("management_scope", SCOPE, None, None, "rbac/remove_management_scope"),
        ("management_scope", None, SCOPE | {"exclusive": True}, None, None),
        ("management_scope", None, SCOPE | {"recipient_root": "OU=x"}, None, None),
        ("role_assignment", None, ASSIGNMENT, None, "rbac/new_role_assignment_group"),
        ("role_assignment", None, ASSIGNMENT | {"scope": ORG}, None, "rbac/new_role_assignment_organization"),
        ("role_assignment", None, ASSIGNMENT | {"enabled": False}, None, None),
        ("role_assignment", ASSIGNMENT, None, None, "rbac/remove_role_assignment"),
        ("role_assignment", ASSIGNMENT, ASSIGNMENT | {"enabled": False}, None, "rbac/set_role_assignment_enabled"),
        ("role_assignment", ASSIGNMENT, ASSIGNMENT | {"enabled": False, "scope": ORG}, None, None),
        ("role_assignment", ASSIGNMENT, ASSIGNMENT | {"scope": ORG}, None, None),
        ("role_assignment", ASSIGNMENT, ASSIGNMENT | {"role": "Application Mail.Send"}, None, None),
        ("access_policy", None, {"description": "x"}, None, "access_policy/new_policy"),
        ("access_policy", {"description": "x"}, None, "id", "access_policy/remove_policy"),
        ("access_policy", {"description": "x"}, None, None, None),
        ("access_policy", {"description": "x"}, {"description": "y"}, "id", None),
        ("group", None, GROUP, None, "groups/new_group"),
        ("group", None, GROUP | {"members": ["m"]}, None, "groups/new_group_with_members"),
        ("group", None, GROUP | {"hidden": True}, None, None),
        ("group", GROUP, GROUP | {"hidden": True}, "id", "groups/set_group"),
        ("group", GROUP, GROUP | {"hidden": True}, None, None),
        ("group", GROUP, None, "id", "groups/remove_group"),
        ("group_member", None, {}, None, "groups/add_member"),
        ("group_member", {}, None, None, "groups/remove_member"),
    ],
)
def test_every_transition_has_its_template_or_none(
    kind: Any, before: Any, after: Any, identity: str | None, template: str | None
) -> None:
    key = {
        "pointer": {"app_id": "a", "object_id": "o"},
        "access_policy": {"app_id": "a", "access_right": "RestrictAccess", "group": "g"},
        "group_member": {"group": "g", "member": "m"},
    }.get(kind, {"name": "n"})
    context = Context("step-1", tenant(BASE).apps[0], identity)  # type: ignore[index] # read in full
    if template is None:
        with pytest.raises(NoOperation):
            operation(Target(kind, key), before, after, context)
        return
    made = operation(Target(kind, key), before, after, context)
    assert made.template == template
    assert made.kind == "exchange"
    assert made.needs


def test_consents_and_requests_are_graph_calls() -> None:
    app = tenant(BASE).apps[0]  # type: ignore[index] # read in full
    key = {"app_id": app.app_id, "resource": "r", "app_role_id": "role"}
    state = {"permission": "Mail.Read"}
    made = operation(Target("consent", key), None, state, Context("step-7", app))
    assert made.request is not None and made.request.method == "POST"
    assert made.request.body == {
        "principalId": app.object_id,
        "resourceId": "<step-7.resource_id>",
        "appRoleId": "role",
    }
    gone = operation(Target("consent", key), state, None, Context("step-7", app, "the-id"))
    assert gone.request is not None and (gone.request.method, gone.request.body) == ("DELETE", None)
    assert gone.request.path == f"/servicePrincipals/{app.object_id}/appRoleAssignments/the-id"
    asked = operation(Target("request", key), None, state, Context("step-8", app))
    assert asked.request is not None and asked.request.path == f"/applications/{app.application_object_id}"
    assert asked.request.body == {"requiredResourceAccess": "<step-8.required_resource_access>"}
    elsewhere = replace(app, application_object_id=None)
    for context, target in (
        (Context("s", elsewhere), "request"),
        (Context("s", app), "consent"),
        (Context("s"), "request"),
    ):
        with pytest.raises(NoOperation):
            operation(Target(target, key), state, None, context)  # type: ignore[arg-type] # one of the two kinds


# -- file and hash ---------------------------------------------------------------------------------


def a_plan(given: dict[str, Any] | None = None, mechanism: str = "rbac") -> tuple[Snapshot, Plan]:
    snapshot = tenant({**BASE, **(given or {})})
    entry = {"app": "omni", "permissions": ["Mail.Read"], "mechanism": mechanism, "scope": {"group": "sales"}}
    return snapshot, plan_scope(snapshot, loads_intent(yaml.safe_dump({"version": 1, "apps": [entry]})))


def test_the_hash_is_over_sorted_compact_utf8_json() -> None:
    import hashlib

    _, plan = a_plan()
    raw = json.loads(dump_plan(plan))
    compact = json.dumps(raw["plan"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert raw["hash"] == "sha256:" + hashlib.sha256(compact).hexdigest() == plan_hash(plan)
    assert raw["format"] == "exoscope/plan@1"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda raw: raw["plan"]["steps"][0].update(title="harmless"), Refused, "edited"),
        (lambda raw: raw.update(hash="sha256:00"), Refused, "edited"),
        (lambda raw: raw.update(format="exoscope/plan@2"), BadInput, "exoscope/plan@2"),
        (lambda raw: raw.update(format="exoscope/snapshot@1"), BadInput, "no plan"),
        (lambda raw: raw.update(extra=1), BadInput, "extra"),
        (lambda raw: raw["plan"].update(extra=1), BadInput, "extra"),
        (lambda raw: raw["plan"].pop("steps"), BadInput, "steps"),
    ],
)
def test_a_changed_file_is_refused(change: Any, error: type[Exception], words: str) -> None:
    _, plan = a_plan()
    raw = json.loads(dump_plan(plan))
    change(raw)
    with pytest.raises(error, match=words) as caught:
        load_plan(json.dumps(raw).encode(), "p.json")
    if error is Refused:
        assert caught.value.code == "plan-edited"  # type: ignore[attr-defined] # both errors are ours


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[]", b'{"format": "exoscope/plan@1", "format": "exoscope/plan@1"}']
)
def test_what_is_no_plan_file_is_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput):
        load_plan(data)


# -- times and tokens ------------------------------------------------------------------------------


def test_gates_wait_for_their_longest_kind_and_stages_add_up_app_by_app() -> None:
    gate = Gate("a", ("cache", "token"), (), 600)
    assert gate_seconds(gate) == 36000
    assert gate_seconds(gate, lengthen=False) == 7200
    assert gate_seconds(Gate("a", ("cache",), (), 600)) == 7200
    _, plan = a_plan()
    quick = Gate("b", ("cache",), ())
    stages = (
        Stage("grant", "", (replace(quick, app_id="a"), quick)),
        Stage("restrict", "", (replace(gate, app_id="A"),)),
        Stage("consent", "", (quick,)),
        Stage("withdraw", "", ()),
    )
    times = {t.stage: (t.ready_after, t.earliest) for t in schedule(replace(plan, stages=stages))}
    assert times == {
        "grant": (7200, 7200),
        "restrict": (36000, 43200),
        "consent": (7200, 14400),
        "withdraw": (0, 43200),
    }


@pytest.mark.parametrize(
    ("fields", "no_cae", "wait", "minutes"),
    [
        ({}, False, "long_token", None),
        ({}, True, "token", None),
        ({"application_object_id": None}, False, "token", None),
        ({"application_object_id": None, "token_lifetime_minutes": 90}, False, "token", None),
        ({"application_object_id": None, "token_lifetime_minutes": 91}, False, "token", 91),
        ({"token_lifetime_minutes": 91}, False, "long_token", None),
        ({"application_object_id": None, "token_lifetime_minutes": UNSET}, True, "long_token", None),
        ({"application_object_id": None, "kind": UNSET}, True, "long_token", None),
        ({"application_object_id": None, "kind": "Legacy"}, True, "long_token", None),
        ({"kind": "managedIdentity", "application_object_id": None}, False, "managed_identity", None),
    ],
)
def test_how_long_tokens_act(fields: dict[str, Any], no_cae: bool, wait: str, minutes: int | None) -> None:
    app = replace(tenant(BASE).apps[0], **fields)  # type: ignore[index] # read in full
    kind = token_wait(app, no_cae)
    assert (kind, token_minutes(app, kind)) == (wait, minutes)
    assert token_wait_now(app, kind) == kind
    assert token_wait_now(app, "long_token") == "long_token"


def test_a_plan_names_the_longer_lifetime_of_tokens_at_every_gate() -> None:
    """Verdicts say by it until when old tokens act, though no gate of a scoping plan waits for them."""
    snapshot = tenant(
        {**BASE, "apps": {"omni": {"foreign": True, "token_lifetime_minutes": 600, "consents": ["Mail.Read"]}}}
    )
    entry = {"app": "omni", "permissions": ["Mail.Read"], "mechanism": "rbac", "scope": {"group": "sales"}}
    plan = plan_scope(snapshot, loads_intent(yaml.safe_dump({"version": 1, "apps": [entry]})))
    gates = [gate for stage in plan.stages for gate in stage.gates]
    assert len(gates) == 2
    assert {gate.token_minutes for gate in gates} == {600}
    assert gate_seconds(gates[0]) == WAITS["cache"], "it does not lengthen a wait that is not for tokens"


# -- moments ---------------------------------------------------------------------------------------


def broken(snapshot: Snapshot, plan: Plan) -> str:
    world = World(snapshot)
    intent = {"Mail.Read": world.of_guids([guid("ada"), guid("bob")])}
    return "; ".join(moments.violations(world, plan, snapshot.apps[0], intent))  # type: ignore[index] # read in full


def test_a_plan_as_given_breaks_nothing() -> None:
    for mechanism, given in (("rbac", {}), ("access-policy", {}), ("access-policy", {"apps": {"omni": {}}})):
        assert broken(*a_plan(given, mechanism)) == ""


def test_removing_the_consent_before_the_narrow_access_acts_loses_mailboxes() -> None:
    snapshot, plan = a_plan()
    no_gate = tuple(replace(stage, gates=()) for stage in plan.stages)
    assert "could lose ada@contoso.com" in broken(snapshot, replace(plan, stages=no_gate))
    swapped = replace(plan, stages=tuple(reversed(plan.stages)))
    assert "could lose" in broken(snapshot, swapped)


def test_consenting_before_the_policy_acts_opens_mailboxes() -> None:
    snapshot, plan = a_plan({"apps": {"omni": {}}}, "access-policy")
    no_gate = tuple(replace(stage, gates=()) for stage in plan.stages)
    assert "in stage consent Mail.Read could reach cid@contoso.com" in broken(snapshot, replace(plan, stages=no_gate))
    only_tokens = tuple(
        replace(stage, gates=tuple(replace(gate, waits=("token",)) for gate in stage.gates)) for stage in plan.stages
    )
    assert "could reach" in broken(snapshot, replace(plan, stages=only_tokens))


def widened(plan: Plan, **fields: Any) -> Plan:
    """The same plan with other fields in what its assignments give."""
    steps = tuple(
        replace(step, after=(step.after or {}) | fields) if step.target.kind == "role_assignment" else step
        for step in plan.steps
    )
    return replace(plan, steps=steps)


def test_a_scope_too_wide_opens_mailboxes_before_any_gate() -> None:
    snapshot, plan = a_plan({"apps": {"omni": {}}})
    plan = widened(plan, scope={"kind": "organization"})
    assert "in stage grant Mail.Read could reach cid@contoso.com" in broken(snapshot, plan)


def test_a_narrower_permission_is_looked_at_too() -> None:
    snapshot, plan = a_plan({"apps": {"omni": {}}})
    said = broken(snapshot, widened(plan, role="Application Mail.ReadWrite"))
    assert "Mail.ReadWrite could reach ada@contoso.com" in said


def test_scopes_that_change_places_are_tried_one_by_one_however_many_others_move() -> None:
    names = ["one", "other", *(f"unused {number}" for number in range(8))]
    snapshot = tenant(
        {
            **BASE,
            "groups": {"sales": ["ada"], "hr": ["bob"]},
            "apps": {"omni": {}},
            "pointers": ["omni"],
            "scopes": {name: f"MemberOfGroup -eq 'DN({'hr' if name == 'other' else 'sales'})'" for name in names},
            "assignments": [
                {"name": name, "role": "Application Mail.Read", "app": "omni", "scope": f"scope:{name}"}
                for name in ("one", "other")
            ],
        }
    )
    app = snapshot.apps[0]  # type: ignore[index] # read in full
    steps = []
    for number, name in enumerate(names, 1):
        target = Target("management_scope", {"name": name})
        before = shown(snapshot, target)
        assert before is not None
        there = {**before, "recipient_filter": f"MemberOfGroup -eq '{dn('sales' if name == 'other' else 'hr')}'"}
        steps.append(make_step(f"step-{number}", "grant", target, before, there, app))
    plan = replace(a_plan()[1], stages=(Stage("grant", "Grant", ()),), steps=tuple(steps))
    assert "Mail.Read could lose" in broken(snapshot, plan)


def test_two_addresses_of_one_mailbox_are_one_member_of_the_managed_group() -> None:
    snapshot = tenant({**BASE, "mailboxes": {"ada": {"aliases": ["countess"]}, "bob": {}}, "groups": {}})
    listed = ["ada@contoso.com", "countess@contoso.com", "bob@contoso.com"]
    entry = {"app": "omni", "permissions": ["Mail.Read"], "mechanism": "rbac", "scope": {"mailboxes": listed}}
    plan = plan_scope(snapshot, loads_intent(yaml.safe_dump({"version": 1, "apps": [entry]})))
    (made,) = [each for each in plan.steps if each.target.kind == "group" and each.before is None]
    assert made.values["members"] == [guid("ada"), guid("bob")]
    assert made.title.endswith("with 2 members")


@pytest.mark.parametrize("consents", [["Mail.Read"], ["Mail.ReadWrite"], ["Mail.Read", "Mail.ReadWrite"]])
def test_a_consent_that_an_intent_keeps_is_the_same_reason_when_it_is_asked_about_again(consents: list[str]) -> None:
    snapshot = tenant({**BASE, "apps": {"omni": {"consents": consents}}})
    entry = {"app": "omni", "permissions": ["Mail.Read"], "mechanism": "rbac", "scope": {"group": "sales"}}
    intent = loads_intent(yaml.safe_dump({"version": 1, "apps": [{**entry, "on-leftover-consent": "keep"}]}))
    plan = plan_scope(snapshot, intent)
    after = Reach(effect.apply_steps(snapshot, plan.steps))
    assert plan.apps[0].not_scoped_because == ("leftover-consent",)
    assert of_plan(plan.apps[0], after).not_scoped_because == ("leftover-consent",)
    assert of_intent(intent, after)[0].not_scoped_because == ("leftover-consent",)
    assert compare(plan.apps[0], plan.steps, {}, snapshot).moved == ()


def _with_gates(plan: Plan, change: Any) -> Plan:
    stages = tuple(
        replace(each, gates=tuple(gate for g in each.gates if (gate := change(each.id, g)))) for each in plan.stages
    )
    return replace(plan, stages=stages)


@pytest.mark.parametrize("mechanism", ["rbac", "access-policy"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stage, gate: None, "followed by no gate"),
        (lambda stage, gate: replace(gate, evidence=()), "followed by no gate"),
        (lambda stage, gate: replace(gate, waits=()), "followed by no gate"),
        (lambda stage, gate: replace(gate, app_id="somebody else's"), "followed by no gate"),
        (lambda stage, gate: gate if stage in ("cutover", "consent") else None, "comes before"),
        (lambda stage, gate: gate if stage in ("grant", "restrict") else None, "followed by no gate"),
    ],
)
def test_a_plan_without_the_gates_it_must_have_is_told(mechanism: str, change: Any, words: str) -> None:
    _, plan = a_plan({"apps": {"omni": {"consents": ["Mail.Read"] if mechanism == "rbac" else []}}}, mechanism)
    assert list(ungated(plan)) == []
    assert any(words in each for each in ungated(_with_gates(plan, change)))


def test_a_consent_moved_before_its_gate_is_told() -> None:
    _, plan = a_plan()
    early = replace(plan, steps=tuple(replace(each, stage="grant") for each in plan.steps))
    assert any("before anything was seen that would replace it" in each for each in ungated(early))
    lost = replace(plan, steps=tuple(replace(each, stage="nowhere") for each in plan.steps))
    assert any("followed by no gate" in each for each in ungated(lost))
