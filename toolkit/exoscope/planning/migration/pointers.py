"""A stale pointer: Exchange knows the app by another object id than Entra does, so what is assigned to it gives nothing.

It is replaced: its assignments go first, then the pointer, then the right one comes, and of the assignments those are made
again that lie within today's reach; the others would widen it, and are named and dropped.
"""

from __future__ import annotations

from exoscope.catalog import permission
from exoscope.model import App, Noun, RoleAssignment, Target
from exoscope.planning.drafts import Change, Denied, listing
from exoscope.planning.holdings import grants
from exoscope.planning.states import find_pointers, fold, listed, shown
from exoscope.planning.world import World


class Replaced(Noun, frozen=True):
    """The changes, in order, and what must be said. No changes: the pointer is right, or there is none."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def replace_stale(world: World, app: App) -> Replaced:
    """What makes the pointer right. ``world`` is of the app alone. Raises Denied ``stale-pointer`` where whose an assignment is
    cannot be told."""
    snapshot = world.snapshot
    pointers = find_pointers(snapshot, app.app_id)
    if not pointers or any(fold(each.object_id) == fold(app.object_id) for each in pointers):
        return Replaced((), ())
    ids = {fold(each.object_id) for each in pointers}
    changes: list[Change] = []
    again: list[Change] = []
    dropped: list[str] = []
    for each in listed(snapshot, "role_assignments"):
        if fold(each.assignee) not in ids:
            raise Denied(
                "stale-pointer",
                f"Exchange's pointer for this app is stale, and whose the assignment {each.name} of {each.assignee} is cannot be "
                "told. Remove the pointer and its assignments by hand first.",
            )
        target = Target("role_assignment", {"name": each.name})
        before = shown(snapshot, target)
        changes.append(Change("overlap", target, before, None))
        if before is not None and _within(world, app, each):
            again.append(Change("overlap", target, None, before | {"assignee": app.object_id}))
        else:
            dropped.append(f"{each.role} ({each.name})")
    for stale in pointers:
        key = {"app_id": stale.app_id, "object_id": stale.object_id}
        changes.append(Change("overlap", Target("pointer", key), {"display_name": stale.display_name}, None))
    key = {"app_id": app.app_id, "object_id": app.object_id}
    changes.append(Change("overlap", Target("pointer", key), None, {"display_name": app.display_name}))
    notes = [
        f"Exchange's pointer has the object id {listing(each.object_id for each in pointers)}, the app's is {app.object_id}: "
        "it gives nothing, and is replaced. Undo does not bring it back."
    ]
    if again:
        notes.append(f"Made again for the right pointer: {len(again)} assignment(s) within today's reach.")
    if dropped:
        notes.append(f"Dropped, since they would widen today's reach: {listing(dropped)}. They gave nothing.")
    return Replaced((*changes, *again), tuple(notes))


def _within(world: World, app: App, assignment: RoleAssignment) -> bool:
    """Would the assignment, given to the right pointer, reach nothing that is not reached today?"""
    given = grants(world.snapshot, assignment)
    if not assignment.enabled or not given:
        return False
    members = world.members(assignment.scope)
    if members.unknown:
        return False
    for name in given:
        known = permission(name)
        if known is None or known.about == "directory" or members.inside - world.reach(app, known.name).inside:
            return False
    return True
