"""docs/jea.md on a real PowerShell engine: what an endpoint without language answers exoscope, and the page's recipe in one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from docs_pages import fenced, text_of
from exoscope import powershell
from exoscope.exchange.local import PwshPool
from exoscope.model import Secret
from exoscope.outcome import ServiceError
from exoscope.powershell import render_guarded
from powershell_oracles import pwsh as named

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]
BLOCKS = [block.text for block in fenced(text_of("docs/jea.md")) if block.kind == "powershell"]
(ENDPOINT,) = (text for text in BLOCKS if text.startswith("# C:\\exoscope\\exoscope-approved.pssc"))
(RUN,) = (text for text in BLOCKS if text.startswith("# C:\\exoscope\\run.ps1"))
SYSTEM = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe"
# The endpoint as JEA makes it of that file, as far as it can be made without Windows: no language, and only its functions.
DRIVER = """\
param([string] $Endpoint, [string] $Calls)
$file = & ([scriptblock]::Create([System.IO.File]::ReadAllText($Endpoint)))
if ($file['SessionType'] -ne 'RestrictedRemoteServer') { throw 'no JEA endpoint' }
$state = [System.Management.Automation.Runspaces.InitialSessionState]::CreateDefault2()
foreach ($command in $state.Commands) { $command.Visibility = 'Private' }
foreach ($each in $file['FunctionDefinitions']) {
    $made = [System.Management.Automation.Runspaces.SessionStateFunctionEntry]::new($each['Name'], "$($each['ScriptBlock'])")
    if ($file['VisibleFunctions'] -notcontains $each['Name']) { throw "$($each['Name']) is not visible" }
    $state.Commands.Add($made)
}
$state.LanguageMode = 'NoLanguage'
$space = [runspacefactory]::CreateRunspace($state)
$space.Open()
foreach ($call in (ConvertFrom-Json ([System.IO.File]::ReadAllText($Calls)))) {
    $shell = [powershell]::Create()
    $shell.Runspace = $space
    if ($call.script) { $null = $shell.AddScript($call.script) } else { $null = $shell.AddCommand($call.command) }
    foreach ($each in $call.with) { $null = $shell.AddParameter($each.name, $each.value) }
    $told = @()
    try {
        foreach ($line in $shell.Invoke()) { $told += "$line" }
        foreach ($record in $shell.Streams.Error) { $told += "error: $($record.Exception.Message)" }
    }
    catch { $told += "refused: $($_.Exception.InnerException.ErrorRecord.FullyQualifiedErrorId)" }
    ConvertTo-Json -Compress -InputObject @($told)
    $shell.Dispose()
}
"""
APPROVED = """\
[CmdletBinding(SupportsShouldProcess = $true)]
param([string] $AfterResult = '', [string] $EvidenceSeen = '', [string] $ResultPath = '')
"$env:JEA_CONNECTED after=$AfterResult seen=$EvidenceSeen whatif=$WhatIfPreference"
[System.IO.File]::WriteAllText($ResultPath, 'the result')
exit 3
"""
CONNECT = """\
function Connect-ExchangeOnline {
    param($AppId, $CertificateThumbprint, $Organization, $ShowBanner, [switch] $SkipLoadingFormatData)
    $env:JEA_CONNECTED = 'exchange'
}
function Connect-MgGraph {
    param($ClientId, $TenantId, $CertificateThumbprint, [switch] $NoWelcome)
    $env:JEA_CONNECTED = 'graph'
}
"""


class Endpoint:
    """The page's files in a folder of this machine, its PowerShell in the place of Windows' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("approved", "results"):
            (folder / name).mkdir()
        for name in ("01-grant-exchange.ps1", "02-cutover-graph.ps1"):
            (folder / "approved" / name).write_text(APPROVED, encoding="utf-8")
        (folder / "endpoint.pssc").write_text(self._here(ENDPOINT), encoding="utf-8")
        # what the two modules would bring stands before the file's first statement
        head, param, rest = self._here(RUN).partition("param(")
        parameters, close, body = rest.partition(")\n")
        (folder / "run.ps1").write_text(f"{head}{param}{parameters}{close}{CONNECT}{body}", encoding="utf-8")
        (folder / "driver.ps1").write_text(DRIVER, encoding="utf-8")

    def _here(self, text: str) -> str:
        assert SYSTEM in text or text == RUN
        moved = text.replace(SYSTEM, str(named())).replace("C:\\exoscope\\", f"{self.folder}/")
        return moved.replace("approved\\", "approved/").replace("results\\", "results/")

    def call(self, *calls: dict[str, object]) -> list[list[str]]:
        """What each call answers, line by line."""
        (self.folder / "calls.json").write_text(json.dumps(calls), encoding="utf-8")
        words = ["-Endpoint", str(self.folder / "endpoint.pssc"), "-Calls", str(self.folder / "calls.json")]
        done = subprocess.run(
            [str(named()), "-NoProfile", "-File", str(self.folder / "driver.ps1"), *words],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def run(**values: object) -> dict[str, object]:
    return {
        "command": "Invoke-ApprovedScript",
        "with": [{"name": name, "value": value} for name, value in values.items()],
    }


@pytest.mark.long
def test_the_function_runs_approved_scripts_and_nothing_else_can_be_called(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path)
    tried, done, other, strange, absent, script, cmdlet, result = endpoint.call(
        run(Name="01-grant-exchange.ps1", Try=True),
        run(Name="02-cutover-graph.ps1", After="01-grant-exchange.ps1", EvidenceSeen="grant"),
        run(Name="../run.ps1"),
        run(Name="01-grant-exchange.ps1", EvidenceSeen="x; Get-ChildItem"),
        run(Name="03-absent.ps1"),
        {"script": "Invoke-ApprovedScript -Name '01-grant-exchange.ps1'"},
        {"command": "Get-ChildItem"},
        {"command": "Get-ApprovedResult", "with": [{"name": "Name", "value": "02-cutover-graph.ps1"}]},
    )
    assert tried == ["exchange after= seen= whatif=True", "exit 3"]
    assert done == [
        f"graph after={tmp_path}/results/01-grant-exchange.ps1.result seen=grant whatif=False",
        "exit 3",
    ]
    assert other == strange == ["refused: ParameterArgumentValidationError,Invoke-ApprovedScript"]
    assert absent == ["refused: no approved script is named 03-absent.ps1"]
    assert script == ["refused: ScriptsNotAllowed"]
    assert cmdlet == ["refused: CommandNotFoundException"]
    assert result == ["the result"]


@pytest.mark.parametrize("mode", ["NoLanguage", "RestrictedLanguage"])
def test_without_language_exoscope_says_so_and_nothing_runs(mode: str) -> None:
    pool = PwshPool(str(named()))
    pool.open(deadline=60)
    try:
        pool.invoke(f"$ExecutionContext.SessionState.LanguageMode = '{mode}'", deadline=60)
        given = {"AccessToken": Secret("hunter2"), "Organization": "contoso", "CommandName": ("Get-Recipient",)}
        with pytest.raises(ServiceError) as refused:
            pool.invoke(powershell.prelude().text, given, deadline=60)
        assert refused.value.code == "language-mode"
        assert "JEA" in refused.value.next
        assert "hunter2" not in refused.value.message
        if mode == "NoLanguage":
            with pytest.raises(ServiceError) as refused:
                pool.invoke(render_guarded("session/connection", {}).text, deadline=60)
            assert refused.value.code == "language-mode"
    finally:
        pool.close()
