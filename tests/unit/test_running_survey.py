"""A tenant that moved since the plan: what the steps still cover is noted, everything else stops the app."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

import exoscope
from exoscope import snapshot as snapshots
from exoscope.intent import loads_intent
from exoscope.model import App, Consent, Group, GroupScope, OrganizationScope, Plan, RoleAssignment, Snapshot
from exoscope.planning import effect
from exoscope.planning.planner import plan_scope
from exoscope.running.survey import compare

APP = "Omniscope Email Connector (App-Only)"
GROUP = "omniscope-mailboxes@contoso.com"
GRAPH = "00000003-0000-0000-c000-000000000000"
MAIL_READ_WRITE = "e2a3a72e-5f79-4c64-b1b1-878b674786c9"
BY_GROUP = f"group: {GROUP}"


@cache
def sample() -> Snapshot:
    assert exoscope.__file__ is not None
    return snapshots.load(Path(exoscope.__file__).parent / "data" / "sample_tenant.json")


@cache
def planned(scope: str) -> Plan:
    text = (
        f"version: 1\napps:\n  - app: {APP}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
        f"    scope:\n      {scope}\n"
    )
    return plan_scope(sample(), loads_intent(text, "scope.yaml"))


def group(tenant: Snapshot) -> Group:
    assert isinstance(tenant.groups, tuple)
    return next(each for each in tenant.groups if each.primary_smtp_address == GROUP)


def with_group(tenant: Snapshot, change: Callable[[Group], Group | None], wanted: Group | None = None) -> Snapshot:
    assert isinstance(tenant.groups, tuple)
    old = wanted or group(tenant)
    groups = (change(each) if each.guid == old.guid else each for each in tenant.groups)
    return replace(tenant, groups=tuple(each for each in groups if each is not None))


def with_app(tenant: Snapshot, change: Callable[[App], App | None]) -> Snapshot:
    assert isinstance(tenant.apps, tuple)
    apps = (change(each) if each.display_name == APP else each for each in tenant.apps)
    return replace(tenant, apps=tuple(each for each in apps if each is not None))


def outsider(tenant: Snapshot) -> tuple[str, str]:
    """Guid and address of a mailbox outside the group."""
    assert isinstance(tenant.recipients, tuple)
    inside = set(group(tenant).members or ())
    found = next(each for each in tenant.recipients if each.recipient_type == "UserMailbox" and each.guid not in inside)
    return found.guid, found.primary_smtp_address


def insider(tenant: Snapshot) -> tuple[str, str]:
    """Guid and address of a mailbox inside the group."""
    assert isinstance(tenant.recipients, tuple)
    inside = set(group(tenant).members or ())
    found = next(each for each in tenant.recipients if each.recipient_type == "UserMailbox" and each.guid in inside)
    return found.guid, found.primary_smtp_address


def test_nothing_moved() -> None:
    plan = planned(BY_GROUP)
    survey = compare(plan.apps[0], plan.steps, {}, sample())
    assert (survey.notes, survey.moved) == ((), ())


@pytest.mark.parametrize("begun", [False, True], ids=["before grant", "before cutover"])
def test_who_joined_the_group_is_noted_and_carried_on(begun: bool) -> None:
    plan = planned(BY_GROUP)
    done = [step for step in plan.steps if step.stage == "grant"] if begun else []
    tenant = effect.apply_steps(sample(), done)
    guid, address = outsider(tenant)
    moved = with_group(tenant, lambda old: replace(old, members=(*(old.members or ()), guid)))
    survey = compare(plan.apps[0], plan.steps[len(done) :], {}, moved)
    assert survey.moved == ()
    assert [address in note and "joined" in note for note in survey.notes] == [True]


def test_who_left_the_group_is_noted_and_carried_on() -> None:
    plan = planned(BY_GROUP)
    guid, address = insider(sample())
    moved = with_group(
        sample(), lambda old: replace(old, members=tuple(each for each in old.members or () if each != guid))
    )
    survey = compare(plan.apps[0], plan.steps, {}, moved)
    assert survey.moved == ()
    assert [address in note and "left" in note for note in survey.notes] == [True]


def test_a_wider_consent_since_the_plan_is_not_covered() -> None:
    plan = planned(BY_GROUP)
    wider = Consent("since", GRAPH, MAIL_READ_WRITE, "Mail.ReadWrite")
    moved = with_app(sample(), lambda old: replace(old, consents=(*old.consents, wider)))
    survey = compare(plan.apps[0], plan.steps, {}, moved)
    assert ["would then reach" in each and "more" in each for each in survey.moved] == [True]


APPLICATIONS = Consent("since", GRAPH, "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "Application.ReadWrite.All")


def test_what_lets_the_app_widen_itself_since_the_plan_is_not_covered() -> None:
    plan = planned(BY_GROUP)
    moved = with_app(sample(), lambda old: replace(old, consents=(*old.consents, APPLICATIONS)))
    survey = compare(plan.apps[0], plan.steps, {}, moved)
    assert survey.moved == ("the app would not be scoped (self-widening): it can give itself more",)


def test_what_else_reaches_content_since_the_plan_is_not_covered() -> None:
    plan = planned(BY_GROUP)
    assert isinstance(sample().role_assignments, tuple)
    object_id = plan.apps[0].object_id
    pointed = effect.apply_steps(sample(), [step for step in plan.steps if step.target.kind == "pointer"])
    ews = RoleAssignment("since", "Application EWS.AccessAsApp", object_id, True, OrganizationScope())
    moved = replace(pointed, role_assignments=(*(pointed.role_assignments or ()), ews))  # type: ignore[misc]  # they are read
    survey = compare(plan.apps[0], plan.steps, {}, moved)
    assert ["(ews)" in each for each in survey.moved] == [True]


def test_a_group_that_cannot_be_read_any_more_is_not_covered() -> None:
    plan = planned(BY_GROUP)
    survey = compare(plan.apps[0], plan.steps, {}, with_group(sample(), lambda old: replace(old, members=None)))
    assert any("cannot be told" in each for each in survey.moved)


def test_a_group_that_is_gone_is_not_covered() -> None:
    plan = planned(BY_GROUP)
    assert compare(plan.apps[0], plan.steps, {}, with_group(sample(), lambda old: None)).moved


def test_an_app_that_is_gone_is_not_covered() -> None:
    plan = planned(BY_GROUP)
    survey = compare(plan.apps[0], plan.steps, {}, with_app(sample(), lambda old: None))
    assert [APP in each for each in survey.moved] == [True]


def test_a_mailbox_put_into_a_managed_group_by_somebody_else_is_not_covered() -> None:
    guid, address = outsider(sample())
    _, inside = insider(sample())
    plan = planned(f"mailboxes: [{inside}]")
    done = [step for step in plan.steps if step.stage == "grant"]
    tenant = effect.apply_steps(sample(), done)
    assert isinstance(tenant.groups, tuple)
    made = tenant.groups[-1]
    known = {f"<{done[0].id}.distinguished_name>": made.distinguished_name, f"<{done[0].id}.guid>": made.guid}
    left = [step for step in plan.steps if step.stage != "grant"]
    assert compare(plan.apps[0], left, known, tenant).moved == ()
    moved = with_group(tenant, lambda old: replace(old, members=(*(old.members or ()), guid)), wanted=made)
    survey = compare(plan.apps[0], left, known, moved)
    assert [address in each for each in survey.moved] == [True]
    assert survey.notes == ()


def test_a_mailbox_taken_out_of_a_managed_group_by_somebody_else_is_not_covered() -> None:
    _, inside = insider(sample())
    plan = planned(f"mailboxes: [{inside}]")
    done = [step for step in plan.steps if step.stage == "grant"]
    tenant = effect.apply_steps(sample(), done)
    assert isinstance(tenant.groups, tuple)
    made = tenant.groups[-1]
    known = {f"<{done[0].id}.distinguished_name>": made.distinguished_name, f"<{done[0].id}.guid>": made.guid}
    left = [step for step in plan.steps if step.stage != "grant"]
    survey = compare(plan.apps[0], left, known, with_group(tenant, lambda old: replace(old, members=()), wanted=made))
    assert ["would then not reach" in each and inside in each for each in survey.moved] == [True]


def test_a_listed_mailbox_that_got_another_primary_address_is_still_the_one_that_is_meant() -> None:
    guid, address = insider(sample())
    plan = planned(f"mailboxes: [{address}]")
    done = [step for step in plan.steps if step.stage == "grant"]
    tenant = effect.apply_steps(sample(), done)
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    made = tenant.groups[-1]
    known = {f"<{done[0].id}.distinguished_name>": made.distinguished_name, f"<{done[0].id}.guid>": made.guid}
    renamed = tuple(
        replace(each, primary_smtp_address="wed@contoso.com", email_addresses=("wed@contoso.com", address))
        if each.guid == guid
        else each
        for each in tenant.recipients
    )
    survey = compare(plan.apps[0], plan.steps[len(done) :], known, replace(tenant, recipients=renamed))
    assert survey.moved == ()
    assert any("wed@contoso.com joined" in note for note in survey.notes)


def test_who_must_never_be_reached_and_joined_the_group_is_not_covered() -> None:
    guid, address = outsider(sample())
    text = (
        f"version: 1\napps:\n  - app: {APP}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
        f"    scope: {{{BY_GROUP}}}\n    prove: {{never: [{address}]}}\n"
    )
    plan = plan_scope(sample(), loads_intent(text, "scope.yaml"))
    moved = with_group(sample(), lambda old: replace(old, members=(*(old.members or ()), guid)))
    survey = compare(plan.apps[0], plan.steps, {}, moved)
    assert [f"would then reach {address}" in each for each in survey.moved] == [True]


def test_another_app_that_came_to_share_what_the_steps_move_stops_the_app() -> None:
    plan = planned("mailboxes: [ada@contoso.com]")
    made = effect.apply_steps(sample(), plan.steps)
    wider = plan_scope(made, loads_intent(_by_list("ada@contoso.com", outsider(sample())[1]), "scope.yaml"))
    assert compare(wider.apps[0], wider.steps, {}, made).moved == ()
    assert isinstance(made.groups, tuple)
    assert isinstance(made.role_assignments, tuple)
    ours = next(each for each in made.groups if each.display_name.startswith("exoscope"))
    theirs = RoleAssignment("theirs", "Application Mail.Read", "somebody", True, GroupScope(ours.guid))
    shared = replace(made, role_assignments=(*made.role_assignments, theirs))
    moved = compare(wider.apps[0], wider.steps, {}, shared).moved
    assert len(moved) == 1
    assert "(assignment theirs) would move" in moved[0]


def test_what_else_the_app_came_to_hold_over_a_scope_that_moves_stops_it() -> None:
    plan = planned("mailboxes: [ada@contoso.com]")
    made = effect.apply_steps(sample(), plan.steps)
    wider = plan_scope(made, loads_intent(_by_list("ada@contoso.com", outsider(sample())[1]), "scope.yaml"))
    assert isinstance(made.role_assignments, tuple)
    ours = next(each for each in made.role_assignments if each.name.startswith("exoscope"))
    more = replace(ours, name="more", role="Application Contacts.Read")
    shared = replace(made, role_assignments=(*made.role_assignments, more))
    assert compare(wider.apps[0], wider.steps, {}, shared).moved == (
        f"Contacts.Read, which the plan does not name, would then reach {outsider(sample())[1]}",
    )


def _by_list(*addresses: str) -> str:
    return (
        f"version: 1\napps:\n  - app: {APP}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
        f"    scope:\n      mailboxes: [{', '.join(addresses)}]\n"
    )


def test_a_service_principal_made_anew_stops_the_app() -> None:
    plan = planned(BY_GROUP)
    anew = with_app(sample(), lambda old: replace(old, object_id="99999999-0000-0000-0000-000000000001"))
    (moved,) = compare(plan.apps[0], plan.steps, {}, anew).moved
    assert "is 99999999-0000-0000-0000-000000000001, not" in moved
