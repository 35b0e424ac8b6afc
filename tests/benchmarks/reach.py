"""Who reaches what, for a thousand apps over two hundred thousand mailboxes, against asking mailbox by mailbox."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

from exoscope import snapshot
from exoscope.model import Recipient, Snapshot
from exoscope.reach import Reach
from exoscope.twin.evaluator import evaluate
from exoscope.twin.view import View

from .harness import Row, Scale, beside, child, seconds
from .tenants import GRANTED, tenant

# Apps, mailboxes, pairs that are asked one by one, runs (each in a process of its own).
SIZES = {Scale.FULL: (1_000, 200_000, 2_000, 3), Scale.QUICK: (200, 40_000, 500, 2), Scale.TINY: (20, 400, 50, 1)}
SECONDS, MIB = 5, 1024


def run(scale: Scale) -> list[Row]:
    """Counted: the indexes, and for every app and each of five permissions the set of mailboxes it reaches and of those it
    may. Loading the file is told apart; it is in the memory, as it is for an admin."""
    apps, mailboxes, pairs, runs = SIZES[scale]
    with tempfile.TemporaryDirectory(prefix="exoscope-bench-") as folder:
        file = Path(folder) / "tenant.json"
        snapshot.save(tenant(apps, mailboxes), file)
        found = [child("reach", str(file), str(pairs)) for _ in range(runs)]
    found.sort(key=lambda each: float(each["seconds"]))
    middle = found[len(found) // 2]
    mib = max(float(each["mib"]) for each in found)
    answers = apps * len(GRANTED)
    naive = [float(each["pair_seconds"]) * answers * middle["mailboxes"] for each in found]
    ratios = [time_ / float(each["seconds"]) for time_, each in zip(naive, found, strict=True)]
    what = f"reach of {apps:,} apps × {len(GRANTED)} permissions × {middle['mailboxes']:,} mailboxes"
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
        beside(
            f"… against mailbox by mailbox, from {pairs:,} answers extrapolated (times as fast)",
            seconds(middle["seconds"]),
            f"{naive[len(naive) // 2] / 3600:,.1f} h",
            ratios,
        ),
    ]


def measure(file: Path, pairs: int) -> dict[str, float]:
    """One run, in the process it is called in: seconds of each part, and the peak of memory in MiB."""
    import resource  # not on Windows, where only this part is of no use

    started = time.perf_counter()
    loaded = snapshot.load(file)
    load = time.perf_counter() - started

    started, processor = time.perf_counter(), time.process_time()
    reach = Reach(loaded)
    assert isinstance(loaded.apps, tuple)
    counts = 0
    for app in loaded.apps:
        for permission in GRANTED:
            inside, unknown = reach.sets(app, permission)
            counts += len(inside) + len(unknown)
    answered, processor = time.perf_counter() - started, time.process_time() - processor
    assert counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)

    return {
        "load": load,
        "seconds": answered,
        "processor": processor,
        "mailboxes": len(reach.mailboxes),
        "mib": peak,
        "pair_seconds": _one_by_one(loaded, reach, pairs),
    }


def _one_by_one(loaded: Snapshot, reach: Reach, pairs: int) -> float:
    """Seconds one answer takes the plain evaluator: the twin's, which shares no code with reach. Its tables are warm."""
    chance = random.Random(9)  # noqa: S311 - a choice of pairs
    view = View(loaded)
    assert isinstance(loaded.apps, tuple)
    assert isinstance(loaded.recipients, tuple)
    mailboxes = [each for each in loaded.recipients if each.recipient_type == "UserMailbox"]
    asked = [(chance.choice(loaded.apps), chance.choice(GRANTED), chance.choice(mailboxes)) for _ in range(pairs)]
    for app, permission, mailbox in asked[:20]:
        evaluate(view, app, permission, mailbox)
    started = time.perf_counter()
    answers = [evaluate(view, app, permission, mailbox) for app, permission, mailbox in asked]
    taken = (time.perf_counter() - started) / pairs
    for (app, permission, mailbox), answer in zip(asked, answers, strict=True):
        assert answer == _by_sets(reach, app.app_id, permission, mailbox), (app.app_id, permission, mailbox.guid)
    return taken


def _by_sets(reach: Reach, app_id: str, permission: str, mailbox: Recipient) -> str:
    inside, unknown = reach.sets(app_id, permission)
    address = mailbox.primary_smtp_address
    return "allowed" if address in inside else "unknown" if address in unknown else "denied"


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
