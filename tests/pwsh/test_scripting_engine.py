"""Exported scripts on a real PowerShell: parsed, tried, run, interrupted and run again, and stopped when they were damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exoscope.running.exporting import filled_step
from exoscope.scripting import ScriptData, ScriptStep, bytes_of, explain, text_of
from exoscope.scripting.data import After
from exoscope.scripting.parts import script_step
from powershell_oracles import pwsh
from scripting_chain import planned
from scripting_plans import datas, renamed, sample_plan
from twin_fixtures import OMNISCOPE, load_sample

PROGRAM = pwsh()
pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(PROGRAM is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]
MODULE = Path(__file__).parents[1] / "data" / "scripting" / "ExchangeOnlineManagement.psm1"
MANIFEST = "@{ RootModule = 'ExchangeOnlineManagement.psm1'; ModuleVersion = '3.9.2'; FunctionsToExport = '*' }"
GRANT, CUTOVER = "01-grant-exchange.ps1", "02-cutover-graph.ps1"
HOSTILE = [
    "O'Brien \u2018\u2019\u201a\u201b '; Remove-Everything #",
    "\u00d2; New-ManagementScope -Name x #",
    '$(Remove-Everything) `n "$env:PATH" --% #> <#',
    "line\nRemove-Everything\n}\n} #Requires -Modules Other",
    "--%",
    "\u202eright to left\u202c \U0001f600 \u2028 \u0085",
]


class Exchange:
    """The stand-in's state, and scripts run against it."""

    def __init__(self, folder: Path, tenant: str) -> None:
        self.folder = folder
        self.state = folder / "state.json"
        modules = folder / "modules" / "ExchangeOnlineManagement"
        modules.mkdir(parents=True)
        shutil.copy(MODULE, modules)
        (modules / "ExchangeOnlineManagement.psd1").write_text(MANIFEST, encoding="utf-8")
        self.write({"tenant": tenant, "pointers": [], "scopes": [], "assignments": [], "groups": [], "calls": []})

    def write(self, state: dict[str, Any]) -> None:
        self.state.write_text(json.dumps(state), encoding="utf-8")

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state.read_text(encoding="utf-8"))
        return found

    def calls(self) -> list[str]:
        return [call.split(" ", 1)[0] for call in self.read()["calls"]]

    def run(self, script: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        given = {k: v for k, v in os.environ.items() if not k.startswith("EXO")}
        given |= {"PSModulePath": str(self.folder / "modules"), "EXO_STATE": str(self.state), **environ}
        return subprocess.run(
            [str(PROGRAM), "-NoProfile", "-File", str(script), *words],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            env=given,
            check=False,
        )


@pytest.fixture(scope="module")
def scripts() -> dict[str, ScriptData]:
    return datas(sample_plan())


@pytest.fixture
def exchange(tmp_path: Path, scripts: dict[str, ScriptData]) -> Exchange:
    return Exchange(tmp_path, scripts[GRANT].tenant.id)


@pytest.fixture
def grant(tmp_path: Path, scripts: dict[str, ScriptData]) -> Path:
    path = tmp_path / GRANT
    path.write_bytes(bytes_of(scripts[GRANT]))
    return path


def result_of(script: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{script}.result.json").read_text(encoding="utf-8"))
    return found


def outcomes(script: Path) -> list[str]:
    return [step["outcome"] for step in result_of(script)["steps"]]


def parsed(*texts: str) -> list[dict[str, Any]]:
    lines = "".join(json.dumps({"script": text}) + "\n" for text in texts)
    done = subprocess.run(
        [str(PROGRAM), "parse"], input=lines, capture_output=True, text=True, encoding="utf-8", check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_scripts_parse_and_hold_no_syntax_that_windows_powershell_lacks(scripts: dict[str, ScriptData]) -> None:
    found = parsed(*(text_of(data) for data in scripts.values()))
    assert [(each["errors"], each["newer"]) for each in found] == [([], [])] * len(scripts)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leaves_its_place(name: str, scripts: dict[str, ScriptData]) -> None:
    data = renamed(scripts[GRANT], name)
    (found,) = parsed(text_of(data))
    assert (found["errors"], found["newer"]) == ([], [])
    read = explain(bytes_of(data))
    assert read is not None and read.data == data


def test_a_hostile_name_arrives_unchanged(exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]) -> None:
    grant.write_bytes(bytes_of(renamed(scripts[GRANT], " ".join(HOSTILE))))
    done = exchange.run(grant)
    assert done.returncode == 0, done.stdout + done.stderr
    assert exchange.read()["pointers"][0]["DisplayName"] == " ".join(HOSTILE)
    # What cannot be printed does not reach a transcript as it is.
    assert "\u202e" not in done.stdout and "\nRemove-Everything\n" not in done.stdout


def test_what_if_changes_nothing(exchange: Exchange, grant: Path) -> None:
    done = exchange.run(grant, "-WhatIf")
    assert done.returncode == 0, done.stdout + done.stderr
    assert exchange.calls() == []
    assert "no result was written" in done.stdout
    assert not Path(f"{grant}.result.json").exists()


def test_it_runs_reads_back_and_runs_again(exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]) -> None:
    done = exchange.run(grant)
    assert done.returncode == 0, done.stdout + done.stderr
    assert exchange.calls() == ["New-ServicePrincipal", "New-ManagementScope", "New-ManagementRoleAssignment"]
    result = result_of(grant)
    assert (result["format"], result["outcome"], result["plan"]) == (
        "exoscope/script-result@1",
        "done",
        scripts[GRANT].plan,
    )
    assert outcomes(grant) == ["done"] * 3
    assert result["steps"][1]["found"] == {"scope": []}
    assert result["steps"][1]["seen"]["scope"][0]["Name"] == scripts[GRANT].steps[1].key["name"]
    again = exchange.run(grant)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(exchange.calls()) == 3
    # What the earlier run did stays known as this script's own.
    assert outcomes(grant) == ["done"] * 3


def test_a_run_that_dies_after_a_write_is_gone_on_with(exchange: Exchange, grant: Path) -> None:
    assert exchange.run(grant, EXO_DIE="New-ManagementScope").returncode == 9
    assert outcomes(grant) == ["done", "sent", "open"]
    done = exchange.run(grant)
    assert done.returncode == 0, done.stdout + done.stderr
    assert exchange.calls() == ["New-ServicePrincipal", "New-ManagementScope", "New-ManagementRoleAssignment"]
    assert outcomes(grant) == ["done"] * 3


@pytest.mark.long
def test_a_write_that_fails_stops_the_script(exchange: Exchange, grant: Path) -> None:
    done = exchange.run(grant, "-ReadBackSeconds", "0", EXO_FAIL="New-ManagementScope")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "It did not work out" in done.stdout
    assert exchange.calls() == ["New-ServicePrincipal", "New-ManagementScope"]
    assert outcomes(grant) == ["done", "failed", "open"]
    assert result_of(grant)["outcome"] == "stopped"
    assert exchange.run(grant).returncode == 0


def test_a_first_write_that_fails_changed_nothing(exchange: Exchange, grant: Path) -> None:
    done = exchange.run(grant, "-ReadBackSeconds", "0", EXO_FAIL="New-ServicePrincipal")
    assert done.returncode == 4, done.stdout + done.stderr
    result = result_of(grant)
    assert result["outcome"] == "refused"
    # What was read before anything was sent is noted: it tells that the rest is not done.
    assert [step["outcome"] for step in result["steps"]] == ["failed", "open", "open"]
    assert [step["found"] for step in result["steps"][1:]] == [{"scope": []}, {"assignment": [], "pointers": []}]


def test_an_answer_that_was_lost_is_settled_by_reading(exchange: Exchange, grant: Path) -> None:
    done = exchange.run(grant, EXO_LOST="New-ManagementScope")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(grant) == ["done"] * 3


@pytest.mark.parametrize(
    ("kept", "code"),
    [("memberofgroup -eq 'DN'", 0), ("Department -eq 'x'", 6), ("((MemberOfGroup", 6), ("(WANTED\u200b')", 6)],
)
def test_a_filter_is_compared_by_meaning(
    kept: str, code: int, exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]
) -> None:
    wanted = (scripts[GRANT].steps[1].after or {})["recipient_filter"]
    row = {
        "Name": scripts[GRANT].steps[1].key["name"].upper(),
        "ScopeRestrictionType": "RecipientScope",
        "Exclusive": False,
        "RecipientRoot": None,
        "RecipientFilter": f"( {wanted.upper()} )" if code == 0 else kept.replace("WANTED", wanted.rstrip("'")),
    }
    exchange.write({**exchange.read(), "scopes": [row]})
    done = exchange.run(grant)
    assert done.returncode == code, done.stdout + done.stderr
    assert "New-ManagementScope" not in exchange.calls()
    if code:
        assert exchange.calls() == []


