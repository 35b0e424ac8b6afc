"""What runs there are, and where one stands. Reads files only: no session, no lock."""

from __future__ import annotations

from exoscope.clock import Clock
from exoscope.outcome import ExoscopeError
from exoscope.running.answer import RunAnswer, RunLine
from exoscope.running.store import Folder, Store


def status(run: str, store: Store, clock: Clock) -> RunAnswer:
    """Where a run stands. Raises NotFound, Ambiguous, Unreadable for a damaged journal, Refused ``plan-edited``."""
    _, state = store.open(store.find(run))
    return state.answer(clock.now())


def runs(store: Store, clock: Clock) -> tuple[RunLine, ...]:
    """Every run, oldest first; one whose files cannot be read is listed with the reason."""
    return tuple(_line(store, folder, clock) for folder in store.folders())


def _line(store: Store, folder: Folder, clock: Clock) -> RunLine:
    try:
        _, state = store.open(folder)
    except ExoscopeError as error:
        return RunLine(folder.run, "", "", "", None, 0, 0, None, None, error.message)
    started, answer = state.started, state.answer(clock.now())
    return RunLine(
        run=folder.run,
        purpose=started.purpose,
        started_at=started.at,
        tenant=started.tenant.domain,
        outcome=answer.outcome,
        done=answer.done,
        steps=answer.steps,
        ready_at=answer.ready_at,
        of_run=started.of_run,
        why=answer.why,
    )
