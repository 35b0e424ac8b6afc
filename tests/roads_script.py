"""The cases of ``roads_cases`` as one script: each operation in the frame that exported scripts have, in a real PowerShell.

Frame and script are the product's; what asks for the next case, and what writes down what came of it, stands here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import roads_change
from exoscope.exchange.errors import Failure, typed
from exoscope.outcome import ObjectNotFound
from exoscope.planning import plan_hash
from exoscope.powershell import literal, template_dir
from exoscope.scripting import parts_of, text_of
from exoscope.twin.server import Twin
from roads_cases import Case
from twin_fixtures import token

_BEGIN = "$ErrorActionPreference = 'Stop'\n{connect}\n$Cases = [ordered]@{{\n"
_WALK = """
}
foreach ($name in @($Cases.Keys)) {
    [Console]::Out.WriteLine("ready $name")
    [void] [Console]::In.ReadLine()
    $told = [ordered]@{ rows = @(); error = $null }
    try { $told['rows'] = @((ConvertTo-ExoscopeSeen @{ rows = @(Invoke-ExoscopeOperation $Cases[$name]) })['rows']) }
    catch {
        $told['error'] = [ordered]@{
            message  = Get-ExoscopeError $_
            id       = $_.FullyQualifiedErrorId
            category = [string] $_.CategoryInfo.Category
            types    = @($_.Exception.PSObject.TypeNames)
            missing  = Test-ExoscopeNotFound $_
        }
    }
    [System.IO.File]::WriteAllText((Join-Path $PSScriptRoot "$name.json"), (ConvertTo-Json -InputObject $told -Depth 9))
}
[Console]::Out.WriteLine('ready end')
"""


def _frame() -> str:
    """What an exported script holds after its data and operations, but for the part that goes through its steps."""
    first, last = (
        (template_dir() / "change" / f"{name}.ps1").read_text(encoding="utf-8") for name in ("common", "main")
    )
    plan = roads_change.plan()
    ((part,), _) = parts_of(plan, plan_hash(plan))
    text = text_of(part.data)
    assert text.endswith(last)
    return text[text.index(first) : -len(last)]


def run_connected(program: str, twin: Twin, folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    """What an operator's session does: connect, then these words."""
    path = folder / "session.ps1"
    path.write_text(f"{_connect(twin)}\n{words}\nexit $LASTEXITCODE\n", encoding="utf-8-sig")
    return subprocess.run(
        [program, "-NoProfile", "-File", str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        env=_environ(twin),
        check=False,
    )


def _connect(twin: Twin) -> str:
    organization = literal(twin.tenant.state.tenant.domain)
    return f"Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization {organization} -ShowBanner:$false"


def _environ(twin: Twin) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EXOSCOPE")}
    access = token(twin, scope="https://outlook.office365.com/.default")
    return {**kept, "PSModulePath": twin.ready["module"], "EXCHANGE_TOKEN": access}


class Script:
    """The script, running and waiting. ``ask`` goes through the cases in their order."""

    def __init__(self, program: str, folder: Path, twin: Twin, cases: Iterable[Case]) -> None:
        self.folder = folder
        blocks = "".join(f"'{number}' = {{\n{case.script}\n}}\n" for number, case in enumerate(cases))
        text = _frame() + _BEGIN.format(connect=_connect(twin)) + blocks + _WALK
        path = folder / "walk.ps1"
        path.write_text(text, encoding="utf-8-sig")
        self._errors = (folder / "stderr").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [program, "-NoProfile", "-File", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environ(twin),
        )
        self._next = self._ready()

    def _ready(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, name = line.strip().partition(" ")
            if word == "ready":
                return name
        self._errors.seek(0)
        raise AssertionError(f"the script ended: {self._errors.read()}")

    def ask(self, script: str) -> tuple[list[dict[str, Any]], list[str]]:
        """What came of the next case; its script stands in the file already."""
        del script
        assert self._process.stdin is not None
        number = self._next
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._next = self._ready()
        told = json.loads((self.folder / f"{number}.json").read_text(encoding="utf-8"))
        error = told["error"]
        if error is None:
            return told["rows"], []
        found = typed(Failure(error["message"], error["id"], error["category"], tuple(error["types"])))
        if error["missing"] is not isinstance(found, ObjectNotFound):
            raise AssertionError(f"the frame reads {found.code} as missing={error['missing']}: {found.message}")
        raise found

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()
