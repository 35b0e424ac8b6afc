"""A managed copy, brought level with the people whom it was made of. Pure.

Where no filter is exact a migration copies the members of the policies' groups into a managed group, which follows nobody by
itself. Between two stages people join and leave those groups: then the copy gets whom the policies let through today and loses
whom they do not, before the stage rests on it. Whatever else moved is not for this to mend, and is told as such.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from msgspec import UnsetType
from msgspec.structs import replace

from exoscope.catalog import canonical
from exoscope.model import (
    Addresses,
    AdministrativeUnitScope,
    App,
    AppPlan,
    GroupScope,
    Migration,
    Noun,
    Plan,
    PlanEntry,
    Snapshot,
    State,
    Step,
    Target,
)
from exoscope.outcome import BadInput
from exoscope.planning import moments
from exoscope.planning.drafts import Denied, listing
from exoscope.planning.effect import apply_step
from exoscope.planning.migration.deriving import Derived, derive
from exoscope.planning.operations import step as make_step
from exoscope.planning.states import find_group, fold, listed
from exoscope.planning.world import Mailboxes, World
from exoscope.powershell import HoleError, fill

LEVEL = "level-"
"""How the ids of steps begin that bring a copy level: no plan has them, only a run's journal."""

MOVED = "moved"


class Level(Noun, frozen=True):
    """What brings a copy level, in ``stage``: ``steps`` that take the place of planned ones of their id, or are new (``LEVEL``).

    ``app`` is the app's part of the plan with the copy as it is then; ``joined`` and ``left`` are addresses, whoever moved them in
    the copy itself: who is new in it has to be waited for and proven.
    """

    app: AppPlan
    stage: str
    joined: tuple[str, ...]
    left: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Whom the copy then holds."""
        return tuple(each for entry in self.app.entries if _copies(entry) for each in entry.scope.mailboxes)

    @property
    def expected(self) -> tuple[str, ...]:
        """Whom the scope then holds: denied members are in the copy alone."""
        return tuple(each for entry in self.app.entries if _copies(entry) for each in entry.expected.addresses)

    @property
    def notes(self) -> tuple[str, ...]:
        """Who came and went, in sentences."""
        return tuple(
            f"the managed copy is brought level: {', '.join(these)} {word} the policies' groups"
            for these, word in ((self.joined, "joined"), (self.left, "left"))
            if these
        )


def _copies(entry: PlanEntry) -> bool:
    return not isinstance(entry.follows, UnsetType)


def copy_of(app: AppPlan) -> PlanEntry | None:
    """The entry of a migration whose scope rests on a managed copy; None: it has none."""
    return next((each for each in app.entries if _copies(each)), None)


def is_level(step: Step) -> bool:
    """Is this a step of a run's own, that brings a copy level?"""
    return step.id.startswith(LEVEL)


def with_copy(planned: AppPlan, members: Iterable[str], expected: Iterable[str]) -> AppPlan:
    """The app's part of the plan, its copy with other members (addresses)."""
    copy = copy_of(planned)
    entries = (
        each
        if each is not copy
        else replace(each, scope=replace(each.scope, mailboxes=tuple(members)), expected=Addresses(tuple(expected)))
        for each in planned.entries
    )
    return replace(planned, entries=tuple(entries))


def placed(
    steps: Sequence[Step], new: Sequence[Step], app_id: str, stage: str, stages: Sequence[str], done: Collection[str]
) -> tuple[Step, ...]:
    """A plan's steps with these: each in the place of the one that has its id, the others before whatever rests on the copy.

    Steps of an earlier levelling that were not done are dropped: the new ones say all that is still to be done.
    """
    by_id = {each.id: each for each in new}
    kept = [
        by_id.get(each.id, each) for each in steps if each.id in done or not (is_level(each) and each.app_id == app_id)
    ]

    def rests_on_it(each: Step) -> bool:
        later = each.stage in stages and stages.index(each.stage) >= stages.index(stage)
        return each.app_id == app_id and each.id not in done and each.target.kind != "group" and later

    place = next((number for number, each in enumerate(kept) if rests_on_it(each)), len(kept))
    return (*kept[:place], *(each for each in new if is_level(each)), *kept[place:])


