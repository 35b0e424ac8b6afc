"""Exported scripts on a real PowerShell against the twin: through its Exchange module and its Graph, from plan to end, and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import exoscope.twin
from exoscope.model import Plan
from exoscope.planning import dump_plan
from exoscope.scripting import ScriptData, bytes_of, explain, undo_of
from exoscope.twin.server import Twin
from powershell_oracles import pwsh
from scripting_chain import run
from scripting_plans import datas, sample_plan
from twin_fixtures import SAMPLE, GraphCaller, load_sample

PROGRAM = pwsh()
pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(PROGRAM is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]
GRANT, CUTOVER = "01-grant-exchange.ps1", "02-cutover-graph.ps1"
SHORT: Any = {"cache": 60.0, "token": 1.0, "managed_identity": 1.0, "long_token": 1.0}


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(load_sample(), propagation=0.2, token_lifetime=600.0) as twin:
        yield twin


@pytest.fixture(scope="module")
def plan() -> Plan:
    return sample_plan()


@pytest.fixture(scope="module")
def scripts(served: Twin, plan: Plan) -> dict[str, ScriptData]:
    return datas(plan, SHORT, graph=served.ready["graph"].removesuffix("/v1.0"))


def test_the_whole_change_by_scripts_alone(
    served: Twin, plan: Plan, scripts: dict[str, ScriptData], tmp_path: Path
) -> None:
    for name, data in scripts.items():
        (tmp_path / name).write_bytes(bytes_of(data))
        assert explain(bytes_of(data)) is not None
    domain = plan.tenant.domain
    connect = f"Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization '{domain}' -ShowBanner:$false"
    secure = "$token = ConvertTo-SecureString -String $env:GRAPH_TOKEN -AsPlainText -Force"
    grant, cutover = tmp_path / GRANT, tmp_path / CUTOVER
    result = Path(f"{grant}.result.json")
    graph = f"& '{cutover}' -AccessToken $token -AfterResult '{result}'"

    # Not connected: refused, and nothing is written. Then tried, then done.
    done = run(served, tmp_path, "", f"& '{grant}'")
    assert done.returncode == 6 and "Connect-ExchangeOnline" in done.stdout, done.stdout + done.stderr
    done = run(served, tmp_path, connect, f"& '{grant}' -WhatIf; & '{grant}' -ReadBackSeconds 20")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [step["outcome"] for step in json.loads(result.read_text())["steps"]] == ["done"] * 3
    state = served.tenant.state
    assert {step.key["name"] for step in scripts[GRANT].steps[1:2]} <= {each.name for each in state.management_scopes}  # type: ignore[union-attr]  # the sample tenant was read whole
    assert scripts[GRANT].steps[2].key["name"] in {each.name for each in state.role_assignments}  # type: ignore[union-attr]  # as above

    # The next one waits for the gate, and then for the word that its evidence was seen.
    done = run(served, tmp_path, secure, f"& '{cutover}' -AccessToken $token")
    assert done.returncode == 4 and "-AfterResult" in done.stdout, done.stdout + done.stderr
    done = run(served, tmp_path, secure, graph)
    assert done.returncode == 3 and "is over at" in done.stdout, done.stdout + done.stderr
    told = json.loads(result.read_text())
    ended = datetime.now(UTC) - timedelta(seconds=61)
    result.write_text(json.dumps({**told, "finished_at": ended.strftime("%Y-%m-%dT%H:%M:%SZ")}))
    done = run(served, tmp_path, secure, graph)
    assert done.returncode == 4 and "-EvidenceSeen grant" in done.stdout, done.stdout + done.stderr

    # With both: the consent and the request go, and every other entry of the registration stays.
    caller = GraphCaller(served)
    path = plan.steps[4].request.path + "?$select=id,requiredResourceAccess"  # type: ignore[union-attr]  # a Graph step
    before = caller("GET", path).json()["requiredResourceAccess"]
    done = run(served, tmp_path, secure, f"{graph} -EvidenceSeen grant -ReadBackSeconds 20")
    assert done.returncode == 0, done.stdout + done.stderr
    role = plan.steps[4].target.key["app_role_id"]
    kept = [
        {**entry, "resourceAccess": rest}
        for entry in before
        if (rest := [each for each in entry["resourceAccess"] if (each["type"], each["id"]) != ("Role", role)])
    ]
    assert kept != before and caller("GET", path).json()["requiredResourceAccess"] == kept
    gone = plan.steps[3].request.path.rpartition("/")  # type: ignore[union-attr]  # a Graph step
    assert gone[2] not in {row["id"] for row in caller.every(gone[0])}
    assert no_token_is_left(tmp_path)

    # Run again: everything is so already, and nothing is sent.
    done = run(served, tmp_path, secure, f"{graph} -EvidenceSeen grant")
    assert done.returncode == 0 and "sending" not in done.stdout, done.stdout + done.stderr


def no_token_is_left(folder: Path) -> bool:
    """No file that was written holds a token."""
    return all(b"eyJ" not in path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_the_way_back_by_scripts_alone(served: Twin, plan: Plan, tmp_path: Path) -> None:
    """After the whole change: the consent and the request come back, then the narrow access goes."""
    back = undo_of(plan, load_sample())
    restore, withdraw = datas(back, SHORT, graph=served.ready["graph"].removesuffix("/v1.0")).values()
    for data in (restore, withdraw):
        (tmp_path / data.script).write_bytes(bytes_of(data))
    first, second = tmp_path / restore.script, tmp_path / withdraw.script
    secure = "$token = ConvertTo-SecureString -String $env:GRAPH_TOKEN -AsPlainText -Force"
    done = run(served, tmp_path, secure, f"& '{first}' -AccessToken $token -ReadBackSeconds 20")
    assert done.returncode == 0, done.stdout + done.stderr
    caller = GraphCaller(served)
    role = plan.steps[3].target.key["app_role_id"]
    path = f"/servicePrincipals/{plan.apps[0].object_id}/appRoleAssignments"
    assert role in {row["appRoleId"] for row in caller.every(path)}
    patched = plan.steps[4].request.path + "?$select=id,requiredResourceAccess"  # type: ignore[union-attr]  # a Graph step
    required = caller("GET", patched).json()["requiredResourceAccess"]
    assert any(each["id"] == role for entry in required for each in entry["resourceAccess"])

    result = Path(f"{first}.result.json")
    told = json.loads(result.read_text())
    assert withdraw.after is not None and withdraw.after.seconds == 60
    ended = datetime.now(UTC) - timedelta(seconds=61)
    result.write_text(json.dumps({**told, "finished_at": ended.strftime("%Y-%m-%dT%H:%M:%SZ")}))
    connect = f"Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization '{plan.tenant.domain}' -ShowBanner:$false"
    done = run(served, tmp_path, connect, f"& '{second}' -AfterResult '{result}' -ReadBackSeconds 20")
    assert done.returncode == 0, done.stdout + done.stderr
    state, sample = served.tenant.state, load_sample()
    for name in ("management_scopes", "role_assignments", "service_principals"):
        assert len(getattr(state, name)) == len(getattr(sample, name))


@pytest.mark.long
def test_a_result_goes_on_as_a_run(plan: Plan, tmp_path: Path) -> None:
    """exoscope script, PowerShell, verify --from-script, resume: what the script did is not repeated."""
    (tmp_path / "plan.json").write_bytes(dump_plan(plan))
    (tmp_path / "plan.snapshot.json").write_bytes(SAMPLE.read_bytes())

    def exoscope_(*words: str, code: int = 0) -> dict[str, Any]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE")}
        environ["EXOSCOPE_PROFILE"] = twin.ready["profile"]
        done = subprocess.run(
            [sys.executable, "-m", "exoscope", *words, "--json"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=90,
            cwd=tmp_path,
            env=environ,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    with exoscope.twin.serve(load_sample(), propagation=30.0, token_lifetime=600.0) as twin:
        exoscope_("script", "plan.json", "-o", ".")
        connect = f"Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization '{plan.tenant.domain}' -ShowBanner:$false"
        done = run(twin, tmp_path, connect, f"& '{tmp_path / GRANT}' -ReadBackSeconds 60")
        assert done.returncode == 0, done.stdout + done.stderr
        made = len(twin.tenant.state.role_assignments)  # type: ignore[arg-type]  # the sample tenant was read whole
        words = ("--state", str(tmp_path / "state"))
        taken = exoscope_("verify", "plan.json", "--from-script", f"{GRANT}.result.json", *words)
        assert (taken["done"], taken["steps"]) == (0, 5)
        gone_on = exoscope_("resume", taken["run"], *words, code=3)
        assert (gone_on["outcome"], gone_on["done"]) == ("waiting", 3)
        assert len(twin.tenant.state.role_assignments) == made  # type: ignore[arg-type]  # as above


def test_another_tenants_token_is_refused(served: Twin, scripts: dict[str, ScriptData], tmp_path: Path) -> None:
    tenant = msgspec.structs.replace(scripts[CUTOVER].tenant, id="00000000-0000-0000-0000-000000000000")
    script = tmp_path / "other.ps1"
    script.write_bytes(bytes_of(msgspec.structs.replace(scripts[CUTOVER], tenant=tenant, after=None)))
    secure = "$token = ConvertTo-SecureString -String $env:GRAPH_TOKEN -AsPlainText -Force"
    done = run(served, tmp_path, secure, f"& '{script}' -AccessToken $token")
    assert done.returncode == 6 and "meant is 00000000" in done.stdout, done.stdout + done.stderr
