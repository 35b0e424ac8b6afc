"""Each road at three seeded boundaries between two journal records: the process killed, or its session lost.

Every boundary of a longer plan on the gateway's road stands in ``test_running_twin``, every boundary on the others in make long.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from powershell_oracles import pwsh
from running_roads import REAL, bench

KILLED = {"pwsh": 1, "admin-api": 2}
LOST = {"gateway": 3, "pwsh": 4, "gateway-powershell": 5, "real-pwsh": 6}
"""Roads, and the seeds of their boundaries."""

RECORDS = 7
"""Of a run up to its gate: its start, and two for each of three steps."""

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX, and the stand-in for pwsh a script"),
    pytest.mark.timeout(300),
]
real = (
    pytest.mark.pwsh,
    pytest.mark.skipif(pwsh() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
)


def seeded(roads: dict[str, int]) -> list[Any]:
    return [
        pytest.param(road, seed, marks=real if road in REAL else (), id=f"{road}'s road")
        for road, seed in roads.items()
    ]


@pytest.mark.parametrize(("road", "seed"), seeded(KILLED))
def test_killed_at_three_boundaries(tmp_path: Path, road: str, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    with bench(road, tmp_path, processes=True) as here:
        assert here.killed(*((rng.choice(("before", "after")), rng.randint(2, 4)) for _ in range(3))), here.output
        here.assert_as_planned()


@pytest.mark.parametrize(("road", "seed"), seeded(LOST))
def test_the_session_is_lost_at_three_boundaries(tmp_path: Path, road: str, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    with bench(road, tmp_path) as here:
        answer = here.lost_at(*rng.sample(range(RECORDS), 3))
        assert (answer.outcome, answer.done) == ("waiting", answer.steps), answer.why
        here.assert_as_planned()
