"""The way back: its order, its waits, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.intent import loads_intent
from exoscope.model import ManagementScope, Plan, RoleAssignment, Snapshot
from exoscope.outcome import NotFound, Refused, Unreadable
from exoscope.planning import DoneStep, effect, moments, plan_scope, undo_plan
from exoscope.planning.effect import to_scope
from exoscope.planning.world import World
from exoscope.powershell import fill
from planning_tenants import guid, tenant

BASE: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "eve"],
    "groups": {"sales": ["ada", "bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}, "other": {"consents": ["Mail.Read"]}},
}


def planned(
    given: dict[str, Any],
    mechanism: str = "rbac",
    scope: dict[str, Any] | None = None,
    apps: tuple[str, ...] = ("omni",),
) -> tuple[Snapshot, Plan]:
    snapshot = tenant({**BASE, **given})
    entries = [
        {"app": app, "permissions": ["Mail.Read"], "mechanism": mechanism, "scope": scope or {"group": "sales"}}
        for app in apps
    ]
    return snapshot, plan_scope(snapshot, loads_intent(yaml.safe_dump({"version": 1, "apps": entries})))


def run(snapshot: Snapshot, plan: Plan, stages: int = 9) -> tuple[Snapshot, list[DoneStep]]:
    wanted = [stage.id for stage in plan.stages][:stages]
    known: dict[str, str] = {}
    done = []
    for step in plan.steps:
        if step.stage in wanted:
            before = None if step.before is None else fill(step.before, known)
            snapshot, known = effect.apply_step(snapshot, step, known)
            after = None if step.after is None else fill(step.after, known)
            yields = {hole.split(".")[1][:-1]: v for hole, v in known.items() if hole.startswith(f"<{step.id}.")}
            done.append(DoneStep(step.id, before, after, yields))
    return snapshot, done


def shape(plan: Plan) -> dict[str, list[str]]:
    return {
        stage.id: [f"{'+' if s.before is None else '-'}{s.target.kind}" for s in plan.steps if s.stage == stage.id]
        for stage in plan.stages
    }


def test_a_cutover_comes_back_before_the_narrow_access_goes_and_tokens_without_it_end() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    assert shape(undo) == {
        "restore": ["+request", "+consent"],
        "withdraw": ["-role_assignment", "-management_scope", "-pointer"],
    }
    (gate,) = undo.stages[0].gates
    assert gate.waits == ("cache", "long_token")
    assert undo.stages[1].gates == ()
    (app,) = undo.apps
    assert any("cid@contoso.com, eve@contoso.com" in note and "reachable again" in note for note in app.notes)
    assert app.permissions["Mail.Read"].gained.addresses == ("cid@contoso.com", "eve@contoso.com")
    assert not app.scoped


def test_undoing_the_grant_alone_waits_for_nothing() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan, stages=1)
    undo = undo_plan(plan, done, now)
    assert shape(undo) == {"withdraw": ["-role_assignment", "-management_scope", "-pointer"]}
    assert all(not stage.gates for stage in undo.stages)


def test_to_keeps_a_stage_and_those_before_it() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    assert shape(undo_plan(plan, done, now, to="grant")) == {"restore": ["+request", "+consent"]}
    assert undo_plan(plan, done, now, to="cutover").steps == ()
    with pytest.raises(NotFound, match="grant, cutover"):
        undo_plan(plan, done, now, to="consent")


def test_one_app_of_several() -> None:
    snapshot, plan = planned({}, apps=("omni", "other"))
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now, app="OTHER")
    assert {step.app_id for step in undo.steps} == {guid("other app")}
    assert [app.display_name for app in undo.apps] == ["other"]
    with pytest.raises(NotFound, match="omni"):
        undo_plan(plan, done, now, app="nobody")


def test_a_restriction_goes_only_when_what_it_held_back_has_ended() -> None:
    snapshot, plan = planned({"apps": {"omni": {"foreign": True}}}, "access-policy")
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    assert shape(undo) == {"revoke": ["-consent"], "reopen": ["-access_policy"]}
    assert undo.stages[0].gates[0].waits == ("cache", "token")


def test_a_restriction_of_what_was_consented_before_opens_again_by_name() -> None:
    snapshot, plan = planned({}, "access-policy")
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    assert shape(undo) == {"reopen": ["-access_policy"]}
    assert any("cid@contoso.com, eve@contoso.com" in note for note in undo.apps[0].notes)


def test_a_token_lifetime_policy_lengthens_the_gate() -> None:
    snapshot, plan = planned({"apps": {"omni": {"foreign": True, "token_lifetime_minutes": 600}}}, "access-policy")
    now, done = run(snapshot, plan)
    (gate,) = undo_plan(plan, done, now).stages[0].gates
    assert (gate.waits, gate.token_minutes) == (("cache", "token"), 600)


def test_a_token_lifetime_that_cannot_be_read_any_more_lengthens_the_gate() -> None:
    snapshot, plan = planned({"apps": {"omni": {"foreign": True}}}, "access-policy")
    assert plan.apps[0].token_wait == "token"
    now, done = run(snapshot, plan)
    assert isinstance(now.apps, tuple)
    unread = replace(now, apps=tuple(replace(each, token_lifetime_minutes=UNSET) for each in now.apps))
    undo = undo_plan(plan, done, unread)
    assert undo.stages[0].gates[0].waits == ("cache", "long_token")
    assert undo.apps[0].token_wait == "long_token"


def test_a_managed_group_goes_with_what_used_it() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, scope={"mailboxes": ["ada@contoso.com"]})
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    assert [step.target.kind for step in undo.steps] == ["role_assignment", "management_scope", "group", "pointer"]
    assert effect.apply_steps(now, undo.steps).groups == snapshot.groups


def test_what_the_run_found_so_is_left() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}})
    now, done = run(snapshot, plan)
    pointer = next(step for step in plan.steps if step.target.kind == "pointer")
    done = [replace(d, observed_before=d.observed_after) if d.step_id == pointer.id else d for d in done]
    assert "-pointer" not in shape(undo_plan(plan, done, now))["withdraw"]


def test_what_was_there_already_still_names_what_later_steps_used() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, "access-policy", scope={"mailboxes": ["ada@contoso.com"]})
    now, done = run(snapshot, plan)
    done = [replace(d, already=True) if number < 2 else d for number, d in enumerate(done)]
    undo = undo_plan(plan, done, now)
    assert shape(undo) == {"revoke": ["-request", "-consent"], "reopen": ["-access_policy"]}


def test_what_is_back_already_is_said_and_not_done_again() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}})
    now, done = run(snapshot, plan)
    gone = replace(now, role_assignments=())
    undo = undo_plan(plan, done, gone)
    assert shape(undo) == {"withdraw": ["-management_scope", "-pointer"]}
    assert any("Already as before the run: role assignment" in note for note in undo.apps[0].notes)


def test_what_somebody_else_changed_is_not_taken_back() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}})
    now, done = run(snapshot, plan)
    scope = replace(now.management_scopes[0], recipient_filter="Department -eq 'HR'")  # type: ignore[index] # made just now
    with pytest.raises(Refused) as caught:
        undo_plan(plan, done, replace(now, management_scopes=(scope,)))
    assert caught.value.code == "changed-since"


def test_members_that_somebody_else_put_into_the_managed_group_stop_its_removal() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, scope={"mailboxes": ["ada@contoso.com"]})
    now, done = run(snapshot, plan)
    groups = tuple(replace(g, members=(*(g.members or ()), guid("eve"))) for g in now.groups)  # type: ignore[union-attr] # read
    with pytest.raises(Refused) as caught:
        undo_plan(plan, done, replace(now, groups=groups))
    assert caught.value.code == "changed-since"


def _policy_on(now: Snapshot) -> Snapshot:
    group = next(g for g in now.groups if g.display_name.startswith("exoscope"))  # type: ignore[union-attr] # read
    from exoscope.model import AccessPolicy, PolicyScope

    policy = AccessPolicy(
        "theirs", guid("other app"), "RestrictAccess", PolicyScope("x", "S-1", group.guid), None, True
    )
    return replace(now, access_policies=(policy,))


def _assignment_on(now: Snapshot) -> Snapshot:
    scope = now.management_scopes[0].name  # type: ignore[index] # made just now
    theirs = RoleAssignment(
        "theirs",
        "Application Mail.Send",
        guid("other object"),
        True,
        to_scope({"kind": "management_scope", "name": scope}),
    )
    return replace(now, role_assignments=(*now.role_assignments, theirs))  # type: ignore[misc] # as above


def _pointer_used(now: Snapshot) -> Snapshot:
    theirs = RoleAssignment(
        "theirs", "Application Mail.Send", guid("omni app"), True, to_scope({"kind": "organization"})
    )
    return replace(now, role_assignments=(*now.role_assignments, theirs))  # type: ignore[misc] # as above


def _filter_on(now: Snapshot) -> Snapshot:
    group = next(g for g in now.groups if g.display_name.startswith("exoscope"))  # type: ignore[union-attr] # read
    theirs = ManagementScope("theirs", f"MemberOfGroup -eq '{group.distinguished_name.upper()}'", None, False)
    return replace(now, management_scopes=(*now.management_scopes, theirs))  # type: ignore[misc] # as above


def _nested_in(now: Snapshot) -> Snapshot:
    ours = next(g for g in now.groups if g.display_name.startswith("exoscope"))  # type: ignore[union-attr] # read
    groups = tuple(
        replace(g, members=(*(g.members or ()), ours.guid)) if g.display_name == "sales" else g for g in now.groups
    )  # type: ignore[union-attr] # read
    return replace(now, groups=groups)


@pytest.mark.parametrize("referring", [_policy_on, _assignment_on, _pointer_used, _filter_on, _nested_in])
def test_what_something_else_refers_to_stays(referring: Any) -> None:
    snapshot, plan = planned({"apps": {"omni": {}, "other": {}}}, scope={"mailboxes": ["ada@contoso.com"]})
    now, done = run(snapshot, plan)
    with pytest.raises(Refused) as caught:
        undo_plan(plan, done, referring(now))
    assert caught.value.code == "referred-to"
    assert "theirs" in caught.value.message or "sales" in caught.value.message


def test_ours_over_the_organisation_goes_only_beside_a_proven_narrow_one_and_comes_back_first() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, scope={"organization": True})
    wide, _ = run(snapshot, plan)
    narrow = plan_scope(wide, loads_intent(_sales()))
    assert shape(narrow) == {"grant": ["+management_scope", "+role_assignment"], "cutover": ["-role_assignment"]}
    assert narrow.apps[0].scoped
    now, done = run(wide, narrow)
    assert plan_scope(now, loads_intent(_sales())).steps == ()
    undo = undo_plan(narrow, done, now)
    assert shape(undo) == {"restore": ["+role_assignment"], "withdraw": ["-role_assignment", "-management_scope"]}
    assert undo.stages[0].gates[0].waits == ("cache",)
    assert effect.apply_steps(now, undo.steps).role_assignments == wide.role_assignments


def _sales() -> str:
    entry = {"app": "omni", "permissions": ["Mail.Read"], "mechanism": "rbac", "scope": {"group": "sales"}}
    return yaml.safe_dump({"version": 1, "apps": [entry]})


def test_an_undo_is_not_undone() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    with pytest.raises(Refused) as caught:
        undo_plan(undo, [], now)
    assert caught.value.code == "undo-of-undo"


def test_an_app_that_is_gone_is_refused() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    with pytest.raises(Refused) as caught:
        undo_plan(plan, done, replace(now, apps=()))
    assert caught.value.code == "changed-since"


def test_an_unsafe_way_back_is_never_given(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    monkeypatch.setattr(moments, "violations", lambda *_: ("in stage withdraw Mail.Read could lose ada@contoso.com",))
    with pytest.raises(Refused) as caught:
        undo_plan(plan, done, now)
    assert caught.value.code == "unproven"


def broken(now: Snapshot, undo: Plan) -> str:
    world = World(now)
    end = world.after(effect.apply_steps(now, undo.steps))
    return "; ".join(moments.violations(world, undo, now.apps[0], {}, end))  # type: ignore[index] # read in full


def waiting(undo: Plan, *waits: Any) -> Plan:
    """The same undo with gates that wait for these kinds alone."""
    stages = tuple(
        replace(stage, gates=tuple(replace(gate, waits=waits) for gate in stage.gates)) for stage in undo.stages
    )
    return replace(undo, stages=stages)


def test_withdrawing_while_tokens_without_the_consent_live_loses_mailboxes() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    assert broken(now, undo) == ""
    assert "in stage withdraw Mail.Read could lose ada@contoso.com" in broken(now, waiting(undo, "cache"))
    assert "could lose" in broken(now, waiting(undo))


def test_reopening_while_tokens_with_the_consent_live_opens_mailboxes() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, "access-policy")
    now, done = run(snapshot, plan)
    undo = undo_plan(plan, done, now)
    assert broken(now, undo) == ""
    assert "in stage reopen Mail.Read could reach cid@contoso.com" in broken(now, waiting(undo, "cache"))


def test_a_second_undo_waits_for_the_tokens_of_what_the_first_took_back() -> None:
    snapshot, plan = planned({"apps": {"omni": {"foreign": True}}}, "access-policy")
    now, done = run(snapshot, plan)
    first = undo_plan(plan, done, now, to="restrict")
    assert shape(first) == {"revoke": ["-consent"]}
    second = undo_plan(plan, done, effect.apply_steps(now, first.steps))
    assert shape(second) == {"revoke": [], "reopen": ["-access_policy"]}
    assert second.stages[0].gates[0].waits == ("cache", "token")


def test_a_consent_that_somebody_gave_back_is_waited_for_before_the_narrow_access_goes() -> None:
    snapshot, plan = planned({})
    now, done = run(snapshot, plan)
    regranted = effect.apply_steps(now, undo_plan(plan, done, now, to="grant").steps)
    undo = undo_plan(plan, done, regranted)
    assert shape(undo)["restore"] == []
    assert undo.stages[0].gates[0].waits == ("cache", "long_token")


def _later_consent(now: Snapshot) -> Snapshot:
    entry = {
        "app": "omni",
        "permissions": ["Mail.Read", "Calendars.Read"],
        "mechanism": "access-policy",
        "scope": {"group": "sales"},
    }
    return effect.apply_steps(now, plan_scope(now, loads_intent(yaml.safe_dump({"version": 1, "apps": [entry]}))).steps)


def test_a_restriction_that_a_later_consent_rests_on_stays() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, "access-policy")
    now, done = run(snapshot, plan)
    now = _later_consent(now)
    with pytest.raises(Refused, match=r"Calendars\.Read could reach cid@contoso\.com"):
        undo_plan(plan, done, now, before=snapshot)
    # Where nobody kept how the tenant stood before, it is named at least.
    notes = undo_plan(plan, done, now).apps[0].notes
    assert any("cid@contoso.com, eve@contoso.com" in note and "Calendars.Read" in note for note in notes)


def test_a_scope_that_another_app_came_to_share_is_not_moved_back() -> None:
    snapshot, plan = planned({"apps": {"omni": {}, "other": {}}, "pointers": ["other"]}, scope={"group": "sales"})
    old, _ = run(snapshot, plan)
    entry = {
        "app": "omni",
        "permissions": ["Mail.Read"],
        "mechanism": "rbac",
        "scope": {"filter": "Department -eq 'HR'"},
    }
    move = plan_scope(old, loads_intent(yaml.safe_dump({"version": 1, "apps": [entry]})))
    now, done = run(old, move)
    assert undo_plan(move, done, now, before=old).steps
    with pytest.raises(Refused, match="theirs") as caught:
        undo_plan(move, done, _assignment_on(now), before=old)
    assert caught.value.code == "referred-to"


def test_a_group_that_shares_the_managed_groups_display_name_is_never_removed_for_it() -> None:
    snapshot, plan = planned({"apps": {"omni": {}}}, scope={"mailboxes": ["ada@contoso.com"]})
    now, done = run(snapshot, plan)
    ours = next(g for g in now.groups if g.display_name.startswith("exoscope"))  # type: ignore[union-attr] # read
    theirs = replace(ours, guid=guid("theirs"), external_directory_object_id=None, distinguished_name="CN=theirs")
    with pytest.raises(Unreadable, match="2 groups have the display name"):
        undo_plan(plan, done, replace(now, groups=(theirs, *now.groups)))  # type: ignore[misc] # as above


def test_a_consent_whose_policy_went_since_does_not_come_back() -> None:
    snapshot, plan = planned({"policies": [{"app": "omni", "group": "sales"}]})
    now, done = run(snapshot, plan)
    assert undo_plan(plan, done, now, before=snapshot).steps
    bare = replace(now, access_policies=())
    with pytest.raises(Refused, match=r"restore Mail\.Read could reach cid@contoso\.com") as caught:
        undo_plan(plan, done, bare, before=snapshot)
    assert caught.value.code == "unproven"


def test_who_joined_the_group_since_does_not_stop_the_way_back() -> None:
    snapshot, plan = planned({"policies": [{"app": "omni", "group": "sales"}]})
    now, done = run(snapshot, plan)
    groups = tuple(replace(g, members=(*(g.members or ()), guid("cid"))) for g in now.groups)  # type: ignore[union-attr] # read
    assert undo_plan(plan, done, replace(now, groups=groups), before=snapshot).steps
