"""What is claimed of plans and intents, over the sample tenant as it is."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.intent import loads_intent
from exoscope.model import Snapshot
from exoscope.outcome import BadInput
from exoscope.planning import plan_scope
from exoscope.proving.claims import AppClaim, of_intent, of_plan
from exoscope.reach import Reach
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

CRM = "Fabrikam CRM Connector"


@pytest.fixture(scope="module")
def tenant() -> Snapshot:
    return load_sample()


def intent(
    scope: str, *, app: str = OMNISCOPE, permissions: str = "Mail.Read", mechanism: str = "rbac", more: str = ""
) -> str:
    return (
        f"version: 1\napps:\n  - app: {app}\n    permissions: [{permissions}]\n    mechanism: {mechanism}\n"
        f"    scope: {{{scope}}}\n{more}"
    )


def claim(tenant: Snapshot, text: str) -> AppClaim:
    (one,) = of_intent(loads_intent(text, "scope.yaml"), Reach(tenant))
    return one


def members(tenant: Snapshot, address: str) -> set[str]:
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    group = next(each for each in tenant.groups if each.primary_smtp_address == address)
    return {
        each.primary_smtp_address
        for each in tenant.recipients
        if each.guid in (group.members or ()) and each.recipient_type == "UserMailbox"
    }


def test_a_group_means_its_direct_members(tenant: Snapshot) -> None:
    (one,) = claim(tenant, intent(f"group: {OMNISCOPE_GROUP}")).claims
    assert set(one.expected) == members(tenant, OMNISCOPE_GROUP)
    assert not one.doubtful
    assert one.problem is None


def test_a_policys_group_counts_nested_members_but_not_those_a_deny_policy_keeps_out(tenant: Snapshot) -> None:
    text = intent(
        "group: crm-users@contoso.com", app=CRM, permissions="Mail.Send", mechanism="access-policy",
        more="    also-holds: [Mail.ReadWrite, Calendars.ReadWrite, Contacts.Read]\n",
    )  # fmt: skip
    (one,) = claim(tenant, text).claims
    denied = members(tenant, "executives@contoso.com")
    nested = members(tenant, "crm-sued@contoso.com")
    everyone = members(tenant, "crm-users@contoso.com") | nested
    assert denied & everyone, "the sample has somebody in both, or this test says nothing"
    assert set(one.expected) == everyone - denied


def test_the_same_claims_follow_from_the_plan_of_an_intent(tenant: Snapshot) -> None:
    for text in (
        intent(f"group: {OMNISCOPE_GROUP}"),
        intent(f"group-scope: {OMNISCOPE_GROUP}"),
        intent("mailboxes: [ada@contoso.com, ceo@contoso.com]"),
        intent("filter: \"DisplayName -like 'A*'\""),
    ):
        plan = plan_scope(tenant, loads_intent(text, "scope.yaml"))
        from_plan = of_plan(plan.apps[0], Reach(tenant))
        from_intent = claim(tenant, text)
        assert (
            [set(one.expected) for one in from_plan.claims]
            == [set(one.expected) for one in from_intent.claims]
            != [set()]
        )
        assert from_plan.moved == ()
        assert from_plan.token_wait == from_intent.token_wait == "long_token"


def test_a_list_means_the_same_in_plan_and_intent_where_a_deny_policy_keeps_some_out(tenant: Snapshot) -> None:
    (denied, *_) = sorted(members(tenant, "executives@contoso.com"))
    text = intent(
        f"mailboxes: [ada@contoso.com, {denied}]", app=CRM, permissions="Mail.Send", mechanism="access-policy",
        more="    also-holds: [Mail.ReadWrite, Calendars.ReadWrite, Contacts.Read]\n",
    )  # fmt: skip
    (one,) = claim(tenant, text).claims
    assert set(one.expected) == {"ada@contoso.com"}, f"{denied} stays denied whatever the list says"


def test_a_deny_policy_made_since_the_plan_is_not_passed_over(tenant: Snapshot) -> None:
    text = intent(
        "group: crm-users@contoso.com", app=CRM, permissions="Mail.Send", mechanism="access-policy",
        more="    also-holds: [Mail.ReadWrite, Calendars.ReadWrite, Contacts.Read]\n",
    )  # fmt: skip
    plan = plan_scope(tenant, loads_intent(text, "scope.yaml"))
    (before,) = of_plan(plan.apps[0], Reach(tenant)).claims
    assert isinstance(tenant.access_policies, tuple)
    restrict = next(each for each in tenant.access_policies if each.access_right == "RestrictAccess")
    deny = replace(restrict, access_right="DenyAccess", identity=restrict.identity + " denied")
    later = Reach(replace(tenant, access_policies=(*tenant.access_policies, deny)))
    after = of_plan(plan.apps[0], later)
    assert set(after.claims[0].expected) == set(before.expected) != set()
    assert after.moved == ()
    assert not set(later.sets(CRM, "Mail.Send")[0]) & set(before.expected), "all of it is denied now"


def test_what_is_held_beside_keeps_an_app_from_being_scoped(tenant: Snapshot) -> None:
    assert claim(tenant, intent(f"group: {OMNISCOPE_GROUP}")).not_scoped_because == ("leftover-consent",)
    backup = claim(tenant, intent(f"group: {OMNISCOPE_GROUP}", app="Contoso Backup Connector"))
    assert set(backup.not_scoped_because) == {"ews", "mailbox-item"}
    assert backup.scoped is False


def test_what_cannot_be_told_is_neither_scoped_nor_not(tenant: Snapshot) -> None:
    bare = replace(tenant, apps=tuple(replace(each, consents=()) for each in tenant.apps))  # type: ignore[union-attr]  # read
    assert claim(bare, intent(f"group: {OMNISCOPE_GROUP}")).scoped is True
    unread = claim(replace(bare, role_assignments=UNSET), intent(f"group: {OMNISCOPE_GROUP}"))
    assert unread.scoped is None
    assert unread.not_scoped_because == ("unread",)


def test_an_unread_membership_is_doubtful_for_everyone_and_says_why(tenant: Snapshot) -> None:
    groups = tuple(
        replace(each, members=None) if each.primary_smtp_address == OMNISCOPE_GROUP else each
        for each in tenant.groups  # type: ignore[union-attr]  # the sample is read whole
    )
    (one,) = claim(replace(tenant, groups=groups), intent(f"group: {OMNISCOPE_GROUP}")).claims
    assert not one.expected
    assert len(one.doubtful) == 57
    assert one.problem


def test_a_group_that_is_gone_is_a_problem_not_an_empty_scope(tenant: Snapshot) -> None:
    (one,) = claim(tenant, intent("group: nobody@contoso.com")).claims
    assert one.problem is not None
    assert "nobody@contoso.com" in one.problem
    assert len(one.doubtful) == 57


def test_boundaries_are_nested_members_and_who_must_never_be(tenant: Snapshot) -> None:
    never = claim(tenant, intent(f"group: {OMNISCOPE_GROUP}", more="    prove: {never: [ceo@contoso.com]}\n"))
    assert "ceo@contoso.com" in never.claims[0].near
    crm = claim(tenant, intent("group: crm-users@contoso.com"))
    assert crm.claims[0].near == members(tenant, "crm-sued@contoso.com") - members(tenant, "crm-users@contoso.com")


PROVE = "    prove: {reach: [ada@contoso.com], never: [ceo@contoso.com]}\n"


def with_members(tenant: Snapshot, address: str, *, put: str, take: str) -> Snapshot:
    assert isinstance(tenant.groups, tuple)
    guids = {each.primary_smtp_address: each.guid for each in Reach(tenant).snapshot.recipients}  # type: ignore[union-attr]  # read
    return replace(
        tenant,
        groups=tuple(
            replace(each, members=(*(m for m in each.members or () if m != guids[take]), guids[put]))
            if each.primary_smtp_address == address
            else each
            for each in tenant.groups
        ),
    )


@pytest.mark.parametrize("by", ["plan", "intent"])
def test_who_is_named_under_prove_is_meant_by_name_whoever_joins_or_leaves(tenant: Snapshot, by: str) -> None:
    text = intent(f"group: {OMNISCOPE_GROUP}", more=PROVE)
    plan = plan_scope(tenant, loads_intent(text, "scope.yaml"))
    moved = with_members(tenant, OMNISCOPE_GROUP, put="ceo@contoso.com", take="ada@contoso.com")
    found = of_plan(plan.apps[0], Reach(moved)) if by == "plan" else claim(moved, text)
    (one,) = found.claims
    assert set(one.expected) == members(tenant, OMNISCOPE_GROUP)
    assert "ceo@contoso.com" in one.near
    without = claim(moved, intent(f"group: {OMNISCOPE_GROUP}")).claims[0]
    assert set(without.expected) == members(moved, OMNISCOPE_GROUP), "unnamed, they join and leave with the group"


def test_a_mailbox_under_prove_that_is_gone_is_reached_by_nobody(tenant: Snapshot) -> None:
    plan = plan_scope(tenant, loads_intent(intent(f"group: {OMNISCOPE_GROUP}", more=PROVE), "scope.yaml"))
    assert isinstance(tenant.recipients, tuple)
    left = tuple(each for each in tenant.recipients if each.primary_smtp_address != "ceo@contoso.com")
    (one,) = of_plan(plan.apps[0], Reach(replace(tenant, recipients=left))).claims
    assert set(one.expected) == members(tenant, OMNISCOPE_GROUP)


def test_what_one_entry_must_never_reach_no_other_may_intend(tenant: Snapshot) -> None:
    entry = intent("mailboxes: [ceo@contoso.com]", permissions="Mail.ReadWrite").split("apps:\n")[1]
    text = intent(f"group: {OMNISCOPE_GROUP}", more=PROVE) + entry
    with pytest.raises(BadInput, match=r"line 3: prove.never names ceo@contoso.com, and another entry"):
        plan_scope(tenant, loads_intent(text, "scope.yaml"))


def test_an_app_nobody_knows_is_bad_input_with_its_line(tenant: Snapshot) -> None:
    with pytest.raises(BadInput, match=r"line 3: no app of the snapshot is 'Nobody'"):
        claim(tenant, intent(f"group: {OMNISCOPE_GROUP}", app="Nobody"))


def test_who_joined_and_left_since_the_plan_is_moved(tenant: Snapshot) -> None:
    plan = plan_scope(tenant, loads_intent(intent(f"group: {OMNISCOPE_GROUP}"), "scope.yaml"))
    assert isinstance(tenant.recipients, tuple)
    ceo = next(each for each in tenant.recipients if each.primary_smtp_address == "ceo@contoso.com")
    ada = next(each for each in tenant.recipients if each.primary_smtp_address == "ada@contoso.com")
    groups = tuple(
        replace(each, members=(*(m for m in each.members or () if m != ada.guid), ceo.guid))
        if each.primary_smtp_address == OMNISCOPE_GROUP
        else each
        for each in tenant.groups  # type: ignore[union-attr]  # the sample is read whole
    )
    moved = of_plan(plan.apps[0], Reach(replace(tenant, groups=groups))).moved
    assert {(one.mailbox, one.change) for one in moved} == {("ceo@contoso.com", "joined"), ("ada@contoso.com", "left")}


def test_what_a_wider_intended_permission_lets_through_is_expected_too(tenant: Snapshot) -> None:
    text = (
        intent(f"group: {OMNISCOPE_GROUP}")
        + intent("mailboxes: [ceo@contoso.com]", permissions="Mail.ReadWrite").split("apps:\n")[1]
    )
    one = claim(tenant, text)
    expected = {each.permission: set(each.expected) for each in one.claims}
    assert expected["Mail.ReadWrite"] == {"ceo@contoso.com"}
    assert expected["Mail.Read"] == members(tenant, OMNISCOPE_GROUP) | {"ceo@contoso.com"}
