"""Scripts that check a plan, on a real PowerShell against the twin: the verdict is the one that a connection gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

import exoscope.twin
from exoscope.checking import verify_recorded
from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.model import Plan, PlanFile, Proof, Snapshot
from exoscope.planning import load_plan, plan_hash, plan_scope
from exoscope.planning.effect import apply_steps
from exoscope.planning.timing import WAITS
from exoscope.powershell.characters import SINGLE_QUOTES
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
    read_parts,
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
HOSTILE = f"O'Brien {SINGLE_QUOTES} '; Remove-Everything #\n}} \u00d2 --% $(x) \U0001f600"
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
    root = graph_root(load_sample().tenant)
    parts += read_parts("worldwide", root, tenant=None, groups=(HOSTILE,), attributes=())
    texts = [read_bytes_of(each).decode("utf-8-sig") for each in parts]
    assert [(each["errors"], each["newer"]) for each in parsed(*texts)] == [([], [])] * 5


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


@pytest.mark.parametrize("intent", [INTENT, POLICY], ids=["rbac", "policy"])
@pytest.mark.long
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


@pytest.mark.long
def test_the_whole_job_with_no_connection_of_exoscopes_own(tmp_path: Path) -> None:
    """As docs/scripts.md tells it: every tenant call is made by a script, and exoscope has nobody to sign in as."""
    tenant = few(load_sample())
    (tmp_path / "scope.yaml").write_text(INTENT, encoding="utf-8")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE")}

    def exo(*words: object, code: int = 0) -> Any:
        command = [sys.executable, "-m", "exoscope", *map(str, words), "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    with exoscope.twin.serve(tenant, propagation=0.1, token_lifetime=900.0) as twin:
        ready = twin.ready
        graph, exchange = (ready[name].removesuffix("/v1.0") for name in ("graph", "admin_api"))
        exchange = "/".join(exchange.split("/")[:3])
        authority = "/".join(ready["authority"].split("/")[:3])
        (tmp_path / "exoscope.toml").write_text(
            f'tenant = "{tenant.tenant.id}"\nstate = "state"\n'
            f'[endpoints]\nauthority = "{authority}"\ngraph = "{graph}"\nexchange = "{exchange}"\nca = "{ready["ca"]}"\n'
            "[waits]\ncache = 1\ntoken = 2\nmanaged_identity = 2\nlong_token = 2\n",
            encoding="utf-8",
        )
        run: Any = partial(session, twin, tmp_path)
        # Read, and plan.
        names = [each["file"] for each in exo("script", "--read", "--for", "scope.yaml", "-o", "read")["files"]]
        ended = run(CONNECT, f"& 'read/{names[0]}'", f"& 'read/{names[1]}' -AccessToken $token")
        assert [each.code for each in ended] == [0, 0, 0], ended
        noted = [f"read/{name}.result.jsonl" for name in names]
        exo("snapshot", "--from-script", *noted, "--for", "scope.yaml", "-o", "tenant.json")
        exo("plan", "scope.yaml", "--snapshot", "tenant.json", "-o", "plan.json")
        change = [each["file"] for each in exo("script", "plan.json", "-o", "change")["files"]]
        checks = [each["file"] for each in exo("script", "plan.json", "--check", "-o", "check")["files"]]
        app = load_plan((tmp_path / "plan.json").read_bytes()).plan.apps[0].app_id

        def checked(*words: str, code: int = 0) -> Any:
            files = [f"check/{name}" for name in checks]
            tokens = ("", " -AccessToken $token", " -AccessToken $appToken")
            calls = [f"& '{file}'{given}" for file, given in zip(files, tokens, strict=True)]
            ended = run(CONNECT, *calls, app=app)
            assert [each.code for each in ended] == [0, 0, 0, 0], ended
            return exo(
                "verify", "plan.json", "--from-script", *(f"{file}.result.jsonl" for file in files), *words, code=code
            )

        # Nothing is granted yet; then it is, and the gate opens; then the consent goes.
        assert checked("--stage", "grant", code=1)["verdict"] == "violated"
        ended = run(CONNECT, f"& 'change/{change[0]}' -ReadBackSeconds 30")
        assert ended[1].code == 0, ended
        exo("verify", "plan.json", "--snapshot", "tenant.json", "--from-script", f"change/{change[0]}.result.json")
        assert checked("--stage", "grant")["verdict"] == "configured"
        assert exo("verify", "plan.json", "--from-script", *(f"check/{name}.result.jsonl" for name in checks), code=1)
        before = f"-AfterResult 'change/{change[0]}.result.json' -EvidenceSeen grant"
        ended = run(f"& 'change/{change[1]}' -AccessToken $token -ReadBackSeconds 30 {before}")
        assert ended[0].code == 0, ended
        exo("verify", "plan.json", "--from-script", f"change/{change[1]}.result.json")
        # Each session has a token of its own: the last one is from after the removal.
        assert checked("--stage", "cutover")["verdict"] == "proven"
        proof = exo("verify", "plan.json", "--from-script", *(f"check/{name}.result.jsonl" for name in checks))
        assert proof["verdict"] == "proven" and proof["apps"][0]["scoped"] is True
