"""The resources whose app roles apps hold: Microsoft Graph, Exchange Online, and whatever else the snapshot's apps consent to."""

from __future__ import annotations

import uuid
from typing import Any

from msgspec import UNSET

from exoscope.catalog import EWS_ROLE_PERMISSION, EXCHANGE, GRAPH, PERMISSIONS
from exoscope.model import Consent, Noun, Requested
from exoscope.twin.tenant import TwinTenant

MICROSOFT = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"  # the tenant that owns Microsoft's own applications
NAMES = {GRAPH: "Microsoft Graph", EXCHANGE: "Office 365 Exchange Online"}
# Directory permissions an intent may name beside mailbox ones. Source: Graph's permissions reference.
_DIRECTORY = {
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Group.Read.All": "5b567255-7703-4780-807c-7be8301ae99b",
    "Organization.Read.All": "498476ce-e0fe-48b0-b801-37ba7e2685c6",
    "Policy.Read.All": "246dd0d5-5bd0-4def-940b-0421030a5b68",
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
}


class Resource(Noun, frozen=True):
    """A resource's service principal. ``roles``: app role id (folded) to (id, value)."""

    app_id: str
    object_id: str
    display_name: str
    roles: dict[str, tuple[str, str]]

    def role(self, app_role_id: str) -> str | None:
        """The permission that an app role id stands for here."""
        found = self.roles.get(app_role_id.casefold())
        return found[1] if found else None

    def app_roles(self) -> list[dict[str, Any]]:
        """As Graph lists them."""
        return [
            {
                "id": role,
                "value": value,
                "displayName": value,
                "description": value,
                "allowedMemberTypes": ["Application"],
                "isEnabled": True,
                "origin": "Application",
            }
            for role, value in sorted(self.roles.values(), key=lambda pair: pair[1])
        ]


class Resources:
    """All resources of a tenant. Where no source confirms an app role's id, the tenant has one of its own, as real tenants
    do: clients resolve ids by value.
    """

    def __init__(self, tenant: TwinTenant) -> None:
        here = uuid.uuid5(uuid.NAMESPACE_URL, f"exoscope-twin/{tenant.state.tenant.id.casefold()}")
        roles: dict[str, dict[str, tuple[str, str]]] = {GRAPH: {}, EXCHANGE: {}}
        named: dict[str, str] = {GRAPH: GRAPH, EXCHANGE: EXCHANGE}
        apps = tenant.state.apps
        for app in () if apps is UNSET else apps:
            entries: tuple[Consent | Requested, ...] = (*app.consents, *app.requested)
            for held in entries:
                key = held.resource.casefold()
                named.setdefault(key, held.resource)
                roles.setdefault(key, {})[held.app_role_id.casefold()] = (held.app_role_id, held.permission)
        for known in PERMISSIONS:
            table = roles[known.resource]
            if known.name == EWS_ROLE_PERMISSION or known.name in {value for _, value in table.values()}:
                continue
            role = known.app_role_id or str(uuid.uuid5(here, f"{known.resource}/{known.name}"))
            table.setdefault(role.casefold(), (role, known.name))
        for name, role in _DIRECTORY.items():
            roles[GRAPH].setdefault(role, (role, name))
        own = {} if apps is UNSET else {app.app_id.casefold(): app for app in apps}
        self.by_app_id = {
            key: Resource(
                app_id=named[key],
                object_id=own[key].object_id if key in own else str(uuid.uuid5(here, key)),
                display_name=own[key].display_name if key in own else NAMES.get(key, f"Resource {named[key]}"),
                roles=table,
            )
            for key, table in roles.items()
        }
        self.by_object_id = {resource.object_id.casefold(): resource for resource in self.by_app_id.values()}
