"""Every DN in a filter against the groups that there are: a filter follows no group that is renamed or deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from exoscope.model import App, ManagementScopeScope
from exoscope.outcome import Finding, Unreadable
from exoscope.planning.holdings import own_assignments
from exoscope.planning.scoped import missing_groups
from exoscope.planning.world import World
from exoscope.reach import Reach


def named_groups(reach: Reach, app: App) -> tuple[Finding, ...]:
    """What to know of the DNs that the filters of the app's scopes name.

    A group that a filter keeps out and that is gone opens the filter to everybody: then the app is not scoped either
    (``complement-open``). One that a filter lets in and that is gone holds nobody.
    """
    try:
        return tuple(dict.fromkeys(_findings(World.over(reach), app)))
    except Unreadable as error:
        return (
            Finding("groups-unread", app.app_id, None, f"which groups its scopes name cannot be told: {error.message}"),
        )


def _findings(world: World, app: App) -> Iterator[Finding]:
    for assignment in own_assignments(world.snapshot, app):
        if not isinstance(assignment.scope, ManagementScopeScope):
            continue
        scope = assignment.scope.name
        missing = missing_groups(world, assignment)
        if missing is None:
            text = (
                f"the scope {scope} names groups by DN, and groups were not read: whether they are there is not known"
            )
            yield Finding("groups-unread", app.app_id, None, text)
        off = "" if assignment.enabled else f" (by the assignment {assignment.name}, which is disabled)"
        for dn, out in missing or ():
            tells = (
                "whose members it keeps out: without it the scope holds everybody"
                if out
                else "whose members it lets in: without it nobody is let in by it"
            )
            text = (
                f"no group has the DN {dn}, which the scope {scope} names{off} and {tells}. It was renamed or deleted"
            )
            yield Finding("group-gone", app.app_id, None, text)
