"""What an app could have been answered at every moment of a run on the twin, and what of that was wrong. Pure.

The twin keeps every state it ever had. Its Exchange answers a call from a state between a quarter of ``propagation`` and all of
it old, whichever the service has loaded (see :mod:`exoscope.twin.tenant`); a token carries the consents of a time at most
``lifetime`` ago. So a *moment* is a pair: an Exchange state that may be loaded and consents that some token may carry, at one
time. All pairs that the run's own times allow are looked at, not only those that some client would have met.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from exoscope import catalog
from exoscope.model import (
    Addresses,
    App,
    AppPlan,
    Consent,
    ManagementScopeScope,
    Noun,
    Plan,
    Recipient,
    ServicePrincipal,
    Snapshot,
    Step,
    Unset,
)
from exoscope.planning.holdings import covers
from exoscope.planning.moments import touched
from exoscope.planning.states import find_app, fold, listed
from exoscope.proving import of_plan
from exoscope.reach import Mailboxes, Reach
from exoscope.twin.evaluator import decide_with_roles
from exoscope.twin.tenant import Version

DECISIONS = 100_000
"""Decisions that the twin's own evaluator is asked for at most; where more are affected it gets a seeded share of them."""
_UNAFFECTED = 5  # mailboxes that nothing affects, asked about all the same, for each app and permission

_Answers = Mapping[str, tuple[Mailboxes, Mailboxes]]  # by permission: for certain, and perhaps


class Delays(Noun, frozen=True):
    """Seconds: of the twin's cache, and of a token's life."""

    propagation: float
    lifetime: float


class Made(NamedTuple):
    """A step that was sent, and the twin's states that it made: numbers in its history, ``since`` up to and without ``until``."""

    step: Step
    since: int
    until: int


class Deviation(Noun, frozen=True):
    """A mailbox that an app could reach although it may not, or could not although it must; ``after`` which change."""

    app_id: str
    permission: str
    mailbox: str
    after: str


class Seen(Noun, frozen=True):
    """What a run could have shown. ``moments`` that were looked at, over all apps; ``decisions`` that the twin's evaluator was
    asked for, and ``disagreed``: where it answered otherwise than the rules of reach.
    """

    moments: int
    decisions: int
    gained: tuple[Deviation, ...]
    lost: tuple[Deviation, ...]
    disagreed: tuple[Deviation, ...]


class Moment(NamedTuple):
    """Two states that can act at one time, and what was changed last."""

    exchange: Version
    tokens: Version
    after: str


def watch(
    plan: Plan,
    history: Sequence[Version],
    made: Sequence[Made],
    delays: Delays,
    *,
    most: int = DECISIONS,
    seed: int = 1,
) -> Seen:
    """Every moment of a run, for each app of its plan and each permission whose reach a step can change.

    ``history`` is the twin's, its first state the tenant before the run; ``made`` the steps as they were sent, those of an undo
    behind. What is reachable must have been so before, or be intended; what was and is intended must stay.
    """
    base = Reach(_with_the_apps(history[0].view.snapshot, plan))
    mailboxes = {each.primary_smtp_address: each for each in listed(base.snapshot, "recipients")}
    share = most // max(1, len(plan.apps))
    moments = decisions = 0
    gained: list[Deviation] = []
    lost: list[Deviation] = []
    disagreed: list[Deviation] = []
    like: dict[tuple[int, int], Reach] = {}
    for planned in plan.apps:
        own = [each for each in made if each.step.app_id in (None, planned.app_id)]
        met = moments_of(history, own, delays)
        names = touched(base.snapshot, [each.step for each in own])
        bounds = _bounds(base, planned, names)
        look = _Look(base, planned, names, like)
        answers = [look.at(moment) for moment in met]
        moments += len(met)
        looked_at: set[int] = set()
        for moment, answer in zip(met, answers, strict=True):
            if id(answer) in looked_at:
                continue  # the very answers of an earlier moment: whatever is wrong in them was told then
            looked_at.add(id(answer))
            for name, (may, must) in bounds.items():
                sure, perhaps = answer[name]
                gained += [Deviation(planned.app_id, name, each, moment.after) for each in (sure | perhaps) - may]
                lost += [Deviation(planned.app_id, name, each, moment.after) for each in must - sure]
        tokens = [_consents(moment, planned) for moment in met]
        for name, address in _asked(base, answers, {name: must for name, (_, must) in bounds.items()}, share, seed):
            for moment, answer, held in zip(met, answers, tokens, strict=True):
                decisions += 1
                sure, perhaps = answer[name]
                ruled = "allowed" if address in sure else "unknown" if address in perhaps else "denied"
                if _decided(planned, moment, held, name, mailboxes[address]) != ruled:
                    disagreed.append(Deviation(planned.app_id, name, address, moment.after))
    return Seen(moments, decisions, _once(gained), _once(lost), _once(disagreed))


