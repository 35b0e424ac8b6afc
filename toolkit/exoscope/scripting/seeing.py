"""How an object read in a script, from the rows in its result: by the same reading that exoscope does itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exoscope.exchange import read_object
from exoscope.exchange.session import DEADLINE, Result
from exoscope.model import Observed, State, Step
from exoscope.outcome import ObjectNotFound, ServiceError
from exoscope.planning import states
from exoscope.powershell import read, render_guarded
from exoscope.scripting.parts import script_step
from exoscope.scripting.reads import reads_of


class NotSeen(Exception):
    """The rows are not those that a script reads of this step's object."""


def seen_as(step: Step, rows: Any) -> Observed | None:
    """The object of a step (its holes filled) as these rows show it; None where they cannot be understood.

    Each row's own identity is compared with the plan's. ``rows``: what a result holds under ``found`` or ``seen``. Raises NotSeen.
    """
    if not isinstance(rows, dict):
        raise NotSeen("it holds no rows")
    if step.kind == "graph":
        return _of_graph(step, rows)
    reads = reads_of(script_step(step))
    if set(rows) != {name for name, _, _ in reads}:
        raise NotSeen("its rows are not those that the script reads")
    if not all(isinstance(table, list) and all(isinstance(row, dict) for row in table) for table in rows.values()):
        raise NotSeen("its rows are no rows")
    answers = {_cmdlet(render_guarded(template, values).text): rows[name] for name, template, values in reads}
    try:
        return read_object(_Noted(answers), step.target) or Observed(None)
    except ServiceError:
        return None


def stands_as(step: Step, observed: Observed | None, state: State, later: tuple[Step, ...] = ()) -> bool | None:
    """Does the object read as ``state``, or as a ``later`` step of the plan on it leaves it? None where it cannot be told."""
    if observed is None:
        return None
    target = step.target
    answers = [states.agrees(target.kind, observed.state, state)]
    answers += [
        states.agrees(target.kind, observed.state, each.after)
        for each in later
        if states.key_of(each.target) == states.key_of(target)
    ]
    return True if True in answers else None if None in answers else False


class _Noted:
    """A session that answers from the rows a script noted: one table for each cmdlet that it reads with."""

    road = "script"
    tenant_id = ""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self._tables = tables

    def run(self, script: str, *, deadline: float = DEADLINE, batch: int | None = None) -> Result:
        """The rows of the cmdlet's table, whatever identity was asked for: who reads them compares."""
        table = self._tables.get(_cmdlet(script))
        if table is None:
            raise ObjectNotFound("the script did not read this")
        return Result(tuple(table))

    def close(self) -> None:
        """Nothing was opened."""


def _cmdlet(script: str) -> str:
    return read(script)[0][0].cmdlet


def _of_graph(step: Step, rows: dict[str, Any]) -> Observed:
    there = rows.get("there")
    if not isinstance(there, bool):
        raise NotSeen("its rows are not those that the script reads")
    state = (step.after if step.after is not None else step.before) if there else None
    given = rows.get("id")
    return Observed(state, {"id": given} if there and isinstance(given, str) and given else {})
