"""The journal on the disk: durable, owner-only, tolerant of a torn end and of nothing else."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from exoscope.outcome import Unreadable
from exoscope.running.journal import Journal, moment, parse, read_journal, stamp
from exoscope.running.records import Finished, GateWaiting, RunStarted
from running_fakes import TENANT, WAITS, HandClock

START = RunStarted(
    format="exoscope/journal@1",
    run="r",
    plan_hash="sha256:0",
    purpose="scope",
    tenant=TENANT,
    operator="",
    tool_version="0",
    waits=dict(WAITS),  # type: ignore[arg-type]  # the keys are wait kinds
    lengthen=True,
    of_run=None,
)


def written(path: Path) -> Journal:
    journal = Journal(path, HandClock())
    journal.append(START)
    journal.append(GateWaiting(app="a", stage="s", ready_at="2026-11-23T09:00:00Z"))
    journal.append(Finished(outcome="done"))
    return journal


def test_records_come_back_numbered_and_dated(tmp_path: Path) -> None:
    journal = written(tmp_path / "journal.jsonl")
    again = read_journal(tmp_path / "journal.jsonl")
    assert again == journal.records
    assert [record.n for record in again] == [0, 1, 2]
    assert moment(again[1].at) > moment(again[0].at)


def test_a_time_is_kept_to_the_microsecond() -> None:
    at = HandClock().now()
    assert moment(stamp(at)) == at


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    written(tmp_path / "journal.jsonl")
    assert stat.S_IMODE((tmp_path / "journal.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_cut_off_and_written_over(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(read_journal(path)) == 2
    journal = Journal(path, HandClock())
    journal.append(Finished(outcome="stopped"))
    again = read_journal(path)
    assert [record.n for record in again] == [0, 1, 2]
    assert again[-1] == journal.records[-1]


def test_every_byte_lost_at_the_end_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    data = path.read_bytes()
    for length in range(len(data) + 1):
        records, whole = parse(data[:length], "j")
        assert len(records) == data[:length].count(b"\n")
        assert whole <= length


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: [lines[0], b"{}\n", lines[2]], "line 2"),
        (lambda lines: [lines[0], lines[2]], "record 1 is missing"),
        (lambda lines: [lines[0], lines[1], lines[1], lines[2]], "line 3"),
        (lambda lines: lines[1:], "line 1"),
        (lambda lines: [*lines[:2], b"not JSON\n"], "line 3"),
        (lambda lines: [lines[0].replace(b"journal@1", b"journal@2"), *lines[1:]], "line 1"),
        (lambda lines: [lines[0], lines[1].replace(b'"stage":"s"', b'"stage":"s","more":1'), lines[2]], "more"),
        (lambda lines: [lines[0], lines[1].replace(b"2026-11-23T09:00:00.002", b"no time", 1), lines[2]], "line 2"),
    ],
)
def test_any_other_damage_is_an_error_naming_the_line(tmp_path: Path, spoil: object, says: str) -> None:
    path = tmp_path / "journal.jsonl"
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(spoil(lines)))  # type: ignore[operator]  # each is a function of lines
    with pytest.raises(Unreadable) as raised:
        Journal(path, HandClock())
    assert raised.value.code == "journal-damaged"
    assert says in raised.value.message
