"""The twin in a process of its own, until its standard input ends: ``python -m tests.benchmarks.server SNAPSHOT LATENCY PWSH``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from exoscope import snapshot
from exoscope.twin import serve

if __name__ == "__main__":
    _, file, latency, pwsh = sys.argv
    with serve(snapshot.load(Path(file)), propagation=0.1, token_lifetime=6 * 3600, pwsh=pwsh or None) as twin:
        twin.graph_faults.latency = float(latency)
        print(json.dumps(twin.ready), flush=True)
        sys.stdin.read()