def test_somebody_elses_object_refuses_before_anything(
    exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]
) -> None:
    row = {
        "Name": scripts[GRANT].steps[2].key["name"],
        "Role": "Application Mail.ReadWrite",
        "RoleAssigneeType": "ServicePrincipal",
        "RoleAssigneeName": "x",
        "Enabled": True,
        "RecipientWriteScope": "Organization",
    }
    exchange.write({**exchange.read(), "assignments": [row]})
    done = exchange.run(grant)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "changed by somebody else" in done.stdout and exchange.calls() == []


def test_another_tenant_is_refused(exchange: Exchange, grant: Path) -> None:
    exchange.write({**exchange.read(), "tenant": "00000000-0000-0000-0000-000000000000"})
    done = exchange.run(grant)
    assert done.returncode == 6 and "meant is" in done.stdout
    assert exchange.calls() == []


def test_a_first_file_may_follow_evidence_alone(
    exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]
) -> None:
    after = After("", "baseline", 0, ("baseline",))
    grant.write_bytes(bytes_of(msgspec.structs.replace(scripts[GRANT], after=after)))
    done = exchange.run(grant)
    assert done.returncode == 4 and "-EvidenceSeen baseline" in done.stdout, done.stdout + done.stderr
    assert exchange.calls() == []
    assert exchange.run(grant, "-EvidenceSeen", "baseline").returncode == 0


