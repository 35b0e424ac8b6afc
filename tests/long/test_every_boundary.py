"""Outside CI (`make long`): a run killed once at each single journal boundary, scoping, onboarding and undoing."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from end_to_end.test_running_twin import Work, assert_as_planned, planned, small
from exoscope.planning.states import agrees, shown
from exoscope.twin.server import Twin
from twin_fixtures import serve

__all__ = ["serve"]

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX"),
]
RECORDS = range(1, 25)
"""More than any of these runs writes: a number past the end is a run that is not killed, and must end well too."""


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("number", RECORDS)
@pytest.mark.parametrize(("mechanism", "consented"), [("rbac", True), ("access-policy", False)], ids=["rbac", "policy"])
def test_apply(
    tmp_path: Path, serve: Callable[..., Twin], mechanism: str, consented: bool, number: int, how: str
) -> None:
    start = small(consented=consented)
    work = Work(tmp_path, serve(start, token_lifetime=60.0), planned(start, mechanism))
    code, answer = work.apply("--wait", "60s", kill=(how, number))
    if code == -signal.SIGKILL:
        began = (work.folder / "state" / "runs").exists() and work.run("runs", "--json")[1]["runs"]
        code, answer = work.resume("--wait", "60s") if began else work.apply("--wait", "60s")
    assert (code, answer["outcome"]) == (0, "done"), work.output
    assert_as_planned(work, start)


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("number", RECORDS)
def test_undo(tmp_path: Path, serve: Callable[..., Twin], number: int, how: str) -> None:
    start = small(consented=True)
    # The run waits for the app's tokens, not for the operator's, which must outlive a slow process.
    twin = serve(start, token_lifetime=8.0, operator_lifetime=600.0)
    work = Work(tmp_path, twin, planned(start))
    code, applied = work.apply("--wait", "60s")
    assert code == 0, work.output
    words = ("undo", applied["run"], "--yes", "--json", "--wait", "60s")
    code, answer = work.run(*words, kill=(how, number))
    if code == -signal.SIGKILL:
        begun = len(work.run("runs", "--json")[1]["runs"]) == 2
        code, answer = work.resume("--wait", "60s") if begun else work.run(*words)
    assert (code, answer["outcome"]) == (0, "done"), work.output
    now = twin.tenant.snapshot()
    for step in work.file.plan.steps:
        assert agrees(step.target.kind, shown(now, step.target), shown(start, step.target)), step.title
