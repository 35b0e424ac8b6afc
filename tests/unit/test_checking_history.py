"""What the journals say of an app's changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from exoscope.checking.history import past
from exoscope.running import apply
from exoscope.running.desk import begin
from exoscope.running.journal import moment
from exoscope.running.records import StepIntent
from running_fakes import TENANT, WAITS, Bench, app, plan_of


def test_a_run_on_a_twin_is_no_history_of_the_tenant(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", plan_of(app(1)))
    apply(bench.file, bench.desk, wait=200 * 3600.0)
    waits: Any = WAITS
    here = past(bench.desk.store, TENANT.id, bench.file.hash, waits, lengthen=True)
    assert here.run is not None
    history = here.histories[app(1).app_id]
    assert history.settled_at is not None
    assert history.old_tokens_until is not None
    elsewhere = past(bench.desk.store, TENANT.id, bench.file.hash, waits, lengthen=False)
    assert (elsewhere.run, elsewhere.histories) == (None, {})


def test_an_app_id_is_the_same_in_either_case(tmp_path: Path) -> None:
    upper = replace(app(1), app_id="2000ABCD-0000-0000-0000-000000000001")
    bench = Bench(tmp_path / "state", plan_of(upper))
    apply(bench.file, bench.desk, wait=200 * 3600.0)
    waits: Any = WAITS
    assert set(past(bench.desk.store, TENANT.id, None, waits, lengthen=True).histories) == {upper.app_id.casefold()}


def test_what_scripts_sent_counts_from_when_that_was_told(tmp_path: Path) -> None:
    """Nothing was read yet, but tokens from before a removal that a script sent act on all the same."""
    bench = Bench(tmp_path / "state", plan_of(app(1)))
    removal = next(step for step in bench.file.plan.steps if step.target.kind == "consent")
    _, journal, _ = begin(bench.desk, bench.file, None)
    told = StepIntent(
        app=removal.app_id, stage=removal.stage, step=removal.id, observed=removal.before, script=None, request=None
    )
    at = moment(journal.append(told).at)
    waits: Any = WAITS
    history = past(bench.desk.store, TENANT.id, bench.file.hash, waits, lengthen=True).histories[app(1).app_id]
    assert history.settled_at == at + timedelta(seconds=waits["cache"])
    assert history.old_tokens_until == at + timedelta(seconds=waits["long_token"])
