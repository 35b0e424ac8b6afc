"""A script's result taken into a run: believed in nothing but that a call may have been sent; resume reads the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exoscope.catalog import GRAPH
from exoscope.model import App, PlanFile, Snapshot, Step, Target
from exoscope.outcome import BadInput, NotFound, Refused
from exoscope.planning import content_hash, plan_hash
from exoscope.planning.operations import step as make_step
from exoscope.running import Desk, RunAnswer, apply, resume, take_result
from exoscope.scripting import ScriptResult, load_result
from running_fakes import MAIL_READ, START, TENANT, Bench, app, plan_of
from scripting_paper import Paper

TENANT_BEFORE = Snapshot(
    format="exoscope/snapshot@1",
    read_at=START,
    tenant=TENANT,
    apps=(app(1),),
    service_principals=(),
    management_scopes=(),
    role_assignments=(),
    access_policies=(),
    recipients=(),
    groups=(),
)


def result_of(bench: Bench, outcomes: dict[str, str], **changed: Any) -> ScriptResult:
    """A result with these outcomes by step, as PowerShell writes it."""
    known = {step.id: step for step in bench.file.plan.steps}
    before, after = Paper(TENANT_BEFORE), Paper(TENANT_BEFORE)
    steps = []
    for step, outcome in outcomes.items():
        entry = {"id": step, "outcome": outcome, "at": None, "found": None, "seen": None, "error": ""}
        if step in known:
            entry["found"] = before.rows(known[step])
            after.send(known[step])
            entry["seen"] = after.rows(known[step]) if outcome in ("done", "already") else None
        steps.append(entry)
    document = {
        "format": "exoscope/script-result@1",
        "plan": bench.file.hash,
        "tenant": bench.file.plan.tenant.id.upper(),
        "script": "01-grant-exchange.ps1",
        "stage": "grant",
        "started_at": "2026-11-23T09:00:00Z",
        "finished_at": None,
        "outcome": "running",
        "why": "",
        "steps": steps,
        **changed,
    }
    return load_result(b"\xef\xbb\xbf" + json.dumps(document).encode(), "result.json")


def take(result: ScriptResult, desk: Desk, file: PlanFile | None = None) -> RunAnswer:
    return take_result(result, desk, file, lambda: TENANT_BEFORE)


def over(file: PlanFile) -> PlanFile:
    """The same plan, made from that tenant."""
    plan = msgspec.structs.replace(file.plan, snapshot_hash=content_hash(TENANT_BEFORE))
    return PlanFile(file.format, plan_hash(plan), plan)


def made_by_scripts(subject: App, numbers: Any) -> list[Step]:
    """The steps of a connector whose scope rests on nothing that the plan makes; the last one is Graph's."""
    name = f"exoscope {subject.display_name} Mail.Read"
    scope = {"recipient_filter": "Department -eq 'Sales'", "recipient_root": None, "exclusive": False}
    assigned = {
        "role": "Application Mail.Read",
        "assignee": subject.object_id,
        "enabled": True,
        "scope": {"kind": "management_scope", "name": name},
    }
    pointer = Target("pointer", {"app_id": subject.app_id, "object_id": subject.object_id})
    grant: list[tuple[Target, dict[str, Any]]] = [
        (pointer, {"display_name": subject.display_name}),
        (Target("management_scope", {"name": name}), scope),
        (Target("role_assignment", {"name": name}), assigned),
    ]
    steps = [make_step(numbers.next(), "grant", target, None, after, subject) for target, after in grant]
    held = {"app_id": subject.app_id, "resource": GRAPH, "app_role_id": MAIL_READ}
    consent = Target("consent", held)
    permission = {"permission": "Mail.Read"}
    identity = subject.consents[0].id
    return [*steps, make_step(numbers.next(), "cutover", consent, permission, None, subject, identity=identity)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "state", over(plan_of(app(1), steps=made_by_scripts)))


@pytest.fixture
def granted(tmp_path: Path, bench: Bench) -> Bench:
    """The same tenant after the grant was made by somebody who left no journal here."""
    apply(bench.file, bench.desk)
    assert sum(bench.tenancy.writes.values()) == 3
    bench.tenancy.writes.clear()
    return Bench(tmp_path / "other", bench.file, bench.tenancy)


