"""``python -m tests.fuzz [scripts] [values] [roads]``: hostile scripts and values, for long."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

from fuzz import exported, roads, scripts, values, written
from powershell_oracles import pwsh
from road_sessions import NEED_POWERSHELL, ROADS

EVERY_ROAD = (*ROADS, exported.ROAD)
COUNTS = {"scripts": 200_000, "values": 1_000_000, "roads": 10_000}


def main() -> int:
    """Run each part until its count is reached; exit 1 with the first problems of a part."""
    told = ", ".join(f"{count:,} {part}" for part, count in COUNTS.items()) + " (values over each)"
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument(
        "parts", nargs="*", choices=[*COUNTS, []], metavar="PART", help=f"{', '.join(COUNTS)}; else all"
    )
    options.add_argument("--seed", type=int, default=int(time.time()), help="to repeat a run")
    options.add_argument("--count", type=int, help=f"how many; else {told}")
    options.add_argument("--road", action="append", choices=EVERY_ROAD, help="which roads; else all")
    chosen = options.parse_args()
    program = pwsh()
    print(f"seed {chosen.seed}, PowerShell: {program or 'none (set EXOSCOPE_PWSH)'}", flush=True)
    failed = False
    for part in chosen.parts or COUNTS:
        count = chosen.count or COUNTS[part]
        if part == "scripts":
            failed |= _told(part, lambda: scripts.check(chosen.seed, count, program))  # noqa: B023 - called at once
        elif part == "values":
            failed |= _told(part, lambda: _found(written.check(values.stream(chosen.seed), count, program)))  # noqa: B023 - as above
        else:
            for number, road in enumerate(chosen.road or EVERY_ROAD):
                if program is None and road in (*NEED_POWERSHELL, exported.ROAD):
                    print(f"{road}: left out, there is no PowerShell", flush=True)
                    continue
                stream = values.stream(chosen.seed + number)
                failed |= _told(road, lambda: _found(_over(road, stream, count, program)))  # noqa: B023 - as above
    return int(failed)


def _over(road: str, stream: Iterator[str], count: int, program: str | None) -> written.Found:
    if road == exported.ROAD:
        assert program
        return exported.check(stream, count, program)
    return roads.check(road, stream, count, program)


def _found(found: written.Found) -> tuple[list[str], str]:
    return found.problems, str(found)


def _told(what: str, work: Callable[[], tuple[list[str], str]]) -> bool:
    began = time.monotonic()
    problems, seen = work()
    print(f"{what}: {seen}; {len(problems)} problems, {time.monotonic() - began:,.0f} s", flush=True)
    for problem in problems[:5]:
        print(f"  {problem[:2000]}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
