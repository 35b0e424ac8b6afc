"""Exchange's configuration as nouns: pointers, scopes, assignments, roles, policies, the organisation.

A ``parse_…`` is pure: rows in, nouns out. A ``read_…`` runs the template and parses; it raises the ServiceError family, and
never answers an empty list for something that could not be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from exoscope import catalog
from exoscope.exchange.rows import Cells, parse_rows
from exoscope.exchange.session import LONG, ExchangeSession, Row
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnitScope,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    Organization,
    OrganizationScope,
    PolicyScope,
    Role,
    RoleAssignment,
    Scope,
    ServicePrincipal,
)
from exoscope.model.tenant import Noun
from exoscope.outcome import ObjectNotFound, ServiceError
from exoscope.powershell import render_guarded

APPLICATION_ROLE = "application "  # with the blank: the legacy role ApplicationImpersonation is something else

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def rows_of(
    session: ExchangeSession, template: str, values: Mapping[str, Any] | None = None, *, deadline: float = LONG
) -> tuple[Row, ...]:
    """The rows of a read template."""
    return session.run(render_guarded(template, values or {}).text, deadline=deadline).rows


# -- pointers ----------------------------------------------------------------------------------------------------------


def parse_service_principal(cells: Cells) -> ServicePrincipal:
    """A row of inventory/service_principals."""
    object_id, app_id = cells.text("ObjectId"), cells.text("AppId")
    return ServicePrincipal(
        app_id=app_id,
        object_id=object_id,
        display_name=cells.optional("DisplayName") or object_id,
        override_enforce_exo_app_rbac_permissions=cells.optional_flag("OverrideEnforceExoAppRbacPermissions"),
    )


def read_service_principals(session: ExchangeSession) -> tuple[ServicePrincipal, ...]:
    """Every pointer."""
    return parse_rows(rows_of(session, "inventory/service_principals"), parse_service_principal)


# -- scopes ------------------------------------------------------------------------------------------------------------


def parse_management_scope(cells: Cells) -> ManagementScope | None:
    """A row of inventory/management_scopes; None for one that is not about recipients."""
    kind = cells.optional("ScopeRestrictionType")
    if kind is not None and kind.casefold() != "recipientscope":
        return None
    return ManagementScope(
        name=cells.text("Name"),
        recipient_filter=cells.optional("RecipientFilter") or "",
        recipient_root=cells.optional("RecipientRoot"),
        exclusive=cells.flag("Exclusive"),
    )


def read_management_scopes(session: ExchangeSession) -> tuple[ManagementScope, ...]:
    """Every management scope about recipients."""
    return parse_rows(rows_of(session, "inventory/management_scopes"), parse_management_scope)


# -- assignments -------------------------------------------------------------------------------------------------------


class RawAssignment(Noun, frozen=True):
    """An assignment as Exchange words it. ``scope`` names an administrative unit or group as it stood in the row.

    Exchange tells the assignee by object id, app id or display name, as it likes (facts 1.5); it is kept as told.
    """

    name: str
    role: str
    assignee: str
    enabled: bool
    scope: Scope


def parse_assignment(cells: Cells) -> RawAssignment | None:
    """A row of inventory/role_assignments; None for one that is not an application role given to a service principal."""
    role, kind = cells.text("Role"), cells.optional("RoleAssigneeType")
    if not role.casefold().startswith(APPLICATION_ROLE):
        return None
    if kind is not None and kind.casefold() != "serviceprincipal":
        return None  # role groups hold delegating assignments of every application role
    delegation = cells.optional("RoleAssignmentDelegationType")
    if delegation is not None and delegation.casefold().startswith("delegating"):
        return None
    return RawAssignment(
        name=cells.text("Name"),
        role=role,
        assignee=cells.optional("RoleAssigneeName") or cells.text("RoleAssignee"),
        enabled=cells.flag("Enabled"),
        scope=parse_scope(cells),
    )


def parse_scope(cells: Cells) -> Scope:
    """The scope of an assignment from its three columns (facts 1.5: partly from communities, so nothing else is guessed).

    What is not understood becomes a reference to a management scope that does not exist: what rests on it is unknown.
    """
    kind = (cells.optional("RecipientWriteScope") or "").casefold()
    resource = cells.optional("CustomResourceScope")
    recipient = cells.optional("CustomRecipientWriteScope")
    if kind == "group" and resource is not None:
        # The scope that Exchange makes for a group is named <group name>_<Guid>.
        return GroupScope(id=resource[-36:] if _GUID.fullmatch(resource[-36:]) else resource)
    if kind == "administrativeunit" and recipient is not None:
        return AdministrativeUnitScope(id=recipient)
    if resource is not None and recipient is None:
        return ManagementScopeScope(name=resource)
    if kind == "organization" and resource is None and recipient is None:
        return OrganizationScope()
    return ManagementScopeScope(
        name=f"(not understood: {kind or 'no scope'} {resource or ''} {recipient or ''})".strip()
    )


def read_assignments(session: ExchangeSession) -> tuple[RawAssignment, ...]:
    """Every application role given to a service principal. An administrative unit stands as Exchange named it."""
    return parse_rows(rows_of(session, "inventory/role_assignments"), parse_assignment)


class Unit(Noun, frozen=True):
    """An administrative unit as Exchange lists it: all the names by which an assignment may mean it."""

    id: str
    names: tuple[str, ...]


def parse_unit(cells: Cells) -> Unit:
    """A row of inventory/administrative_units. ``id`` is its directory object id, which Graph knows it by."""
    columns = ("ExternalDirectoryObjectId", "Guid", "Name", "DisplayName", "DistinguishedName")
    names = tuple(value for column in columns if (value := cells.optional(column)) is not None)
    return Unit(id=cells.optional("ExternalDirectoryObjectId") or cells.text("Guid"), names=names)


def read_units(session: ExchangeSession) -> tuple[Unit, ...]:
    """Every administrative unit, without members (Graph has those)."""
    return parse_rows(rows_of(session, "inventory/administrative_units"), parse_unit)


def unit_id(named: str, units: tuple[Unit, ...]) -> str:
    """The directory object id of the unit that Exchange named so; the name itself where none or several have it (unknown)."""
    folded = named.casefold()
    found = {unit.id.casefold(): unit.id for unit in units if folded in {name.casefold() for name in unit.names}}
    return next(iter(found.values())) if len(found) == 1 else named


def assignment(raw: RawAssignment, units: tuple[Unit, ...]) -> RoleAssignment:
    """The noun, its unit by directory object id."""
    scope = raw.scope
    if isinstance(scope, AdministrativeUnitScope):
        scope = AdministrativeUnitScope(id=unit_id(scope.id, units))
    return RoleAssignment(name=raw.name, role=raw.role, assignee=raw.assignee, enabled=raw.enabled, scope=scope)


# -- roles -------------------------------------------------------------------------------------------------------------


def parse_role(cells: Cells) -> str | None:
    """The name of an application role; None for any other role."""
    name = cells.text("Name")
    return name if name.casefold().startswith(APPLICATION_ROLE) else None


def read_roles(session: ExchangeSession) -> tuple[tuple[Role, ...], tuple[str, ...]]:
    """The tenant's application roles, and the names of those whose permissions nobody has told us.

    Exchange lists roles without the permissions they give: those come from the carried table.
    """
    names = parse_rows(rows_of(session, "inventory/roles"), parse_role)
    known = {name: catalog.granted_by(name, UNSET) for name in names}
    roles = tuple(Role(name=name, permissions=given) for name, given in known.items() if given is not None)
    return roles, tuple(name for name, given in known.items() if given is None)


# -- policies ----------------------------------------------------------------------------------------------------------


def parse_policy(cells: Cells) -> AccessPolicy:
    """A row of inventory/access_policies. ScopeIdentityRaw is ``<SID>;<object id>``; so ends Identity."""
    identity = cells.text("Identity")
    raw = cells.optional("ScopeIdentityRaw") or identity.rpartition(":")[2]
    sid, _, object_id = raw.rpartition(";")
    if not sid.startswith("S-") or not _GUID.fullmatch(object_id):
        raise ServiceError("Exchange answered an access policy whose scope is not told", code="unexpected-answer")
    right = cells.text("AccessRight").casefold()
    if right not in ("restrictaccess", "denyaccess"):
        raise ServiceError(f"Exchange answered an access policy with the right {right}", code="unexpected-answer")
    return AccessPolicy(
        identity=identity,
        app_id=cells.text("AppId"),
        access_right="RestrictAccess" if right == "restrictaccess" else "DenyAccess",
        scope=PolicyScope(
            name=cells.optional("ScopeName") or cells.optional("ScopeIdentity") or object_id,
            sid=sid,
            object_id=object_id,
        ),
        description=None if cells.raw("Description") is None else str(cells.raw("Description")),
        valid=cells.flag("IsValid"),
    )


def read_policies(session: ExchangeSession) -> tuple[AccessPolicy, ...]:
    """Every access policy. None in the tenant is an error in Exchange, told apart from others by its exception type."""
    try:
        rows = rows_of(session, "inventory/access_policies")
    except ObjectNotFound:
        return ()
    return parse_rows(rows, parse_policy)


# -- the organisation --------------------------------------------------------------------------------------------------


def parse_organization(cells: Cells) -> Organization:
    """A row of inventory/organization. A flag that is null is null; IsDehydrated missing is not read."""
    dehydrated = cells.optional_flag("IsDehydrated")
    return Organization(
        ews_enabled=_null(cells.optional_flag("EwsEnabled")),
        ews_allowed_app_ids=cells.texts("EwsAllowedAppIDs"),
        enforce_exo_app_rbac_permissions=_null(cells.optional_flag("EnforceExoAppRbacPermissions")),
        is_dehydrated=UNSET if dehydrated is None else dehydrated,
    )


def _null(value: bool | UnsetType | None) -> bool | None:
    return None if isinstance(value, UnsetType) else value


def read_organization(session: ExchangeSession) -> Organization:
    """The organisation's settings."""
    rows = rows_of(session, "inventory/organization")
    if len(rows) != 1:
        raise ServiceError(f"Exchange answered {len(rows)} organisations", code="unexpected-answer")
    return parse_organization(Cells(rows[0]))
