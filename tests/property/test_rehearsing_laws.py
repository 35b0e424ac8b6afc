"""The quick way to watch a run says just what the plain one says, over random tenants and runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from exoscope.model import Addresses, AppPlan, IntentScope, Plan, PlanEntry, Recipient, Snapshot, Step, Target
from exoscope.planning.holdings import covers
from exoscope.planning.moments import touched
from exoscope.planning.states import find_app
from exoscope.proving import of_plan
from exoscope.reach import Mailboxes, Reach
from exoscope.rehearsing.watching import Delays, Deviation, Made, Moment, Seen, bearing_on, moments_of, watch
from exoscope.twin.evaluator import decide_with_roles
from exoscope.twin.tenant import Version
from exoscope.twin.view import View
from strategies.tenants import PERMISSIONS, tenants

SETTINGS = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
DELAYS = Delays(propagation=8.0, lifetime=20.0)
START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
LISTS = ("service_principals", "management_scopes", "role_assignments", "access_policies", "groups", "organization")
ROLES = ("Application Mail.Read", "Application Calendars.Read", "Application Mail Full Access")


@SETTINGS
@given(tenants(), st.lists(st.sampled_from(PERMISSIONS), min_size=1, max_size=3))
def test_what_bears_on_an_app_is_all_that_its_reach_rests_on(tenant: Snapshot, names: list[str]) -> None:
    whole = Reach(tenant)
    assert isinstance(tenant.apps, tuple)
    for app in tenant.apps:
        alone = Reach(bearing_on(tenant, app), like=whole)
        for name in names:
            assert alone.sets(app, name) == whole.sets(app, name), (app.display_name, name)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Plan, list[Version], list[Made]]:
    """A tenant, and states of it in which lists are those of other tenants of the strategy (their ids are alike); each is a step of
    one app, or of none. Nothing says that the steps did what was planned: what must not be is there as often as what may."""
    tenant = draw(tenants())
    others = [draw(tenants()) for _ in range(2)]
    view = View(tenant)
    states = [Version(datetime.min.replace(tzinfo=UTC), "the beginning", view)]
    assert isinstance(tenant.apps, tuple)
    made: list[Made] = []
    at, now = START, tenant
    for number in range(draw(st.integers(1, 8))):
        at += timedelta(seconds=draw(st.sampled_from((0.5, 1.0, 3.0, 9.0, 30.0))))
        source = draw(st.sampled_from((tenant, *others)))
        name = draw(st.sampled_from((*LISTS, "consents")))
        if name == "consents":
            pairs = zip(tenant.apps, source.apps if isinstance(source.apps, tuple) else (), strict=False)
            swapped = {app.app_id: other.consents for app, other in pairs}
            now = replace(now, apps=tuple(replace(a, consents=swapped.get(a.app_id, ())) for a in tenant.apps))
        else:
            now = replace(now, **{name: getattr(source, name)})
        view = View(now, view)
        title = f"{name} changed at {number}"
        states.append(Version(at, title, view))
        owner = draw(st.sampled_from((None, *(each.app_id for each in tenant.apps), "somebody else's")))
        made.append(Made(_step(number, owner, title, draw(st.sampled_from(ROLES))), number + 1, number + 2))
    boxes = tuple(each.primary_smtp_address for each in _mailboxes(tenant))
    intended = tuple(draw(st.lists(st.sampled_from(boxes), unique=True))) if boxes else ()
    plans = tuple(_app_plan(each.app_id, each.object_id, each.display_name, intended) for each in tenant.apps)
    return Plan("scope", tenant.tenant, "", plans, (), ()), states, made


def _mailboxes(tenant: Snapshot) -> list[Recipient]:
    assert isinstance(tenant.recipients, tuple)
    return [each for each in tenant.recipients if each.recipient_type.lower() == "usermailbox"]


def _step(number: int, app_id: str | None, title: str, role: str) -> Step:
    after = {"role": role, "assignee": "", "enabled": True, "scope": {"kind": "organization"}}
    target = Target("role_assignment", {"name": title})
    return Step(f"step-{number}", "overlap", app_id, title, "exchange", (), target, None, after)


def _app_plan(app_id: str, object_id: str, name: str, intended: tuple[str, ...]) -> AppPlan:
    scope = IntentScope("mailboxes", mailboxes=intended)
    entry = PlanEntry(("Mail.Read",), "rbac", scope, Addresses(intended))
    return AppPlan(app_id, object_id, name, False, (), (entry,), {}, "token")


@SETTINGS
@given(runs(), st.sampled_from((100_000, 60)), st.integers(0, 3))
def test_the_quick_way_and_the_plain_one_see_the_same(
    run: tuple[Plan, list[Version], list[Made]], most: int, seed: int
) -> None:
    plan, states, made = run
    quick, plain = watch(plan, states, made, DELAYS, most=most, seed=seed), plainly(plan, states, made, most, seed)
    note(
        f"{len(plain.gained)} gained, {len(plain.lost)} lost, {len(plain.disagreed)} disagreed, {plain.moments} moments"
    )
    assert (quick.moments, quick.decisions) == (plain.moments, plain.decisions)
    for word in ("gained", "lost", "disagreed"):
        assert sorted(getattr(quick, word), key=repr) == sorted(getattr(plain, word), key=repr), word


def plainly(plan: Plan, history: Sequence[Version], made: Sequence[Made], most: int, seed: int) -> Seen:
    """Each moment by itself, over both states as they are: no answer is taken from another moment, app or index."""
    start = history[0].view.snapshot
    reach = Reach(start)
    addresses = {each.primary_smtp_address: each for each in _mailboxes(start)}
    seen: dict[str, dict[Any, Deviation]] = {"gained": {}, "lost": {}, "disagreed": {}}
    moments = decisions = 0
    for planned in plan.apps:
        own = [each for each in made if each.step.app_id in (None, planned.app_id)]
        met = moments_of(history, own, DELAYS)
        names = touched(start, [each.step for each in own])
        answers = [_answers(reach, planned, moment, names) for moment in met]
        moments += len(met)
        must: dict[str, Mailboxes] = {}
        for name in names:
            sure, perhaps = reach.sets(planned.app_id, name)
            intended = reach.addresses(())
            for claim in of_plan(planned, reach).claims:
                intended = intended | claim.expected if covers(claim.permission, name) else intended
            may, must[name] = sure | perhaps | intended, sure & intended
            for moment, answer in zip(met, answers, strict=True):
                for word, wrong in (
                    ("gained", (answer[name][0] | answer[name][1]) - may),
                    ("lost", must[name] - answer[name][0]),
                ):
                    for each in wrong:
                        key = (planned.app_id, name, each)
                        seen[word].setdefault(key, Deviation(planned.app_id, name, each, moment.after))
        room = max(1, most // len(plan.apps) // max(1, len(met)))
        for name, address in _asked(reach, answers, must, room, seed):
            for moment, answer in zip(met, answers, strict=True):
                decisions += 1
                word = (
                    "allowed" if address in answer[name][0] else "unknown" if address in answer[name][1] else "denied"
                )
                if _decided(planned, moment, name, addresses[address]) != word:
                    seen["disagreed"].setdefault(
                        (planned.app_id, name, address), Deviation(planned.app_id, name, address, moment.after)
                    )
    return Seen(moments, decisions, *(tuple(seen[word].values()) for word in ("gained", "lost", "disagreed")))


def _answers(reach: Reach, planned: AppPlan, moment: Moment, names: Sequence[str]) -> dict[str, tuple[Mailboxes, ...]]:
    snapshot = moment.exchange.view.snapshot
    app, token = find_app(snapshot, planned.app_id), find_app(moment.tokens.view.snapshot, planned.app_id)
    assert app is not None
    acting = replace(app, consents=() if token is None else token.consents)
    assert isinstance(snapshot.apps, tuple)
    apps = tuple(acting if each is app else each for each in snapshot.apps)
    whole = Reach(replace(snapshot, apps=apps), like=reach)
    return {name: whole.sets(acting, name) for name in names}


def _asked(
    reach: Reach, answers: Sequence[dict[str, tuple[Mailboxes, ...]]], must: dict[str, Mailboxes], room: int, seed: int
) -> list[tuple[str, str]]:
    chosen = random.Random(seed)  # noqa: S311 - the same draw again, not a secret
    found: list[tuple[str, str]] = []
    for name, stays in must.items():
        affected = set(stays)
        for answer in answers:
            for now, before in zip(answer[name], answers[0][name], strict=True):
                affected |= set(now) ^ set(before)
        rest = [each for each in reach.mailboxes if each not in affected]
        found += [(name, each) for each in reach.mailboxes if each in affected]
        found += [(name, each) for each in chosen.sample(rest, min(5, len(rest)))]
    return found if len(found) <= room else chosen.sample(found, room)


def _decided(planned: AppPlan, moment: Moment, name: str, mailbox: Recipient) -> str:
    token = find_app(moment.tokens.view.snapshot, planned.app_id)
    graph = "00000003-0000-0000-c000-000000000000"
    roles = tuple(each.permission for each in (() if token is None else token.consents) if each.resource == graph)
    # a view of its own: tables that states share have no part in it
    view = View(moment.exchange.view.snapshot)
    return decide_with_roles(view, planned.object_id, planned.app_id, roles, graph, name, mailbox).answer
