"""The commands over a tenant in memory: what they ask, print, and end with."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from exoscope.cli import apply, changing, frame, resume, roads, runs, status, undo
from exoscope.model import PlanFile, Request, Step
from exoscope.outcome import Refused
from exoscope.planning import dump_plan, plan_hash
from exoscope.powershell import render_guarded
from running_fakes import Bench, app, plan_of


class Desk:
    """A plan on the disk and a desk over a tenant in memory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = Bench(folder / "state", plan_of(app(1)))
        self.plan = folder / "plan.json"
        self.plan.write_bytes(dump_plan(self.bench.file.plan))
        self.somebody = False
        self.everything: bool | None = None
        monkeypatch.setattr(roads, "profile_with_road", lambda profile, *, yes: None)
        monkeypatch.setattr(changing, "desk", self._desk)
        monkeypatch.setattr(changing, "store", lambda profile, state: self.bench.desk.store)
        monkeypatch.setattr(frame, "interactive", lambda: self.somebody)
        monkeypatch.setattr("exoscope.clock.SystemClock", lambda: self.bench.clock)

    def _desk(self, profile: object, state: object, *, everything: bool = False, **met: bool) -> object:
        assert set(met) <= {"unseen_ok", "back"}
        self.everything = everything
        return self.bench.desk

    def run(self, command: click.Command, *words: str, said: str | None = None) -> Result:
        return CliRunner().invoke(command, list(words), input=said)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


KEYS = {"run", "outcome", "done", "steps", "ready_at", "waiting_for", "why", "apps"}


def test_the_json_answer_has_exactly_the_promised_keys(desk: Desk) -> None:
    ended = desk.run(apply.command, str(desk.plan), "--yes", "--json")
    answer: Any = json.loads(ended.stdout)
    assert ended.exit_code == 3
    assert set(answer) == KEYS
    assert set(answer["apps"][0]) == {"app_id", "stage", "outcome", "code", "ready_at", "notes"}
    for command in (resume.command, status.command):
        again = desk.run(command, "last", "--json")
        assert (again.exit_code, set(json.loads(again.stdout))) == (3, KEYS)


def test_people_are_told_when_and_how_to_go_on(desk: Desk) -> None:
    ended = desk.run(apply.command, str(desk.plan), "--yes")
    assert ended.exit_code == 3
    run = desk.bench.desk.store.folders()[0].run
    assert f"Run {run}: waiting, 5 of 7 step(s) done." in ended.stdout
    assert f"exoscope resume {run}" in ended.stderr
    assert "2026-11-23T11:00:01Z" in ended.stderr


def test_a_hash_stands_for_the_answer_with_and_without_its_prefix(desk: Desk) -> None:
    bare = desk.bench.file.hash.removeprefix("sha256:")
    assert desk.run(apply.command, str(desk.plan), "--hash", bare).exit_code == 3
    other = desk.run(apply.command, str(desk.plan), "--hash", "sha256:" + bare[::-1])
    assert isinstance(other.exception, Refused)
    assert other.exception.code == "other-plan"


def test_without_a_terminal_nobody_is_asked(desk: Desk) -> None:
    ended = desk.run(apply.command, str(desk.plan))
    assert ended.exit_code == 2
    assert "--yes or --hash" in ended.stderr
    assert desk.bench.opened == 0
    ended = desk.run(undo.command, "last")
    assert ended.exit_code == 2


