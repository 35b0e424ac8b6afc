"""What values a property can have, as far as a set of comparisons can tell them apart.

Two spaces: every value that may be *possible* (to prove that two filters agree, nothing may be missing) and those that are
*real* for certain (to prove that they differ, nothing may be invented). Mostly they are the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import product

import msgspec

from exoscope.opath.comparing import fits
from exoscope.opath.meaning import Blank, Equals, Like, Meaning, Order
from exoscope.opath.table import Property

# A recipient always has these: filters that differ only for a blank one do not differ in any tenant
MANDATORY = frozenset({"DistinguishedName", "Guid", "Id", "Name", "RecipientType", "RecipientTypeDetails"})
_FREE_PATTERNS = 6  # patterns with a wildcard elsewhere than at the end: each doubles the cells
Cell = tuple[bool, ...]


class Other(msgspec.Struct, frozen=True):
    """A value that no comparison names."""


OTHER = Other()


class Cells(msgspec.Struct, frozen=True):
    """The cells of one single-valued property: sets of values that its comparisons do not tell apart.

    ``columns`` has a number for each comparison, in which bit *i* is its truth in cell *i*; ``real`` has the bits of the cells
    that some recipient can be in for certain.
    """

    count: int
    columns: tuple[int, ...]
    real: int


def cells(known: Property, senses: Sequence[Meaning]) -> Cells | None:
    """The cells of a single-valued property. None where there are too many patterns to tell."""
    if any(isinstance(sense, Like) for sense in senses):
        return _text_cells(known, senses)
    # the neighbours of a number stand for all other numbers, and two booleans are all there are
    numbers = [
        sense
        for sense in senses
        if isinstance(sense, Order) or (isinstance(sense, Equals) and _is_number(known, sense))
    ]
    values: list[object] = [None, True, False] if known.kind == "boolean" else [None] if numbers else [None, OTHER]
    for sense in senses:
        if sense in numbers and isinstance(sense, Order | Equals):
            values.extend(_around(sense))
        elif isinstance(sense, Equals):
            values.append(sense.key)
    if not numbers:  # each value is a cell of its own, and hundreds of values are common
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        columns = tuple(1 << places[None if isinstance(sense, Blank) else _key(sense)] for sense in senses)
        return Cells(
            len(places), columns, sum(1 << places[value] for value in places if _is_real(known, senses, value))
        )
    possible = dict.fromkeys(tuple(_holds(sense, value) for sense in senses) for value in values)
    real = {tuple(_holds(sense, value) for sense in senses) for value in values if _is_real(known, senses, value)}
    return _columns(possible, real)


def _columns(possible: Iterable[Cell], real: Container[Cell]) -> Cells:
    rows = list(possible)
    columns = tuple(
        sum(1 << place for place, truth in enumerate(column) if truth) for column in zip(*rows, strict=True)
    )
    return Cells(len(rows), columns, sum(1 << place for place, row in enumerate(rows) if row in real))


def implies(narrow: Meaning, wide: Meaning) -> bool:
    """Whether each value (of one element) that fits the one fits the other."""
    if isinstance(narrow, Blank) or isinstance(wide, Blank):
        return False
    if isinstance(wide, Equals):
        return isinstance(narrow, Equals) and narrow.key == wide.key
    if not isinstance(wide, Like):
        return False
    if isinstance(narrow, Equals):
        return isinstance(narrow.key, str) and fits(wide.parts, narrow.key)
    # a wildcard of the narrow pattern stands for text that only a wildcard of the wide one takes
    return isinstance(narrow, Like) and fits(wide.parts, "\0".join(narrow.parts))


def _around(sense: Order | Equals) -> list[object]:
    """A number or time and its nearest neighbours: no value between them is told apart."""
    if sense.at:
        stamp = _microseconds(sense)
        return [stamp - 1, stamp, stamp + 1]
    whole = sense.number if isinstance(sense, Order) else sense.key
    return [whole - 1, whole, whole + 1] if isinstance(whole, int) else []


def _key(sense: Meaning) -> object:
    return sense.key if isinstance(sense, Equals) else None


def _is_number(known: Property, sense: Equals) -> bool:
    return known.kind == "datetime" or (known.kind == "integer" and isinstance(sense.key, int))


def _microseconds(sense: Order | Equals) -> int:
    at = sense.at[0].at
    return ((at.toordinal() * 24 + at.hour) * 60 + at.minute) * 60_000_000 + at.second * 1_000_000 + at.microsecond


def _holds(sense: Meaning, value: object) -> bool:
    """The comparison for one cell's value: None, `OTHER`, a key, or microseconds for a date."""
    if isinstance(sense, Blank):
        return value is None
    if value is None or isinstance(value, Other):
        return False
    if isinstance(sense, Equals):
        return value == (_microseconds(sense) if sense.at else sense.key)
    if isinstance(sense, Like):
        return isinstance(value, str) and fits(sense.parts, value)
    if isinstance(sense, Order) and isinstance(value, int):
        limit = _microseconds(sense) if sense.at else sense.number
        return limit is not None and sense.holds((value > limit) - (value < limit))
    return False


