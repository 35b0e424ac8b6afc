"""A whole tenant planned from access policies to roles, every moment of it tried over its own data."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from exoscope import snapshot
from exoscope.model import Accepted, Migration, Plan
from exoscope.planning import dump_plan
from exoscope.planning.migration import plan_migration

from .harness import Row, Scale, child, seconds
from .tenants import governed

# Policies, mailboxes, runs (each in a process of its own).
SIZES = {Scale.FULL: (300, 200_000, 3), Scale.QUICK: (60, 40_000, 2), Scale.TINY: (20, 400, 1)}
SECONDS, MIB = 10, 1024


def run(scale: Scale) -> list[Row]:
    """Counted: all from the snapshot in the memory to the bytes of plan.json. Loading the file is told apart."""
    policies, mailboxes, runs = SIZES[scale]
    with tempfile.TemporaryDirectory(prefix="exoscope-bench-") as folder:
        file = Path(folder) / "tenant.json"
        snapshot.save(governed(policies, mailboxes), file)
        found = [child("migrate", str(file)) for _ in range(runs)]
    found.sort(key=lambda each: float(each["seconds"]))
    middle = found[len(found) // 2]
    mib = max(float(each["mib"]) for each in found)
    what = (
        f"a migration of {policies:,} policies over {mailboxes:,} recipients planned "
        f"({middle['apps']:,.0f} apps, {middle['steps']:,.0f} steps, {middle['refused']:,.0f} apps refused)"
    )
    return [
        Row(
            what,
            f"{seconds(middle['seconds'])} ({seconds(middle['processor'])} of processor time)",
            f"limit {SECONDS} s",
            [float(each["seconds"]) / SECONDS for each in found],
            f"≤ {SECONDS} s",
            middle["seconds"] <= SECONDS,
        ),
        Row(
            f"… peak memory, the file loaded (in {seconds(middle['load'])})",
            f"{mib:,.0f} MiB",
            f"limit {MIB:,} MiB",
            [mib / MIB],
            "≤ 1 GiB",
            mib <= MIB,
        ),
    ]


def measure(file: Path) -> dict[str, float]:
    """One run, in the process it is called in: seconds of each part, and the peak of memory in MiB."""
    import resource  # not on Windows, where only this part is of no use

    started = time.perf_counter()
    loaded = snapshot.load(file)
    load = time.perf_counter() - started
    assert isinstance(loaded.apps, tuple)
    asked = Migration(accept=tuple(Accepted("deny-fails-open", app.app_id) for app in loaded.apps))

    started, processor = time.perf_counter(), time.process_time()
    plan = plan_migration(loaded, (), asked)
    written = dump_plan(plan)
    planned, processor = time.perf_counter() - started, time.process_time() - processor
    assert written
    _check(plan, len(loaded.apps))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    return {
        "load": load,
        "seconds": planned,
        "processor": processor,
        "apps": len(plan.apps),
        "steps": len(plan.steps),
        "refused": len(plan.refusals),
        "mib": peak,
    }


def _check(plan: Plan, apps: int) -> None:
    """Every app is planned or refused, some are, and nobody is gained or lost."""
    assert len(plan.apps) + len({each.app for each in plan.refusals}) == apps
    assert plan.apps
    for app in plan.apps:
        for name, reach in app.permissions.items():
            moved = (*reach.gained.addresses, *reach.lost.addresses)
            assert not moved and not reach.gained.all_but and not reach.lost.all_but, (app.app_id, name)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
