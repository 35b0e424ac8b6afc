"""What a plan would move although it belongs to another app: a scope or a group that two apps share moves both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exoscope.model import App, Step
from exoscope.planning.states import assignees, fold, listed
from exoscope.planning.world import World


def moved_elsewhere(world: World, after: World, app: App, steps: Iterable[Step]) -> tuple[str, ...]:
    """Assignments and policies that are not certainly this app's and whose mailboxes ``steps`` would change, in words.

    ``after`` is the tenant after the steps. Disabled assignments count: somebody may switch them on. Raises Unreadable where
    assignments, pointers or policies were not read and the steps touch what such an object can rest on.
    """
    if not any(_moves(each) for each in steps):
        return ()
    return tuple(dict.fromkeys((*_assignments(world, after, app), *_policies(world, after, app))))


def _moves(step: Step) -> bool:
    """Can this step change whom an existing scope or policy holds?"""
    kind = step.target.kind
    return kind == "group_member" or (kind == "management_scope" and step.before is not None)


def _assignments(world: World, after: World, app: App) -> Iterator[str]:
    here = {fold(each.name): each for each in listed(world.snapshot, "role_assignments")}
    owner = assignees(after.snapshot)
    for each in listed(after.snapshot, "role_assignments"):
        before = here.get(fold(each.name))
        if before is None or fold(owner(each.assignee)) == fold(app.object_id):
            continue
        if world.members(before.scope) != after.members(each.scope):
            yield f"{each.role} of {each.assignee} (assignment {each.name})"


def _policies(world: World, after: World, app: App) -> Iterator[str]:
    here = {fold(each.identity): each for each in listed(world.snapshot, "access_policies")}
    for each in listed(after.snapshot, "access_policies"):
        before = here.get(fold(each.identity))
        if before is None or fold(each.app_id) == fold(app.app_id):
            continue
        if world.policy_members(before) != after.policy_members(each):
            yield f"the {each.access_right} policy of {'every app' if each.app_id == '*' else each.app_id}"