def _is_real(known: Property, senses: Sequence[Meaning], value: object) -> bool:
    if value is None:
        return known.name not in MANDATORY
    listed = {item.lower() for item in known.values}
    if not listed or known.kind != "enum":
        return True
    if isinstance(value, Other):
        return bool(
            listed - {sense.key[0] for sense in senses if isinstance(sense, Equals) and isinstance(sense.key, tuple)}
        )
    return isinstance(value, tuple) and listed.issuperset(value)


# -- text with patterns ----------------------------------------------------------------------------------------------------


def _text_cells(known: Property, senses: Sequence[Meaning]) -> Cells | None:
    texts = [sense.key for sense in senses if isinstance(sense, Equals) and isinstance(sense.key, str)]
    patterns = [sense for sense in senses if isinstance(sense, Like)]
    free = [sense for sense in patterns if len(sense.parts) > 2 or sense.parts[1]]
    if len(free) > _FREE_PATTERNS:
        return None
    fresh = _fresh("".join([*texts, *(sense.pattern for sense in patterns)]))
    starts = list(dict.fromkeys(["", *(sense.parts[0] for sense in patterns)]))
    real_values: list[object] = [*texts, *starts[1:], *(start + fresh for start in starts)]
    real_values.extend(text for start in starts for some in _subsets(free) for text in _samples(start, some, fresh))
    if known.name not in MANDATORY:
        real_values.append(None)
    real = dict.fromkeys(tuple(_holds(sense, value) for sense in senses) for value in real_values if value != "")
    possible = dict(real)
    possible.setdefault(tuple(_holds(sense, None) for sense in senses))
    if free:
        possible.update(dict.fromkeys(_guessed(senses, free, starts, fresh)))
    return _columns(possible, real)


def _guessed(senses: Sequence[Meaning], free: Sequence[Like], starts: Sequence[str], fresh: str) -> Iterable[Cell]:
    """Every cell that is not plainly impossible, whether or not a value for it was found."""
    fixed = {index for index, sense in enumerate(senses) if sense not in free}
    order = [sense for sense in senses if sense in free]
    for start in starts:
        base = [_holds(sense, start + fresh) for sense in senses]
        for truths in product((False, True), repeat=len(order)):
            chosen = iter(truths)
            cell = tuple(base[index] if index in fixed else next(chosen) for index in range(len(senses)))
            if _coherent(senses, cell):
                yield cell


def _coherent(senses: Sequence[Meaning], cell: Cell) -> bool:
    true = [sense for sense, holds in zip(senses, cell, strict=True) if holds]
    false = [sense for sense, holds in zip(senses, cell, strict=True) if not holds]
    if any(implies(one, other) for one in true for other in false):
        return False
    likes = [sense for sense in true if isinstance(sense, Like)]
    return all(
        (a.parts[0].startswith(b.parts[0]) or b.parts[0].startswith(a.parts[0]))
        and (a.parts[-1].endswith(b.parts[-1]) or b.parts[-1].endswith(a.parts[-1]))
        for a in likes
        for b in likes
    )


def _samples(start: str, some: Sequence[Like], fresh: str) -> Iterable[str]:
    """Texts that try to fit all of some patterns at once."""
    begin = max([start, *(sense.parts[0] for sense in some)], key=len)
    end = max([sense.parts[-1] for sense in some], key=len, default="")
    middle = [part for sense in some for part in sense.parts[1:-1] if part]
    yield fresh.join([begin, *middle, end])
    yield "".join([begin, *middle, end])
    if begin == end and not middle:
        yield begin


def _subsets(free: Sequence[Like]) -> Iterable[list[Like]]:
    for truths in product((False, True), repeat=len(free)):
        yield [sense for sense, taken in zip(free, truths, strict=True) if taken]


def _fresh(used: str) -> str:
    """A character that stands in none of the texts."""
    return next(char for char in map(chr, range(0x4E00, 0x9FFF)) if char not in used)


def scale(senses: Iterable[Meaning]) -> bool:
    """Whether the dates among the meanings can be put in one order: each with one reading, all with a zone or none."""
    dated = [sense.at for sense in senses if isinstance(sense, Equals | Order) and sense.at]
    return all(len(at) == 1 for at in dated) and len({moment.zoned for at in dated for moment in at}) < 2
