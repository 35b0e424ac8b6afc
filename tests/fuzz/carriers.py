"""Writes that store hostile values in the tenant, and the reads that give them back."""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from exoscope.opath import And, Compare
from twin_fixtures import OMNISCOPE_GROUP

NAME = 64  # characters of a name; Exchange takes no more
COMPARED = 8  # values in one recipient filter


class Values:
    """An endless stream of values that a script can carry, dealt out to places of which some take only names."""

    def __init__(self, values: Iterator[str]) -> None:
        self._values = values
        self._waiting: deque[str] = deque()  # those that are no name
        self._names: set[str] = set()

    def name(self) -> str:
        """One that can name an object: not blank, at most 64 characters, no other's name."""
        while True:
            value = next(self._values)
            if value.strip() and len(value) <= NAME and value.casefold() not in self._names:
                self._names.add(value.casefold())
                return value
            self._waiting.append(value)

    def text(self) -> str:
        """Any."""
        return self._waiting.popleft() if self._waiting else next(self._values)


class Stored(NamedTuple):
    """One write: the template with its values, and the row that reading must give back."""

    template: str
    values: dict[str, Any]
    row: tuple[str, ...]


class Carrier(NamedTuple):
    """A kind of write that stores ``places`` values, the template that reads all of its kind, and the columns to compare."""

    write: Callable[[int, Values], Stored]
    places: int
    read: str
    columns: tuple[str, ...]

    def writes(self, values: Values, count: int) -> list[Stored]:
        """The next writes."""
        return [self.write(number, values) for number in itertools.islice(_NUMBERS, count)]


_NUMBERS = itertools.count(1)


def filter_of(number: int, texts: Sequence[str]) -> str:
    """A recipient filter that holds these texts, and that no other write has."""
    compared = [Compare(f"CustomAttribute{each}", "eq", text) for each, text in enumerate(texts, 2)]
    return str(And((Compare("CustomAttribute1", "eq", f"{number}"), *compared)))


def _group(number: int, values: Values) -> Stored:
    name, shown, notes = values.name(), values.name(), values.text()
    given = {"name": name, "alias": f"fuzz{number}", "display_name": shown, "notes": notes}
    return Stored("groups/new_group", given, (name, shown, notes))


def _scope(number: int, values: Values) -> Stored:
    name, filter_ = values.name(), filter_of(number, [values.text() for _ in range(COMPARED)])
    # given back with Exchange's parentheses around the whole
    return Stored("rbac/new_management_scope", {"name": name, "filter": filter_}, (name, f"({filter_})"))


def _policy(number: int, values: Values) -> Stored:
    text, app = values.text(), str(uuid.UUID(int=number))
    given = {"app_id": app, "access_right": "RestrictAccess", "group": OMNISCOPE_GROUP, "description": text}
    return Stored("access_policy/new_policy", given, (app, text))


GROUPS = Carrier(_group, 3, "inventory/groups", ("Name", "DisplayName", "Notes"))
SCOPES = Carrier(_scope, 1 + COMPARED, "inventory/management_scopes", ("Name", "RecipientFilter"))
POLICIES = Carrier(_policy, 1, "inventory/access_policies", ("AppId", "Description"))
