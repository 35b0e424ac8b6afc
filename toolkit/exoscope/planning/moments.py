"""The proof that a plan is safe at every moment, over the snapshot: for one app, stage by stage.

Two delays lie between a step and its effect. Exchange's changes act when the service's cache has them; until a gate has waited
for ``cache``, each may act or not, whatever the order in which they were made. Consents act through tokens; until a gate has
waited for the app's tokens, each may act as before or as after. So at every stage all combinations of the changes still in
flight are tried (a change not yet made is one not yet acting), and in each of them

- nothing is reachable that was not reachable before (for an undo: before the plan it undoes) and is not intended,
- everything that was reachable before and is intended still is.

What is only made and not used by anything yet (a pointer, a scope, a group) changes no answer by itself; it counts as made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from exoscope.catalog import PERMISSIONS, canonical, granted_by, permission
from exoscope.model import App, ManagementScopeScope, Noun, Plan, Snapshot, Step
from exoscope.planning.drafts import listing
from exoscope.planning.effect import apply_step
from exoscope.planning.holdings import covers
from exoscope.planning.registration import KINDS
from exoscope.planning.states import find_app, fold
from exoscope.planning.world import Mailboxes, World

_MOST = 9
"""Changes in flight that are tried one by one (2^9 combinations); more are taken together by kind and direction."""


class Bounds(Noun, frozen=True):
    """For one permission: what may be reachable at any moment beside what was before, and what must stay."""

    may: Mailboxes
    must: Mailboxes


def violations(
    world: World,
    plan: Plan,
    app: App,
    intent: Mapping[str, Mailboxes],
    end: World | None = None,
    then: World | None = None,
) -> tuple[str, ...]:
    """What breaks at some moment, as sentences; empty: the plan is safe for this app.

    ``world`` is the tenant before the plan; ``intent`` gives the mailboxes intended for each permission, by canonical name.
    ``end`` (for an undo) is the tenant after it: what is reachable before and after must stay. What may open again is what was
    reachable ``then``, before the plan that is undone; without that, what ``end`` reaches.
    """
    steps = [each for each in plan.steps if each.app_id in (None, app.app_id)]
    found: list[str] = []
    for name in touched(world.snapshot, steps):
        bounds = _bounds(world, app, name, intent, end, then)
        for stage, acting in _situations(world, plan, app, steps, name):
            reach = acting.reach(_in(acting, app), name)
            wider = (reach.inside | reach.unknown) - bounds.may
            lost = bounds.must - reach.inside
            if wider:
                found.append(f"in stage {stage} {name} could reach {listing(acting.addresses(wider), 5)}")
            if lost:
                found.append(f"in stage {stage} {name} could lose {listing(acting.addresses(lost), 5)}")
    return tuple(dict.fromkeys(found))


def _in(world: World, app: App) -> App:
    return world.present(app)


def touched(snapshot: Snapshot, steps: Sequence[Step]) -> tuple[str, ...]:
    """The permissions (canonical) whose reach some step can change: those it names, and all that these let through."""
    named: set[str] = set()
    for each in steps:
        for state in (each.before, each.after):
            if state is None:
                continue
            if each.target.kind == "consent":
                named.add(canonical(state["permission"]))
            elif each.target.kind == "role_assignment":
                named |= {canonical(name) for name in granted_by(state["role"], snapshot.roles) or ()}
            elif each.target.kind in ("management_scope", "group_member", "access_policy"):
                named |= _used(snapshot, each)
    narrower = {canonical(p.name) for p in PERMISSIONS if any(covers(held, p.name) for held in named)}
    return tuple(sorted(name for name in named | narrower if _on_mailboxes(name)))


def _on_mailboxes(name: str) -> bool:
    known = permission(name)
    return known is not None and known.about in ("mailbox", "protocol")


def _used(snapshot: Snapshot, step: Step) -> set[str]:
    """The permissions an app's consents and assignments already give: moving a scope or policy moves them all."""
    app = find_app(snapshot, step.app_id or "")
    found = {canonical(consent.permission) for consent in (() if app is None else app.consents)}
    assignments = snapshot.role_assignments
    for each in assignments if isinstance(assignments, tuple) else ():
        found |= {canonical(name) for name in granted_by(each.role, snapshot.roles) or ()}
    return found


def _bounds(
    world: World, app: App, name: str, intent: Mapping[str, Mailboxes], end: World | None, then: World | None
) -> Bounds:
    before = world.reach(app, name)
    wanted = world.none
    for held, mailboxes in intent.items():
        if covers(held, name):
            wanted = wanted | mailboxes
    if end is not None:
        last = end.reach(_in(end, app), name)
        source = end if then is None else then
        once = source.reach(_in(source, app), name)
        opened = once.inside | once.unknown
        return Bounds(before.inside | before.unknown | opened | wanted, before.inside & last.inside)
    return Bounds(before.inside | before.unknown | wanted, before.inside & wanted)