def _with_the_apps(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The beginning, with apps that the plan registers: there they hold nothing."""
    new = [
        App(each.app_id, each.object_id, None, each.display_name, (), ())
        for each in plan.apps
        if each.entries and find_app(snapshot, each.app_id) is None
    ]
    return replace(snapshot, apps=(*listed(snapshot, "apps"), *new)) if new else snapshot


def moments_of(history: Sequence[Version], made: Sequence[Made], delays: Delays) -> list[Moment]:
    """Every pair of states of one app's that some call could have met, in the order in which they began to act."""
    numbers = sorted({0, *(number for each in made for number in range(each.since, each.until))})
    titles = {number: each.step.title for each in made for number in range(each.since, each.until)}
    forever = datetime.max.replace(tzinfo=history[0].at.tzinfo)
    spans = [
        (
            history[number],
            history[following].at if following is not None else forever,
            titles.get(number, "the beginning"),
        )
        for number, following in zip(numbers, [*numbers[1:], None], strict=True)
    ]
    late, loaded, life = (
        timedelta(seconds=seconds) for seconds in (delays.propagation, delays.propagation / 4, delays.lifetime)
    )
    met: list[tuple[datetime, Moment]] = []
    for exchange, exchange_end, exchange_title in spans:
        for tokens, tokens_end, tokens_title in spans:
            begins = max(_later(exchange.at, loaded), tokens.at)
            ends = min(_later(exchange_end, late), _later(tokens_end, life))
            if begins < ends:
                title = exchange_title if exchange.at > tokens.at else tokens_title
                met.append((begins, Moment(exchange, tokens, title)))
    met.sort(key=lambda each: each[0])
    return [moment for _, moment in met]


def changed_reach(one: Snapshot, other: Snapshot) -> tuple[str, ...]:
    """The apps (ids) that reach otherwise in two states of a tenant; every app is compared, with every permission it holds."""
    first = Reach(one)
    second = Reach(other, like=first)
    apps = {fold(app.app_id): app.app_id for snapshot in (one, other) for app in listed(snapshot, "apps")}
    changed = []
    for app_id in apps.values():
        before, after = find_app(one, app_id), find_app(other, app_id)
        names = () if before is None or after is None else dict.fromkeys((*first.held(before), *second.held(after)))
        if before is None or after is None or any(first.sets(before, n) != second.sets(after, n) for n in names):
            changed.append(app_id)
    return tuple(changed)


def not_as_planned(plan: Plan, end: Snapshot) -> tuple[Deviation, ...]:
    """Where the tenant after a plan reaches otherwise than the plan says."""
    reach = Reach(end)
    everyone = frozenset(reach.mailboxes)
    found = []
    for planned in plan.apps:
        app = find_app(end, planned.app_id)
        for name, told in planned.permissions.items():
            reached = frozenset() if app is None else frozenset(reach.sets(app, name)[0])
            wrong = (reached ^ _told(told.after, everyone)) - _told(told.unknown, everyone)
            found += [
                Deviation(planned.app_id, name, each, "the whole plan") for each in sorted(wrong, key=str.casefold)
            ]
    return tuple(found)


def _told(these: Addresses, everyone: frozenset[str]) -> frozenset[str]:
    named = {fold(each) for each in these.addresses}
    return frozenset(each for each in everyone if (fold(each) in named) != these.all_but)


def _later(moment: datetime, by: timedelta) -> datetime:
    """A time so much later; the first and the last time there is stay what they are."""
    return moment if moment.year in (datetime.min.year, datetime.max.year) else moment + by


def _once(found: Iterable[Deviation]) -> tuple[Deviation, ...]:
    """Each mailbox once, with the change after which it was first seen."""
    first: dict[tuple[str, str, str], Deviation] = {}
    for each in found:
        first.setdefault((each.app_id, each.permission, each.mailbox), each)
    return tuple(first.values())


def _bounds(base: Reach, planned: AppPlan, names: Sequence[str]) -> dict[str, tuple[Mailboxes, Mailboxes]]:
    """By permission: (what may be reachable at any moment, what must be at every one)."""
    nobody = base.addresses(())
    if not names or (not planned.entries and find_app(base.snapshot, planned.app_id) is None):
        return dict.fromkeys(
            names, (nobody, nobody)
        )  # an app that is gone reaches nobody, and nobody intends that it does
    claims = of_plan(planned, base).claims
    found = {}
    for name in names:
        sure, perhaps = base.sets(planned.app_id, name)
        intended = nobody
        for claim in claims:
            if covers(claim.permission, name):
                intended = intended | claim.expected
        beside = any(each.keeps_consent and any(covers(p, name) for p in each.permissions) for each in planned.entries)
        may = base.mailboxes if beside else sure | perhaps | intended
        found[name] = (may, sure & intended)
    return found


class _Look:
    """What the rules of reach answer one app at the moments of a run, each combination of what bears on it worked out once.

    Most states of a long run differ in what belongs to other apps. ``like`` are reaches that were made for other apps, by the
    groups and units they are over: their indexes serve all.
    """

    def __init__(self, base: Reach, planned: AppPlan, names: Sequence[str], like: dict[tuple[int, int], Reach]) -> None:
        self._base, self._planned, self._names, self._like = base, planned, names, like
        self._nobody: _Answers = dict.fromkeys(names, (base.addresses(()),) * 2)
        self._states: dict[int, tuple[App | None, Hashable, Reach]] = {}  # by number in memory: the history keeps them
        self._known: dict[Hashable, _Answers] = {}

    def at(self, moment: Moment) -> _Answers:
        """What one moment's two states give together: the very same answers where nothing that bears on the app differs."""
        app, exchange, reach = self._state(moment.exchange.view.snapshot)
        if app is None:
            return self._nobody
        consents = _consents(moment, self._planned)
        key = (exchange, consents)
        if key not in self._known:
            acting = replace(app, consents=consents)
            self._known[key] = {name: reach.sets(acting, name) for name in self._names}
        return self._known[key]

    def _state(self, snapshot: Snapshot) -> tuple[App | None, Hashable, Reach]:
        held = self._states.get(id(snapshot))
        if held is None:
            # A token acts by the id in it, also over a state of Exchange from before its app was there.
            app = find_app(snapshot, self._planned.app_id) or find_app(self._base.snapshot, self._planned.app_id)
            held = (None, None, self._base) if app is None else (app, *self._over(bearing_on(snapshot, app)))
            self._states[id(snapshot)] = held
        return held

    def _over(self, part: Snapshot) -> tuple[Hashable, Reach]:
        over = (id(part.groups), id(part.administrative_units))
        reach = Reach(part, like=self._like.get(over, self._base))
        self._like.setdefault(over, reach)
        key = (
            part.apps,
            part.service_principals,
            part.role_assignments,
            part.management_scopes,
            part.access_policies,
            part.organization,
            *over,
            *(id(each) for each in (part.roles, part.recipients, part.attributes_read)),
        )
        return key, reach


def bearing_on(snapshot: Snapshot, app: App) -> Snapshot:
    """A state with only that of it which the rules of reach can ask about one app: its policies and those for every app, the
    assignments that are or may be its own, pointers that share a name with its own, and the scopes of those assignments."""
    kept: dict[str, Any] = {"apps": (replace(app, consents=(), requested=()),)}
    policies, pointers = snapshot.access_policies, snapshot.service_principals
    assignments, scopes = snapshot.role_assignments, snapshot.management_scopes
    if not isinstance(policies, Unset):
        own = ("*", fold(app.app_id))
        kept["access_policies"] = tuple(each for each in policies if fold(each.app_id) in own)
    if not isinstance(pointers, Unset):
        texts = {text for each in pointers if fold(each.object_id) == fold(app.object_id) for text in _names_of(each)}
        kept["service_principals"] = tuple(each for each in pointers if not texts.isdisjoint(_names_of(each)))
        if not isinstance(assignments, Unset):
            assignments = tuple(each for each in assignments if fold(each.assignee) in texts)
            kept["role_assignments"] = assignments
    if not isinstance(scopes, Unset) and not isinstance(assignments, Unset):
        used = {fold(each.scope.name) for each in assignments if isinstance(each.scope, ManagementScopeScope)}
        kept["management_scopes"] = tuple(each for each in scopes if fold(each.name) in used)
    return replace(snapshot, **kept)


def _names_of(pointer: ServicePrincipal) -> tuple[object, ...]:
    """Each text by which an assignment may name a pointer."""
    return fold(pointer.object_id), fold(pointer.app_id), fold(pointer.display_name)


def _consents(moment: Moment, planned: AppPlan) -> tuple[Consent, ...]:
    app = find_app(moment.tokens.view.snapshot, planned.app_id)
    return () if app is None else app.consents


def _decided(planned: AppPlan, moment: Moment, consents: Sequence[Consent], name: str, mailbox: Recipient) -> str:
    """What the twin's own evaluator answers a call at a moment, over the whole state; ``consents`` are the token's."""
    known = catalog.permission(name)
    resource = catalog.GRAPH if known is None else known.resource
    roles = tuple(each.permission for each in consents if fold(each.resource) == fold(resource))
    return decide_with_roles(
        moment.exchange.view, planned.object_id, planned.app_id, roles, resource, name, mailbox
    ).answer


def _asked(
    base: Reach, answers: Sequence[_Answers], must: Mapping[str, Mailboxes], share: int, seed: int
) -> Iterator[tuple[str, str]]:
    """(permission, mailbox) to put to the evaluator: what some moment answers otherwise than another, what must stay, and a few
    that nothing affects; a seeded draw where they are more than an app's ``share`` of decisions allows."""
    chosen = random.Random(seed)  # noqa: S311 - a draw that can be repeated, not a secret
    found: list[tuple[str, str]] = []
    distinct = list({id(each): each for each in answers}.values())
    for name, stays in must.items():
        affected = stays
        for answer in distinct:
            for now, before in zip(answer[name], answers[0][name], strict=True):
                affected = affected | (now - before) | (before - now)
        rest = base.mailboxes - affected
        found += [(name, each) for each in affected]
        found += [(name, rest.nth(n)) for n in chosen.sample(range(len(rest)), min(_UNAFFECTED, len(rest)))]
    room = max(1, share // max(1, len(answers)))
    yield from found if len(found) <= room else chosen.sample(found, room)
