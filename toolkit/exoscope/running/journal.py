"""The journal of a run: an append-only file of JSON lines, each on the disk before the next thing happens.

A process killed while it appends leaves a last line without its newline. What that line would have said never took effect
(an intent goes to the disk before its call, and a call without a record is settled by reading), so it is cut off when the
journal is opened to be continued. Any other damage is an error: a line that is no record, a gap in the numbers, another format.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from exoscope import system
from exoscope.clock import Clock
from exoscope.outcome import Unreadable
from exoscope.running.records import AnyRecord, Record, RunStarted

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRecord)


def moment(at: str) -> datetime:
    """The time a record was written, or the time it names."""
    return datetime.fromisoformat(at).astimezone(UTC)


def stamp(at: datetime) -> str:
    """A time as records hold it: UTC with microseconds, so that a wait is not counted from a rounded time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse(data: bytes, name: str) -> tuple[list[AnyRecord], int]:
    """The records of a journal, and how many bytes they take; what follows is a torn last line.

    Raises Unreadable (``journal-damaged``) naming the line.
    """
    whole = data.rfind(b"\n") + 1
    records: list[AnyRecord] = []
    for number, line in enumerate(data[:whole].split(b"\n")[:-1], 1):
        try:
            record = _decoder.decode(line)
        except msgspec.DecodeError as error:
            raise _damaged(name, number, _plain(error)) from None
        if record.n != number - 1:
            raise _damaged(name, number, f"record {number - 1} is missing, {record.n} stands in its place")
        if isinstance(record, RunStarted) != (number == 1):
            raise _damaged(name, number, "a journal begins with the start of its run, once")
        try:
            moment(record.at)
        except ValueError:
            raise _damaged(name, number, "its time is no time") from None
        records.append(record)
    return records, whole


def _plain(error: Exception) -> str:
    return str(error).splitlines()[0]


def _damaged(name: str, line: int, why: str) -> Unreadable:
    return Unreadable(
        f"{name}, line {line}: {why}",
        code="journal-damaged",
        next="Keep the file. Plan again from a fresh snapshot: the plan holds what is still to be done.",
    )


def read_journal(path: Path) -> list[AnyRecord]:
    """The records of a run's journal; a torn last line is passed over. Raises Unreadable when it cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}", code="journal-unreadable") from None
    return parse(data, str(path))[0]


class Journal:
    """A journal open for appending. ``records`` holds all of them, those of earlier processes too."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open it, made when it is not there, and cut off a torn last line. The caller holds the tenant's lock.

        Raises Unreadable when it is damaged, BadInput when it cannot be made.
        """
        self.path = path
        self._clock = clock
        self.records: list[AnyRecord] = []
        if not path.exists():
            system.write_private(path, b"")
            return
        data = path.read_bytes()
        self.records, whole = parse(data, str(path))
        if whole != len(data):
            with path.open("r+b") as file:
                file.truncate(whole)
                file.seek(whole)
                system.append_durable(file, b"")

    def append(self, record: Record) -> AnyRecord:
        """Number it, date it, and put it on the disk. Returns the record as written."""
        written = msgspec.structs.replace(record, n=len(self.records), at=stamp(self._clock.now()))
        with self.path.open("ab") as file:
            system.append_durable(file, _encoder.encode(written) + b"\n")
        self.records.append(written)  # type: ignore[arg-type]  # every Record but the base itself is in the union
        return self.records[-1]
