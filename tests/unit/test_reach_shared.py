"""What-if questions that share indexes, sets of mailboxes, and names: the parts of reach that others call."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from exoscope.model import AdministrativeUnitScope, GroupScope, OrganizationScope, Snapshot
from exoscope.outcome import NotFound, Unreadable
from exoscope.reach import Reach
from reach_cases import APP_ID, MAILBOXES, address, build, dn, guid

BASE: dict[str, Any] = {
    "consents": ["Mail.Read"],
    "policies": [{"right": "restrict", "scope": "empty"}],
    "scopes": {"s": "(Department -eq 'Sales') -and (MemberOfGroup -eq '<sales>')"},
    "assignments": [{"role": "Application Mail.Read", "scope": {"scope": "s"}}],
}
UNIT: dict[str, Any] = {**BASE, "assignments": [{"role": "Application Mail.Read", "scope": {"unit": "unit-1"}}]}


def _reached(reach: Reach) -> list[str]:
    return [each.partition("@")[0] for each in reach.of(APP_ID, "Mail.Read").allowed]


@pytest.mark.parametrize(
    ("base", "changed", "name", "before", "after"),
    [
        (BASE, {**BASE, "groups": {"sales": ["bob"]}}, "groups", ["ada", "bob"], ["bob"]),
        (BASE, {**BASE, "attributes": {"ada": {"Department": "Sales"}}}, "recipients", ["ada", "bob"], ["ada"]),
        (BASE, {**BASE, "attributes_read": ["Company"]}, "attributes_read", ["ada", "bob"], []),
        (BASE, {**BASE, "scopes": {"s": "Department -eq 'Legal'"}}, "management_scopes", ["ada", "bob"], ["cyd"]),
        (BASE, {**BASE, "assignments": []}, "role_assignments", ["ada", "bob"], []),
        (BASE, {**BASE, "policies": []}, "access_policies", ["ada", "bob"], list(MAILBOXES)),
        (BASE, {**BASE, "consents": ["Mail.ReadWrite"], "policies": []}, "apps", ["ada", "bob"], ["ada", "bob"]),
        (BASE, {**BASE, "pointers": []}, "service_principals", ["ada", "bob"], []),
        (BASE, {**BASE, "roles": {"Application Mail.Read": []}}, "roles", ["ada", "bob"], []),
    ],
)
def test_a_what_if_sees_the_list_that_changed(
    base: dict[str, Any], changed: dict[str, Any], name: str, before: list[str], after: list[str]
) -> None:
    first = Reach(build(base))
    assert _reached(first) == before
    what_if = first.with_(**{name: getattr(build(changed), name)})
    assert _reached(what_if) == after
    assert _reached(first) == before
    assert _reached(what_if.with_(**{name: getattr(first.snapshot, name)})) == before


def test_a_what_if_sees_units_that_changed() -> None:
    first = Reach(build(UNIT))
    assert _reached(first) == ["ada", "dan"]
    units: Any = first.snapshot.administrative_units
    emptied = tuple(msgspec.structs.replace(unit, members=()) for unit in units)
    assert _reached(first.with_(administrative_units=emptied)) == []
    assert len(first.with_(administrative_units=UNSET).of(APP_ID, "Mail.Read").unknown) == len(MAILBOXES)


def test_a_group_that_is_added_is_seen_in_memberships_read_before() -> None:
    """A member that was nobody becomes a nested group."""
    base = build({"consents": ["Mail.Read"], "policies": [{"right": "restrict", "scope": "stranger"}]})
    first = Reach(base)
    assert _reached(first) == []
    groups: Any = base.groups
    nobody = msgspec.structs.replace(
        groups[0], guid=guid("nobody"), external_directory_object_id="x", distinguished_name="CN=x"
    )
    assert _reached(first.with_(groups=(*groups, nobody))) == ["ada", "bob"]


def test_indexes_are_shared_only_where_the_lists_are_the_same() -> None:
    first = Reach(build(BASE))
    assert first.with_(role_assignments=()).mailboxes == first.mailboxes
    assert first.with_(groups=()).mailboxes == first.mailboxes
    other = first.with_(recipients=build(BASE).recipients)
    assert other.mailboxes != first.mailboxes
    with pytest.raises(ValueError, match="different reads"):
        other.mailboxes - first.mailboxes


def test_sets_of_mailboxes() -> None:
    reach = Reach(build(BASE))
    sales = reach.scope_members("Department -eq 'Sales'").inside
    everyone = reach.mailboxes
    assert list(sales) == [address("ada"), address("bob")] == list(sales.addresses())
    assert address("ADA").upper() in sales
    assert address("cyd") not in sales
    assert 7 not in sales
    assert list(everyone - sales) == [address("cyd"), address("dan"), address("rom")]
    assert sales | (everyone - sales) == everyone
    assert sales & (everyone - sales) == reach.addresses(())
    assert sales <= everyone
    assert not everyone <= sales
    assert repr(sales) == "<2 of 5 mailboxes>"
    recipients: Any = reach.snapshot.recipients
    assert reach.addresses(recipients) == everyone


def test_addresses_are_sorted_without_case_and_kept_as_stored() -> None:
    snapshot = build({"consents": ["Mail.Read"]})
    recipients: Any = snapshot.recipients
    renamed = tuple(
        msgspec.structs.replace(each, primary_smtp_address=name)
        for each, name in zip(recipients, ("b@x", "A@x", "a.b@x", "Z@x", "c@x", "d@x"), strict=True)
    )
    assert list(Reach(msgspec.structs.replace(snapshot, recipients=renamed)).mailboxes) == [
        "a.b@x",
        "A@x",
        "b@x",
        "c@x",
        "Z@x",
    ]


def test_members_of_scopes_groups_and_policies() -> None:
    reach = Reach(build(BASE))
    groups: Any = {group.display_name: group for group in reach.snapshot.groups}  # type: ignore[union-attr] # it is read
    assert reach.scope_members(OrganizationScope()).inside == reach.mailboxes
    assert list(reach.scope_members(GroupScope(guid("outer"))).inside) == [address("cyd")]
    assert list(reach.group_members(groups["outer"]).inside) == [address("cyd")]
    assert list(reach.policy_members(groups["outer"]).inside) == [address("ada"), address("bob"), address("cyd")]
    inside, unknown, problem = reach.policy_members(groups["mixed"])
    assert (list(inside), list(unknown)) == ([address("dan")], [address("rom")])
    assert problem
    inside, unknown, problem = reach.group_members(groups["hidden"])
    assert (len(inside), len(unknown)) == (0, 5)
    assert problem
    assert "not read" in problem
    assert reach.scope_members(AdministrativeUnitScope("nowhere")).problem is not None
    assert reach.scope_members("nonsense").problem is not None
    assert reach.scope_members(f"MemberOfGroup -eq '{dn('sales')}'").problem is None
    policies: Any = reach.snapshot.access_policies
    assert len(reach.policy_members(policies[0]).inside) == 0


def test_what_policies_would_leave() -> None:
    reach = Reach(build(BASE))
    allowed, unknown = reach.policy_allows(APP_ID, "Mail.Send")
    assert (len(allowed), len(unknown)) == (0, 0)
    allowed, unknown = reach.policy_allows(APP_ID, "MailboxItem.Read.All")
    assert (len(allowed), len(unknown)) == (5, 0)
    allowed, unknown = reach.policy_allows("another", "Mail.Send")
    assert (len(allowed), len(unknown)) == (5, 0)


def test_an_apps_assignments() -> None:
    reach = Reach(build({**BASE, "assignments": [{"role": "Application Mail.Send", "enabled": False}]}))
    app = reach.find_app(APP_ID)
    found = reach.assignments_of(app)
    assert found is not None
    assert [(each.name, certain) for each, certain in found] == [("assignment-0", True)]
    assert reach.with_(role_assignments=UNSET).assignments_of(app) is None
    doubted = reach.with_(service_principals=UNSET).assignments_of(app)
    assert doubted is not None
    assert [certain for _, certain in doubted] == [False]


def test_a_primary_address_wins_over_an_alias() -> None:
    reach = Reach(build({"aliases": {"bob": ["ada", "robert"]}}))
    assert reach.find_mailbox("ADA@contoso.com").display_name == "Ada"
    assert reach.find_mailbox("Robert@contoso.com").display_name == "Bob"
    assert reach.find_mailbox("smtp:robert@contoso.com").display_name == "Bob"
    with pytest.raises(NotFound):
        reach.find_mailbox("nobody@contoso.com")


def test_without_recipients_there_is_no_answer() -> None:
    unread: Snapshot = msgspec.structs.replace(build(BASE), recipients=UNSET)
    with pytest.raises(Unreadable, match="recipients were not read"):
        Reach(unread)


def test_a_mailboxes_reasons_are_those_that_bear_on_it() -> None:
    reach = Reach(
        build(
            {
                "consents": ["Mail.Read", "Mail.Send"],
                "policies": [{"right": "restrict", "scope": "sales"}, {"right": "restrict", "scope": "legal"}],
                "assignments": [
                    {"role": "Application Mail.ReadWrite", "scope": {"group": "sales"}},
                    {"role": "Application Mail.Read", "scope": {"group": "legal"}},
                ],
            }
        )
    )
    via = {entry.permission: [r.id for r in entry.via] for entry in reach.on(address("cyd")).apps}
    assert via == {"Mail.Read": ["consent-0", "policy-1", "assignment-1"], "Mail.Send": ["consent-1", "policy-1"]}
    via = {entry.permission: [r.id for r in entry.via] for entry in reach.on(address("ada")).apps}
    assert via == {
        "Mail.Read": ["consent-0", "policy-0", "assignment-0"],
        "Mail.ReadWrite": ["assignment-0"],
        "Mail.Send": ["consent-1", "policy-0"],
    }
    assert reach.on(address("dan")).apps == ()


def test_a_role_nobody_knows_is_said_on_each_mailbox_it_may_open() -> None:
    reach = Reach(build({"assignments": [{"role": "Application Mail.Dream", "scope": {"group": "sales"}}]}))
    on = reach.on(address("ada"))
    assert on.unknown
    assert on.unread == ("roles[name=Application Mail.Dream]",)
    assert [finding.code for finding in on.findings] == ["unknown-role"]
    assert not reach.on(address("cyd")).unknown
