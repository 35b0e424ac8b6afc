"""What an app may reach once its migration is done, as a plan's entries: the derived scope, and what roles gave already."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from exoscope.catalog import canonical, permission
from exoscope.model import (
    Addresses,
    AdministrativeUnitScope,
    App,
    GroupScope,
    IntentEntry,
    IntentScope,
    ManagementScopeScope,
    PlanEntry,
    RoleAssignment,
    Snapshot,
)
from exoscope.planning.drafts import Draft, Wanted
from exoscope.planning.holdings import covers, grants, own_assignments
from exoscope.planning.states import find_app, find_group, find_scope, fold, listed
from exoscope.planning.telling import entries_of
from exoscope.planning.world import World


def entries_after(
    world: World, after: World, draft: Draft, makers: dict[str, str]
) -> tuple[tuple[PlanEntry, ...], tuple[Wanted, ...]]:
    """The entries, and the same as what was wanted. Roles that bear on nothing that policies govern are left out."""
    entries = [_following(world, draft, each) for each in entries_of(world, after, draft, makers)]
    wanted = list(draft.wanted)
    ours = {canonical(p.name) for each in draft.wanted for p in each.mailbox}
    expected = draft.wanted[0].expected if draft.wanted else None
    app = find_app(after.snapshot, draft.app.app_id) or draft.app
    for assignment in own_assignments(after.snapshot, app):
        related = _related(after.snapshot, assignment, ours)
        if not assignment.enabled or not related or fold(assignment.assignee) != fold(app.object_id):
            continue
        members = after.members(assignment.scope)
        if expected is not None and {canonical(name) for name in related} <= ours and members.inside == expected:
            continue
        found = _entry(after, app, assignment, related)
        if any(_alike(found[0], each) for each in entries):
            continue
        entries.append(found[0])
        wanted.append(found[1])
    return tuple(entries), tuple(wanted)


def _following(world: World, draft: Draft, entry: PlanEntry) -> PlanEntry:
    """An entry over a managed copy says whose members it holds; ``world`` is of the app alone."""
    if not any(each.managed for each in draft.wanted):
        return entry
    keys = [
        {"app_id": each.app_id, "access_right": each.access_right, "group": each.scope.object_id}
        for each in listed(world.snapshot, "access_policies")
    ]
    return replace(entry, follows=tuple(sorted(keys, key=lambda key: sorted(key.items()))))


def _related(snapshot: Snapshot, assignment: RoleAssignment, ours: set[str]) -> tuple[str, ...]:
    """Those of a role's permissions that policies would govern, or that a migrated permission lets through or is let through by."""
    found = []
    for name in grants(snapshot, assignment) or ():
        known = permission(name)
        if known is None or known.about != "mailbox":
            continue
        governed = known.governed or canonical(name) == canonical("EWS.AccessAsApp")
        if governed or any(covers(name, other) or covers(other, name) for other in ours):
            found.append(known.name)
    return tuple(found)


def _alike(one: PlanEntry, other: PlanEntry) -> bool:
    return (one.permissions, one.filter, one.group, one.scope.kind) == (
        other.permissions,
        other.filter,
        other.group,
        other.scope.kind,
    )


def _entry(after: World, app: App, assignment: RoleAssignment, names: Sequence[str]) -> tuple[PlanEntry, Wanted]:
    scope = assignment.scope
    inside = after.members(scope).inside
    filter_text, group, kind = None, None, IntentScope("organization")
    if isinstance(scope, ManagementScopeScope):
        found = find_scope(after.snapshot, scope.name)
        filter_text = found.recipient_filter if found is not None else None
        kind = IntentScope("filter", value=filter_text)
    elif isinstance(scope, AdministrativeUnitScope):
        group, kind = scope.id, IntentScope("administrative-unit", value=scope.id)
    elif isinstance(scope, GroupScope):
        there = find_group(after.snapshot, scope.id)
        group = there.guid if there is not None else scope.id
        kind = IntentScope("group-scope", value=group)
    known = tuple(each for each in (permission(name) for name in names) if each is not None)
    everyone = kind.kind == "organization"
    entry = PlanEntry(
        permissions=tuple(names),
        mechanism="rbac",
        scope=kind,
        expected=Addresses((), all_but=True) if everyone else Addresses(inside.addresses()),
        filter=filter_text,
        group=group,
    )
    intent = IntentEntry(app.app_id, tuple(names), "rbac", kind)
    return entry, Wanted(intent, 0, known, (), inside, filter_text, group if kind.kind != "group-scope" else None)
