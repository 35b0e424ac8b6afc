"""A run that registers an app: its steps get its ids as it goes, news of it spreads slowly, and undo takes it back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.intent import loads_connector
from exoscope.model import AppPlan, Gate, Plan, PlanFile, Stage, Step
from exoscope.outcome import BadInput, ObjectNotFound, Refused, ServiceError, Transient, Verdict
from exoscope.planning import plan_hash, plan_onboard, registration, states
from exoscope.planning.effect import after
from exoscope.running import Evidence, RunAnswer, apply, resume, status, undo
from exoscope.running.ports import Service
from exoscope.running.records import StepDone
from planning_tenants import guid, tenant
from running_fakes import Bench, SnapshotTenancy

NAME = "Omniscope Reader"
BASE: dict[str, Any] = {"mailboxes": ["ada", "bob", "cid"], "groups": {"sales": ["ada"]}}
LONG = 10 * 86400.0


def connector(mechanism: str) -> Any:
    return loads_connector(
        f"version: 1\nname: {NAME}\npermissions: [Mail.Read]\nmechanism: {mechanism}\nscope: {{mailboxes: [ada@contoso.com]}}\n"
        "credential: {lifetime: 180d, file: /safe/omniscope.secret}\n"
    )


class Case:
    """A tenant in memory, an onboarding planned for it, and whom the gates were asked about."""

    def __init__(self, folder: Path, mechanism: str = "rbac", **there: Any) -> None:
        self.start = tenant({**BASE, **there})
        plan = plan_onboard(self.start, connector(mechanism))
        self.file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
        self.tenancy = SnapshotTenancy(plan, self.start)
        self.bench = Bench(folder, self.file, self.tenancy)
        self.asked: list[tuple[str, str]] = []
        self.tenancy.evidence = self.evidence  # type: ignore[method-assign]  # whom a gate asks about is what is looked at

    def evidence(self, plan: Plan, app: AppPlan, stage: Stage, gate: Gate, since: Any) -> Evidence:
        self.asked.append((app.app_id, app.object_id))
        return Evidence(Verdict.PROVEN, "as expected")

    def apply(self) -> RunAnswer:
        return apply(self.file, self.bench.desk, wait=LONG)

    def step(self, kind: str) -> str:
        return next(each.id for each in self.file.plan.steps if each.target.kind == kind)

    def app(self) -> Any:
        return next((each for each in states.listed(self.tenancy.snapshot, "apps") if each.display_name == NAME), None)


def failing(step_id: str, *errors: ServiceError) -> Any:
    left = list(errors)

    def hook(step: Step) -> None:
        if step.id == step_id and left:
            raise left.pop(0)

    return hook


@pytest.fixture(params=["rbac", "access-policy"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, request.param)


def test_it_is_registered_scoped_and_taken_back(case: Case) -> None:
    answer = case.apply()
    assert (answer.outcome, answer.done) == ("done", len(case.file.plan.steps)), answer.why
    app = case.app()
    assert answer.apps[0].app_id == app.app_id, "called by its appId once that is known"
    assert set(case.asked) == {(app.app_id, app.object_id)}, "its gates ask about it by its ids"
    assert status(answer.run, case.bench.desk.store, case.bench.clock).apps[0].app_id == app.app_id
    back = undo(answer.run, case.bench.desk, approve=lambda plan: None, wait=LONG)
    assert back.outcome == "done", back.why
    end = case.tenancy.snapshot
    for name in ("apps", "service_principals", "management_scopes", "role_assignments", "access_policies", "groups"):
        assert getattr(end, name) == getattr(case.start, name), name


def test_what_is_asked_of_the_app_goes_last_when_it_is_taken_back(case: Case) -> None:
    answer = case.apply()
    plans: list[Plan] = []
    undo(answer.run, case.bench.desk, approve=plans.append, wait=LONG)
    stages = [stage.id for stage in plans[0].stages]
    assert stages[-1] == "deregister"
    assert [step.target.kind for step in plans[0].steps][-3:] == ["credential", "service_principal", "application"]
    if "reopen" in stages:
        # A token of before acts on without the app, so the policy goes only when it has ended.
        gates = {stage.id: [gate.waits for gate in stage.gates] for stage in plans[0].stages}
        assert gates["revoke"] == [("cache", "long_token")]


def test_an_answer_that_was_lost_makes_no_second_app(case: Case) -> None:
    made = case.step("application")
    case.tenancy.after_write = failing(made, Transient("the connection was lost"))
    assert case.apply().outcome == "done"
    assert case.tenancy.landed[made] == 1


def test_a_call_that_did_not_arrive_is_made_again(case: Case) -> None:
    made = case.step("application")
    once = failing(made, Transient("the connection was lost"))
    times: list[datetime] = []

    def lost(step: Step) -> None:
        times.extend([case.bench.clock.at] if step.id == made else [])
        once(step)

    case.tenancy.before_write = lost
    assert case.apply().outcome == "done"
    assert (case.tenancy.writes[made], case.tenancy.landed[made]) == (2, 1)
    # Lists lag behind: it is looked for a good while before it is made again.
    assert (times[1] - times[0]).total_seconds() > 85


def test_an_app_of_this_name_that_somebody_made_meanwhile_is_not_taken(case: Case) -> None:
    taken = registration.registered(NAME, "somebody:else", guid("theirs"))
    case.tenancy.snapshot = replace(case.start, apps=(replace(taken, tags=("somebody:else",)),))
    answer = case.apply()
    assert (answer.outcome, answer.apps[0].code) == ("refused", "name-clash")
    assert "another name" in answer.why
    assert not case.tenancy.writes


def test_an_app_with_our_mark_that_appeared_since_the_plan_is_given_nothing(case: Case) -> None:
    first = case.file.plan.steps[0]
    case.tenancy.snapshot = after(case.start, first.target, first.after)
    answer = case.apply()
    assert (answer.outcome, answer.apps[0].code) == ("refused", "moved")
    assert case.app().app_id in answer.why, "the mark is no secret: whoever registered it may not be us"
    assert not case.tenancy.writes


@pytest.mark.parametrize("only", [None, "exchange"])
def test_what_the_identity_team_registered_when_it_was_left_to_them_is_taken(
    tmp_path: Path, only: Service | None
) -> None:
    case = Case(tmp_path)
    run = apply(case.file, case.bench.desk, wait=LONG, only="exchange")
    assert (run.outcome, run.waiting_for) == ("waiting", "entra")
    first, second, third = case.file.plan.steps[:3]
    held = after(case.start, first.target, first.after)
    app_id = states.listed(held, "apps")[-1].app_id
    held = after(held, replace(second.target, key={"app_id": app_id}), second.after)
    held = after(held, replace(third.target, key={**third.target.key, "app_id": app_id}), {})
    case.tenancy.snapshot = held
    again = resume(run.run, case.bench.desk, wait=LONG, only=only)
    assert again.outcome == "done", again.why
    assert not any(case.tenancy.writes[each.id] for each in (first, second, third))


def test_a_new_plan_goes_on_with_an_app_that_an_earlier_run_registered(tmp_path: Path) -> None:
    there = {"omni": {"display_name": NAME, "tags": [registration.tag_of(guid("tenant"), NAME)], "credentials": []}}
    again = Case(tmp_path, apps=there)
    answer = again.apply()
    assert answer.outcome == "done", answer.why
    assert not any(step.target.kind == "application" for step in again.file.plan.steps)
    undo(answer.run, again.bench.desk, approve=lambda plan: None, wait=LONG)
    assert again.app() is not None, "what this run did not make stays"


@pytest.mark.parametrize("error", [ObjectNotFound("not there"), ServiceError("doesn't exist in the directory")])
def test_a_service_that_does_not_know_the_app_yet_is_asked_again(case: Case, error: ServiceError) -> None:
    kind = "pointer" if case.file.plan.stages[1].id == "grant" else "access_policy"
    case.tenancy.before_write = failing(case.step(kind), *[error] * 6)
    assert case.apply().outcome == "done"
    assert case.tenancy.landed[case.step(kind)] == 1


def test_one_that_goes_on_not_knowing_it_stops_the_run_and_resume_goes_on(tmp_path: Path) -> None:
    case = Case(tmp_path)
    pointer = case.step("pointer")
    case.tenancy.before_write = failing(pointer, *[ObjectNotFound("not there")] * 1000)
    answer = case.apply()
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "not-spread")
    assert f"exoscope resume {answer.run}" in answer.why
    assert case.tenancy.writes[pointer] < 100, "it is asked with growing pauses"
    case.tenancy.before_write = lambda step: None
    again = resume(answer.run, case.bench.desk, wait=LONG)
    assert again.outcome == "done"
    assert case.tenancy.landed[case.step("application")] == 1


def test_a_service_that_knows_no_old_app_stops_it_as_ever(tmp_path: Path) -> None:
    there = {"omni": {"display_name": NAME, "tags": [registration.tag_of(guid("tenant"), NAME)], "credentials": ["x"]}}
    case = Case(tmp_path, apps=there)
    case.tenancy.before_write = failing(case.step("pointer"), *[ObjectNotFound("not there")] * 9)
    answer = case.apply()
    assert answer.apps[0].code == "object-not-found"


def test_a_hand_over_that_broke_off_is_begun_again_by_its_maker(case: Case) -> None:
    step = case.step("credential")
    case.tenancy.after_write = failing(step, Transient("the connection was lost"))
    answer = case.apply()
    assert answer.outcome == "stopped"
    assert case.tenancy.writes[step] == 1, "never repeated blindly: a value comes once"
    again = resume(answer.run, case.bench.desk, wait=LONG)
    assert again.outcome == "done"
    done = [each for each in case.bench.desk.store.find(answer.run).records() if isinstance(each, StepDone)]
    assert [each.settled for each in done if each.step == step] == [True]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Refused("not that long", code="lifetime-not-allowed"), "stopped"),
        (BadInput("it is there already", code="exists"), "stopped"),
    ],
)
def test_a_credential_that_may_not_be_made_stops_the_run(case: Case, error: Any, outcome: str) -> None:
    case.tenancy.before_write = failing(case.step("credential"), error)
    answer = case.apply()
    assert (answer.outcome, answer.apps[0].code) == (outcome, error.code)
    kinds = {each.target.kind for each in case.file.plan.steps if case.tenancy.landed[each.id]}
    assert kinds == {"application", "service_principal"}, "nothing is given before it can sign in"


def test_a_credential_that_somebody_made_since_the_plan_is_no_hand_over(case: Case) -> None:
    step, principal = case.step("credential"), case.step("service_principal")

    def theirs(landed: Step) -> None:
        if landed.id == principal:
            made = next(each for each in case.file.plan.steps if each.id == step)
            target = replace(made.target, key={**made.target.key, "app_id": case.app().app_id})
            case.tenancy.snapshot = after(case.tenancy.snapshot, target, {})

    case.tenancy.after_write = theirs
    answer = case.apply()
    assert (answer.outcome, answer.apps[0].code) == ("stopped", "moved")
    assert "nothing was handed over" in answer.why
    assert case.tenancy.writes[step] == 0, "never renewed unasked"
    granted = {each.target.kind for each in case.file.plan.steps if case.tenancy.landed[each.id]}
    assert granted == {"application", "service_principal"}, "who can sign in as the app is not who was approved"


def test_a_run_that_stopped_before_the_service_principal_is_taken_back(case: Case) -> None:
    step = case.step("service_principal")
    case.tenancy.before_write = failing(step, *[ServiceError("no")] * 1000)
    answer = case.apply()
    assert answer.outcome == "stopped"
    assert case.app() is not None
    back = undo(answer.run, case.bench.desk, approve=lambda plan: None, wait=LONG)
    assert back.outcome == "done", back.why
    assert case.app() is None
