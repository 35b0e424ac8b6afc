"""RBAC for Applications: pointer, scope and assignments that give an entry its reach, reusing by meaning what is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from exoscope import opath
from exoscope.catalog import Permission, canonical, role_for
from exoscope.model import (
    AdministrativeUnitScope,
    App,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    OrganizationScope,
    RoleAssignment,
    Scope,
    Snapshot,
    Target,
)
from exoscope.planning import names
from exoscope.planning.drafts import Change, Denied, Wanted, known, listing
from exoscope.planning.holdings import covers, grants, own_assignments
from exoscope.planning.managed_group import managed_group
from exoscope.planning.registration import naming
from exoscope.planning.states import (
    find_assignment,
    find_pointers,
    find_scope,
    fold,
    group_ids,
    listed,
    same_filter,
    scope_state,
    shown,
)
from exoscope.planning.world import World

_BESIDE = 1000
"""Place of a narrow assignment that is made beside ours over the organisation."""


class Grant:
    """The changes of one entry, in the order in which they are made; ``filter`` and ``group`` say what its scope rests on."""

    def __init__(self) -> None:
        self.group_changes: list[Change] = []
        self.scope_changes: list[Change] = []
        self.assignment_changes: list[Change] = []
        self.member_changes: list[Change] = []
        self.cutover_changes: list[Change] = []
        self.filter: str | None = None
        self.group: str | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        made = (*self.group_changes, *self.scope_changes, *self.assignment_changes)
        return (*made, *self.member_changes, *self.cutover_changes)


class Giving(NamedTuple):
    """A role to assign, and what it is called in the assignment's name."""

    role: str
    label: str


def one_each(snapshot: Snapshot, missing: Sequence[Permission]) -> list[Giving]:
    """For each permission the role that gives exactly it."""
    why = "a permission without a role was refused before"
    return [Giving(known(role_for(each.name, snapshot.roles), why), each.name) for each in missing]


def grant(
    world: World,
    app: App,
    wanted: Wanted,
    *,
    roles: Callable[[Snapshot, Sequence[Permission]], Sequence[Giving]] = one_each,
    less: opath.Filter | None = None,
    taken: Collection[str] = (),
) -> Grant:
    """What gives ``wanted`` its reach. Raises Denied: scope-shared, name-clash, membership-unread.

    ``roles`` chooses the roles for permissions that nothing gives yet. ``less``: who stays out of a managed group's scope.
    ``taken``: scopes (by name, without case) that another app's draft uses, so that this one may not.
    """
    snapshot = world.snapshot
    result = Grant()
    confirm: tuple[Change, ...] = ()
    selected = wanted.filter
    if wanted.managed:
        group = managed_group(world, app, wanted, "grant")
        inside = opath.member_of(group.dn)
        selected = str(inside if less is None else opath.And((inside, opath.Not(less))))
        result.group_changes += group.make
        result.member_changes += group.update
        result.group = group.guid
        confirm = group.confirm
    elif wanted.group is not None:
        result.group = wanted.group.guid
    elif wanted.unit is not None:
        result.group = wanted.unit
    result.filter = selected
    missing = [each for each in wanted.mailbox if not _given(snapshot, app, wanted, each, selected)]
    if missing:
        scope = _scope(snapshot, app, wanted, selected, result, taken)
        for giving in roles(snapshot, missing):
            _assignment(snapshot, app, wanted, giving, scope, result)
    if result.changes:
        result.group_changes[:0] = confirm
    return result


def pointer(snapshot: Snapshot, app: App) -> tuple[Change, ...]:
    """The pointer, where there is none. Raises Denied ``name-clash`` for a stale one: it would have to go first."""
    key = {"app_id": app.app_id, "object_id": app.object_id}
    pointers = find_pointers(snapshot, app.app_id)
    if any(fold(each.object_id) == fold(app.object_id) for each in pointers):
        return ()
    if pointers:
        stale = pointers[0]
        raise Denied(
            "name-clash",
            f"Exchange's pointer for this app has the object id {stale.object_id}, the app's is {app.object_id}: it gives nothing. "
            f"Remove it first: Remove-ServicePrincipal -Identity '{stale.object_id}'",
        )
    return (Change("grant", Target("pointer", key), None, {"display_name": app.display_name}),)


# -- what is there already ----------------------------------------------------------------------------------------------


