"""Results of scripts in the place of a connection: the same snapshot, and whatever is missing in them is unread, never empty."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exoscope.twin
from exoscope import snapshot as files
from exoscope.cli import frame, program
from exoscope.clock import SystemClock
from exoscope.entra.paths import PATHS
from exoscope.model import Snapshot
from exoscope.outcome import ServiceError
from exoscope.profile import load_profile
from exoscope.reading import Connection, read_snapshot
from exoscope.scripting import Recorded, load_reading, recorded
from reading_results import Noted, winding, without_time
from twin_fixtures import load_sample


@pytest.fixture(scope="module")
def noted() -> Iterator[tuple[Noted, Snapshot]]:
    """A live reading of the winding tenant, with everything that it asked, and what it gave."""
    with exoscope.twin.serve(winding(load_sample(), odd=True), propagation=0.2, token_lifetime=600.0) as twin:
        profile = load_profile(Path(twin.ready["profile"]), os.environ)
        with Connection(profile, SystemClock()) as connection:
            noting = Noted(connection)
            yield noting, read_snapshot(noting)


def together(results: list[bytes]) -> Recorded:
    return recorded([load_reading(data, f"result {at}") for at, data in enumerate(results)])


def test_it_is_the_same_snapshot(noted: tuple[Noted, Snapshot]) -> None:
    noting, live = noted
    found = read_snapshot(together(noting.results()))
    assert without_time(found) == without_time(live)
    assert live.unread == () and found.read_at.isoformat() == "2026-11-23T09:00:00+00:00"


def test_what_is_missing_is_unread_and_never_empty(noted: tuple[Noted, Snapshot]) -> None:
    noting, live = noted
    asked = [*noting.exchange.noted, *noting.graph.noted]
    whole = without_time(live)
    silent = []
    for missing in asked:
        try:
            found = read_snapshot(together(noting.results(without=missing)))
        except ServiceError:
            continue  # without it nothing can be said at all
        seen = without_time(found)
        if seen == whole:
            silent.append(missing)
            continue
        assert found.unread, f"without {missing} the snapshot differs, and does not say so"
        assert not list(taken_for_less(whole, seen)), missing
    # What changes nothing is asked for more than once, or of no consequence here: never a list.
    assert all("tokenLifetimePolicies" not in each and "Get-" not in each for each in silent), silent


def taken_for_less(whole: Any, seen: Any, place: str = "$") -> Iterator[str]:
    """Places where something is there and holds less than it should: a shorter list, another value."""
    if place in ("$.unread", "$.attributes_read"):
        return  # these say themselves what they leave out
    if isinstance(whole, dict) and isinstance(seen, dict):
        for key in whole.keys() & seen.keys():
            yield from taken_for_less(whole[key], seen[key], f"{place}.{key}")
    elif isinstance(whole, tuple) and isinstance(seen, tuple):
        if len(whole) != len(seen):
            yield place
        else:
            for at, (one, other) in enumerate(zip(whole, seen, strict=True)):
                yield from taken_for_less(one, other, f"{place}[{at}]")
    elif whole != seen and seen is not None:
        yield place


def test_on_the_command_line(noted: tuple[Noted, Snapshot], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noting, live = noted
    paths = [tmp_path / name for name in ("exchange.jsonl", "graph.jsonl")]
    for path, data in zip(paths, noting.results(), strict=True):
        path.write_bytes(data)
    output, profile = tmp_path / "t.json", tmp_path / "exoscope.toml"

    def run(to: Path, code: int) -> Any:
        words = ["snapshot", "--from-script", *paths, "-o", to, "--profile", profile, "--json"]
        assert frame._outcome(program, [str(word) for word in words], as_json=True) == code
        return json.loads(capsys.readouterr().out)

    profile.write_text('tenant = "fabrikam.com"\n', encoding="utf-8")
    assert run(output, 4)["error"]["code"] == "wrong-tenant" and not output.exists()
    profile.write_text('tenant = "CONTOSO.com"\n', encoding="utf-8")
    assert run(output, 0)["unread"] == []
    assert without_time(files.load(output)) == without_time(live)
    # What is missing makes it exit 6, and the file says what.
    paths[1].write_bytes(noting.results(without=PATHS["units"])[1])
    assert run(output, 6)["unread"][0]["what"] == files.load(output).unread[0].what == "administrative_units"
    # Over a result it does not write.
    assert "would overwrite" in run(paths[0], 2)["error"]["message"]
