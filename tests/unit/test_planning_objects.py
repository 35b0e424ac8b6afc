"""What is found again, moved, or refused because its name is taken: objects that exoscope itself makes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from exoscope import catalog
from exoscope.intent import loads_intent
from exoscope.model import Consent, Intent, Plan, RoleAssignment, Snapshot, Unread
from exoscope.outcome import Refused
from exoscope.planning import effect, names, plan_scope
from exoscope.planning.drafts import Denied
from exoscope.planning.effect import to_scope
from planning_tenants import guid, tenant

BASE: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "eve"],
    "groups": {"sales": ["ada", "bob"], "hr": ["cid"]},
    "apps": {"omni": {}, "other": {}},
}


def intent(scope: dict[str, Any], permissions: tuple[str, ...] = ("Mail.Read",), mechanism: str = "rbac") -> Intent:
    entry = {"app": "omni", "permissions": list(permissions), "mechanism": mechanism, "scope": scope}
    return loads_intent(yaml.safe_dump({"version": 1, "apps": [entry]}))


def made(snapshot: Snapshot, plan: Plan) -> Snapshot:
    return effect.apply_steps(snapshot, plan.steps)


def code(snapshot: Snapshot, wanted: Intent) -> str:
    with pytest.raises(Refused) as caught:
        plan_scope(snapshot, wanted)
    (refusal,) = caught.value.refusals
    return refusal.code


def listed(*mailboxes: str) -> dict[str, Any]:
    return {"mailboxes": [f"{name}@contoso.com" for name in mailboxes]}


SALES, HR = {"group": "sales"}, {"group": "hr"}


def test_another_scope_for_the_same_permissions_moves_our_scope() -> None:
    snapshot = tenant(BASE)
    snapshot = made(snapshot, plan_scope(snapshot, intent(SALES)))
    plan = plan_scope(snapshot, intent(HR))
    assert [step.title.split(" exoscope")[0] for step in plan.steps] == ["Move scope"]
    assert [step.template for step in plan.steps] == ["rbac/set_management_scope"]
    reach = plan.apps[0].permissions["Mail.Read"]
    assert reach.gained.addresses == ("cid@contoso.com",)
    assert reach.lost.addresses == ("ada@contoso.com", "bob@contoso.com")


def test_a_scope_that_another_app_uses_is_not_moved() -> None:
    snapshot = tenant({**BASE, "pointers": ["other"]})
    snapshot = made(snapshot, plan_scope(snapshot, intent(SALES)))
    scope = snapshot.management_scopes[0]  # type: ignore[index] # made just now
    guest = RoleAssignment(
        "guest",
        "Application Mail.Read",
        guid("other object"),
        True,
        to_scope({"kind": "management_scope", "name": scope.name}),
    )
    snapshot = replace(snapshot, role_assignments=(*snapshot.role_assignments, guest))  # type: ignore[misc] # as above
    with pytest.raises(Refused) as caught:
        plan_scope(snapshot, intent(HR))
    (refusal,) = caught.value.refusals
    assert refusal.code == "scope-shared"
    assert guid("other object") in refusal.message


def test_a_scope_that_gives_the_app_something_else_is_not_moved() -> None:
    snapshot = tenant(BASE)
    snapshot = made(snapshot, plan_scope(snapshot, intent(SALES)))
    scope = snapshot.management_scopes[0]  # type: ignore[index] # made just now
    more = RoleAssignment(
        "more",
        "Application Mail.Send",
        guid("omni object"),
        True,
        to_scope({"kind": "management_scope", "name": scope.name}),
    )
    snapshot = replace(snapshot, role_assignments=(*snapshot.role_assignments, more))  # type: ignore[misc] # as above
    assert code(snapshot, intent(HR)) == "scope-shared"


def test_our_name_on_an_exclusive_scope_or_on_another_role_is_a_clash() -> None:
    snapshot = tenant(BASE)
    done = made(snapshot, plan_scope(snapshot, intent(SALES)))
    scope = replace(done.management_scopes[0], exclusive=True)  # type: ignore[index] # made just now
    assert code(replace(snapshot, management_scopes=(scope,)), intent(SALES)) == "name-clash"
    wrong = replace(done.role_assignments[0], role="Application Mail.Send")  # type: ignore[index] # made just now
    assert code(replace(done, role_assignments=(wrong,)), intent(SALES)) == "name-clash"


def test_our_disabled_assignment_is_moved_first_and_then_switched_on() -> None:
    snapshot = tenant(BASE)
    done = made(snapshot, plan_scope(snapshot, intent(SALES)))
    elsewhere = to_scope({"kind": "group", "id": guid("hr")})
    off = replace(done.role_assignments[0], enabled=False, scope=elsewhere)  # type: ignore[index] # made just now
    plan = plan_scope(replace(done, role_assignments=(off,)), intent(SALES))
    assert [step.template for step in plan.steps] == [
        "rbac/set_role_assignment_management_scope",
        "rbac/set_role_assignment_enabled",
    ]


def test_ours_with_a_narrow_scope_cannot_be_widened_to_the_organisation() -> None:
    snapshot = tenant(BASE)
    done = made(snapshot, plan_scope(snapshot, intent(SALES)))
    assert code(done, intent({"organization": True})) == "name-clash"


def test_a_managed_group_is_made_hidden_and_used_through_holes() -> None:
    plan = plan_scope(tenant(BASE), intent(listed("ada", "eve")))
    pointer, group, hide, scope, assignment = plan.steps
    assert pointer.target.kind == "pointer"
    assert group.after is not None and group.after["notes"].startswith("exoscope: managed for omni")
    assert "changes mailbox access" in group.after["notes"]
    assert (group.after["join_restriction"], group.after["depart_restriction"], group.after["owners"]) == (
        "Closed",
        "Closed",
        [],
    )
    assert group.after["members"] == sorted([guid("ada"), guid("eve")])
    assert hide.values["group"] == f"<{group.id}.guid>"
    assert hide.values["hidden"] is True
    assert scope.values["filter"] == f"MemberOfGroup -eq '<{group.id}.distinguished_name>'"
    assert scope.script is not None and f"''<{group.id}.distinguished_name>''" in scope.script
    assert assignment.values["scope"] == scope.target.key["name"]
    assert plan.apps[0].entries[0].filter == scope.values["filter"]


def test_another_list_updates_the_managed_group_additions_first() -> None:
    snapshot = tenant(BASE)
    done = made(snapshot, plan_scope(snapshot, intent(listed("ada", "eve"))))
    plan = plan_scope(done, intent(listed("ada", "bob", "cid")))
    assert [step.template for step in plan.steps] == [
        "groups/set_group",
        "groups/add_member",
        "groups/add_member",
        "groups/remove_member",
    ]
    assert "Take eve@contoso.com out of the managed group" in [step.title for step in plan.steps]
    assert plan.apps[0].permissions["Mail.Read"].gained.addresses == ("bob@contoso.com", "cid@contoso.com")
    assert plan_scope(made(done, plan), intent(listed("ada", "bob", "cid"))).steps == ()


@pytest.mark.parametrize("mechanism", ["rbac", "access-policy"])
@pytest.mark.parametrize("open_or_unread", [{"join": "Open"}, {"type": "MailUniversalDistributionGroup"}])
def test_a_group_of_our_name_that_is_not_ours_is_a_clash(mechanism: str, open_or_unread: dict[str, Any]) -> None:
    name = names.group_name(guid("omni app"), "omni", ["Mail.Read"], 0)
    group = {"members": ["ada"], "display_name": name, "join": "Closed", "depart": "Closed", **open_or_unread}
    snapshot = tenant({**BASE, "groups": {"theirs": group}})
    assert code(snapshot, intent(listed("ada"), mechanism=mechanism)) == "name-clash"


def test_a_group_with_the_address_of_ours_is_a_clash() -> None:
    name = names.group_name(guid("omni app"), "omni", ["Mail.Read"], 0)
    snapshot = tenant({**BASE, "groups": {"theirs": {"members": [], "address": names.group_alias(name)}}})
    assert code(snapshot, intent(listed("ada"))) == "name-clash"


def test_a_managed_group_whose_members_were_not_read_is_refused() -> None:
    snapshot = tenant(BASE)
    done = made(snapshot, plan_scope(snapshot, intent(listed("ada"))))
    unread = tuple(replace(g, members=None) if g.display_name.startswith("exoscope") else g for g in done.groups)  # type: ignore[union-attr] # read in full
    assert code(replace(done, groups=unread), intent(listed("ada"))) == "membership-unread"


# -- names ----------------------------------------------------------------------------------------------------------------

APPS = [
    "Omniscope",
    "x" * 200,
    "日本語のとても長い名前のアプリケーション" * 5,
    "😀" * 60,
    "a'b\"c,d=e+f*g",
    "",
    "\u0000\u2028",
]


@pytest.mark.parametrize("app", APPS)
def test_names_fit_and_hold_nothing_that_could_be_read_as_more_than_a_name(app: str) -> None:
    for permission in ("Mail.Read", "MailboxItem.ImportExport.All"):
        made_names = (
            names.scope_name(guid("a"), app, [permission], 0),
            names.assignment_name(guid("a"), app, permission, 0),
            names.group_name(guid("a"), app, [permission], 0),
        )
        for name in made_names:
            assert 0 < len(name.encode("utf-16-le")) // 2 <= names.LIMIT
            assert not set(name) & set("'\"*,=+\\<>;#\u2019\u0000\u2028")
            assert name == name.strip()
        alias = names.group_alias(made_names[2])
        assert alias.isascii() and 0 < len(alias) <= names.LIMIT


def test_names_differ_where_apps_permissions_or_places_do() -> None:
    made_names = [
        names.scope_name(guid(app), "Connector", permissions, place)
        for app in ("a", "b")
        for permissions in (["Mail.Read"], ["Mail.Read", "Mail.Send"])
        for place in (0, 1)
    ]
    assert len(set(made_names)) == len(made_names)
    assert names.scope_name(guid("a"), "C", ["B", "a"], 0) == names.scope_name(guid("a").upper(), "C", ["A", "b"], 0)


def test_two_apps_that_would_share_an_object_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "scope_name", lambda *_: "one name for all")
    entries = [
        {"app": app, "permissions": ["Mail.Read"], "mechanism": "rbac", "scope": SALES} for app in ("omni", "other")
    ]
    with pytest.raises(Refused) as caught:
        plan_scope(tenant(BASE), loads_intent(yaml.safe_dump({"version": 1, "apps": entries})))
    assert {each.code for each in caught.value.refusals} == {"name-clash"}
    assert len(caught.value.refusals) == 2


def test_denied_is_no_exoscope_error() -> None:
    """A refusal that escaped its app would end as an internal error, not as somebody's exit code."""
    from exoscope.outcome import ExoscopeError

    assert not issubclass(Denied, ExoscopeError)