def _given(snapshot: Snapshot, app: App, wanted: Wanted, wish: Permission, filter: str | None) -> bool:
    """Does an enabled assignment give exactly this over exactly this scope (and nothing the entry does not want)?"""
    welcome = {canonical(each.name) for each in wanted.mailbox}
    for each in own_assignments(snapshot, app):
        given = grants(snapshot, each)
        if not each.enabled or given is None or not _is_ours(snapshot, app, each):
            continue
        held = {canonical(name) for name in given}
        if canonical(wish.name) in held <= welcome and _same_scope(snapshot, each.scope, wanted, filter):
            return True
    return False


def _is_ours(snapshot: Snapshot, app: App, assignment: RoleAssignment) -> bool:
    """Certainly this app's: its object id, or an appId or name that only its pointer has."""
    return any(fold(p.object_id) == fold(app.object_id) for p in find_pointers(snapshot, app.app_id)) and (
        fold(shown(snapshot, Target("role_assignment", {"name": assignment.name}))["assignee"])  # type: ignore[index]  # it is there: we hold it
        == fold(app.object_id)
    )


def _same_scope(snapshot: Snapshot, scope: Scope, wanted: Wanted, filter: str | None) -> bool:
    if isinstance(scope, ManagementScopeScope):
        found = find_scope(snapshot, scope.name)
        return found is not None and filter is not None and _means(found, filter)
    if isinstance(scope, AdministrativeUnitScope):
        return wanted.unit is not None and fold(scope.id) == fold(wanted.unit)
    if isinstance(scope, GroupScope):
        return filter is None and wanted.group is not None and fold(scope.id) in group_ids(wanted.group)
    return wanted.entry.scope.kind == "organization"


def _means(scope: ManagementScope, filter: str) -> bool:
    return scope.recipient_root is None and same_filter(scope.recipient_filter, filter) is True


def users_of(snapshot: Snapshot, scope_name: str) -> tuple[RoleAssignment, ...]:
    """The assignments that use a management scope."""
    return tuple(
        each
        for each in listed(snapshot, "role_assignments")
        if isinstance(each.scope, ManagementScopeScope) and fold(each.scope.name) == fold(scope_name)
    )


# -- scopes ---------------------------------------------------------------------------------------------------------------


def _scope(
    snapshot: Snapshot, app: App, wanted: Wanted, filter: str | None, result: Grant, taken: Collection[str]
) -> dict[str, str]:
    """The scope as an assignment's state spells it; a management scope is found, moved or made."""
    if filter is not None:
        return {"kind": "management_scope", "name": _management_scope(snapshot, app, wanted, filter, result, taken)}
    if wanted.unit is not None:
        return scope_state(AdministrativeUnitScope(wanted.unit))
    if wanted.group is not None:
        # Either Guid names the group; exchange.read_object and snapshots tell a group scope by the group's own.
        return scope_state(GroupScope(wanted.group.guid))
    return scope_state(OrganizationScope())


def _management_scope(
    snapshot: Snapshot, app: App, wanted: Wanted, filter: str, result: Grant, taken: Collection[str]
) -> str:
    ours = {fold(each.name) for each in own_assignments(snapshot, app)}

    def alone(name: str) -> bool:
        return fold(name) not in taken and all(fold(each.name) in ours for each in users_of(snapshot, name))

    scopes: tuple[ManagementScope, ...] = listed(snapshot, "management_scopes")
    same = [each for each in scopes if not each.exclusive and _means(each, filter) and alone(each.name)]
    own_name = names.scope_name(naming(app), app.display_name, [p.name for p in wanted.mailbox], wanted.place)
    same.sort(key=lambda each: (not users_of(snapshot, each.name), fold(each.name) != fold(own_name), fold(each.name)))
    if same:
        return same[0].name
    state: dict[str, Any] = {"recipient_filter": filter, "recipient_root": None, "exclusive": False}
    target = Target("management_scope", {"name": own_name})
    found = find_scope(snapshot, own_name)
    if found is None:
        result.scope_changes.append(Change("grant", target, None, state))
        return own_name
    if found.recipient_root is not None or found.exclusive:
        raise Denied("name-clash", f"the scope {found.name} has a root or is exclusive, so exoscope did not make it so")
    _check_shared(snapshot, app, wanted, found.name)
    result.scope_changes.append(
        Change("grant", Target("management_scope", {"name": found.name}), shown(snapshot, target), state)
    )
    return found.name


