"""`exoscope scope`, as an admin types it, against the twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exoscope.twin.server import Twin
from running_roads import tiny
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, serve

__all__ = ["serve"]

JOB = ("--app", OMNISCOPE, "--permission", "Mail.Read", "--group", OMNISCOPE_GROUP)
FOLDER = "scope-omniscope-email-connector-app-only"


class Desk:
    """A folder in which an admin types."""

    def __init__(self, here: Path, twin: Twin) -> None:
        self.here, self.twin = here, twin
        self.talk = ""

    def type(self, *words: str) -> tuple[int, Any]:
        """Exit code, and the answer."""
        names = {"EXOSCOPE_PROFILE": self.twin.ready["profile"], "EXOSCOPE_STATE": str(self.here / "state")}
        done = subprocess.run(
            [sys.executable, "-m", "exoscope", *words, "--json"],
            cwd=self.here,
            env={**os.environ, **names},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.talk = done.stderr
        lines = done.stdout.strip().splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else None


@pytest.fixture
def desk(tmp_path: Path, serve: Callable[..., Twin]) -> Desk:
    return Desk(tmp_path, serve(tiny(), propagation=2.0, token_lifetime=4.0))


def roles(desk: Desk) -> tuple[Any, ...]:
    found = desk.twin.tenant.snapshot().role_assignments
    assert isinstance(found, tuple)
    return found


def test_the_main_job_in_one_command_and_one_folder(desk: Desk) -> None:
    code, answer = desk.type("scope", *JOB, "--never", "ceo@contoso.com", "--yes")
    assert (code, answer["outcome"], answer["waiting_for"], answer["verdict"]) == (3, "waiting", "time", None), (
        desk.talk
    )
    assert answer["ready_at"]
    assert answer["folder"] == FOLDER
    assert answer["next"] == f"exoscope scope --continue --folder {FOLDER}"
    (desk.here / FOLDER / "run.json").unlink()  # as a process that was killed leaves it
    code, answer = desk.type("scope", "--continue", "--yes", "--wait", "60s")
    assert (code, answer["outcome"], answer["verdict"], answer["next"]) == (0, "done", "proven", None), desk.talk
    names = {"scope.yaml", "tenant.json", "plan.json", "run.json", "journal.jsonl", "evidence.html", "evidence.json"}
    assert {path.name for path in (desk.here / FOLDER).iterdir()} == names
    assert answer["evidence"] == str(Path(FOLDER) / "evidence.html")
    assert "ceo@contoso.com" in (desk.here / FOLDER / "scope.yaml").read_text("utf-8")
    code, runs = desk.type("runs")
    assert [each["run"] for each in runs["runs"]] == [answer["run"]], "one run, whichever process went on with it"
    # Each file is what the single command makes.
    assert desk.type("show", f"{FOLDER}/plan.json")[1]["hash"] == answer["hash"]
    code, again = desk.type("plan", f"{FOLDER}/scope.yaml", "--snapshot", f"{FOLDER}/tenant.json", "-o", "again.json")
    assert (code, again["hash"]) == (0, answer["hash"])
    # Asked again it proves again, and changes nothing.
    code, answer = desk.type("scope", "--continue", "--yes")
    assert (code, answer["verdict"]) == (0, "proven"), desk.talk
    code, error = desk.type("scope", *JOB, "--yes")
    assert (code, error["error"]["changed"]) == (2, False)
    assert f"--continue --folder {FOLDER}" in error["error"]["next"]


def test_what_is_asked_for_wrongly_changes_nothing_and_can_be_asked_for_again(desk: Desk) -> None:
    (desk.here / "list.txt").write_text("ada@contoso.com  # the first\n\nbob@contoso.com, eve@contoso.com\n", "utf-8")
    mailbox = ("--app", OMNISCOPE, "--permission", "Mail.Read", "--mailboxes", "list.txt", "--yes")
    code, error = desk.type("scope", *mailbox)
    assert (code, error["error"]["message"]) == (
        2,
        "list.txt line 3: one mailbox a line, not 'bob@contoso.com, eve@contoso.com'",
    )
    assert desk.type("scope", *JOB)[0] == 2, "nobody to ask"
    assert desk.type("scope", *JOB, "--filter", "Name -eq 'x'", "--yes")[0] == 2
    assert desk.type("scope", "--continue", "--yes")[0] == 2
    assert not (desk.here / FOLDER).exists()
    code, error = desk.type("scope", "--app", "Nobody", *JOB[2:], "--folder", "mine", "--yes")
    assert code == 2
    assert error["error"]["message"].startswith("no app of the snapshot is 'Nobody'"), "no line of a file nobody wrote"
    assert desk.type("scope", *JOB, "--folder", "mine", "--yes")[0] == 3, (
        "a folder in which nothing was planned is taken again"
    )
    assert len(roles(desk)) == 1


def test_a_refused_plan_leaves_its_reading_for_whoever_asks_why(desk: Desk) -> None:
    code, answer = desk.type(
        "scope", "--app", OMNISCOPE, "--permission", "IMAP.AccessAsApp", "--group", OMNISCOPE_GROUP, "--yes"
    )
    assert code == 4, desk.talk
    assert answer["refusals"]
    assert sorted(path.name for path in (desk.here / FOLDER).iterdir()) == ["scope.yaml", "tenant.json"]
    assert not roles(desk)
