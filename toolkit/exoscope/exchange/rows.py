"""Cells of a row, typed: a column that is missing was not read; one with another type than Exchange gives is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from exoscope.exchange.session import Row
from exoscope.outcome import ServiceError

Parsed = TypeVar("Parsed")


def parse_rows(rows: tuple[Row, ...], parse: Callable[[Cells], Parsed | None]) -> tuple[Parsed, ...]:
    """Each row through a parser; None leaves a row out."""
    found = (parse(Cells(row)) for row in rows)
    return tuple(each for each in found if each is not None)


class Cells:
    """A row by column name, whatever the case of either."""

    __slots__ = ("_row",)

    def __init__(self, row: Row) -> None:
        self._row = {name.casefold(): value for name, value in row.items()}

    def has(self, name: str) -> bool:
        """Is the column there at all? Null counts as there."""
        return name.casefold() in self._row

    def raw(self, name: str) -> Any:
        """The value as it came; None for a column that is not there."""
        return self._row.get(name.casefold())

    def optional(self, name: str) -> str | None:
        """A text; None for null and for the empty text, which Exchange gives for "not set"."""
        value = self.raw(name)
        if value is None or value == "":
            return None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool | list | dict):
            raise _unexpected(name, value)
        return str(value)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.optional(name)
        if value is None:
            raise ServiceError(f"Exchange answered a row without {name}", code="unexpected-answer")
        return value

    def flag(self, name: str) -> bool:
        """A boolean that must be there (the text True or False as well: older serialisations give that)."""
        value = self.optional_flag(name)
        if value is None or isinstance(value, UnsetType):
            raise ServiceError(f"Exchange answered a row without {name}", code="unexpected-answer")
        return value

    def optional_flag(self, name: str) -> bool | UnsetType | None:
        """A boolean; None for null; UNSET where the column is missing."""
        if not self.has(name):
            return UNSET
        value = self.raw(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.casefold() in ("true", "false"):
            return value.casefold() == "true"
        raise _unexpected(name, value)

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts; one text is a list of one; None for null."""
        value = self.raw(name)
        if value is None:
            return None
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) for each in values):
            raise _unexpected(name, value)
        return tuple(each for each in values if each)


def _unexpected(name: str, value: Any) -> ServiceError:
    return ServiceError(f"Exchange answered {name} as {type(value).__name__}", code="unexpected-answer")


def same(one: str | None, other: str | None) -> bool:
    """Equal without case; what is not set equals nothing."""
    return one is not None and other is not None and one.casefold() == other.casefold()
