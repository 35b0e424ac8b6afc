"""A whole tenant into one snapshot. What cannot be read is absent and named in ``unread``, with the reason; never empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from exoscope.entra.inventory import read_apps, read_units
from exoscope.entra.resources import Resources
from exoscope.exchange import inventory
from exoscope.exchange.parallel import Reading, reading_ahead
from exoscope.exchange.recipients import OWN, RecipientList, read_recipients, recipients_reading
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnit,
    AdministrativeUnitScope,
    App,
    Group,
    GroupScope,
    ManagementScope,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
    Tenant,
    Unread,
)
from exoscope.outcome import GuardRefused, LostSession, ServiceError, SignInFailed, WrongTenant
from exoscope.reading.groups import GroupReader
from exoscope.reading.source import Source
from exoscope.reading.wanted import Wanted, asked_by

Read = TypeVar("Read")
Maybe = tuple[Read, ...] | UnsetType

_LISTS: tuple[Reading, ...] = tuple(
    (f"inventory/{name}", {})
    for name in (
        "organization",
        "service_principals",
        "management_scopes",
        "roles",
        "access_policies",
        "role_assignments",
        "groups",
        "distribution_groups",
    )
)
"""What is read whatever the tenant holds, in the order in which it is asked for."""

_FATAL = (SignInFailed, WrongTenant, GuardRefused, LostSession)
"""With these nothing at all can be read: there is no snapshot to write."""


def read_snapshot(
    connection: Source, *, wanted: Wanted | None = None, progress: Callable[[str], None] | None = None
) -> Snapshot:
    """Read everything that reach rests on. ``wanted``: what an intent asks for beside that.

    Members are read of groups that a policy, scope, assignment or ``wanted`` names (nested ones included) and of groups that
    exoscope made; other groups stand with ``members`` null. ``attributes_read`` are the properties that filters use.
    Raises SignInFailed, WrongTenant, LostSession, Transient where there is no connection; a single part that cannot be read
    is absent from the snapshot and stands in ``unread``.
    """
    return _Reader(connection, wanted or Wanted(), progress or (lambda text: None)).snapshot()


class _Reader:
    def __init__(self, connection: Source, wanted: Wanted, progress: Callable[[str], None]) -> None:
        self.connection, self.wanted, self.progress = connection, wanted, progress
        self.unread: list[Unread] = []

    def attempt(self, what: str, read: Callable[[], Read]) -> Read | UnsetType:
        """Read one part; what fails is unread, with its reason."""
        self.progress(what.replace("_", " "))
        try:
            return read()
        except _FATAL:
            raise
        except ServiceError as error:
            self.unread.append(Unread(what, error.message))
            return UNSET

    def snapshot(self) -> Snapshot:
        read_at = self.connection.clock.now().replace(microsecond=0)
        tenant = self.connection.prove_tenant()
        with reading_ahead(self.connection.exchange, _LISTS) as ahead:
            return self._snapshot(read_at, tenant, ahead)

    def _snapshot(self, read_at: datetime, tenant: Tenant, ahead: Callable[[Iterable[Reading]], None]) -> Snapshot:
        session, graph = self.connection.exchange, self.connection.graph
        organization = self.attempt("organization", lambda: inventory.read_organization(session))
        if not isinstance(organization, UnsetType) and isinstance(organization.is_dehydrated, UnsetType):
            self.unread.append(Unread("organization.is_dehydrated", "Exchange did not show it"))
        pointers = self.attempt("service_principals", lambda: inventory.read_service_principals(session))
        self._check_pointers(pointers)
        scopes = self.attempt("management_scopes", lambda: inventory.read_management_scopes(session))
        attributes = self._attributes(scopes)
        ahead([recipients_reading(attributes)])
        roles = self.attempt("roles", lambda: inventory.read_roles(session))
        policies = self.attempt("access_policies", lambda: inventory.read_policies(session))
        found_units = self.attempt("administrative_units", lambda: read_units(graph))
        units: Maybe[AdministrativeUnit] = UNSET
        if not isinstance(found_units, UnsetType):
            self.unread += found_units.unread
            units = UNSET if found_units.unread else found_units.units
        assignments = self.attempt("role_assignments", lambda: self._assignments(units))
        if not isinstance(roles, UnsetType):
            self._check_roles(roles[1], assignments)
        apps = self._apps(pointers, policies)
        listed = self.attempt("recipients", lambda: read_recipients(session, attributes))
        groups = self._groups(listed, policies, scopes, assignments)
        if isinstance(groups, tuple):
            assignments = _by_guid(assignments, groups)
        return Snapshot(
            format="exoscope/snapshot@1",
            read_at=read_at,
            tenant=tenant,
            apps=apps,
            service_principals=_sorted(pointers, lambda each: each.object_id),
            management_scopes=_sorted(scopes, lambda each: each.name),
            role_assignments=_sorted(assignments, lambda each: each.name),
            access_policies=_sorted(policies, lambda each: each.identity),
            roles=UNSET if isinstance(roles, UnsetType) else _sorted(roles[0], lambda each: each.name),
            attributes_read=UNSET if isinstance(listed, UnsetType) else listed.attributes_read,
            recipients=UNSET if isinstance(listed, UnsetType) else _sorted(listed.recipients, lambda each: each.guid),
            groups=_sorted(groups, lambda each: each.guid),
            administrative_units=_sorted(units, lambda each: each.id),
            organization=organization,
            unread=tuple(self.unread),
        )

    def _check_pointers(self, pointers: Maybe[ServicePrincipal]) -> None:
        for pointer in () if isinstance(pointers, UnsetType) else pointers:
            if isinstance(pointer.override_enforce_exo_app_rbac_permissions, UnsetType):
                what = f"service_principals[object_id={pointer.object_id}].override_enforce_exo_app_rbac_permissions"
                self.unread.append(Unread(what, "Exchange did not show it"))

    def _check_roles(self, unknown: tuple[str, ...], assignments: Maybe[RoleAssignment]) -> None:
        """A role that nobody has described matters only where it is assigned; there its permissions are unread."""
        used = set() if isinstance(assignments, UnsetType) else {each.role.casefold() for each in assignments}
        self.unread += [
            Unread(
                f"roles[name={name}].permissions",
                "Exchange lists no permissions of a role, and this version knows none of it",
            )
            for name in unknown
            if name.casefold() in used
        ]

    def _assignments(self, units: Maybe[AdministrativeUnit]) -> tuple[RoleAssignment, ...]:
        session = self.connection.exchange
        raw = inventory.read_assignments(session)
        known = () if isinstance(units, UnsetType) else {unit.id.casefold() for unit in units}
        strange = any(
            isinstance(each.scope, AdministrativeUnitScope) and each.scope.id.casefold() not in known for each in raw
        )
        # Exchange has Guids and names of its own for units; they are asked for only where one is used.
        named = inventory.read_units(session) if strange else ()
        return tuple(inventory.assignment(each, named) for each in raw)

    def _apps(self, pointers: Maybe[ServicePrincipal], policies: Maybe[AccessPolicy]) -> Maybe[App]:
        named: set[str] = set()
        if not isinstance(pointers, UnsetType):
            named |= {pointer.object_id for pointer in pointers} | {pointer.app_id for pointer in pointers}
        if not isinstance(policies, UnsetType):
            named |= {policy.app_id for policy in policies}
        graph = self.connection.graph
        named |= set(self.wanted.apps)
        found = self.attempt("apps", lambda: read_apps(graph, Resources(graph), named=named, progress=self.progress))
        if isinstance(found, UnsetType):
            return UNSET
        self.unread += found.unread
        return found.apps

    def _attributes(self, scopes: Maybe[ManagementScope]) -> tuple[str, ...]:
        names = {name.casefold(): name for name in self.wanted.attributes}
        for scope in () if isinstance(scopes, UnsetType) else scopes:
            names.update({name.casefold(): name for name in asked_by(scope.recipient_filter)[0]})
        return tuple(sorted(name for folded, name in names.items() if folded not in OWN))

    def _groups(
        self,
        listed: RecipientList | UnsetType,
        policies: Maybe[AccessPolicy],
        scopes: Maybe[ManagementScope],
        assignments: Maybe[RoleAssignment],
    ) -> Maybe[Group]:
        if not isinstance(listed, UnsetType):
            self.unread += [
                Unread(f"recipients.attributes[{name}]", "Exchange did not show this property of recipients")
                for name in listed.attributes_unread
            ]
        reader = GroupReader(
            self.connection, None if isinstance(listed, UnsetType) else listed, self.attempt, self.unread
        )
        dns = [dn for scope in _some(scopes) for dn in asked_by(scope.recipient_filter)[1]]
        ids = [policy.scope.object_id for policy in _some(policies)]
        ids += [each.scope.id for each in _some(assignments) if isinstance(each.scope, GroupScope)]
        return reader.read(dns=dns, ids=ids, named=self.wanted.groups)


def _some(values: Maybe[Read]) -> Iterable[Read]:
    return () if isinstance(values, UnsetType) else values


def _by_guid(assignments: Maybe[RoleAssignment], groups: tuple[Group, ...]) -> Maybe[RoleAssignment]:
    """Group scopes by the group's own Guid: Exchange names a group by either of its two."""
    if isinstance(assignments, UnsetType):
        return UNSET
    guids = {
        group.external_directory_object_id.casefold(): group.guid
        for group in groups
        if group.external_directory_object_id
    }
    return tuple(
        replace(each, scope=GroupScope(guids.get(each.scope.id.casefold(), each.scope.id)))
        if isinstance(each.scope, GroupScope)
        else each
        for each in assignments
    )


def _sorted(values: Maybe[Read], key: Callable[[Read], Any]) -> Maybe[Read]:
    """In one order whatever the service's, so that two readings of one tenant are the same file."""
    if isinstance(values, UnsetType):
        return UNSET
    return tuple(sorted(values, key=lambda each: str(key(each)).casefold()))
