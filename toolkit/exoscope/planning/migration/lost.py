"""What a plan says of an app that an earlier run has begun to move, where that run's journal may be lost. Pure.

A fresh snapshot plans what is left to do, whoever did the rest. But undo goes by a journal: what stands in none it cannot take
back, and a tenant does not say what was there before.
"""

from __future__ import annotations

from exoscope.catalog import canonical, permission
from exoscope.model import App
from exoscope.planning.drafts import listing
from exoscope.planning.holdings import own_assignments
from exoscope.planning.migration.consents import given_by_roles
from exoscope.planning.names import is_ours
from exoscope.planning.world import World


def not_undone(world: World, app: App, *, half_done: bool = False) -> tuple[str, ...]:
    """Sentences on what undo of this plan leaves as it is; none for an app of which nothing was begun. ``half_done``: it holds no
    consent any more that policies govern, so that roles made by anybody are what a migration left."""
    made = sorted(each.name for each in own_assignments(world.snapshot, app) if each.enabled and is_ours(each.name))
    if not made and not half_done:
        return ()
    notes = []
    if made:
        notes.append(
            f"An earlier run made {listing(made, 5)}: undo of this plan leaves them, and pointer, scope and managed group with "
            "them. Undo that run instead; where its journal is lost, take them away by hand after this plan is undone."
        )
    held = {canonical(each.permission) for each in app.consents}
    alone = [
        each for each in sorted(given_by_roles(world.snapshot, app)) if each not in held and _may_rest_on_policies(each)
    ]
    if alone:
        notes.append(
            f"{listing(alone)} is given by roles alone. If an earlier run removed consents, their request entries, or policies of "
            "the app, undo of this plan cannot bring them back: the tenant does not say which there were. Undo that run instead; "
            "where its journal is lost, make the policies again by hand, two hours later the consents."
        )
    return tuple(notes)


def _may_rest_on_policies(name: str) -> bool:
    known = permission(name)
    return known is not None and (known.governed or canonical(known.name) == canonical("EWS.AccessAsApp"))
