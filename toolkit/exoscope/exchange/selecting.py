"""What PowerShell and the prelude do on the other roads, done here: Select-Object, and values as plain as in JSON batches."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from exoscope.exchange.session import Row
from exoscope.model import Noun
from exoscope.outcome import BadInput, ServiceError
from exoscope.powershell import Operation

SELECT = "Select-Object"
_WILDCARD = re.compile(r"[*?\[\]`]")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


class Selection(Noun, frozen=True):
    """One Select-Object: the names to keep, in this order (None: all), the number of rows to keep (None: all)."""

    names: tuple[str, ...] | None
    first: int | None


def selections(operations: Sequence[Operation]) -> tuple[Selection, ...]:
    """The Select-Objects of a pipeline. Raises BadInput for what gives no rows, or what only PowerShell could resolve."""
    found = []
    for operation in operations:
        given = operation.parameters
        if "ExpandProperty" in given:
            raise BadInput("-ExpandProperty gives values and no rows: exoscope reads rows")
        wanted, first = given.get("Property"), given.get("First")
        names = None
        if wanted is not None:
            names = tuple(str(name) for name in (wanted if isinstance(wanted, tuple) else (wanted,)))
        if names is not None and any(_WILDCARD.search(name) for name in names):
            raise BadInput("wildcards in -Property are PowerShell's to resolve; the admin API road has none")
        found.append(Selection(names, first if isinstance(first, int) and not isinstance(first, bool) else None))
    return tuple(found)


def limit(chain: Iterable[Selection]) -> int | None:
    """The rows after which nothing more can come out of the chain; None: no limit."""
    return min((each.first for each in chain if each.first is not None), default=None)


def needed(chain: Sequence[Selection]) -> frozenset[str] | None:
    """The columns (case folded) of which anything can come out of the chain; None: all."""
    names = next((each.names for each in chain if each.names is not None), None)
    return None if names is None else frozenset(name.casefold() for name in names)


def select(rows: Iterable[Row], chain: Sequence[Selection]) -> tuple[Row, ...]:
    """What comes out of a chain of Select-Objects.

    As PowerShell's own: names are found without case, and come out as the object spells them (Select-Object.cs). One thing
    differs: a property that the service did not send stays out of its row, where PowerShell would say null. Null would claim
    that it was read and is not set.
    """
    found = list(rows)
    for each in chain:
        if each.first is not None:
            found = found[: each.first]
        if each.names is not None:
            found = _chosen(found, each.names)
    return tuple(found)


def _chosen(rows: Iterable[Row], names: tuple[str, ...]) -> list[Row]:
    """The rows with these columns only. Spellings are looked up once for all rows that share them."""
    chosen: list[Row] = []
    kept: dict[tuple[str, ...], tuple[str, ...]] = {}
    for row in rows:
        columns = tuple(row)
        if columns not in kept:
            held = {name.casefold(): name for name in columns}
            kept[columns] = tuple(held[name.casefold()] for name in names if name.casefold() in held)
        chosen.append(row if columns == kept[columns] else {name: row[name] for name in kept[columns]})
    return chosen


def plain_rows(entries: Iterable[dict[str, Any]], wanted: frozenset[str] | None = None) -> tuple[Row, ...]:
    """Rows of the admin API without their companions, values as the batches have them: null, boolean, number, text, list of
    texts; times in UTC with seven digits. ``wanted``: the columns (case folded) to keep, None: all; an object of Exchange has
    many times those that are asked for. Raises ServiceError (``unexpected-answer``) for a kept value that is none of these.
    """
    rows: list[Row] = []
    shapes: dict[tuple[str, ...], _Shape] = {}
    for entry in entries:
        keys = tuple(entry)
        shape = shapes.get(keys)
        if shape is None:
            shape = shapes[keys] = _shape(keys, wanted)
        row: Row = {}
        for name in shape.columns:
            value = entry[name]
            kind = type(value)
            row[name] = value if kind is str or kind is bool or value is None else _cell(name, value)
        for name, companions in shape.typed:
            if type(row[name]) is str:
                for each in companions:
                    if _is_time(entry[each]):
                        row[name] = _utc(row[name])
        rows.append(row)
    return tuple(rows)


class _Shape(NamedTuple):
    """The columns of rows with the same keys, and those that have companions, with these."""

    columns: tuple[str, ...]
    typed: tuple[tuple[str, tuple[str, ...]], ...]


def _shape(keys: tuple[str, ...], wanted: frozenset[str] | None) -> _Shape:
    columns = tuple(key for key in keys if "@" not in key and (wanted is None or key.casefold() in wanted))
    companions: dict[str, tuple[str, ...]] = {}
    for key in keys:
        owner, at, _ = key.partition("@")
        if at:
            companions[owner] = (*companions.get(owner, ()), key)
    return _Shape(columns, tuple((name, companions[name]) for name in columns if name in companions))


@functools.lru_cache(maxsize=256)
def _says_time(companion: str) -> bool:
    return companion.rpartition(".")[2].lstrip("#").startswith("DateTime")


def _is_time(companion: Any) -> bool:
    return type(companion) is str and _says_time(companion)


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [each if type(each) is str else _element(name, each) for each in value if each is not None]
    if isinstance(value, dict):
        raise ServiceError(f"Exchange answered {name} as an object", code="unexpected-answer")
    return value


def _element(name: str, value: Any) -> str:
    if isinstance(value, list | dict):
        raise ServiceError(f"Exchange answered {name} as a list of objects", code="unexpected-answer")
    return str(value)  # of a boolean True or False: .NET's own spelling too


def _utc(text: str) -> str:
    """An ISO time as ``2026-11-23T09:00:00.0000000Z``; a text that is none, or has no offset, as it came."""
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    moment = datetime.fromisoformat(text[:19] + found[2]).astimezone(UTC)
    digits = (found[1] or ".")[1:8].ljust(7, "0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{digits}Z"
