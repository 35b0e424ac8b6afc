"""The nightly command over a tenant in memory: approval, the run, its waits, and what is left when state or tenant changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from exoscope.model import PlanFile
from exoscope.outcome import Exit, Refusal, Refused
from exoscope.planning.hashing import plan_hash
from exoscope.running import AdvanceAnswer, Approval, advance, exit_of
from running_fakes import TENANT, Bench, app, plan_of


def migration(*numbers: int) -> PlanFile:
    file = plan_of(*(app(number) for number in numbers))
    plan = replace(file.plan, purpose="migrate")
    return replace(file, plan=plan, hash=plan_hash(plan))


class Night:
    """The command as the job runs it; ``planned`` counts how often the tenant was read for a plan."""

    def __init__(self, folder: Path, file: PlanFile) -> None:
        self.bench = Bench(folder, file)
        self.folder = folder
        self.file = file
        self.planned = 0

    def make(self) -> PlanFile:
        self.planned += 1
        return self.file

    def __call__(self, hash: str | None = None, *, yes: bool = False, tenant: str = TENANT.domain) -> AdvanceAnswer:
        return advance(self.bench.desk, tenant, "migrate", self.make, Approval(hash, yes))

    @property
    def pending(self) -> list[Path]:
        return sorted((self.folder / "pending").glob("*")) if (self.folder / "pending").exists() else []


@pytest.fixture
def night(tmp_path: Path) -> Callable[[PlanFile], Night]:
    return lambda file: Night(tmp_path, file)


def test_without_approval_nothing_is_begun(night: Callable[[PlanFile], Night]) -> None:
    file = migration(1)
    tonight = night(file)
    answer = tonight()
    assert (answer.run, answer.outcome, answer.waiting_for) == (None, "waiting", "approval")
    assert (answer.hash, answer.done, answer.steps) == (file.hash, 0, len(file.plan.steps))
    assert exit_of(answer) == Exit.PENDING
    assert json.loads(Path(answer.plan or "").read_bytes())["hash"] == file.hash
    assert tonight.bench.opened == 0
    assert tonight() == answer, "the next night it waits still"


def test_it_goes_on_night_by_night_to_the_end(night: Callable[[PlanFile], Night]) -> None:
    file = migration(1)
    tonight = night(file)
    tonight()
    first = tonight(file.hash)
    assert first.run is not None
    assert (first.outcome, first.waiting_for, first.hash) == ("waiting", "time", None)
    assert tonight.planned == 1, "what was approved is what runs, not what is planned meanwhile"
    assert tonight.pending == []
    same = tonight(file.hash)
    assert (same.run, same.done) == (first.run, first.done), "nothing is due yet"
    answers = [same]
    while answers[-1].outcome == "waiting":
        tonight.bench.clock.at += timedelta(hours=30)
        answers.append(tonight())
        assert len(answers) < 9
    assert (answers[-1].outcome, answers[-1].done) == ("done", len(file.plan.steps))
    assert {each.run for each in answers} == {first.run}


def test_yes_approves_whatever_is_planned(night: Callable[[PlanFile], Night]) -> None:
    answer = night(migration(1))(yes=True)
    assert answer.run is not None
    assert answer.done > 0


def test_nothing_left_is_done(night: Callable[[PlanFile], Night]) -> None:
    empty = replace(migration(1).plan, steps=(), stages=())
    answer = night(replace(migration(1), plan=empty, hash=plan_hash(empty)))()
    assert (answer.run, answer.outcome, answer.waiting_for) == (None, "done", None)
    assert exit_of(answer) == Exit.DONE


def test_the_hash_of_another_plan_begins_nothing(night: Callable[[PlanFile], Night]) -> None:
    tonight = night(migration(1))
    old = tonight().hash
    tonight.file = migration(1, 2)
    other = "sha256:" + "0" * 64
    with pytest.raises(Refused) as refused:
        tonight(other)
    assert refused.value.code == "other-plan"
    assert tonight.file.hash in refused.value.message
    assert tonight.bench.opened == 0
    waiting = tonight()
    assert waiting.hash == tonight.file.hash != old
    assert len(tonight.pending) == 1, "the plan before it is gone"


def test_with_the_state_lost_the_same_plan_needs_no_second_approval(night: Callable[[PlanFile], Night]) -> None:
    file = migration(1)
    answer = night(file)(file.hash)
    assert answer.run is not None
    assert answer.done > 0


def test_an_edited_plan_that_waits_is_refused(night: Callable[[PlanFile], Night]) -> None:
    file = migration(1)
    tonight = night(file)
    path = Path(tonight().plan or "")
    path.write_bytes(path.read_bytes().replace(b"Connector 1", b"Connector X"))
    with pytest.raises(Refused) as refused:
        tonight(file.hash)
    assert refused.value.code == "plan-edited"


def test_refused_apps_stand_beside_those_that_wait(night: Callable[[PlanFile], Night]) -> None:
    plan = replace(migration(1).plan, refusals=(Refusal("no-role", "another app", "no role gives it"),))
    answer = night(replace(migration(1), plan=plan, hash=plan_hash(plan)))()
    assert [(each.app_id, each.outcome, each.code) for each in answer.apps][-1] == ("another app", "refused", "no-role")
    assert exit_of(answer) == Exit.FINDINGS


def test_refused_apps_stand_beside_those_that_run_and_are_done(night: Callable[[PlanFile], Night]) -> None:
    plan = replace(migration(1).plan, refusals=(Refusal("no-role", "another app", "no role gives it"),))
    tonight = night(replace(migration(1), plan=plan, hash=plan_hash(plan)))
    answers = [tonight(yes=True)]
    while answers[-1].outcome == "waiting":
        tonight.bench.clock.at += timedelta(days=1)
        answers.append(tonight(yes=True))
    assert len({each.run for each in answers}) == 1 and len(answers) > 1
    for each in answers:
        assert [(a.outcome, a.code) for a in each.apps][-1] == ("refused", "no-role")
        assert exit_of(each) == Exit.FINDINGS, "what is done of several is not all of it"


def test_a_run_is_found_by_whatever_domain_the_profile_names(night: Callable[[PlanFile], Night]) -> None:
    tonight = night(migration(1))
    begun = tonight(yes=True, tenant="mail.contoso.example")
    assert begun.run is not None
    assert tonight(yes=True, tenant="mail.contoso.example").run == begun.run, "no second run beside an open one"


def test_a_run_of_another_kind_or_tenant_is_not_gone_on_with(night: Callable[[PlanFile], Night]) -> None:
    file = migration(1)
    tonight = night(file)
    begun = tonight(yes=True)
    assert tonight(tenant=TENANT.id.upper()).run == begun.run
    other = advance(tonight.bench.desk, TENANT.domain, "scope", tonight.make, Approval())
    assert other.run is None
    theirs = replace(file.plan, tenant=replace(TENANT, id=TENANT.id[::-1], domain="fabrikam.onmicrosoft.com"))
    tonight.file = replace(file, plan=theirs, hash=plan_hash(theirs))
    assert tonight(tenant="fabrikam.onmicrosoft.com").run is None


def test_a_run_that_cannot_be_read_stops_everything(night: Callable[[PlanFile], Night]) -> None:
    tonight = night(migration(1))
    begun = tonight(yes=True)
    journal = tonight.folder / "runs" / str(begun.run) / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"{", b"[", 3))
    with pytest.raises(Refused) as refused:
        tonight(yes=True)
    assert refused.value.code == "journal-damaged"
