"""What a filter is once it is read: five kinds of frozen, hashable nodes.

::

    And(operands)  Or(operands)      two or more operands; one of the same kind is taken apart (-and and -or associate)
    Not(operand)
    Compare(property, operator, value)
    Mixed(operands, operators)       -and and -or side by side without parentheses: their precedence is not documented

``str(node)`` is the canonical text: every operand of a join in parentheses, strings in single quotes, properties in their
documented spelling. It parses to an equal node (a `Mixed` stays one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from exoscope.opath.table import spelling
from exoscope.outcome import BadInput

Join = Literal["and", "or"]
Operator = Literal["eq", "ne", "lt", "gt", "le", "ge", "like", "notlike"]
OPERATORS: tuple[Operator, ...] = ("eq", "ne", "lt", "gt", "le", "ge", "like", "notlike")
INT64 = range(-(2**63), 2**63)


class OpathError(BadInput, ValueError):
    """A filter that does not parse. ``position`` counts code points of the text from 0."""

    code = "bad-filter"

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1} of the filter)")
        self.position = position


class Filter(msgspec.Struct, frozen=True):
    """Base of every node."""

    def __str__(self) -> str:
        return _print(self)


class And(Filter, frozen=True, cache_hash=True):
    """True where every operand is."""

    operands: tuple[Filter, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "operands", _spliced(And, self.operands))


class Or(Filter, frozen=True, cache_hash=True):
    """True where any operand is."""

    operands: tuple[Filter, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "operands", _spliced(Or, self.operands))


class Not(Filter, frozen=True, cache_hash=True):
    """True where the operand is not."""

    operand: Filter


class Compare(Filter, frozen=True, eq=False):
    """One comparison. ``operator`` is lower case without its hyphen; a ``value`` of None is ``$null``.

    The property may be one nobody knows: such a filter parses, and evaluates to unknown.
    """

    property: str
    operator: Operator
    value: str | int | bool | None

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ValueError(f"-{self.operator} is not a comparison operator of recipient filters")
        problem = value_problem(self.operator, self.value)
        if problem:
            raise ValueError(problem)

    def __eq__(self, other: object) -> bool:
        # $true and 1 are equal in Python and are not in a filter
        return isinstance(other, Compare) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.property, self.operator, type(self.value), self.value)


class Mixed(Filter, frozen=True, cache_hash=True):
    """``A -and B -or C``: operands and the joins between them, in the order written.

    No source says which binds tighter, so both readings stay: `and_first` and `or_first`. They bound every other way to
    set parentheses (`or_first` implies it, it implies `and_first`), so where the two agree, all do.
    """

    operands: tuple[Filter, ...]
    operators: tuple[Join, ...]

    def __post_init__(self) -> None:
        if len(self.operands) != len(self.operators) + 1 or set(self.operators) != {"and", "or"}:
            raise ValueError("a mixed filter has one join between each two operands, and both kinds of join")

    @property
    def and_first(self) -> Filter:
        """-and binds tighter."""
        return self._grouped("or")

    @property
    def or_first(self) -> Filter:
        """-or binds tighter."""
        return self._grouped("and")

    @property
    def left_first(self) -> Filter:
        """Neither binds tighter: from left to right, as PowerShell itself reads."""
        result = self.operands[0]
        for join, operand in zip(self.operators, self.operands[1:], strict=True):
            result = (And if join == "and" else Or)((result, operand))
        return result

    def _grouped(self, loose: Join) -> Filter:
        outer, inner = (Or, And) if loose == "or" else (And, Or)
        groups = [[self.operands[0]]]
        for join, operand in zip(self.operators, self.operands[1:], strict=True):
            if join == loose:
                groups.append([operand])
            else:
                groups[-1].append(operand)
        return outer(tuple(inner(tuple(group)) if len(group) > 1 else group[0] for group in groups))


def value_problem(operator: str, value: object) -> str | None:
    """Why this operator does not take this value (exchange.md §3), or None."""
    if operator in ("like", "notlike") and not isinstance(value, str):
        return f"-{operator} takes text in quotes"
    if operator in ("lt", "gt", "le", "ge") and (value is None or isinstance(value, bool)):
        return f"-{operator} takes text or a number; $null, $true and $false go with -eq and -ne"
    if isinstance(value, int) and value not in INT64:
        return "a number in a filter has at most 64 bits"
    if value is not None and not isinstance(value, str | int):
        return "a filter compares with text, a whole number, $true, $false or $null"
    return None


def _spliced(kind: type[And] | type[Or], operands: Sequence[Filter]) -> tuple[Filter, ...]:
    if len(operands) < 2:
        raise ValueError("-and and -or join at least two operands")
    if not any(isinstance(operand, kind) for operand in operands):
        return tuple(operands)
    flat: list[Filter] = []
    for operand in operands:
        flat.extend(operand.operands if isinstance(operand, kind) else (operand,))
    return tuple(flat)


def _print(node: Filter) -> str:
    if isinstance(node, And | Or):
        join = " -and " if isinstance(node, And) else " -or "
        return join.join(f"({_print(operand)})" for operand in node.operands)
    if isinstance(node, Not):
        return f"-not ({_print(node.operand)})"
    if isinstance(node, Mixed):
        rest = "".join(
            f" -{join} ({_print(operand)})" for join, operand in zip(node.operators, node.operands[1:], strict=True)
        )
        return f"({_print(node.operands[0])}){rest}"
    if isinstance(node, Compare):
        return f"{spelling(node.property)} -{node.operator} {_literal(node.value)}"
    raise TypeError(f"{type(node).__name__} is not a node of a filter")


def _literal(value: str | int | bool | None) -> str:
    if value is None:
        return "$null"
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
