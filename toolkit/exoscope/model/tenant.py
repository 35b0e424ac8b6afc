"""The tenant as a snapshot holds it (SNAPSHOT version 1): frozen nouns without behaviour.

A field typed with ``Unset`` may be absent from the file, and absent means *not read*. An empty tuple means *read and
empty*. Names are the file's own; Guids, addresses and DNs keep their spelling and are compared without case elsewhere.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Unset = UnsetType
FORMAT = "exoscope/snapshot@1"

Cloud = Literal["worldwide", "gcc-high", "dod", "china"]


class Noun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """Base of every noun: frozen, and an unknown field is an error."""


class Tenant(Noun, frozen=True):
    """Which tenant: its Guid, its initial domain, its cloud."""

    id: str
    domain: str
    cloud: Cloud


class Credential(Noun, frozen=True):
    """A credential of an app as Entra lists it (never its value). ``start`` and ``end`` are ISO times."""

    kind: Literal["secret", "certificate"]
    key_id: str
    display_name: str | None
    start: str | None
    end: str | None


class Consent(Noun, frozen=True):
    """An Entra app-role assignment the app holds. ``permission`` is the app role's value on that resource."""

    id: str
    resource: str
    app_role_id: str
    permission: str


class Requested(Noun, frozen=True):
    """An application permission (type Role) in the registration's requiredResourceAccess."""

    resource: str
    app_role_id: str
    permission: str


class App(Noun, frozen=True):
    """An Entra service principal (``object_id``). ``application_object_id`` null: registered in another tenant."""

    app_id: str
    object_id: str
    application_object_id: str | None
    display_name: str
    consents: tuple[Consent, ...]
    requested: tuple[Requested, ...]
    kind: str | Unset = UNSET
    account_enabled: bool | Unset = UNSET
    token_lifetime_minutes: int | Unset | None = UNSET  # the longest of the policies that may act on it
    credentials: tuple[Credential, ...] | Unset = UNSET
    tags: tuple[str, ...] | Unset = UNSET  # of its registration, where that is this tenant's


class ServicePrincipal(Noun, frozen=True):
    """Exchange's pointer to an Entra service principal."""

    app_id: str
    object_id: str
    display_name: str
    override_enforce_exo_app_rbac_permissions: bool | Unset | None = UNSET


class ManagementScope(Noun, frozen=True):
    """A management scope: an OPATH filter, and perhaps a root."""

    name: str
    recipient_filter: str
    recipient_root: str | None
    exclusive: bool


class OrganizationScope(Noun, frozen=True, tag_field="kind", tag="organization"):
    """The whole organisation."""


class ManagementScopeScope(Noun, frozen=True, tag_field="kind", tag="management_scope"):
    """A management scope by name."""

    name: str


class AdministrativeUnitScope(Noun, frozen=True, tag_field="kind", tag="administrative_unit"):
    """An administrative unit by Guid."""

    id: str


class GroupScope(Noun, frozen=True, tag_field="kind", tag="group"):
    """A group's direct members, by the group's Guid (its guid or external directory object id)."""

    id: str


Scope = OrganizationScope | ManagementScopeScope | AdministrativeUnitScope | GroupScope


class RoleAssignment(Noun, frozen=True):
    """RBAC for Applications: a role given to a pointer inside a scope. ``assignee``: object id, app id or display name."""

    name: str
    role: str
    assignee: str
    enabled: bool
    scope: Scope


class PolicyScope(Noun, frozen=True):
    """What an access policy names: a group, a user mailbox or a mail user."""

    name: str
    sid: str
    object_id: str


class AccessPolicy(Noun, frozen=True):
    """An Application Access Policy. ``app_id`` is a Guid or ``*``."""

    identity: str
    app_id: str
    access_right: Literal["RestrictAccess", "DenyAccess"]
    scope: PolicyScope
    description: str | None
    valid: bool


class Role(Noun, frozen=True):
    """An application role as the tenant lists it, and the permissions it gives."""

    name: str
    permissions: tuple[str, ...]


Value = str | bool | int | float | None | tuple[str, ...]


class Recipient(Noun, frozen=True):
    """A mailbox or mail user. ``attributes`` holds those of ``attributes_read`` that are not $null."""

    guid: str
    external_directory_object_id: str | None
    display_name: str
    primary_smtp_address: str
    email_addresses: tuple[str, ...]
    distinguished_name: str
    recipient_type: str
    recipient_type_details: str
    attributes: dict[str, Any]


class Group(Noun, frozen=True):
    """A group. ``members`` are Guids of recipients and groups, direct only; null: not read."""

    guid: str
    external_directory_object_id: str | None
    sid: str | None
    display_name: str
    primary_smtp_address: str | None
    distinguished_name: str
    recipient_type_details: str
    members: tuple[str, ...] | None
    owners: tuple[str, ...] | Unset = UNSET
    join_restriction: str | Unset | None = UNSET
    depart_restriction: str | Unset | None = UNSET


class AdministrativeUnit(Noun, frozen=True):
    """An administrative unit; ``members`` are external directory object ids."""

    id: str
    display_name: str
    members: tuple[str, ...]


class Organization(Noun, frozen=True):
    """Organisation flags that bear on reach, or that an admin should see."""

    ews_enabled: bool | None
    ews_allowed_app_ids: tuple[str, ...] | None
    enforce_exo_app_rbac_permissions: bool | None
    is_dehydrated: bool | Unset = UNSET


class Unread(Noun, frozen=True):
    """Something that could not be read, and why."""

    what: str
    why: str


class Snapshot(Noun, frozen=True):
    """A tenant as read at one time. Build it by hand for tests, or with :mod:`exoscope.snapshot` from a file."""

    format: Literal["exoscope/snapshot@1"]
    read_at: datetime
    tenant: Tenant
    apps: tuple[App, ...] | Unset = UNSET
    service_principals: tuple[ServicePrincipal, ...] | Unset = UNSET
    management_scopes: tuple[ManagementScope, ...] | Unset = UNSET
    role_assignments: tuple[RoleAssignment, ...] | Unset = UNSET
    access_policies: tuple[AccessPolicy, ...] | Unset = UNSET
    roles: tuple[Role, ...] | Unset = UNSET
    attributes_read: tuple[str, ...] | Unset = UNSET
    recipients: tuple[Recipient, ...] | Unset = UNSET
    groups: tuple[Group, ...] | Unset = UNSET
    administrative_units: tuple[AdministrativeUnit, ...] | Unset = UNSET
    organization: Organization | Unset = UNSET
    unread: tuple[Unread, ...] = ()
