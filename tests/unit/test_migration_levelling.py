"""People join and leave the policies' groups while a migration that copied their members runs: the copy is brought level first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from exoscope.checking.history import as_run, past
from exoscope.model import Accepted, Group, Migration, Plan, PlanFile, Snapshot, Step
from exoscope.planning import plan_hash, states
from exoscope.planning.migration import plan_migration
from exoscope.planning.migration.levelling import copy_of
from exoscope.proving import of_plan
from exoscope.reach import Mailboxes, Reach
from exoscope.running import RunAnswer, apply, resume, status, undo
from exoscope.running.filling import Filled
from planning_tenants import address, guid, tenant
from running_fakes import WAITS, Bench, Migrated, SnapshotTenancy

OMNI = guid("omni app")
LONG = 10**9
STAGES = ("overlap", "cutover", "finish")
COPIED: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "dan"],
    "groups": {"sales": ["ada", "inner"], "inner": ["bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}},
    "policies": [{"app": "omni", "group": "sales"}],
}
COPY = next(
    each.target.key["name"]
    for each in plan_migration(tenant(COPIED), (), Migration(nested="group")).steps
    if each.target.kind == "group"
)


class Killed(BaseException):
    """The process is gone, as by ``kill -9``: nothing after it runs."""


class Watched(Migrated):
    """A tenancy that keeps every state the tenant had, with its time, and may be killed at a write."""

    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        super().__init__(plan, snapshot)
        self.history: list[tuple[datetime, Snapshot]] = []
        self.clock: Any = None
        self.kill: tuple[str, bool] | None = None
        self.sent: int = 0

    def write(self, step: Step, call: Filled) -> tuple[str, ...]:
        self.sent += 1
        if self.kill == (self.sent, False):
            raise Killed
        told = super().write(step, call)
        self.note()
        if self.kill == (self.sent, True):
            raise Killed
        return told

    def note(self) -> None:
        self.history.append((self.clock.at, self.snapshot))

    def move(self, **groups: list[str]) -> None:
        """Somebody moves people: ``sales=["ada", "inner"]`` are the group's members from now on."""
        wanted = {guid(name): tuple(guid(each) for each in members) for name, members in groups.items()}
        assert isinstance(self.snapshot.groups, tuple)
        changed = tuple(replace(each, members=wanted.get(each.guid, each.members)) for each in self.snapshot.groups)
        self.snapshot = replace(self.snapshot, groups=changed)
        self.note()


def bench(folder: Path, given: dict[str, Any] = COPIED, asked: Migration | None = None) -> tuple[Bench, Watched]:
    snapshot = tenant(given)
    plan = plan_migration(snapshot, (), asked or Migration(nested="group"))
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    tenancy = Watched(plan, snapshot)
    desk = Bench(folder / "state", file, tenancy)
    tenancy.clock = desk.clock
    tenancy.note()
    return desk, tenancy


def copy(tenancy: SnapshotTenancy) -> set[str]:
    group = states.find_group_named(tenancy.snapshot, COPY)
    assert group is not None
    names = {guid(name): name for name in COPIED["mailboxes"]}
    return {names[each] for each in group.members or ()}


def records(desk: Bench, run: str) -> list[dict[str, Any]]:
    lines = desk.desk.store.find(run).journal.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def notes(answer: RunAnswer) -> str:
    return "; ".join(answer.apps[0].notes)


# -- every moment ---------------------------------------------------------------------------------------------------------


def check_moments(tenancy: Watched) -> None:
    """Whatever of the last two hours Exchange still goes by, and whatever token of the last 28 hours the app still has: nobody is
    newly reached whom the policies' groups do not hold, and nobody is lost who was reached and was in them for those two hours."""
    first = tenancy.history[0][1]
    before: set[str] | None = None
    sure = set(followed(first, first))
    for number, (at, _) in enumerate(tenancy.history):
        cached = list(recent(tenancy, number, at, WAITS["cache"]))
        tokens = list(recent(tenancy, number, at, WAITS["long_token"]))
        let = [set(followed(first, each)) for each in cached]
        moments = [reached(acting, held) for acting in cached for held in tokens]
        possible = set().union(*moments)
        assert before is None or possible <= before | set().union(*let), (number, possible)
        for moment in moments:
            assert moment >= set.intersection(*let) & sure, (number, moment, let)
        before, sure = possible, set.intersection(*moments)


