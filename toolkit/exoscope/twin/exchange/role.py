"""Management roles: the application roles of the tenant, and some of the others that every tenant has."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from exoscope.twin.exchange.call import Call, Row, cmdlet, not_found, not_modelled, stable_guid
from exoscope.twin.view import fold

# A listing answers other roles too; ApplicationImpersonation is the one that `Application*` catches by mistake.
_OTHERS = ("ApplicationImpersonation", "View-Only Configuration", "Role Management")
# Which roles hold a cmdlet, as far as sources say (Microsoft365DSC's settings of its Exchange resources; application-rbac): those
# that change something here; every reading cmdlet is in a View-Only role.
_HOLDERS = {
    "Role Management": (
        "new-serviceprincipal",
        "remove-serviceprincipal",
        "new-managementscope",
        "set-managementscope",
        "remove-managementscope",
        "new-managementroleassignment",
        "set-managementroleassignment",
        "remove-managementroleassignment",
        "test-serviceprincipalauthorization",
    ),
    "Organization Configuration": (
        "new-applicationaccesspolicy",
        "remove-applicationaccesspolicy",
        "enable-organizationcustomization",
    ),
    "Security Group Creation and Membership": (
        "new-distributiongroup",
        "remove-distributiongroup",
        "add-distributiongroupmember",
        "remove-distributiongroupmember",
    ),
    "Distribution Groups": ("set-distributiongroup",),
    "View-Only Recipients": (
        "get-recipient",
        "get-group",
        "get-distributiongroup",
        "get-distributiongroupmember",
        "get-unifiedgrouplinks",
    ),
    "View-Only Configuration": (
        "get-administrativeunit",
        "get-applicationaccesspolicy",
        "get-managementrole",
        "get-managementroleassignment",
        "get-managementscope",
        "get-organizationconfig",
        "get-serviceprincipal",
        "test-applicationaccesspolicy",
    ),
}


@cmdlet("Get-ManagementRole", "Identity", "Cmdlet")
def get(call: Call) -> Iterable[Row]:
    """-Identity takes ``*``. What type Exchange gives application roles is not documented: RoleType is empty."""
    if call.has("Cmdlet"):
        if call.has("Identity"):
            raise not_modelled("-Cmdlet of Get-ManagementRole with -Identity")
        wanted = fold(call.text("Cmdlet"))
        return [_row(role) for role, held in _HOLDERS.items() if wanted in held]
    names = [role.name for role in call.read("roles")]
    names += [name for name in _OTHERS if fold(name) not in map(fold, names)]
    if call.has("Identity"):
        identity = call.text("Identity")
        # [ and ] are ordinary characters here
        pattern = fold(identity).replace("[", "[[]")
        found = [
            name for name in names if fnmatchcase(fold(name), pattern) or fold(identity) == stable_guid("role", name)
        ]
        if not found and "*" not in identity and not call.everything_for_unknown:
            raise not_found(identity)
        names = found or ([] if "*" in identity else names)
    return [_row(name) for name in names]


def _row(name: str) -> Row:
    return {"Identity": name, "Guid": stable_guid("role", name), "Name": name, "RoleType": "", "Description": ""}
