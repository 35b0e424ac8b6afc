"""Scripts that read, on a real PowerShell against the twin: what they note is the snapshot that a connection reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

import exoscope.twin
from exoscope.clock import SystemClock
from exoscope.model import Snapshot
from exoscope.powershell.characters import SINGLE_QUOTES
from exoscope.profile import load_profile
from exoscope.reading import Connection, Wanted, read_snapshot
from exoscope.scripting import ReadData, load_reading, read_bytes_of, read_parts, recorded, root_in
from exoscope.twin.server import Twin
from pwsh_sessions import CONNECT, PROGRAM, Ended, parsed, session
from reading_results import TENANT, fewer, winding, without_time
from twin_fixtures import OMNISCOPE, load_sample

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


def run_both(twin: Twin, folder: Path, **changes: Any) -> list[Ended]:
    """Exchange, then Graph."""
    for data in parts(twin, **changes):
        (folder / data.script).write_bytes(read_bytes_of(data))
    exchange, graph = folder / EXCHANGE, folder / GRAPH
    return session(
        twin,
        folder,
        CONNECT,
        f"& '{exchange}' -RetrySeconds 0",
        f"& '{graph}' -AccessToken $token -RetrySeconds 0",
    )[1:]


def results(folder: Path) -> list[Path]:
    return [folder / f"{name}.result.jsonl" for name in (EXCHANGE, GRAPH)]


def taken(folder: Path, **wanted: Any) -> Snapshot:
    readings = [load_reading(path.read_bytes(), path.name) for path in results(folder)]
    return read_snapshot(recorded(readings), wanted=Wanted(**wanted))


def live(twin: Twin, **wanted: Any) -> Snapshot:
    with Connection(load_profile(Path(twin.ready["profile"]), os.environ), SystemClock()) as connection:
        return read_snapshot(connection, wanted=Wanted(**wanted))


def test_they_parse_and_hold_no_syntax_that_windows_powershell_lacks() -> None:
    texts = [read_bytes_of(each).decode("utf-8-sig") for each in parts(None, groups=(HOSTILE,))]
    assert [(each["errors"], each["newer"]) for each in parsed(*texts)] == [([], [])] * 2


def test_the_snapshot_of_scripts_is_that_of_a_connection(served: Twin, tmp_path: Path) -> None:
    wanted = {"groups": ("AsIDE", HOSTILE), "attributes": ("Department",)}
    for done in run_both(served, tmp_path, **wanted):
        assert done.code == 0 and "nothing was changed" in done.told and "NOT" not in done.told, done.told
    found = taken(tmp_path, **wanted)
    assert found.unread == ()
    assert without_time(found) == without_time(live(served, **wanted))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"eyJ" not in held, "a token is in a file"
    noted = b"".join(path.read_bytes() for path in results(tmp_path))
    assert b"keyId" in noted and b"secretText" not in noted and b'"hint"' not in noted


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
            assert done.code == 6 and "NOT ALL READ" in done.told, done.told
        found, read = taken(tmp_path, **wanted), live(twin, **wanted)
    assert len(read.unread) >= 6
    assert without_time(found) == without_time(read)


@pytest.mark.long
def test_without_a_result_of_exchange_some_members_are_unread(served: Twin, tmp_path: Path) -> None:
    assert [done.code for done in run_both(served, tmp_path)] == [0, 0]
    exchange, graph = results(tmp_path)
    kept, before = exchange.read_bytes(), graph.read_bytes()
    call = f"& '{tmp_path / GRAPH}' -AccessToken $token"
    # One that is named must be there, and be whole; then the result of before stays.
    exchange.write_bytes(kept[: kept.rindex(b'{"kind":"end"')])
    cut, missing = session(served, tmp_path, call, f"{call} -AfterResult '{tmp_path / 'none.jsonl'}'")
    assert cut.code == 4 and "is not whole" in cut.told, cut.told
    assert missing.code == 4 and "there is no file" in missing.told, missing.told
    assert graph.read_bytes() == before
    exchange.unlink()
    (alone,) = session(served, tmp_path, call)
    assert alone.code == 0 and "are left out" in alone.told, alone.told
    exchange.write_bytes(kept)
    found = taken(tmp_path)
    assert [each.what for each in found.unread] == ["groups[guid=00000000-0000-4000-8000-000000000002].members"]
    assert "did not ask for GET /groups/" in found.unread[0].why


def test_nothing_is_noted_where_it_cannot_be_told_whose_it_is(served: Twin, tmp_path: Path) -> None:
    other = "00000000-0000-4000-8000-000000000000"
    for data in parts(served, tenant=other):
        (tmp_path / data.script).write_bytes(read_bytes_of(data))
    exchange, graph = tmp_path / EXCHANGE, tmp_path / GRAPH
    lost = read_bytes_of(parts(served)[0]).removeprefix(b"\xef\xbb\xbf")
    (tmp_path / "mark.ps1").write_bytes(lost)
    (tmp_path / "page.ps1").write_bytes(lost.decode("utf-8").encode("cp1252", "replace"))
    (tmp_path / "mine.jsonl").write_text("mine\n", encoding="utf-8")
    (tmp_path / "any.ps1").write_bytes(read_bytes_of(parts(served)[0]))
    tries = {
        f"& '{exchange}'": ("Connect-ExchangeOnline first", 6),
        CONNECT: ("", 0),
        f"& '{exchange}' ": (f"is connected to the tenant {TENANT}; meant is {other}", 6),
        f"& '{graph}' -AccessToken $token": (f"is in the tenant {TENANT}; meant is {other}", 6),
        f"& '{tmp_path / 'any.ps1'}' -ResultPath '{tmp_path / 'mine.jsonl'}'": ("is no result of a reading", 4),
        f"$WhatIfPreference = $true; & '{exchange}'": ("WhatIfPreference", 4),
        # A file that was saved in another way stops before its first operation.
        f"& '{tmp_path / 'mark.ps1'}'": ("ExoscopeDecoding", 0),
        f"& '{tmp_path / 'page.ps1'}'": ("ExoscopeDecoding", 0),
    }
    for done, (why, code) in zip(session(served, tmp_path, *tries), tries.values(), strict=True):
        assert (done.code, why in done.told) == (code, True), done.told
    assert not [path for path in tmp_path.iterdir() if ".result" in path.name or "partial" in path.name]
    assert (tmp_path / "mine.jsonl").read_text() == "mine\n"


@pytest.mark.long
def test_a_filter_on_a_property_that_recipients_are_not_known_to_show(tmp_path: Path) -> None:
    with exoscope.twin.serve(
        fewer(winding(load_sample(), odd=True), 24), propagation=0.2, token_lifetime=600.0
    ) as twin:
        for done in run_both(twin, tmp_path):
            assert done.code == 0, done.told
        assert "PhoneticDisplayName" in (taken(tmp_path).attributes_read or ())
        assert without_time(taken(tmp_path)) == without_time(live(twin))
