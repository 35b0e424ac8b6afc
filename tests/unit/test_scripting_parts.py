"""From plans to scripts: which files, what they wait for, what is left out; what the guard takes, and nothing near it."""

from __future__ import annotations

import random
import re
from typing import Any

import msgspec
import pytest

from exoscope.model import Plan, Request
from exoscope.outcome import BadInput, GuardRefused, NotFound, Refused
from exoscope.planning import plan_hash
from exoscope.planning.timing import WAITS
from exoscope.powershell import template_dir
from exoscope.scripting import ScriptData, bytes_of, explain, graph_root, parts_of
from exoscope.scripting.data import Fill, read_data, write_data
from scripting_plans import datas, renamed, sample_plan, with_values

GRANT, CUTOVER = "01-grant-exchange.ps1", "02-cutover-graph.ps1"
MARK = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return sample_plan()


@pytest.fixture(scope="module")
def scripts(plan: Plan) -> dict[str, ScriptData]:
    return datas(plan)


def test_one_file_for_each_stretch(scripts: dict[str, ScriptData]) -> None:
    assert [(name, data.part, [step.id for step in data.steps]) for name, data in scripts.items()] == [
        (GRANT, "exchange", ["step-1", "step-2", "step-3"]),
        (CUTOVER, "graph", ["step-4", "step-5"]),
    ]


def test_what_follows_waits_for_the_gate_and_its_evidence(plan: Plan, scripts: dict[str, ScriptData]) -> None:
    assert scripts[GRANT].after is None
    after = scripts[CUTOVER].after
    assert after is not None
    assert (after.script, after.stage, after.seconds, after.evidence) == (GRANT, "grant", WAITS["cache"], ("exchange",))
    shorter: Any = {**WAITS, "cache": 0.25}
    less = datas(plan, shorter)[CUTOVER].after
    # Never less than the wait.
    assert less is not None and less.seconds == 1


def test_a_stage_that_begins_with_a_wait_needs_a_run(plan: Plan) -> None:
    bare = msgspec.structs.replace(plan, steps=plan.steps[3:])
    parts, left = parts_of(bare, plan_hash(bare))
    assert parts == ()
    assert [(each.stage, "wait" in each.why) for each in left] == [("cutover", True)]


def test_one_stage(plan: Plan) -> None:
    parts, left = parts_of(plan, plan_hash(plan), stage="cutover")
    assert ([part.data.script for part in parts], left) == ([CUTOVER], ())
    with pytest.raises(NotFound, match="grant, cutover"):
        parts_of(plan, plan_hash(plan), stage="other")


def test_holes_of_earlier_steps_leave_a_file_out_and_what_is_before_them_is_written(plan: Plan) -> None:
    role, old = "<step-2.guid>", plan.steps[2]
    changed = msgspec.structs.replace(
        with_values(old, role=role),
        after={**(old.after or {}), "role": role},
        title=old.title.replace("Application Mail.Read", role),
    )
    holed = msgspec.structs.replace(plan, steps=(*plan.steps[:2], changed, *plan.steps[3:]))
    parts, left = parts_of(holed, plan_hash(holed))
    assert [part.data.script for part in parts] == [GRANT, "03-cutover-graph.ps1"]
    assert [(each.script, "<step-2.guid>" in each.why) for each in left] == [("02-grant-exchange.ps1", True)]
    # What comes after it waits for it all the same.
    assert parts[1].data.after is not None and parts[1].data.after.script == "02-grant-exchange.ps1"


def test_a_plan_whose_script_is_not_its_templates_is_refused(plan: Plan) -> None:
    step = msgspec.structs.replace(plan.steps[0], script="Remove-ServicePrincipal -Identity 'x'\n")
    other = with_values(plan.steps[0], object_id="00000000-0000-0000-0000-000000000000")
    for wrong in (step, other):
        with pytest.raises(Refused, match="would not do what the plan says"):
            datas(msgspec.structs.replace(plan, steps=(wrong, *plan.steps[1:])))


def test_graph_is_the_clouds_or_on_this_machine(plan: Plan) -> None:
    assert graph_root(plan.tenant) == "https://graph.microsoft.com/v1.0"
    assert graph_root(plan.tenant, "https://localhost:8443") == "https://localhost:8443/v1.0"
    for other in ("https://graph.microsoft.com.example", "http://localhost:1", "https://graph.microsoft.us"):
        with pytest.raises(BadInput, match="origin"):
            graph_root(plan.tenant, other)


@pytest.mark.parametrize(
    "name", ["it's \u2018\u2019\u201a\u201b", "--%", "a\n}\n'b", "\u00d2; x #", "\U0001f600\u202e"]
)
def test_the_data_block_says_what_it_was_given(name: str, scripts: dict[str, ScriptData]) -> None:
    data = renamed(scripts[GRANT], name)
    assert read_data(write_data(data), 0, ScriptData) == data
    found = explain(bytes_of(data))
    assert found is not None and found.data == data


def test_a_file_has_its_mark_and_is_ascii_before_its_first_statement(scripts: dict[str, ScriptData]) -> None:
    for data in scripts.values():
        content = bytes_of(data)
        assert content.startswith(MARK) and b"\r" not in content
        head = content.removeprefix(MARK).split(b"if ('", 1)[0]
        assert head.isascii()


