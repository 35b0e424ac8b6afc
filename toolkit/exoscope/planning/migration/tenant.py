"""A tenant as a migration looks at it: app by app, with what bears on one app alone, so that many apps stay fast."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UnsetType
from msgspec.structs import replace

from exoscope import opath
from exoscope.model import (
    AccessPolicy,
    App,
    ManagementScope,
    ManagementScopeScope,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
)
from exoscope.planning.states import fold, listed
from exoscope.planning.world import World


class TenantView:
    """A snapshot, indexed by app. Raises Unreadable where recipients, apps or access policies were not read."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = _resolved(snapshot)
        self.world = World(self.snapshot)
        self.apps: tuple[App, ...] = listed(snapshot, "apps")
        self.by_app_id = {fold(app.app_id): app for app in self.apps}
        self.policies: tuple[AccessPolicy, ...] = listed(snapshot, "access_policies")
        self.wildcards = tuple(policy for policy in self.policies if policy.app_id == "*")
        self._policies: dict[object, list[AccessPolicy]] = {}
        for policy in self.policies:
            self._policies.setdefault(fold(policy.app_id), []).append(policy)
        self._pointers: dict[object, list[ServicePrincipal]] = {}
        for pointer in _some(self.snapshot.service_principals):
            for text in {fold(pointer.app_id), fold(pointer.object_id), fold(pointer.display_name)}:
                self._pointers.setdefault(text, []).append(pointer)
        self._assignments: dict[object, list[RoleAssignment]] = {}
        self._by_values: dict[frozenset[object], list[ManagementScope]] | None = None
        self._users: dict[object, list[RoleAssignment]] = {}
        for each in _some(self.snapshot.role_assignments):
            self._assignments.setdefault(fold(each.assignee), []).append(each)
            if isinstance(each.scope, ManagementScopeScope):
                self._users.setdefault(fold(each.scope.name), []).append(each)

    def own_policies(self, app_id: str) -> tuple[AccessPolicy, ...]:
        """The policies that name the app, in one order whatever the tenant's."""
        return tuple(sorted(self._policies.get(fold(app_id), ()), key=lambda each: each.identity.casefold()))

    def alone(self, app: App) -> Snapshot:
        """What bears on one app's reach: the app, its policies and those for every app, its pointers and assignments.

        Recipients, groups, units and scopes are the whole tenant's, so that indexes over them are shared.
        """
        texts = {fold(app.app_id), fold(app.object_id)}
        texts |= {fold(p.display_name) for p in self._pointers.get(fold(app.app_id), ()) if _names(p.app_id, app)}
        texts |= {fold(p.object_id) for p in self._pointers.get(fold(app.app_id), ()) if _names(p.app_id, app)}
        pointers = {id(p): p for text in texts for p in self._pointers.get(text, ())}
        assignments = {id(a): a for text in texts for a in self._assignments.get(text, ())}
        changed: dict[str, object] = {
            "apps": (app,),
            "access_policies": (*self.own_policies(app.app_id), *self.wildcards),
        }
        if isinstance(self.snapshot.service_principals, tuple):
            changed["service_principals"] = tuple(sorted(pointers.values(), key=lambda each: each.object_id.casefold()))
        if isinstance(self.snapshot.role_assignments, tuple):
            changed["role_assignments"] = tuple(sorted(assignments.values(), key=lambda each: each.name.casefold()))
        return replace(self.snapshot, **changed)

    def beside(self, alone: Snapshot, filter: str | None, names: Iterable[str]) -> Snapshot:
        """The same with all that bears on making a scope for the app: management scopes that may mean ``filter`` or have one of
        ``names``, those its own assignments use, and whoever else uses one of them."""
        scopes = self.snapshot.management_scopes
        if not isinstance(scopes, tuple) or not isinstance(alone.role_assignments, tuple):
            return alone
        wanted = {fold(name) for name in names}
        wanted |= {
            fold(each.scope.name) for each in alone.role_assignments if isinstance(each.scope, ManagementScopeScope)
        }
        alike = self._alike().get(_values(filter), []) if filter is not None else []
        kept = {id(each): each for each in alike} | {id(each): each for each in scopes if fold(each.name) in wanted}
        mine = {id(each) for each in alone.role_assignments}
        users = [
            each for scope in kept.values() for each in self._users.get(fold(scope.name), ()) if id(each) not in mine
        ]
        return replace(
            alone,
            management_scopes=tuple(each for each in scopes if id(each) in kept),
            role_assignments=(*alone.role_assignments, *users),
        )

    def _alike(self) -> dict[frozenset[object], list[ManagementScope]]:
        """Management scopes by the values their filters name: filters of one meaning name the same groups and texts."""
        if self._by_values is None:
            self._by_values = {}
            for scope in _some(self.snapshot.management_scopes):
                self._by_values.setdefault(_values(scope.recipient_filter), []).append(scope)
        return self._by_values


def _values(filter: str) -> frozenset[object]:
    try:
        atoms = opath.atoms(opath.parse(filter))
    except opath.OpathError:
        return frozenset({fold(filter)})
    return frozenset(
        opath.normal_dn(each.value) or fold(each.value) if isinstance(each.value, str) else each.value for each in atoms
    )


def _names(text: str, app: App) -> bool:
    return fold(text) == fold(app.app_id)


def _some(values: Iterable[object] | UnsetType) -> tuple:  # type: ignore[type-arg]  # what it is of, the caller knows
    return () if isinstance(values, UnsetType) else tuple(values)


def _resolved(snapshot: Snapshot) -> Snapshot:
    """Assignees by object id, where the text they have names one pointer: what the assignment belongs to once pointers change."""
    if isinstance(snapshot.role_assignments, UnsetType) or isinstance(snapshot.service_principals, UnsetType):
        return snapshot
    named: dict[object, dict[object, str]] = {}
    ids = {fold(pointer.object_id) for pointer in snapshot.service_principals}
    for pointer in snapshot.service_principals:
        for text in (pointer.object_id, pointer.app_id, pointer.display_name):
            named.setdefault(fold(text), {})[fold(pointer.object_id)] = pointer.object_id

    def resolved(each: RoleAssignment) -> RoleAssignment:
        owners = named.get(fold(each.assignee), {})
        if fold(each.assignee) in ids or len(owners) != 1:
            return each
        return replace(each, assignee=next(iter(owners.values())))

    return replace(snapshot, role_assignments=tuple(resolved(each) for each in snapshot.role_assignments))
