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
from pwsh_sessions import CONNECT, PROGRAM, Ended, session
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
    tenant = closed(fewer(winding(load_sample()), 16), roles=UNSET)
    with exoscope.twin.serve(tenant, propagation=0.2, token_lifetime=600.0) as twin:
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


def closed(tenant: Snapshot, **hidden: Any) -> Snapshot:
    """The tenant, with what its operator may not read."""
    assert isinstance(tenant.groups, tuple) and isinstance(tenant.apps, tuple)
    groups = tuple(replace(g, members=None) if g.display_name == "CRM users" else g for g in tenant.groups)
    untold: dict[str, Any] = {"credentials": UNSET, "token_lifetime_minutes": UNSET}
    apps = tuple(replace(a, **untold) if a.display_name == OMNISCOPE else a for a in tenant.apps)
    return replace(tenant, groups=groups, apps=apps, **hidden)


def test_the_snapshot_of_scripts_is_that_of_a_connection(served: Twin, tmp_path: Path) -> None:
    """What is read, and what may not be, and why."""
    wanted = {"groups": ("AsIDE", HOSTILE), "attributes": ("Department",)}
    for done in run_both(served, tmp_path, **wanted):
        assert done.code == 6 and "NOT ALL READ" in done.told and "nothing was changed" not in done.told, done.told
    found = taken(tmp_path, **wanted)
    assert len(found.unread) > 3
    assert without_time(found) == without_time(live(served, **wanted))
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"eyJ" not in held, "a token is in a file"
    noted = b"".join(path.read_bytes() for path in results(tmp_path))
    assert b"keyId" in noted and b"secretText" not in noted and b'"hint"' not in noted


@pytest.mark.long
def test_whole_lists_that_may_not_be_read(tmp_path: Path) -> None:
    hidden: dict[str, Any] = dict.fromkeys(("roles", "administrative_units", "access_policies"), UNSET)
    with exoscope.twin.serve(closed(fewer(load_sample(), 12), **hidden), propagation=0.2, token_lifetime=600.0) as twin:
        for done in run_both(twin, tmp_path):
            assert done.code == 6 and "NOT ALL READ" in done.told, done.told
        found, read = taken(tmp_path), live(twin)
    assert len(read.unread) >= 5
    assert without_time(found) == without_time(read)


@pytest.mark.long
def test_without_a_result_of_exchange_some_members_are_unread(served: Twin, tmp_path: Path) -> None:
    assert [done.code for done in run_both(served, tmp_path)] == [6, 6]
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
    assert alone.code == 6 and "are left out" in alone.told, alone.told
    exchange.write_bytes(kept)
    found = taken(tmp_path)
    (one,) = [each for each in found.unread if "did not ask" in each.why]
    assert one.what == "groups[guid=00000000-0000-4000-8000-000000000002].members"
    assert "did not ask for GET /groups/" in one.why


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
