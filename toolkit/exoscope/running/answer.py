"""What apply, resume, undo and status answer, and the exit code that follows from it."""

from __future__ import annotations

from typing import Literal

from exoscope.model import Noun
from exoscope.outcome import Exit, worst
from exoscope.running.records import WaitingFor

Outcome = Literal["done", "waiting", "refused", "stopped"]
EVIDENCE_UNKNOWN = "evidence-unknown"
UNDONE = "undone"
INTERRUPTED = "interrupted"
UNTIL = "until-reached"
LEFT = "left-to-others"


class AppAnswer(Noun, frozen=True):
    """Where one app stands. ``stage`` is the stage it is in (null: none left), ``ready_at`` when it can go on, ``notes`` who joined
    or left what its scope follows since the plan."""

    app_id: str
    stage: str | None
    outcome: Outcome
    code: str | None
    ready_at: str | None
    notes: tuple[str, ...] = ()


class RunAnswer(Noun, frozen=True):
    """The answer about a run. ``done`` of ``steps`` steps have landed; ``ready_at`` is the earliest time an app can go on."""

    run: str
    outcome: Outcome
    done: int
    steps: int
    ready_at: str | None
    waiting_for: WaitingFor | None
    why: str
    apps: tuple[AppAnswer, ...]


class AdvanceAnswer(Noun, frozen=True):
    """A run's answer, or (``run`` null) that of no run: ``plan`` (a file) and ``hash`` are of the plan that waits for approval."""

    run: str | None
    outcome: Outcome
    done: int
    steps: int
    ready_at: str | None
    waiting_for: WaitingFor | None
    why: str
    apps: tuple[AppAnswer, ...]
    plan: str | None = None
    hash: str | None = None


class RunLine(Noun, frozen=True):
    """One line of the list of runs. ``outcome`` is null where the run's files cannot be read; ``why`` says so."""

    run: str
    purpose: str
    started_at: str
    tenant: str
    outcome: Outcome | None
    done: int
    steps: int
    ready_at: str | None
    of_run: str | None
    why: str


def overall_outcome(apps: tuple[AppAnswer, ...]) -> Outcome:
    """stopped if any app stopped, else waiting if any waits, else done; refused only if all are."""
    held = {app.outcome for app in apps}
    if held == {"refused"}:
        return "refused"
    if "stopped" in held:
        return "stopped"
    return "waiting" if "waiting" in held else "done"


def exit_of(answer: RunAnswer | AdvanceAnswer) -> Exit:
    """5 if an app stopped part-way, 1 if one is refused while others go on (4 if all are), 6 where what was seen could not be told,
    3 while one waits, else 0; DESIGN's order decides among several.
    """
    if answer.outcome == "stopped":
        return Exit.STOPPED
    exits = []
    for app in answer.apps:
        if app.outcome == "refused":
            exits.append(Exit.REFUSED if answer.outcome == "refused" else Exit.FINDINGS)
        elif app.outcome == "waiting":
            exits.append(Exit.PENDING if app.code is None else Exit.UNKNOWN)
    return worst(exits)


def duration(seconds: float) -> str:
    """Seconds as people say them: ``2 h``, ``1 h 30 min``, ``45 s``."""
    whole = round(seconds)
    parts = [(whole // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60 if whole < 3600 else 0, "s")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 s"
