"""The paths of every reading of Entra for a snapshot, below the version root; ``{id}`` stands for a Guid.

In one place, because a script for people (:mod:`exoscope.scripting`) asks for the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_PRINCIPAL = (
    "id,appId,displayName,servicePrincipalType,accountEnabled,appOwnerOrganizationId,passwordCredentials,keyCredentials"
)
_APPLICATION = "id,appId,requiredResourceAccess,passwordCredentials,keyCredentials,tags"

PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "organization": "/organization?$select=id,verifiedDomains",
        "units": "/directory/administrativeUnits?$select=id,displayName",
        "unit_members": "/directory/administrativeUnits/{id}/members?$select=id",
        "principals": f"/servicePrincipals?$select={_PRINCIPAL}&$top=999",
        "applications": f"/applications?$select={_APPLICATION}&$top=999",
        "resource": "/servicePrincipals(appId='{id}')?$select=id,appId,appRoles",
        "assigned": "/servicePrincipals/{id}/appRoleAssignedTo?$top=999",
        "principal_lifetimes": "/servicePrincipals/{id}/tokenLifetimePolicies",
        "registration_lifetimes": "/applications/{id}/tokenLifetimePolicies",
        "lifetimes": "/policies/tokenLifetimePolicies",
        "group_members": "/groups/{id}/members?$select=id&$top=999",
    }
)


def path(name: str, id: str = "") -> str:
    """A path with its id."""
    return PATHS[name].replace("{id}", id)
