"""What every road to Exchange must do alike: one case an operation, with how the tenant stands before it and what must come of it.

Each template stands here with values of the sample tenant (:func:`fitted`), each that names an object also with one that is
not there; then what is refused, in every way the twin refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from exoscope.model import Group, Recipient, Snapshot
from exoscope.powershell import render_guarded, sample_values, templates
from exoscope.twin.exchange import CmdletError
from exoscope.twin.exchange import call as errors
from exoscope.twin.faults import Faults
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample

SAMPLE: Any = load_sample()
ROWS, NONE, DONE = "rows", "no rows", "done"
READS = ("inventory/", "verify/")
WRITES = ("rbac/", "groups/", "access_policy/")
HOSTILE = "d’Arcy; Remove-X | --% `$(x)\n#> 😀\u202e\u00a0'\"‘“@{}"
POWERSHELL = ("gateway", "gateway-pwsh", "pwsh", "script")
EVERYWHERE = (*POWERSHELL, "admin-api")
# Behind the gateway stands the same PowerShell with the same module: what these show of errors is not asked there once more.
ONCE = tuple(road for road in EVERYWHERE if road != "gateway-pwsh")


class Case(NamedTuple):
    """``says``: ``rows``, ``no rows``, ``done``, or the name of the error's class. ``start``: lists of the tenant that differ
    from the sample's. ``fault``: what the twin is made to do wrong. ``roads``: where it can be asked at all.
    """

    name: str
    script: str
    says: str
    start: Mapping[str, Any] = {}
    fault: Callable[[Faults], None] | None = None
    roads: tuple[str, ...] = EVERYWHERE


def operations(*rooms: str) -> list[str]:
    """The templates of these folders that stand for themselves."""
    return [name for name in templates() if name.startswith(rooms)]


def one(found: Any, **fields: Any) -> Any:
    """The one object with these fields."""
    (only,) = [each for each in found if all(getattr(each, name) == value for name, value in fields.items())]
    return only


APP = app_named(SAMPLE, OMNISCOPE)
GROUP: Group = one(SAMPLE.groups, primary_smtp_address=OMNISCOPE_GROUP)
ADA: Recipient = one(SAMPLE.recipients, primary_smtp_address="ada@contoso.com")
OUTSIDER: Recipient = next(
    each for each in SAMPLE.recipients if each.recipient_type == "UserMailbox" and each.guid not in GROUP.members
)
INSIGHT = one(SAMPLE.service_principals, display_name="Sales Insight")
UNIT = one(SAMPLE.administrative_units, display_name="Wien")
POLICY = SAMPLE.access_policies[0]
CRM: Group = one(SAMPLE.groups, display_name="CRM users")
M365: Group = next(each for each in SAMPLE.groups if each.recipient_type_details == "GroupMailbox")


def fitted(template: str) -> dict[str, Any]:
    """A template's sample values, those that name objects of the tenant replaced by such."""
    common = {
        "app": INSIGHT.object_id,
        "assignee": INSIGHT.object_id,
        "filter": "Department -eq 'Sales'",
        "group": GROUP.guid,
        "mailbox": ADA.guid,
        "member": OUTSIDER.guid,
        "members": [ADA.guid, OUTSIDER.guid],
        "resource": ADA.guid,
        "scope": "Rooms",
        "unit": UNIT.id,
    }
    own: dict[str, dict[str, Any]] = {
        "access_policy/new_policy": {"app_id": APP.app_id, "group": GROUP.external_directory_object_id},
        "access_policy/remove_policy": {"identity": POLICY.identity},
        "groups/remove_member": {"member": GROUP.members[0]},
        "inventory/access_policy": {"identity": POLICY.identity},
        "inventory/administrative_unit": {"identity": UNIT.id},
        "inventory/distribution_group": {"identity": GROUP.guid},
        "inventory/group": {"identity": M365.guid},
        "inventory/management_scope": {"identity": "Team O'Brien"},
        "inventory/recipient": {"identity": ADA.guid},
        "inventory/role_assignment": {"identity": "Insight mail"},
        "inventory/service_principal": {"identity": INSIGHT.object_id},
        "inventory/unified_group_members": {"group": M365.guid},
        "rbac/new_service_principal": {"app_id": APP.app_id, "object_id": APP.object_id},
        "rbac/remove_management_scope": {"name": "Unused since 2023"},
        "rbac/remove_role_assignment": {"name": "Insight O'Brien (off)"},
        "rbac/remove_service_principal": {"object_id": APP.object_id},
        "rbac/set_management_scope": {"name": "Team O'Brien"},
        "rbac/set_role_assignment_administrative_unit": {"name": "Insight mail"},
        "rbac/set_role_assignment_enabled": {"name": "Insight mail", "enabled": False},
        "rbac/set_role_assignment_group": {"name": "Insight contacts"},
        "rbac/set_role_assignment_management_scope": {"name": "Insight mail"},
        "verify/access_policy": {"app_id": POLICY.app_id},
    }
    given = {**common, **own.get(template, {})}
    return {name: given.get(name, value) for name, value in sample_values(template).items()}


