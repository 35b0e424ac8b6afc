"""Small tenants for planning's tests, written compactly: names stand for Guids, addresses and DNs.

A tenant is a mapping (see tests/data/plan/*.yaml):
mailboxes: [ada, …] or {ada: {Department: Sales}};  groups: {sales: {members: [ada, inner], type: …}} or {sales: [ada]};
units: {berlin: [ada]};  apps: {omni: {consents: [Mail.Read, exo:full_access_as_app], requested: […], foreign: true,
tags: […], credentials: [names], …}};
pointers: [omni, {app: omni, object_id: …}];  scopes: {name: filter};  organization: {…};  absent: [list names];
assignments: [{name, role, app, scope: organization | scope:NAME | unit:NAME | group:NAME, enabled}];
policies: [{app: omni or "*", right: RestrictAccess, group: sales (or a mailbox), valid: true}];
roles: {name: [permissions]};  unread: {what: why};  crowd: 1200 (mailboxes crowd0 …; as a member, CROWD is all of them).
In filters, ``DN(sales)`` stands for a group's DN; elsewhere ``ID(sales)`` for a Guid.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from exoscope.catalog import EXCHANGE, GRAPH, permission
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnit,
    App,
    Consent,
    Credential,
    Group,
    ManagementScope,
    Organization,
    PolicyScope,
    Recipient,
    Requested,
    Role,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
    Tenant,
    Unread,
)
from exoscope.planning.effect import to_scope

READ_AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LISTS = (
    "apps",
    "service_principals",
    "management_scopes",
    "role_assignments",
    "access_policies",
    "recipients",
    "groups",
    "administrative_units",
)


def guid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def address(name: str) -> str:
    return f"{name}@contoso.com"


def dn(name: str) -> str:
    return f"CN={name},OU=contoso.onmicrosoft.com,DC=prod,DC=outlook,DC=com"


def tenant(given: Mapping[str, Any]) -> Snapshot:
    crowd = [f"crowd{n}" for n in range(given.get("crowd", 0))]
    snapshot = Snapshot(
        format="exoscope/snapshot@1",
        read_at=READ_AT,
        tenant=Tenant(guid("tenant"), "contoso.onmicrosoft.com", "worldwide"),
        apps=tuple(_app(name, each or {}) for name, each in given.get("apps", {}).items()),
        service_principals=tuple(_pointer(each) for each in given.get("pointers", ())),
        management_scopes=tuple(_scope(name, each) for name, each in given.get("scopes", {}).items()),
        role_assignments=tuple(_assignment(each) for each in given.get("assignments", ())),
        access_policies=tuple(_policy(each) for each in given.get("policies", ())),
        attributes_read=tuple(given.get("attributes_read", ("Department", "CustomAttribute1"))),
        recipients=_recipients(given.get("mailboxes", ()), given.get("mail_users", ()))
        + tuple(_recipient(name, "UserMailbox", {}) for name in crowd),
        groups=tuple(_group(name, each, crowd) for name, each in given.get("groups", {}).items()),
        administrative_units=tuple(
            AdministrativeUnit(guid(f"unit {name}"), name, tuple(guid(f"{m} external") for m in members))
            for name, members in given.get("units", {}).items()
        ),
        organization=_organization(given.get("organization", {})),
        unread=tuple(Unread(named(what), why) for what, why in given.get("unread", {}).items()),
    )
    if "roles" in given:
        roles = tuple(Role(name, tuple(permissions)) for name, permissions in given["roles"].items())
        snapshot = replace(snapshot, roles=roles)
    return replace(snapshot, **dict.fromkeys(given.get("absent", ()), UNSET))


def named(text: str) -> str:
    """``DN(sales)`` and ``ID(sales)`` written out."""
    text = re.sub(r"DN\(([^)]*)\)", lambda found: dn(found.group(1)), text)
    return re.sub(r"ID\(([^)]*)\)", lambda found: guid(found.group(1)), text)


def _organization(given: Mapping[str, Any]) -> Organization:
    return Organization(
        None, None, given.get("enforce_exo_app_rbac_permissions", False), given.get("is_dehydrated", False)
    )


def _permission(text: str) -> tuple[str, str, str]:
    resource, _, name = text.rpartition(":")
    name, _, other = name.partition("@")  # NAME@OTHER: called so, with the app role id of another
    known = permission(other or name, EXCHANGE if resource == "exo" else GRAPH)
    if other and known is not None:
        return known.resource, str(known.app_role_id), name
    if known is None or known.app_role_id is None:
        return (EXCHANGE if resource == "exo" else GRAPH), guid(f"role {name}"), name
    return known.resource, known.app_role_id, known.name


def _app(name: str, given: Mapping[str, Any]) -> App:
    fields: dict[str, Any] = {
        "kind": given.get("kind", "Application"),
        "account_enabled": not given.get("disabled", False),
        "token_lifetime_minutes": given.get("token_lifetime_minutes"),
    }
    for key in ("tags", "credentials"):
        if key in given:
            fields[key] = tuple(given[key]) if key == "tags" else tuple(_credential(each) for each in given[key])
    for key in given.get("absent", ()):
        fields[key] = UNSET
    return App(
        app_id=guid(f"{name} app"),
        object_id=guid(f"{name} object"),
        application_object_id=None if given.get("foreign") else guid(f"{name} application"),
        display_name=given.get("display_name", name),
        consents=tuple(Consent(guid(f"{name} {each}"), *_permission(each)) for each in given.get("consents", ())),
        requested=tuple(Requested(*_permission(each)) for each in given.get("requested", given.get("consents", ()))),
        **fields,
    )


def _credential(name: str) -> Credential:
    return Credential("secret", guid(f"{name} key"), name, None, "2027-11-23T09:00:00Z")


def _pointer(given: Any) -> ServicePrincipal:
    each = given if isinstance(given, dict) else {"app": given}
    name = each["app"]
    return ServicePrincipal(
        guid(f"{name} app"), each.get("object_id") or guid(f"{name} object"), name, each.get("override")
    )


def _scope(name: str, given: Any) -> ManagementScope:
    each = given if isinstance(given, dict) else {"filter": given}
    return ManagementScope(name, named(each["filter"]), each.get("root"), each.get("exclusive", False))


def _assignment(given: Mapping[str, Any]) -> RoleAssignment:
    kind, _, name = given["scope"].partition(":")
    scope = {
        "organization": {"kind": "organization"},
        "scope": {"kind": "management_scope", "name": name},
        "unit": {"kind": "administrative_unit", "id": guid(f"unit {name}")},
        "group": {"kind": "group", "id": guid(name)},
    }[kind]
    return RoleAssignment(
        given["name"],
        given["role"],
        given.get("assignee") or guid(f"{given['app']} object"),
        given.get("enabled", True),
        to_scope(scope),
    )


def _policy(given: Mapping[str, Any]) -> AccessPolicy:
    app = given["app"] if given["app"] == "*" else guid(f"{given['app']} app")
    group = given["group"]
    scope = PolicyScope(group, f"S-1-5-21-{group}", guid(f"{group} external"))
    identity = f"{guid('tenant')}\\{app}:{scope.sid};{scope.object_id}"
    return AccessPolicy(identity, app, given.get("right", "RestrictAccess"), scope, "by hand", given.get("valid", True))


def _recipients(mailboxes: Any, mail_users: Any) -> tuple[Recipient, ...]:
    boxes = mailboxes if isinstance(mailboxes, dict) else dict.fromkeys(mailboxes)
    rows = [_recipient(name, "UserMailbox", each or {}) for name, each in boxes.items()]
    return (*rows, *(_recipient(name, "MailUser", {}) for name in mail_users))


def _recipient(name: str, kind: str, attributes: Mapping[str, Any]) -> Recipient:
    plain = {key: value for key, value in attributes.items() if key != "aliases"}
    aliases = tuple(address(alias) for alias in attributes.get("aliases", ()))
    return Recipient(
        guid=guid(name),
        external_directory_object_id=guid(f"{name} external"),
        display_name=name,
        primary_smtp_address=address(name),
        email_addresses=(address(name), *aliases),
        distinguished_name=dn(name),
        recipient_type=kind,
        recipient_type_details=kind,
        attributes=plain,
    )


def _group(name: str, given: Any, crowd: Sequence[str] = ()) -> Group:
    each = given if isinstance(given, dict) else {"members": given}
    members = each.get("members", ())
    if members is not None and "CROWD" in members:
        members = [*(member for member in members if member != "CROWD"), *crowd]
    return Group(
        guid=guid(name),
        external_directory_object_id=guid(f"{name} external"),
        sid=f"S-1-5-21-{name}",
        display_name=each.get("display_name", name),
        primary_smtp_address=address(each.get("address", name)),
        distinguished_name=each.get("dn", dn(name)),
        recipient_type_details=each.get("type", "MailUniversalSecurityGroup"),
        members=None if members is None else tuple(guid(member) for member in members),
        owners=each.get("owners", UNSET),
        join_restriction=each.get("join", "Open"),
        depart_restriction=each.get("depart", "Open"),
    )
