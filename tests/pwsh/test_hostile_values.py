"""Hostile values before PowerShell's own parser, and over the roads that PowerShell stands in."""

from __future__ import annotations

import itertools

import pytest

from fuzz import exported, roads, values, written
from powershell_oracles import pwsh
from road_sessions import NEED_POWERSHELL

PROGRAM = pwsh()
pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(PROGRAM is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
    pytest.mark.timeout(300),
]


def program() -> str:
    assert PROGRAM
    return PROGRAM


def test_powershell_reads_what_we_wrote() -> None:
    found = written.check(values.stream(20261127), 900, program())
    assert not found.problems
    assert found.fates["unchanged"] > 800


def test_what_powershell_reads_otherwise_is_seen() -> None:
    ours = [[("Get-Group", (("Identity", ("s", "a")),))]]
    others = ["Get-Group -Identity 'b'\n", "Get-Group -Identity 'a' -Verbose\n", "Get-Group -Identity 'a\n"]
    seen = written.differences(program(), [(text, ours) for text in ("Get-Group -Identity 'a'\n", *others)])
    assert len(seen) == len(others)


@pytest.mark.parametrize("road", NEED_POWERSHELL)
def test_hostile_values_arrive_or_are_refused(road: str) -> None:
    found = roads.check(road, itertools.chain(values.NUMBERS, values.stream(20261126)), 100, program())
    assert not found.problems
    assert found.fates["unchanged"] >= 90
    assert found.fates["refused"] >= 1


def test_hostile_values_arrive_by_an_exported_script() -> None:
    found = exported.check(values.stream(20261126), 12, program(), pairs=1)
    assert not found.problems
    assert found.fates["unchanged"] == 12
