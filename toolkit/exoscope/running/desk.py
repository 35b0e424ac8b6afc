"""What apply, resume and undo share: the things handed in, and going on with an open run until it rests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from exoscope._version import __version__
from exoscope.clock import Clock
from exoscope.model import Plan, PlanFile, Snapshot, WaitKind
from exoscope.outcome import ExoscopeError
from exoscope.running.answer import INTERRUPTED, RunAnswer
from exoscope.running.engine import Engine
from exoscope.running.handing import Hands
from exoscope.running.interrupts import Interrupts
from exoscope.running.journal import Journal
from exoscope.running.patience import Patience
from exoscope.running.ports import Event, Progress, Service, Tenancy
from exoscope.running.records import FORMAT, Paused, RunResumed, RunStarted
from exoscope.running.state import RunState
from exoscope.running.store import Folder, Store

log = logging.getLogger(__name__)


class Opened(msgspec.Struct, frozen=True):
    """A tenancy ready to work, and the tenant as it read at that moment (None: not read as a whole)."""

    tenancy: Tenancy
    snapshot: Snapshot | None


Opener = Callable[[Plan], AbstractContextManager[Opened]]
"""Opens the tenant a plan is for, proven to be it. Raises WrongTenant, SignInFailed and the rest of ServiceError."""


class Desk(msgspec.Struct, frozen=True):
    """What a run needs beside its plan. ``operator`` is a client id, for the journal; ``waits`` are seconds by kind; ``hands`` hand
    credentials over (None: no plan here makes any)."""

    store: Store
    clock: Clock
    progress: Progress
    open: Opener
    operator: str
    waits: dict[WaitKind, float]
    lengthen: bool
    patience: Patience | None = None
    hands: Hands | None = None

    def patience_for(self, state: RunState) -> Patience:
        """How long to wait for services to agree with themselves in this run."""
        return self.patience or Patience.within(state.waits["cache"])


def begin(desk: Desk, file: PlanFile, snapshot: Snapshot | None) -> tuple[Folder, Journal, RunState]:
    """A new run on the disk, with its first record. The caller holds the tenant's lock."""
    plan = file.plan
    folder = desk.store.create(file, snapshot, desk.clock.now())
    journal = Journal(folder.journal, desk.clock)
    journal.append(
        RunStarted(
            format=FORMAT,
            run=folder.run,
            plan_hash=file.hash,
            purpose=plan.purpose,
            tenant=plan.tenant,
            operator=desk.operator,
            tool_version=__version__,
            waits=desk.waits,
            lengthen=desk.lengthen,
            of_run=plan.of_run,
        )
    )
    return folder, journal, RunState(plan, journal.records)


def go_on(
    desk: Desk,
    journal: Journal,
    state: RunState,
    tenancy: Tenancy,
    wait: float,
    *,
    resumed: bool,
    until: str | None = None,
    only: Service | None = None,
) -> RunAnswer:
    """Go on with an open run until it rests. The caller holds the tenant's lock.

    Ctrl-C and what nobody foresaw leave the run open and answer ``stopped``; before the first write the latter is raised instead
    (exit 6). Raises WrongTenant.
    """
    if resumed:
        state.take(journal.append(RunResumed(operator=desk.operator, tool_version=__version__)))

    def told() -> None:
        desk.progress(Event("note", "Interrupted: this step is finished first. Once more stops at once."))

    with Interrupts(told) as interrupts:
        engine = Engine(
            state,
            journal,
            tenancy,
            desk.clock,
            patience=desk.patience_for(state),
            progress=desk.progress,
            held=interrupts.held,
            until=until,
            only=only,
        )
        try:
            return engine.run(wait)
        except KeyboardInterrupt:
            journal.append(Paused(app=None, stage=None, code=INTERRUPTED, why="Interrupted.", waiting_for=None))
            return left_open(desk, state, "Interrupted.")
        except ExoscopeError:
            if not state.changed():
                raise
            log.debug("the run could not go on", exc_info=True)
            return left_open(desk, state, "The run could not go on.")
        except Exception as error:
            log.debug("internal error", exc_info=True)
            why = f"internal error: {type(error).__name__}."
            if not state.changed():
                raise ExoscopeError(
                    why,
                    code="internal-error",
                    next=f"Run exoscope resume {state.started.run} with -vv for the details.",
                ) from None
            return left_open(desk, state, why)


def left_open(desk: Desk, state: RunState, why: str) -> RunAnswer:
    """The answer of a run that stays open although nothing waits: ``stopped`` (exit 5), naming resume."""
    answer = state.answer(desk.clock.now())
    hint = f"{why} Go on with: exoscope resume {answer.run}"
    return msgspec.structs.replace(answer, outcome="stopped", why=hint)
