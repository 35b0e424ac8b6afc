"""Test-ServicePrincipalAuthorization: what role assignments give an application. Consent does not show, nothing is cached."""

from __future__ import annotations

from collections.abc import Iterable

from exoscope.catalog import granted_by
from exoscope.model import (
    AdministrativeUnitScope,
    GroupScope,
    ManagementScopeScope,
    OrganizationScope,
    Recipient,
    RoleAssignment,
)
from exoscope.twin.errors import NotModelled, Unread
from exoscope.twin.evaluator import in_scope
from exoscope.twin.exchange import service_principal
from exoscope.twin.exchange.call import Call, Row, cmdlet, name_of, never, not_found
from exoscope.twin.exchange.role_assignment import group_scope_name
from exoscope.twin.view import dn_key, fold


@cmdlet("Test-ServicePrincipalAuthorization", "Identity", "Resource")
def test(call: Call) -> Iterable[Row]:
    """One row for each enabled assignment. ``InScope`` is the text ``Not Run`` without -Resource.

    The ScopeType of an assignment over a group is not documented; it is told as the management scope that Exchange makes
    for it.
    """
    assignments = call.read("role_assignments")
    call.read("service_principals")
    identity = call.text("Identity")
    pointer = call.only(service_principal.find(call.view, identity), identity)
    mailbox = _mailbox(call) if call.has("Resource") else None
    names = {fold(name) for name in (pointer.object_id, pointer.app_id, pointer.display_name)}
    return [_row(call, a, mailbox) for a in assignments if a.enabled and fold(a.assignee) in names]


def _mailbox(call: Call) -> Recipient:
    """The documented identities: name, DN and Guid. An address is not among them."""
    identity = call.text("Resource")
    call.read("recipients")
    key = fold(identity)
    found = [
        r
        for r in call.view.recipients(identity)
        if key in (fold(r.guid), fold(r.external_directory_object_id or ""), fold(name_of(r)))
        or dn_key(r.distinguished_name) == dn_key(identity) is not None
    ]
    if not found and "@" in identity and call.view.recipients(identity):
        raise NotModelled("an address as -Resource: its page names name, distinguished name and Guid")
    mailbox = call.only(found, identity)
    if fold(mailbox.recipient_type) != "usermailbox":
        raise not_found(identity)
    return mailbox


def _row(call: Call, assignment: RoleAssignment, mailbox: Recipient | None) -> Row:
    roles = call.view.snapshot.roles
    granted = granted_by(assignment.role, roles)
    if granted is None:
        raise NotModelled(f"what the role '{assignment.role}' gives")
    scope = assignment.scope
    if isinstance(scope, OrganizationScope):
        allowed, kind = "Organization", "Organization"
    elif isinstance(scope, ManagementScopeScope):
        allowed, kind = scope.name, "CustomRecipientScope"
    elif isinstance(scope, AdministrativeUnitScope):
        allowed, kind = scope.id, "AdministrativeUnit"
    elif isinstance(scope, GroupScope):
        allowed, kind = group_scope_name(call.view, scope), "CustomRecipientScope"
    else:
        never(scope)
    inside: bool | str = "Not Run"
    if mailbox is not None:
        answer = in_scope(call.view, assignment, mailbox)
        if answer is None:
            raise Unread(f"the scope of assignment '{assignment.name}'")
        inside = answer
    return {
        "RoleName": assignment.role,
        "GrantedPermissions": ", ".join(granted),
        "AllowedResourceScope": allowed,
        "ScopeType": kind,
        "InScope": inside,
    }
