"""Management roles: the application roles of the tenant, and two that only look like them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from exoscope.twin.exchange.call import Call, Row, cmdlet, not_found, stable_guid
from exoscope.twin.view import fold

# A listing answers other roles too; ApplicationImpersonation is the one that `Application*` catches by mistake.
_OTHERS = ("ApplicationImpersonation", "View-Only Configuration", "Role Management")


@cmdlet("Get-ManagementRole", "Identity")
def get(call: Call) -> Iterable[Row]:
    """-Identity takes ``*``. What type Exchange gives application roles is not documented: RoleType is empty."""
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
    return [
        {"Identity": name, "Guid": stable_guid("role", name), "Name": name, "RoleType": "", "Description": ""}
        for name in names
    ]