# How the tenant must stand for a template to have something to do.
_POINTER = msgspec.structs.replace(INSIGHT, app_id=APP.app_id, object_id=APP.object_id, display_name="Unused")
_STARTS: dict[str, dict[str, Any]] = {
    "rbac/remove_service_principal": {"service_principals": (*SAMPLE.service_principals, _POINTER)},
    "rbac/enable_organization_customization": {
        "organization": msgspec.structs.replace(SAMPLE.organization, is_dehydrated=True)
    },
}
# Values that name nothing, where a template's sample values are not such already.
_ABSENT: dict[str, dict[str, Any]] = {
    "verify/authorization": {"app": INSIGHT.object_id},
    "verify/access_policy": {"app_id": POLICY.app_id},
}
_NAMES_NOTHING = ("access_policies", "administrative_units", "groups", "scopes", "principals", "recipients", "roles")
_NO_OBJECT = ("rbac/enable_organization_customization", "rbac/new_management_scope", "verify/scope_preview")


def cases() -> list[Case]:
    """Every case, each name once."""
    found = [*_each_template(), *_absent(), *_present(), *_refused(), *_unread(), *_failing(), *_selecting()]
    assert len({case.name for case in found}) == len(found)
    return found


def _case(name: str, template: str, says: str, changes: Mapping[str, Any] | None = None, **more: Any) -> Case:
    values = {**fitted(template), **(changes or {})}
    return Case(name, render_guarded(template, values).text, says, **more)


def _each_template() -> list[Case]:
    reads = [_case(name, name, ROWS) for name in operations(*READS)]
    writes = [_case(name, name, DONE, start=_STARTS.get(name, {})) for name in operations(*WRITES)]
    return [*reads, *writes]


def _absent() -> list[Case]:
    """With the sample values, which name nothing in this tenant."""
    found = []
    for name in operations(*READS, *WRITES):
        values = {**sample_values(name), **_ABSENT.get(name, {})}
        listed = not values or name in ("inventory/recipients", *_NO_OBJECT) or name.startswith("groups/new_group")
        if listed and name != "groups/new_group_with_members":
            continue
        says = "ServiceError" if name == "rbac/new_service_principal" else "ObjectNotFound"
        found.append(Case(f"{name}, absent", render_guarded(name, values).text, says, roads=ONCE))
    return [
        *found,
        _case("verify/scope_preview, nobody", "verify/scope_preview", NONE, {"filter": "Department -eq 'Nowhere'"}),
        Case("no policy in the tenant", "Get-ApplicationAccessPolicy", "ObjectNotFound", {"access_policies": ()}),
        Case("no scope in the tenant", "Get-ManagementScope", NONE, {"management_scopes": (), "role_assignments": ()}),
    ]


