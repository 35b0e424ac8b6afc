"""The twin's groups and recipients, what it refuses, and its faults; through the guard, without the protocol."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from exoscope.model import Group, Snapshot
from twin_exchange import Shell
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample

SAMPLE = load_sample()
APP = app_named(SAMPLE, OMNISCOPE)


def group(name: str = OMNISCOPE_GROUP, snapshot: Snapshot = SAMPLE) -> Group:
    return next(g for g in snapshot.groups if name in (g.primary_smtp_address, g.display_name))  # type: ignore[union-attr]


def recipient(address: str) -> Any:
    return next(r for r in SAMPLE.recipients if r.primary_smtp_address == address)  # type: ignore[union-attr]


def changed(**changes: Any) -> Snapshot:
    return msgspec.structs.replace(SAMPLE, **changes)


@pytest.fixture
def shell() -> Shell:
    return Shell(SAMPLE)


# --- groups ------------------------------------------------------------------------------------------------------


def test_a_managed_group_is_made_hidden_filled_and_removed(shell: Shell) -> None:
    ada, alan = recipient("ada@contoso.com").guid, recipient("alan@contoso.com").guid
    values = {
        "name": "exo-omniscope, x",
        "alias": "exo-omniscope",
        "display_name": "d",
        "notes": "changes mailbox access",
    }
    made = shell("groups/new_group_with_members", members=[ada], **values).rows[0]
    guid = made["Guid"]
    assert made["PrimarySmtpAddress"] == "exo-omniscope@contoso.onmicrosoft.com"
    assert made["DistinguishedName"].startswith("CN=exo-omniscope\\, x,OU=")
    shell("groups/set_group", group=guid, hidden=True, join_restriction="Closed", depart_restriction="Closed")
    row = shell("inventory/distribution_group", identity=guid).rows[0]
    assert (row["HiddenFromAddressListsEnabled"], row["MemberJoinRestriction"]) == (True, "Closed")
    assert (row["GroupType"], row["ManagedBy"], row["Name"]) == (
        "Universal, SecurityEnabled",
        ["Organization Management"],
        "exo-omniscope, x",
    )
    assert shell("inventory/group", identity=guid).rows[0]["Notes"] == "changes mailbox access"
    assert shell("groups/add_member", group=guid, member=alan).errors == []
    assert shell("groups/add_member", group=guid, member=alan).errors == ["MemberAlreadyExistsException"]
    members = {row["Guid"] for row in shell("inventory/distribution_group_members", group=guid).rows}
    assert members == {ada, alan}
    assert shell("groups/remove_member", group=guid, member=ada).errors == []
    assert shell("groups/remove_member", group=guid, member=ada).errors == ["MemberNotFoundException"]
    preview = shell("verify/scope_preview", filter=f"MemberOfGroup -eq '{made['DistinguishedName']}'").rows
    assert [row["Guid"] for row in preview] == [alan]
    assert shell("groups/remove_group", group=guid).errors == []
    assert shell("inventory/group", identity=guid).errors == ["ManagementObjectNotFoundException"]


def test_an_application_is_no_manager_of_a_group(shell: Shell) -> None:
    script = f"Add-DistributionGroupMember -Identity '{group().guid}' -Member 'ceo@contoso.com' -Confirm:$false"
    assert shell.run(script).errors == ["OperationRequiresGroupManagerException"]


def test_a_distribution_group_unless_security_is_asked_for(shell: Shell) -> None:
    rows = shell.run("New-DistributionGroup -Name 'plain'").rows
    assert rows[0]["RecipientTypeDetails"] == "MailUniversalDistributionGroup"


def test_members_of_a_microsoft_365_group_are_behind_its_links(shell: Shell) -> None:
    project = group("Projekt Łódź")
    assert shell("inventory/distribution_group_members", group=project.guid).rows == []
    links = shell("inventory/unified_group_members", group=project.guid).rows
    assert {row["Guid"] for row in links} == set(project.members or ())
    assert shell("inventory/distribution_group", identity=project.guid).errors == ["ManagementObjectNotFoundException"]


def test_members_that_were_not_read_are_refused() -> None:
    unread = msgspec.structs.replace(group(), members=None)
    groups = tuple(unread if g.guid == unread.guid else g for g in SAMPLE.groups)  # type: ignore[union-attr]
    shell = Shell(changed(groups=groups))
    assert shell("inventory/distribution_group_members", group=unread.guid).errors == ["UnauthorizedAccessException"]
    member = recipient("ceo@contoso.com").guid
    assert shell("groups/add_member", group=unread.guid, member=member).errors == ["UnauthorizedAccessException"]


# --- recipients --------------------------------------------------------------------------------------------------


def test_all_recipients_groups_included_with_their_prefixes(shell: Shell) -> None:
    rows = {row["PrimarySmtpAddress"]: row for row in shell("inventory/recipients", properties=["Department"]).rows}
    assert len(rows) == len(SAMPLE.recipients) + len(SAMPLE.groups)  # type: ignore[arg-type]
    ada = rows["ada@contoso.com"]
    assert ada["EmailAddresses"][:2] == ["SMTP:ada@contoso.com", "smtp:a.lovelace@contoso.com"]
    assert rows["projekt-lodz@contoso.com"]["RecipientTypeDetails"] == "GroupMailbox"
    assert list(ada)[-1] == "Department"


@pytest.mark.parametrize(
    "identity",
    ["guid", "external_directory_object_id", "primary_smtp_address", "distinguished_name", "display_name", "alias"],
)
def test_one_recipient_by_any_of_its_names(shell: Shell, identity: str) -> None:
    ada = recipient("ada@contoso.com")
    text = "a.lovelace@contoso.com" if identity == "alias" else getattr(ada, identity)
    assert [row["Guid"] for row in shell("inventory/recipient", identity=text.upper()).rows] == [ada.guid]


def test_an_identity_of_two_is_ambiguous() -> None:
    twins = tuple(msgspec.structs.replace(r, display_name="Ada") for r in SAMPLE.recipients)  # type: ignore[union-attr]
    shell = Shell(changed(recipients=twins))
    assert shell.run("Get-Recipient -Identity 'Ada'").errors == ["ManagementObjectAmbiguousException"]


def test_a_thousand_rows_unless_all_are_asked_for() -> None:
    one = recipient("ada@contoso.com")
    many = tuple(
        msgspec.structs.replace(one, guid=f"00000000-0000-4000-8000-{n:012d}", primary_smtp_address=f"u{n}@contoso.com")
        for n in range(1005)
    )
    shell = Shell(changed(recipients=many, groups=()))
    answer = shell.run("Get-Recipient")
    assert len(answer.rows) == 1000
    assert "There are more results available" in answer.warnings[0]
    assert len(shell.run("Get-Recipient -ResultSize Unlimited").rows) == 1005
    assert len(shell.run("Get-Mailbox -ResultSize 3").rows) == 3


def test_a_scope_preview_is_what_the_filter_means(shell: Shell) -> None:
    rows = shell("verify/scope_preview", filter="RecipientTypeDetails -eq 'RoomMailbox'").rows
    rooms = [r.guid for r in SAMPLE.recipients if r.recipient_type_details == "RoomMailbox"]  # type: ignore[union-attr]
    assert rooms
    assert [row["Guid"] for row in rows] == rooms
    nested = shell("verify/scope_preview", filter=f"MemberOfGroup -eq '{group().distinguished_name}'").rows
    assert {row["Guid"] for row in nested} == set(group().members or ())


def test_a_property_that_was_not_read_is_refused(shell: Shell) -> None:
    assert shell("inventory/recipients", properties=["Pager"]).errors == ["UnauthorizedAccessException"]
    assert shell("verify/scope_preview", filter="Pager -eq '1'").errors == ["UnauthorizedAccessException"]


def test_a_filter_nobody_can_read_one_way_is_not_modelled(shell: Shell) -> None:
    text = "RecipientType -eq 'UserMailbox' -or DisplayName -eq 'x' -and DisplayName -eq 'y'"
    assert shell("verify/scope_preview", filter=text).errors == ["NotImplementedException"]


# --- unread, rights, parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "template", "values"),
    [
        ("service_principals", "inventory/service_principals", {}),
        ("management_scopes", "inventory/management_scopes", {}),
        ("role_assignments", "inventory/role_assignments", {}),
        ("access_policies", "inventory/access_policies", {}),
        ("roles", "inventory/roles", {}),
        ("recipients", "inventory/recipients", {"properties": []}),
        ("groups", "inventory/groups", {}),
        ("administrative_units", "inventory/administrative_units", {}),
        ("organization", "inventory/organization", {}),
        ("management_scopes", "rbac/new_management_scope", {"name": "x", "filter": "City -eq 'x'"}),
        ("access_policies", "verify/access_policy", {"mailbox": "ada@contoso.com", "app_id": APP.app_id}),
    ],
)
def test_a_list_that_was_not_read_is_refused(name: str, template: str, values: dict[str, Any]) -> None:
    shell = Shell(changed(**{name: UNSET}))
    answer = shell(template, **values)
    assert answer.errors == ["UnauthorizedAccessException"]
    assert answer.rows == []


def test_keys_that_were_not_read_stay_out_of_the_row() -> None:
    pointers = tuple(
        msgspec.structs.replace(p, override_enforce_exo_app_rbac_permissions=UNSET)
        for p in SAMPLE.service_principals  # type: ignore[union-attr]
    )
    organization = msgspec.structs.replace(SAMPLE.organization, is_dehydrated=UNSET)  # type: ignore[type-var]
    shell = Shell(changed(service_principals=pointers, organization=organization))
    answer = shell("inventory/service_principals")
    assert "OverrideEnforceExoAppRbacPermissions" not in answer.rows[0]
    assert "OverrideEnforceExoAppRbacPermissions" in answer.warnings[0]
    assert "IsDehydrated" not in shell("inventory/organization").rows[0]


def test_an_operator_who_may_only_read(shell: Shell) -> None:
    reader = Shell(SAMPLE, read_only=True)
    assert reader("inventory/groups").errors == []
    assert reader("groups/remove_group", group=group().guid).errors == ["UnauthorizedAccessException"]
    assert reader.tenant.log == []


def test_only_what_was_imported_is_there(shell: Shell) -> None:
    shell.connect(CommandName=["get-group"])
    assert shell("inventory/groups").errors == []
    assert shell("inventory/roles").errors == ["CommandNotFoundException"]
    assert shell("session/connection").rows[0]["TenantID"] == SAMPLE.tenant.id


def test_an_expired_token_opens_nothing(shell: Shell) -> None:
    shell.clock.sleep(3601)
    answer = shell("inventory/groups")
    assert (answer.errors, answer.rows) == (["Exception"], [])
    assert "UnAuthorized" in answer.texts[0]
    assert shell("session/connection").rows[0]["TokenStatus"] == "Expired"


def test_whatif_changes_nothing(shell: Shell) -> None:
    before = shell.tenant.state
    assert shell.run("New-ManagementScope -Name 'x' -RecipientRestrictionFilter 'City -eq 1' -WhatIf").errors == []
    assert (
        shell.run(
            f"Remove-DistributionGroup -Identity '{group().guid}' -BypassSecurityGroupManagerCheck -WhatIf"
        ).errors
        == []
    )
    assert shell.run("New-DistributionGroup -Name 'x' -WhatIf").errors == []
    assert shell.tenant.state is before
    assert shell.tenant.group_extras == {}


def test_a_prompt_fails(shell: Shell) -> None:
    assert shell.run("Remove-ManagementScope -Identity 'Rooms' -Confirm").errors == ["HostException"]


def test_a_parameter_that_is_not_modelled_is_refused(shell: Shell) -> None:
    answer = shell.run("Get-Recipient -Anr 'a'")
    assert answer.errors == ["NotImplementedException"]
    assert answer.texts == ["not modelled: -Anr of Get-Recipient"]


def test_a_fault_makes_an_unknown_identity_mean_everything(shell: Shell) -> None:
    shell.faults.everything_for_unknown = True
    assert len(shell("inventory/management_scope", identity="nobody").rows) == len(SAMPLE.management_scopes)  # type: ignore[arg-type]


def test_stale_reads_see_the_past_and_writes_the_present(shell: Shell) -> None:
    shell.faults.stale_reads = 30
    shell("rbac/new_management_scope", name="s", filter="City -eq 'x'")
    assert shell("inventory/management_scope", identity="s").errors == ["ManagementObjectNotFoundException"]
    assert shell("rbac/new_management_scope", name="s", filter="City -eq 'x'").errors == [
        "ADObjectAlreadyExistsException"
    ]
    shell.clock.sleep(30)
    assert len(shell("inventory/management_scope", identity="s").rows) == 1


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("Application Mail.Read", {"Application Mail.Read"}),
        (
            "application MAIL.read*",
            {"Application Mail.Read", "Application Mail.ReadBasic", "Application Mail.ReadWrite"},
        ),
        ("ApplicationImp*", {"ApplicationImpersonation"}),
        ("Nothing*", set()),
    ],
)
def test_roles_by_pattern(shell: Shell, pattern: str, found: set[str]) -> None:
    answer = shell.run(f"Get-ManagementRole -Identity '{pattern}'")
    assert ({row["Name"] for row in answer.rows}, answer.errors) == (found, [])


def test_a_role_that_is_not_there(shell: Shell) -> None:
    assert shell.run("Get-ManagementRole -Identity 'Nothing'").errors == ["ManagementObjectNotFoundException"]


def test_a_cmdlet_that_is_not_modelled(shell: Shell) -> None:
    shell.connect(CommandName=["Get-EXOMailbox"])
    assert shell.run("Get-EXOMailbox").texts == ["not modelled: Get-EXOMailbox"]


def test_users_are_those_behind_mailboxes_and_mail_users(shell: Shell) -> None:
    (row,) = shell.run("Get-User -Identity 'ada@contoso.com'").rows
    assert (row["WindowsEmailAddress"], row["UserPrincipalName"]) == ("ada@contoso.com", "ada@contoso.com")
    assert "EmailAddresses" not in row and row["Department"] == "Engineering"
    assert shell.run("Get-User -Identity 'crm-users@contoso.com'").errors == ["ManagementObjectNotFoundException"]
    assert shell.run("Get-User").texts == [
        "not modelled: Get-User without -Identity: the users who have no mailbox are not known"
    ]


def test_a_mailbox_has_a_user_principal_name_and_a_recipient_has_none(shell: Shell) -> None:
    (row,) = shell.run("Get-Mailbox -Identity 'ada@contoso.com'").rows
    assert row["UserPrincipalName"] == "ada@contoso.com"
    (row,) = shell.run("Get-Recipient -Identity 'ada@contoso.com'").rows
    assert "UserPrincipalName" not in row


def test_select_object_leaves_what_was_asked_for(shell: Shell) -> None:
    (row,) = shell.run("Get-OrganizationConfig | Select-Object -Property @('name', 'NoSuch')").rows
    assert row == {"Name": "contoso.onmicrosoft.com", "NoSuch": None}, "as the object spells it"
    first = shell.run("Get-ManagementRole | Select-Object -Property @('Name') -First 2").rows
    assert len(first) == 2
    names = shell.run("Get-ManagementScope | Select-Object -ExpandProperty 'Name'").rows
    assert {"": "Rooms"} in names