def recent(tenancy: Watched, number: int, at: datetime, seconds: float) -> Iterator[Snapshot]:
    """The states that stood at some time of the last ``seconds``."""
    history = tenancy.history
    for place in range(number + 1):
        ended = history[place + 1][0] if place < number else at
        if place == number or ended > at - timedelta(seconds=seconds):
            yield history[place][1]


def followed(first: Snapshot, now: Snapshot) -> Mailboxes:
    """Whom the policies that there were let through, with the members that there are."""
    return Reach(replace(now, access_policies=first.access_policies)).policy_allows(OMNI, "Mail.Read")[0]


def reached(acting: Snapshot, held: Snapshot) -> set[str]:
    sure, unknown = Reach(replace(acting, apps=held.apps)).sets(OMNI, "Mail.Read")
    assert not unknown
    return set(sure)


# -- level before each stage ----------------------------------------------------------------------------------------------


def test_before_it_is_made_the_copy_is_made_of_todays_members(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    tenancy.move(inner=["cid"])
    answer = apply(desk.file, desk.desk, wait=LONG)
    assert answer.outcome == "done", answer.why
    assert copy(tenancy) == {"ada", "cid"}
    assert f"{address('cid')} joined" in notes(answer) and f"{address('bob')} left" in notes(answer)
    assert answer.steps == len(desk.file.plan.steps)
    check_moments(tenancy)


@pytest.mark.parametrize("last", STAGES[:2])
def test_who_joined_and_left_since_is_brought_level_before_the_next_stage(tmp_path: Path, last: str) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until=last).run
    assert copy(tenancy) == {"ada", "bob"}
    tenancy.move(inner=["cid"])
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, answer.apps[0].code) == ("done", None), answer.why
    assert copy(tenancy) == {"ada", "cid"}
    assert f"{address('cid')} joined" in notes(answer) and f"{address('bob')} left" in notes(answer)
    assert status(run, desk.desk.store, desk.clock).apps[0].notes == answer.apps[0].notes
    assert (answer.done, answer.steps) == (len(desk.file.plan.steps) + 2, len(desk.file.plan.steps) + 2)
    check_moments(tenancy)
    reach = Reach(tenancy.snapshot)
    assert set(reach.sets(OMNI, "Mail.Read")[0]) == {address("ada"), address("cid")}


