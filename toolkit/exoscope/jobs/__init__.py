"""Jobs: several commands in one, for the first hour: what they leave in one folder are the files that the single commands leave."""

from __future__ import annotations

from exoscope.jobs.scope import Asked, Place, ScopeAnswer, ScopeJob, exit_of_scope, intent_text, pending

__all__ = ["Asked", "Place", "ScopeAnswer", "ScopeJob", "exit_of_scope", "intent_text", "pending"]
