"""What the last reading of the whole tenant shows saves reading objects one by one; what it shows otherwise is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.model import Observed, Plan, Snapshot, Target
from exoscope.planning import states
from exoscope.reading import Connection
from exoscope.running import apply, resume, tenancy
from exoscope.running.tenancy import FRESH, LiveTenancy
from planning_tenants import tenant
from running_fakes import GRAPH, WAITS, Bench, FakeTenancy, HandClock, app, plan_of

TENANT = tenant(
    {
        "mailboxes": ["ada"],
        "groups": {"sales": ["ada"]},
        "apps": {"omni": {"consents": ["Mail.Read"], "requested": ["Mail.Read"]}, "other": {}},
        "pointers": ["omni"],
        "policies": [{"app": "omni", "group": "sales"}],
    }
)


class Glancing(FakeTenancy):
    """A tenancy with a whole reading at hand: ``seen`` says what it shows (by default just what is there). Counts what is read."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.reads: Counter[str] = Counter()
        self.before_read = lambda target: self.reads.update([target.kind])
        self.seen: Callable[[Target], Observed | None] = self.as_it_is

    def as_it_is(self, target: Target) -> Observed | None:
        state = self.objects.get(states.key_of(target))
        return Observed(None if state is None else dict(state), self._yields(target) if state is not None else {})

    def shown(self, app_id: str | None, target: Target) -> Observed | None:
        assert app_id is not None
        return self.seen(target)


def ran(tmp_path: Path, seen: Callable[[Glancing], Callable[[Target], Observed | None]] | None = None) -> Bench:
    file = plan_of(app(1))
    here = Glancing(file.plan)
    if seen is not None:
        here.seen = seen(here)
    bench = Bench(tmp_path / "state", file, here)
    assert apply(file, bench.desk, wait=2 * 7200.0 + 60).outcome == "done"
    return bench


def test_only_a_step_reads_its_own_object_where_the_reading_shows_all(tmp_path: Path) -> None:
    quick = cast(Glancing, ran(tmp_path / "quick").tenancy).reads
    # before the write and after it, and nothing else: two steps on the group, one on each of the others
    assert quick == {"group": 4, "pointer": 2, "management_scope": 2, "role_assignment": 2, "consent": 2, "request": 2}
    slow = cast(Glancing, ran(tmp_path / "slow", lambda here: lambda target: None).tenancy).reads
    assert all(slow[kind] > count for kind, count in quick.items()), "without it each gate and stage reads them all"


def test_what_the_reading_shows_otherwise_is_read(tmp_path: Path) -> None:
    """A reading that is behind, or does not show all, stops nothing: the object itself tells."""
    behind = cast(Glancing, ran(tmp_path, lambda here: lambda target: Observed({"display_name": "old"})).tenancy).reads
    assert behind["pointer"] > 2


def test_what_somebody_undid_stops_the_app_whatever_was_read_before(tmp_path: Path) -> None:
    file = plan_of(app(1))
    here = Glancing(file.plan)
    bench = Bench(tmp_path / "state", file, here)
    assert apply(file, bench.desk).outcome == "waiting"
    scope = next(each for each in file.plan.steps if each.target.kind == "management_scope")
    del here.objects[states.key_of(scope.target)]
    bench.clock.sleep(7200.0)
    answer = resume("last", bench.desk)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> tuple[LiveTenancy, HandClock, list[Snapshot]]:
    """A live tenancy over readings of a tenant that a test may replace, with a clock turned by hand."""
    clock, at = HandClock(), [TENANT]
    connection = type("Connection", (), {"clock": clock})()
    monkeypatch.setattr(tenancy, "read_snapshot", lambda *given, **options: at[0])
    made = LiveTenancy(cast(Connection, connection), dict(WAITS), lengthen=True, progress=lambda event: None)  # type: ignore[arg-type]  # the keys are wait kinds
    return made, clock, at


def target_of(kind: Any, **key: str) -> Target:
    return Target(kind, key)


def test_a_reading_shows_what_is_recent_and_not_written_since(
    live: tuple[LiveTenancy, HandClock, list[Snapshot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, clock, _ = live
    plan = plan_of(app(1)).plan
    omni, other = (each.app_id for each in states.listed(TENANT, "apps"))
    found = states.listed(TENANT, "service_principals")[0]
    pointer = target_of("pointer", app_id=found.app_id, object_id=found.object_id)
    assert made.shown(omni, pointer) is None, "nothing was read yet"
    made.snapshot(plan)
    assert made.shown(omni, pointer) == Observed({"display_name": found.display_name})
    assert made.shown(omni, target_of("pointer", app_id=other, object_id=other)) == Observed(None)
    consent = states.listed(TENANT, "apps")[0].consents[0]
    key = {"app_id": omni, "resource": GRAPH, "app_role_id": consent.app_role_id}
    assert made.shown(omni, target_of("consent", **key)) == Observed({"permission": "Mail.Read"}, {"id": consent.id})
    assert made.shown(omni, target_of("credential", app_id=omni, name="x")) is None, (
        "its state is more than a reading shows"
    )
    clock.sleep(FRESH - 10)
    assert made.shown(omni, pointer) is not None
    clock.sleep(20)
    assert made.shown(omni, pointer) is None, "it is old by now"
    made.snapshot(plan)
    made._written.add(omni)
    assert made.shown(omni, pointer) is None, "the app was written to since"
    assert made.shown(other, pointer) is not None
    made._written.add(None)
    assert made.shown(other, pointer) is None, "what all apps share was written"


def test_what_was_not_read_is_not_shown(live: tuple[LiveTenancy, HandClock, list[Snapshot]]) -> None:
    made, _, at = live
    at[0] = replace(TENANT, service_principals=UNSET)
    made.snapshot(plan_of(app(1)).plan)
    assert made.shown("x", target_of("pointer", app_id="x", object_id="y")) is None