GRANT = {f"step-{number}": "done" for number in range(1, 4)}


def test_what_a_script_did_is_gone_on_with_and_not_repeated(granted: Bench) -> None:
    answer = take(result_of(granted, GRANT), granted.desk, granted.file)
    assert (answer.done, granted.opened) == (0, 0)
    gone_on = resume(answer.run, granted.desk)
    assert (gone_on.outcome, gone_on.done, gone_on.waiting_for) == ("waiting", 3, "time")
    assert granted.tenancy.writes == {}
    # What it did is this run's own, so an undo takes it back; the gate's wait counts from the reading.
    _, state = granted.desk.store.open(granted.desk.store.find(answer.run))
    assert [record.already for record in state.done.values()] == [False] * 3
    assert state.done["step-1"].before is None
    assert resume(answer.run, granted.desk, wait=3 * 7200.0).outcome == "done"


def test_what_was_so_already_stays_somebody_elses(granted: Bench) -> None:
    answer = take(result_of(granted, {**GRANT, "step-3": "already"}), granted.desk, granted.file)
    resume(answer.run, granted.desk)
    _, state = granted.desk.store.open(granted.desk.store.find(answer.run))
    assert [step for step, record in state.done.items() if record.already] == ["step-3"]


def test_a_result_that_claims_too_much_is_not_believed(bench: Bench) -> None:
    answer = take(result_of(bench, {"step-1": "done", "step-2": "open"}), bench.desk, bench.file)
    assert resume(answer.run, bench.desk).done == 3
    assert bench.tenancy.landed["step-1"] == 1


def test_taken_in_twice_and_without_the_plan(granted: Bench) -> None:
    with pytest.raises(NotFound, match="no open run"):
        take(result_of(granted, GRANT), granted.desk)
    first = take(result_of(granted, {"step-1": "done"}), granted.desk, granted.file)
    again = take(result_of(granted, GRANT), granted.desk)
    assert again.run == first.run
    journal = granted.desk.store.find(first.run).records()
    take(result_of(granted, GRANT), granted.desk)
    assert granted.desk.store.find(first.run).records() == journal
    resume(first.run, granted.desk)
    assert granted.tenancy.writes == {}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"plan": "sha256:0"}, "other-plan"),
        ({"tenant": "00000000-0000-0000-0000-000000000000"}, "wrong-tenant"),
    ],
)
def test_another_plans_or_tenants_result_is_refused(changed: dict[str, str], code: str, bench: Bench) -> None:
    with pytest.raises(Refused) as caught:
        take(result_of(bench, GRANT, **changed), bench.desk, bench.file)
    assert caught.value.code == code and bench.desk.store.folders() == []


def test_a_twins_result_does_not_go_into_the_tenants_run(granted: Bench) -> None:
    take(result_of(granted, {"step-1": "done"}), granted.desk, granted.file)
    other = msgspec.structs.replace(granted.desk, lengthen=False)
    with pytest.raises(Refused) as caught:
        take(result_of(granted, GRANT), other)
    assert caught.value.code == "other-endpoints"


@pytest.mark.parametrize("steps", [{"step-99": "done"}, {"step-4": "done"}])
def test_steps_of_another_stage_are_bad_input(steps: dict[str, str], bench: Bench) -> None:
    with pytest.raises(BadInput, match="no such step in stage grant"):
        take(result_of(bench, steps), bench.desk, bench.file)
    assert bench.desk.store.folders() == []


def test_a_step_that_no_script_can_hold_is_bad_input(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", over(plan_of(app(1))))
    with pytest.raises(BadInput, match="before an earlier step"):
        take(result_of(bench, {"step-1": "done", "step-4": "done"}), bench.desk, bench.file)
    assert take(result_of(bench, {"step-1": "done", "step-4": "open"}), bench.desk, bench.file).done == 0


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": "exoscope/script-result@2"}', b"\xff"])
def test_what_is_no_result_is_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput, match="no result of a script"):
        load_result(data, "result.json")
