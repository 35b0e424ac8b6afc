"""Every road to Exchange side by side: recipients a second and milliseconds an operation, with the ordinary ways beside them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from exoscope.clock import SystemClock
from exoscope.exchange import ExchangeSession
from exoscope.exchange.recipients import read_recipients
from exoscope.model import Snapshot
from exoscope.powershell import literal, render_guarded
from exoscope.profile import Profile
from exoscope.reading import Connection
from powershell_oracles import pwsh
from road_sessions import ADMIN_API, GATEWAY, GATEWAY_PWSH, PWSH, profile_for

from .harness import Measured, Scale, in_turn, seconds, twin
from .plain import PlainPool
from .tenants import tenant

# Mailboxes, rounds of reading them over the roads without PowerShell and over the others, operations a run, rounds of those.
SIZES = {Scale.FULL: (10_000, 9, 3, 20, 15), Scale.QUICK: (2_000, 3, 1, 10, 3), Scale.TINY: (60, 1, 1, 2, 1)}
ATTRIBUTES = ("Department", "CustomAttribute1")
AIM = 30_000  # rows a second
QUICK = (GATEWAY, ADMIN_API)
PLAIN, PLAIN_PWSH = f"pypsrp's objects, {GATEWAY}", f"pypsrp's objects, {GATEWAY_PWSH}"
NEW = "a new PowerShell for each command"
HEADS = ("road", "recipients", "the client's own time", "an operation", "aim", "met")


class Line(NamedTuple):
    """One line of the table. ``rate``: rows a second; ``own``: this process's seconds a row; ``each``: seconds an operation."""

    road: str
    rate: float
    own: float
    each: float

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it. Only a road without PowerShell can meet the aim: see docs/performance.md."""
        held = self.road in QUICK
        aim, met = (f"≥ {AIM:,} rows/s", "yes" if self.rate >= AIM else "no") if held else ("—", "—")
        # A new process takes its time outside of this one.
        own = "—" if self.road == NEW else f"{seconds(self.own)}/row"
        return self.road, f"{self.rate:,.0f} rows/s", own, seconds(self.each), aim, met


class Way(NamedTuple):
    """How a side reads every recipient (and says how many), and one management scope."""

    recipients: Callable[[], int]
    operation: Callable[[], None]


def run(scale: Scale, program: str | None = None) -> list[Line]:
    """All roads there are. ``program``: the PowerShell of those that need one; without it they are left out."""
    mailboxes, rounds, few, operations, many = SIZES[scale]
    with ExitStack() as stack:
        ways = dict(_ways(stack, tenant(5, mailboxes), program))
        found: dict[str, int] = {}

        def read(name: str) -> None:
            found[name] = ways[name].recipients()

        def operate(name: str) -> None:
            for _ in range(1 if name == NEW else operations):
                ways[name].operation()

        def measured(rounds: int, names: Iterable[str], work: Callable[[str], None], *, warm: bool) -> Measured:
            return in_turn(rounds, {name: partial(work, name) for name in names}, warm=warm)

        warm = scale is not Scale.TINY
        quick = [name for name in ways if name in QUICK]
        slow = [name for name in ways if name not in QUICK]
        large = measured(rounds, quick, read, warm=warm).costs | measured(few, slow, read, warm=False).costs
        read_all, one_by_one = Measured(large), measured(many, ways, operate, warm=warm)
    (rows,) = set(found.values())
    assert rows >= mailboxes
    return [
        Line(
            name,
            rate=rows / read_all.median(name),
            own=read_all.median(name, "own") / rows,
            each=one_by_one.median(name) / (1 if name == NEW else operations),
        )
        for name in ways
    ]


def left_out(program: str | None) -> str | None:
    """What the table lacks, in a line; None: nothing."""
    if program is not None:
        return None
    return "Without a PowerShell (EXOSCOPE_PWSH, or pwsh on PATH) the roads that need one are left out."


def program_here() -> str | None:
    """The PowerShell to measure with."""
    return pwsh()


def _ways(stack: ExitStack, made: Snapshot, program: str | None) -> Iterator[tuple[str, Way]]:
    own = stack.enter_context(twin(made))
    gateway = _session(stack, profile_for(GATEWAY, own))
    yield GATEWAY, _ours(gateway.exchange)
    yield ADMIN_API, _ours(_session(stack, profile_for(ADMIN_API, own)).exchange)
    if program is not None:
        real = stack.enter_context(twin(made, pwsh=program))
        behind = _session(stack, profile_for(GATEWAY_PWSH, real))
        yield GATEWAY_PWSH, _ours(behind.exchange)
        with mock.patch.dict(os.environ, {"PSModulePath": own["module"]}):
            child = _session(stack, profile_for(PWSH, own, program))
            yield PWSH, _ours(child.exchange)
    yield PLAIN, _plain(stack, gateway)
    if program is not None:
        yield PLAIN_PWSH, _plain(stack, behind)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exoscope-bench-")))
        yield NEW, _new(program, own, gateway, folder)


def _session(stack: ExitStack, profile: Profile) -> Connection:
    return stack.enter_context(Connection(profile, SystemClock()))


def _ours(session: ExchangeSession) -> Way:
    scope = render_guarded("inventory/management_scope", {"identity": "Scope 1"}).text

    def recipients() -> int:
        listed = read_recipients(session, ATTRIBUTES)
        return len(listed.recipients) + len(listed.groups)

    def operation() -> None:
        assert len(session.run(scope).rows) == 1

    return Way(recipients, operation)


def _plain(stack: ExitStack, beside: Connection) -> Way:
    pool = PlainPool(beside.profile, beside.tokens.exchange().secret)
    stack.callback(pool.close)
    every, scope = _scripts()

    def recipients() -> int:
        return sum(1 for each in pool.run(every) if each.extended_properties["Guid"])

    def operation() -> None:
        assert len(pool.run(scope)) == 1

    return Way(recipients, operation)


def _new(program: str, ready: Mapping[str, Any], beside: Connection, folder: Path) -> Way:
    """As scripts do it that start PowerShell anew: connect, run one line, print JSON. Fetching the token is not counted."""
    environ = {**os.environ, "PSModulePath": ready["module"], "TOKEN": beside.tokens.exchange().secret.reveal()}
    organization = literal(beside.profile.organization)

    def rows(name: str, script: str) -> list[Any]:
        file = folder / f"{name}.ps1"
        (line,) = [each for each in script.splitlines() if not each.startswith("#")]
        file.write_text(
            f"Connect-ExchangeOnline -AccessToken $env:TOKEN -Organization {organization} -ShowBanner:$false\n"
            f"ConvertTo-Json -InputObject @({line}) -Depth 3 -Compress\n",
            encoding="utf-8-sig",
        )
        command = [program, "-NoProfile", "-File", str(file)]
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, timeout=600)
        found: list[Any] = json.loads(done.stdout)
        return found

    every, scope = _scripts()

    def recipients() -> int:
        return sum(1 for each in rows("recipients", every) if each["Guid"])

    def operation() -> None:
        assert len(rows("scope", scope)) == 1

    return Way(recipients, operation)


def _scripts() -> tuple[str, str]:
    return (
        render_guarded("inventory/recipients", {"properties": list(ATTRIBUTES)}).text,
        render_guarded("inventory/management_scope", {"identity": "Scope 1"}).text,
    )
