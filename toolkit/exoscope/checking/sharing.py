"""A result of doctor that may be shown to anybody: made of this program's own words only.

Nothing is filtered out of a text: every value here is one of a closed list (codes, states, names of shapes and columns, types) or a
number. What a tenant, a profile or a machine calls anything has no way in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

from exoscope._version import __version__
from exoscope.checking.contact import SEEN, Contact, Difference, Met, Shape, Status, expected
from exoscope.checking.seen import CODES, DoctorAnswer, Line, State
from exoscope.checking.shapes import EVERY
from exoscope.model import Noun

_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,6}){1,3}")
_ROADS = ("pwsh", "gateway", "admin-api")
OTHER = "other"
"""Stands for a word that is in no list; there should be none."""


class SharedLine(Noun, frozen=True):
    """A line without its words."""

    code: str
    state: State


class SharedDifference(Noun, frozen=True):
    """A difference without what stood there. ``column``: empty for the answer as a whole."""

    column: str
    expected: str
    seen: str


class SharedMet(Noun, frozen=True):
    """What came of one shape, without the reason for which it could not be read."""

    name: str
    status: Status
    examples: int
    differences: tuple[SharedDifference, ...]


class SharedAnswer(Noun, frozen=True):
    """A result without names. ``engine`` and ``module``: versions, null where they look like none."""

    format: Literal["exoscope/doctor@1"]
    tool_version: str
    road: str | None
    engine: str | None
    module: str | None
    lines: tuple[SharedLine, ...]
    contact: tuple[SharedMet, ...] | None


def shared(answer: DoctorAnswer) -> SharedAnswer:
    """The result as it may be shown to anybody."""
    return SharedAnswer(
        format="exoscope/doctor@1",
        tool_version=__version__,
        road=_one_of(answer.road, _ROADS),
        engine=_version(answer.engine),
        module=_version(answer.module),
        lines=tuple(_line(each) for each in answer.lines),
        contact=None if answer.contact is None else _contact(answer.contact),
    )


def _line(line: Line) -> SharedLine:
    state: State = next((each for each in get_args(State) if each == line.state), "unknown")
    return SharedLine(_ours(line.code, CODES), state)


def _contact(contact: Contact) -> tuple[SharedMet, ...]:
    shapes = {shape.name: shape for shape in EVERY}
    return tuple(_met(each, shapes[each.name]) for each in contact.met if each.name in shapes)


def _met(met: Met, shape: Shape) -> SharedMet:
    status: Status = next((each for each in get_args(Status) if each == met.status), "unread")
    differences = dict.fromkeys(_difference(each, shape) for each in met.differences)
    return SharedMet(shape.name, status, int(met.examples), tuple(differences))


def _difference(difference: Difference, shape: Shape) -> SharedDifference:
    """The column and what was expected of it as our table has them."""
    column = next((each for each in shape.columns if each.name == difference.column), None)
    seen = _ours(difference.seen, SEEN)
    return SharedDifference("" if column is None else column.name, "" if column is None else expected(column), seen)


def _ours(text: str, known: Iterable[str]) -> str:
    return _one_of(text, known) or OTHER


def _one_of(text: str | None, known: Iterable[str]) -> str | None:
    """The word as our list has it; None where it is not in there."""
    return next((each for each in known if each == text), None)


def _version(text: str | None) -> str | None:
    """A version, of nothing but numbers: what follows them (``-preview``) is left away."""
    found = _VERSION.match(text or "")
    return None if found is None else found[0]
