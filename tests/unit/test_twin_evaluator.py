"""The twin's evaluator, rule by rule of SNAPSHOT.md; over random tenants it is held against reach elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from exoscope.catalog import EXCHANGE, GRAPH, permission
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnit,
    AdministrativeUnitScope,
    App,
    Consent,
    Group,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    Organization,
    OrganizationScope,
    PolicyScope,
    Recipient,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
    Tenant,
)
from exoscope.outcome import BadInput
from exoscope.twin.behaviour import behaviour_of
from exoscope.twin.evaluator import evaluate
from exoscope.twin.filters import scope_holds
from exoscope.twin.view import View, common_name, dn_key

DN = "CN=g{0},OU=contoso,DC=test"


def consent(name: str, resource: str = GRAPH) -> Consent:
    known = permission(name, resource)
    return Consent(id=name, resource=resource, app_role_id=(known and known.app_role_id) or "none", permission=name)


def app(*names: str, resource: str = GRAPH) -> App:
    return App(
        app_id="app",
        object_id="sp",
        application_object_id=None,
        display_name="App",
        consents=tuple(consent(name, resource) for name in names),
        requested=(),
    )


def group(number: int, *members: str, kind: str = "MailUniversalSecurityGroup", read: bool = True) -> Group:
    return Group(
        guid=f"g{number}",
        external_directory_object_id=f"o{number}",
        sid="S-1",
        display_name="G",
        primary_smtp_address=None,
        distinguished_name=DN.format(number),
        recipient_type_details=kind,
        members=members if read else None,
    )


def policy(right: str, scope: str, app_id: str = "app", valid: bool = True) -> AccessPolicy:
    return AccessPolicy(
        identity=f"{right}{scope}",
        app_id=app_id,
        access_right=right,  # type: ignore[arg-type]  # the two words come from the cases
        scope=PolicyScope(name="s", sid="S-1", object_id=scope),
        description=None,
        valid=valid,
    )


def assigned(
    scope: Any, role: str = "Application Mail.Read", assignee: str = "sp", enabled: bool = True
) -> RoleAssignment:
    return RoleAssignment(name="a", role=role, assignee=assignee, enabled=enabled, scope=scope)


ADA = Recipient(
    guid="m1",
    external_directory_object_id="e1",
    display_name="Ada",
    primary_smtp_address="ada@contoso.com",
    email_addresses=("ada@contoso.com", "a.lovelace@contoso.com"),
    distinguished_name="CN=Ada,OU=contoso,DC=test",
    recipient_type="UserMailbox",
    recipient_type_details="UserMailbox",
    attributes={"Department": "Sales"},
)
POINTER = ServicePrincipal(
    app_id="app", object_id="sp", display_name="App", override_enforce_exo_app_rbac_permissions=None
)
BASE = Snapshot(
    format="exoscope/snapshot@1",
    read_at=datetime(2026, 11, 23, tzinfo=UTC),
    tenant=Tenant(id="t", domain="contoso.onmicrosoft.com", cloud="worldwide"),
    apps=(app(),),
    service_principals=(POINTER,),
    management_scopes=(),
    role_assignments=(),
    access_policies=(),
    roles=UNSET,
    attributes_read=("Department", "ResourceCapacity", "WhenCreated"),
    recipients=(ADA,),
    groups=(),
    administrative_units=(AdministrativeUnit(id="u1", display_name="U", members=("E1",)),),
    organization=Organization(ews_enabled=None, ews_allowed_app_ids=None, enforce_exo_app_rbac_permissions=False),
)


def scope(text: str, root: str | None = None) -> dict[str, Any]:
    return {
        "management_scopes": (ManagementScope(name="S", recipient_filter=text, recipient_root=root, exclusive=False),),
        "role_assignments": (assigned(ManagementScopeScope(name="s")),),
    }


MAIL = app("Mail.Read")
CASES: list[tuple[str, App, str, dict[str, Any], str]] = [
    # rule 1
    ("nothing held", app(), "Mail.Read", {}, "denied"),
    ("consent", MAIL, "Mail.Read", {}, "allowed"),
    ("a wider one lets through", app("Mail.ReadWrite"), "Mail.ReadBasic.All", {}, "allowed"),
    ("a narrower one does not", app("Mail.ReadBasic"), "Mail.Read", {}, "denied"),
    ("the legacy resource", app("Mail.Read", resource=EXCHANGE), "Mail.Read", {}, "denied"),
    ("ews by either name", app("full_access_as_app", resource=EXCHANGE), "EWS.AccessAsApp", {}, "allowed"),
    (
        "imap rests on mailbox permissions",
        app("IMAP.AccessAsApp", resource=EXCHANGE),
        "IMAP.AccessAsApp",
        {},
        "unknown",
    ),
    ("managing gives no reach", app("Exchange.ManageAsApp", resource=EXCHANGE), "Exchange.ManageAsApp", {}, "denied"),
    (
        "restrict matches",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("RestrictAccess", "o1"),), "groups": (group(1, "M1"),)},
        "allowed",
    ),
    (
        "restrict elsewhere",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("RestrictAccess", "o1"),), "groups": (group(1),)},
        "denied",
    ),
    (
        "deny before restrict",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("RestrictAccess", "o1"), policy("DenyAccess", "e1")), "groups": (group(1, "m1"),)},
        "denied",
    ),
    (
        "only deny groups",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("DenyAccess", "o1"),), "groups": (group(1),)},
        "allowed",
    ),
    (
        "a policy of another app",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("DenyAccess", "e1", "other"),)},
        "allowed",
    ),
    ("a policy of every app", MAIL, "Mail.Read", {"access_policies": (policy("DenyAccess", "e1", "*"),)}, "denied"),
    (
        "an invalid policy",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("DenyAccess", "e1", valid=False),)},
        "unknown",
    ),
    ("a dangling policy", MAIL, "Mail.Read", {"access_policies": (policy("RestrictAccess", "gone"),)}, "unknown"),
    (
        "a dangling deny beside one that denies",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("DenyAccess", "gone"), policy("DenyAccess", "e1"))},
        "denied",
    ),
    ("policies unread", MAIL, "Mail.Read", {"access_policies": UNSET}, "unknown"),
    (
        "not governed",
        app("MailboxItem.Read.All"),
        "MailboxItem.Read.All",
        {"access_policies": (policy("DenyAccess", "e1"),)},
        "allowed",
    ),
    (
        "nested security group",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("DenyAccess", "o1"),), "groups": (group(1, "g2"), group(2, "m1", "g1"))},
        "denied",
    ),
    (
        "nested group of another kind",
        MAIL,
        "Mail.Read",
        {
            "access_policies": (policy("DenyAccess", "o1"),),
            "groups": (group(1, "g2"), group(2, "m1", kind="MailUniversalDistributionGroup")),
        },
        "unknown",
    ),
    (
        "by a certain way and an uncertain one",
        MAIL,
        "Mail.Read",
        {
            "access_policies": (policy("DenyAccess", "o1"),),
            "groups": (group(1, "g3", "g2"), group(2, "g3", kind="GroupMailbox"), group(3, "m1")),
        },
        "denied",
    ),
    (
        "members unread",
        MAIL,
        "Mail.Read",
        {"access_policies": (policy("DenyAccess", "o1"),), "groups": (group(1, read=False),)},
        "unknown",
    ),
    (
        "enforced",
        MAIL,
        "Mail.Read",
        {"organization": msgspec.structs.replace(BASE.organization, enforce_exo_app_rbac_permissions=True)},
        "unknown",
    ),  # type: ignore[type-var]
    ("enforcement unread", MAIL, "Mail.Read", {"organization": UNSET}, "unknown"),
    ("pointers unread", MAIL, "Mail.Read", {"service_principals": UNSET}, "unknown"),
    (
        "overridden",
        MAIL,
        "Mail.Read",
        {"service_principals": (msgspec.structs.replace(POINTER, override_enforce_exo_app_rbac_permissions=True),)},
        "unknown",
    ),
    # rule 2
    ("organisation", app(), "Mail.Read", {"role_assignments": (assigned(OrganizationScope()),)}, "allowed"),
    (
        "by app id",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(OrganizationScope(), assignee="APP"),)},
        "allowed",
    ),
    ("disabled", app(), "Mail.Read", {"role_assignments": (assigned(OrganizationScope(), enabled=False),)}, "denied"),
    ("another role", app(), "Mail.Send", {"role_assignments": (assigned(OrganizationScope()),)}, "denied"),
    (
        "a composite role",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(OrganizationScope(), "Application Mail Full Access"),)},
        "allowed",
    ),
    (
        "a role nobody knows",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(OrganizationScope(), "Application New"),)},
        "unknown",
    ),
    (
        "no such pointer",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(OrganizationScope()),), "service_principals": ()},
        "denied",
    ),
    (
        "a stale pointer",
        app(),
        "Mail.Read",
        {
            "role_assignments": (assigned(OrganizationScope(), assignee="app"),),
            "service_principals": (msgspec.structs.replace(POINTER, object_id="old"),),
        },
        "denied",
    ),
    (
        "a name of two pointers",
        app(),
        "Mail.Read",
        {
            "role_assignments": (assigned(OrganizationScope(), assignee="App"),),
            "service_principals": (POINTER, msgspec.structs.replace(POINTER, object_id="o", app_id="p")),
        },
        "unknown",
    ),
    ("in a unit", app(), "Mail.Read", {"role_assignments": (assigned(AdministrativeUnitScope(id="U1")),)}, "allowed"),
    (
        "in a unit nobody knows",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(AdministrativeUnitScope(id="u2")),)},
        "unknown",
    ),
    (
        "in a group",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(GroupScope(id="O1")),), "groups": (group(1, "m1"),)},
        "allowed",
    ),
    (
        "direct members alone",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(GroupScope(id="g1")),), "groups": (group(1, "g2"), group(2, "m1"))},
        "denied",
    ),
    (
        "a policy does not restrict a role",
        app(),
        "Mail.Read",
        {"role_assignments": (assigned(OrganizationScope()),), "access_policies": (policy("DenyAccess", "e1"),)},
        "allowed",
    ),
    ("a filter", app(), "Mail.Read", scope("Department -eq 'sales'"), "allowed"),
    ("another filter", app(), "Mail.Read", scope("Department -eq 'x'"), "denied"),
    ("a filter that does not parse", app(), "Mail.Read", scope("Department"), "unknown"),
    ("below the root", app(), "Mail.Read", scope("Department -eq 'sales'", "OU = Contoso,DC=test"), "allowed"),
    ("not below the root", app(), "Mail.Read", scope("Department -eq 'sales'", "OU=fabrikam,DC=test"), "denied"),
    ("a root that is no dn", app(), "Mail.Read", scope("Department -eq 'sales'", "contoso.com/Users"), "unknown"),
    ("outside whatever the root", app(), "Mail.Read", scope("Department -eq 'x'", "contoso.com/Users"), "denied"),
    ("no such scope", app(), "Mail.Read", {"role_assignments": (assigned(ManagementScopeScope(name="s")),)}, "unknown"),
    ("assignments unread", app(), "Mail.Read", {"role_assignments": UNSET}, "unknown"),
    ("allowed whatever is unread", MAIL, "Mail.Read", {"role_assignments": UNSET}, "allowed"),
    # no mailbox
    (
        "a mail user",
        MAIL,
        "Mail.Read",
        {"recipients": (msgspec.structs.replace(ADA, recipient_type="MailUser"),)},
        "denied",
    ),
]


@pytest.mark.parametrize(
    ("who", "wanted", "changes", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_rules(who: App, wanted: str, changes: dict[str, Any], expected: str) -> None:
    snapshot = msgspec.structs.replace(BASE, **changes)
    assert evaluate(snapshot, who, wanted, snapshot.recipients[0]) == expected  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Department -ne 'x'", True),
        ("ResourceCapacity -ne 5", True),
        ("ResourceCapacity -eq $null", True),
        ("ResourceCapacity -gt 5", False),
        ("Company -eq 'x'", None),
        ("Company -ne $null", None),
        ("Company -eq 'x' -or Department -eq 'Sales'", True),
        ("PrimarySmtpAddress -eq 'A.Lovelace@contoso.com'", True),
        ("EmailAddresses -like 'smtp:a.l*'", True),
        ("EmailAddresses -like 's*'", None),
        ("Department -like 'sal*'", True),
        ("Department -like '*les'", True),
        ("Department -notlike 'x*'", True),
        ("Department -gt 'a'", None),
        ("MemberOfGroup -eq 'g0@contoso.com'", False),
        ("MemberOfGroup -ne 'g0@contoso.com'", True),
        ("MemberOfGroup -eq 'CN=G1 , OU=CONTOSO,DC=test'", True),
        ("MemberOfGroup -eq 'CN=g2,OU=contoso,DC=test'", None),
        ("MemberOfGroup -eq 'CN=nobody,DC=x'", None),
        ("MemberOfGroup -eq $null", False),
        ("RecipientTypeDetails -eq 'usermailbox'", True),
        ("Database -eq 'x' -or Department -eq 'Sales'", None),
        ("Department -eq 'Sales' -or Department -eq 'y' -and Department -eq 'x'", None),
        ("Department -eq 'Sales' -or Department -eq 'y' -and Department -eq 'Sales'", True),
        ("-not (Department -eq 'Sales')", False),
        ("Department -eq 'SALES' -and Company -eq 'x'", None),
        ("DisplayName -eq 'Adа'", False),
        ("DisplayName -eq 'Ａｄａ'", None),
    ],
)
def test_filters(text: str, expected: bool | None) -> None:
    view = View(msgspec.structs.replace(BASE, groups=(group(1, "M1"), group(2, read=False))))
    assert scope_holds(view, text, ADA) is expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CN=a,DC=b", "cn = A , dc=B", True),
        ("CN=a\\, b,DC=c", "CN=a\\2C b,DC=c", True),
        ("CN=a\\, b,DC=c", "CN=a,CN=b,DC=c", False),
        ("CN=\\C3\\A4,DC=c", "CN=Ä,DC=c", True),
        ("CN=a\\ ,DC=c", "CN=a,DC=c", False),
    ],
)
def test_dns_are_compared_by_meaning(one: str, other: str, same: bool) -> None:
    assert (dn_key(one) == dn_key(other)) is same


@pytest.mark.parametrize("text", ["", "Ada", "ada@contoso.com", "CN=,DC=x", "CN=a,", "CN=a\\", "=a"])
def test_what_is_no_dn(text: str) -> None:
    assert dn_key(text) is None


def test_the_name_of_an_object_is_the_start_of_its_dn() -> None:
    assert common_name("CN=O'Brien\\, Seán,OU=x") == "O'Brien, Seán"
    assert common_name("CN=Ada,OU=x") == "Ada"


@pytest.mark.parametrize(
    ("words", "nested", "everybody"),
    [
        ((), "denied", "denied"),
        (("nested-members=counted", "wildcard=counted"), "denied", "denied"),
        (("nested-members=ignored",), "allowed", "denied"),
        (("wildcard=ignored",), "denied", "allowed"),
    ],
)
def test_where_documents_and_users_disagree_it_does_as_told(
    words: tuple[str, ...], nested: str, everybody: str
) -> None:
    told = behaviour_of(words)
    groups = (group(1, "g2"), group(2, "m1"))
    by_group = msgspec.structs.replace(BASE, groups=groups, access_policies=(policy("DenyAccess", "o1"),))
    by_star = msgspec.structs.replace(BASE, access_policies=(policy("DenyAccess", "e1", "*"),))
    mailbox = next(each for each in BASE.recipients if each.guid == "m1")  # type: ignore[union-attr]  # the list is there
    for snapshot, answer in ((by_group, nested), (by_star, everybody)):
        first = View(snapshot, behaviour=told)
        assert evaluate(first, MAIL, "Mail.Read", mailbox) == answer
        later = View(msgspec.structs.replace(snapshot, roles=()), first)
        assert evaluate(later, MAIL, "Mail.Read", mailbox) == answer, "later states behave alike"


@pytest.mark.parametrize(
    "word", ["nested=ignored", "nested-members", "wildcard=maybe", "wildcard=counted wildcard=ignored"]
)
def test_behaviours_nobody_knows(word: str) -> None:
    with pytest.raises(BadInput, match=r"behaviour"):
        behaviour_of(word.split(" "))
