"""First contact: what a tenant answered, beside the shape that everything here is built on. Pure.

No answer of a real tenant stood behind this program when it was written; so one example of everything that a plan decides from is
compared with what is expected of it: the columns, the type of each value, and the words where there are only so many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from exoscope.exchange.rows import Cells
from exoscope.model import Noun
from exoscope.outcome import ServiceError

Row = Mapping[str, Any]
Status = Literal["agrees", "differs", "not-seen", "unread"]
Kind = Literal["text", "flag", "texts", "guid", "dn", "policy-scope", "word", "list", "object"]
SEEN = (
    "missing",
    "null",
    "boolean",
    "number",
    "list",
    "object",
    "another-text",
    "another-word",
    "not-understood",
)
"""How a value may differ."""
SHOWN = 3  # differences of one column that are told

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DN = re.compile(r"(?:CN|OU|DC)=.+", re.IGNORECASE | re.DOTALL)
_POLICY_SCOPE = re.compile(r"S-1-[0-9-]+;[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PATTERNS = {"guid": _GUID, "dn": _DN, "policy-scope": _POLICY_SCOPE}


class Column(Noun, frozen=True):
    """What is expected of a column. ``null``: it may be empty; ``words``: all that it may say; ``absent``: it may be missing."""

    name: str
    kind: Kind = "text"
    null: bool = False
    words: tuple[str, ...] = ()
    absent: bool = False


class Shape(Noun, frozen=True):
    """What is expected of one kind of answer. ``service`` gives it; ``reads`` is what makes a noun of such a row, and raises
    ServiceError where it cannot. ``decides``: a plan decides from it, so that it must be readable.
    """

    name: str
    service: Literal["exchange", "graph"]
    columns: tuple[Column, ...]
    reads: Callable[[Cells], object] | None = None
    decides: bool = True


class Difference(Noun, frozen=True):
    """One way in which an answer is not as expected. ``seen``: one of :data:`SEEN`; where the row as a whole is not understood the
    column is empty. ``value``: what stood there, for whoever asked; a shared result has none.
    """

    column: str
    expected: str
    seen: str
    value: str | None = None


class Met(Noun, frozen=True):
    """What came of one shape. ``examples``: how many rows were looked at; ``why``: it could not be read."""

    name: str
    service: Literal["exchange", "graph"]
    status: Status
    examples: int = 0
    differences: tuple[Difference, ...] = ()
    why: str | None = None
    decides: bool = True


class Contact(Noun, frozen=True):
    """Everything that was met. ``passed``: nothing differs, and all that a plan decides from could be read (or is not there)."""

    passed: bool
    met: tuple[Met, ...]


def contact_of(met: Iterable[Met]) -> Contact:
    """The whole of it."""
    held = tuple(met)
    bad = any(each.status == "differs" or (each.status == "unread" and each.decides) for each in held)
    seen = any(each.status == "agrees" for each in held)
    return Contact(passed=seen and not bad, met=held)


def unread(shape: Shape, why: str) -> Met:
    """What could not be read."""
    return Met(shape.name, shape.service, "unread", why=why, decides=shape.decides)


def compare(shape: Shape, rows: Sequence[Row], names: Iterable[str] | None = None) -> Met:
    """A shape beside the rows that came. ``names``: the columns that the object really has, where the road writes null for one that
    it has not (PowerShell's Select-Object does); None: a row has the columns that were answered.
    """
    if not rows:
        return Met(shape.name, shape.service, "not-seen", decides=shape.decides)
    has = None if names is None else {name.casefold() for name in names}
    found: dict[tuple[str, str], Difference] = {}
    for row in rows:
        held = {name.casefold(): value for name, value in row.items()}
        for column in shape.columns:
            difference = _compared(column, held, has)
            if difference is not None:
                found.setdefault((column.name, difference.seen + (difference.value or "")), difference)
        refused = None if shape.reads is None else _refused(shape.reads, row)
        if refused is not None:
            found.setdefault(("", refused), Difference("", "understood", "not-understood", refused))
    told = _few(found.values())
    return Met(
        shape.name,
        shape.service,
        "differs" if told else "agrees",
        examples=len(rows),
        differences=told,
        decides=shape.decides,
    )


def _few(found: Iterable[Difference]) -> tuple[Difference, ...]:
    """Some of each column."""
    kept: dict[str, list[Difference]] = {}
    for each in found:
        some = kept.setdefault(each.column, [])
        if len(some) < SHOWN:
            some.append(each)
    return tuple(each for some in kept.values() for each in some)


def _compared(column: Column, row: Row, has: set[str] | None) -> Difference | None:
    key = column.name.casefold()
    if key not in row or (has is not None and key not in has):
        return None if column.absent else Difference(column.name, expected(column), "missing")
    value = row[key]
    if value is None or value == "":
        return None if column.null else Difference(column.name, expected(column), "null")
    if _fits(column, value):
        return None
    seen = "another-word" if isinstance(value, str) and column.kind in ("word", "flag") else type_of(value)
    return Difference(column.name, expected(column), seen, str(value))


def expected(column: Column) -> str:
    """What is expected, in a word or a few."""
    if column.kind == "word":
        return "one of " + ", ".join(column.words)
    return column.kind


def _fits(column: Column, value: Any) -> bool:
    if column.kind == "list":
        return isinstance(value, list)
    if column.kind == "object":
        return isinstance(value, dict)
    if column.kind == "flag":
        # Older serialisations write True and False.
        return isinstance(value, bool) or (isinstance(value, str) and value.casefold() in ("true", "false"))
    if column.kind == "texts":
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
    if isinstance(value, bool) and column.kind == "word":
        value = str(value)  # InScope is a boolean, or a text
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # read as the one that it is
    if not isinstance(value, str):
        return False
    if column.kind == "word":
        return value.casefold() in {word.casefold() for word in column.words}
    pattern = _PATTERNS.get(column.kind)
    return pattern is None or pattern.fullmatch(value) is not None


def type_of(value: Any) -> str:
    """The type of a value as JSON names it; of a text, what it looks like."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return "list"
    if isinstance(value, dict):
        return "object"
    return "another-text" if isinstance(value, str) else "null"


def _refused(reads: Callable[[Cells], object], row: Row) -> str | None:
    try:
        reads(Cells(dict(row)))
    except ServiceError as error:
        return error.message
    return None