def test_a_managed_group_that_another_app_rests_on_is_not_filled_further() -> None:
    snapshot = tenant(BASE)
    snapshot = made(snapshot, plan_scope(snapshot, intent(listed("ada"))))
    group = next(each for each in snapshot.groups if each.display_name.startswith("exoscope"))  # type: ignore[union-attr] # read
    scope = to_scope({"kind": "group", "id": group.guid})
    theirs = RoleAssignment("theirs", "Application Mail.Read", guid("other object"), True, scope)
    shared = replace(snapshot, role_assignments=(*snapshot.role_assignments, theirs))  # type: ignore[misc] # as above
    assert code(shared, intent(listed("ada", "eve"))) == "scope-shared"
    assert plan_scope(shared, intent(listed("ada"))).steps == ()


def test_a_managed_group_that_somebody_owns_is_not_used() -> None:
    snapshot = tenant(BASE)
    snapshot = made(snapshot, plan_scope(snapshot, intent(listed("ada"))))
    groups = tuple(
        replace(each, owners=(guid("eve"),)) if each.display_name.startswith("exoscope") else each
        for each in snapshot.groups  # type: ignore[union-attr] # read
    )
    assert code(replace(snapshot, groups=groups), intent(listed("ada"))) == "name-clash"


@pytest.mark.parametrize(
    ("said", "meant"),
    [("User.Read.All", "Calendars.ReadWrite"), ("User.Read.All", "Mail.Read"), ("My.Role", "Mail.Read")],
)
def test_a_consent_whose_name_and_id_differ_is_not_known(said: str, meant: str) -> None:
    snapshot = tenant(BASE)
    known = catalog.permission(meant)
    assert known is not None
    assert known.app_role_id is not None
    consent = Consent(guid("consent"), known.resource, known.app_role_id, said)
    apps = tuple(
        replace(each, consents=(consent,)) if each.display_name == "omni" else each
        for each in snapshot.apps  # type: ignore[union-attr] # read
    )
    assert code(replace(snapshot, apps=apps), intent(SALES)) == "unknown-permission"


