"""When a plan's gates can open, in seconds from apply's start. A plan names waits by kind; the seconds come from a profile."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from exoscope.model import Gate, Noun, Plan, WaitKind

WAITS: Mapping[WaitKind, float] = MappingProxyType(
    {"cache": 7200.0, "token": 5400.0, "managed_identity": 86400.0, "long_token": 100800.0}
)
"""Seconds by kind where no profile says otherwise (facts: cache up to 2 h; tokens 60-90 min, 24-28 h with CAE)."""


class StageTime(Noun, frozen=True):
    """One stage: ``ready_after`` seconds of its longest wait, ``earliest`` seconds after apply's start for its last gate."""

    stage: str
    ready_after: float
    earliest: float


def gate_seconds(gate: Gate, waits: Mapping[WaitKind, float] = WAITS, *, lengthen: bool = True) -> float:
    """How long a gate waits: its kinds run side by side. ``lengthen``: a longer token-lifetime policy counts (not on loopback)."""
    seconds = [float(waits[kind]) for kind in gate.waits]
    if lengthen and gate.token_minutes is not None and any(kind != "cache" for kind in gate.waits):
        seconds.append(60.0 * gate.token_minutes)
    return max(seconds, default=0.0)


def schedule(plan: Plan, waits: Mapping[WaitKind, float] = WAITS, *, lengthen: bool = True) -> tuple[StageTime, ...]:
    """The times of every stage, in order. Apps go on independently: a stage's ``earliest`` is that of its slowest app."""
    elapsed: dict[str, float] = {}
    times = []
    for stage in plan.stages:
        longest = earliest = 0.0
        for gate in stage.gates:
            own = gate_seconds(gate, waits, lengthen=lengthen)
            app = gate.app_id.casefold()
            elapsed[app] = elapsed.get(app, 0.0) + own
            longest, earliest = max(longest, own), max(earliest, elapsed[app])
        if not stage.gates:
            earliest = max(elapsed.values(), default=0.0)
        times.append(StageTime(stage.id, longest, earliest))
    return tuple(times)
