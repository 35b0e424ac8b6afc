"""An operator's PowerShell session against a twin, for tests of scripts that people run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from exoscope.twin.server import Twin
from powershell_oracles import pwsh
from twin_fixtures import token

PROGRAM = pwsh()


class Ended(NamedTuple):
    """What a script told, and its exit code."""

    code: int
    told: str


def session(twin: Twin, folder: Path, *words: str, app: str | None = None) -> list[Ended]:
    """What an operator's session does, one command after the other: what each told. Tokens come by the environment."""
    wrapper = folder / "session.ps1"
    begin = [
        "$token = ConvertTo-SecureString -String $env:GRAPH_TOKEN -AsPlainText -Force",
        "$appToken = ConvertTo-SecureString -String $env:APP_TOKEN -AsPlainText -Force" if app else "",
        # Strictness that the operator's profile sets must not reach the scripts.
        "Set-StrictMode -Version Latest",
    ]
    each = [
        f'$global:LASTEXITCODE = 0\ntry {{ {word} }} catch {{ Write-Host $_ }}\nWrite-Host "== $LASTEXITCODE"'
        for word in words
    ]
    wrapper.write_text("\n".join([*begin, *each]), encoding="utf-8-sig")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE")}
    environ |= {"PSModulePath": twin.ready["module"], "SSL_CERT_FILE": twin.ready["ca"]}
    environ["GRAPH_TOKEN"] = token(twin)
    environ["APP_TOKEN"] = token(twin, app) if app else ""
    environ["EXCHANGE_TOKEN"] = token(twin, scope="https://outlook.office365.com/.default")
    done = subprocess.run(
        [str(PROGRAM), "-NoProfile", "-File", str(wrapper)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        env=environ,
        cwd=folder,
        check=False,
    )
    pieces = re.split(r"^== (\d+)$", done.stdout, flags=re.MULTILINE)
    assert len(pieces) == 2 * len(words) + 1, done.stdout + done.stderr
    return [Ended(int(code), told) for told, code in zip(pieces[::2], pieces[1::2], strict=False)]


CONNECT = (
    "Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization contoso.onmicrosoft.com -ShowBanner:$false"
)


def parsed(*texts: str) -> list[dict[str, Any]]:
    lines = "".join(json.dumps({"script": text}) + "\n" for text in texts)
    done = subprocess.run(
        [str(PROGRAM), "parse"], input=lines, capture_output=True, text=True, encoding="utf-8", check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
