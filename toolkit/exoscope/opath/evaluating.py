"""A filter against a recipient, three-valued (SNAPSHOT.md, "How filters are evaluated"), and what a filter speaks of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from exoscope.opath.comparing import UNREAD, Value, all_of, any_of, found_in, negated, reads
from exoscope.opath.dn import normal_dn
from exoscope.opath.meaning import Never, Unclear, has_wildcard, meaning
from exoscope.opath.nodes import And, Compare, Filter, Mixed, Not, Or
from exoscope.opath.table import lookup, spelling

T = TypeVar("T")


def evaluate(filter: Filter, read: Callable[[str], Value]) -> bool | None:
    """Whether a recipient is in the filter: True, False, or None for unknown (Kleene's logic).

    ``read`` takes a property's documented name and answers its value: text, boolean, number, a tuple of texts, None or
    ``()`` for ``$null``, `UNREAD`, or for MemberOfGroup a `Partial`; it is asked once for each property. A filter with a
    property that cannot be filtered on (`scope_problem`) is unknown as a whole, and so is one whose answer hangs on the
    undocumented precedence of -and and -or.
    """
    if scope_problem(filter) is not None:
        return None
    held: dict[str, Value] = {}

    def leaf(atom: Compare) -> bool | None:
        for name in reads(atom):
            if name not in held:
                held[name] = read(name)
        return found_in(atom, (held[name] for name in reads(atom)))

    def agreed(one: bool | None, other: bool | None) -> bool | None:
        return one if one == other else None

    return fold(filter, leaf=leaf, all_=all_of, any_=any_of, not_=negated, both=agreed)


def fold(
    filter: Filter,
    *,
    leaf: Callable[[Compare], T],
    all_: Callable[[Sequence[T]], T],
    any_: Callable[[Sequence[T]], T],
    not_: Callable[[T], T],
    both: Callable[[T, T], T],
) -> T:
    """The value of a filter in any algebra: bitmaps, three-valued answers, sets.

    ``leaf`` is asked once for each distinct comparison. A filter with a `Mixed` part is read both ways as a whole and ``both``
    joins the two values (known where they agree, unknown where they differ); without one ``both`` is never called.
    Says nothing of `scope_problem`, which makes the whole filter unknown: ask it first.
    """
    values: dict[Compare, T] = {}

    def walk(node: Filter) -> T:
        if isinstance(node, Compare):
            if node not in values:
                values[node] = leaf(node)
            return values[node]
        if isinstance(node, And):
            return all_([walk(operand) for operand in node.operands])
        if isinstance(node, Or):
            return any_([walk(operand) for operand in node.operands])
        if isinstance(node, Not):
            return not_(walk(node.operand))
        raise TypeError(f"{type(node).__name__} is not a node of a filter that is read one way")

    ways = readings(filter)
    first = walk(ways[0])
    return both(first, walk(ways[1])) if len(ways) > 1 else first


@lru_cache(maxsize=4096)
def readings(filter: Filter) -> tuple[Filter, ...]:
    """The filter itself, or the two ways to read it: -and binding tighter, and -or binding tighter."""
    if not is_mixed(filter):
        return (filter,)
    return (reading(filter, lambda mixed: mixed.and_first), reading(filter, lambda mixed: mixed.or_first))


def is_mixed(filter: Filter) -> bool:
    """Whether any part leaves the precedence of -and and -or open."""
    if isinstance(filter, And | Or):
        return any(is_mixed(operand) for operand in filter.operands)
    return isinstance(filter, Mixed) or (isinstance(filter, Not) and is_mixed(filter.operand))


def reading(filter: Filter, way: Callable[[Mixed], Filter]) -> Filter:
    """The filter with every `Mixed` part read one way."""
    if isinstance(filter, Mixed):
        inner = Mixed(tuple(reading(operand, way) for operand in filter.operands), filter.operators)
        return way(inner)
    if isinstance(filter, And | Or):
        return type(filter)(tuple(reading(operand, way) for operand in filter.operands))
    return Not(reading(filter.operand, way)) if isinstance(filter, Not) else filter


@lru_cache(maxsize=4096)
def atoms(filter: Filter) -> tuple[Compare, ...]:
    """The distinct comparisons of a filter, in the order they stand in it."""
    found: dict[Compare, None] = {}

    def walk(node: Filter) -> None:
        if isinstance(node, Compare):
            found.setdefault(node)
        elif isinstance(node, Not):
            walk(node.operand)
        elif isinstance(node, And | Or | Mixed):
            for operand in node.operands:
                walk(operand)

    walk(filter)
    return tuple(found)


def properties(filter: Filter) -> frozenset[str]:
    """Every property the filter names, in its documented spelling where it has one. (`reads` says what an atom asks.)"""
    return frozenset(spelling(atom.property) for atom in atoms(filter))


def dns(filter: Filter) -> tuple[str, ...]:
    """The DNs that DN-only properties are compared with, as spelled, each object once."""
    found: dict[str, str] = {}
    for atom in atoms(filter):
        known = lookup(atom.property)
        key = normal_dn(atom.value) if isinstance(atom.value, str) else None
        if known is not None and known.kind == "dn" and key is not None and not has_wildcard(atom):
            found.setdefault(key, str(atom.value))
    return tuple(found.values())


def excluded_dns(filter: Filter) -> tuple[str, ...]:
    """Those of :func:`dns` that keep recipients out (``-not (MemberOfGroup -eq …)``, ``-ne``): without the object all come in."""
    found: dict[str, str] = {}

    def walk(node: Filter, out: bool) -> None:
        if isinstance(node, Compare):
            if out != (node.operator in ("ne", "notlike")):
                found.update({normal_dn(dn) or dn: dn for dn in dns(node)})
        elif isinstance(node, Not):
            walk(node.operand, not out)
        elif isinstance(node, And | Or | Mixed):
            for operand in node.operands:
                walk(operand, out)

    walk(filter, False)
    return tuple(found.values())


@lru_cache(maxsize=4096)
def scope_problem(filter: Filter) -> str | None:
    """Why a scope with this filter is unknown for every recipient, or None."""
    missing = sorted({spelling(atom.property) for atom in atoms(filter) if lookup(atom.property) is None})
    if missing:
        return f"{_listed(missing)} not documented as filterable, so nobody can say what this filter finds"
    local = sorted({p.name for p in map(lookup, properties(filter)) if p is not None and not p.online})
    return f"{_listed(local)} filterable only on Exchange Server, not in Exchange Online" if local else None


def flags(filter: Filter) -> tuple[str, ...]:
    """What an admin should know of a filter though it can be read: one sentence each."""
    found: dict[str, None] = {}
    if is_mixed(filter):
        found["-and and -or stand side by side without parentheses; which binds tighter is not documented"] = None
    for atom in atoms(filter):
        for sentence in _flags(atom):
            found.setdefault(sentence)
    return tuple(found)


def _flags(atom: Compare) -> list[str]:
    said, known = [], lookup(atom.property)
    text = f"{spelling(atom.property)} -{atom.operator} {str(atom.value)!r}"
    sense = meaning(atom)
    if has_wildcard(atom) and "*" in str(atom.value)[:-1]:
        said.append(f"{text}: Exchange Online documents a wildcard only at the end")
    if isinstance(sense, Never):
        said.append(f"{text}: the property takes only a distinguished name, so this matches nothing")
    if isinstance(sense, Unclear) and known is not None and known.online:
        said.append(f"{text}: {sense.why}")
    if isinstance(atom.value, str) and atom.value.startswith("$") and atom.value[1:2].isalpha():
        said.append(f"{text}: looks like a PowerShell variable that was not expanded")
    if known is not None and known.name == "PrimarySmtpAddress" and atom.value is not None:
        said.append(f"{text}: searches every address of a recipient, not only the primary one")
    if known is not None and known.name.startswith("ExtensionCustomAttribute"):
        said.append(f"{known.name} is usually blank in Exchange Online")
    return said


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


__all__ = [
    "UNREAD",
    "atoms",
    "dns",
    "evaluate",
    "flags",
    "fold",
    "is_mixed",
    "properties",
    "reading",
    "readings",
    "scope_problem",
]
