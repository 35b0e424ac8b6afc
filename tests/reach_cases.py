"""A small tenant, and the short hand in which the tables of tests/data/reach say what is different in each case.

Mailboxes ada, bob, cyd, dan (shared), rom (room); eve is a mail user. One app, ``conn``, with a pointer. A case may give:

=============== =======================================================================================================
consents        names, ``exchange:Name`` for the legacy resource, or {permission, resource, app_role_id}
policies        {right: restrict|deny, scope: group or recipient, app: conn (default)|other|"*", valid: true}
assignments     {role, scope: organization|{scope|unit|group: name}, assignee: text, enabled: true}
scopes          {name: filter} or {name: {filter, root}}
pointers        list of {app_id, object_id, display_name, override}; override "unread" leaves it out
groups          {name: members or null} replaces members; ``~`` null is not read; kinds: {name: recipient_type_details}
roles           {role: [permissions]}, the tenant's own list; absent: not read
organization    null (not read) or true/false/"null" for the enforcement
not_read        names of lists that are absent
attributes      {recipient: {name: value}} instead of the usual ones; attributes_read beside it
app             fields of the app that differ
=============== =======================================================================================================
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from exoscope import catalog
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
    Role,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
    Tenant,
)

APP_ID = "aaaaaaaa-0000-4000-8000-000000000001"
OBJECT_ID = "aaaaaaaa-0000-4000-8000-000000000002"
MAILBOXES = ("ada", "bob", "cyd", "dan", "rom")
PEOPLE = (*MAILBOXES, "eve")
DETAILS = {"dan": "SharedMailbox", "rom": "RoomMailbox", "eve": "MailUser"}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "ada": {"Department": "Sales", "CustomAttribute1": "omniscope"},
    "bob": {"Department": "Sales"},
    "cyd": {"Department": "Legal", "CustomAttribute1": "omniscope-2"},
}
GROUPS: dict[str, tuple[str, ...] | None] = {
    "sales": ("ada", "bob"),
    "legal": ("cyd",),
    "outer": ("sales", "cyd"),
    "mixed": ("team", "dan"),
    "team": ("rom",),
    "twice": ("team", "wrap"),
    "wrap": ("rom", "team"),
    "circle-a": ("circle-b", "ada"),
    "circle-b": ("circle-a", "bob"),
    "hidden": None,
    "deep": ("hidden", "ada"),
    "stranger": ("nobody", "eve"),
    "empty": (),
}
KINDS = {"team": "GroupMailbox", "legal": "MailUniversalDistributionGroup"}
UNITS = {"unit-1": ("ada", "dan"), "unit-2": ("eve",)}


def guid(name: str) -> str:
    """A Guid that a name always has."""
    return "bbbbbbbb-0000-4000-8000-" + _digits(name)


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def object_id(name: str) -> str:
    """The directory object id that a name always has."""
    return "cccccccc-0000-4000-8000-" + _digits(name)


def dn(name: str) -> str:
    return f"CN={name},OU=contoso.onmicrosoft.com,DC=prod,DC=outlook,DC=com"


def build(case: dict[str, Any]) -> Snapshot:
    """The snapshot of a case."""
    snapshot = Snapshot(
        format="exoscope/snapshot@1",
        read_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
        tenant=Tenant("dddddddd-0000-4000-8000-000000000001", "contoso.onmicrosoft.com", "worldwide"),
        apps=(_app(case), *[_other(n) for n in range(case.get("others", 0))]),
        service_principals=tuple(map(_pointer, case.get("pointers", [{}]))),
        management_scopes=tuple(_scope(name, given) for name, given in case.get("scopes", {}).items()),
        role_assignments=tuple(_assignment(n, given) for n, given in enumerate(case.get("assignments", []))),
        access_policies=tuple(_policy(n, given) for n, given in enumerate(case.get("policies", []))),
        roles=tuple(Role(name, tuple(given)) for name, given in case["roles"].items()) if "roles" in case else UNSET,
        attributes_read=tuple(case.get("attributes_read", ("Department", "CustomAttribute1"))),
        recipients=tuple(_recipient(name, case) for name in PEOPLE),
        groups=tuple(_group(name, members, case) for name, members in {**GROUPS, **case.get("groups", {})}.items()),
        administrative_units=tuple(
            AdministrativeUnit(object_id(name), name, tuple(map(object_id, members))) for name, members in UNITS.items()
        ),
        organization=_organization(case.get("organization", False)),
        unread=(),
    )
    return msgspec.structs.replace(snapshot, **dict.fromkeys(case.get("not_read", ()), UNSET))


def address(name: str) -> str:
    return f"{name}@contoso.com"


def _app(case: dict[str, Any]) -> App:
    app = App(
        app_id=APP_ID,
        object_id=OBJECT_ID,
        application_object_id=None,
        display_name="Connector",
        consents=tuple(_consent(n, given) for n, given in enumerate(case.get("consents", []))),
        requested=(),
    )
    return msgspec.structs.replace(app, **case.get("app", {}))


def _other(number: int) -> App:
    return App(
        f"aaaaaaaa-0000-4000-8000-1{number:011}", f"aaaaaaaa-0000-4000-8000-2{number:011}", None, "Connector", (), ()
    )


def _consent(number: int, given: Any) -> Consent:
    fields = given if isinstance(given, dict) else {"permission": given}
    name, resource = fields["permission"], fields.get("resource")
    if name.startswith("exchange:"):
        name, resource = name.partition(":")[2], catalog.EXCHANGE
    known = catalog.permission(name, resource)
    return Consent(
        id=f"consent-{number}",
        resource=resource or (known.resource if known else catalog.GRAPH),
        app_role_id=fields.get("app_role_id") or (known and known.app_role_id) or guid(f"role{number}"),
        permission=name,
    )


def _pointer(given: dict[str, Any]) -> ServicePrincipal:
    override = given.get("override")
    return ServicePrincipal(
        app_id=given.get("app_id", APP_ID),
        object_id=given.get("object_id", OBJECT_ID),
        display_name=given.get("display_name", "Connector pointer"),
        override_enforce_exo_app_rbac_permissions=UNSET if override == "unread" else override,
    )


def _scope(name: str, given: Any) -> ManagementScope:
    text, root = (given["filter"], given["root"]) if isinstance(given, dict) else (given, None)
    return ManagementScope(name, _spelled(text), None if root is None else _spelled(root), exclusive=False)


def _spelled(text: str) -> str:
    """``<sales>`` stands for the DN of that group."""
    for name in GROUPS:
        text = text.replace(f"<{name}>", dn(name))
    return text.replace("<gone>", dn("gone")).replace("<ou>", dn("x").partition(",")[2])


def _assignment(number: int, given: dict[str, Any]) -> RoleAssignment:
    scope: Any = given.get("scope", "organization")
    if scope == "organization":
        built: Any = OrganizationScope()
    elif "scope" in scope:
        built = ManagementScopeScope(scope["scope"])
    elif "unit" in scope:
        built = AdministrativeUnitScope(object_id(scope["unit"]).upper())
    else:
        built = GroupScope((object_id if scope.get("by") == "object_id" else guid)(scope["group"]).upper())
    return RoleAssignment(
        name=f"assignment-{number}",
        role=given["role"],
        assignee=given.get("assignee", OBJECT_ID),
        enabled=given.get("enabled", True),
        scope=built,
    )


def _policy(number: int, given: dict[str, Any]) -> AccessPolicy:
    app_id = {"conn": APP_ID.upper(), "other": guid("other")}.get(given.get("app", "conn"), given.get("app"))
    return AccessPolicy(
        identity=f"policy-{number}",
        app_id=str(app_id),
        access_right="DenyAccess" if given["right"] == "deny" else "RestrictAccess",
        scope=PolicyScope(given["scope"], f"S-1-5-21-{number}", object_id(given["scope"]).upper()),
        description=None,
        valid=given.get("valid", True),
    )


def _recipient(name: str, case: dict[str, Any]) -> Recipient:
    return Recipient(
        guid=guid(name),
        external_directory_object_id=object_id(name),
        display_name=name.title(),
        primary_smtp_address=address(name),
        email_addresses=(address(name), *[f"{alias}@contoso.com" for alias in case.get("aliases", {}).get(name, ())]),
        distinguished_name=dn(name),
        recipient_type="MailUser" if name == "eve" else "UserMailbox",
        recipient_type_details=DETAILS.get(name, "UserMailbox"),
        attributes=dict(case.get("attributes", ATTRIBUTES).get(name, {})),
    )


def _group(name: str, members: Any, case: dict[str, Any]) -> Group:
    return Group(
        guid=guid(name),
        external_directory_object_id=object_id(name),
        sid=None,
        display_name=name,
        primary_smtp_address=f"group-{name}@contoso.com",
        distinguished_name=dn(name),
        recipient_type_details={**KINDS, **case.get("kinds", {})}.get(name, "MailUniversalSecurityGroup"),
        members=None if members is None else tuple(guid(member).upper() for member in members),
    )


def _organization(enforced: Any) -> Any:
    if enforced is None:
        return UNSET
    return Organization(None, None, None if enforced == "null" else bool(enforced))
