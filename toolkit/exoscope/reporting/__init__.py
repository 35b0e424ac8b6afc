"""Results for people: the evidence page."""

from __future__ import annotations

from exoscope.reporting.building import evidence_of
from exoscope.reporting.evidence import Claim, Evidence, Repeat, tally, to_html, to_json, without_addresses
from exoscope.reporting.files import write_evidence

__all__ = [
    "Claim",
    "Evidence",
    "Repeat",
    "evidence_of",
    "tally",
    "to_html",
    "to_json",
    "without_addresses",
    "write_evidence",
]
