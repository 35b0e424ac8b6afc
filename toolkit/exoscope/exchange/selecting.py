"""What PowerShell and the prelude do on the other roads, done here: Select-Object, and values as plain as in JSON batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

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
            found = [_chosen(row, each.names) for row in found]
    return tuple(found)


def _chosen(row: Row, names: tuple[str, ...]) -> Row:
    held = {name.casefold(): (name, value) for name, value in row.items()}
    return dict(held[name.casefold()] for name in names if name.casefold() in held)


def plain(entry: dict[str, Any]) -> Row:
    """A row of the admin API without its companions, values as the prelude's JSON has them: null, boolean, number, text, list
    of texts; times in UTC with seven digits. Raises ServiceError (``unexpected-answer``) for a value that is none of these.
    """
    row: Row = {}
    times: set[str] = set()
    for name, value in entry.items():
        owner, at, _ = name.partition("@")
        if not at:
            row[name] = value
        elif isinstance(value, str) and value.rpartition(".")[2].lstrip("#").startswith("DateTime"):
            times.add(owner)
    return {name: _cell(name, value, time=name in times) for name, value in row.items()}


def _cell(name: str, value: Any, *, time: bool) -> Any:
    if isinstance(value, list):
        return [_element(name, each) for each in value if each is not None]
    if isinstance(value, dict):
        raise ServiceError(f"Exchange answered {name} as an object", code="unexpected-answer")
    if time and isinstance(value, str):
        return _utc(value)
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
