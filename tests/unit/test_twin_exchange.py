"""The twin's Exchange cmdlets, as the facts say Exchange behaves; through the guard, without the protocol."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from exoscope.model import AccessPolicy, Group, PolicyScope, Snapshot
from exoscope.powershell import read, render, sample_values, templates
from exoscope.twin.exchange import CMDLETS
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


def scoped(shell: Shell) -> None:
    """Pointer, scope and assignment, as a plan makes them."""
    dn = group().distinguished_name
    assert not shell(
        "rbac/new_service_principal", app_id=APP.app_id, object_id=APP.object_id, display_name="Omniscope"
    ).errors
    assert not shell("rbac/new_management_scope", name="Omniscope", filter=f"MemberOfGroup -eq '{dn}'").errors
    made = shell(
        "rbac/new_role_assignment_management_scope",
        name="Omniscope Mail.Read",
        role="Application Mail.Read",
        app=APP.object_id,
        scope="Omniscope",
    )
    assert not made.errors


def test_every_template_has_its_cmdlets_and_parameters_here() -> None:
    for template in templates():
        for pipeline in read(render(template, sample_values(template))):
            operation = pipeline[0]
            if operation.cmdlet == "Disconnect-ExchangeOnline":
                continue
            found = CMDLETS[operation.cmdlet.lower()]
            common = {"confirm", "whatif", "erroraction", "warningaction", "verbose"}
            assert {name.lower() for name in operation.parameters} <= found.knows | common, template


# --- rbac --------------------------------------------------------------------------------------------------------


def test_an_assignment_shows_the_object_id_and_its_scope(shell: Shell) -> None:
    scoped(shell)
    row = shell("inventory/role_assignment", identity="omniscope mail.read").rows[0]
    assert row["RoleAssigneeName"] == APP.object_id
    assert (row["RoleAssigneeType"], row["RecipientWriteScope"]) == ("ServicePrincipal", "CustomRecipientScope")
    assert (row["CustomResourceScope"], row["CustomRecipientWriteScope"]) == ("Omniscope", "")
    mine = shell("inventory/role_assignments_of", assignee=APP.app_id).rows
    assert [r["Name"] for r in mine] == ["Omniscope Mail.Read"]


def test_the_list_of_assignments_holds_those_to_role_groups_too(shell: Shell) -> None:
    types = {row["RoleAssigneeType"] for row in shell("inventory/role_assignments").rows}
    assert types == {"ServicePrincipal", "RoleGroup"}


def test_a_group_scope_makes_a_scope_of_its_own_name(shell: Shell) -> None:
    shell("rbac/new_service_principal", app_id=APP.app_id, object_id=APP.object_id, display_name="Omniscope")
    named = {"name": "g", "role": "Application Mail.Read", "app": APP.object_id}
    shell("rbac/new_role_assignment_group", group=group().external_directory_object_id, **named)
    row = shell("inventory/role_assignment", identity="g").rows[0]
    assert row["RecipientWriteScope"] == "Group"
    assert row["CustomResourceScope"] == f"Omniscope mailboxes_{group().external_directory_object_id}"
    unit = SAMPLE.administrative_units[0].id  # type: ignore[index]
    shell("rbac/set_role_assignment_administrative_unit", name="g", unit=unit)
    row = shell("inventory/role_assignment", identity="g").rows[0]
    assert (row["RecipientWriteScope"], row["CustomRecipientWriteScope"]) == ("AdministrativeUnit", unit)


def test_without_a_scope_the_whole_organisation_and_a_made_up_name(shell: Shell) -> None:
    shell("rbac/new_service_principal", app_id=APP.app_id, object_id=APP.object_id, display_name="Omniscope")
    row = shell.run(f"New-ManagementRoleAssignment -Role 'Application Mail.Read' -App '{APP.app_id}'").rows[0]
    assert row["RecipientWriteScope"] == "Organization"
    assert 0 < len(row["Name"]) <= 64


def test_two_scopes_in_one_command_are_not_modelled(shell: Shell) -> None:
    scoped(shell)
    answer = shell.run(
        f"New-ManagementRoleAssignment -Role 'Application Mail.Read' -App '{APP.app_id}' -CustomResourceScope 'Omniscope' "
        f"-RecipientGroupScope '{group().guid}'"
    )
    assert answer.errors == ["NotImplementedException"]
    assert answer.texts[0].startswith("not modelled: ")


@pytest.mark.parametrize(
    ("given", "comes_out"),
    [
        ("CustomAttribute1 -eq '012332'", "CustomAttribute1 -eq '012332'"),
        ("City -eq 'Wien' -and Title -like 'VP*'", "((City -eq 'Wien') -and (Title -like 'VP*'))"),
        ("-not (Company -eq 'O''Brien')", "(-not(Company -eq 'O''Brien'))"),
        ('{Company -eq "x"}', "Company -eq 'x'"),
        ("Department -eq $null -or ResourceCapacity -gt 15", "((Department -eq $null) -or (ResourceCapacity -gt 15))"),
    ],
)
def test_a_filter_comes_back_rewritten(shell: Shell, given: str, comes_out: str) -> None:
    shell("rbac/new_management_scope", name="s", filter=given)
    row = shell("inventory/management_scope", identity="s").rows[0]
    assert row["RecipientFilter"] == comes_out
    assert "RecipientRestrictionFilter" not in row


@pytest.mark.parametrize("bad", ["Department -eq", "NoSuchThing -eq 'x'", "Database -eq 'x'"])
def test_a_filter_that_exchange_cannot_read_is_refused(shell: Shell, bad: str) -> None:
    before = shell.tenant.state
    assert shell("rbac/new_management_scope", name="s", filter=bad).errors == ["ParsingException"]
    assert shell.tenant.state is before


def test_a_scope_in_use_cannot_be_removed(shell: Shell) -> None:
    scoped(shell)
    assert shell("rbac/remove_management_scope", name="Omniscope").errors == ["TaskInvalidOperationException"]
    shell("rbac/remove_role_assignment", name="Omniscope Mail.Read")
    assert shell("rbac/remove_management_scope", name="Omniscope").errors == []
    assert shell("inventory/management_scope", identity="Omniscope").errors == ["ManagementObjectNotFoundException"]


def test_setting_answers_nothing_and_moves_every_assignment(shell: Shell) -> None:
    scoped(shell)
    answer = shell("rbac/set_management_scope", name="Omniscope", filter="Department -eq 'Sales'")
    assert (answer.rows, answer.errors) == ([], [])
    assert shell("rbac/set_role_assignment_enabled", name="Omniscope Mail.Read", enabled=False).errors == []
    assert shell("inventory/role_assignment", identity="Omniscope Mail.Read").rows[0]["Enabled"] is False


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("rbac/new_management_scope", {"name": "rooms", "filter": "City -eq 'x'"}),
        ("groups/new_group", {"name": "NOBODY yet", "alias": "x", "display_name": "x", "notes": ""}),
        (
            "rbac/new_role_assignment_organization",
            {
                "name": "digest WIEN",
                "role": "Application Mail.Read",
                "app": app_named(SAMPLE, "Helpdesk Bot").object_id,
            },
        ),
    ],
)
def test_a_name_that_is_taken_in_any_case_already_exists(shell: Shell, template: str, values: dict[str, Any]) -> None:
    assert shell(template, **values).errors == ["ADObjectAlreadyExistsException"]


def test_an_address_that_is_taken_is_refused(shell: Shell) -> None:
    named = {"display_name": "x", "notes": "", "alias": "new", "name": "new"}
    shell("groups/new_group", **named)
    assert shell("groups/new_group", **{**named, "name": "newer"}).errors == ["ProxyAddressExistsException"]


@pytest.mark.parametrize("length", [64, 65])
def test_names_end_at_64_characters(shell: Shell, length: int) -> None:
    answer = shell("rbac/new_management_scope", name="x" * length, filter="City -eq 'x'")
    assert answer.errors == ([] if length == 64 else ["DataValidationException"])


def test_a_pointer_to_nothing_in_entra_is_refused(shell: Shell) -> None:
    ids = {"app_id": APP.app_id, "object_id": APP.application_object_id, "display_name": "x"}
    assert shell("rbac/new_service_principal", **ids).errors == ["TaskInvalidOperationException"]
    assert all(p.app_id != APP.app_id for p in shell.tenant.read("service_principals"))


def test_a_pointer_that_assignments_name_is_not_removed(shell: Shell) -> None:
    scoped(shell)
    assert shell("rbac/remove_service_principal", object_id=APP.object_id).errors == ["NotImplementedException"]
    shell("rbac/remove_role_assignment", name="Omniscope Mail.Read")
    assert shell("rbac/remove_service_principal", object_id=APP.object_id).errors == []


def test_nothing_custom_in_a_dehydrated_organisation() -> None:
    organization = msgspec.structs.replace(SAMPLE.organization, is_dehydrated=True)  # type: ignore[type-var]
    shell = Shell(changed(organization=organization))
    answer = shell("rbac/new_management_scope", name="s", filter="City -eq 'x'")
    assert answer.errors == ["TaskInvalidOperationException"]
    assert "Enable-OrganizationCustomization" in answer.texts[0]
    assert shell("rbac/enable_organization_customization").errors == []
    assert shell("inventory/organization").rows[0]["IsDehydrated"] is False
    assert shell("rbac/new_management_scope", name="s", filter="City -eq 'x'").errors == []
    assert shell("rbac/enable_organization_customization").errors == ["TaskInvalidOperationException"]


# --- authorization -----------------------------------------------------------------------------------------------


def test_exchanges_own_test_knows_assignments_and_no_consent(shell: Shell) -> None:
    assert shell("verify/authorizations", app=APP.object_id).errors == ["ManagementObjectNotFoundException"]
    scoped(shell)
    row = shell("verify/authorizations", app=APP.object_id).rows[0]
    assert row == {
        "RoleName": "Application Mail.Read",
        "GrantedPermissions": "Mail.Read",
        "AllowedResourceScope": "Omniscope",
        "ScopeType": "CustomRecipientScope",
        "InScope": "Not Run",
    }
    inside = recipient("ada@contoso.com").guid in group().members  # type: ignore[operator]
    for address in ("ada@contoso.com", "ceo@contoso.com"):
        answer = shell("verify/authorization", app=APP.object_id, resource=recipient(address).guid)
        expected = recipient(address).guid in group().members  # type: ignore[operator]
        assert answer.rows[0]["InScope"] is expected
    assert inside


def test_scope_types_of_units_and_the_organisation(shell: Shell) -> None:
    unit = shell("verify/authorizations", app=app_named(SAMPLE, "fn-mail-digest").object_id).rows[0]
    assert (unit["ScopeType"], unit["AllowedResourceScope"]) == (
        "AdministrativeUnit",
        SAMPLE.administrative_units[0].id,
    )  # type: ignore[index]
    everywhere = shell("verify/authorizations", app=app_named(SAMPLE, "Helpdesk Bot").object_id).rows[0]
    assert (everywhere["ScopeType"], everywhere["AllowedResourceScope"]) == ("Organization", "Organization")


def test_an_address_as_resource_is_not_modelled(shell: Shell) -> None:
    scoped(shell)
    script = f"Test-ServicePrincipalAuthorization -Identity '{APP.object_id}' -Resource 'ada@contoso.com'"
    assert shell.run(script).errors == ["NotImplementedException"]


# --- access policies ---------------------------------------------------------------------------------------------


def policy(shell: Shell, scope: str, right: str = "RestrictAccess", app_id: str = APP.app_id) -> Any:
    return shell("access_policy/new_policy", app_id=app_id, access_right=right, group=scope, description="d")


def test_a_policy_reads_back_with_its_identity_and_can_be_tested_at_once(shell: Shell) -> None:
    mailbox = recipient("ceo@contoso.com").guid
    outside = lambda: shell("verify/access_policy", mailbox=mailbox, app_id=APP.app_id).rows[0]["AccessCheckResult"]  # noqa: E731
    assert outside() == "Granted"
    made = policy(shell, group().external_directory_object_id or "").rows[0]
    identity = f"{SAMPLE.tenant.id}\\{APP.app_id}:{group().sid};{group().external_directory_object_id}"
    assert made["Identity"] == identity
    assert outside() == "Denied"
    row = shell("inventory/access_policy", identity=identity.upper()).rows[0]
    assert (row["ScopeIdentityRaw"], row["ShardType"], row["IsValid"]) == (identity.partition(":")[2], "All", True)
    assert policy(shell, group().guid).errors == ["ADObjectAlreadyExistsException"]
    assert shell("access_policy/remove_policy", identity=identity).errors == []
    assert outside() == "Granted"


@pytest.mark.parametrize("kind", ["SharedMailbox", "RoomMailbox", "GroupMailbox", "MailUniversalDistributionGroup"])
def test_only_security_principals_may_be_a_policys_scope(shell: Shell, kind: str) -> None:
    every = (*SAMPLE.recipients, *SAMPLE.groups)  # type: ignore[misc]
    found = next(each for each in every if each.recipient_type_details == kind)
    answer = policy(shell, found.guid)
    assert answer.errors == ["RecipientTaskException"]


def test_several_apps_make_several_rows(shell: Shell) -> None:
    other = app_named(SAMPLE, "Sales Insight").app_id
    script = (
        f"New-ApplicationAccessPolicy -AppId @('{APP.app_id}', '{other}') -AccessRight 'denyaccess' "
        f"-PolicyScopeGroupId '{group().guid}'"
    )
    rows = shell.run(script).rows
    assert [row["AppId"] for row in rows] == [APP.app_id, other]
    assert {row["AccessRight"] for row in rows} == {"DenyAccess"}
    assert rows[0]["Description"].startswith(f"AppId: {APP.app_id}; ScopeIdentitySid: S-1-5-21-")


def test_no_policy_at_all_is_an_error_and_not_an_empty_list() -> None:
    shell = Shell(changed(access_policies=()))
    assert shell("inventory/access_policies").errors == ["ManagementObjectNotFoundException"]


def test_a_policy_that_cannot_be_resolved_is_not_modelled() -> None:
    scope = PolicyScope(name="gone", sid="S-1", object_id="00000000-1111-2222-3333-444444444444")
    gone = AccessPolicy(
        identity="x", app_id=APP.app_id, access_right="DenyAccess", scope=scope, description=None, valid=True
    )
    shell = Shell(changed(access_policies=(gone,)))
    answer = shell("verify/access_policy", mailbox=recipient("ada@contoso.com").guid, app_id=APP.app_id)
    assert answer.errors == ["NotImplementedException"]
