"""Outside CI (`make long`): every journal boundary on every road, the process killed there, or its session lost."""

from __future__ import annotations

import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from powershell_oracles import pwsh
from running_roads import CACHE, OWN, REAL, TOKEN, bench

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX, and the stand-in for pwsh a script"),
    pytest.mark.timeout(1200),
]
real = (
    pytest.mark.pwsh,
    pytest.mark.skipif(pwsh() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
)
ROADS: list[Any] = [
    # an id that is "pwsh" and nothing else would count as a test with a real PowerShell
    pytest.param(road, marks=real if road in REAL else (), id=f"{road}'s road")
    for road in (*OWN, *REAL)
]
RECORDS = range(11)
"""Of an undisturbed run, but for its last: behind that one nothing is left to be lost."""


@pytest.mark.parametrize("road", ROADS)
def test_killed_at_every_boundary(tmp_path: Path, road: str) -> None:
    # Each process dies at its 2nd to 4th record, in turns before and after it is written.
    turns = islice(cycle((how, number) for number in (2, 3, 4) for how in ("after", "before")), 40)
    with bench(road, tmp_path, processes=True) as here:
        assert not here.killed(*turns), "it came to no end"
        here.assert_as_planned()


@pytest.mark.parametrize("number", RECORDS)
@pytest.mark.parametrize("road", [each for each in ROADS if each.values != ("admin-api",)])
def test_the_session_is_lost_at_each_boundary(tmp_path: Path, road: str, number: int) -> None:
    with bench(road, tmp_path, token=24 * TOKEN) as here:
        answer = here.lost_at(number, wait=2 * CACHE)
        assert (answer.outcome, answer.done) == ("done", answer.steps), answer.why
        here.assert_as_planned()