def bring_level(
    world: World, plan: Plan, planned: AppPlan, app: App, left: Sequence[Step], known: Mapping[str, str]
) -> Level | None:
    """What brings the app's copy level with its policies as ``world`` has them; None where it is level, or may stay as it is.

    Without ``steps`` nobody is to be moved, and the scope holds others all the same: a DenyAccess policy is in its filter.
    ``left`` are the app's steps to do, ``known`` what holes stand for. Raises Denied (``moved``) with what moved, wherever it is
    not certain who belongs into the copy, where anything but the membership of the policies' groups changed, and where some
    moment on the way would be wider or lose somebody.
    """
    copy = copy_of(planned)
    waiting = [each for each in left if is_level(each)]
    todo = [each for each in left if not is_level(each)]
    if copy is None or not todo or not _may_follow(world.snapshot, app, copy, todo):
        return None
    changed, holes = _simulated(world.snapshot, todo, known)
    derived = _derived(world, plan, app)
    have = _members(changed, copy, holes)
    want = {fold(each.guid): each.guid for each in derived.managed}
    unmade = [each for each in todo if each.target.kind == "group"]
    unmade = unmade if unmade and unmade[0].before is None else []
    held = set(have) if unmade else _held(world, copy, waiting)
    _check_untouched(world, held, have, want)
    joining = [want[each] for each in sorted(want.keys() - have.keys(), key=str)]
    leaving = [have[each] for each in sorted(have.keys() - want.keys(), key=str)]
    stage = "overlap" if any(each.target.kind == "consent" for each in todo) else todo[0].stage
    steps: tuple[Step, ...] = ()
    if unmade and (joining or leaving):
        steps = tuple(_made_of(each, sorted(want.values()), app) for each in unmade)
    elif joining or leaving:
        if any(each.target.kind == "group_member" for each in todo):
            raise Denied(
                MOVED, "people joined or left the policies' groups, and members of the copy are still to be moved"
            )
        group = str(fill({"group": copy.group}, known)["group"])
        steps = _moving(world, group, app, stage, joining, leaving)
    whole = [_filled(each, known) for each in placed(todo, steps, app.app_id, stage, _stages(plan), ())]
    _check_scope(world, copy, derived, whole, known)
    if not joining and not leaving and not waiting and _now(world, copy.expected.addresses) == derived.allowed:
        return None
    result = Level(
        with_copy(planned, (each.primary_smtp_address for each in derived.managed), derived.allowed.addresses()),
        stage,
        _named(world, (want[each] for each in want.keys() - held)),
        _named(world, (have.get(each, str(each)) for each in held - want.keys())),
        steps,
    )
    _check_moments(world, replace(plan, steps=tuple(whole)), app, _intended(world, result.app, derived, known))
    return result


# -- what it rests on -------------------------------------------------------------------------------------------------------


def _may_follow(snapshot: Snapshot, app: App, copy: PlanEntry, todo: Sequence[Step]) -> bool:
    """Are the policies those whose members were copied? False: they are being removed, so the copy follows them no more."""
    follows = () if isinstance(copy.follows, UnsetType) else copy.follows
    planned = {(fold(each["app_id"]), each["access_right"], fold(each["group"])) for each in follows}
    there = {
        (fold(each.app_id), each.access_right, fold(each.scope.object_id))
        for each in listed(snapshot, "access_policies")
        if fold(each.app_id) in ("*", fold(app.app_id))
    }
    if there == planned:
        return True
    if there < planned and not any(each.target.kind == "consent" for each in todo):
        return False
    raise Denied(MOVED, "the policies that count for the app are not those whose members the managed copy holds")


def _derived(world: World, plan: Plan, app: App) -> Derived:
    asked = plan.migration if isinstance(plan.migration, Migration) else Migration()
    counting = tuple(
        each for each in listed(world.snapshot, "access_policies") if fold(each.app_id) in ("*", fold(app.app_id))
    )
    try:
        return derive(world.after(replace(world.snapshot, access_policies=counting)), app, asked, copied=True)
    except (Denied, BadInput) as error:
        raise Denied(MOVED, f"whom the managed copy should hold cannot be told: {error.message}") from None


def _members(changed: Snapshot, copy: PlanEntry, holes: Mapping[str, str]) -> dict[object, str]:
    """The copy's members once the planned steps are done, by Guid without case."""
    group = find_group(changed, str(fill({"group": copy.group}, holes)["group"]))
    if group is None or group.members is None:
        raise Denied(MOVED, "the managed copy of the policies' members is not there any more, or was not read")
    return {fold(each): each for each in group.members}


def _held(world: World, copy: PlanEntry, waiting: Sequence[Step]) -> set[object]:
    """Whom the run has left in the copy so far, by Guid without case."""
    held: set[object] = {fold(each) for each in _guids(world, copy.scope.mailboxes)}
    for each in waiting:  # not done yet, so the copy is still without it
        member = fold(each.target.key["member"])
        held = held - {member} if each.after is not None else held | {member}
    return held


def _check_untouched(
    world: World, held: AbstractSet[object], have: Mapping[object, str], want: Mapping[object, str]
) -> None:
    """Nobody but the run put people into the copy, or took them out, unless so that it is level."""
    put = have.keys() - held - want.keys()
    if put:
        raise Denied(MOVED, f"somebody put {_told(world, (have[each] for each in put))} into the managed copy")
    taken = (held & want.keys()) - have.keys()
    if taken:
        raise Denied(MOVED, f"somebody took {_told(world, (want[each] for each in taken))} out of the managed copy")


