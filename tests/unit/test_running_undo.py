"""Undo: a plan of its own from the journal, approved, waiting as it must, and the tenant as it was."""

from __future__ import annotations

import stat
import sys
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

import exoscope
from exoscope import snapshot as snapshots
from exoscope.intent import loads_intent
from exoscope.model import Plan, PlanFile, Snapshot
from exoscope.outcome import LostSession, Refused
from exoscope.planning import content_hash, plan_hash, plan_scope
from exoscope.running import apply, resume, runs, status, undo
from running_fakes import Bench, SnapshotTenancy, once

APP = "Omniscope Email Connector (App-Only)"
WAIT = 100 * 3600.0


@cache
def sample() -> Snapshot:
    assert exoscope.__file__ is not None
    return snapshots.load(Path(exoscope.__file__).parent / "data" / "sample_tenant.json")


@cache
def planned(scope: str) -> PlanFile:
    text = (
        f"version: 1\napps:\n  - app: {APP}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
        f"    scope:\n      {scope}\n"
    )
    plan = plan_scope(sample(), loads_intent(text, "scope.yaml"))
    return PlanFile("exoscope/plan@1", plan_hash(plan), plan)


BY_GROUP = planned("group: omniscope-mailboxes@contoso.com")
BY_LIST = planned("mailboxes: [ada@contoso.com]")


def bench_for(tmp_path: Path, file: PlanFile) -> tuple[Bench, SnapshotTenancy]:
    tenancy = SnapshotTenancy(file.plan, sample())
    return Bench(tmp_path / "state", file, tenancy), tenancy


def agree(plan: Plan) -> None:
    """Approves whatever comes."""


@pytest.mark.parametrize("file", [BY_GROUP, BY_LIST], ids=["group", "managed group"])
def test_a_whole_run_taken_back_leaves_the_tenant_as_it_was(tmp_path: Path, file: PlanFile) -> None:
    bench, tenancy = bench_for(tmp_path, file)
    answer = apply(file, bench.desk, wait=WAIT)
    assert answer.outcome == "done", answer.why
    seen: list[Plan] = []
    back = undo("last", bench.desk, approve=seen.append)
    assert (back.outcome, back.waiting_for) == ("waiting", "time"), back.why
    assert seen[0].of_run == answer.run
    assert seen[0].apps[0].permissions["Mail.Read"].gained.all_but
    back = resume(back.run, bench.desk, wait=WAIT)
    assert back.outcome == "done", back.why
    assert same(tenancy.snapshot, sample())
    assert [each.purpose for each in runs(bench.desk.store, bench.clock)] == ["scope", "undo"]


def same(one: Snapshot, other: Snapshot) -> bool:
    """Equal but for the ids that a consent gets anew, and the order of what came back."""

    def plain(tenant: Snapshot) -> Snapshot:
        assert isinstance(tenant.apps, tuple)
        apps = tuple(
            replace(
                app,
                consents=tuple(sorted((replace(each, id="") for each in app.consents), key=repr)),
                requested=tuple(sorted(app.requested, key=repr)),
            )
            for app in tenant.apps
        )
        return replace(tenant, apps=apps)

    return content_hash(plain(one)) == content_hash(plain(other))


def test_the_run_taken_back_is_not_gone_on_with(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)
    first = apply(BY_GROUP, bench.desk)
    assert first.outcome == "waiting"
    back = undo(first.run, bench.desk, approve=agree, wait=WAIT)
    assert back.outcome == "done", back.why
    assert same(tenancy.snapshot, sample())
    answer = resume(first.run, bench.desk, wait=WAIT)
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "undone")
    assert back.run in answer.why
    assert status(first.run, bench.desk.store, bench.clock).apps[0].code == "undone"
    assert same(tenancy.snapshot, sample())


def test_to_a_stage_keeps_it(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)
    apply(BY_GROUP, bench.desk, wait=WAIT)
    assert undo("last", bench.desk, approve=agree, to="grant", wait=WAIT).outcome == "done"
    granted = SnapshotTenancy(BY_GROUP.plan, sample())
    half = Bench(tmp_path / "half", BY_GROUP, granted)
    assert apply(BY_GROUP, half.desk).apps[0].stage == "grant"
    assert same(tenancy.snapshot, granted.snapshot)


def test_what_was_already_so_stays(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)
    pointer = BY_GROUP.plan.steps[0]
    tenancy.write(pointer, None)  # type: ignore[arg-type]  # somebody else made it: there is no call of ours
    apply(BY_GROUP, bench.desk, wait=WAIT)
    start = tenancy.snapshot
    assert undo("last", bench.desk, approve=agree, wait=WAIT).outcome == "done"
    assert isinstance(tenancy.snapshot.service_principals, tuple)
    assert isinstance(start.service_principals, tuple)
    assert tenancy.snapshot.service_principals == start.service_principals


