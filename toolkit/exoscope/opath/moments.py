"""Dates and time spans in filters and in what was read: text to points in time, with what the text leaves open.

A date in a filter is text in the regional settings and time zone of the Exchange server (recipientfilter-properties.md).
Neither is known here. So ``8/1/2017`` is two days, and a time without a zone lies somewhere within the world's offsets;
comparing says None wherever that makes a difference.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,7})?)?(Z|[+-]\d\d:\d\d)?)?\Z")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:\s+(\d{1,2}):(\d\d)(?::(\d\d))?(?:\s*([AaPp])[Mm])?)?\Z")
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d\d):(\d\d)\Z")
_ZONES = timedelta(hours=14)  # offsets lie between -12 and +14 hours


class Moment(msgspec.Struct, frozen=True):
    """One reading of a text: a time in UTC, or (``zoned`` false) in a zone that is not known."""

    at: datetime
    zoned: bool


def moments(text: str) -> tuple[Moment, ...]:
    """Every reading of a date: none where it is no date, two where the order of day and month is open."""
    text = text.strip()
    if _ISO.match(text):
        try:
            at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d", r"\1", text))
        except ValueError:
            return ()
        return (Moment(at.astimezone(UTC), True),) if at.tzinfo else (Moment(at.replace(tzinfo=UTC), False),)
    found = _SLASHES.match(text)
    if not found:
        return ()
    first, second, year = (int(found.group(index)) for index in (1, 2, 3))
    clock = _clock(found.group(4), found.group(5), found.group(6), found.group(7))
    if clock is None:
        return ()
    readings = []
    for month, day in {(first, second), (second, first)}:
        try:
            readings.append(Moment(datetime(year, month, day, tzinfo=UTC) + clock, False))
        except ValueError:
            continue
    return tuple(sorted(readings, key=lambda moment: moment.at))


def order(left: tuple[Moment, ...], right: tuple[Moment, ...]) -> int | None:
    """-1, 0 or 1 as left is before, at or after right; None where that hangs on what the texts leave open."""
    answers = {_order(one, other) for one in left for other in right}
    return answers.pop() if len(answers) == 1 else None


def span(text: str) -> int | None:
    """Seconds of a time span (``14.00:00:00``), or None where it is none."""
    found = _SPAN.match(text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _order(left: Moment, right: Moment) -> int | None:
    open_ended = _ZONES * ((not left.zoned) + (not right.zoned))
    if open_ended and abs(left.at - right.at) <= open_ended:
        return None
    return (left.at > right.at) - (left.at < right.at)


def _clock(hour: str | None, minute: str | None, second: str | None, half: str | None) -> timedelta | None:
    if hour is None:
        return timedelta()
    hours, minutes, seconds = int(hour), int(minute or 0), int(second or 0)
    if half:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half in "pP" else 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)
