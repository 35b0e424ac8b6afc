"""The commands over a tenant in memory: what they ask, print, and end with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from exoscope.cli import apply, changing, frame, resume, runs, status, undo
from exoscope.outcome import Refused
from exoscope.planning import dump_plan
from running_fakes import Bench, app, plan_of


class Desk:
    """A plan on the disk and a desk over a tenant in memory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = Bench(folder / "state", plan_of(app(1)))
        self.plan = folder / "plan.json"
        self.plan.write_bytes(dump_plan(self.bench.file.plan))
        self.somebody = False
        monkeypatch.setattr(changing, "desk", lambda profile, state: self.bench.desk)
        monkeypatch.setattr(changing, "store", lambda profile, state: self.bench.desk.store)
        monkeypatch.setattr(frame, "interactive", lambda: self.somebody)
        monkeypatch.setattr("exoscope.clock.SystemClock", lambda: self.bench.clock)

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
    assert set(answer["apps"][0]) == {"app_id", "stage", "outcome", "code", "ready_at"}
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