def _present() -> list[Case]:
    """What is made is there already, under this name or with other letters."""
    taken = next(each.name for each in SAMPLE.role_assignments)
    kinds = ("administrative_unit", "group", "management_scope", "organization")
    return [
        _case("scope exists", "rbac/new_management_scope", "AlreadyExists", {"name": "ROOMS"}),
        *(
            _case(f"assignment exists, {kind}", f"rbac/new_role_assignment_{kind}", "AlreadyExists", {"name": taken})
            for kind in kinds
        ),
        _case("pointer exists", "rbac/new_service_principal", "AlreadyExists", _ids(INSIGHT)),
        _case("group exists", "groups/new_group", "AlreadyExists", {"name": GROUP.display_name}),
        _case("alias exists", "groups/new_group", "AlreadyExists", {"alias": OMNISCOPE_GROUP.partition("@")[0]}),
        _case("member exists", "groups/add_member", "AlreadyExists", {"member": GROUP.members[0]}),
        _case("not a member", "groups/remove_member", "ObjectNotFound", {"member": OUTSIDER.guid}),
        _case("policy exists", "access_policy/new_policy", "AlreadyExists", _policy()),
    ]


def _ids(pointer: Any) -> dict[str, str]:
    return {"app_id": pointer.app_id, "object_id": pointer.object_id}


def _policy() -> dict[str, str]:
    return {"app_id": POLICY.app_id, "access_right": POLICY.access_right, "group": POLICY.scope.object_id}


def _refused() -> list[Case]:
    dehydrated = _STARTS["rbac/enable_organization_customization"]
    twice = (*SAMPLE.service_principals, msgspec.structs.replace(_POINTER, display_name=INSIGHT.display_name))
    member = f"Add-DistributionGroupMember -Identity '{GROUP.guid}' -Member '' -BypassSecurityGroupManagerCheck"
    assignment = f"New-ManagementRoleAssignment -Role 'Application Mail.Read' -App '{INSIGHT.object_id}'"
    both = f"-RecipientGroupScope '{GROUP.guid}' -CustomResourceScope 'Rooms'"
    return [
        _case("scope in use", "rbac/remove_management_scope", "ServiceError", {"name": "Rooms"}),
        _case("pointer in use", "rbac/remove_service_principal", "ServiceError", {"object_id": INSIGHT.object_id}),
        _case("filter that is none", "rbac/new_management_scope", "ServiceError", {"filter": "Department -eq"}),
        _case("filter on nothing", "rbac/new_management_scope", "ServiceError", {"filter": "Nonsense -eq 'x'"}),
        _case("preview on nothing", "verify/scope_preview", "ServiceError", {"filter": "Nonsense -eq 'x'"}),
        _case("name too long", "rbac/new_management_scope", "ServiceError", {"name": "x" * 65}),
        _case("name empty", "rbac/new_management_scope", "ServiceError", {"name": ""}),
        Case("identity empty", "Remove-ManagementScope -Identity '' -Confirm:$false", "ServiceError"),
        Case("member empty", member, "ServiceError"),
        _case("no role", "rbac/new_role_assignment_organization", "ObjectNotFound", {"role": "Application Mail"}),
        _case("no group as a policy's scope", "access_policy/new_policy", "ServiceError", {"group": M365.guid}),
        _case("no right of a policy", "access_policy/new_policy", "ServiceError", {"access_right": "Maybe"}),
        _case("no app id", "access_policy/new_policy", "ServiceError", {"app_id": "everybody"}),
        _case("no restriction", "groups/set_group", "ServiceError", {"join_restriction": "Sometimes"}),
        _case("dehydrated scope", "rbac/new_management_scope", "ServiceError", start=dehydrated),
        _case("dehydrated assignment", "rbac/new_role_assignment_group", "ServiceError", start=dehydrated),
        _case("hydrated already", "rbac/enable_organization_customization", "ServiceError"),
        _case(
            "two of a name",
            "inventory/service_principal",
            "ServiceError",
            {"identity": INSIGHT.display_name},
            start={"service_principals": twice},
        ),
        Case("two scopes at once", f"{assignment} {both}", "ServiceError"),
        Case(
            "a link of another type",
            f"Get-UnifiedGroupLinks -Identity '{M365.guid}' -LinkType 'Friends'",
            "ServiceError",
        ),
        Case("a parameter that is not modelled", "Get-Recipient -Anr 'a'", "ServiceError"),
    ]


