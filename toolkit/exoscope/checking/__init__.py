"""Checking: a plan or an intent proven over the tenant as it is now."""

from __future__ import annotations

from exoscope.checking.verify import Subject, Verification, verify

__all__ = ["Subject", "Verification", "verify"]
