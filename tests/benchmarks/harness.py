"""What the benchmarks share: sides measured in turn, one row of the table for each comparison, a twin in its own process."""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from exoscope import snapshot
from exoscope.model import Snapshot

ROOT = Path(__file__).resolve().parents[2]


class Scale(Enum):
    """How much is measured: for the table, for a look, or only to see that it runs."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"


class Cost(NamedTuple):
    """What one run took: seconds on the wall, and seconds of this process's own processor time."""

    wall: float
    own: float


class Measured(NamedTuple):
    """Every run of every side; the runs of one round stand at one place, so that ratios are taken pair by pair."""

    costs: dict[str, list[Cost]]

    def median(self, side: str, kind: Literal["wall", "own"] = "wall") -> float:
        """The median of a side's runs, in seconds."""
        return float(statistics.median(getattr(cost, kind) for cost in self.costs[side]))

    def ratios(self, above: str, below: str, kind: Literal["wall", "own"] = "wall") -> list[float]:
        """One side's time over another's, round by round."""
        pairs = zip(self.costs[above], self.costs[below], strict=True)
        return [getattr(one, kind) / max(getattr(other, kind), 1e-9) for one, other in pairs]


def in_turn(rounds: int, sides: Mapping[str, Callable[[], object]], *, warm: bool = True) -> Measured:
    """Run the sides A B A B …: what else the machine does then weighs on all of them alike. ``warm``: once before, unmeasured."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(rounds + warm):
        for name, work in sides.items():
            gc.collect()
            own, wall = time.process_time(), time.perf_counter()
            work()
            cost = Cost(time.perf_counter() - wall, time.process_time() - own)
            if number or not warm:
                costs[name].append(cost)
    return Measured(costs)


class Row(NamedTuple):
    """One line of the table. ``ratios`` holds one for each pair; ``met`` is None where there is nothing to meet."""

    what: str
    ours: str
    ordinary: str
    ratios: list[float]
    aim: str
    met: bool | None

    @property
    def ratio(self) -> float:
        """The median of the pairs."""
        return statistics.median(self.ratios)


def at_least(what: str, ours: str, ordinary: str, ratios: list[float], aim: float) -> Row:
    """A row that is met where the median of the ratios reaches ``aim``."""
    return Row(what, ours, ordinary, ratios, f"≥ {aim:g}×", statistics.median(ratios) >= aim)


def at_most(what: str, ours: str, ordinary: str, ratios: list[float], aim: float) -> Row:
    """A row that is met where the median of the ratios stays within ``aim``."""
    return Row(what, ours, ordinary, ratios, f"≤ {aim:g}×", statistics.median(ratios) <= aim)


def beside(what: str, ours: str, ordinary: str, ratios: list[float]) -> Row:
    """A row that is told for comparison only."""
    return Row(what, ours, ordinary, ratios, "—", None)


def seconds(value: float) -> str:
    """Seconds, for people."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms" if value >= 0.001 else f"{value * 1e6:.0f} µs"


def child(module: str, *words: str, limit: float = 600.0) -> dict[str, Any]:
    """Run a module of this folder in a process of its own (its memory is its own then), for ``limit`` seconds at most; its one
    line of JSON."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=limit)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def twin(tenant: Snapshot, *, latency: float = 0.0, pwsh: str = "") -> Iterator[dict[str, Any]]:
    """A twin of the tenant in a process of its own: where it is (as ``exoscope sandbox serve`` says it).

    ``latency``: seconds that each Graph call on a mailbox takes there; ``pwsh``: the PowerShell behind its gateway.
    """
    with tempfile.TemporaryDirectory(prefix="exoscope-bench-") as folder:
        file = Path(folder) / "tenant.json"
        snapshot.save(tenant, file)
        command = [sys.executable, "-m", "tests.benchmarks.server", str(file), str(latency), pwsh]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield json.loads(process.stdout.readline())
            finally:
                process.stdin.close()  # which is how it is told to end
                process.wait(timeout=20)