def test_names_and_filters_are_compared_character_by_character() -> None:
    """PowerShell's own operators compare as a language does: 'a' -eq "a$([char] 0x200b)" is true where .NET has ICU."""
    text = (template_dir() / "change" / "exchange.ps1").read_text(encoding="utf-8")
    compared = re.findall(r"(\S+) (-c?(?:eq|ne|contains|notcontains)) (\S+)", text)
    assert len(compared) > 40
    asked = [each for each in compared if not re.match(r"['0-9]|\$null", each[2]) and "$null" not in each[0]]
    named = [each for each in asked if re.search(r"Name\b|Observed|Expected|\$one|Filter", each[0] + each[2])]
    assert not named


def test_the_guard_explains_our_files(scripts: dict[str, ScriptData]) -> None:
    grant, cutover = (explain(bytes_of(scripts[name])) for name in (GRANT, CUTOVER))
    assert grant is not None and cutover is not None
    assert [pipeline[0].cmdlet for pipeline in grant.pipelines] == [
        "Get-ConnectionInformation",
        "Get-ServicePrincipal",
        "New-ServicePrincipal",
        "Get-ManagementScope",
        "New-ManagementScope",
        "Get-ManagementRoleAssignment",
        "Get-ServicePrincipal",
        "New-ManagementRoleAssignment",
    ]
    assert grant.requests == () and cutover.pipelines == ()
    assert [(each["method"], each["body"]) for each in cutover.requests] == [
        ("DELETE", None),
        ("PATCH", {"requiredResourceAccess": "<step-5.required_resource_access>"}),
    ]


def test_what_is_not_ours_is_not_explained() -> None:
    assert explain(b"Get-ServicePrincipal\n") is None
    assert explain(b"") is None


def test_a_file_without_its_mark_is_refused(scripts: dict[str, ScriptData]) -> None:
    with pytest.raises(GuardRefused, match="byte order mark"):
        explain(bytes_of(scripts[GRANT]).removeprefix(MARK))


def test_a_graph_file_is_filled_with_nothing(scripts: dict[str, ScriptData]) -> None:
    fill = Fill("step-1", "group", {"name": "x"}, "group (name x)", {"guid": "y"})
    for name, why in ((CUTOVER, "cannot read"), (GRANT, "stands in no script")):
        kind: Any = "group" if name == CUTOVER else "consent"
        data = msgspec.structs.replace(scripts[name], fills=(msgspec.structs.replace(fill, kind=kind),))
        text = write_data(data)
        content = bytes_of(scripts[name]).decode("utf-8-sig").replace(write_data(scripts[name]), text)
        with pytest.raises(GuardRefused, match=why):
            explain(MARK + content.encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-Role 'Application Mail.Read'", "-Role 'Application Mail.ReadWrite'"),
        ("'id' = 'step-1'", "'id'  = 'step-1'"),
        ("'id' = 'step-1'", "'id' = $(whoami)"),
        ("'id' = 'step-1'", "'id' = 'step-2'"),
        ("'part' = 'exchange'", "'part' = 'graph'"),
        ("'plan' = 'sha", "'plan' = \"sha"),
        ("'graph' = 'https://graph.microsoft.com/v1.0'", "'graph' = 'https://graph.example/v1.0'"),
        ("rbac/new_service_principal", "rbac/remove_service_principal"),
        ("rbac/new_service_principal", "../secret"),
        ("throw 'ExoscopeDecoding", "Write-Host 'ExoscopeDecoding"),
        ("'after' = $null\n", "\n"),
        ("    'fills' = @()\n", ""),
        ("        'yields' = @()\n", ""),
        ("exit $Code\n", "exit 0\n"),
        ("\n", "\r\n"),
    ],
)
def test_a_file_that_was_changed_is_refused_with_its_place(old: str, new: str, scripts: dict[str, ScriptData]) -> None:
    text = bytes_of(scripts[GRANT]).decode("utf-8-sig")
    assert old in text
    with pytest.raises(GuardRefused) as caught:
        explain(MARK + text.replace(old, new, 1).encode())
    assert caught.value.line >= 1 and caught.value.column >= 1


def test_no_changed_byte_passes(scripts: dict[str, ScriptData]) -> None:
    """Any one byte elsewhere: refused, no longer ours, or a data block that makes just this file."""
    content = bytes_of(scripts[GRANT])
    rng = random.Random(7)  # noqa: S311 - repeatable on purpose
    refused = 0
    for _ in range(150):
        at, put = rng.randrange(len(content)), rng.randrange(256)
        changed = content[:at] + bytes([put]) + content[at + 1 :]
        try:
            found = explain(changed)
        except GuardRefused:
            refused += 1
            continue
        assert found is None or bytes_of(found.data) == changed
    assert refused > 100


def test_a_graph_file_with_an_operation_is_refused(scripts: dict[str, ScriptData]) -> None:
    data = scripts[CUTOVER]
    step = msgspec.structs.replace(data.steps[0], request=None, template="rbac/enable_organization_customization")
    with pytest.raises(GuardRefused, match="not one of this script"):
        explain(bytes_of(msgspec.structs.replace(data, steps=(step, *data.steps[1:]))))
    other = Request("DELETE", "/users/x", None)
    changed = msgspec.structs.replace(data.steps[0], request=other)
    found = explain(bytes_of(msgspec.structs.replace(data, steps=(changed, *data.steps[1:]))))
    # The guard shows what a file does; whether that is wanted is the reader's.
    assert found is not None and found.requests[0] == {"method": "DELETE", "path": "/users/x", "body": None}
