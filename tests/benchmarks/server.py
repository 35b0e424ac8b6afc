"""The twin in a process of its own, until its standard input ends: ``python -m tests.benchmarks.server SNAPSHOT LATENCY``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from exoscope import snapshot
from exoscope.twin import serve

if __name__ == "__main__":
    with serve(snapshot.load(Path(sys.argv[1])), propagation=0.1, token_lifetime=6 * 3600) as twin:
        twin.graph_faults.latency = float(sys.argv[2])
        print(json.dumps(twin.ready), flush=True)
        sys.stdin.read()
