"""Checking: a plan or an intent proven over the tenant as it is now, or as scripts saw it."""

from __future__ import annotations

from exoscope.checking.recorded import verify_recorded
from exoscope.checking.stages import StageAnswer, verify_stage, verify_stage_recorded
from exoscope.checking.verify import Subject, Verification, verify

__all__ = [
    "StageAnswer",
    "Subject",
    "Verification",
    "verify",
    "verify_recorded",
    "verify_stage",
    "verify_stage_recorded",
]
