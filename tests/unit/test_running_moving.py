"""People join and leave while a proof is asked: what is older than an answer proves nothing against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.model import Gate, Snapshot
from exoscope.outcome import Verdict
from exoscope.planning import effect
from exoscope.planning.migration import plan_migration
from exoscope.proving import GateProof, History, gate_proof, whole
from exoscope.proving.witnesses import Seen
from exoscope.reach import Reach
from exoscope.running import apply, resume, tenancy, undo
from exoscope.running.records import Noted
from exoscope.running.resting import moved_between
from planning_tenants import address, tenant
from running_fakes import START, WAITS, Bench, HandClock
from unit.test_migration_running import LONG, OMNI, TENANT, Migrated, bench


def with_sales(*members: str) -> Snapshot:
    return tenant(
        {
            "mailboxes": ["ada", "bob", "cid"],
            "groups": {"sales": list(members), "hr": ["cid"]},
            "apps": {"omni": {"consents": ["Mail.Read"]}},
            "policies": [{"app": "omni", "group": "sales"}],
        }
    )


PLAN = plan_migration(with_sales("ada"))
(APP,) = PLAN.apps
BASELINE = PLAN.stages[0]


class Readings:
    """The tenant as each reading finds it, the last one from then on, and a proof that holds just where ``bob`` is out."""

    options: whole.Options

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        found: Sequence[Snapshot],
        verdict: Verdict,
        *,
        everything: bool = False,
    ) -> None:
        self.count, self.asked, self.fails_only = 0, 0, 10**6
        self._found, self._verdict = found, verdict
        monkeypatch.setattr(tenancy, "read_snapshot", self._read)
        monkeypatch.setattr(tenancy, "gate_proof", self._prove)

        class Connection:
            clock = HandClock()

        self.tenancy = tenancy.LiveTenancy(
            Connection(), WAITS, lengthen=True, progress=lambda event: None, everything=everything
        )  # type: ignore[arg-type]  # only its clock is used

    def _read(self, *_: Any, **__: Any) -> Snapshot:
        self.count += 1
        return self._found[min(self.count, len(self._found)) - 1]

    def _prove(self, _: Any, __: Any, ___: Any, reach: Reach, *rest: Any, **____: Any) -> GateProof:
        self.asked += 1
        self.options = rest[-1]
        joined = address("bob") in reach.policy_allows(OMNI, "Mail.Read")[0] and self.asked <= self.fails_only
        return GateProof(self._verdict if joined else Verdict.CONFIGURED, "bob is out", code="baseline-differs")

    def evidence(self) -> Any:
        return self.tenancy.evidence(PLAN, APP, BASELINE, BASELINE.gates[0], START)


@pytest.mark.parametrize("everything", [False, True])
def test_a_gate_asks_about_everybody_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch, everything: bool) -> None:
    readings = Readings(monkeypatch, [with_sales("ada")], Verdict.CONFIGURED, everything=everything)
    readings.evidence()
    assert readings.options.everything is everything


@pytest.mark.parametrize("verdict", [Verdict.VIOLATED, Verdict.UNKNOWN])
def test_who_left_between_the_reading_and_the_asking_does_not_fail_the_proof(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    readings = Readings(monkeypatch, [with_sales("ada", "bob"), with_sales("ada")], verdict)
    assert readings.evidence().verdict is Verdict.CONFIGURED
    assert (readings.count, readings.asked) == (2, 2)


def test_who_left_and_came_back_meanwhile_does_not_fail_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    same = with_sales("ada", "bob")
    readings = Readings(monkeypatch, [same], Verdict.VIOLATED)
    readings.fails_only = 1
    assert (readings.evidence().verdict, readings.count, readings.asked) == (Verdict.CONFIGURED, 2, 2)


def test_where_nothing_moved_the_proof_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    same = with_sales("ada", "bob")
    readings = Readings(
        monkeypatch, [same, replace(same, read_at=same.read_at + timedelta(minutes=1))], Verdict.VIOLATED
    )
    answer = readings.evidence()
    assert (answer.verdict, answer.code, readings.asked) == (Verdict.VIOLATED, "baseline-differs", 2)


def test_where_much_fails_the_tenant_is_not_read_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = Readings(monkeypatch, [with_sales("ada", "bob")], Verdict.VIOLATED)
    assert {readings.evidence().verdict for _ in range(20)} == {Verdict.VIOLATED}
    assert readings.count == 1 + tenancy.DOUBTS


def test_where_it_moves_each_time_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    coming = [with_sales("ada", "bob"), with_sales("bob")] * 10
    readings = Readings(monkeypatch, coming, Verdict.VIOLATED)
    answer = readings.evidence()
    assert (answer.verdict, answer.code, readings.asked) == (Verdict.UNKNOWN, None, tenancy.TRIES)
    assert "bob is out" in answer.why


def test_what_moves_is_what_the_proof_rests_on() -> None:
    ours, other = Reach(with_sales("ada")), with_sales("ada")
    assert isinstance(other.groups, tuple)
    hr = tuple(replace(each, members=()) if each.display_name == "hr" else each for each in other.groups)
    assert not moved_between(APP, ours, Reach(replace(other, groups=hr)))
    assert moved_between(APP, ours, Reach(with_sales("ada", "bob")))
    done = [effect.apply_steps(with_sales(*members), PLAN.steps) for members in (["ada"], ["ada", "bob"])]
    assert [each.access_policies for each in done] == [(), ()]
    assert moved_between(APP, *map(Reach, done)), "the scope follows the group when no policy names it any more"


# -- Graph answers from its cache ---------------------------------------------------------------------------------------


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What Graph answers, by mailbox; Exchange answers as predicted."""
    said: dict[str, str] = {}

    def exchange(reach: Reach, app: Any, claim: Any, *_: Any) -> Any:
        inside = reach.sets(app, claim.permission)[0]
        answers = {each: "allowed" if each in inside else "denied" for each in reach.mailboxes}
        return answers.__getitem__, answers

    monkeypatch.setattr(whole, "_exchange_answers", exchange)
    monkeypatch.setattr(whole.witnesses, "unasked", lambda *_, **__: None)
    monkeypatch.setattr(whole.witnesses, "carried", lambda *_: ())
    monkeypatch.setattr(
        whole.witnesses,
        "ask_graph",
        lambda *_, **__: {who: Seen(answer, "", None) for who, answer in said.items()},  # type: ignore[arg-type]  # words
    )
    yield said


