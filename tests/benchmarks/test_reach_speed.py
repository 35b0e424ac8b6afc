"""Reach for 1,000 apps over 200,000 mailboxes: at most 5 seconds of processor time and 1 GiB. ``make long``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
MEASURE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from benchmarks.test_reach_speed import measure
print(json.dumps(measure(int(sys.argv[2]), int(sys.argv[3]))))
"""


def measure(apps: int, mailboxes: int) -> dict[str, float]:
    """Processor seconds and MiB. The tenant comes from its file, so that the measure holds what an admin has."""
    import resource  # not on Windows, where only the rest of this file is of use

    from benchmarks.tenants import tenant
    from exoscope import snapshot
    from exoscope.reach import Reach

    data = snapshot.dumps(tenant(apps, mailboxes))
    started = time.process_time()
    loaded = snapshot.loads(data)
    load = time.process_time() - started
    del data
    started = time.process_time()
    reach = Reach(loaded)
    found = sum(len(reach.sets(app, "Mail.Read")[0]) for app in loaded.apps)  # type: ignore[union-attr] # it is read
    assert found
    return {
        "load_seconds": load,
        "reach_seconds": time.process_time() - started,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mailboxes": len(reach.mailboxes),
    }


def measured(apps: int, mailboxes: int) -> dict[str, float]:
    """The same in a process of its own, so that its peak of memory is its own."""
    words = [sys.executable, "-c", MEASURE, str(TESTS), str(apps), str(mailboxes)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_thousand_apps_over_two_hundred_thousand_mailboxes() -> None:
    found = measured(1_000, 200_000)
    assert found["reach_seconds"] <= 5
    assert found["peak_mib"] <= 1024


def test_a_small_one() -> None:
    """The same at a hundredth, so that the measure itself is tested every time."""
    found = measured(20, 2_000)
    assert found["reach_seconds"] <= 2
    assert found["mailboxes"] > 1_500
