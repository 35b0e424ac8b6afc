"""Fuzzing, for long: ``python -m tests.fuzz``. Hostile values and mutated scripts, made from a seed that can be repeated.

``values`` makes the values and says which no script can carry; ``written`` sends them through render → guard → PowerShell's own
parser; ``roads`` through every road to Exchange and back; ``scripts`` mutates whole scripts and compares their readers.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

if __name__ != "fuzz":  # run as a module from the root of the repository; under pytest this folder is on the path
    sys.path.insert(0, str(TESTS))
