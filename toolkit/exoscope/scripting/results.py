"""What a script noted of its run: the result file, read strictly."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from exoscope.model import Noun
from exoscope.outcome import BadInput


class StepResult(Noun, frozen=True):
    """One step. ``sent``: it may have reached the service; ``found`` and ``seen`` are the rows read before and after."""

    id: str
    outcome: Literal["open", "sent", "done", "already", "failed"]
    at: str | None
    found: Any
    seen: Any
    error: str


class ScriptResult(Noun, frozen=True):
    """The whole result. ``plan`` is the plan's hash, ``tenant`` the tenant's Guid; times are ISO 8601 UTC."""

    format: Literal["exoscope/script-result@1"]
    plan: str
    tenant: str
    script: str
    stage: str
    started_at: str
    finished_at: str | None
    outcome: Literal["running", "done", "stopped", "refused", "waiting", "unknown"]
    why: str
    steps: tuple[StepResult, ...]


def load_result(data: bytes, name: str) -> ScriptResult:
    """A result from its bytes (PowerShell may begin it with a byte order mark). Raises BadInput for anything else."""
    try:
        result = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=ScriptResult)
        datetime.fromisoformat(result.started_at).astimezone()
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise BadInput(f"{name} is no result of a script of exoscope: {error}") from None
    return result
