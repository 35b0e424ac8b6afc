"""A plan done by its scripts alone against a twin: files, run in a real PowerShell, their results, the next files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.model import Plan, PlanFile, Snapshot
from exoscope.planning import plan_hash, plan_scope
from exoscope.running import Desk, Export, Opened, RunAnswer, Store, export, plan_back, take_result
from exoscope.scripting import ScriptData, bytes_of, explain, load_result
from exoscope.twin.server import Twin
from powershell_oracles import pwsh
from twin_fixtures import token

SHORT: Any = {"cache": 60.0, "token": 60.0, "managed_identity": 60.0, "long_token": 60.0}
SECURE = "$token = ConvertTo-SecureString -String $env:GRAPH_TOKEN -AsPlainText -Force"
MG_GRAPH = """\
function global:Invoke-MgGraphRequest {
    param($Method, $Uri, $Body, $ContentType, $OutputType)
    $null = $PSBoundParameters.Remove('OutputType')
    Invoke-RestMethod @PSBoundParameters -Headers @{ 'Authorization' = "Bearer $env:GRAPH_TOKEN" }
}
"""
"""What Connect-MgGraph leaves behind, as far as scripts use it."""
DYING = """\
$global:Sent = 0
function global:Complete-Send {
    $global:Sent += 1
    if ($global:Sent -eq [int] $env:DIE_AT) { [System.Diagnostics.Process]::GetCurrentProcess().Kill(); Start-Sleep -Seconds 60 }
}
"""
"""A process that is gone after so many writes took effect (``DIE_AT``)."""
DYING_CMDLET = """\
$body = [System.Management.Automation.ProxyCommand]::Create([System.Management.Automation.CommandMetadata] (Get-Command NAME))
$body = $body.Replace("GetCommand('NAME'", "GetCommand('ExchangeOnlineManagement\\NAME'")
$body = $body.Replace('$steppablePipeline.End()', '$steppablePipeline.End(); Complete-Send')
${function:global:NAME} = [scriptblock]::Create($body)
"""
DYING_GRAPH = """\
$global:Real = Get-Command Invoke-RestMethod
if ($global:Real.CommandType -eq 'Function') { $global:Real = $global:Real.ScriptBlock }
function global:Invoke-RestMethod {
    param($Method, $Uri, $Body, $ContentType, $Headers, [switch] $UseBasicParsing)
    & $global:Real @PSBoundParameters
    if ($Method -ne 'GET') { Complete-Send }
}
"""


def planned(tenant: Snapshot, mechanism: str, app: str, *mailboxes: str) -> Plan:
    """An app scoped to a list of mailboxes: a managed group is made, so that files have holes."""
    return plan_scope(
        tenant,
        loads_intent(
            f"version: 1\napps:\n  - app: {app}\n    permissions: [Mail.Read]\n    mechanism: {mechanism}\n"
            f"    scope:\n      mailboxes: [{', '.join(mailboxes)}]\n",
            "scope.yaml",
        ),
    )


def connect(domain: str) -> str:
    """The words with which an operator connects to the twin's Exchange."""
    return f"Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization '{domain}' -ShowBanner:$false"


