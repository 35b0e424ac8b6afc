"""Each fault on each road, as docs/faults.md lists them: the run goes on by itself, or stops and is gone on with."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from docs_pages import text_of
from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.outcome import Exit
from exoscope.running import exit_of, tenancy
from exoscope.running.records import StepFailed
from exoscope.twin.exchange.call import CmdletError
from powershell_oracles import pwsh
from running_roads import ASSIGNMENT, CACHE, OWN, REAL, SCOPE, TOKEN, Bench, bench

ON, STOPS, NONE = "goes on", "stops; `resume` goes on", "—"
"""The words of the page."""

Put = Callable[[Bench], AbstractContextManager[None]]


class Fault(NamedTuple):
    """A row of the page, what log or journal say of it (a pattern), how the twin does it, and what comes of it on the roads of a
    profile.

    ``token``: seconds that tokens live; ``wait``: seconds that the run may wait, 0 ends it at its gate, behind the last write.
    ``stand_in``: the stand-in for pwsh can have it too, though it calls no Exchange over HTTP.
    """

    row: str
    seen: str
    put: Put
    gateway: str = ON
    pwsh: str = ON
    admin_api: str = ON
    token: float = TOKEN
    wait: float = 0.0
    stand_in: bool = True

    def on(self, road: str) -> str:
        return {"gateway": self.gateway, "pwsh": self.pwsh, "admin-api": self.admin_api}[REAL.get(road, road)]


def at_once(plan: Callable[[Bench], None]) -> Put:
    """Planned before the run begins."""

    def put(here: Bench) -> AbstractContextManager[None]:
        plan(here)
        return nullcontext()

    return put


def at_the_second_write(act: Callable[[Bench], None]) -> Put:
    """When the second step's intent is on the disk, and its call is not yet made."""
    return lambda here: here.before_second_write(lambda: act(here))


def ended_by_exchange(here: Bench) -> None:
    """Exchange ends sessions after an hour: the gateway's shells with them, or the module says that it is not connected."""
    if here.kind == "gateway":
        here.twin.faults.shell_life = 3600.0
    else:
        text = "You must call the Connect-ExchangeOnline cmdlet before calling any other cmdlets."
        here.twin.faults.fail(ASSIGNMENT, CmdletError("System.Exception", text))
        here.twin.faults.fail("Get-ManagementRoleAssignment", CmdletError("System.Exception", text))


def away(seconds: float) -> Callable[[Bench], None]:
    return lambda here: here.twin.faults.restart(here.clock.now() + timedelta(seconds=seconds))


def silent(here: Bench) -> AbstractContextManager[None]:
    """A write is done and never answered."""
    here.twin.faults.hang(SCOPE, act=True)
    return mock.patch.object(tenancy, "WRITE_SECONDS", 2.0)


def busy(times: int) -> Callable[[Bench], None]:
    def plan(here: Bench) -> None:
        here.twin.faults.throttle(SCOPE, times)
        here.twin.faults.throttle("Get-ServicePrincipal", min(times, 2))

    return plan


def door(here: Bench) -> None:
    here.twin.faults.http_status(503)
    here.twin.faults.http_status(429)


def no_room(here: Bench) -> None:
    here.twin.faults.lose_shells = True
    here.twin.faults.refuse_shells(2)


def tokens_ended(here: Bench) -> None:
    """An administrator ends every token that was issued."""
    for resource in (EXCHANGE, GRAPH):
        here.twin.entra.tokens.end_all(resource)


