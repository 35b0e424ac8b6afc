"""A migration as a run: through one stage and its gate, stopped where the tenant moved, one app alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.cli import apply as apply_command
from exoscope.cli import changing, roads
from exoscope.model import Migration, Plan, PlanFile, Snapshot, Step
from exoscope.outcome import Exit, NotFound, Unreadable, Verdict
from exoscope.planning import dump_plan, effect, load_plan, plan_hash
from exoscope.planning.migration import plan_migration
from exoscope.running import Evidence, apply, exit_of, resume, status, undo
from exoscope.running.tenancy import wanted_by
from planning_tenants import guid, tenant
from running_fakes import Bench, Migrated

TENANT: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid"],
    "groups": {"sales": ["ada"], "hr": ["bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}, "other": {"consents": ["Mail.Read"]}},
    "policies": [{"app": "omni", "group": "sales"}, {"app": "other", "group": "hr"}],
}
OMNI, OTHER = guid("omni app"), guid("other app")
LONG = 10**9


def bench(tmp_path: Path, snapshot: Snapshot | None = None) -> tuple[Bench, Migrated]:
    found = snapshot or tenant(TENANT)
    plan = plan_migration(found)
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    tenancy = Migrated(plan, found)
    return Bench(tmp_path / "state", file, tenancy), tenancy


def stages_done(bench: Bench, run: str) -> set[str]:
    folder = bench.desk.store.find(run)
    lines = [json.loads(line) for line in folder.journal.read_text(encoding="utf-8").splitlines()]
    return {line["stage"] for line in lines if line["record"] == "step-done"}


def test_until_runs_through_a_stage_and_its_gate_and_resume_goes_on(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    first = apply(desk.file, desk.desk, until="baseline")
    assert (first.outcome, first.done, exit_of(first)) == ("waiting", 0, Exit.PENDING)
    assert (first.waiting_for, {each.stage for each in first.apps}, {each.code for each in first.apps}) == (
        "approval",
        {"overlap"},
        {None},
    )
    assert tenancy.asked == [(OMNI, "baseline"), (OTHER, "baseline")]
    assert "as asked" in first.why
    assert status(first.run, desk.desk.store, desk.clock).outcome == "waiting"
    second = resume(first.run, desk.desk, until="overlap")
    assert second.ready_at is not None and stages_done(desk, first.run) == {"overlap"}
    third = resume(first.run, desk.desk, wait=LONG, until="overlap")
    assert (third.outcome, third.waiting_for, {each.stage for each in third.apps}) == (
        "waiting",
        "approval",
        {"cutover"},
    )
    assert stages_done(desk, first.run) == {"overlap"}
    last = resume(first.run, desk.desk, wait=LONG)
    assert last.outcome == "done"
    assert stages_done(desk, first.run) == {"overlap", "cutover", "finish"}
    assert tenancy.snapshot.access_policies == ()


def test_until_the_last_stage_is_the_whole_run(tmp_path: Path) -> None:
    desk, _ = bench(tmp_path)
    assert apply(desk.file, desk.desk, wait=LONG, until="finish").outcome == "done"


def test_until_a_stage_that_is_not_there_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    desk, _ = bench(tmp_path)
    with pytest.raises(NotFound) as caught:
        apply(desk.file, desk.desk, until="grant")
    assert "baseline, overlap, cutover, finish" in caught.value.next
    assert desk.opened == 0
    run = apply(desk.file, desk.desk).run
    with pytest.raises(NotFound):
        resume(run, desk.desk, until="grant")


def test_where_exchange_differs_from_the_baseline_that_app_is_refused_alone(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    differs = Evidence(Verdict.VIOLATED, "Exchange's test answers otherwise", code="baseline-differs")
    fine = Evidence(Verdict.CONFIGURED, "agrees")
    tenancy.evidence_answer = lambda app, stage: differs if (app, stage) == (OTHER, "baseline") else fine
    answer = apply(desk.file, desk.desk, wait=LONG)
    told = {each.app_id: (each.outcome, each.code) for each in answer.apps}
    assert told == {OMNI: ("done", None), OTHER: ("refused", "baseline-differs")}
    assert exit_of(answer) == Exit.FINDINGS
    assert not any(step.app_id == OTHER for step in desk.file.plan.steps if tenancy.landed[step.id])


def test_a_proof_that_fails_stops_that_app_alone_before_its_consents_go(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    wrong = Evidence(Verdict.VIOLATED, "something reaches what it must not")
    fine = Evidence(Verdict.PROVEN, "as expected")
    tenancy.evidence_answer = lambda app, stage: wrong if (app, stage) == (OMNI, "overlap") else fine
    answer = apply(desk.file, desk.desk, wait=LONG)
    told = {each.app_id: (each.outcome, each.code, each.stage) for each in answer.apps}
    assert told == {OMNI: ("stopped", "proof-failed", "overlap"), OTHER: ("done", None, None)}
    assert isinstance(tenancy.snapshot.apps, tuple)
    assert [len(each.consents) for each in tenancy.snapshot.apps] == [1, 0]


def moved_once(tenancy: Migrated, change: dict[str, Any]) -> Any:
    """When the first consent of ``omni`` is about to be read, somebody has changed the tenant."""

    def hook(step: Step) -> None:
        if step.target.kind == "role_assignment" and step.app_id == OMNI:
            other = tenant({**TENANT, **change})
            tenancy.snapshot = replace(tenancy.snapshot, groups=other.groups, access_policies=other.access_policies)

    return hook


def test_where_the_tenant_moved_the_app_stops_and_the_new_plan_lies_beside_it(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    policies = [*TENANT["policies"], {"app": "omni", "group": "cid"}]
    tenancy.after_write = moved_once(tenancy, {"policies": policies})
    answer = apply(desk.file, desk.desk, wait=LONG)
    told = {each.app_id: (each.outcome, each.code) for each in answer.apps}
    assert told == {OMNI: ("stopped", "moved"), OTHER: ("done", None)}
    place = desk.desk.store.find(answer.run).journal.with_name(f"plan-{OMNI}.json")
    assert str(place) in answer.why
    again = load_plan(place.read_bytes()).plan
    assert [each.app_id for each in again.apps] == [OMNI]
    assert {each.code for each in again.refusals} == set()


def test_a_new_plan_that_a_killed_process_left_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, tenancy = bench(tmp_path)
    tenancy.after_write = moved_once(tenancy, {"policies": [*TENANT["policies"], {"app": "omni", "group": "cid"}]})
    replan = tenancy.replan

    def left_over(plan: Plan, app_id: str) -> bytes:
        folder = desk.desk.store.folders()[-1]
        folder.journal.with_name(f"plan-{app_id}.json").write_bytes(
            b"of a process that was killed before its next record"
        )
        return replan(plan, app_id)

    monkeypatch.setattr(tenancy, "replan", left_over)
    answer = apply(desk.file, desk.desk, wait=LONG)
    assert {each.app_id: each.code for each in answer.apps} == {OMNI: "moved", OTHER: None}
    place = desk.desk.store.find(answer.run).journal.with_name(f"plan-{OMNI}.json")
    assert load_plan(place.read_bytes()).plan.purpose == "migrate"


def test_where_the_new_plan_is_refused_that_is_said(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    policies = [*TENANT["policies"], {"app": "omni", "right": "DenyAccess", "group": "hr"}]
    tenancy.after_write = moved_once(
        tenancy, {"policies": policies, "groups": {"sales": ["ada", "bob"], "hr": ["bob"]}}
    )
    answer = apply(desk.file, desk.desk, wait=LONG)
    assert "deny-fails-open" in answer.why
    assert not desk.desk.store.find(answer.run).journal.with_name(f"plan-{OMNI}.json").exists()


def test_where_no_new_plan_can_be_made_the_app_stops_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, tenancy = bench(tmp_path)
    tenancy.after_write = moved_once(tenancy, {"policies": []})

    def unreadable(plan: Plan, app_id: str) -> bytes:
        raise Unreadable("recipients were not read")

    monkeypatch.setattr(tenancy, "replan", unreadable)
    answer = apply(desk.file, desk.desk, wait=LONG)
    assert {each.app_id: each.code for each in answer.apps}[OMNI] == "moved"
    assert "could not be planned anew: recipients were not read" in answer.why


@pytest.mark.parametrize("last", ["overlap", "cutover", "finish"])
def test_taken_back_from_any_stage_the_tenant_is_as_it_was(tmp_path: Path, last: str) -> None:
    snapshot = tenant(TENANT)
    desk, tenancy = bench(tmp_path, snapshot)
    run = apply(desk.file, desk.desk, wait=LONG, until=last).run
    back = undo(run, desk.desk, approve=lambda plan: None, wait=LONG)
    assert back.outcome == "done"
    now = tenancy.snapshot
    assert isinstance(now.apps, tuple) and isinstance(now.access_policies, tuple)
    assert [[c.permission for c in each.consents] for each in now.apps] == [["Mail.Read"], ["Mail.Read"]]
    assert {(p.app_id, p.access_right, p.scope.object_id, p.description) for p in now.access_policies} == {
        (p.app_id, p.access_right, p.scope.object_id, p.description)
        for p in snapshot.access_policies  # type: ignore[union-attr]  # it was read
    }
    assert (now.role_assignments, now.management_scopes, now.service_principals) == ((), (), ())


def test_undo_stops_at_its_own_gates(tmp_path: Path) -> None:
    desk, tenancy = bench(tmp_path)
    run = apply(desk.file, desk.desk, wait=LONG).run
    first = undo(run, desk.desk, approve=lambda plan: None, app=OMNI)
    assert (first.outcome, first.apps[0].stage, exit_of(first)) == ("waiting", "restrain", Exit.PENDING)
    assert isinstance(tenancy.snapshot.apps, tuple)
    assert all(not each.consents for each in tenancy.snapshot.apps)  # not before the policies act again
    assert resume(first.run, desk.desk, wait=LONG).outcome == "done"
    assert [len(each.consents) for each in tenancy.snapshot.apps] == [1, 0]


def test_a_dead_policy_goes_after_the_full_token_wait(tmp_path: Path) -> None:
    snapshot = tenant({**TENANT, "policies": [{"app": "ghost", "group": "sales"}]})
    plan = plan_migration(snapshot, (), Migration(drop_dead=True))
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    tenancy = Migrated(plan, snapshot)
    desk = Bench(tmp_path / "state", file, tenancy)
    first = apply(file, desk.desk)
    assert (first.outcome, first.done) == ("waiting", 0)
    assert resume(first.run, desk.desk, wait=100_000.0).outcome == "waiting"  # 28 hours, not less
    assert resume(first.run, desk.desk, wait=100_801.0).outcome == "done"
    assert tenancy.snapshot.access_policies == ()


def test_the_command_hands_until_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    desk, _ = bench(tmp_path)
    file = tmp_path / "plan.json"
    file.write_bytes(dump_plan(desk.file.plan))
    monkeypatch.setattr(roads, "profile_with_road", lambda profile, *, yes: None)
    monkeypatch.setattr(changing, "desk", lambda profile, state, **_: desk.desk)
    ended = CliRunner().invoke(apply_command.command, [str(file), "--yes", "--json", "--until", "baseline"])
    assert (ended.exit_code, json.loads(ended.stdout)["waiting_for"]) == (3, "approval")


def test_simulated_and_run_agree(tmp_path: Path) -> None:
    snapshot = tenant(TENANT)
    desk, tenancy = bench(tmp_path, snapshot)
    apply(desk.file, desk.desk, wait=LONG)
    end = effect.apply_steps(snapshot, desk.file.plan.steps)
    assert tenancy.snapshot.role_assignments == end.role_assignments
    assert tenancy.snapshot.access_policies == end.access_policies


def test_the_python_api_plans_and_carries_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import exoscope
    from exoscope.api import Tenant
    from exoscope.outcome import BadInput

    snapshot = tenant(TENANT)
    plan = exoscope.migrate(snapshot, ["omni"], nested="filter", accept=["no-role:omni"])
    assert [each.display_name for each in plan.apps] == ["omni"]
    assert isinstance(plan.migration, Migration)
    assert [(each.code, each.app) for each in plan.migration.accept] == [("no-role", OMNI)]
    for wrong in ({"nested": "never"}, {"accept": ["no-role"]}, {"accept_loss": ["omni"]}):
        with pytest.raises(BadInput):
            exoscope.migrate(snapshot, **wrong)  # type: ignore[arg-type]  # that is what is tried

    desk, _ = bench(tmp_path)
    held = Tenant.__new__(Tenant)
    monkeypatch.setattr(held, "_desk", lambda **_: desk.desk, raising=False)
    asked = []

    def at_gate(answer: Any) -> bool:
        asked.append(answer.apps[0].stage)
        desk.clock.sleep(2 * 86400.0)
        return True

    assert held.carry_through(desk.file, at_gate).outcome == "done"
    assert asked == ["overlap", "cutover"]
    other, _ = bench(tmp_path / "other")
    monkeypatch.setattr(held, "_desk", lambda **_: other.desk, raising=False)
    assert held.carry_through(other.file, lambda answer: False).outcome == "waiting"


def test_the_groups_of_policies_that_go_are_read_all_the_same() -> None:
    """For the way back: with the policy gone and the members copied, nothing in the tenant names its group."""
    plan = plan_migration(tenant(TENANT), ["omni"], Migration(nested="group"))
    assert guid("sales external") in wanted_by(plan).groups


def test_an_organisation_is_customised_first_and_stays_so(tmp_path: Path) -> None:
    snapshot = tenant({**TENANT, "organization": {"is_dehydrated": True}})
    plan = plan_migration(snapshot, (), Migration(accept_customization=True))
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    tenancy = Migrated(plan, snapshot)
    desk = Bench(tmp_path / "state", file, tenancy)
    done = apply(file, desk.desk, wait=LONG)
    assert done.outcome == "done", done.why
    assert next(step for step, _ in tenancy.calls) == plan.steps[0].id and plan.steps[0].app_id is None
    back = undo(done.run, desk.desk, approve=lambda plan: None, wait=LONG)
    assert back.outcome == "done", back.why
    assert tenancy.snapshot.role_assignments == ()
    assert tenancy.snapshot.organization.is_dehydrated is False  # type: ignore[union-attr]  # it was read
