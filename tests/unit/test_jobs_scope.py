"""A scoping job's folder: what it takes, what it refuses, and which job is meant where nobody says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.jobs import Asked, Place, ScopeJob, intent_text, pending
from exoscope.outcome import BadInput
from exoscope.planning import dump_plan
from exoscope.profile import load_profile
from exoscope.running.tenancy import Store, desk_for
from running_fakes import app, plan_of

PROFILE = b"""
tenant = "contoso.onmicrosoft.com"
organization = "contoso.onmicrosoft.com"
[operator]
client_id = "11111111-1111-1111-1111-111111111111"
secret = "env:X"
"""


def job_in(folder: Path) -> ScopeJob:
    path = folder.parent / "exoscope.toml"
    path.write_bytes(PROFILE)
    profile = load_profile(path, {})
    clock = SystemClock()
    desk = desk_for(profile, Store(folder.parent / "state"), clock=clock, progress=lambda event: None)
    return ScopeJob(Place(folder), profile, desk, clock, say=lambda text: None, progress=lambda text: None)


@pytest.mark.parametrize(
    ("asked", "scope"),
    [
        (Asked("A", ("Mail.Read",), group="g@contoso.com"), {"group": "g@contoso.com"}),
        (Asked("A", ("Mail.Read",), filter="Department -eq 'O''Neil'"), {"filter": "Department -eq 'O''Neil'"}),
        (Asked("A", ("Mail.Read",), mailboxes=("a@contoso.com",)), {"mailboxes": ["a@contoso.com"]}),
    ],
)
def test_what_was_asked_for_is_a_scope_file(asked: Asked, scope: dict[str, object]) -> None:
    text = intent_text(asked)
    entry = yaml.safe_load(text)["apps"][0]
    assert (entry["app"], entry["permissions"], entry["mechanism"], entry["scope"]) == (
        "A",
        ["Mail.Read"],
        "rbac",
        scope,
    )
    assert loads_intent(text).apps[0].scope.kind == next(iter(scope))


def test_an_error_of_the_options_names_no_line_of_a_file_nobody_wrote() -> None:
    with pytest.raises(BadInput) as error:
        intent_text(Asked("A", ("",), group="g@contoso.com"))
    assert "options" not in error.value.message
    assert "Correct the options" in error.value.next


def test_the_job_that_is_not_proven_yet_is_meant(tmp_path: Path) -> None:
    for name in ("scope-a", "scope-b", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text("{}", "utf-8")
    assert [each.folder.name for each in pending(tmp_path)] == ["scope-a", "scope-b"]
    (tmp_path / "scope-a" / "evidence.html").write_text("", "utf-8")
    assert [each.folder.name for each in pending(tmp_path)] == ["scope-b"]
    (tmp_path / "scope-b" / "evidence.html").write_text("", "utf-8")
    assert [each.folder.name for each in pending(tmp_path)] == ["scope-a", "scope-b"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_plan_that_others_may_have_put_there_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "scope-a"
    folder.mkdir(mode=0o700)
    plan = folder / "plan.json"
    plan.write_bytes(dump_plan(plan_of(app(1)).plan))
    plan.chmod(0o644)
    with pytest.raises(BadInput, match=r"plan\.json"):
        job_in(folder).planned()


def test_a_folder_in_use_is_not_written_over(tmp_path: Path) -> None:
    place = Place(tmp_path / "scope-a")
    place.make()
    (place / "scope.yaml").write_text("", "utf-8")
    place.make()
    (place / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(BadInput, match="not empty"):
        place.make()