FAULTS = (
    Fault(
        "Exchange ends the session (after an hour, or idle)",
        "lost-session",
        at_once(ended_by_exchange),
        admin_api=NONE,
        token=24 * TOKEN,
        wait=2 * CACHE,
    ),
    Fault(
        "the token ends while a gate waits",
        "the token ends soon",
        at_once(lambda here: None),
        wait=2 * CACHE,
    ),
    Fault("the token is ended before its time", "a new one is asked for", at_the_second_write(tokens_ended)),
    Fault(
        "the connection is lost before a write",
        "lost-session|transient",
        at_once(lambda here: here.twin.faults.drop(SCOPE, act=False)),
    ),
    Fault(
        "the answer to a write is lost", "lost-session|transient", at_once(lambda here: here.twin.faults.drop(SCOPE))
    ),
    Fault(
        "Exchange gives up on a write (15 minutes) that it does",
        "transient",
        at_once(lambda here: here.twin.faults.time_out(SCOPE)),
    ),
    Fault("a write is done and never answered", "deadline", silent),
    Fault("too many concurrent requests, for a while", "throttled", at_once(busy(5))),
    Fault("too many concurrent requests, without an end", "throttled", at_once(busy(99)), *[STOPS] * 3),
    Fault("HTTP 503 or 429 at the door", "lost-session|transient", at_the_second_write(door), stand_in=False),
    Fault("nothing answers for half a minute (a restart)", "transient", at_the_second_write(away(30)), stand_in=False),
    Fault("nothing answers for an hour", "transient", at_the_second_write(away(3600)), *[STOPS] * 3, stand_in=False),
    Fault("the PowerShell is killed", "lost-session", at_the_second_write(Bench.lose), admin_api=NONE),
    Fault(
        "the gateway has no room for another session",
        "throttled, tried again",
        at_the_second_write(no_room),
        pwsh=NONE,
        admin_api=NONE,
    ),
)


KILLED = ("exoscope itself is killed", *[STOPS] * 3)
"""At three seeded boundaries in ``test_running_boundaries``, at every one in ``test_running_twin`` and make long."""


def test_the_page_says_what_the_tests_hold() -> None:
    table = text_of("docs/faults.md").split("| what happens |", 1)[1].split("\n\n", 1)[0]
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table.splitlines()[2:]]
    assert rows == [(fault.row, fault.gateway, fault.pwsh, fault.admin_api) for fault in FAULTS] + [KILLED]


needs_pwsh = (
    pytest.mark.pwsh,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(pwsh() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
)


# One of each kind in make test, over every road that needs no PowerShell; every cell in make long.
OFTEN = frozenset(
    {
        "the token is ended before its time",
        "the answer to a write is lost",
        "a write is done and never answered",
        "nothing answers for half a minute (a restart)",
        "the PowerShell is killed",
    }
)


def marks(road: str, fault: Fault) -> tuple[pytest.MarkDecorator, ...]:
    if road in REAL:
        return needs_pwsh
    return () if fault.row in OFTEN else (pytest.mark.long,)


CELLS = [
    pytest.param(road, fault, id=f"{road}: {fault.row}", marks=marks(road, fault))
    for road in (*OWN, *REAL)
    for fault in FAULTS
    if fault.on(road) != NONE and (fault.stand_in or road != "pwsh")
]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")
@pytest.mark.parametrize(("road", "fault"), CELLS)
def test_a_run_meets_a_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture, road: str, fault: Fault) -> None:
    caplog.set_level(logging.INFO, "exoscope.exchange")
    with bench(road, tmp_path, token=fault.token) as here:
        with fault.put(here):
            answer = here.apply(fault.wait)
        if fault.on(road) == STOPS:
            assert (answer.outcome, exit_of(answer)) == ("stopped", Exit.STOPPED)
            assert f"exoscope resume {answer.run}" in answer.why
            here.twin.faults.clear()
            answer = here.resume()
        assert (answer.outcome, answer.done) == ("done" if fault.wait else "waiting", answer.steps), answer.why
        assert here.twin.faults.planned == 0, "a planned fault was never met"
        failed = [record.code for record in here.journal() if isinstance(record, StepFailed)]
        assert re.search(fault.seen, f"{caplog.text} {failed}"), "the fault was never met"
        here.assert_as_planned()
