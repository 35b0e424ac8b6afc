"""Evidence on the disk: the page, and its JSON beside it."""

from __future__ import annotations

from pathlib import Path

from exoscope import system
from exoscope.checking import Verification
from exoscope.reporting.building import evidence_of
from exoscope.reporting.evidence import tally, to_html, to_json, without_addresses


def write_evidence(done: Verification, page: Path, *, counts: bool = False) -> Path:
    """Write page and JSON, owner-only, over those that were there. ``counts``: without addresses. Returns the JSON's place."""
    whole = evidence_of(done)
    tallies = {
        (app.app_id, name): tally(proof.checks) for app in whole.proof.apps for name, proof in app.permissions.items()
    }
    told = without_addresses(whole) if counts else whole
    beside = page.with_suffix(".json")
    system.write_private(page, to_html(told, tallies=tallies).encode("utf-8"), replace=True)
    system.write_private(beside, to_json(told), replace=True)
    return beside