def test_who_joined_is_waited_for_and_proven_before_the_consents_go(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(inner=["bob", "cid"])
    tenancy.asked.clear()
    answer = resume(run, desk.desk)
    assert (answer.outcome, answer.apps[0].stage, answer.waiting_for) == ("waiting", "overlap", "time")
    assert copy(tenancy) == {"ada", "bob", "cid"}
    assert isinstance(tenancy.snapshot.apps, tuple) and tenancy.snapshot.apps[0].consents
    assert tenancy.asked == []
    assert resume(run, desk.desk, wait=WAITS["cache"] - 60).outcome == "waiting"
    assert resume(run, desk.desk, wait=LONG).outcome == "done"
    assert tenancy.asked == [(OMNI, "overlap"), (OMNI, "cutover")]
    check_moments(tenancy)


def test_who_only_left_is_taken_out_without_another_wait(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(inner=[])
    answer = resume(run, desk.desk)
    assert (answer.apps[0].stage, copy(tenancy)) == ("cutover", {"ada"})
    assert len(tenancy.surveys) == 2, "read once a stage: a reading just after a write may still show what was before"
    assert isinstance(tenancy.snapshot.apps, tuple) and not tenancy.snapshot.apps[0].consents
    check_moments(tenancy)


def test_each_stage_anew(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    tenancy.move(inner=["bob", "cid"])
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(inner=["cid", "dan"])
    resume(run, desk.desk, wait=LONG, until="cutover")
    tenancy.move(inner=["dan", "bob"], sales=["inner"])
    answer = resume(run, desk.desk, wait=LONG)
    assert answer.outcome == "done", answer.why
    assert copy(tenancy) == {"dan", "bob"}
    ids = [each["id"] for one in records(desk, run) if one["record"] == "levelled" for each in one["steps"]]
    assert [each for each in ids if each.startswith("level-")] == [f"level-{n}" for n in range(1, 6)]
    check_moments(tenancy)


def test_a_denied_member_who_is_allowed_again_needs_no_step(tmp_path: Path) -> None:
    """Deny is in the scope's own filter: who leaves the denied group is inside by itself."""
    given = {
        **COPIED,
        "groups": {"sales": ["ada", "inner"], "inner": ["bob"], "barred": ["bob"]},
        "policies": [*COPIED["policies"], {"app": "omni", "right": "DenyAccess", "group": "barred"}],
    }
    asked = Migration(nested="group", accept=(Accepted("deny-fails-open", OMNI),))
    desk, tenancy = bench(tmp_path, given, asked)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(barred=[])
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, answer.steps) == ("done", len(desk.file.plan.steps)), answer.why
    assert address("bob") in Reach(tenancy.snapshot).sets(OMNI, "Mail.Read")[0]


def test_a_mailbox_that_is_gone_is_no_change_of_the_copy(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    assert isinstance(tenancy.snapshot.recipients, tuple) and isinstance(tenancy.snapshot.groups, tuple)
    gone = guid("bob")
    tenancy.snapshot = replace(
        tenancy.snapshot,
        recipients=tuple(each for each in tenancy.snapshot.recipients if each.guid != gone),
        groups=tuple(without(each, gone) for each in tenancy.snapshot.groups),
    )
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, copy(tenancy)) == ("done", {"ada"}), answer.why


def without(group: Group, member: str) -> Group:
    return replace(group, members=tuple(each for each in group.members or () if each != member))


def test_whom_somebody_put_into_the_copy_by_hand_is_waited_for_all_the_same(tmp_path: Path) -> None:
    """Since when they are in it nobody knows, and until the cache has them only the consent reaches them."""
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(inner=["bob", "cid"])
    tenancy.snapshot = in_copy(tenancy.snapshot, ["ada", "bob", "cid"])
    tenancy.note()
    answer = resume(run, desk.desk)
    assert (answer.apps[0].stage, answer.waiting_for, answer.steps) == ("overlap", "time", len(desk.file.plan.steps))
    assert f"{address('cid')} joined" in notes(answer)
    assert resume(run, desk.desk, wait=WAITS["cache"] - 60).outcome == "waiting"
    assert resume(run, desk.desk, wait=LONG).outcome == "done"
    check_moments(tenancy)


# -- what is not for it to mend -------------------------------------------------------------------------------------------


def in_copy(snapshot: Snapshot, members: list[str] | None, *, gone: bool = False) -> Snapshot:
    assert isinstance(snapshot.groups, tuple)
    kept = tuple(each for each in snapshot.groups if not (gone and each.display_name == COPY))
    told = None if members is None else tuple(guid(each) for each in members)
    return replace(
        snapshot, groups=tuple(replace(each, members=told) if each.display_name == COPY else each for each in kept)
    )


def policies(snapshot: Snapshot, given: list[dict[str, Any]]) -> Snapshot:
    return replace(snapshot, access_policies=tenant({**COPIED, "policies": given}).access_policies)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda now: in_copy(now, ["ada", "bob", "dan"]), f"put {address('dan')} into the managed copy"),
        (lambda now: in_copy(now, ["ada"]), f"took {address('bob')} out of the managed copy"),
        (lambda now: in_copy(now, None), "not read"),
        (lambda now: in_copy(now, [], gone=True), "undone by somebody else"),
        (lambda now: policies(now, []), "not those whose members"),
        (
            lambda now: policies(now, [*COPIED["policies"], {"app": "*", "group": "inner"}]),
            "not those whose members",
        ),
        (
            lambda now: replace(
                now,
                groups=tuple(
                    replace(each, members=None) if each.display_name == "inner" else each
                    for each in now.groups  # type: ignore[union-attr]  # they were read
                ),
            ),
            "members of inner",
        ),
        (
            lambda now: replace(
                now,
                groups=tuple(
                    replace(each, recipient_type_details="GroupMailbox") if each.display_name == "inner" else each
                    for each in now.groups  # type: ignore[union-attr]  # they were read
                ),
            ),
            "nothing documents",
        ),
    ],
    ids=["put in", "taken out", "unread", "copy gone", "no policy", "policy for every app", "unreadable", "other kind"],
)
def test_anything_else_stops_the_app(tmp_path: Path, change: Any, says: str) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.snapshot = change(tenancy.snapshot)
    was = tenancy.snapshot
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert says in answer.why
    assert tenancy.snapshot == was


