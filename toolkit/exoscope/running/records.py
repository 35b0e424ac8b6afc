"""What a journal holds: one JSON object a line, told apart by ``record``. Times are ISO 8601 UTC with microseconds.

Nothing here holds a secret: scripts and requests carry none, and what a service answers is kept as states and ids only.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from exoscope.model import Request, State, Step, Tenant, WaitKind
from exoscope.outcome import Verdict

FORMAT: Literal["exoscope/journal@1"] = "exoscope/journal@1"
WaitingFor = Literal["time", "evidence", "approval", "exchange", "entra"]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="record", kw_only=True):
    """Base of every record. ``n`` counts from 0 without a gap; ``at`` is when it was written."""

    n: int = -1
    at: str = ""


class RunStarted(Record, frozen=True, tag="run-started"):
    """The first record. ``waits`` are seconds by kind, as the profile gave them when the run was approved.

    ``lengthen``: a longer token-lifetime policy lengthens a token wait (everywhere but on loopback).
    """

    format: Literal["exoscope/journal@1"]
    run: str
    plan_hash: str
    purpose: str
    tenant: Tenant
    operator: str
    tool_version: str
    waits: dict[WaitKind, float]
    lengthen: bool
    of_run: str | None


class RunResumed(Record, frozen=True, tag="run-resumed"):
    """A later process went on with the run."""

    operator: str
    tool_version: str


class StepIntent(Record, frozen=True, tag="step-intent"):
    """What is about to be sent, and how the object read just before. Without a later record its outcome is unknown."""

    app: str | None
    stage: str
    step: str
    observed: State
    script: str | None
    request: Request | None


class StepDone(Record, frozen=True, tag="step-done"):
    """The object read as the step wants it. ``already``: it did so before this run sent anything, so undo leaves it.

    ``settled``: the call's own answer was lost, and reading the object decided. ``ids`` are request ids of the write.
    """

    app: str | None
    stage: str
    step: str
    before: State
    after: State
    yields: dict[str, Any]
    already: bool
    settled: bool
    ids: tuple[str, ...]


class StepFailed(Record, frozen=True, tag="step-failed"):
    """A call that did not do what it should. ``sent``: it may have reached the service, so its outcome is unknown."""

    app: str | None
    stage: str
    step: str
    code: str
    why: str
    sent: bool


class StepTold(Record, frozen=True, tag="step-told"):
    """What a script's result says of a step. exoscope itself has read nothing of it: only other scripts rest on it.

    ``done``: sent and read back, ``already``: so before it was sent, ``sent``: how it ended is not known, ``undone``: it reads as
    before. ``script`` noted it, in a run that began at ``began``; ``yields`` are of the object that the plan names.
    """

    app: str | None
    stage: str
    step: str
    script: str
    began: str
    outcome: Literal["done", "already", "sent", "undone"]
    yields: dict[str, Any]


class StepLeft(Record, frozen=True, tag="step-left"):
    """A step that this process was not to do (``--only``), and how its object read: whoever changes Entra, or Exchange, does it."""

    app: str | None
    stage: str
    step: str
    observed: State


class Noted(Record, frozen=True, tag="noted"):
    """Something that moved and that the steps still cover: mailboxes that joined or left a scope."""

    app: str
    stage: str
    notes: tuple[str, ...]


class Levelled(Record, frozen=True, tag="levelled"):
    """People joined or left the policies' groups, and the managed copy is brought level with them before the run goes on.

    ``steps``: each takes the place of the plan's step of its id, or is one of the run's own (``level-…``) in ``stage``; those of
    an earlier record that were not done are dropped. ``members`` and ``expected``: whom the copy then holds, and whom the scope.
    ``joined``: somebody is new in it, so the gate of ``stage`` waits from now on and asks its witnesses anew.
    """

    app: str
    stage: str
    steps: tuple[Step, ...]
    members: tuple[str, ...]
    expected: tuple[str, ...]
    joined: bool
    notes: tuple[str, ...]


class GateWaiting(Record, frozen=True, tag="gate-waiting"):
    """A gate cannot open before ``ready_at``."""

    app: str
    stage: str
    ready_at: str


class GateEvidence(Record, frozen=True, tag="gate-evidence"):
    """What the witnesses of a gate said. ``ready_at`` is set where they must be asked again later."""

    app: str
    stage: str
    verdict: Verdict
    why: str
    summary: tuple[str, ...]
    ready_at: str | None


class GateOpen(Record, frozen=True, tag="gate-open"):
    """The gate is open; ``verdict`` is null where no witness had to be asked."""

    app: str
    stage: str
    verdict: Verdict | None
    why: str


class AppStopped(Record, frozen=True, tag="app-stopped"):
    """One app goes no further in this run. ``refused``: nothing of it had been changed."""

    app: str
    stage: str | None
    outcome: Literal["stopped", "refused"]
    code: str
    why: str
    step_back: str | None


class Paused(Record, frozen=True, tag="paused"):
    """The run could not go on with an app for now (a service did not answer, somebody pressed Ctrl-C); resume does."""

    app: str | None
    stage: str | None
    code: str
    why: str
    waiting_for: WaitingFor | None


class Finished(Record, frozen=True, tag="finished"):
    """No app has anything left to do in this run."""

    outcome: Literal["done", "stopped", "refused"]


AnyRecord = (
    RunStarted
    | RunResumed
    | StepIntent
    | StepDone
    | StepFailed
    | StepTold
    | StepLeft
    | Noted
    | Levelled
    | GateWaiting
    | GateEvidence
    | GateOpen
    | AppStopped
    | Paused
    | Finished
)
