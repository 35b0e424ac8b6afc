"""docs/operator.md names the roles and cmdlets that templates and plans need, no more and no fewer."""

from __future__ import annotations

import re
from functools import cache

import pytest

from docs_pages import fenced, text_of
from exoscope.catalog import ROLES
from exoscope.intent import loads_intent
from exoscope.planning import operations, plan_scope
from exoscope.powershell import read, render, sample_values, template_dir, templates
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

PAGE = text_of("docs/operator.md")
SCRIPTS = "\n".join(block.text for block in fenced(PAGE) if block.kind == "powershell")
NOTHING = "nothing beyond the connection"
VIEWS = {"View-Only Configuration", "View-Only Recipients"}


@cache
def needs() -> dict[str, set[str]]:
    """Role -> the cmdlets that templates run with it, as their headers say."""
    found: dict[str, set[str]] = {}
    for template in templates():
        text = (template_dir() / f"{template}.ps1.j2").read_text(encoding="utf-8")
        header = re.search(r"^# Needs: (.+)$", text, re.MULTILINE)
        assert header
        cmdlets = {
            operation.cmdlet
            for pipeline in read(render(template, sample_values(template)))
            for operation in pipeline
            if operation.cmdlet != "Select-Object"
        }
        for role in header[1].split(", "):
            found.setdefault(role, set()).update(cmdlets)
    return found


def test_every_cmdlet_stands_in_the_check() -> None:
    listed = re.search(r"^\$cmdlets = (.+)$", SCRIPTS, re.MULTILINE)
    assert listed
    named = re.findall(r"'([^']+)'", listed[1])
    assert len(named) == len(set(named))
    assert set(named) == set().union(*needs().values()) - needs()[NOTHING]


def test_the_role_that_is_cut_down_keeps_what_is_run() -> None:
    kept = re.search(r"^\$keep = (.+)$", SCRIPTS, re.MULTILINE)
    assert kept
    assert set(re.findall(r"'([^']+)'", kept[1])) == needs()["Role Management"]


def test_every_role_stands_in_the_table() -> None:
    table = PAGE[PAGE.index("## What is needed") : PAGE.index("## Reads only")]
    for role in set(needs()) - {NOTHING}:
        assert role in table
    roles = {operations._ROLES, operations._POLICIES, operations._GROUPS, operations._GROUP_SETTINGS}
    assert roles == set(needs()) - VIEWS - {NOTHING}
    for permission in (operations._GRANTS, operations._APPLICATIONS):
        assert f"`{permission}`" in table


def test_application_roles_on_the_page_exist() -> None:
    named = set(re.findall(r"'(Application [^']+)'", SCRIPTS))
    assert named
    assert named <= set(ROLES)


@pytest.mark.parametrize(
    "entry",
    [
        f"mechanism: rbac\n    scope: {{group: {OMNISCOPE_GROUP}}}",
        f"mechanism: access-policy\n    scope: {{group: {OMNISCOPE_GROUP}}}",
        "mechanism: rbac\n    scope: {mailboxes: [ada@contoso.com, ceo@contoso.com]}",
    ],
    ids=["rbac", "policy", "managed-group"],
)
def test_a_step_needs_what_its_template_says(entry: str) -> None:
    text = f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    {entry}\n"
    steps = [step for step in plan_scope(load_sample(), loads_intent(text, "scope.yaml")).steps if step.script]
    assert steps
    for step in steps:
        assert f"# Needs: {', '.join(step.needs)}\n" in str(step.script), step.title
