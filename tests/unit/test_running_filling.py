"""Holes filled, scripts rendered again: a filled script does what the planned one does, or nothing runs."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from exoscope.model import Request, Step
from exoscope.outcome import GuardRefused
from exoscope.powershell import HoleError, fill
from exoscope.running import filling
from exoscope.running.filling import fill_call, fill_subject
from running_fakes import app, plan_of

STEPS = {step.id: step for step in plan_of(app(1)).plan.steps}
POINTER = STEPS["step-3"]
HIDE, SCOPE, UNCONSENT, UNREQUEST = STEPS["step-2"], STEPS["step-4"], STEPS["step-6"], STEPS["step-7"]
GIVEN = {"step-1": {"guid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "distinguished_name": "CN=O'Neil ’x‘,DC=a"}}


def test_a_script_without_holes_is_sent_as_it_was_planned() -> None:
    step = STEPS["step-3"]
    assert fill_call(step, {}).script == step.script


def test_a_whole_value_is_put_in_its_place() -> None:
    script = fill_call(HIDE, GIVEN).script
    assert script is not None
    assert "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'" in script
    assert "<step-" not in script


def test_inside_a_filter_every_quote_is_doubled_twice() -> None:
    script = fill_call(SCOPE, GIVEN).script
    assert script is not None
    assert "CN=O''''Neil ’’x‘‘,DC=a" in script
    state = fill_subject(SCOPE, GIVEN).after
    assert state is not None
    assert state["recipient_filter"] == "MemberOfGroup -eq 'CN=O''Neil ’x‘,DC=a'"


def test_a_hole_without_a_value_stops() -> None:
    for given in ({}, {"step-1": {"guid": ""}}, {"step-1": {"guid": None}}):
        with pytest.raises(HoleError):
            fill_call(HIDE, given)
    with pytest.raises(HoleError):
        fill_call(UNREQUEST, {})


@pytest.mark.parametrize("value", ["x\x00", "x\ufffe", "\ud800"])
def test_what_no_script_can_carry_is_not_filled_in(value: str) -> None:
    with pytest.raises(HoleError):
        fill_call(HIDE, {"step-1": {"guid": value}})


def edited(step: Step, **changes: object) -> Step:
    return replace(step, **changes)


@pytest.mark.parametrize(
    "step",
    [
        edited(HIDE, values={**HIDE.values, "hidden": False}),
        edited(HIDE, template="groups/remove_group", values={"group": HIDE.values["group"]}),
        edited(HIDE, script=(HIDE.script or "") + "\nRemove-DistributionGroup -Identity 'x' -Confirm:$false"),
        edited(SCOPE, script=(SCOPE.script or "").replace("MemberOfGroup", "Department")),
        edited(POINTER, values={**POINTER.values, "display_name": "Another"}),
        edited(SCOPE, template=None),
        edited(SCOPE, script=None),
    ],
    ids=[
        "other value",
        "other template",
        "one operation more",
        "other filter",
        "no holes, other value",
        "no template",
        "no script",
    ],
)
def test_a_script_that_is_not_its_template_with_its_values_does_not_run(step: Step) -> None:
    with pytest.raises(GuardRefused):
        fill_call(step, GIVEN)


def test_what_fills_a_hole_is_never_searched_for_holes() -> None:
    script = fill_call(HIDE, {"step-1": {"guid": "<step-9.guid>"}}).script
    assert script is not None
    assert "'<step-9.guid>'" in script


def test_an_id_in_a_path_stays_one_segment() -> None:
    step = edited(UNCONSENT, request=Request("DELETE", "/servicePrincipals/a/appRoleAssignments/<step-3.id>", None))
    request = fill_call(step, {"step-3": {"id": "../b?x=1#é"}}).request
    assert request is not None
    assert request.path == "/servicePrincipals/a/appRoleAssignments/..%2Fb%3Fx%3D1%23%C3%A9"


def test_a_body_takes_lists_whole_and_no_hole_inside_a_text() -> None:
    request = fill_call(UNREQUEST, {"step-7": {"required_resource_access": []}}).request
    assert request is not None
    assert request.body == {"requiredResourceAccess": []}
    step = edited(UNREQUEST, request=Request("PATCH", "/x", {"a": "b <step-7.required_resource_access>"}))
    with pytest.raises(HoleError):
        fill_call(step, {"step-7": {"required_resource_access": []}})


def test_a_filled_script_that_would_do_something_else_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "fill", lambda values, given: {**fill(values, given), "hidden": False})
    with pytest.raises(GuardRefused):
        fill_call(HIDE, GIVEN)
