"""Organisation, users, groups and administrative units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from exoscope.model import Group, Recipient
from exoscope.twin.errors import Unread
from exoscope.twin.graph.call import Call, Reply
from exoscope.twin.graph.errors import bad_request, missing
from exoscope.twin.graph.query import many, one
from exoscope.twin.tenant import TwinTenant

_USERS = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_GROUPS = ("Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
_MEMBERS = ("GroupMember.Read.All", "GroupMember.ReadWrite.All", *_GROUPS)
_UNITS = (
    "AdministrativeUnit.Read.All",
    "AdministrativeUnit.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
)
_ELIGIBILITY = (
    "RoleEligibilitySchedule.Read.Directory",
    "RoleEligibilitySchedule.ReadWrite.Directory",
    "RoleManagement.Read.All",
    "RoleManagement.Read.Directory",
    "RoleManagement.ReadWrite.Directory",
)
_ORGANIZATION = ("Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")


class Directory:
    """The directory half of Graph, but for applications. A directory object that has no directory id is not in Entra."""

    def __init__(self, tenant: TwinTenant) -> None:
        self.tenant = tenant
        self.eligible_roles: tuple[str, ...] = ()  # template ids of Entra's roles that the operator may activate

    def organization(self, call: Call) -> Reply:
        """GET /organization: one row."""
        call.needs(*_ORGANIZATION)
        here = self.tenant.state.tenant
        recipients = self.tenant.state.recipients
        domains = set() if recipients is UNSET else {_domain(r.primary_smtp_address) for r in recipients}
        rows = [_verified(here.domain, initial=True, default=not domains - {here.domain.casefold()})]
        rows += [
            _verified(name, initial=False, default=i == 0)
            for i, name in enumerate(sorted(domains - {here.domain.casefold()}))
        ]
        row = {
            "id": here.id,
            "displayName": here.domain.partition(".")[0].capitalize(),
            "tenantType": "AAD",
            "verifiedDomains": rows,
        }
        return many(call, [row], "organization")

    def eligible(self, call: Call) -> Reply:
        """GET /roleManagement/directory/roleEligibilityScheduleInstances/filterByCurrentUser(on='principal'): of people only."""
        call.needs(*_ELIGIBILITY)
        if call.principal.user is None:
            raise bad_request("The caller is no user.", code="InvalidCaller")
        rows = [{"id": role, "roleDefinitionId": role, "directoryScopeId": "/"} for role in self.eligible_roles]
        return many(call, rows, "roleEligibilityScheduleInstances")

    def users(self, call: Call) -> Reply:
        """GET /users."""
        call.needs(*_USERS)
        rows = [_user(r) for r in self.tenant.read("recipients") if r.external_directory_object_id]
        return many(call, rows, "users")

    def user(self, call: Call, id: str) -> Reply:
        """GET /users/{id or user principal name}."""
        call.needs(*_USERS)
        found = self.tenant.user(id)
        if found is None or not found.external_directory_object_id:
            raise missing(id)
        return one(call, _user(found), "users")

    def groups(self, call: Call) -> Reply:
        """GET /groups."""
        call.needs(*_GROUPS)
        rows = [_group(g) for g in self.tenant.read("groups") if g.external_directory_object_id]
        return many(call, rows, "groups")

    def group(self, call: Call, id: str) -> Reply:
        """GET /groups/{id}."""
        call.needs(*_GROUPS)
        return one(call, _group(self._group(id)), "groups")

    def group_members(self, call: Call, id: str) -> Reply:
        """GET /groups/{id}/members: direct ones."""
        call.needs(*_MEMBERS)
        group = self._group(id)
        if group.members is None:
            raise Unread(f"members of {group.display_name}")
        return many(call, list(self._members(group.members)), "directoryObjects")

    def group_transitive_members(self, call: Call, id: str) -> Reply:
        """GET /groups/{id}/transitiveMembers: each once, through groups at any depth."""
        call.needs(*_MEMBERS)
        found: dict[str, str] = {}
        waiting, seen = [self._group(id)], set[str]()
        while waiting:
            group = waiting.pop()
            if group.guid.casefold() in seen:
                continue
            seen.add(group.guid.casefold())
            if group.members is None:
                raise Unread(f"members of {group.display_name}")
            found |= {guid.casefold(): guid for guid in group.members}
            waiting += [inner for guid in group.members if (inner := self._inner(guid))]
        return many(call, list(self._members(tuple(found.values()))), "directoryObjects")

    def units(self, call: Call) -> Reply:
        """GET /directory/administrativeUnits."""
        call.needs(*_UNITS)
        units = self.tenant.read("administrative_units")
        return many(call, [{"id": u.id, "displayName": u.display_name} for u in units], "directory/administrativeUnits")

    def unit(self, call: Call, id: str) -> Reply:
        """GET /directory/administrativeUnits/{id}."""
        call.needs(*_UNITS)
        self.tenant.read("administrative_units")
        unit = self.tenant.view.unit(id)
        if unit is None:
            raise missing(id)
        return one(call, {"id": unit.id, "displayName": unit.display_name}, "directory/administrativeUnits")

    def unit_members(self, call: Call, id: str) -> Reply:
        """GET /directory/administrativeUnits/{id}/members."""
        call.needs(*_UNITS)
        self.tenant.read("administrative_units")
        unit = self.tenant.view.unit(id)
        if unit is None:
            raise missing(id)
        return many(call, [self._member(member) for member in unit.members], "directoryObjects")

    def _group(self, id: str) -> Group:
        self.tenant.read("groups")
        for group in self.tenant.view.groups_by_id(id):
            if (group.external_directory_object_id or "").casefold() == id.casefold():
                return group
        raise missing(id)

    def _members(self, guids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        view = self.tenant.view
        for guid in guids:
            recipient = view.recipient(guid)
            found = recipient or self._inner(guid)
            yield self._member((found.external_directory_object_id if found else None) or guid)

    def _inner(self, guid: str) -> Group | None:
        found = self.tenant.view.groups_by_id(guid)
        return next((group for group in found if group.guid.casefold() == guid.casefold()), None)

    def _member(self, id: str) -> dict[str, Any]:
        view = self.tenant.view
        for recipient in view.recipient_by_directory_id(id):
            return {"@odata.type": "#microsoft.graph.user", **_user(recipient)}
        for group in view.groups_by_id(id):
            return {"@odata.type": "#microsoft.graph.group", **_group(group)}
        # a contact, a device or a user without a mailbox: the snapshot says no more of it
        return {"@odata.type": "#microsoft.graph.directoryObject", "id": id}


def _domain(address: str) -> str:
    return address.rpartition("@")[2].casefold()


def _verified(name: str, *, initial: bool, default: bool) -> dict[str, Any]:
    return {
        "name": name,
        "isInitial": initial,
        "isDefault": default,
        "type": "Managed",
        "capabilities": "Email, OfficeCommunicationsOnline",
    }


def _user(recipient: Recipient) -> dict[str, Any]:
    principal = next((v for k, v in recipient.attributes.items() if k.casefold() == "userprincipalname"), None)
    return {
        "id": recipient.external_directory_object_id,
        "displayName": recipient.display_name,
        "mail": recipient.primary_smtp_address,
        "userPrincipalName": principal or recipient.primary_smtp_address,
        "userType": "Guest" if recipient.recipient_type_details == "GuestMailUser" else "Member",
    }


def _group(group: Group) -> dict[str, Any]:
    unified = group.recipient_type_details == "GroupMailbox"
    return {
        "id": group.external_directory_object_id,
        "displayName": group.display_name,
        "mail": group.primary_smtp_address,
        "mailEnabled": group.primary_smtp_address is not None,
        "securityEnabled": "Security" in group.recipient_type_details,
        "securityIdentifier": group.sid,
        "groupTypes": ["Unified"] if unified else [],
    }
