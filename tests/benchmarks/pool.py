"""One operation after another: our session against one pool of bare pypsrp, and against a pool for every cmdlet."""

from __future__ import annotations

import os
from pathlib import Path

from exoscope.clock import SystemClock
from exoscope.powershell import render_guarded
from exoscope.profile import load_profile
from exoscope.reading import Connection

from .harness import Row, Scale, at_most, beside, in_turn, seconds, twin
from .plain import PlainPool
from .tenants import tenant

# Operations a run, those of the slow side, rounds (many short ones: a neighbour on the machine weighs on few).
SIZES = {Scale.FULL: (25, 1, 25), Scale.QUICK: (30, 2, 3), Scale.TINY: (2, 1, 1)}


def run(scale: Scale) -> list[Row]:
    """The operation reads one management scope: an answer as small as that of a write. A pool for every cmdlet signs in anew
    with the same token (its own fetching is not counted)."""
    operations, pools, rounds = SIZES[scale]
    script = render_guarded("inventory/management_scope", {"identity": "Scope 1"}).text
    with twin(tenant(5, 200)) as ready:
        profile = load_profile(Path(ready["profile"]), os.environ)
        with Connection(profile, SystemClock()) as connection:
            session = connection.exchange
            token = connection.tokens.exchange().secret
            plain = PlainPool(profile, token)

            def ours() -> None:
                for _ in range(operations):
                    assert len(session.run(script).rows) == 1

            def one_pool() -> None:
                for _ in range(operations):
                    assert len(plain.run(script)) == 1

            def left_open() -> None:
                for _ in range(operations):
                    assert len(plain.run(script, release=False)) == 1

            def pool_each() -> None:
                for _ in range(pools):
                    alone = PlainPool(profile, token)
                    assert len(alone.run(script)) == 1
                    alone.close()

            sides = {"ours": ours, "one pool": one_pool, "left open": left_open, "a pool each": pool_each}
            measured = in_turn(rounds, sides, warm=scale is not Scale.TINY)
            plain.close()
    each = measured.median("ours") / operations
    slow = [ratio * operations / pools for ratio in measured.ratios("a pool each", "ours")]
    return [
        at_most(
            f"{operations} operations over one session, against bare pypsrp with one pool",
            f"{seconds(each)} each",
            f"{seconds(measured.median('one pool') / operations)} each",
            measured.ratios("ours", "one pool"),
            1.2,
        ),
        beside(
            "… the client's processor time alone",
            f"{seconds(measured.median('ours', 'own') / operations)} each",
            f"{seconds(measured.median('one pool', 'own') / operations)} each",
            measured.ratios("ours", "one pool", "own"),
        ),
        beside(
            "… against one that leaves its pipelines open",
            f"{seconds(each)} each",
            f"{seconds(measured.median('left open') / operations)} each",
            measured.ratios("ours", "left open"),
        ),
        beside(
            "… against a pool for every cmdlet (times as fast)",
            f"{seconds(each)} each",
            f"{seconds(measured.median('a pool each') / pools)} each",
            slow,
        ),
    ]
