"""Scripts that check a plan, on a real PowerShell against the twin: the verdict is the one that a connection gives."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import exoscope.twin
from exoscope.checking import verify_recorded
from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.model import Plan, PlanFile, Proof, Snapshot
from exoscope.planning import plan_hash, plan_scope
from exoscope.planning.effect import apply_steps
from exoscope.planning.timing import WAITS
from exoscope.profile import load_profile
from exoscope.proving import Options, of_plan, prove
from exoscope.reach import Reach
from exoscope.reading import Connection, read_snapshot
from exoscope.running import Store
from exoscope.running.tenancy import wanted_by
from exoscope.scripting import (
    Asking,
    ReadData,
    Recorded,
    check_parts,
    graph_root,
    load_reading,
    read_bytes_of,
    recorded,
)
from exoscope.twin.server import Twin
from pwsh_sessions import CONNECT, PROGRAM, parsed, session
from reading_results import few, without_time
from scripting_plans import INTENT
from twin_fixtures import load_sample

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(PROGRAM is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
    pytest.mark.timeout(300),
]
EVERYTHING = Asking(sample=300)
POLICY = INTENT.replace("rbac", "access-policy")

# What Microsoft's module offers in a session of Connect-MgGraph, as far as the scripts use it.
MG = """
function global:Get-MgContext {
    [pscustomobject]@{ AuthType = 'AppOnly'; ClientId = $env:APP_ID; TenantId = $env:TENANT_ID; Scopes = @('Mail.Read') }
}
function global:Invoke-MgGraphRequest {
    param([string] $Method, [string] $Uri, $Body, [string] $ContentType, [string] $OutputType)
    $call = @{ 'Method' = $Method; 'Uri' = $Uri; 'Headers' = @{ 'Authorization' = "Bearer $($env:MG_TOKEN)" } }
    if ($Body) { $call['Body'] = $Body; $call['ContentType'] = $ContentType }
    Invoke-RestMethod @call
}
"""


def planned(intent: str, tenant: Snapshot) -> PlanFile:
    plan = plan_scope(tenant, loads_intent(intent, "scope.yaml"))
    return PlanFile("exoscope/plan@1", plan_hash(plan), plan)


def written(file: PlanFile, twin: Twin | None, folder: Path, asking: Asking) -> list[ReadData]:
    plan, wanted = file.plan, wanted_by(file.plan)
    root = graph_root(plan.tenant, None if twin is None else twin.ready["graph"].removesuffix("/v1.0"))
    parts = check_parts(plan, file.hash, root, groups=wanted.groups, attributes=wanted.attributes, asking=asking)
    for data in parts:
        (folder / data.script).write_bytes(read_bytes_of(data))
    return list(parts)


def results(parts: list[ReadData], folder: Path) -> Recorded:
    names = [f"{data.script}.result.jsonl" for data in parts]
    return recorded([load_reading((folder / name).read_bytes(), name) for name in names])


def proven(file: PlanFile, taken: Recorded, folder: Path) -> Proof:
    done = verify_recorded(
        file,
        taken,
        Store(folder / "state"),
        waits=WAITS,
        lengthen=True,
        operator="somebody",
        now=datetime.now(UTC),
        progress=lambda text: None,
    )
    return done.proof


def live(plan: Plan, twin: Twin) -> tuple[Proof, Snapshot]:
    profile = load_profile(Path(twin.ready["profile"]), os.environ)
    with Connection(profile, SystemClock()) as connection:
        fresh = read_snapshot(connection, wanted=wanted_by(plan))
        reach = Reach(fresh)
        claims = [of_plan(app, reach) for app in plan.apps]
        return prove(connection, reach, claims, Options(), {}, SystemClock(), lambda text: None), fresh


def told(proof: Proof) -> Any:
    """A proof without the ids of the calls, and without what follows from when it was asked."""
    built = msgspec.to_builtins(proof)
    for app in built["apps"]:
        for permission in app["permissions"].values():
            for check in permission["checks"]:
                check["graph_request_id"] = bool(check["graph_request_id"])
    built.pop("ready_at")
    return built


def test_they_parse_and_hold_no_syntax_that_windows_powershell_lacks(tmp_path: Path) -> None:
    parts = written(planned(INTENT, few(load_sample())), None, tmp_path, EVERYTHING)
    texts = [read_bytes_of(each).decode("utf-8-sig") for each in parts]
    assert [(each["errors"], each["newer"]) for each in parsed(*texts)] == [([], [])] * 3


def test_a_scoped_app_is_proven_as_over_a_connection(tmp_path: Path) -> None:
    tenant = few(load_sample())
    file = planned(INTENT, tenant)
    scoped = apply_steps(tenant, file.plan.steps)
    app = file.plan.apps[0].app_id
    with exoscope.twin.serve(scoped, propagation=0.1, token_lifetime=600.0) as twin:
        parts = written(file, twin, tmp_path, EVERYTHING)
        exchange, graph, as_app = (tmp_path / data.script for data in parts)
        (tmp_path / "fewer").mkdir()
        fewer = written(file, twin, tmp_path / "fewer", Asking(sample=2, whole=False, seed=7, limit_refusals=1))
        sampled = tmp_path / "fewer" / fewer[0].script
        ended = session(
            twin,
            tmp_path,
            # Nobody is asked about before Exchange's script said about whom, and nobody else's token will do.
            f"& '{as_app}' -AccessToken $appToken",
            f"& '{as_app}' -AccessToken $token",
            CONNECT,
            f"& '{exchange}'",
            f"& '{graph}' -AccessToken $token",
            f"& '{as_app}' -AccessToken $appToken",
            f"& '{sampled}'",
            app=app,
        )
        assert [each.code for each in ended] == [4, 6, 0, 0, 0, 0, 0], ended
        assert "give -AfterResult" in ended[0].told and f"meant is {app}" in ended[1].told
        taken = results(parts, tmp_path)
        proof, fresh = live(file.plan, twin)
        assert proof.verdict == "proven"
        assert told(proven(file, taken, tmp_path)) == told(proof)
        # What they read is a snapshot, too.
        assert without_time(read_snapshot(taken, wanted=wanted_by(file.plan))) == without_time(fresh)
    # A sample: everybody inside, two of the others, and one call that will be refused.
    asked = load_reading(Path(f"{sampled}.result.jsonl").read_bytes(), "sample").asked[app.casefold()]
    inside = {check.mailbox for check in proof.apps[0].permissions["Mail.Read"].checks if check.expected == "allowed"}
    guids = {r.guid for r in tenant.recipients if r.primary_smtp_address in inside}  # type: ignore[union-attr]  # the sample was read
    assert guids < asked.tested and guids < asked.probed
    assert (len(asked.tested - guids), len(asked.probed - guids)) == (2, 1)
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"eyJ" not in held, "a token is in a file"


@pytest.mark.parametrize("intent", [pytest.param(INTENT, marks=pytest.mark.long), POLICY], ids=["rbac", "policy"])
def test_an_app_that_is_not_scoped_is_violated_as_over_a_connection(tmp_path: Path, intent: str) -> None:
    """In sessions of Connect-MgGraph, whose own words say as whom Graph is asked."""
    tenant = few(load_sample())
    file = planned(intent, tenant)
    app = file.plan.apps[0].app_id
    with exoscope.twin.serve(tenant, propagation=0.1, token_lifetime=600.0) as twin:
        parts = written(file, twin, tmp_path, EVERYTHING)
        exchange, graph, as_app = (tmp_path / data.script for data in parts)
        ended = session(
            twin,
            tmp_path,
            f"{CONNECT}\n{MG}",
            f"& '{exchange}'",
            f"$env:MG_TOKEN = $env:GRAPH_TOKEN; & '{graph}'",
            f"$env:APP_ID = 'another'; $env:TENANT_ID = '{tenant.tenant.id}'; & '{as_app}'",
            f"$env:MG_TOKEN = $env:APP_TOKEN; $env:APP_ID = '{app}'; & '{as_app}'",
            app=app,
        )
        assert [each.code for each in ended] == [0, 0, 0, 6, 0], ended
        taken = results(parts, tmp_path)
        proof, _ = live(file.plan, twin)
        assert proof.verdict == "violated"
        assert told(proven(file, taken, tmp_path)) == told(proof)