def test_a_consent_id_that_is_no_segment_of_a_path_is_refused() -> None:
    snapshot = tenant({**BASE, "apps": {"omni": {"consents": ["Mail.Read"]}}})
    for given in ("..", "a/../../users/eve", "x?y", ""):
        app = snapshot.apps[0]  # type: ignore[index] # read
        climbing = replace(app, consents=(replace(app.consents[0], id=given),))
        assert code(replace(snapshot, apps=(climbing,)), intent(SALES)) == "unproven"


@pytest.mark.parametrize("name", ["<step-1.guid>", "x <step-4.guid>", "<made omni.guid>"])
def test_a_name_that_reads_like_a_placeholder_is_refused(name: str) -> None:
    snapshot = tenant({**BASE, "apps": {"omni": {"display_name": name}}})
    wanted = intent(SALES)
    entry = replace(wanted.apps[0], app=guid("omni app"))
    assert code(snapshot, replace(wanted, apps=(entry,))) == "name-clash"
    named = tenant({**BASE, "groups": {name: ["ada"]}})
    assert code(named, intent({"group": name})) == "name-clash"


def test_one_entry_without_no_cae_leaves_the_longer_wait() -> None:
    snapshot = tenant(BASE)
    wanted = intent(SALES)
    other = replace(wanted.apps[0], permissions=("Mail.Send",))
    both = replace(wanted, apps=(replace(wanted.apps[0], no_cae=True), other))
    assert plan_scope(snapshot, both).apps[0].token_wait == "long_token"