@pytest.mark.parametrize(
    ("moved", "says"),
    [
        ({"barred": ["lower", "fresh"], "fresh": ["ada"]}, f"would hold {address('ada')}"),
        ({"barred": []}, f"let {address('bob')} through now"),
    ],
    ids=["another group denied", "a group denied no more"],
)
def test_where_the_filter_over_the_copy_is_not_exact_any_more_the_app_stops(
    tmp_path: Path, moved: dict[str, list[str]], says: str
) -> None:
    """Groups that came into a denied one, or left it, no membership of the copy makes good."""
    given = {
        **COPIED,
        "groups": {"sales": ["ada", "inner"], "inner": ["bob"], "barred": ["lower"], "lower": ["bob"], "fresh": []},
        "policies": [*COPIED["policies"], {"app": "omni", "right": "DenyAccess", "group": "barred"}],
    }
    asked = Migration(nested="group", accept=(Accepted("deny-fails-open", OMNI),))
    desk, tenancy = bench(tmp_path, given, asked)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(**moved)
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert says in answer.why


def test_who_left_just_after_the_copy_was_made_stops_the_app(tmp_path: Path) -> None:
    """Exchange may have seen them in it already: with the assignment to come nobody can say that they are not reached anew."""
    desk, tenancy = bench(tmp_path)
    tenancy.kill = (2, True)  # it is made and hidden, and nothing rests on it yet
    with pytest.raises(Killed):
        apply(desk.file, desk.desk, wait=LONG)
    assert copy(tenancy) == {"ada", "bob"}
    tenancy.move(inner=[])
    answer = resume("last", desk.desk, wait=LONG)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert "could reach bob@contoso.com" in answer.why
    check_moments(tenancy)


def test_while_the_policies_go_the_copy_follows_nobody(tmp_path: Path) -> None:
    """With one of two policies removed the other lets fewer through: taking the rest out then would lose them."""
    given = {
        **COPIED,
        "groups": {"sales": ["ada", "inner"], "inner": ["bob"], "hr": ["cid", "inner"]},
        "policies": [{"app": "omni", "group": "sales"}, {"app": "omni", "group": "hr"}],
    }
    desk, tenancy = bench(tmp_path, given)
    run = apply(desk.file, desk.desk, wait=LONG, until="cutover").run
    tenancy.kill, tenancy.sent = (1, True), 0
    with pytest.raises(Killed):
        resume(run, desk.desk, wait=LONG)
    assert isinstance(tenancy.snapshot.access_policies, tuple) and len(tenancy.snapshot.access_policies) == 1
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, tenancy.snapshot.access_policies) == ("done", ()), answer.why
    assert copy(tenancy) == {"ada", "bob", "cid"}


# -- kill -9, undo, verify ------------------------------------------------------------------------------------------------


def killed_and_gone_on(folder: Path, last: str, number: int, *, landed: bool) -> None:
    """After the stage ``last`` somebody moves people; at the ``number``-th write from then on the process is killed, and while
    nobody is at work people are moved again."""
    desk, tenancy = bench(folder)
    run = apply(desk.file, desk.desk, wait=LONG, until=last).run
    tenancy.move(inner=["cid"])
    tenancy.kill, tenancy.sent = (number, landed), 0
    level, following = {"ada", "cid"}, True
    try:
        resume(run, desk.desk, wait=LONG)
    except Killed:
        following = bool(tenancy.snapshot.access_policies)
        tenancy.move(inner=["dan"])
        level = {"ada", "dan"} if following else level
    tenancy.kill = None
    answer = resume(run, desk.desk, wait=LONG)
    if answer.outcome != "done":
        # The copy was made, and whom it was made of left before anything rests on it: no order of steps is sure to be safe.
        assert (last, answer.apps[0].code) == ("baseline", "moved"), answer.why
        return
    assert tenancy.snapshot.access_policies == ()
    assert set(Reach(tenancy.snapshot).sets(OMNI, "Mail.Read")[0]) == {address(each) for each in level}
    check_moments(tenancy)


