"""Hostile values over each road to the twin and back: stored by real writes, many to a script, read back and compared exactly."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

import exoscope.twin
from exoscope import exchange
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession
from exoscope.exchange.objects import read_object
from exoscope.model import Target
from exoscope.outcome import GuardRefused, ServiceError
from exoscope.powershell import LiteralError, render_guarded
from exoscope.twin.server import Twin
from fuzz.carriers import GROUPS, NAME, POLICIES, SCOPES, Carrier, Stored, Values
from fuzz.values import carried, quoted
from fuzz.written import Found
from road_sessions import GATEWAY_PWSH, PWSH, profile_for
from twin_fixtures import load_sample

TOGETHER = 25  # writes in one script, where the road takes more than one
ASKED = 10  # one scope of so many is read by its name as well
SCRIPT_DEADLINE = 300.0


@contextlib.contextmanager
def session(road: str, program: str | None) -> Iterator[tuple[Twin, ExchangeSession]]:
    """A session over a road with a twin of its own."""
    behind = program if road == GATEWAY_PWSH else None
    with exoscope.twin.serve(load_sample(), propagation=0.1, token_lifetime=6 * 3600.0, pwsh=behind) as twin:
        beside = {"PSModulePath": twin.ready["module"]} if road == PWSH else {}
        with mock.patch.dict(os.environ, beside):
            clock, profile = SystemClock(), profile_for(road, twin.ready, program)
            opened = exchange.connect(profile, Tokens(profile, clock), clock=clock)
            try:
                yield twin, opened
            finally:
                opened.close()


def check(road: str, values: Iterator[str], count: int, program: str | None) -> Found:
    """Send at least ``count`` values over a road.

    What cannot be carried must be refused before anything is sent, the rest must arrive unchanged.
    """
    with session(road, program) as (twin, opened):
        tried = _Road(twin, opened, values)
        for carrier, until in ((POLICIES, count // 10), (SCOPES, count // 2), (GROUPS, count)):
            tried.carry(carrier, until)
        return tried.found


class _Road:
    def __init__(self, twin: Twin, opened: ExchangeSession, values: Iterator[str]) -> None:
        self.found = Found()
        self._twin, self._session = twin, opened
        self._raw = values
        self._values = Values(self._good())
        self._together = 1 if opened.road == "admin-api" else TOGETHER

    def _good(self) -> Iterator[str]:
        for value in self._raw:
            if not carried(value):
                self._refused(value)
                continue
            if len(value) > NAME * 100:
                self._too_long(value)
            yield value

    def carry(self, carrier: Carrier, until: int) -> None:
        """Writes of one kind until so many values have gone out, then one reading of all of them."""
        sent: list[Stored] = []
        while self.found.count + len(sent) * carrier.places < until:
            few = carrier.writes(self._values, self._together)
            sent += few
            script = "".join(render_guarded(each.template, each.values).text for each in few)
            try:
                self._session.run(script, deadline=SCRIPT_DEADLINE)
            except ServiceError as error:
                self.found.problems.append(f"{error.code} {error.message[:300]}: {[each.row for each in few]!r}")
        rows = self._session.run(render_guarded(carrier.read, {}).text, deadline=SCRIPT_DEADLINE).rows
        read = {tuple(row.get(column) for column in carrier.columns) for row in rows}
        for each in sent:
            if each.row in read:
                self.found.fates["unchanged"] += carrier.places
            else:
                self.found.problems.append(f"did not arrive: {each.row!r}")
        if carrier is SCOPES:
            for each in sent[::ASKED]:
                self._asked(each)

    def _asked(self, stored: Stored) -> None:
        """A hostile name finds its own object and no other."""
        name, filter_ = stored.row
        seen = read_object(self._session, Target("management_scope", {"name": name}))
        if seen is None or seen.state["recipient_filter"] != filter_:
            self.found.problems.append(f"asked for the scope {name!r}, found {seen!r}")

    def _refused(self, value: str) -> None:
        """Neither as a value nor in a script that somebody else wrote does it reach the road."""
        before = len(self._twin.tenant.log)
        for send in (
            lambda: render_guarded("rbac/remove_management_scope", {"name": value}),
            lambda: self._session.run(
                f"New-ManagementScope -Name {quoted(value)} -RecipientRestrictionFilter 'Alias -eq 1'"
            ),
        ):
            try:
                send()
                self.found.problems.append(f"{value!r} was not refused")
            except (LiteralError, GuardRefused):
                pass
        self._unchanged(before, value)
        self.found.fates["refused"] += 1

    def _too_long(self, value: str) -> None:
        """Exchange itself refuses it as a name."""
        before = len(self._twin.tenant.log)
        try:
            script = render_guarded("rbac/new_management_scope", {"name": value, "filter": "Department -eq 'x'"})
            self._session.run(script.text)
            self.found.problems.append(f"a name of {len(value)} characters was taken")
        except ServiceError as error:
            if "too long" not in error.message:
                self.found.problems.append(f"a name of {len(value)} characters: {error.message[:300]}")
        self._unchanged(before, value)
        self.found.tried["of them refused by Exchange as a name"] += 1

    def _unchanged(self, before: int, value: str) -> None:
        if len(self._twin.tenant.log) != before:
            self.found.problems.append(f"something was changed by {value!r}")