def _check_shared(snapshot: Snapshot, app: App, wanted: Wanted, name: str) -> None:
    """A scope is moved only when nothing but this entry's assignments goes with it."""
    ours = {fold(each.name) for each in own_assignments(snapshot, app)}
    welcome = {canonical(each.name) for each in wanted.mailbox}
    others = []
    for each in users_of(snapshot, name):
        given = grants(snapshot, each)
        if fold(each.name) not in ours or given is None or not {canonical(p) for p in given} <= welcome:
            others.append(f"{each.role} of {each.assignee}")
    if others:
        raise Denied(
            "scope-shared", f"the scope {name} would have to be moved, and these would move with it: {listing(others)}"
        )


# -- assignments ------------------------------------------------------------------------------------------------------------


def _assignment(
    snapshot: Snapshot, app: App, wanted: Wanted, giving: Giving, scope: dict[str, str], result: Grant
) -> None:
    role, label = giving
    name = names.assignment_name(naming(app), app.display_name, label, wanted.place)
    target = Target("role_assignment", {"name": name})
    state: dict[str, Any] = {"role": role, "assignee": app.object_id, "enabled": True, "scope": scope}
    found = find_assignment(snapshot, name)
    before = shown(snapshot, target)
    if before is not None and before["scope"]["kind"] == "organization" and scope["kind"] != "organization":
        # Nothing documents a way back to the whole organisation, so ours over it is left until a narrow one beside it is proven.
        if before["enabled"]:
            result.cutover_changes.append(Change("cutover", target, before, None))
        name = names.assignment_name(naming(app), app.display_name, label, wanted.place + _BESIDE)
        target = Target("role_assignment", {"name": name})
        found, before = find_assignment(snapshot, name), shown(snapshot, target)
    if found is None or before is None:
        result.assignment_changes.append(Change("grant", target, None, state))
        return
    if fold(before["role"]) != fold(role) or fold(before["assignee"]) != fold(app.object_id):
        raise Denied(
            "name-clash",
            f"the assignment {name} gives {found.role} to {found.assignee}, which is not what exoscope made",
        )
    moved = before | {"scope": scope}
    if _other(before["scope"], scope):
        if scope["kind"] == "organization":
            raise Denied(
                "name-clash",
                f"the assignment {name} has a narrower scope, and Exchange has no documented way to widen it to the organisation. "
                f"Remove it first: Remove-ManagementRoleAssignment -Identity '{name}'",
            )
        result.assignment_changes.append(Change("grant", target, before, moved))
    if not found.enabled:
        result.assignment_changes.append(Change("grant", target, moved, moved | {"enabled": True}))


def _other(one: dict[str, str], other: dict[str, str]) -> bool:
    return {(key, fold(value)) for key, value in one.items()} != {(key, fold(value)) for key, value in other.items()}


# -- what stands beside -------------------------------------------------------------------------------------------------------


def check_beside(world: World, after: World, app: App, wanted: Sequence[Wanted]) -> None:
    """No assignment may give an intended permission outside its scope once all is done (``after``).

    Raises Denied ``unscoped-beside``, naming the assignment and the command that removes it.
    """
    named = {fold(canonical(name)) for each in wanted for name in each.entry.also_holds}
    for each in own_assignments(after.snapshot, app):
        given = grants(after.snapshot, each)
        if not each.enabled or given is None:
            continue
        for wish in dict.fromkeys(p for entry in wanted for p in entry.mailbox):
            letting = [name for name in given if covers(name, wish.name) and fold(canonical(name)) not in named]
            if not letting:
                continue
            sets = after.members(each.scope)
            outside = (sets.inside | sets.unknown) - intended(world, wanted, wish.name)
            if outside:
                raise Denied(
                    "unscoped-beside",
                    f"the assignment {each.name} gives {each.role} {_where(each.scope)}, which lets {wish.name} through for "
                    f"{len(outside)} mailboxes outside the scope. "
                    f"Remove it first: Remove-ManagementRoleAssignment -Identity '{each.name}'",
                )


def _where(scope: Scope) -> str:
    if isinstance(scope, OrganizationScope):
        return "over the whole organisation"
    if isinstance(scope, ManagementScopeScope):
        return f"over the scope {scope.name}"
    return f"over {scope.id}"


def intended(world: World, wanted: Sequence[Wanted], permission_name: str) -> Any:
    """The mailboxes on which the intent lets a call for this permission through: all entries with it, or a wider one."""
    found = world.none
    for each in wanted:
        if any(covers(p.name, permission_name) for p in each.mailbox):
            found = found | each.expected
    return found