def run(twin: Twin, folder: Path, before: str, words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What an operator's session does: connect, then run the script. The token comes by the environment, not by a file."""
    wrapper = folder / "session.ps1"
    # Strictness that the operator's profile sets must not reach the script.
    wrapper.write_text(f"{before}\nSet-StrictMode -Version Latest\n{words}\nexit $LASTEXITCODE\n", encoding="utf-8-sig")
    given = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE")}
    given |= {"PSModulePath": twin.ready["module"], "SSL_CERT_FILE": twin.ready["ca"], **environ}
    given["GRAPH_TOKEN"] = token(twin)
    given["EXCHANGE_TOKEN"] = token(twin, scope="https://outlook.office365.com/.default")
    return subprocess.run(
        [str(pwsh()), "-NoProfile", "-File", str(wrapper)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env=given,
        check=False,
    )


def aged(result: Path, seconds: float) -> None:
    """The result as if its script had ended so many seconds ago."""
    told = json.loads(result.read_text(encoding="utf-8"))
    ended = datetime.now(UTC) - timedelta(seconds=seconds)
    result.write_text(json.dumps({**told, "finished_at": ended.strftime("%Y-%m-%dT%H:%M:%SZ")}), encoding="utf-8")


class Chain:
    """One plan, its folder of files, and a state folder at whose desk nothing can be opened."""

    def __init__(self, folder: Path, twin: Twin, plan: Plan, tenant: Snapshot) -> None:
        self.folder, self.twin, self.tenant = folder, twin, tenant
        self.file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
        self.store = Store(folder / "state")
        self.data: dict[str, ScriptData] = {}
        self.desk = Desk(
            store=self.store,
            clock=SystemClock(),
            progress=lambda event: None,
            open=self._never,
            operator="scripts",
            waits=SHORT,
            lengthen=False,
        )

    @contextlib.contextmanager
    def _never(self, plan: Plan) -> Iterator[Opened]:
        raise AssertionError("a connection was opened")
        yield

    def write(self) -> Export:
        """The files that can be written now; each is what the guard takes."""
        graph = self.twin.ready["graph"].removesuffix("/v1.0")
        found = export(self.file, self.store, SHORT, lengthen=False, graph=graph)
        for part in found.parts:
            content = bytes_of(part.data)
            explained = explain(content)
            assert explained is not None and explained.data == part.data
            self.data[part.data.script] = part.data
            (self.folder / part.data.script).write_bytes(content)
        return found

    def run(
        self, name: str, *words: str, code: int = 0, die_at: int = 0, session: str = SECURE, again: str = ""
    ) -> str:
        """Run one file as an operator does, the wait before it over and its evidence seen; what it said.

        ``die_at``: the process is gone after that many writes. ``again``: the same file before, in the same session, with these
        words. ``session``: how Graph is reached, with a token or without.
        """
        data = self.data[name]
        told = [f"& '{self.folder / name}'", "-ReadBackSeconds 20", *words]
        if data.after is not None and data.after.script:
            before = self.folder / f"{data.after.script}.result.json"
            aged(before, data.after.seconds + 1)
            told.append(f"-AfterResult '{before}'")
        if data.after is not None and data.after.evidence:
            told.append(f"-EvidenceSeen {data.after.stage}")
        if data.part == "graph" and session == SECURE:
            told.append("-AccessToken $token")
        opening = connect(data.tenant.domain) if data.part == "exchange" else session
        if die_at:
            opening += "\n" + DYING + (DYING_GRAPH if data.part == "graph" else self._dying(name))
        call = " ".join(told)
        calls = f"{call} {again}\n{call}" if again else call
        done = run(self.twin, self.folder, opening, calls, DIE_AT=str(die_at))
        died = done.returncode not in range(7)  # none of a script's own exit codes
        assert died if die_at else done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def _dying(self, name: str) -> str:
        explained = explain((self.folder / name).read_bytes())
        assert explained is not None
        writes = {pipeline[0].cmdlet for pipeline in explained.pipelines if not pipeline[0].cmdlet.startswith("Get-")}
        return "".join(DYING_CMDLET.replace("NAME", cmdlet) for cmdlet in sorted(writes))

    def result(self, name: str) -> dict[str, Any]:
        """What a file noted of its run."""
        found: dict[str, Any] = json.loads((self.folder / f"{name}.result.json").read_text(encoding="utf-8"))
        return found

    def take(self, name: str) -> RunAnswer:
        """Its result taken into the plan's run."""
        path = self.folder / f"{name}.result.json"
        return take_result(load_result(path.read_bytes(), path.name), self.desk, self.file, lambda: self.tenant)

    def back(self) -> Chain:
        """The way back, as a chain of its own over the same folder."""
        plan = plan_back(self.file, self.store, None, lambda: self.tenant, lengthen=False)
        assert isinstance(plan, Plan), plan
        return Chain(self.folder, self.twin, plan, self.tenant)
