"""``python -m tests.benchmarks [NAME…] [--quick]``: every benchmark against the ordinary way, in one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from . import migrate, pool, probing, reach, recipients, rehearsing, roads, starting
from .harness import Row, Scale

BENCHMARKS: dict[str, Callable[[Scale], list[Row]]] = {
    "recipients": recipients.run,
    "reach": reach.run,
    "migrate": migrate.run,
    "rehearse": rehearsing.run,
    "probing": probing.run,
    "pool": pool.run,
    "starting": starting.run,
}
ROADS = "roads"  # a table of its own: what is compared there are the roads themselves
NAMES = (*BENCHMARKS, ROADS)
HEADS = ("what", "ours", "the ordinary way", "ratio (all pairs)", "aim", "met")


def main() -> int:
    """Print the table. A missed aim is told, and is no failure: speed is measured here, never tested."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(NAMES)}; else all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    scale = Scale.QUICK if options.quick else Scale.FULL
    rows: list[Row] = []
    lines: list[roads.Line] = []
    for name in options.names or NAMES:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        if name == ROADS:
            lines += roads.run(scale, roads.program_here())
        else:
            rows += BENCHMARKS[name](scale)
    if rows:
        print(table(rows))
    if lines:
        print("\n" * bool(rows) + grid(roads.HEADS, [line.cells for line in lines]))
        print(roads.left_out(roads.program_here()) or "", end="\n" * (roads.program_here() is None))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    python = f"Python {platform.python_version()}, {platform.system()}"
    print(f"\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {python}, {os.cpu_count()} cores{load}")
    return 0


def table(rows: list[Row]) -> str:
    """The rows as a table."""
    return grid(HEADS, [_cells(row) for row in rows])


def grid(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, which is also how it reads on a terminal."""
    lines = [heads, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    told = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([told[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *told[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    middle = _ratio(row.ratio)
    spread = f" ({_ratio(min(row.ratios))}–{_ratio(max(row.ratios))})" if len(row.ratios) > 1 else ""
    met = "—" if row.met is None else "yes" if row.met else "no"
    return row.what, row.ours, row.ordinary, f"{middle}×{spread}", row.aim, met


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
