"""A fresh reading of the tenant against what a plan's answer for an app rests on. Pure.

The steps still to do are simulated over the fresh snapshot. Where the reach that then results differs from the plan's, the scope's
members moved (the steps cover that: noted), or something else changed (not covered: the app stops).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from exoscope import catalog
from exoscope.model import Addresses, AppPlan, Plan, PlanEntry, Snapshot, Step
from exoscope.outcome import ExoscopeError
from exoscope.planning import effect, registration, states
from exoscope.planning.drafts import Denied
from exoscope.planning.elsewhere import moved_elsewhere
from exoscope.planning.migration.levelling import bring_level, copy_of, placed
from exoscope.planning.scoped import CODES
from exoscope.planning.world import World
from exoscope.powershell import holes
from exoscope.proving import of_plan, scope_now
from exoscope.reach import Mailboxes, Reach
from exoscope.running.ports import Survey

SHOWN = 5


def compare(
    app: AppPlan,
    left: Sequence[Step],
    known: Mapping[str, str],
    snapshot: Snapshot,
    *,
    migration: Plan | None = None,
    reach: Reach | None = None,
) -> Survey:
    """What moved for one app. ``left`` are its steps to do, ``known`` what holes stand for (``<step-1.guid>`` → text).

    ``migration``, the plan where it is one: the scope must still hold just whom the app's policies let through, until its consents
    are gone; a managed copy of their members is brought level first. ``reach`` is over this very snapshot, where one is at hand:
    its indexes serve many apps.
    Raises Unreadable when what the steps change was not read.
    """
    base, known_now = _with_the_app(app, left, known, snapshot)
    app = registration.named_app(app, known_now)
    there = states.find_app(base, app.app_id)
    if not app.object_id:
        return Survey((), (f"{app.display_name} is in the tenant now",) if there is not None else ())
    if there is None:
        return Survey((), (f"the app {app.display_name} is not in the tenant any more",))
    if not holes(app.object_id) and there.object_id.casefold() != app.object_id.casefold():
        return Survey((), (f"the service principal of {app.display_name} is {there.object_id}, not {app.object_id}",))
    now = reach if reach is not None and base is snapshot else Reach(base, like=reach)
    level = None
    if migration is not None:
        try:
            level = bring_level(World.over(now), migration, app, there, left, known)
        except Denied as denied:
            return Survey((), (denied.message,))
    if level is not None and migration is not None:
        app = level.app
        left = placed(left, level.steps, app.app_id, level.stage, [each.id for each in migration.stages], ())
    changed = base
    for step in left:
        try:
            changed, known_now = effect.apply_step(changed, step, known_now)
        except LookupError as error:
            return Survey((), (f"{step.title} has lost what it rests on: {error}",))
    app = registration.named_app(app, known_now)
    after = Reach(changed, like=now)
    ends = World.over(after).present(there)
    notes: list[str] = []
    moved: list[str] = [*_beside(app, left, now, after)]
    if migration is not None and copy_of(app) is None and any(each.target.kind == "consent" for each in left):
        moved += _policies(app, now)
    for permission, planned in app.permissions.items():
        allowed, unknown = after.sets(ends, permission)
        wanted = _resolve(planned.after, now)
        doubted = unknown - _resolve(planned.unknown, now)
        expected = _expected(app, permission, now)
        if (
            migration is not None
            and expected is None
            and now.sets(app.app_id, permission) == after.sets(ends, permission)
        ):
            continue  # it stays under the policies, and nothing that is left to do bears on it
        joined, left_out = allowed - wanted, wanted - allowed - unknown
        # Without an intent (an undo): whom the app reaches now it may go on to reach, and whom it does not it cannot lose.
        kept = expected if app.entries else now.sets(app.app_id, permission)[0]
        outside, lost = (joined, left_out) if kept is None else (joined - kept, left_out & kept)
        if joined - outside:
            notes.append(f"{permission}: {_list(joined - outside)} joined the scope since the plan")
        if left_out - lost:
            notes.append(f"{permission}: {_list(left_out - lost)} left the scope since the plan")
        if outside:
            moved.append(f"{permission} would then reach {_list(outside)}, which the plan does not name")
        if lost:
            moved.append(f"{permission} would then not reach {_list(lost)}")
        if doubted:
            moved.append(f"{permission}: whether it would then reach {_list(doubted)} cannot be told")
    if not moved:
        moved += _unscoped(app, after)
    return Survey(tuple(notes), tuple(moved), level)


def _with_the_app(
    app: AppPlan, left: Sequence[Step], known: Mapping[str, str], snapshot: Snapshot
) -> tuple[Snapshot, dict[str, str]]:
    """The tenant with an app that this run registers, and the values of holes: as it will be registered, or as this run read it
    where lists do not show it yet or any more (they show service principals alone, and those a while after they were made)."""
    found = dict(known)
    for step in left:
        if step.target.kind == "application" and step.after is not None:
            return effect.apply_step(snapshot, step, found)
    called = registration.named_app(app, found)
    goes = any(step.target.kind in registration.KINDS and step.after is None for step in left)
    made_here = called.app_id != app.app_id or (goes and app.object_id)
    if not made_here or states.find_app(snapshot, called.app_id) is not None:
        return snapshot, found
    name, object_id = app.display_name, "" if holes(called.object_id) else called.object_id
    there = replace(registration.registered(name, registration.TAG, called.app_id), object_id=object_id)
    return replace(snapshot, apps=(*states.listed(snapshot, "apps"), there)), found


def _beside(app: AppPlan, left: Sequence[Step], now: Reach, after: Reach) -> Iterator[str]:
    """What the steps would move that the plan says nothing of: other apps that share what they change, and what else the app
    holds. Somebody may have put it there since the plan."""
    world, later = World.over(now), World.over(after)
    held = now.find_app(app.app_id)
    for each in moved_elsewhere(world, later, held, left):
        yield f"{each} would move with this app's scope"
    for permission in now.held(held):
        if any(catalog.canonical(permission) == catalog.canonical(planned) for planned in app.permissions):
            continue
        before, then = world.reach(held, permission), later.reach(later.present(held), permission)
        gained = (then.inside | then.unknown) - (before.inside | before.unknown)
        for wider in app.permissions:
            if catalog.lets_through(wider, permission):
                gained = gained - later.reach(later.present(held), wider).inside
        if gained:
            yield f"{permission}, which the plan does not name, would then reach {_some(gained.addresses())}"


def _unscoped(app: AppPlan, after: Reach) -> Iterator[str]:
    """What keeps the app from being called scoped although the plan says nothing of it. An undo calls nothing scoped."""
    if not app.entries:
        return
    for code in of_plan(app, after).not_scoped_because:
        if code not in app.not_scoped_because:
            yield f"the app would not be scoped ({code}): {CODES.get(code, 'what it rests on was not read')}"


def _policies(app: AppPlan, now: Reach) -> Iterator[str]:
    """Where the policies and the scope derived from them have come apart since the plan. (The scope is the first entry.)"""
    allowed, unknown = now.policy_allows(app.app_id, "Mail.Read")
    inside = _inside(app.entries[0], now) if app.entries else None
    if inside is None:
        yield "whom the scope would hold now cannot be told"
        return
    planned = now.addresses(())
    for each in app.permissions.values():
        planned = planned | _resolve(each.unknown, now)
    if unknown - planned:
        yield f"whether the policies still let {_list(unknown - planned)} through cannot be told"
    if allowed - inside:
        yield f"the policies let {_list(allowed - inside)} through now, and the scope would not"
    if inside - allowed - unknown:
        yield f"the scope would hold {_list(inside - allowed - unknown)}, whom the policies do not let through now"


def _resolve(these: Addresses, now: Reach) -> Mailboxes:
    """The named mailboxes that are there now. A mailbox that is gone is out of every reach."""
    named = now.named(these.addresses)
    return now.mailboxes - named if these.all_but else named


def _expected(app: AppPlan, permission: str, reach: Reach) -> Mailboxes | None:
    """The intent's scopes for a permission evaluated now; None where that cannot be told, or there is no intent (an undo)."""
    found = reach.addresses(())
    entries = [entry for entry in app.entries if any(catalog.lets_through(p, permission) for p in entry.permissions)]
    for entry in entries:
        inside = reach.mailboxes if entry.keeps_consent else _inside(entry, reach)
        if inside is None:
            return None
        found = found | inside
    # Whom the intent says never to reach is covered by no scope, though it joined one since.
    never = reach.named(address for entry in entries for address in entry.prove.never)
    return found - never if entries else None


def _inside(entry: PlanEntry, reach: Reach) -> Mailboxes | None:
    try:
        inside, doubtful, _ = scope_now(entry, reach)
    except ExoscopeError:
        return None
    return None if doubtful else inside


def _list(these: Mailboxes) -> str:
    return _some(these.addresses())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
