"""What an app could have been answered at every moment of a run on the twin, and what of that was wrong. Pure.

The twin keeps every state it ever had. Its Exchange answers a call from a state between a quarter of ``propagation`` and all of
it old, whichever the service has loaded (see :mod:`exoscope.twin.tenant`); a token carries the consents of a time at most
``lifetime`` ago. So a *moment* is a pair: an Exchange state that may be loaded and consents that some token may carry, at one
time. All pairs that the run's own times allow are looked at, not only those that some client would have met.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from exoscope import catalog
from exoscope.model import Addresses, AppPlan, Consent, Noun, Plan, Recipient, Snapshot, Step
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
    base = Reach(history[0].view.snapshot)
    mailboxes = {each.primary_smtp_address: each for each in listed(base.snapshot, "recipients")}
    share = most // max(1, len(plan.apps))
    moments = decisions = 0
    gained: list[Deviation] = []
    lost: list[Deviation] = []
    disagreed: list[Deviation] = []
    for planned in plan.apps:
        own = [each for each in made if each.step.app_id in (None, planned.app_id)]
        met = moments_of(history, own, delays)
        names = touched(base.snapshot, [each.step for each in own])
        bounds = {name: _bounds(base, planned, name) for name in names}
        answers = [_answers(base, planned, moment, names) for moment in met]
        moments += len(met)
        for moment, answer in zip(met, answers, strict=True):
            for name, (may, must) in bounds.items():
                sure, perhaps = answer[name]
                gained += [Deviation(planned.app_id, name, each, moment.after) for each in (sure | perhaps) - may]
                lost += [Deviation(planned.app_id, name, each, moment.after) for each in must - sure]
        for name, address in _asked(base, answers, {name: must for name, (_, must) in bounds.items()}, share, seed):
            for moment, answer in zip(met, answers, strict=True):
                decisions += 1
                sure, perhaps = answer[name]
                ruled = "allowed" if address in sure else "unknown" if address in perhaps else "denied"
                if _decided(planned, moment, name, mailboxes[address]) != ruled:
                    disagreed.append(Deviation(planned.app_id, name, address, moment.after))
    return Seen(moments, decisions, _once(gained), _once(lost), _once(disagreed))


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


def _bounds(base: Reach, planned: AppPlan, name: str) -> tuple[Mailboxes, Mailboxes]:
    """(what may be reachable at any moment, what must be at every one)."""
    sure, perhaps = base.sets(planned.app_id, name)
    intended = base.addresses(())
    for claim in of_plan(planned, base).claims:
        if covers(claim.permission, name):
            intended = intended | claim.expected
    return sure | perhaps | intended, sure & intended


def _answers(base: Reach, planned: AppPlan, moment: Moment, names: Iterable[str]) -> _Answers:
    """What one moment's two states give together, by the rules of reach."""
    snapshot = moment.exchange.view.snapshot
    app = find_app(snapshot, planned.app_id)
    if app is None:
        nobody = base.addresses(())
        return dict.fromkeys(names, (nobody, nobody))
    acting = replace(app, consents=_consents(moment, planned))
    apps = tuple(acting if each is app else each for each in listed(snapshot, "apps"))
    reach = Reach(replace(snapshot, apps=apps), like=base)
    return {name: reach.sets(acting, name) for name in names}


def _consents(moment: Moment, planned: AppPlan) -> tuple[Consent, ...]:
    app = find_app(moment.tokens.view.snapshot, planned.app_id)
    return () if app is None else app.consents


def _decided(planned: AppPlan, moment: Moment, name: str, mailbox: Recipient) -> str:
    """What the twin's own evaluator answers a call at a moment."""
    known = catalog.permission(name)
    resource = catalog.GRAPH if known is None else known.resource
    roles = tuple(each.permission for each in _consents(moment, planned) if fold(each.resource) == fold(resource))
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
    for name, stays in must.items():
        affected = stays
        for answer in answers:
            for now, before in zip(answer[name], answers[0][name], strict=True):
                affected = affected | (now - before) | (before - now)
        rest = (base.mailboxes - affected).addresses()
        found += [(name, each) for each in affected]
        found += [(name, each) for each in chosen.sample(rest, min(_UNAFFECTED, len(rest)))]
    room = max(1, share // max(1, len(answers)))
    yield from found if len(found) <= room else chosen.sample(found, room)