def group_row(made: ScriptStep, **changed: Any) -> dict[str, Any]:
    """The group that a step makes, as Exchange shows it."""
    after = made.after or {}
    return {
        "Name": made.key["name"],
        "Guid": "60000000-0000-0000-0000-00000000000a",
        "ExternalDirectoryObjectId": "60000000-0000-0000-0000-00000000000b",
        "DistinguishedName": "CN=managed,DC=example",
        "PrimarySmtpAddress": "managed@contoso.com",
        "Alias": after["alias"],
        "DisplayName": after["display_name"],
        "Notes": after["notes"] + "\r\n",
        "HiddenFromAddressListsEnabled": False,
        "MemberJoinRestriction": "Closed",
        "MemberDepartRestriction": "Closed",
        "RecipientTypeDetails": "MailUniversalSecurityGroup",
        "ManagedBy": ["Organization Management"],
        "Members": after["members"],
        **changed,
    }


@pytest.fixture(scope="module")
def holed() -> tuple[ScriptData, ScriptData]:
    """The file that makes a managed group, and the next one, its holes filled with what ``group_row`` shows."""
    plan = planned(load_sample(), "rbac", OMNISCOPE, "ada@contoso.com")
    made = next(step for step in plan.steps if step.target.kind == "group")
    row = group_row(script_step(made))
    known = {made.id: {"guid": row["Guid"], "distinguished_name": row["DistinguishedName"]}}
    filled = {step.id: each for step in plan.steps if (each := filled_step(step, known)) is not None}
    found = datas(plan, filled=filled, known=known)
    return found["01-grant-exchange.ps1"], found["02-grant-exchange.ps1"]


