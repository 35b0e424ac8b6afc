"""Results for people: the evidence page."""

from __future__ import annotations

from exoscope.reporting.evidence import Claim, Evidence, Repeat, tally, to_html, to_json, without_addresses

__all__ = ["Claim", "Evidence", "Repeat", "tally", "to_html", "to_json", "without_addresses"]