@pytest.mark.parametrize(("said", "runs_it"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_on_a_terminal_somebody_is_asked_and_no_is_the_default(desk: Desk, said: str, runs_it: bool) -> None:
    desk.somebody = True
    ended = desk.run(apply.command, str(desk.plan), said=said)
    assert "step-1 [grant]" in ended.stderr
    assert bool(desk.bench.tenancy.writes) is runs_it
    if not runs_it:
        assert isinstance(ended.exception, Refused)
        assert ended.exception.code == "not-approved"


def test_wait_takes_durations(desk: Desk) -> None:
    ended = desk.run(apply.command, str(desk.plan), "--yes", "--json", "--wait", "5h")
    assert (ended.exit_code, json.loads(ended.stdout)["outcome"]) == (0, "done")
    assert desk.run(apply.command, str(desk.plan), "--yes", "--wait", "soon").exit_code == 2


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_all_reaches_the_gates(desk: Desk, words: tuple[str, ...]) -> None:
    desk.run(apply.command, str(desk.plan), "--yes", *words)
    assert desk.everything is bool(words)
    desk.everything = None
    desk.run(resume.command, "last", "--yes", *words)
    assert desk.everything is bool(words)


def test_runs_are_listed_and_a_damaged_one_says_so(desk: Desk) -> None:
    assert json.loads(desk.run(runs.command, "--json").stdout) == {"runs": []}
    desk.run(apply.command, str(desk.plan), "--yes")
    listed = json.loads(desk.run(runs.command, "--json").stdout)["runs"]
    assert [(each["purpose"], each["outcome"], each["done"], each["steps"]) for each in listed] == [
        ("scope", "waiting", 5, 7)
    ]
    folder = desk.bench.desk.store.folders()[0]
    folder.journal.write_bytes(folder.journal.read_bytes() + b"nonsense\n")
    ended = desk.run(runs.command)
    assert ended.exit_code == 0
    assert "no record" in ended.stdout or "malformed" in ended.stdout


def test_a_run_is_found_by_its_beginning_its_end_or_last(desk: Desk) -> None:
    desk.run(apply.command, str(desk.plan), "--yes")
    run = desk.bench.desk.store.folders()[0].run
    for name in (run, run[:8], run[-4:], "last"):
        assert json.loads(desk.run(status.command, name, "--json").stdout)["run"] == run
    ended = desk.run(status.command, "nothing-like-it")
    assert getattr(ended.exception, "code", None) == "not-found"


def test_names_cannot_move_the_cursor(desk: Desk) -> None:
    desk.somebody = True
    subject = app(1)
    from msgspec.structs import replace

    bench = Bench(desk.bench.desk.store.state, plan_of(replace(subject, display_name="Evil\u202e\nname")))
    desk.bench = bench
    desk.plan.write_bytes(dump_plan(bench.file.plan))
    ended = desk.run(apply.command, str(desk.plan), said="y\n")
    assert "\u202e" not in ended.output
    assert "Evil\\u202e\\nname" in ended.output


def _written_by_hand(file: PlanFile, change: Callable[[Step], Step], step: str) -> PlanFile:
    steps = tuple(change(each) if each.id == step else each for each in file.plan.steps)
    plan = replace(file.plan, steps=steps)
    return PlanFile("exoscope/plan@1", plan_hash(plan), plan)


BY_HAND: dict[str, tuple[str, Callable[[Step], Step]]] = {
    "another filter than the state says": (
        "step-4",
        lambda step: replace(
            step,
            values={**step.values, "filter": "Department -ne 'x'"},
            script=render_guarded("rbac/new_management_scope", {**step.values, "filter": "Department -ne 'x'"}).text,
        ),
    ),
    "another template": (
        "step-3",
        lambda step: replace(
            step,
            template="rbac/remove_service_principal",
            values={"object_id": "x"},
            script=render_guarded("rbac/remove_service_principal", {"object_id": "x"}).text,
        ),
    ),
    "another request": (
        "step-6",
        lambda step: replace(step, request=Request("DELETE", "/applications/everything", None)),
    ),
    "a path that climbs": (
        "step-6",
        lambda step: replace(step, request=replace(step.request, path=f"{step.request.path}/..")),  # type: ignore[type-var,union-attr] # a Graph step
    ),
    "another app's consent": (
        "step-6",
        lambda step: replace(
            step, target=replace(step.target, key={**step.target.key, "app_id": "20000000-0000-0000-0000-000000000009"})
        ),
    ),
    "a title that says otherwise": ("step-6", lambda step: replace(step, title="Look around")),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_plan_hashed_by_hand_whose_calls_are_not_its_transitions_is_refused(desk: Desk, name: str) -> None:
    step, change = BY_HAND[name]
    desk.plan.write_bytes(dump_plan(_written_by_hand(desk.bench.file, change, step).plan))
    ended = desk.run(apply.command, str(desk.plan), "--yes", "--json")
    assert isinstance(ended.exception, Refused), ended.stdout
    assert ended.exception.code == "plan-edited"
    assert (desk.bench.opened, desk.bench.tenancy.calls) == (0, [])


@pytest.mark.parametrize("began_on_loopback", [True, False])
def test_a_run_on_a_twin_and_one_on_the_tenant_are_never_taken_for_each_other(
    desk: Desk, began_on_loopback: bool
) -> None:
    waits: Any = dict.fromkeys(desk.bench.desk.waits, 1.0) if began_on_loopback else desk.bench.desk.waits
    real = desk.bench.desk
    desk.bench.desk = replace(real, waits=waits, lengthen=not began_on_loopback)
    assert desk.run(apply.command, str(desk.plan), "--yes").exit_code == 3
    desk.bench.desk = replace(real, lengthen=began_on_loopback)
    desk.bench.clock.at += timedelta(days=9)
    opened = desk.bench.opened
    for command in (resume.command, undo.command):
        ended = desk.run(command, "last", "--yes", "--json")
        assert isinstance(ended.exception, Refused), ended.stdout
        assert ended.exception.code == "other-endpoints"
    assert desk.bench.opened == opened


def test_a_plan_whose_step_names_another_group_than_the_one_it_is_about_stops_before_the_call(desk: Desk) -> None:
    values = {"group": "66666666-0000-0000-0000-000000000000"}

    def other(step: Step) -> Step:
        given = {**step.values, **values}
        return replace(step, values=given, script=render_guarded("groups/set_group", given).text)

    desk.plan.write_bytes(dump_plan(_written_by_hand(desk.bench.file, other, "step-2").plan))
    ended = desk.run(apply.command, str(desk.plan), "--yes", "--json")
    answer = json.loads(ended.stdout)
    assert (ended.exit_code, answer["apps"][0]["code"]) == (5, "moved"), answer
    assert [step for step, _ in desk.bench.tenancy.calls] == ["step-1"]


def test_a_plan_hashed_again_without_its_gates_is_refused(desk: Desk) -> None:
    bench = desk.bench
    plan = replace(bench.file.plan, stages=tuple(replace(each, gates=()) for each in bench.file.plan.stages))
    desk.plan.write_bytes(dump_plan(plan))
    ended = desk.run(apply.command, str(desk.plan), "--yes", "--json")
    assert isinstance(ended.exception, Refused)
    assert ended.exception.code == "plan-edited"
    assert "followed by no gate" in ended.exception.message
    assert bench.tenancy.calls == []
