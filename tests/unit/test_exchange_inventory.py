"""Rows to nouns: awkward shapes that Exchange gives, and rows that must not be taken for something they are not."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from exoscope.exchange.inventory import (
    RawAssignment,
    Unit,
    assignment,
    parse_assignment,
    parse_management_scope,
    parse_organization,
    parse_policy,
    parse_role,
    parse_scope,
    parse_service_principal,
    unit_id,
)
from exoscope.exchange.recipients import members_template, owner_guids, parse_group, parse_recipients, plain_address
from exoscope.exchange.rows import Cells
from exoscope.exchange.tests import parse_authorization
from exoscope.model import (
    AdministrativeUnitScope,
    GroupScope,
    ManagementScopeScope,
    OrganizationScope,
    Scope,
)
from exoscope.outcome import ServiceError

A = "aaaaaaaa-0000-0000-0000-000000000001"
B = "bbbbbbbb-0000-0000-0000-000000000002"


# -- cells --------------------------------------------------------------------------------------------------------------


def test_columns_compare_without_case_and_a_missing_one_is_not_null() -> None:
    cells = Cells({"EWSEnabled": True, "Null": None})
    assert cells.optional_flag("EwsEnabled") is True
    assert cells.optional_flag("null") is None
    assert cells.optional_flag("Absent") is UNSET


@pytest.mark.parametrize("value", [True, ["a", "b"], {"a": 1}])
def test_a_text_of_another_type_is_an_error(value: Any) -> None:
    with pytest.raises(ServiceError, match="Name"):
        Cells({"Name": value}).text("Name")


def test_not_set_is_null_or_the_empty_text() -> None:
    for row in ({}, {"Name": None}, {"Name": ""}):
        assert Cells(row).optional("Name") is None
        with pytest.raises(ServiceError, match="without Name"):
            Cells(row).text("Name")


def test_flags_and_lists() -> None:
    assert Cells({"F": "True"}).flag("F") is True
    assert Cells({"F": "false"}).flag("F") is False
    with pytest.raises(ServiceError):
        Cells({"F": 1}).flag("F")
    with pytest.raises(ServiceError):
        Cells({"F": None}).flag("F")
    assert Cells({"L": "one"}).texts("L") == ("one",)
    assert Cells({"L": []}).texts("L") == ()
    assert Cells({"L": None}).texts("L") is None
    with pytest.raises(ServiceError):
        Cells({"L": [1]}).texts("L")


# -- assignments --------------------------------------------------------------------------------------------------------

SCOPES: list[tuple[str | None, str | None, str | None, Scope]] = [
    ("Organization", "", "", OrganizationScope()),
    ("Organization", None, None, OrganizationScope()),
    ("CustomRecipientScope", "", "Rooms", ManagementScopeScope("Rooms")),
    ("Organization", "", "Rooms", ManagementScopeScope("Rooms")),
    ("Group", "", f"Sales_{A}", GroupScope(A)),
    ("group", None, f"A_B_{A}", GroupScope(A)),
    ("Group", None, "no guid here", GroupScope("no guid here")),
    ("AdministrativeUnit", "Wien", "", AdministrativeUnitScope("Wien")),
    ("AdministrativeUnit", A, None, AdministrativeUnitScope(A)),
]
NOT_UNDERSTOOD = [
    ("AdministrativeUnit", "", ""),
    ("Group", "", ""),
    ("", "", ""),
    (None, None, None),
    ("Self", "", ""),
    ("MyGAL", "", ""),
    ("OU", "contoso.com/Sales", ""),
    ("CustomRecipientScope", "Rooms", ""),
    ("CustomRecipientScope", "Rooms", "Other"),
    ("ExclusiveRecipientScope", "", ""),
]


def row(kind: str | None, recipient: str | None, resource: str | None, **more: Any) -> dict[str, Any]:
    base = {
        "Name": "one",
        "Role": "Application Mail.Read",
        "RoleAssignee": "x",
        "RoleAssigneeName": B,
        "RoleAssigneeType": "ServicePrincipal",
        "RoleAssignmentDelegationType": "Regular",
        "Enabled": True,
        "RecipientWriteScope": kind,
        "CustomRecipientWriteScope": recipient,
        "CustomResourceScope": resource,
    }
    return {**base, **more}


@pytest.mark.parametrize(("kind", "recipient", "resource", "scope"), SCOPES)
def test_the_scope_of_an_assignment(
    kind: str | None, recipient: str | None, resource: str | None, scope: Scope
) -> None:
    assert parse_scope(Cells(row(kind, recipient, resource))) == scope


@pytest.mark.parametrize("cells", NOT_UNDERSTOOD)
def test_a_scope_that_is_not_understood_is_never_the_whole_organisation_nor_nothing(
    cells: tuple[str, str, str],
) -> None:
    scope = parse_scope(Cells(row(*cells)))
    # A management scope that no tenant has: reach answers unknown.
    assert isinstance(scope, ManagementScopeScope)
    assert "not understood" in scope.name


@pytest.mark.parametrize(
    "left_out",
    [
        {"Role": "ApplicationImpersonation"},
        {"Role": "View-Only Configuration"},
        {"RoleAssigneeType": "RoleGroup"},
        {"RoleAssigneeType": "User"},
        {"RoleAssignmentDelegationType": "DelegatingOrgWide"},
        {"RoleAssignmentDelegationType": "Delegating"},
    ],
)
def test_assignments_that_give_an_application_nothing(left_out: dict[str, str]) -> None:
    assert parse_assignment(Cells(row("Organization", "", "", **left_out))) is None


def test_a_row_without_the_kind_of_assignee_is_kept() -> None:
    kept = parse_assignment(Cells(row("Organization", "", "", RoleAssigneeType=None, RoleAssigneeName=None)))
    assert kept == RawAssignment("one", "Application Mail.Read", "x", True, OrganizationScope())


def test_units_have_other_names_in_exchange() -> None:
    units = (Unit(A, (A, "u-1", "Wien", "CN=Wien")), Unit(B, (B, "u-2", "Graz", "Wien (alt)")))
    assert unit_id("U-1", units) == A
    assert unit_id("graz", units) == B
    assert unit_id("Linz", units) == "Linz"
    assert unit_id("Wien", (*units, Unit(B, ("Wien",)))) == "Wien", "a name of two units is unknown"
    raw = RawAssignment("one", "Application Mail.Read", "x", True, AdministrativeUnitScope("Wien"))
    assert assignment(raw, units).scope == AdministrativeUnitScope(A)


# -- other configuration ------------------------------------------------------------------------------------------------


def test_pointers() -> None:
    pointer = parse_service_principal(Cells({"AppId": A, "ObjectId": B, "DisplayName": None}))
    assert pointer.display_name == B
    assert pointer.override_enforce_exo_app_rbac_permissions is UNSET
    with pytest.raises(ServiceError):
        parse_service_principal(Cells({"AppId": A}))


def test_scopes_about_servers_are_no_recipient_scopes() -> None:
    base = {"Name": "s", "Exclusive": False, "RecipientRoot": "", "RecipientFilter": "x"}
    assert parse_management_scope(Cells({**base, "ScopeRestrictionType": "ServerScope"})) is None
    found = parse_management_scope(Cells({**base, "ScopeRestrictionType": "RecipientScope"}))
    assert found is not None
    assert found.recipient_root is None


def test_application_roles_begin_with_the_word_and_a_blank() -> None:
    assert parse_role(Cells({"Name": "Application Mail.Read"})) == "Application Mail.Read"
    assert parse_role(Cells({"Name": "ApplicationImpersonation"})) is None


POLICY = {
    "Identity": rf"{A}\{B}:S-1-5-21-1;{A}",
    "AppId": B,
    "AccessRight": "RestrictAccess",
    "ScopeName": "Sales",
    "ScopeIdentityRaw": f"S-1-5-21-1;{A}",
    "Description": "",
    "IsValid": True,
}


def test_policies() -> None:
    policy = parse_policy(Cells(POLICY))
    assert (policy.scope.sid, policy.scope.object_id, policy.description) == ("S-1-5-21-1", A, "")
    assert parse_policy(Cells({**POLICY, "ScopeIdentityRaw": None})).scope == policy.scope
    assert parse_policy(Cells({**POLICY, "AccessRight": "denyaccess"})).access_right == "DenyAccess"
    for broken in (
        {"ScopeIdentityRaw": "Sales", "Identity": "x"},
        {"AccessRight": "AllowAccess"},
        {"IsValid": None},
        {"AppId": None},
    ):
        with pytest.raises(ServiceError):
            parse_policy(Cells({**POLICY, **broken}))


def test_the_organisation() -> None:
    found = parse_organization(
        Cells({"EWSEnabled": None, "EwsAllowedAppIDs": None, "EnforceExoAppRbacPermissions": True})
    )
    assert (found.ews_enabled, found.ews_allowed_app_ids, found.enforce_exo_app_rbac_permissions) == (None, None, True)
    assert found.is_dehydrated is UNSET
    assert parse_organization(Cells({"EwsAllowedAppIDs": A, "IsDehydrated": False})).ews_allowed_app_ids == (A,)


# -- recipients ---------------------------------------------------------------------------------------------------------


def recipient(guid: str, **more: Any) -> dict[str, Any]:
    base = {
        "Guid": guid,
        "ExternalDirectoryObjectId": "",
        "Name": f"name-{guid[0]}",
        "DisplayName": "Ada",
        "PrimarySmtpAddress": "ada@contoso.com",
        "EmailAddresses": ["SMTP:ada@contoso.com", "smtp:a.l@contoso.com", "SIP:ada@contoso.com"],
        "DistinguishedName": f"CN={guid}",
        "RecipientType": "UserMailbox",
        "RecipientTypeDetails": "SharedMailbox",
    }
    return {**base, **more}


def test_mailboxes_and_mail_users_stand_apart_from_groups_and_contacts() -> None:
    found = parse_recipients(
        [
            recipient(A),
            recipient(B, RecipientType="MailUser", RecipientTypeDetails="GuestMailUser"),
            recipient("c", RecipientType="MailContact"),
            recipient("d", RecipientType="DynamicDistributionGroup", RecipientTypeDetails="DynamicDistributionGroup"),
            recipient("e", RecipientType="PublicFolder"),
        ],
        (),
    )
    assert [each.guid for each in found.recipients] == [A, B]
    assert list(found.groups) == ["d"]
    assert found.groups["d"].members is None
    assert found.recipients[0].external_directory_object_id is None
    assert found.recipients[0].email_addresses == ("ada@contoso.com", "a.l@contoso.com", "SIP:ada@contoso.com")
    assert found.names["name-c"] == ("c",)


def test_a_property_counts_as_read_only_when_that_is_known() -> None:
    rows = [
        recipient(A, Department="Sales", UserAccountControl=None, Alias="ada", PhoneticDisplayName="Äda", Notes=""),
        recipient(B, Department=None, UserAccountControl=None, Alias="bob", PhoneticDisplayName=None, Notes=None),
    ]
    found = parse_recipients(
        rows, ("Department", "UserAccountControl", "Alias", "PhoneticDisplayName", "Notes", "Absent")
    )
    # UserAccountControl is null everywhere, and nothing says that Get-Recipient shows it; Absent is no column at all.
    assert found.attributes_read == ("Department", "Alias", "PhoneticDisplayName", "Notes")
    assert found.attributes_unread == ("UserAccountControl", "Absent")
    assert found.recipients[0].attributes == {"Department": "Sales", "Alias": "ada", "PhoneticDisplayName": "Äda"}
    assert found.recipients[1].attributes == {"Alias": "bob"}


def test_addresses_of_other_kinds_keep_their_prefix() -> None:
    assert plain_address("SMTP:a@b") == "a@b"
    assert plain_address("smtp:a@b") == "a@b"
    assert plain_address("a@b") == "a@b"
    assert plain_address("X500:/o=x") == "X500:/o=x"


def test_owners() -> None:
    names = {"ada": (A,), "twice": (A, B)}
    assert owner_guids(("Ada", "Organization Management", B), names) == (A, B)
    assert owner_guids((), names) == ()
    assert owner_guids(("twice",), names) is None
    assert owner_guids(("nobody",), names) is None


def test_group_rows() -> None:
    cells = {"Guid": A, "DistinguishedName": "CN=x", "RecipientTypeDetails": "MailUniversalSecurityGroup"}
    assert parse_group(Cells(cells)).managed_by is UNSET
    assert parse_group(Cells({**cells, "ManagedBy": None})).managed_by == ()
    assert parse_group(Cells({**cells, "ManagedBy": "Ada"})).managed_by == ("Ada",)


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        ("MailUniversalSecurityGroup", "inventory/distribution_group_members"),
        ("RoomList", "inventory/distribution_group_members"),
        ("GroupMailbox", "inventory/unified_group_members"),
        ("DynamicDistributionGroup", None),
        ("UniversalSecurityGroup", None),
        ("Something new", None),
    ],
)
def test_how_members_are_read(kind: str, template: str | None) -> None:
    assert members_template(kind) == template


# -- Exchange's own tests -----------------------------------------------------------------------------------------------


def test_authorization_rows() -> None:
    cells = {
        "RoleName": "Application Mail Full Access",
        "GrantedPermissions": "Mail.ReadWrite, Mail.Send",
        "AllowedResourceScope": "Organization",
        "ScopeType": "Organization",
        "InScope": "True",
    }
    found = parse_authorization(Cells(cells))
    assert found.permissions == ("Mail.ReadWrite", "Mail.Send")
    assert found.in_scope is True
    assert parse_authorization(Cells({**cells, "InScope": False})).in_scope is False
    assert parse_authorization(Cells({**cells, "InScope": "Not Run"})).in_scope is None
    for odd in ("Maybe", None, ""):
        with pytest.raises(ServiceError):
            parse_authorization(Cells({**cells, "InScope": odd}))
