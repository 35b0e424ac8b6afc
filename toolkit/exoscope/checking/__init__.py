"""Checking: a plan or an intent proven over the tenant as it is now, or as scripts saw it; the operator's own set-up."""

from __future__ import annotations

from exoscope.checking.examining import examine
from exoscope.checking.passes import Passes
from exoscope.checking.recorded import verify_recorded
from exoscope.checking.stages import StageAnswer, verify_stage, verify_stage_recorded
from exoscope.checking.verify import Subject, Verification, verify

__all__ = [
    "Passes",
    "StageAnswer",
    "Subject",
    "Verification",
    "examine",
    "verify",
    "verify_recorded",
    "verify_stage",
    "verify_stage_recorded",
]