def _guids(world: World, addresses: Iterable[str]) -> Iterator[str]:
    """Those of the mailboxes that are there still: one that is gone is in no group."""
    for address in addresses:
        with suppress(BadInput):
            yield world.find_mailbox(address).guid


def _now(world: World, addresses: Iterable[str]) -> Mailboxes:
    return world.of_guids(_guids(world, addresses))


# -- the steps --------------------------------------------------------------------------------------------------------------


def _made_of(step: Step, members: list[str], app: App) -> Step:
    """A step that makes (or hides) the copy, with other members: it is not there yet, so it is made of today's."""

    def of(state: State) -> State:
        return None if state is None else state | {"members": members}

    identity = step.values.get("group")
    return make_step(
        step.id,
        step.stage,
        step.target,
        of(step.before),
        of(step.after),
        app,
        None if identity is None else str(identity),
    )


def _moving(
    world: World, group: str, app: App, stage: str, joining: Sequence[str], leaving: Sequence[str]
) -> tuple[Step, ...]:
    """One step a member; who leaves first."""
    changes: list[tuple[str, State, State]] = [(each, {}, None) for each in leaving]
    changes += [(each, None, {}) for each in joining]
    return tuple(
        make_step(
            f"{LEVEL}{number}",
            stage,
            Target("group_member", {"group": group, "member": member}),
            before,
            after,
            app,
            label=world.name_of(member),
        )
        for number, (member, before, after) in enumerate(changes, 1)
    )


def _simulated(snapshot: Snapshot, steps: Iterable[Step], known: Mapping[str, str]) -> tuple[Snapshot, dict[str, str]]:
    holes = dict(known)
    try:
        for each in steps:
            snapshot, holes = apply_step(snapshot, each, holes)
    except LookupError as error:
        raise Denied(MOVED, f"what is still to be done has lost what it rests on: {error}") from None
    return snapshot, holes


def _filled(step: Step, known: Mapping[str, str]) -> Step:
    """The step without the holes that are known; one that rests on what is still to be made stays as it is."""

    def of(state: State) -> State:
        return None if state is None else fill(state, known)

    try:
        key = {name: str(value) for name, value in fill(step.target.key, known).items()}
        return replace(step, target=Target(step.target.kind, key), before=of(step.before), after=of(step.after))
    except HoleError:
        return step


# -- the proof --------------------------------------------------------------------------------------------------------------


def _check_scope(
    world: World, copy: PlanEntry, derived: Derived, steps: Sequence[Step], known: Mapping[str, str]
) -> None:
    """Once all is done the scope holds just whom the policies let through."""
    after, holes = _simulated(world.snapshot, steps, known)
    found = world.after(after).members(str(fill({"filter": copy.filter}, holes)["filter"]))
    if found.unknown:
        raise Denied(MOVED, "whom the scope would hold now cannot be told")
    missing, more = derived.allowed - found.inside, found.inside - derived.allowed
    if missing:
        raise Denied(MOVED, f"the policies let {listing(missing.addresses(), 5)} through now, and the scope would not")
    if more:
        told = listing(more.addresses(), 5)
        raise Denied(MOVED, f"the scope would hold {told}, whom the policies do not let through now")


def _intended(world: World, planned: AppPlan, derived: Derived, known: Mapping[str, str]) -> dict[str, Mailboxes]:
    """What the plan's entries give now, by permission."""
    found: dict[str, Mailboxes] = {}
    copy = copy_of(planned)
    for entry in planned.entries:
        inside = derived.allowed if entry is copy else _of_entry(world, entry, known)
        for name in entry.permissions:
            key = canonical(name)
            found[key] = found[key] | inside if key in found else inside
    return found


def _of_entry(world: World, entry: PlanEntry, known: Mapping[str, str]) -> Mailboxes:
    if entry.filter is not None:
        return world.members(str(fill({"filter": entry.filter}, known)["filter"])).inside
    if entry.scope.kind == "organization":
        return world.all
    if entry.group is None:
        return world.none
    scope = (
        AdministrativeUnitScope(entry.group) if entry.scope.kind == "administrative-unit" else GroupScope(entry.group)
    )
    return world.members(scope).inside


def _check_moments(world: World, plan: Plan, app: App, intended: Mapping[str, Mailboxes]) -> None:
    broken = moments.violations(world, plan, app, intended)
    if broken:
        raise Denied(MOVED, f"no safe order is known to bring the managed copy level: {'; '.join(broken[:3])}")


def _stages(plan: Plan) -> list[str]:
    return [each.id for each in plan.stages]


def _named(world: World, guids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted((world.name_of(each) or each for each in guids), key=str.casefold))


def _told(world: World, guids: Iterable[str]) -> str:
    return listing(_named(world, guids), 5)
