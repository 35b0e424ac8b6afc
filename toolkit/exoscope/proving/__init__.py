"""Verdicts from the witnesses: predicted reach, Exchange itself, and Graph as the app."""

from __future__ import annotations

from exoscope.proving.claims import AppClaim, Claim, of_intent, of_plan, scope_now
from exoscope.proving.gate import GateProof, gate_proof
from exoscope.proving.whole import LOUD, Estimate, History, Options, choose, estimate, prove, prove_app
from exoscope.proving.witnesses import Sources

__all__ = [
    "LOUD",
    "AppClaim",
    "Claim",
    "Estimate",
    "GateProof",
    "History",
    "Options",
    "Sources",
    "choose",
    "estimate",
    "gate_proof",
    "of_intent",
    "of_plan",
    "prove",
    "prove_app",
    "scope_now",
]