def _situations(world: World, plan: Plan, app: App, steps: Sequence[Step], name: str) -> Iterable[tuple[str, World]]:
    """Every combination in which changes can act while each stage runs and until its gate opens."""
    base = _Made(world, {})
    exchange: list[Step] = []
    tokens: list[Step] = []
    for stage in plan.stages:
        for each in steps:
            if each.stage != stage.id or _unused(each):
                continue
            if _plumbing(each):
                base = base.with_steps([each])
            elif each.target.kind == "consent":
                tokens.append(each)
            else:
                exchange.append(each)
        relevant = [each for each in (*exchange, *tokens) if _bears(base.world.snapshot, steps, each, name)]
        for acting in _combinations(relevant):
            yield stage.id, base.with_steps(acting).world
        gate = next((gate for gate in stage.gates if gate.app_id == app.app_id), None)
        if gate is not None and "cache" in gate.waits:
            base, exchange = base.with_steps(exchange), []
        if gate is not None and any(kind != "cache" for kind in gate.waits):
            base, tokens = base.with_steps(tokens), []


class _Made(NamedTuple):
    """A tenant in which some steps act, and what they yielded. Worlds made from one share its indexes."""

    world: World
    yields: dict[str, str]

    def with_steps(self, steps: Sequence[Step]) -> _Made:
        if not steps:
            return self
        snapshot, yields = self.world.snapshot, self.yields
        for each in steps:
            snapshot, yields = apply_step(snapshot, each, yields)
        return _Made(self.world.after(snapshot), yields)


def _unused(step: Step) -> bool:
    """Bears on no answer at all, or takes away what nothing uses once the changes that do bear on it act."""
    kind = step.target.kind
    return kind == "request" or (step.after is None and kind in ("pointer", "management_scope", "group", *KINDS))


def _plumbing(step: Step) -> bool:
    """Makes what changes no answer by itself, because nothing uses it yet."""
    kind = step.target.kind
    return kind in ("organization", "pointer", "group", *KINDS) or (kind == "management_scope" and step.before is None)


def _bears(snapshot: Snapshot, steps: Sequence[Step], step: Step, name: str) -> bool:
    kind = step.target.kind
    state = step.after if step.after is not None else step.before
    if state is None:
        return False
    if kind == "consent":
        return covers(state["permission"], name)
    if kind == "role_assignment":
        return _gives(snapshot, state["role"], name)
    if kind == "management_scope":
        return any(_gives(snapshot, role, name) for role in _roles_over(snapshot, steps, step.target.key["name"]))
    return True


def _gives(snapshot: Snapshot, role: str, name: str) -> bool:
    """Does a role give it, or may it?"""
    given = granted_by(role, snapshot.roles)
    return given is None or any(covers(each, name) for each in given)


def _roles_over(snapshot: Snapshot, steps: Sequence[Step], scope: str) -> set[str]:
    """The roles that some assignment gives over a management scope, now or by one of the steps."""
    assignments = snapshot.role_assignments
    found = {
        each.role
        for each in (assignments if isinstance(assignments, tuple) else ())
        if isinstance(each.scope, ManagementScopeScope) and fold(each.scope.name) == fold(scope)
    }
    for step in steps:
        for state in (step.before, step.after) if step.target.kind == "role_assignment" else ():
            if state is not None and fold(state["scope"].get("name")) == fold(scope):
                found.add(state["role"])
    return found


def _combinations(steps: Sequence[Step]) -> Iterable[tuple[Step, ...]]:
    units = _units(steps)
    for chosen in itertools.product((False, True), repeat=len(units)):
        yield tuple(each for on, unit in zip(chosen, units, strict=True) if on for each in unit)


def _units(steps: Sequence[Step]) -> list[tuple[Step, ...]]:
    """Steps that act together. Several steps on one object act in their order, so the later implies the earlier.

    Members come and go one by one, but each mailbox depends on its own alone: all additions and all removals are enough.
    Of consents and assignments, beyond what can be tried one by one, those of one kind and direction are taken together: reach
    grows with each of them, or shrinks with each, so the extremes are among what is tried. A scope that moves does both, and
    so does a policy (the first restricts, another adds): they are never taken together.
    """
    members = [each for each in steps if each.target.kind == "group_member"]
    others = [each for each in steps if each.target.kind != "group_member"]
    grouped: dict[tuple[object, ...], list[Step]] = {}
    for each in members:
        grouped.setdefault(("member", each.after is None), []).append(each)
    together = len(others) > _MOST
    for each in others:
        one_way = each.target.kind in ("consent", "role_assignment") and (each.before is None or each.after is None)
        direction = (each.target.kind, each.before is None) if together and one_way else (each.id,)
        grouped.setdefault(direction, []).append(each)
    return [tuple(unit) for unit in grouped.values()]