@pytest.mark.parametrize("landed", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_killed_in_the_middle_it_goes_on_and_ends_level(tmp_path: Path, number: int, landed: bool) -> None:
    killed_and_gone_on(tmp_path, "overlap", number, landed=landed)


@pytest.mark.long
@pytest.mark.parametrize("landed", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("last", ["baseline", "overlap", "cutover"])
def test_killed_at_any_write_it_goes_on_and_ends_level(tmp_path: Path, last: str, number: int, landed: bool) -> None:
    killed_and_gone_on(tmp_path, last, number, landed=landed)


@pytest.mark.parametrize("whole", [False, True], ids=["at the wait", "at the end"])
def test_taken_back_the_tenant_is_as_it_was_but_for_who_moved(tmp_path: Path, whole: bool) -> None:
    desk, tenancy = bench(tmp_path)
    start = tenancy.snapshot
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(inner=["cid"])
    assert resume(run, desk.desk, wait=LONG if whole else 0.0).outcome == ("done" if whole else "waiting")
    assert "cid" in copy(tenancy)
    back = undo(run, desk.desk, approve=lambda plan: None, wait=LONG)
    assert back.outcome == "done", back.why
    now = tenancy.snapshot
    assert (now.role_assignments, now.management_scopes, now.service_principals) == ((), (), ())
    assert isinstance(now.groups, tuple) and isinstance(start.groups, tuple) and isinstance(now.apps, tuple)
    assert [each.display_name for each in now.groups] == [each.display_name for each in start.groups]
    assert [each.permission for each in now.apps[0].consents] == ["Mail.Read"]
    assert isinstance(now.access_policies, tuple) and len(now.access_policies) == 1
    check_moments(tenancy)


def test_a_proof_after_the_run_expects_whom_the_copy_was_brought_level_with(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG, until="overlap").run
    tenancy.move(inner=["cid"])
    resume(run, desk.desk, wait=LONG)
    known = past(desk.desk.store, desk.file.plan.tenant.id, desk.file.hash, desk.desk.waits, lengthen=True)
    reach = Reach(tenancy.snapshot)
    (claim,) = of_plan(as_run(desk.file, known, tenancy.snapshot).apps[0], reach).claims
    assert set(claim.expected) == set(reach.sets(OMNI, "Mail.Read")[0]) == {address("ada"), address("cid")}
    (stale,) = of_plan(desk.file.plan.apps[0], reach).claims
    assert address("cid") not in stale.expected


def test_a_plan_names_the_policies_that_its_copy_follows() -> None:
    plan = plan_migration(tenant(COPIED), (), Migration(nested="group"))
    copied = copy_of(plan.apps[0])
    assert copied is not None
    assert copied.follows == ({"app_id": OMNI, "access_right": "RestrictAccess", "group": guid("sales external")},)
    assert copy_of(plan_migration(tenant(COPIED)).apps[0]) is None


# -- whoever moves, whenever the process ends -------------------------------------------------------------------------------

PEOPLE = st.lists(st.sampled_from(COPIED["mailboxes"]), unique=True, max_size=4)
MOVES = st.fixed_dictionaries({"sales": PEOPLE, "inner": PEOPLE})


@pytest.mark.long
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    first=MOVES,
    moves=st.lists(st.one_of(st.none(), MOVES), min_size=6, max_size=6),
    kills=st.lists(st.one_of(st.none(), st.tuples(st.integers(1, 5), st.booleans())), min_size=6, max_size=6),
)
def test_no_moment_is_wider_or_loses_anybody(
    tmp_path_factory: pytest.TempPathFactory, first: Any, moves: list[Any], kills: list[Any]
) -> None:
    """People move between any two processes of a run, each of which may be killed at any of its writes."""
    assume(first["sales"] or first["inner"])
    start = {**COPIED, "groups": {"sales": [*first["sales"], "inner"], "inner": first["inner"]}}
    desk, tenancy = bench(tmp_path_factory.mktemp("run"), start)
    run = None
    for number, (moved, kill) in enumerate(zip(moves, kills, strict=True)):
        if moved is not None:
            tenancy.move(sales=[*moved["sales"], "inner"], inner=moved["inner"])
        tenancy.kill, tenancy.sent = kill, 0
        try:
            if run is None:
                run = apply(desk.file, desk.desk).run
            else:
                resume(run, desk.desk, wait=LONG if number == len(moves) - 1 else 40_000.0)
        except Killed:
            run = "last"
    tenancy.kill = None
    let = set(followed(tenancy.history[0][1], tenancy.snapshot))
    before = set(tenancy.history[-1][1].access_policies or ())
    answer = resume("last", desk.desk, wait=LONG)
    if answer.outcome == "done" and before:
        assert set(Reach(tenancy.snapshot).sets(OMNI, "Mail.Read")[0]) == let
    assert answer.outcome == "done" or answer.apps[0].code == "moved", answer.why
    check_moments(tenancy)