def test_a_lost_call_is_settled_before_it_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)

    class Killed(BaseException):
        pass

    def killed(step: object) -> None:
        if tenancy.landed["step-3"]:
            raise Killed

    tenancy.after_write = killed
    with pytest.raises(Killed):
        apply(BY_GROUP, bench.desk)
    tenancy.after_write = lambda step: None
    assert undo("last", bench.desk, approve=agree, wait=WAIT).outcome == "done"
    assert same(tenancy.snapshot, sample())


def test_a_call_that_never_acted_is_not_taken_back(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)

    def lost(step: object) -> None:
        once(LostSession("lost"), "step-3")(step)  # type: ignore[arg-type]  # the hook takes a step

    tenancy.before_write = lost
    assert apply(BY_GROUP, bench.desk).outcome == "stopped"
    tenancy.before_write = lambda step: None
    assert undo("last", bench.desk, approve=agree, wait=WAIT).outcome == "done"
    assert same(tenancy.snapshot, sample())


def test_a_run_that_changed_nothing_is_not_said_to_be_taken_back(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)
    apply(BY_GROUP, bench.desk, wait=WAIT)
    start = tenancy.snapshot
    again = apply(BY_GROUP, bench.desk, wait=WAIT)
    assert again.outcome == "done"
    with pytest.raises(Refused, match="changed nothing") as caught:
        undo("last", bench.desk, approve=agree, wait=WAIT)
    assert caught.value.code == "nothing-done"
    assert same(tenancy.snapshot, start)


def test_an_open_run_that_changed_nothing_yet_is_gone_on_with_instead(tmp_path: Path) -> None:
    bench, _ = bench_for(tmp_path, BY_GROUP)
    apply(BY_GROUP, bench.desk, wait=WAIT)
    again = apply(BY_GROUP, bench.desk)
    assert again.outcome == "waiting"
    with pytest.raises(Refused) as caught:
        undo(again.run, bench.desk, approve=agree)
    assert (caught.value.code, again.run in caught.value.next) == ("nothing-done", True)


def test_what_somebody_else_changed_since_is_refused(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)
    apply(BY_GROUP, bench.desk, wait=WAIT)
    assert isinstance(tenancy.snapshot.management_scopes, tuple)
    name = BY_GROUP.plan.steps[1].target.key["name"]
    tenancy.snapshot = replace(
        tenancy.snapshot,
        management_scopes=tuple(
            replace(each, recipient_filter="Department -eq 'Else'") if each.name == name else each
            for each in tenancy.snapshot.management_scopes
        ),
    )
    before = tenancy.snapshot
    with pytest.raises(Refused) as raised:
        undo("last", bench.desk, approve=agree)
    assert raised.value.code == "changed-since"
    assert tenancy.snapshot == before
    assert len(runs(bench.desk.store, bench.clock)) == 1, "a refused undo is no run"


def test_not_approved_nothing_happens(tmp_path: Path) -> None:
    bench, tenancy = bench_for(tmp_path, BY_GROUP)
    apply(BY_GROUP, bench.desk, wait=WAIT)
    before = tenancy.snapshot

    def no(plan: Plan) -> None:
        raise Refused("not approved", code="not-approved")

    with pytest.raises(Refused):
        undo("last", bench.desk, approve=no)
    assert tenancy.snapshot == before
    assert len(runs(bench.desk.store, bench.clock)) == 1


def test_an_undo_that_is_under_way_is_resumed_not_begun_twice(tmp_path: Path) -> None:
    bench, _ = bench_for(tmp_path, BY_GROUP)
    first = apply(BY_GROUP, bench.desk, wait=WAIT)
    back = undo(first.run, bench.desk, approve=agree)
    with pytest.raises(Refused) as raised:
        undo(first.run, bench.desk, approve=agree)
    assert (raised.value.code, back.run in raised.value.next) == ("run-open", True)


def test_the_snapshot_and_the_plan_are_kept_beside_the_journal(tmp_path: Path) -> None:
    bench, _ = bench_for(tmp_path, BY_GROUP)
    apply(BY_GROUP, bench.desk)
    folder = bench.desk.store.folders()[0]
    assert folder.plan() == BY_GROUP
    assert content_hash(snapshots.load(folder.path / "snapshot.json")) == content_hash(sample())
    if sys.platform != "win32":
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
        assert modes == {0o600}
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
