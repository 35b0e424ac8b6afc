"""Sets of mailboxes: bitmaps, and pairs of bitmaps that bound a set which is known in part.

The one place that touches pyroaring, which has no types. A bitmap given away is never changed: operators make new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pyroaring import BitMap

Bits = Any
"""A ``pyroaring.BitMap`` over places in a :class:`Universe`."""


def bits(places: Iterable[int] = ()) -> Bits:
    """The bitmap of these places."""
    return BitMap(places)


def first_bits(count: int) -> Bits:
    """The bitmap of the places 0 … count-1."""
    return BitMap(range(count))


class Span(NamedTuple):
    """A set known in part: ``sure`` ⊆ the set ⊆ ``possible``. What is possible and not sure is unknown."""

    sure: Bits
    possible: Bits

    @property
    def unknown(self) -> Bits:
        return self.possible - self.sure

    def doubted(self) -> Span:
        """The same set, were something it rests on not certain: what was sure becomes unknown."""
        return Span(bits(), self.possible)


def exactly(these: Bits) -> Span:
    """A set that is known."""
    return Span(these, these)


def nothing() -> Span:
    """The empty set, known."""
    return exactly(bits())


def union(spans: Iterable[Span]) -> Span:
    """Their union; of none, nothing."""
    sure, possible = bits(), bits()
    for span in spans:
        sure |= span.sure
        possible |= span.possible
    return Span(sure, possible)


def intersection(spans: Sequence[Span]) -> Span:
    """Their intersection; at least one is needed."""
    sure, possible = spans[0]
    for span in spans[1:]:
        sure, possible = sure & span.sure, possible & span.possible
    return Span(sure, possible)


def complement(span: Span, everything: Bits) -> Span:
    """What is not in it."""
    return Span(everything - span.possible, everything - span.sure)


def either_reading(one: Span, other: Span) -> Span:
    """A set that is one or the other, nobody knows which."""
    return Span(one.sure & other.sure, one.possible | other.possible)


class Universe:
    """All mailboxes of a tenant, in the order of their primary addresses (without case): place n is the n-th.

    ``addresses`` are the primary addresses as stored.
    """

    __slots__ = ("addresses", "everything", "place_of")

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self.everything = first_bits(len(self.addresses))
        self.place_of = {address.casefold(): place for place, address in enumerate(self.addresses)}

    def __len__(self) -> int:
        return len(self.addresses)


class Mailboxes:
    """A set of mailboxes of one tenant. Iterates over primary addresses, as stored, sorted without case.

    ``-``, ``&``, ``|``, ``<=``, ``==`` work between sets of one tenant's recipients (of one :class:`Reach` and those made
    from it with the same recipients); for others ValueError is raised, but ``==`` is False. ``address in set`` ignores case.
    """

    __slots__ = ("bits", "universe")

    def __init__(self, universe: Universe, these: Bits) -> None:
        self.universe = universe
        self.bits = these

    def __len__(self) -> int:
        return len(self.bits)

    def __iter__(self) -> Iterator[str]:
        addresses = self.universe.addresses
        return (addresses[place] for place in self.bits)

    def __contains__(self, address: object) -> bool:
        place = self.universe.place_of.get(address.casefold()) if isinstance(address, str) else None
        return place is not None and place in self.bits

    def addresses(self) -> tuple[str, ...]:
        """Primary addresses, as stored, sorted without case."""
        return tuple(self)

    def nth(self, number: int) -> str:
        """One of :meth:`addresses`, without making them all. Raises IndexError."""
        place: int = self.bits[number]
        return self.universe.addresses[place]

    def __or__(self, other: Mailboxes) -> Mailboxes:
        return Mailboxes(self.universe, self.bits | self._same(other))

    def __and__(self, other: Mailboxes) -> Mailboxes:
        return Mailboxes(self.universe, self.bits & self._same(other))

    def __sub__(self, other: Mailboxes) -> Mailboxes:
        return Mailboxes(self.universe, self.bits - self._same(other))

    def __le__(self, other: Mailboxes) -> bool:
        return bool(self.bits.issubset(self._same(other)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mailboxes):
            return NotImplemented
        if self.universe is other.universe:
            return bool(self.bits == other.bits)
        return False

    def __hash__(self) -> int:
        return hash((id(self.universe), len(self.bits)))

    def __repr__(self) -> str:
        return f"<{len(self)} of {len(self.universe)} mailboxes>"

    def _same(self, other: Mailboxes) -> Bits:
        if self.universe is not other.universe:
            raise ValueError("these sets of mailboxes are of different reads of recipients")
        return other.bits
