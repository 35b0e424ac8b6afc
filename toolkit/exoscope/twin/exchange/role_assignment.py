"""Management role assignments to applications: RBAC for Applications."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from exoscope.catalog import roles
from exoscope.model import (
    AdministrativeUnitScope,
    GroupScope,
    ManagementScopeScope,
    OrganizationScope,
    RoleAssignment,
    Scope,
)
from exoscope.twin.errors import NotModelled
from exoscope.twin.exchange import management_scope, service_principal
from exoscope.twin.exchange.call import (
    NAME_LIMIT,
    Call,
    Row,
    already_exists,
    bad_argument,
    cmdlet,
    name_of,
    never,
    not_found,
    stable_guid,
)
from exoscope.twin.view import View, fold

_SCOPES = ("CustomResourceScope", "RecipientAdministrativeUnitScope", "RecipientGroupScope")
# Every tenant has assignments to role groups beside those to applications; the list answers them all.
_BUILT_IN = (
    ("View-Only Configuration", "View-Only Organization Management"),
    ("Role Management", "Organization Management"),
)


def find(view: View, identity: str) -> list[RoleAssignment]:
    """Assignments by name or Guid."""
    every = view.snapshot.role_assignments
    if isinstance(every, msgspec.UnsetType):
        return []
    key = fold(identity)
    return [a for a in every if key in (fold(a.name), _guid(a.name))]


def group_scope_name(view: View, scope: GroupScope) -> str:
    """The name of the scope that Exchange makes for an assignment over a group: ``<group name>_<Guid>``."""
    groups = view.groups_by_id(scope.id)
    return f"{name_of(groups[0]) if groups else ''}_{scope.id}"


def _guid(name: str) -> str:
    return stable_guid("assignment", name)


def _row(view: View, assignment: RoleAssignment) -> Row:
    scope = assignment.scope
    kind, recipient_scope, resource_scope = "Organization", "", ""
    if isinstance(scope, ManagementScopeScope):
        kind, resource_scope = "CustomRecipientScope", scope.name
    elif isinstance(scope, AdministrativeUnitScope):
        kind, recipient_scope = "AdministrativeUnit", scope.id
    elif isinstance(scope, GroupScope):
        kind, resource_scope = "Group", group_scope_name(view, scope)
    elif not isinstance(scope, OrganizationScope):
        never(scope)
    return {
        "Identity": assignment.name,
        "Guid": _guid(assignment.name),
        "Name": assignment.name,
        "Role": assignment.role,
        "RoleAssignee": assignment.assignee,
        "RoleAssigneeName": assignment.assignee,
        "RoleAssigneeType": "ServicePrincipal",
        "EffectiveUserName": assignment.assignee,
        "AssignmentMethod": "Direct",
        "RoleAssignmentDelegationType": "Regular",
        "Enabled": assignment.enabled,
        "RecipientWriteScope": kind,
        "CustomRecipientWriteScope": recipient_scope,
        "CustomResourceScope": resource_scope,
    }


def _built_in(call: Call) -> Iterable[Row]:
    for role, group in _BUILT_IN:
        yield _of_group(role, group, "Regular")
    # Organization Management may hand on every application role (application-rbac, "Requirements")
    for role in roles(call.view.snapshot.roles):
        yield _of_group(role, "Organization Management", "DelegatingOrgWide")


def _of_group(role: str, group: str, kind: str) -> Row:
    name = f"{role}-{group}{'' if kind == 'Regular' else '-Delegating'}"[:NAME_LIMIT]
    return {
        "Identity": name,
        "Guid": _guid(name),
        "Name": name,
        "Role": role,
        "RoleAssignee": group,
        "RoleAssigneeName": group,
        "RoleAssigneeType": "RoleGroup",
        "EffectiveUserName": "All Group Members",
        "AssignmentMethod": "Direct",
        "RoleAssignmentDelegationType": kind,
        "Enabled": True,
        "RecipientWriteScope": "Organization",
        "CustomRecipientWriteScope": "",
        "CustomResourceScope": "",
    }


@cmdlet(
    "Get-ManagementRoleAssignment",
    "Identity",
    "RoleAssignee",
    "Role",
    "Enabled",
    "Delegating",
    "RecipientGroupScope",
    "RecipientAdministrativeUnitScope",
)
def get(call: Call) -> Iterable[Row]:
    every: Sequence[RoleAssignment] = call.read("role_assignments")
    rows = [*(_row(call.view, a) for a in every), *_built_in(call)]
    if call.has("Identity"):
        identity = call.text("Identity")
        mine = [row for row in rows if fold(identity) in (fold(row["Name"]), row["Guid"])]
        rows = call.chosen(mine, identity, lambda: rows)
    if call.has("RoleAssignee"):
        rows = _of(call, call.text("RoleAssignee"), rows)
    if call.has("Role"):
        rows = [row for row in rows if fold(row["Role"]) == fold(call.text("Role"))]
    if call.has("Enabled"):
        rows = [row for row in rows if row["Enabled"] == call.get("Enabled")]
    if call.has("Delegating"):
        rows = [row for row in rows if (row["RoleAssignmentDelegationType"] != "Regular") == call.get("Delegating")]
    for parameter in _SCOPES[1:]:
        if call.has(parameter):
            wanted = _scope(call, parameter)
            names = {a.name for a in every if a.scope == wanted}
            rows = [row for row in rows if row["Name"] in names]
    return rows


def _of(call: Call, assignee: str, rows: list[Row]) -> list[Row]:
    call.read("service_principals")
    pointers = service_principal.find(call.view, assignee)
    if not pointers:
        named = [row for row in rows if fold(row["RoleAssigneeName"]) == fold(assignee)]
        if not named:
            raise not_found(assignee)
        return named
    pointer = call.only(pointers, assignee)
    names = {fold(name) for name in (pointer.object_id, pointer.app_id, pointer.display_name)}
    return [
        row for row in rows if fold(row["RoleAssigneeName"]) in names and row["RoleAssigneeType"] == "ServicePrincipal"
    ]


def _scope(call: Call, parameter: str) -> Scope:
    """The scope that a parameter names; it must be there."""
    identity = call.text(parameter)
    if parameter == "CustomResourceScope":
        call.read("management_scopes")
        return ManagementScopeScope(name=call.only(management_scope.find(call.view, identity), identity).name)
    if parameter == "RecipientAdministrativeUnitScope":
        units = call.read("administrative_units")
        mine = [u for u in units if fold(identity) in (fold(u.id), fold(u.display_name), stable_guid("unit", u.id))]
        return AdministrativeUnitScope(id=call.only(mine, identity).id)
    call.read("groups")
    found = list(call.view.groups(identity))
    exact = [g for g in found if fold(identity) in (fold(g.guid), fold(g.external_directory_object_id or ""))]
    group = call.only(exact or found, identity)
    return GroupScope(id=group.external_directory_object_id or group.guid)


def _given_scope(call: Call) -> Scope | None:
    given = [name for name in _SCOPES if call.has(name)]
    if len(given) > 1:
        raise NotModelled(f"{' and '.join('-' + name for name in given)} in one command: nothing says what that means")
    return _scope(call, given[0]) if given else None


@cmdlet("New-ManagementRoleAssignment", "Name", "Role", "App", *_SCOPES, "Force", writes=True)
def new(call: Call) -> Iterable[Row]:
    """Without a scope parameter the assignment covers the whole organisation."""
    call.refuse_dehydrated()
    every = call.read("role_assignments")
    call.read("service_principals")
    app = call.text("App")
    pointer = call.only(service_principal.find(call.view, app), app)
    role = call.text("Role")
    known = next((name for name in roles(call.view.snapshot.roles) if fold(name) == fold(role)), None)
    if known is None:
        raise not_found(role)
    scope = _given_scope(call) or OrganizationScope()
    name = call.new_name() if call.has("Name") else _free_name(f"{known}-{pointer.object_id}", every)
    if any(fold(other.name) == fold(name) for other in every):
        raise already_exists(name)
    assignment = RoleAssignment(name=name, role=known, assignee=pointer.object_id, enabled=True, scope=scope)
    call.change(name, role_assignments=(*every, assignment))
    return [_row(call.view, assignment)]


def _free_name(wanted: str, every: Sequence[RoleAssignment]) -> str:
    taken = {fold(a.name) for a in every}
    name, number = wanted[:NAME_LIMIT], 1
    while fold(name) in taken:
        suffix = f"-{number}"
        name, number = wanted[: NAME_LIMIT - len(suffix)] + suffix, number + 1
    return name


@cmdlet("Set-ManagementRoleAssignment", "Identity", "Enabled", *_SCOPES, "Force", writes=True)
def update(call: Call) -> Iterable[Row]:
    """A new scope replaces the former one; answers nothing."""
    every = call.read("role_assignments")
    identity = call.text("Identity")
    assignment = call.only(find(call.view, identity), identity)
    scope = _given_scope(call) or assignment.scope
    enabled = call.get("Enabled") if call.has("Enabled") else assignment.enabled
    if not isinstance(enabled, bool):
        raise bad_argument("Enabled", "Cannot convert the value to a Boolean.")
    changed = msgspec.structs.replace(assignment, scope=scope, enabled=enabled)
    call.change(assignment.name, role_assignments=tuple(changed if a is assignment else a for a in every))
    return []


@cmdlet("Remove-ManagementRoleAssignment", "Identity", "Force", writes=True)
def remove(call: Call) -> Iterable[Row]:
    every = call.read("role_assignments")
    identity = call.text("Identity")
    assignment = call.only(find(call.view, identity), identity)
    call.change(assignment.name, role_assignments=tuple(a for a in every if a is not assignment))
    return []
