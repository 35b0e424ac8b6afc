"""Benchmarks: ``python -m tests.benchmarks``. Each of our ways beside the ordinary one, in the same run."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ != "benchmarks":  # run as a module from the root of the repository; under pytest tests/ is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