def test_a_second_group_with_the_managed_groups_display_name_is_not_taken_for_it() -> None:
    snapshot = tenant(BASE)
    snapshot = made(snapshot, plan_scope(snapshot, intent(listed("ada"))))
    ours = next(each for each in snapshot.groups if each.display_name.startswith("exoscope"))  # type: ignore[union-attr] # read
    theirs = replace(
        ours,
        guid=guid("theirs"),
        external_directory_object_id=guid("theirs external"),
        distinguished_name="CN=theirs,DC=contoso",
        display_name=ours.display_name.upper(),
    )
    for groups in ((theirs, *snapshot.groups), (*snapshot.groups, theirs)):  # type: ignore[misc] # read
        assert code(replace(snapshot, groups=groups), intent(listed("ada", "eve"))) == "name-clash"


@pytest.mark.parametrize(
    ("unread", "says"),
    [
        ((), "exoscope snapshot --for"),
        ((Unread("groups[primary_smtp_address=hr@contoso.com].members", "denied"),), "exoscope snapshot --for"),
        ((Unread("groups[primary_smtp_address=sales@contoso.com].members", "denied"),), "could not be read: denied"),
    ],
)
def test_members_that_were_not_read_say_whether_anybody_tried(unread: tuple[Unread, ...], says: str) -> None:
    snapshot = replace(tenant({**BASE, "groups": {"sales": {"members": None}, "hr": ["cid"]}}), unread=unread)
    with pytest.raises(Refused) as caught:
        plan_scope(snapshot, intent({"group": "sales@contoso.com"}))
    (refusal,) = caught.value.refusals
    assert refusal.code == "membership-unread"
    assert says in refusal.message
