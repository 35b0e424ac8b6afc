"""`--only`: a run changes one service, leaves the other to whoever may change it, and finds it done by reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from exoscope.catalog import EXCHANGE
from exoscope.cli.changing import finish
from exoscope.outcome import Exit
from exoscope.planning import states
from exoscope.planning.by_hand import for_entra
from exoscope.running import RunAnswer, Service, apply, exit_of, resume
from exoscope.running.journal import read_journal
from exoscope.running.records import StepDone, StepLeft
from running_fakes import Bench, app, plan_of

WAIT = 2 * 7200.0 + 60
LAST = "step-7"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "state", plan_of(app(1)))


def records(bench: Bench) -> list[object]:
    return list(read_journal(bench.desk.store.folders()[-1].journal))


def begin(bench: Bench, only: Service) -> RunAnswer:
    return apply(bench.file, bench.desk, wait=WAIT, only=only)


def by_hand(bench: Bench, *ids: str) -> None:
    """Somebody else makes these transitions."""
    for step in bench.file.plan.steps:
        if step.id in ids:
            bench.tenancy.objects.pop(states.key_of(step.target))


def test_exchange_does_its_share_and_waits_for_entra(bench: Bench) -> None:
    answer = begin(bench, "exchange")
    assert (answer.outcome, answer.waiting_for, answer.done, exit_of(answer)) == ("waiting", "entra", 5, Exit.PENDING)
    assert [each.code for each in answer.apps] == [None]
    assert "Remove the tenant-wide consent Mail.Read" in answer.why
    assert "Stop requesting Mail.Read" in answer.why, "all that Entra's side has to do now"
    assert f"exoscope resume {answer.run} --only exchange" in answer.why
    assert set(bench.tenancy.writes) == {f"step-{number}" for number in range(1, 6)}
    again = resume(answer.run, bench.desk, wait=WAIT, only="exchange")
    assert (again.waiting_for, again.done) == ("entra", 5)
    assert len([each for each in records(bench) if isinstance(each, StepLeft)]) == 2, "each noted once"


def test_what_somebody_else_did_since_is_found_by_reading_and_belongs_to_the_run(bench: Bench) -> None:
    run = begin(bench, "exchange").run
    by_hand(bench, "step-6", LAST)
    answer = resume(run, bench.desk, wait=WAIT, only="exchange")
    assert (answer.outcome, answer.done) == ("done", 7)
    assert not {"step-6", LAST} & set(bench.tenancy.writes)
    done = {each.step: each for each in records(bench) if isinstance(each, StepDone)}
    for step in ("step-6", LAST):
        assert (done[step].before, done[step].after) == ({"permission": "Mail.Read"}, None)
        assert (done[step].already, done[step].settled) == (False, True), "an undo takes it back: it was not so before"


def test_what_was_so_before_is_left_by_an_undo(bench: Bench) -> None:
    by_hand(bench, "step-6")
    answer = begin(bench, "exchange")
    assert answer.waiting_for == "entra"
    done = {each.step: each for each in records(bench) if isinstance(each, StepDone)}
    assert (done["step-6"].already, done["step-6"].before) == (True, None)


def test_half_of_it_is_not_the_whole(bench: Bench) -> None:
    run = begin(bench, "exchange").run
    by_hand(bench, "step-6")
    answer = resume(run, bench.desk, wait=WAIT, only="exchange")
    assert (answer.outcome, answer.waiting_for, answer.done) == ("waiting", "entra", 6)
    assert "Stop requesting" in answer.why
    assert "Remove the tenant-wide" not in answer.why


def test_whoever_may_do_both_goes_on_without_the_option(bench: Bench) -> None:
    run = begin(bench, "exchange").run
    answer = resume(run, bench.desk, wait=WAIT)
    assert (answer.outcome, answer.done) == ("done", 7)
    assert bench.tenancy.writes["step-6"] == bench.tenancy.writes[LAST] == 1


def test_graph_alone_waits_for_exchange_and_the_two_take_turns(bench: Bench) -> None:
    answer = begin(bench, "graph")
    assert (answer.outcome, answer.waiting_for, answer.done) == ("waiting", "exchange", 0)
    assert not bench.tenancy.writes
    run = answer.run
    assert resume(run, bench.desk, wait=WAIT, only="exchange").waiting_for == "entra"
    answer = resume(run, bench.desk, wait=WAIT, only="graph")
    assert (answer.outcome, answer.done) == ("done", 7)


def test_a_gate_is_waited_for_before_the_other_side_has_its_turn(bench: Bench) -> None:
    answer = apply(bench.file, bench.desk, only="exchange")
    assert (answer.outcome, answer.waiting_for) == ("waiting", "time"), "the identity team is not called too early"


def test_something_else_than_what_was_asked_for_stops_the_app(bench: Bench) -> None:
    run = begin(bench, "exchange").run
    key = next(states.key_of(each.target) for each in bench.file.plan.steps if each.id == "step-6")
    bench.tenancy.consents[key] = "a consent given since"
    by_hand(bench, "step-6")
    bench.tenancy.objects[key] = {"permission": "Mail.Read"}
    answer = resume(run, bench.desk, wait=WAIT, only="exchange")
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")


def test_a_call_of_the_runs_own_is_settled_first(bench: Bench) -> None:
    run = apply(bench.file, bench.desk, wait=WAIT, until="grant").run
    bench.tenancy.after_write = _killed
    with pytest.raises(RuntimeError):
        _raw(bench, run)
    bench.tenancy.after_write = lambda step: None
    answer = resume(run, bench.desk, wait=WAIT, only="exchange")
    done = {each.step: each for each in records(bench) if isinstance(each, StepDone)}
    assert (done["step-6"].settled, done["step-6"].already) == (True, False)
    assert answer.waiting_for == "entra"


def _killed(step: object) -> None:
    raise RuntimeError("killed")


def _raw(bench: Bench, run: str) -> None:
    """A process that dies in the middle of step 6, with nothing written after its intent."""
    from exoscope.running.journal import Journal
    from exoscope.running.state import RunState
    from exoscope.running.steps import Steps

    folder = bench.desk.store.find(run)
    journal = Journal(folder.journal, bench.clock)
    state = RunState(bench.file.plan, journal.records)
    steps = Steps(
        state, journal, bench.tenancy, bench.clock, patience=bench.desk.patience, progress=bench.events.append
    )
    steps.run(bench.file.plan.steps[5])


def test_what_goes_on_keeps_to_the_share(capsys: pytest.CaptureFixture[str]) -> None:
    waits = RunAnswer("r-1", "waiting", 3, 5, "2026-03-01T12:00:00Z", "time", "The gate.", ())
    left = RunAnswer("r-1", "waiting", 3, 5, None, "entra", "Then: exoscope resume r-1 --only exchange", ())
    for answer, only, told in (
        (waits, None, "exoscope resume r-1\n"),
        (waits, "exchange", "exoscope resume r-1 --only exchange\n"),
        (left, None, ""),
    ):
        finish(answer, as_json=False, only=only)
        said = capsys.readouterr().err
        assert (said.endswith(told), bool(said)) == (True, bool(told)), "none without --only beside one that has it"


def test_a_consent_of_graph_is_given_by_another_role_than_it_is_taken_by() -> None:
    file = plan_of(app(1))
    taken = next(step for step in file.plan.steps if step.target.kind == "consent")
    given = replace(taken, before=None, after=taken.before)
    of_exchange = replace(given, target=replace(given.target, key={**given.target.key, "resource": EXCHANGE}))
    steps = tuple(
        replace(each, id=f"step-{number}") for number, each in enumerate((taken, given, of_exchange), start=1)
    )
    found = for_entra(replace(file, plan=replace(file.plan, steps=steps))).steps
    assert [each.role for each in found] == [
        "Cloud Application Administrator",
        "Privileged Role Administrator",
        "Cloud Application Administrator",
    ]


def test_a_hole_of_a_step_in_entra_is_explained() -> None:
    request = next(each for each in for_entra(plan_of(app(1))).steps if each.calls[-1].method == "PATCH")
    assert [*request.holes] == [f"<{request.id}.required_resource_access>"]
    assert "read just before" in request.holes[f"<{request.id}.required_resource_access>"]


def test_the_steps_in_entra_are_printed_with_what_comes_first() -> None:
    file = plan_of(app(1), app(2))
    found = for_entra(file).steps
    assert [each.title for each in found[:2]] == [
        "Remove the tenant-wide consent Mail.Read (Microsoft Graph)",
        "Stop requesting Mail.Read (Microsoft Graph) in the app's registration",
    ]
    first, second = found[:2]
    assert first.not_before == "the gate of stage grant is open (exoscope status says so)"
    assert second.not_before.endswith("and step-6 is done")
    assert first.portal[-1] == "the row Microsoft Graph, Mail.Read, type Application > … > Revoke permission"
    assert [(each.method, each.path.partition("?")[0]) for each in second.calls] == [
        ("GET", "/applications/40000000-0000-0000-0000-000000000001"),
        ("PATCH", "/applications/40000000-0000-0000-0000-000000000001"),
    ]
    assert {each.app_id for each in found} == {app(1).app_id, app(2).app_id}