@pytest.mark.long
def test_a_filled_file_runs_where_the_object_is_the_one_it_was_written_for(
    exchange: Exchange, grant: Path, holed: tuple[ScriptData, ScriptData]
) -> None:
    first, second = holed
    made = next(step for step in first.steps if step.kind == "group")
    second = msgspec.structs.replace(second, after=None)
    grant.write_bytes(bytes_of(second))
    for changed in ({"Guid": "60000000-0000-0000-0000-0000000000ff"}, {"DistinguishedName": "CN=all staff,DC=example"}):
        exchange.write({**exchange.read(), "groups": [group_row(made, **changed)]})
        done = exchange.run(grant)
        assert done.returncode == 4 and "this file was written for" in done.stdout, done.stdout + done.stderr
    # Without that reading it is still the operation's own Guid that must be there.
    grant.write_bytes(bytes_of(msgspec.structs.replace(second, fills=())))
    exchange.write({**exchange.read(), "groups": [group_row(made, Guid="60000000-0000-0000-0000-0000000000ff")]})
    done = exchange.run(grant)
    assert done.returncode == 4 and "changed by somebody else" in done.stdout, done.stdout + done.stderr
    assert exchange.calls() == []
    grant.write_bytes(bytes_of(second))
    exchange.write({**exchange.read(), "groups": [group_row(made)]})
    done = exchange.run(grant)
    assert done.returncode == 0, done.stdout + done.stderr
    assert exchange.calls() == ["Set-DistributionGroup", "New-ManagementScope", "New-ManagementRoleAssignment"]


def test_a_group_that_does_not_show_what_later_files_need_is_not_done(
    exchange: Exchange, grant: Path, holed: tuple[ScriptData, ScriptData]
) -> None:
    made = next(step for step in holed[0].steps if step.kind == "group")
    grant.write_bytes(bytes_of(holed[0]))
    exchange.write({**exchange.read(), "groups": [group_row(made, ExternalDirectoryObjectId="")]})
    done = exchange.run(grant)
    assert done.returncode == 6 and "cannot tell how it stands" in done.stdout, done.stdout + done.stderr
    assert exchange.calls() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.removeprefix(b"\xef\xbb\xbf"),
        lambda content: content.removeprefix(b"\xef\xbb\xbf").decode("utf-8").encode("cp1252", "replace"),
        lambda content: b"\xef\xbb\xbf" + content.removeprefix(b"\xef\xbb\xbf").decode("cp1252", "replace").encode(),
        lambda content: content.decode("utf-8-sig").encode("utf-16"),
    ],
    ids=["no-mark", "windows-1252", "decoded-wrongly", "utf-16"],
)
def test_a_damaged_file_stops_before_its_first_operation(
    damage: Callable[[bytes], bytes], exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]
) -> None:
    content = damage(bytes_of(renamed(scripts[GRANT], HOSTILE[1])))
    grant.write_bytes(content)
    done = exchange.run(grant)
    assert done.returncode != 0
    assert exchange.calls() == [] and not Path(f"{grant}.result.json").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_graph_file_that_was_saved_anew_stops_before_its_first_call(
    encoding: str, exchange: Exchange, grant: Path, scripts: dict[str, ScriptData]
) -> None:
    data = msgspec.structs.replace(scripts[CUTOVER], after=None)
    grant.write_bytes(bytes_of(data).decode("utf-8-sig").encode(encoding, "replace"))
    # Would it call, it would fail otherwise: there is no Graph here, and no token.
    done = exchange.run(grant)
    assert done.returncode not in range(2, 7) and "ExoscopeDecoding" in done.stdout + done.stderr
    assert "tenant" not in done.stdout and not Path(f"{grant}.result.json").exists()
