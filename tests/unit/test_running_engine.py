"""The engine over a tenant in memory: kills at every boundary, faults of every kind, gates, apps on their own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.model import AppPlan, Target
from exoscope.outcome import (
    AccessDenied,
    Deadline,
    Exit,
    LostSession,
    NotFound,
    Refused,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    Verdict,
    WrongTenant,
)
from exoscope.planning import dump_plan, states
from exoscope.running import Evidence, Survey, apply, exit_of, resume, status
from exoscope.running.answer import duration
from exoscope.running.journal import Journal, read_journal
from exoscope.running.records import GateOpen, StepDone, StepFailed, StepIntent
from running_fakes import START, Bench, FakeTenancy, app, once, plan_of

WAIT = 2 * 7200.0 + 60


def bench_for(tmp_path: Path, *numbers: int) -> Bench:
    return Bench(tmp_path / "state", plan_of(*(app(number) for number in numbers or (1,))))


def run_id(bench: Bench) -> str:
    return bench.desk.store.folders()[-1].run


def wanted(bench: Bench) -> dict[object, Any]:
    """The tenant as an undisturbed run leaves it."""
    quiet = FakeTenancy(bench.file.plan)
    fresh = Bench(bench.desk.store.state.with_name("undisturbed"), bench.file, quiet)
    assert apply(bench.file, fresh.desk, wait=WAIT).outcome == "done"
    return quiet.objects


def test_a_run_goes_to_its_first_gate_and_waits_there(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.done, answer.steps, answer.waiting_for) == ("waiting", 5, 7, "time")
    assert answer.apps[0].stage == "grant"
    assert exit_of(answer) == Exit.PENDING
    landed = [record for record in journal(bench) if isinstance(record, StepDone)][-1]
    assert answer.ready_at == "2026-11-23T11:00:01Z", landed.at
    assert "(another 2 h)" in answer.why
    assert bench.tenancy.asked == []


def journal(bench: Bench) -> list[Any]:
    return list(read_journal(bench.desk.store.folders()[-1].journal))


def test_waiting_long_enough_runs_to_the_end_and_the_waits_are_whole(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    answer = apply(bench.file, bench.desk, wait=WAIT)
    assert (answer.outcome, answer.done, exit_of(answer)) == ("done", 7, Exit.DONE)
    done = {record.step: record for record in journal(bench) if isinstance(record, StepDone)}
    opened = {record.stage: record for record in journal(bench) if isinstance(record, GateOpen)}
    assert bench.clock.at - START >= timedelta(seconds=2 * 7200)
    for stage, last in (("grant", "step-5"), ("cutover", "step-7")):
        waited = opened[stage].at > done[last].at.replace("T09", "T10")
        assert waited, (opened[stage].at, done[last].at)
    assert bench.tenancy.asked == [(app(1).app_id, "grant"), (app(1).app_id, "cutover")]


def test_a_budget_too_short_for_the_next_gate_is_not_slept_away(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    assert apply(bench.file, bench.desk, wait=3600).outcome == "waiting"
    assert sum(bench.clock.slept) < 60


def test_holes_are_filled_from_what_was_read_and_quotes_in_them_doubled(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk)
    calls = dict(bench.tenancy.calls)
    dn = "CN=exoscope Connector 1 Mail.Read O'Neil,OU=contoso,DC=example"
    assert calls["step-2"].script is not None
    assert "'60000000-0000-0000-0000-000000000001'" in calls["step-2"].script
    assert calls["step-4"].script is not None
    # Doubled for OPATH, and both of those again for PowerShell.
    assert dn.replace("'", "''''") in calls["step-4"].script


def test_the_request_entry_is_written_from_its_own_reading(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk, wait=WAIT)
    request = dict(bench.tenancy.calls)["step-7"].request
    assert request is not None
    assert request.body == {"requiredResourceAccess": [{"resourceAppId": "other", "resourceAccess": []}]}


# -- killed ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """kill -9, as far as one process can act it."""


def _killer(at: int, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    append: Callable[..., Any] = Journal.append
    count = 0

    def killing(self: Journal, record: Any) -> Any:
        nonlocal count
        count += 1
        if count != at:
            return append(self, record)
        if how == "before":
            raise Killed
        if how == "torn":
            size = self.path.stat().st_size
            append(self, record)
            whole = self.path.read_bytes()
            self.path.write_bytes(whole[: size + (len(whole) - size) // 2])
            raise Killed
        append(self, record)
        raise Killed

    monkeypatch.setattr(Journal, "append", killing)


@pytest.mark.parametrize("how", ["before", "after", "torn"])
@pytest.mark.parametrize("at", range(2, 23))
def test_killed_at_any_record_resume_ends_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, how: str
) -> None:
    bench = bench_for(tmp_path)
    end = wanted(bench)
    with monkeypatch.context() as patched:
        _killer(at, how, patched)
        try:
            apply(bench.file, bench.desk, wait=WAIT)
        except Killed:
            pass
        else:
            pytest.fail("the run has fewer records")
    answer = resume("last", bench.desk, wait=WAIT)
    assert answer.outcome == "done", answer.why
    assert bench.tenancy.objects == end
    assert set(bench.tenancy.landed.values()) == {1}, "every step landed once"
    assert set(bench.tenancy.writes.values()) == {1}, "and was sent once"
    records = journal(bench)
    assert [record.n for record in records] == list(range(len(records)))
    assert not any(record.already for record in records if isinstance(record, StepDone)), (
        "all of it is this run's doing"
    )


def test_the_kills_above_reach_every_record(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk, wait=WAIT)
    assert len(journal(bench)) == 22


def test_killed_before_its_first_record_nothing_was_changed_and_apply_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_for(tmp_path)
    with monkeypatch.context() as patched:
        _killer(1, "before", patched)
        with pytest.raises(Killed):
            apply(bench.file, bench.desk)
    with pytest.raises(NotFound):
        status("last", bench.desk.store, bench.clock)
    assert apply(bench.file, bench.desk, wait=WAIT).outcome == "done"


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [LostSession("lost"), Deadline("late"), Transient("503")], ids=lambda e: e.code)
@pytest.mark.parametrize("when", ["before acting", "after acting"])
@pytest.mark.parametrize("step", ["step-1", "step-2", "step-5", "step-6", "step-7"])
def test_an_unknown_outcome_is_read_and_never_blindly_repeated(
    tmp_path: Path, error: ServiceError, when: str, step: str
) -> None:
    bench = bench_for(tmp_path)
    setattr(bench.tenancy, "before_write" if when == "before acting" else "after_write", once(error, step))
    answer = apply(bench.file, bench.desk, wait=WAIT)
    assert answer.outcome == "done", answer.why
    assert bench.tenancy.landed[step] == 1
    assert bench.tenancy.writes[step] == (2 if when == "before acting" else 1)
    done = next(record for record in journal(bench) if isinstance(record, StepDone) and record.step == step)
    assert not done.already


def test_a_lost_create_that_shows_late_is_not_made_twice(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.after_write = once(LostSession("lost"), "step-1")
    bench.tenancy.stale_after_write = 3
    assert apply(bench.file, bench.desk).outcome == "waiting"
    assert bench.tenancy.writes["step-1"] == 1


def test_stale_readings_after_each_write_are_waited_out(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.stale_after_write = 4
    answer = apply(bench.file, bench.desk, wait=WAIT)
    assert answer.outcome == "done", answer.why
    assert set(bench.tenancy.writes.values()) == {1}


def test_a_write_that_never_shows_stops_the_app(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.stale_after_write = 10**6
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "not-landed")
    assert exit_of(answer) == Exit.STOPPED
    assert bench.tenancy.writes["step-1"] == 1


def test_throttling_is_waited_out_as_told(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.before_write = once(Throttled("429", retry_after=17.5), "step-3")
    assert apply(bench.file, bench.desk).outcome == "waiting"
    assert 17.5 in bench.clock.slept


def test_throttling_without_an_end_is_waited_out_for_a_while_and_then_resumed(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def busy(step: Any) -> None:
        if step.id == "step-3":
            raise Throttled("too many")

    bench.tenancy.before_write = busy
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.apps[0].code, exit_of(answer)) == ("stopped", "throttled", Exit.STOPPED)
    assert f"too many. Go on later with: exoscope resume {answer.run}" in answer.why
    assert 15.0 < sum(bench.clock.slept) <= 30.0, "as long as a reading is waited for, which here is 30 s"
    assert bench.tenancy.landed["step-3"] == 0
    refused = [record for record in journal(bench) if isinstance(record, StepFailed)]
    assert {(record.step, record.sent) for record in refused} == {("step-3", False)}
    bench.tenancy.before_write = lambda step: None
    assert resume("last", bench.desk).outcome == "waiting"
    assert set(bench.tenancy.landed.values()) == {1}


def test_a_service_that_stays_away_pauses_the_run_and_resume_goes_on(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def away(step: Any) -> None:
        if step.id == "step-6":
            raise Transient("503")

    bench.tenancy.before_write = away
    answer = apply(bench.file, bench.desk, wait=WAIT)
    assert (answer.outcome, answer.waiting_for, exit_of(answer)) == ("stopped", "entra", Exit.STOPPED)
    assert status("last", bench.desk.store, bench.clock) == answer
    bench.tenancy.before_write = lambda step: None
    assert resume("last", bench.desk, wait=WAIT).outcome == "done"
    assert bench.tenancy.landed["step-6"] == 1


def test_away_before_the_first_write_nothing_was_changed(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def away(target: Target) -> None:
        raise SignInFailed("AADSTS7000222: the secret has expired", next="Make a new secret.")

    bench.tenancy.before_read = away
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.done, exit_of(answer)) == ("waiting", 0, Exit.UNKNOWN)
    assert "Make a new secret." in answer.why


def test_access_denied_says_what_to_do_and_resume_goes_on_once_it_is_done(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.before_write = once(AccessDenied("no", next="Needs Role Management."), "step-3")
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.apps[0].code, answer.waiting_for) == ("stopped", "access-denied", "approval")
    assert exit_of(answer) == Exit.STOPPED
    assert "Needs Role Management." in answer.why
    assert bench.tenancy.writes["step-4"] == 0
    assert resume("last", bench.desk, wait=WAIT).outcome == "done"


def test_access_denied_before_the_first_write_changed_nothing(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.before_write = once(AccessDenied("no"), "step-1")
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.waiting_for, exit_of(answer)) == ("waiting", "approval", Exit.UNKNOWN)


@pytest.mark.parametrize("acted", [False, True])
def test_an_error_nobody_knows_is_settled_by_reading(tmp_path: Path, acted: bool) -> None:
    bench = bench_for(tmp_path)
    hook = once(ServiceError("Something odd happened."), "step-3")
    setattr(bench.tenancy, "after_write" if acted else "before_write", hook)
    answer = apply(bench.file, bench.desk)
    if acted:
        assert (answer.outcome, answer.done) == ("waiting", 5)
    else:
        assert (answer.outcome, answer.apps[0].code) == ("stopped", "service-error")
        assert "Something odd happened." in answer.why
        assert resume("last", bench.desk, wait=WAIT).outcome == "done"
        assert bench.tenancy.landed["step-3"] == 1


def test_another_tenant_ends_the_run_at_once(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def other(target: Target) -> None:
        raise WrongTenant("another tenant")

    bench.tenancy.before_read = other
    with pytest.raises(WrongTenant):
        apply(bench.file, bench.desk)
    assert not bench.tenancy.writes


def test_what_nobody_foresaw_is_raised_before_the_first_write_and_answered_after_it(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def broken(step: Any) -> None:
        if step.id == "step-3":
            raise KeyError("a bug")

    bench.tenancy.before_write = broken
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, exit_of(answer)) == ("stopped", Exit.STOPPED)
    assert f"exoscope resume {answer.run}" in answer.why
    bench.tenancy.before_write = lambda step: None
    assert resume("last", bench.desk, wait=WAIT).outcome == "done"


def test_ctrl_c_leaves_an_open_run_and_names_resume(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def pressed(step: Any) -> None:
        if step.id == "step-3":
            raise KeyboardInterrupt

    bench.tenancy.after_write = pressed
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, exit_of(answer)) == ("stopped", Exit.STOPPED)
    assert f"exoscope resume {answer.run}" in answer.why
    assert status("last", bench.desk.store, bench.clock).apps[0].code == "interrupted"
    bench.tenancy.after_write = lambda step: None
    assert resume("last", bench.desk, wait=WAIT).outcome == "done"
    assert bench.tenancy.writes["step-3"] == 1


def test_ctrl_c_at_a_gate_leaves_a_run_that_says_how_long_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_for(tmp_path)

    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.clock, "sleep", pressed)
    assert apply(bench.file, bench.desk, wait=WAIT).outcome == "stopped"
    left = status("last", bench.desk.store, bench.clock)
    assert (left.outcome, left.waiting_for) == ("waiting", "time")
    assert "(another 2 h)" in left.why


def test_ctrl_c_while_resume_opens_the_tenant_is_no_run_that_nobody_touched(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk)
    bench.clock.sleep(WAIT)

    @contextlib.contextmanager
    def pressed(plan: Any) -> Iterator[Any]:
        if plan is not None:
            raise KeyboardInterrupt
        yield

    answer = resume("last", replace(bench.desk, open=pressed))
    assert (answer.outcome, exit_of(answer)) == ("stopped", Exit.STOPPED)
    assert f"exoscope resume {answer.run}" in answer.why
    assert resume("last", bench.desk, wait=WAIT).outcome == "done"


# -- the tenant moved ------------------------------------------------------------------------------------------------


def test_an_object_that_is_there_as_wanted_is_noted_and_not_made(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    pointer = bench.file.plan.steps[2]
    assert pointer.after is not None
    bench.tenancy.objects[states.key_of(pointer.target)] = dict(pointer.after)
    assert apply(bench.file, bench.desk).done == 5
    assert bench.tenancy.writes["step-3"] == 0
    done = {record.step: record.already for record in journal(bench) if isinstance(record, StepDone)}
    assert done["step-3"]
    assert not done["step-1"]


def test_an_object_that_is_there_otherwise_refuses_the_app_before_anything_is_changed(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    pointer = bench.file.plan.steps[2]
    bench.tenancy.objects[states.key_of(pointer.target)] = {"display_name": "Somebody else's"}
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.apps[0].code, exit_of(answer)) == ("refused", "moved", Exit.REFUSED)
    assert "Somebody else's" in answer.why
    assert not bench.tenancy.writes


def test_a_duplicate_that_appears_meanwhile_is_read_and_compared(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    scope = bench.file.plan.steps[3]

    def taken(step: Any) -> None:
        if step.id == "step-4":
            bench.tenancy.objects[states.key_of(scope.target)] = {
                "recipient_filter": "Department -eq 'x'",
                "recipient_root": None,
                "exclusive": False,
            }

    bench.tenancy.before_write = taken
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert bench.tenancy.writes["step-4"] == 1


def test_what_was_undone_by_somebody_else_before_the_gate_stops_the_app(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk)
    del bench.tenancy.objects[states.key_of(bench.file.plan.steps[4].target)]
    answer = resume("last", bench.desk, wait=WAIT)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert bench.tenancy.writes["step-6"] == 0, "the wide grant stays while the narrow one is gone"


def test_a_survey_that_finds_the_tenant_moved_stops_the_app_before_the_stage(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.survey_answer = lambda app_id: Survey(("eve@contoso.com joined",), ())
    apply(bench.file, bench.desk)
    assert any(event.text == "eve@contoso.com joined" for event in bench.events)
    bench.tenancy.survey_answer = lambda app_id: Survey((), ("a new policy",))
    answer = resume("last", bench.desk, wait=WAIT)
    assert (answer.apps[0].stage, answer.apps[0].code) == ("cutover", "moved")
    assert "a new policy" in answer.why
    assert bench.tenancy.writes["step-6"] == 0


# -- evidence --------------------------------------------------------------------------------------------------------


def test_a_failed_proof_stops_that_app_alone_and_names_the_step_back(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, 1, 2)
    first, second = app(1).app_id, app(2).app_id

    def seen(app_id: str, stage: str) -> Evidence:
        if app_id == first and stage == "cutover":
            return Evidence(Verdict.VIOLATED, "ceo@contoso.com is reachable", code="leftover-consent")
        return Evidence(Verdict.PROVEN, "as expected")

    bench.tenancy.evidence_answer = seen
    answer = apply(bench.file, bench.desk, wait=WAIT)
    by_app = {each.app_id: each for each in answer.apps}
    assert (by_app[first].outcome, by_app[first].code) == ("stopped", "leftover-consent")
    assert by_app[second].outcome == "done"
    assert (answer.outcome, exit_of(answer)) == ("stopped", Exit.STOPPED)
    command = f"exoscope undo {answer.run} --app {first} --to grant"
    assert any(event.kind == "step-back" and command in event.text and "2 h" in event.text for event in bench.events)
    assert command in answer.why
    assert resume("last", bench.desk, wait=WAIT).outcome == "stopped"


def test_unknown_evidence_opens_nothing_and_may_be_asked_again(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    bench.tenancy.evidence_answer = lambda app_id, stage: Evidence(Verdict.UNKNOWN, "Exchange could not tell")
    answer = apply(bench.file, bench.desk, wait=WAIT)
    assert (answer.outcome, answer.waiting_for, answer.ready_at) == ("waiting", "evidence", None)
    assert exit_of(answer) == Exit.UNKNOWN
    assert bench.tenancy.writes["step-6"] == 0
    bench.tenancy.evidence_answer = lambda app_id, stage: Evidence(Verdict.CONFIGURED, "Graph was not asked")
    answer = resume("last", bench.desk, wait=WAIT)
    assert (answer.outcome, exit_of(answer)) == ("done", Exit.DONE)
    assert "only configured: Graph was not asked" in answer.why


def test_pending_evidence_is_left_alone_for_a_whole_cache_time(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    answers = [Evidence(Verdict.PENDING, "cached"), Evidence(Verdict.PROVEN, "now"), Evidence(Verdict.PROVEN, "now")]
    times = []

    def seen(app_id: str, stage: str) -> Evidence:
        times.append(bench.clock.at)
        return answers.pop(0)

    bench.tenancy.evidence_answer = seen
    assert apply(bench.file, bench.desk, wait=10 * 7200).outcome == "done"
    assert times[1] - times[0] >= timedelta(seconds=7200)


def test_a_gate_is_never_passed_early_by_resume(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk)
    bench.clock.sleep(7100)
    opened = bench.opened
    assert resume("last", bench.desk).outcome == "waiting"
    assert bench.opened == opened, "nothing to do: no session is opened"
    bench.clock.sleep(101)
    assert resume("last", bench.desk).apps[0].stage == "cutover"


def test_a_longer_token_lifetime_lengthens_the_wait(tmp_path: Path) -> None:
    import msgspec

    from exoscope.model import Gate, PlanFile
    from exoscope.planning.hashing import plan_hash

    file = plan_of(app(1))
    gate = Gate(app(1).app_id, ("cache", "token"), ("exchange",), token_minutes=600)
    stage = msgspec.structs.replace(file.plan.stages[0], gates=(gate,))
    plan = msgspec.structs.replace(file.plan, stages=(stage, file.plan.stages[1]))
    bench = Bench(tmp_path / "state", PlanFile(file.format, plan_hash(plan), plan))
    assert apply(bench.file, bench.desk).ready_at == "2026-11-23T19:00:01Z"


@pytest.mark.parametrize("waits", ["{}", '{"cache":1.0,"token":1.0,"managed_identity":1.0,"long_token":1.0}'])
def test_a_journal_edited_to_shorter_waits_waits_what_a_tenant_demands(tmp_path: Path, waits: str) -> None:
    bench = bench_for(tmp_path)
    ready = apply(bench.file, bench.desk).ready_at
    path = bench.desk.store.folders()[-1].journal
    text = path.read_text(encoding="utf-8")
    edited = re.sub(r'"waits":\{[^}]*\}', f'"waits":{waits}', text)
    assert edited != text
    path.write_text(edited, encoding="utf-8")
    bench.clock.sleep(60)
    answer = resume("last", bench.desk)
    assert (answer.outcome, answer.ready_at) == ("waiting", ready)


# -- several apps ----------------------------------------------------------------------------------------------------


def test_apps_go_on_by_themselves_when_one_is_refused(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, 1, 2)
    pointer = bench.file.plan.steps[2]
    bench.tenancy.objects[states.key_of(pointer.target)] = {"display_name": "Somebody else's"}
    answer = apply(bench.file, bench.desk, wait=WAIT)
    assert [each.outcome for each in answer.apps] == ["refused", "done"]
    assert (answer.outcome, exit_of(answer)) == ("done", Exit.FINDINGS)


def test_the_second_app_is_not_held_up_by_the_first_ones_gate(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, 1, 2)
    answer = apply(bench.file, bench.desk)
    assert answer.done == 10
    assert {each.stage for each in answer.apps} == {"grant"}


# -- refusals --------------------------------------------------------------------------------------------------------


def test_an_edited_plan_and_another_hash_are_refused(tmp_path: Path) -> None:
    import msgspec

    bench = bench_for(tmp_path)
    edited = msgspec.structs.replace(bench.file, plan=msgspec.structs.replace(bench.file.plan, steps=()))
    with pytest.raises(Refused) as raised:
        apply(edited, bench.desk)
    assert raised.value.code == "plan-edited"
    with pytest.raises(Refused) as raised:
        apply(bench.file, bench.desk, expected_hash="sha256:" + "1" * 64)
    assert raised.value.code == "other-plan"
    assert bench.opened == 0


def test_an_open_run_of_the_same_plan_is_resumed_not_begun_twice(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk)
    with pytest.raises(Refused) as raised:
        apply(bench.file, bench.desk)
    assert (raised.value.code, run_id(bench) in raised.value.next) == ("run-open", True)
    resume("last", bench.desk, wait=WAIT)
    again = apply(bench.file, bench.desk, wait=WAIT)
    assert again.outcome == "done"
    assert set(bench.tenancy.writes.values()) == {1}, "applied again, nothing is done again"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    with bench.desk.store.lock(bench.file.plan.tenant.id), pytest.raises(Refused) as raised:
        apply(bench.file, bench.desk)
    assert raised.value.code == "locked"
    assert not bench.tenancy.writes


def test_an_intent_is_on_the_disk_before_its_call(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    seen = []

    def look(step: Any) -> None:
        last = journal(bench)[-1]
        seen.append(isinstance(last, StepIntent) and last.step == step.id)

    bench.tenancy.before_write = look
    apply(bench.file, bench.desk, wait=WAIT)
    assert seen == [True] * 7


def test_plan_names_every_app_in_the_answer(tmp_path: Path) -> None:
    bench = bench_for(tmp_path, 1, 2, 3)
    plans: tuple[AppPlan, ...] = bench.file.plan.apps
    assert [each.app_id for each in apply(bench.file, bench.desk).apps] == [each.app_id for each in plans]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (90, "1 min 30 s"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (7259, "2 h"),
        (100800, "28 h"),
    ],
)
def test_durations_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_consent_given_again_while_the_last_gate_waits_is_seen(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    assert apply(bench.file, bench.desk, wait=7300).apps[0].stage == "cutover"
    consent = bench.file.plan.steps[5]
    assert consent.before is not None
    bench.tenancy.objects[states.key_of(consent.target)] = dict(consent.before)
    answer = resume("last", bench.desk, wait=WAIT)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert len(bench.tenancy.asked) == 1, "the witnesses are not asked over what does not stand any more"


def test_the_budget_is_for_all_gates_together(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    answer = apply(bench.file, bench.desk, wait=3 * 3600)
    assert (answer.outcome, answer.apps[0].stage) == ("waiting", "cutover")
    assert sum(bench.clock.slept) < 2.1 * 3600


def test_an_object_that_somebody_changes_during_the_run_is_not_touched(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    assignment = bench.file.plan.steps[4]

    def meanwhile(step: Any) -> None:
        if step.id == "step-3":
            bench.tenancy.objects[states.key_of(assignment.target)] = {**(assignment.after or {}), "enabled": False}

    bench.tenancy.before_write = meanwhile
    answer = apply(bench.file, bench.desk)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert "enabled is False" in answer.why
    assert bench.tenancy.writes["step-5"] == 0


def test_a_lost_call_that_lands_after_a_later_try_was_throttled_is_still_this_runs(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    pointer = bench.file.plan.steps[2]

    def late(step: Any) -> None:
        if step.id == "step-3" and bench.tenancy.writes["step-3"] == 1:
            raise LostSession("lost")
        if step.id == "step-3":
            bench.tenancy.objects[states.key_of(pointer.target)] = dict(pointer.after or {})
            raise Throttled("429")

    bench.tenancy.before_write = late
    assert apply(bench.file, bench.desk).done == 5
    done = next(record for record in journal(bench) if isinstance(record, StepDone) and record.step == "step-3")
    assert not done.already
    assert done.before is None


def test_a_gates_wait_begins_with_the_last_step_of_its_stage(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)

    def slow(step: Any) -> None:
        if step.id == "step-4":
            bench.clock.sleep(3600)

    bench.tenancy.after_write = slow
    assert apply(bench.file, bench.desk).ready_at == "2026-11-23T12:00:01Z"


def test_a_run_whose_plan_was_exchanged_is_not_gone_on_with(tmp_path: Path) -> None:
    bench = bench_for(tmp_path)
    apply(bench.file, bench.desk)
    folder = bench.desk.store.folders()[-1]
    (folder.path / "plan.json").write_bytes(dump_plan(plan_of(app(1), app(2)).plan))
    with pytest.raises(Refused) as raised:
        resume("last", bench.desk, wait=WAIT)
    assert raised.value.code == "plan-edited"
    assert bench.tenancy.writes["step-6"] == 0


def test_a_consent_given_anew_since_the_plan_is_not_the_one_to_remove(tmp_path: Path) -> None:
    """Consented again by somebody, it has another assignment id: the planned call would remove nothing."""
    file = plan_of(app(1))
    bench = Bench(tmp_path, file)
    unconsent = next(step for step in file.plan.steps if step.target.kind == "consent")
    bench.tenancy.consents[states.key_of(unconsent.target)] = "given-anew"
    answer = apply(file, bench.desk, wait=1e6)
    assert answer.apps[0].code == "moved"
    assert not bench.tenancy.writes, "it is seen before the first step"
