"""Every recipient of a tenant: our session's JSON batches, parsed to nouns, against plain pypsrp objects."""

from __future__ import annotations

import os
from pathlib import Path

from exoscope.clock import SystemClock
from exoscope.exchange.recipients import read_recipients
from exoscope.powershell import render_guarded
from exoscope.profile import load_profile
from exoscope.reading import Connection

from .harness import Row, Scale, at_least, in_turn, seconds, twin
from .plain import PlainPool
from .tenants import tenant

SIZES = {Scale.FULL: (10_000, 5), Scale.QUICK: (2_000, 3), Scale.TINY: (60, 1)}
ATTRIBUTES = ("Department", "CustomAttribute1")


def run(scale: Scale) -> list[Row]:
    """Both sides read the same rows from the same twin; ours goes on to typed, checked nouns, the other stops at objects."""
    mailboxes, rounds = SIZES[scale]
    script = render_guarded("inventory/recipients", {"properties": list(ATTRIBUTES)}).text
    with twin(tenant(5, mailboxes)) as ready:
        profile = load_profile(Path(ready["profile"]), os.environ)
        with Connection(profile, SystemClock()) as connection:
            session = connection.exchange
            plain = PlainPool(profile, connection.tokens.exchange().secret)
            found: dict[str, int] = {}

            def ours() -> None:
                listed = read_recipients(session, ATTRIBUTES)
                found["ours"] = len(listed.recipients) + len(listed.groups)

            def ordinary() -> None:
                found["pypsrp"] = sum(1 for each in plain.run(script) if each.extended_properties["Guid"])

            measured = in_turn(rounds, {"ours": ours, "pypsrp": ordinary}, warm=scale is not Scale.TINY)
            plain.close()
    assert found["ours"] == found["pypsrp"] >= mailboxes
    rows = found["ours"]
    return [
        at_least(
            f"read {rows:,} recipients",
            f"{rows / measured.median('ours'):,.0f} rows/s",
            f"{rows / measured.median('pypsrp'):,.0f} rows/s",
            measured.ratios("pypsrp", "ours"),
            10,
        ),
        at_least(
            "… the client's processor time alone",
            f"{seconds(measured.median('ours', 'own') / rows)}/row",
            f"{seconds(measured.median('pypsrp', 'own') / rows)}/row",
            measured.ratios("pypsrp", "ours", "own"),
            10,
        ),
    ]
