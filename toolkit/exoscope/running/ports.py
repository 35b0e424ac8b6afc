"""What the engine needs of a tenant. The real one is :mod:`exoscope.running.tenancy`; tests have one in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from exoscope.model import AppPlan, Gate, Observed, Plan, Stage, Step, Target
from exoscope.outcome import Verdict
from exoscope.planning.migration.levelling import Level
from exoscope.running.filling import Filled


class Survey(msgspec.Struct, frozen=True):
    """The tenant read again before a stage. ``notes``: what moved and is still covered; ``moved``: what is not, each named;
    ``level``: what has to be done first, because a managed copy follows nobody by itself."""

    notes: tuple[str, ...]
    moved: tuple[str, ...]
    level: Level | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What a gate's witnesses said. ``summary`` are sentences for people and the journal; ``code`` names a violation's cause.

    ``ready_at`` is when it makes sense to ask again (null: not known).
    """

    verdict: Verdict
    why: str
    summary: tuple[str, ...] = ()
    code: str | None = None
    ready_at: datetime | None = None


class Tenancy(Protocol):
    """A tenant, proven to be the plan's before the first call. Every method raises ServiceError."""

    def read(self, target: Target) -> Observed:
        """Read one object. Absent is ``Observed(None)``, never an error."""

    def write(self, step: Step, call: Filled) -> tuple[str, ...]:
        """Send one step's call, once. Returns the request ids there are.

        LostSession, Deadline and Transient mean that it may or may not have happened; every other error that it did not.
        """

    def hand_over(self, step: Step, run: str, ends: datetime) -> str:
        """Make the credential of a step, put it into its place, and return its key id.

        What an earlier process of this run made is kept where it lies in its place and works, else removed and made anew. Raises
        Refused (the tenant's policy), BadInput (the place), and ServiceError; whatever was made is settled by the next call.
        """

    def survey(self, plan: Plan, app: AppPlan, left: Sequence[Step], known: Mapping[str, str]) -> Survey:
        """Read the tenant and compare where the plan's answer for ``app`` rests on it.

        ``left`` are its steps still to do, ``known`` what their holes stand for so far (``<step-1.guid>`` → text).
        """

    def replan(self, plan: Plan, app_id: str) -> bytes:
        """One app of a migration planned anew over the tenant as it reads now: a plan file. Raises Refused, Unreadable."""

    def evidence(self, plan: Plan, app: AppPlan, stage: Stage, gate: Gate, since: datetime) -> Evidence:
        """Ask every witness of a gate that can be asked. ``since`` is when the stage's last step landed."""


Service = Literal["exchange", "graph"]
"""What a run changes where another may not be touched (``--only``): a step's kind."""

Talk = Literal["step", "wait", "note", "evidence", "stop", "step-back"]


class Event(msgspec.Struct, frozen=True):
    """Something worth a line of talk."""

    kind: Talk
    text: str
    app_id: str | None = None
    step: str | None = None


class Progress(Protocol):
    """Where talk goes."""

    def __call__(self, event: Event) -> None: ...
