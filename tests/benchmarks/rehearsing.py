"""A whole tenant's migration rehearsed: applied to its twin over PSRP, every moment looked at, taken back."""

from __future__ import annotations

import json
import sys
import time

from exoscope.clock import SystemClock
from exoscope.model import Accepted, Migration, PlanFile
from exoscope.planning import plan_hash
from exoscope.planning.migration import plan_migration
from exoscope.rehearsing.rehearse import DELAYS, rehearse
from exoscope.rehearsing.watching import Delays

from .harness import Row, Scale, child, seconds
from .under_policies import denied, under_policies

# Policies, apps, mailboxes, runs (each in a process of its own).
SIZES = {Scale.FULL: (300, 250, 50_000, 1), Scale.QUICK: (12, 10, 6_000, 1), Scale.TINY: (2, 1, 12, 1)}
SECONDS = 300
LIMIT = 3_600.0  # seconds after which a run is given up
QUICK = Delays(propagation=0.2, lifetime=0.6)


def run(scale: Scale) -> list[Row]:
    """Counted: all that ``exoscope rehearse`` does, its waits among it. Planning is not counted."""
    policies, apps, mailboxes, runs = SIZES[scale]
    delays = QUICK if scale is Scale.TINY else DELAYS
    words = (policies, apps, mailboxes, delays.propagation, delays.lifetime)
    found = [child("rehearsing", *(str(word) for word in words), limit=LIMIT) for _ in range(runs)]
    found.sort(key=lambda each: float(each["seconds"]))
    middle = found[len(found) // 2]
    return [
        Row(
            f"rehearse {middle['steps']:,} steps for {apps} apps under {policies} policies over {mailboxes:,} mailboxes, there and "
            f"back, {middle['moments']:,} moments",
            f"{seconds(middle['seconds'])} ({seconds(middle['processor'])} of processor time, the twin's included)",
            f"limit {SECONDS} s",
            [float(each["seconds"]) / SECONDS for each in found],
            f"≤ {SECONDS} s",
            middle["seconds"] <= SECONDS,
        )
    ]


def measure(policies: int, apps: int, mailboxes: int, delays: Delays) -> dict[str, float]:
    """One rehearsal, in the process it is called in. What DenyAccess policies rest on is accepted, so every app is planned."""
    tenant = under_policies(policies, apps, mailboxes)
    accepted = tuple(Accepted("deny-fails-open", app_id) for app_id in sorted(denied(tenant)))
    plan = plan_migration(tenant, (), Migration(accept=accepted))
    assert not plan.refusals, plan.refusals[:3]
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    started, processor = time.perf_counter(), time.process_time()
    answer = rehearse(file, tenant, SystemClock(), lambda text: None, delays=delays)
    taken, processor = time.perf_counter() - started, time.process_time() - processor
    assert (answer.verdict, answer.undone, answer.steps) == ("proven", True, len(plan.steps)), answer.why[:3]
    return {"seconds": taken, "processor": processor, "steps": answer.steps, "moments": answer.moments}


if __name__ == "__main__":
    _, policies, apps, mailboxes, propagation, lifetime = sys.argv
    delays = Delays(float(propagation), float(lifetime))
    print(json.dumps(measure(int(policies), int(apps), int(mailboxes), delays)))