def proof_after(*members: str) -> GateProof:
    """The gate of the cut-over, long after it, while the group has these members."""
    now = effect.apply_steps(with_sales(*members), [each for each in PLAN.steps if each.stage != "finish"])
    cutover = Gate(APP.app_id, (), ("exchange", "graph"))
    clock = HandClock()
    sources: Any = type("Sources", (), {"exchange": None})()
    return gate_proof(sources, APP, cutover, Reach(now), History(START, START), clock, lambda text: None)


@pytest.mark.parametrize(
    ("members", "answers", "verdict", "waits_for"),
    [
        ([], "add", Verdict.PENDING, ["ada"]),
        ([], "dda", Verdict.VIOLATED, []),
        (["ada"], "add", Verdict.PROVEN, []),
        (["ada", "bob"], "add", Verdict.PENDING, ["bob"]),
        (["bob"], "aad", Verdict.PENDING, ["ada"]),
        (["ada", "bob"], "ddd", Verdict.VIOLATED, []),
        (["ada", "bob"], "ada", Verdict.VIOLATED, []),
    ],
)
def test_who_joined_or_left_since_the_plan_is_waited_for_and_nobody_else(
    graph: dict[str, str], members: list[str], answers: str, verdict: Verdict, waits_for: list[str]
) -> None:
    words = {"a": "allowed", "d": "denied"}
    graph.update({address(who): words[each] for who, each in zip(("ada", "bob", "cid"), answers, strict=True)})
    proof = proof_after(*members)
    assert proof.verdict is verdict, proof.why
    assert [who for who in ("ada", "bob", "cid") if address(who) in proof.why] == waits_for


# -- taken back while people come and go --------------------------------------------------------------------------------


def under_way(tmp_path: Path) -> tuple[Bench, Migrated, str]:
    """A migration done and being taken back: its policies are there again, its consents not yet."""
    desk, found = bench(tmp_path)
    done = apply(desk.file, desk.desk, wait=LONG)
    back = undo(done.run, desk.desk, approve=lambda plan: None)
    assert (back.outcome, {each.stage for each in back.apps}) == ("waiting", {"restrain"})
    return desk, found, back.run


def changed(found: Migrated, **given: Any) -> None:
    """The tenant that ``given`` says, with what the run made of it so far."""
    other = tenant({**TENANT, **given})
    found.snapshot = replace(found.snapshot, groups=other.groups, access_policies=other.access_policies)


@pytest.mark.parametrize("members", [["ada", "bob"], ["bob"], []])
def test_who_joins_or_leaves_does_not_stop_an_undo(tmp_path: Path, members: list[str]) -> None:
    desk, found, run = under_way(tmp_path)
    changed(found, groups={"sales": members, "hr": ["bob"]})
    answer = resume(run, desk.desk, wait=LONG)
    assert (answer.outcome, {each.code for each in answer.apps}) == ("done", {None})
    noted = {record.notes for record in desk.desk.store.find(run).records() if isinstance(record, Noted)}
    assert noted == {
        (
            *([f"Mail.Read: {address('bob')} joined the scope since the plan"] if "bob" in members else []),
            *([f"Mail.Read: {address('ada')} left the scope since the plan"] if "ada" not in members else []),
        )
    }


def test_what_an_undo_would_open_that_is_not_open_stops_it(tmp_path: Path) -> None:
    desk, found, run = under_way(tmp_path)
    changed(found, policies=[*TENANT["policies"], {"app": "omni", "group": "hr"}])
    answer = resume(run, desk.desk, wait=LONG)
    assert {each.app_id: (each.outcome, each.code) for each in answer.apps}[OMNI] == ("stopped", "moved")
    assert f"would then reach {address('bob')}" in answer.why


def test_whom_an_undo_would_cut_off_stops_it(tmp_path: Path) -> None:
    desk, found, run = under_way(tmp_path)
    changed(found, policies=[*TENANT["policies"], {"app": "omni", "right": "DenyAccess", "group": "sales"}])
    answer = resume(run, desk.desk, wait=LONG)
    assert {each.app_id: (each.outcome, each.code) for each in answer.apps}[OMNI] == ("stopped", "moved")
    assert f"would then not reach {address('ada')}" in answer.why