def _unread() -> list[Case]:
    """What the snapshot had not is what the operator may not read."""
    lists = {
        "access_policies": "inventory/access_policies",
        "administrative_units": "inventory/administrative_units",
        "groups": "inventory/groups",
        "management_scopes": "inventory/management_scopes",
        "organization": "inventory/organization",
        "recipients": "inventory/recipients",
        "role_assignments": "inventory/role_assignments",
        "roles": "inventory/roles",
        "service_principals": "inventory/service_principals",
    }
    secret = tuple(msgspec.structs.replace(each, members=None) for each in SAMPLE.groups)
    ownerless = tuple(msgspec.structs.replace(each, owners=UNSET) for each in SAMPLE.groups)
    plain = tuple(
        msgspec.structs.replace(each, override_enforce_exo_app_rbac_permissions=UNSET)
        for each in SAMPLE.service_principals
    )
    settings = msgspec.structs.replace(SAMPLE.organization, is_dehydrated=UNSET)
    return [
        *(_case(f"unread: {name}", read, "AccessDenied", start={name: UNSET}) for name, read in lists.items()),
        _case("unread: members", "inventory/distribution_group_members", "AccessDenied", start={"groups": secret}),
        # Only the twin's own shell sees what is chosen afterwards; elsewhere such a property is not in the rows.
        _case(
            "unread: a property", "inventory/recipients", "AccessDenied", {"properties": ["City"]}, roads=("gateway",)
        ),
        _case("unread: owners", "inventory/distribution_groups", "AccessDenied", start={"groups": ownerless}),
        # These properties are left out of their rows, with a warning.
        _case("unread: owners of any group", "inventory/groups", ROWS, start={"groups": ownerless}),
        _case("unread: override", "inventory/service_principals", ROWS, start={"service_principals": plain}),
        _case("unread: customisation", "inventory/organization", ROWS, start={"organization": settings}),
        _case(
            "unread: policies, written", "access_policy/new_policy", "AccessDenied", start={"access_policies": UNSET}
        ),
    ]


def _failing() -> list[Case]:
    """Each error that the twin's cmdlets have, of a read and of a write; a throttled read is asked again."""
    kinds: dict[str, CmdletError] = {
        "not found": errors.not_found("it"),
        "ambiguous": errors.ambiguous("it"),
        "already exists": errors.already_exists("it"),
        "invalid": errors.invalid("The value 'x|y' is not valid.", "it"),
        "bad argument": errors.bad_argument("Identity", "Cannot convert."),
        "refused": errors.refused("Not now.", "it"),
        "denied": errors.denied("it’s “not” yours"),
        "not modelled": errors.not_modelled("that"),
    }
    says = {"not found": "ObjectNotFound", "already exists": "AlreadyExists", "denied": "AccessDenied"}
    found = []
    for kind, error in kinds.items():
        for template, cmdlet in (
            ("inventory/management_scopes", "Get-ManagementScope"),
            ("rbac/new_management_scope", "New-ManagementScope"),
        ):
            told = says.get(kind, "ServiceError")
            found.append(_case(f"{cmdlet} fails: {kind}", template, told, fault=_fail(cmdlet, error)))
    return [
        *found,
        _case("throttled write", "rbac/new_management_scope", "Throttled", fault=_throttle("New-ManagementScope")),
        # A script asks once; whoever runs it sees the error.
        _case(
            "throttled read",
            "inventory/management_scopes",
            ROWS,
            fault=_throttle("Get-ManagementScope"),
            roads=tuple(road for road in EVERYWHERE if road != "script"),
        ),
        _case(
            "rows, then an error",
            "inventory/management_scopes",
            "ObjectNotFound",
            fault=lambda faults: faults.fail_after_rows("Get-ManagementScope", errors.not_found("a scope")),
        ),
        _case(
            "everything for an unknown identity",
            "inventory/management_scope",
            ROWS,
            {"identity": "Absent"},
            fault=_everything,
        ),
    ]


def _fail(cmdlet: str, error: CmdletError) -> Callable[[Faults], None]:
    return lambda faults: faults.fail(cmdlet, error)


