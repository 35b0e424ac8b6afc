"""Scripts that read, on a real PowerShell against the twin: what they note is the snapshot that a connection reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

import exoscope.twin
from exoscope import snapshot
from exoscope.clock import SystemClock
from exoscope.model import Snapshot
from exoscope.powershell.characters import SINGLE_QUOTES
from exoscope.profile import load_profile
from exoscope.reading import Connection, Wanted, read_snapshot
from exoscope.scripting import ReadData, load_reading, read_bytes_of, read_parts, recorded, root_in
from exoscope.twin.server import Twin
from powershell_oracles import pwsh
from reading_results import TENANT, fewer, winding, without_time
from twin_fixtures import OMNISCOPE, load_sample, token

PROGRAM = pwsh()
pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(PROGRAM is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
    pytest.mark.timeout(300),
]
EXCHANGE, GRAPH = "01-read-exchange.ps1", "02-read-graph.ps1"
HOSTILE = f"O'Brien {SINGLE_QUOTES} '; Remove-Everything #\n}} \u00d2 --% $(x) \U0001f600"


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(fewer(winding(load_sample()), 24), propagation=0.2, token_lifetime=600.0) as twin:
        yield twin


def parts(twin: Twin | None, **changes: Any) -> tuple[ReadData, ...]:
    root = root_in("worldwide", None if twin is None else twin.ready["graph"].removesuffix("/v1.0"))
    options: dict[str, Any] = {"tenant": None, "groups": (), "attributes": (), **changes}
    return read_parts("worldwide", root, **options)


def session(twin: Twin, folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    """What an operator's session does. The tokens come by the environment, not by a file."""
    wrapper = folder / "session.ps1"
    secure = "$token = ConvertTo-SecureString -String $env:GRAPH_TOKEN -AsPlainText -Force"
    # Strictness that the operator's profile sets must not reach the script.
    wrapper.write_text(f"{secure}\nSet-StrictMode -Version Latest\n{words}\nexit $LASTEXITCODE\n", encoding="utf-8-sig")
    environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE")}
    environ |= {"PSModulePath": twin.ready["module"], "SSL_CERT_FILE": twin.ready["ca"]}
    environ["GRAPH_TOKEN"] = token(twin)
    environ["EXCHANGE_TOKEN"] = token(twin, scope="https://outlook.office365.com/.default")
    return subprocess.run(
        [str(PROGRAM), "-NoProfile", "-File", str(wrapper)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        env=environ,
        check=False,
    )


CONNECT = (
    "Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization contoso.onmicrosoft.com -ShowBanner:$false"
)


def run_both(twin: Twin, folder: Path, before: str = "", **changes: Any) -> list[subprocess.CompletedProcess[str]]:
    """Exchange, then Graph, each in a session of its own."""
    for data in parts(twin, **changes):
        (folder / data.script).write_bytes(read_bytes_of(data))
    exchange, graph = folder / EXCHANGE, folder / GRAPH
    return [
        session(twin, folder, f"{CONNECT}\n{before}\n& '{exchange}' -RetrySeconds 0"),
        session(twin, folder, f"{before}\n& '{graph}' -AccessToken $token -RetrySeconds 0"),
    ]


def results(folder: Path) -> list[Path]:
    return [folder / f"{name}.result.jsonl" for name in (EXCHANGE, GRAPH)]


def taken(folder: Path, **wanted: Any) -> Snapshot:
    readings = [load_reading(path.read_bytes(), path.name) for path in results(folder)]
    return read_snapshot(recorded(readings), wanted=Wanted(**wanted))


def live(twin: Twin, **wanted: Any) -> Snapshot:
    with Connection(load_profile(Path(twin.ready["profile"]), os.environ), SystemClock()) as connection:
        return read_snapshot(connection, wanted=Wanted(**wanted))


def parsed(*texts: str) -> list[dict[str, Any]]:
    lines = "".join(json.dumps({"script": text}) + "\n" for text in texts)
    done = subprocess.run(
        [str(PROGRAM), "parse"], input=lines, capture_output=True, text=True, encoding="utf-8", check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_they_parse_and_hold_no_syntax_that_windows_powershell_lacks() -> None:
    texts = [read_bytes_of(each).decode("utf-8-sig") for each in parts(None, groups=(HOSTILE,))]
    assert [(each["errors"], each["newer"]) for each in parsed(*texts)] == [([], [])] * 2


def test_the_snapshot_of_scripts_is_that_of_a_connection(served: Twin, tmp_path: Path) -> None:
    wanted = {"groups": ("AsIDE", HOSTILE), "attributes": ("Department",)}
    for done in run_both(served, tmp_path, **wanted):
        assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing was changed" in done.stdout and "NOT" not in done.stdout
    found = taken(tmp_path, **wanted)
    assert found.unread == ()
    assert without_time(found) == without_time(live(served, **wanted))
    assert without_time(taken(tmp_path)) == without_time(live(served))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"eyJ" not in held, "a token is in a file"
    noted = b"".join(path.read_bytes() for path in results(tmp_path))
    assert b"keyId" in noted and b"secretText" not in noted and b'"hint"' not in noted

    # On the command line, into the file that plans start from; of another tenant's profile it is refused.
    (tmp_path / "exoscope.toml").write_text('tenant = "fabrikam.com"\n', encoding="utf-8")
    words = [sys.executable, "-m", "exoscope", "snapshot", "--from-script", *map(str, results(tmp_path))]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE")}
    options: dict[str, Any] = {"capture_output": True, "text": True, "env": environ, "timeout": 60, "check": False}
    refused = subprocess.run([*words, "-o", str(tmp_path / "t.json")], cwd=tmp_path, **options)
    assert refused.returncode == 4 and "fabrikam.com" in refused.stderr, refused.stderr
    assert not (tmp_path / "t.json").exists()
    (tmp_path / "exoscope.toml").write_text('tenant = "CONTOSO.com"\n', encoding="utf-8")
    done = subprocess.run([*words, "-o", str(tmp_path / "t.json"), "--json"], cwd=tmp_path, **options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == snapshot.digest(snapshot.load(tmp_path / "t.json"))
    assert snapshot.load(tmp_path / "t.json") == taken(tmp_path)


def test_what_may_not_be_read_is_unread_for_the_same_reason(tmp_path: Path) -> None:
    sample = fewer(load_sample(), 12)
    assert isinstance(sample.groups, tuple) and isinstance(sample.apps, tuple)
    hidden: dict[str, Any] = dict.fromkeys(("roles", "administrative_units", "access_policies"), UNSET)
    groups = tuple(replace(g, members=None) if g.display_name == "CRM users" else g for g in sample.groups)
    closed: dict[str, Any] = {"credentials": UNSET, "token_lifetime_minutes": UNSET}
    apps = tuple(replace(a, **closed) if a.display_name == OMNISCOPE else a for a in sample.apps)
    tenant = replace(sample, groups=groups, apps=apps, **hidden)
    wanted = {"groups": ("crm-users@contoso.com",)}
    with exoscope.twin.serve(tenant, propagation=0.2, token_lifetime=600.0) as twin:
        for done in run_both(twin, tmp_path, **wanted):
            assert done.returncode == 6, done.stdout + done.stderr
            assert "NOT ALL READ" in done.stdout
        found, read = taken(tmp_path, **wanted), live(twin, **wanted)
    assert len(read.unread) >= 6
    assert without_time(found) == without_time(read)


@pytest.mark.long
def test_without_a_result_of_exchange_some_members_are_unread(served: Twin, tmp_path: Path) -> None:
    assert [done.returncode for done in run_both(served, tmp_path)] == [0, 0]
    exchange, graph = results(tmp_path)
    kept = exchange.read_bytes()
    exchange.unlink()
    done = session(served, tmp_path, f"& '{tmp_path / GRAPH}' -AccessToken $token")
    assert done.returncode == 0 and "are left out" in done.stdout, done.stdout + done.stderr
    # One that is named must be there, and be whole; then the result of before stays.
    before = graph.read_bytes()
    done = session(served, tmp_path, f"& '{tmp_path / GRAPH}' -AccessToken $token -AfterResult '{exchange}'")
    assert done.returncode == 4 and "there is no file" in done.stdout, done.stdout + done.stderr
    exchange.write_bytes(kept[: kept.rindex(b'{"kind":"end"')])
    done = session(served, tmp_path, f"& '{tmp_path / GRAPH}' -AccessToken $token")
    assert done.returncode == 4 and "is not whole" in done.stdout, done.stdout + done.stderr
    assert graph.read_bytes() == before
    exchange.write_bytes(kept)
    found = taken(tmp_path)
    assert [each.what for each in found.unread] == ["groups[guid=00000000-0000-4000-8000-000000000002].members"]
    assert "did not ask for GET /groups/" in found.unread[0].why


def test_nothing_is_noted_where_it_cannot_be_told_whose_it_is(served: Twin, tmp_path: Path) -> None:
    other = "00000000-0000-4000-8000-000000000000"
    for data in parts(served, tenant=other):
        (tmp_path / data.script).write_bytes(read_bytes_of(data))
    exchange, graph = tmp_path / EXCHANGE, tmp_path / GRAPH
    tries = (
        (f"& '{exchange}'", "Connect-ExchangeOnline first", 6),
        (f"{CONNECT}; & '{exchange}'", f"is connected to the tenant {TENANT}; meant is {other}", 6),
        (f"$WhatIfPreference = $true; & '{exchange}'", "WhatIfPreference", 4),
        (f"$WhatIfPreference = $false; & '{graph}' -AccessToken $token", f"is in the tenant {TENANT}; meant", 6),
    )
    done = session(served, tmp_path, "\n".join(f'{words}\nWrite-Host "code $LASTEXITCODE"' for words, _, _ in tries))
    told = done.stdout.split("code ")
    assert len(told) == len(tries) + 1, done.stdout + done.stderr
    for (_, why, code), text, after in zip(tries, told, told[1:], strict=False):
        assert why in text and after.startswith(str(code)), done.stdout + done.stderr
    assert not [path for path in tmp_path.iterdir() if "result" in path.name]


def test_a_damaged_file_reads_nothing(served: Twin, tmp_path: Path) -> None:
    lost = read_bytes_of(parts(served)[0]).removeprefix(b"\xef\xbb\xbf")
    tries = {"mark": lost, "page": lost.decode("utf-8").encode("cp1252", "replace")}
    for name, content in tries.items():
        (tmp_path / f"{name}.ps1").write_bytes(content)
    words = "; ".join(f"try {{ & '{tmp_path / name}.ps1' }} catch {{ Write-Host $_ }}" for name in tries)
    done = session(served, tmp_path, words)
    assert done.stdout.count("ExoscopeDecoding") == 2, done.stdout + done.stderr
    assert not [path for path in tmp_path.iterdir() if "result" in path.name]


@pytest.mark.long
def test_a_filter_on_a_property_that_recipients_are_not_known_to_show(tmp_path: Path) -> None:
    with exoscope.twin.serve(
        fewer(winding(load_sample(), odd=True), 24), propagation=0.2, token_lifetime=600.0
    ) as twin:
        for done in run_both(twin, tmp_path):
            assert done.returncode == 0, done.stdout + done.stderr
        assert "PhoneticDisplayName" in (taken(tmp_path).attributes_read or ())
        assert without_time(taken(tmp_path)) == without_time(live(twin))
