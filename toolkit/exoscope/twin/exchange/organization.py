"""The organisation's settings, its administrative units, and the session's own connection."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from exoscope.model import AdministrativeUnit
from exoscope.twin.errors import Unread
from exoscope.twin.exchange.call import OMITTED, Call, Row, cmdlet, refused, stable_guid
from exoscope.twin.view import fold


@cmdlet("Get-OrganizationConfig")
def get_config(call: Call) -> Iterable[Row]:
    organization = call.read("organization")
    tenant = call.view.snapshot.tenant
    allowed = organization.ews_allowed_app_ids
    row: Row = {
        "Name": tenant.domain,
        "Identity": tenant.domain,
        "Guid": stable_guid("organization", tenant.id),
        "ExternalDirectoryOrganizationId": tenant.id,
        "EwsEnabled": organization.ews_enabled,
        "EwsApplicationAccessPolicy": None,  # the file does not hold it
        "EwsAllowedAppIDs": None if allowed is None else list(allowed),
        "EnforceExoAppRbacPermissions": organization.enforce_exo_app_rbac_permissions,
    }
    if organization.is_dehydrated is UNSET:
        call.warnings.append("Access is denied: IsDehydrated of the organization.")
    row["IsDehydrated"] = OMITTED if organization.is_dehydrated is UNSET else organization.is_dehydrated
    return [row]


@cmdlet("Enable-OrganizationCustomization", writes=True)
def enable_customization(call: Call) -> Iterable[Row]:
    organization = call.read("organization")
    if organization.is_dehydrated is UNSET:
        raise Unread("IsDehydrated of the organization")
    if not organization.is_dehydrated:
        raise refused("This operation is not required. Organization is already enabled for customization.")
    call.change("customization", organization=msgspec.structs.replace(organization, is_dehydrated=False))
    return []


@cmdlet("Get-AdministrativeUnit", "Identity")
def get_unit(call: Call) -> Iterable[Row]:
    """Exchange's own Guid of a unit is not its id in the directory."""
    every: tuple[AdministrativeUnit, ...] = call.read("administrative_units")
    found = list(every)
    if call.has("Identity"):
        identity = call.text("Identity")
        key = fold(identity)
        mine = [u for u in every if key in (fold(u.id), fold(u.display_name), stable_guid("unit", u.id))]
        found = call.chosen(mine, identity, lambda: every)
    return [
        {
            "Guid": stable_guid("unit", unit.id),
            "ExternalDirectoryObjectId": unit.id,
            "Name": unit.id,
            "DisplayName": unit.display_name,
            "DistinguishedName": f"CN={unit.id},OU={call.view.snapshot.tenant.domain}",
        }
        for unit in found
    ]


@cmdlet("Get-ConnectionInformation", "ConnectionId", "ModulePrefix")
def get_connection(call: Call) -> Iterable[Row]:
    connection = call.connection
    if call.has("ConnectionId") and fold(connection.id) not in map(fold, call.texts("ConnectionId")):
        return []
    expired = call.tenant.clock.now() >= connection.expires_at
    return [
        {
            "ConnectionId": connection.id,
            "State": "Connected",
            "Id": 1,
            "Name": "ExchangeOnline_1",
            "UserPrincipalName": None,  # the operator is the sandbox's own and stands in no answer
            "ConnectionUri": call.tenant.origin,
            "TokenStatus": "Expired" if expired else "Active",
            "TokenExpiryTimeUTC": connection.expires_at.strftime("%Y-%m-%dT%H:%M:%S.%f0Z"),
            "TenantID": call.view.snapshot.tenant.id,
            "Organization": connection.organization,
        }
    ]