def _throttle(cmdlet: str) -> Callable[[Faults], None]:
    return lambda faults: faults.throttle(cmdlet)


def _everything(faults: Faults) -> None:
    faults.everything_for_unknown = True


def _selecting() -> list[Case]:
    """What Select-Object and the common parameters do, and values that are nothing but data."""
    nothing = "Get-ManagementScope | Select-Object -Property @('Name', 'Nothing')"
    absent = "Get-ManagementScope -Identity 'Absent'"
    remove = "Remove-ManagementScope -Identity 'Unused since 2023' -Confirm:$false"
    hostile = _case("hostile name", "rbac/new_management_scope", DONE, {"name": HOSTILE})
    named = msgspec.structs.replace(SAMPLE.management_scopes[0], name=HOSTILE)
    there = {"management_scopes": (*SAMPLE.management_scopes, named)}
    times = {
        "attributes_read": ("WhenCreated",),
        "recipients": (msgspec.structs.replace(ADA, attributes={"WhenCreated": "2025-03-01T10:30:00Z"}),),
        "groups": (),
        "administrative_units": (),
    }
    return [
        hostile,
        hostile._replace(name="hostile name exists", says="AlreadyExists", start=there),
        _case("hostile name, read", "inventory/management_scope", ROWS, {"identity": HOSTILE}, start=there),
        _case("hostile name, removed", "rbac/remove_management_scope", DONE, {"name": HOSTILE}, start=there),
        _case("hostile name, absent", "rbac/remove_management_scope", "ObjectNotFound", {"name": HOSTILE}),
        _case("--%", "rbac/new_management_scope", DONE, {"name": "--%"}),
        _case("hostile texts", "groups/new_group", DONE, {"display_name": HOSTILE, "notes": f" {HOSTILE}\r\n--%"}),
        _case("hostile description", "access_policy/new_policy", DONE, {"description": HOSTILE}),
        Case("other letters", "get-MANAGEMENTscope | select-object -property @('NAME', 'Guid')", ROWS),
        Case("a property that is not there", nothing, ROWS, roads=POWERSHELL),
        Case("the first two", "Get-ManagementScope | Select-Object -Property 'Name' -First 2", ROWS),
        Case("the first of nothing", f"{absent} | Select-Object -First 2", "ObjectNotFound"),
        Case("the whole rows", "Get-ManagementScope", ROWS),
        Case("a count", "Get-Recipient -ResultSize 3 | Select-Object -Property 'Guid'", ROWS),
        Case("a count as text", "Get-Recipient -ResultSize '3' | Select-Object -Property 'Guid'", ROWS),
        _case("a time", "inventory/recipients", ROWS, {"properties": ["WhenCreated"]}, start=times),
        Case("a switch", "Get-ManagementScope -Orphan", ROWS),
        Case("a switch that is off", "Get-ManagementScope -Orphan:$false", ROWS),
        Case("a boolean", "Get-ManagementRoleAssignment -Enabled $false", ROWS),
        Case("several of a kind", "Get-Recipient -RecipientTypeDetails @('RoomMailbox', 'EquipmentMailbox')", ROWS),
        Case("stop", f"{absent} -ErrorAction Stop", "ObjectNotFound"),
        Case("go on silently", f"{absent} -ErrorAction SilentlyContinue", NONE, roads=POWERSHELL),
        Case("go on and ignore", f"{absent} -ErrorAction Ignore", NONE, roads=POWERSHELL),
        Case("what if", f"{remove} -WhatIf", DONE, roads=POWERSHELL),
        Case("what if not", f"{remove} -WhatIf:$false", DONE),
        Case(
            "nobody to ask",
            remove.replace("$false", "$true"),
            "ServiceError",
            roads=("gateway", "gateway-pwsh", "pwsh"),
        ),
        _case("session/connection", "session/connection", ROWS, roads=POWERSHELL),
        Case("null", "Set-ManagementScope -Identity 'Rooms' -RecipientRoot $null", DONE),
    ]


def start_of(case: Case) -> Snapshot:
    """The tenant as it stands before a case."""
    found: Snapshot = msgspec.structs.replace(SAMPLE, **case.start)
    return found
