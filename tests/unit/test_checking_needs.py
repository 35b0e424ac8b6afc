"""What an operator needs: the tables are those of the templates and of docs/operator.md, and a plan needs exactly what it says."""

from __future__ import annotations

import re
from functools import cache

from docs_pages import text_of
from exoscope.checking.needs import CHANGING, EVERY_CMDLET, EVERYTHING, GRAPH_READING, documented, needs_of
from exoscope.intent import loads_intent
from exoscope.planning import plan_hash, plan_scope
from exoscope.powershell import read, render, sample_values, template_dir, templates
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

PAGE = text_of("docs/operator.md")


@cache
def headers() -> dict[str, set[str]]:
    """Cmdlet -> the roles that templates which run it say they need."""
    found: dict[str, set[str]] = {}
    for template in templates():
        text = (template_dir() / f"{template}.ps1.j2").read_text(encoding="utf-8")
        header = re.search(r"^# Needs: (.+)$", text, re.MULTILINE)
        assert header
        for pipeline in read(render(template, sample_values(template))):
            for operation in pipeline:
                if operation.cmdlet != "Select-Object" and not template.startswith("session/"):
                    found.setdefault(operation.cmdlet, set()).update(header[1].split(", "))
    return found


def test_the_table_has_every_cmdlet_of_the_templates_with_a_role_that_they_name() -> None:
    listed = [cmdlet for need in EVERY_CMDLET for cmdlet in need.cmdlets]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(headers())
    for need in EVERY_CMDLET:
        for cmdlet in need.cmdlets:
            assert need.role in headers()[cmdlet], cmdlet
            assert documented(cmdlet.upper()) == need.role
    assert documented("Get-Nothing") is None
    changes = {cmdlet for need in CHANGING for cmdlet in need.cmdlets}
    assert all(cmdlet.startswith(("Get-", "Test-")) != (cmdlet in changes) for cmdlet in listed)


def test_permissions_for_reading_are_those_of_the_page() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `snapshot`"))
    assert set(re.findall(r"`([A-Za-z.]+\.Read\.All)`", row)) == {need.permission for need in GRAPH_READING}


def plan_for(entry: str, **changes: object):  # type: ignore[no-untyped-def]  # a plan of the sample
    text = f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    {entry}\n"
    return plan_scope(load_sample(), loads_intent(text, "scope.yaml"))


def test_a_scoping_plan_needs_what_its_steps_need_and_no_more() -> None:
    plan = plan_for(f"mechanism: rbac\n    scope: {{group: {OMNISCOPE_GROUP}}}")
    needs = needs_of(plan, plan_hash(plan))
    asked = {cmdlet for need in needs.cmdlets for cmdlet in need.cmdlets}
    assert {each for each in asked if not each.startswith(("Get-", "Test-"))} == {
        "New-ServicePrincipal",
        "New-ManagementScope",
        "New-ManagementRoleAssignment",
    }
    assert "Test-ServicePrincipalAuthorization" in asked
    assert "Test-ApplicationAccessPolicy" not in asked, "no gate of it asks for that"
    assert needs.gives == ("Application Mail.Read",)
    assert (needs.custom, needs.customises) == (True, False)
    assert needs.apps == (plan.apps[0].app_id,)
    changing = {need.permission for need in needs.graph if not need.always}
    assert changing == {each for step in plan.steps if step.script is None for each in step.needs}
    assert changing


def test_a_policy_plan_needs_neither_roles_nor_a_customised_organisation() -> None:
    plan = plan_for(f"mechanism: access-policy\n    scope: {{group: {OMNISCOPE_GROUP}}}")
    needs = needs_of(plan, plan_hash(plan))
    asked = {cmdlet for need in needs.cmdlets for cmdlet in need.cmdlets}
    assert "New-ApplicationAccessPolicy" in asked
    assert "New-ManagementScope" not in asked
    assert (needs.gives, needs.custom) == ((), False)


def test_without_a_plan_everything_is_asked_and_only_what_reads_must_be_there() -> None:
    assert EVERYTHING.plan is None
    assert {need.always for need in CHANGING} == {False}
    assert EVERYTHING.cmdlets == EVERY_CMDLET
