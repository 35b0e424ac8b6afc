"""What one comparison means, by the kind of its property: the one place that says so for `compare` and for `same`.

The sign is kept apart: ``-ne`` is "not -eq" and ``-notlike`` "not -like", so both are true for ``$null``.
Where the documentation does not say what Exchange does, the meaning is `Unclear` and every answer from it unknown.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from functools import lru_cache

import msgspec

from exoscope.opath.dn import normal_dn
from exoscope.opath.moments import Moment, moments, span
from exoscope.opath.nodes import Compare, Operator
from exoscope.opath.table import Property, lookup

Key = str | int | bool | tuple[str, ...]
# Addresses: the documentation's own examples write them with `smtp:` and without.
ADDRESSES = frozenset({"EmailAddresses", "ExternalEmailAddress", "ForwardingSmtpAddress", "PrimarySmtpAddress"})
# Accept a two-letter code or a name, and nothing says which of the two a comparison sees.
COUNTRIES = frozenset({"CountryOrRegion", "UsageLocation"})
# A plan's named hole, '<step-3.distinguished_name>': no DN yet, but not "matches nothing" either
_HOLE = re.compile(r"<[^<>]+>\Z")
_FLAG = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")


class Unclear(msgspec.Struct, frozen=True):
    """Nothing documents the answer. ``why`` in words."""

    why: str


class Never(msgspec.Struct, frozen=True):
    """Matches no recipient: a property that takes only a DN is compared with something else."""


class Blank(msgspec.Struct, frozen=True):
    """True for a property without a value."""


class Equals(msgspec.Struct, frozen=True):
    """True for a value with this key. Dates are in ``at`` instead, as their possible readings."""

    key: Key
    at: tuple[Moment, ...] = ()


class Like(msgspec.Struct, frozen=True):
    """True for text that fits: ``parts`` are what stands between the wildcards, in lower case (so at least two)."""

    parts: tuple[str, ...]

    @property
    def pattern(self) -> str:
        return "*".join(self.parts)


class Order(msgspec.Struct, frozen=True):
    """True for a number (``number``) or time (``at``) that stands so to this one."""

    operator: Operator
    number: int | None
    at: tuple[Moment, ...] = ()

    def holds(self, sign: int) -> bool:
        """For a value that is before (-1), at (0) or after (1) this one."""
        return {"lt": sign < 0, "le": sign <= 0, "gt": sign > 0, "ge": sign >= 0}[self.operator]


Meaning = Unclear | Never | Blank | Equals | Like | Order


def negative(atom: Compare) -> bool:
    """Whether the comparison is the negation of what `meaning` says."""
    return atom.operator in ("ne", "notlike")


@lru_cache(maxsize=65536)
def meaning(atom: Compare) -> Meaning:
    """The positive meaning of a comparison: of ``-ne`` that of ``-eq``, of ``-notlike`` that of ``-like``."""
    known = lookup(atom.property)
    if known is None or not known.online:
        return Unclear(f"{atom.property} is not a property that Exchange Online can filter on")
    value = atom.value
    if value is None:
        return Blank()
    if value == "" and isinstance(value, str):
        return Unclear("what a comparison with empty text finds is not documented: $null finds blank values")
    operator = {"ne": "eq", "notlike": "like"}.get(atom.operator, atom.operator)
    if operator == "like" and isinstance(value, str):
        return _like(known, value)
    if operator == "eq":
        return _equals(known, value)
    return _order(known, atom.operator, value)


def text_key(text: str) -> str:
    """Comparisons ignore case."""
    return text.lower()


def loose_key(text: str) -> str:
    """What might be the same text to a directory: texts that agree only here are neither equal nor different."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def flags_key(text: str) -> tuple[str, ...]:
    """A list of flags in any order; anything else is one value."""
    parts = [part.strip() for part in text.split(",")]
    if all(_FLAG.match(part) for part in parts):
        return tuple(sorted({part.lower() for part in parts}))
    return (text.lower(),)


def guid_key(text: str) -> str | None:
    """The 32 digits of a Guid, whatever its punctuation."""
    try:
        return uuid.UUID(text).hex
    except ValueError:
        return None


def number(value: object) -> int | None:
    """A whole number, bare or as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,19}\s*", value, re.ASCII):
        return int(value)
    return None


def bare_address(text: str) -> str:
    """The address without ``smtp:``; other prefixes are part of it."""
    return text[5:] if text[:5].lower() == "smtp:" else text


def has_wildcard(atom: Compare) -> bool:
    return atom.operator in ("like", "notlike") and "*" in str(atom.value)


def _like(known: Property, value: str) -> Meaning:
    if "*" not in value:
        return _equals(known, value)
    if known.kind == "dn":
        if normal_dn(value) is None:
            return Never()
        return Unclear(f"{known.name} takes a whole distinguished name; what a wildcard does there is not documented")
    if known.kind != "string-wildcard":
        return Unclear(f"{known.name} takes no wildcard")
    if known.name == "PrimarySmtpAddress" and bare_address(value) != value:
        return Unclear("PrimarySmtpAddress holds an address without a prefix")
    text = bare_address(value) if known.name in ADDRESSES else value
    return Like(tuple(text_key(text).split("*")))


def _equals(known: Property, value: str | int | bool) -> Meaning:
    kind = known.kind
    if kind == "dn":
        if isinstance(value, str) and _HOLE.match(value):
            return Unclear("a name that an earlier step yields is not filled in yet")
        key = normal_dn(value) if isinstance(value, str) else None
        return Equals(key) if key is not None else Never()
    if kind == "boolean":
        return Equals(value) if isinstance(value, bool) else Unclear(f"{known.name} compares with $true or $false")
    if isinstance(value, bool):
        return Unclear(f"{known.name} does not compare with $true or $false")
    if kind == "integer":
        whole = number(value)
        if whole is not None:
            return Equals(whole)
        unlimited = isinstance(value, str) and value.lower() == "unlimited"
        return Equals("unlimited") if unlimited else Unclear(f"{known.name} compares with a whole number")
    if kind in ("string-wildcard", "string", "smtp-address"):
        return _text(known, str(value))
    if not isinstance(value, str):
        return Unclear(f"{known.name} compares with text")
    return _special(known, value)


def _text(known: Property, value: str) -> Meaning:
    if known.name == "PrimarySmtpAddress" and bare_address(value) != value:
        return Unclear("PrimarySmtpAddress holds an address without a prefix")
    text = bare_address(value) if known.name in ADDRESSES else value
    return Equals(text_key(text)) if text else Unclear("an address prefix alone names no address")


def _special(known: Property, value: str) -> Meaning:
    """Text for a property that is not text."""
    if known.kind == "guid":
        guid = guid_key(value)
        return Equals(guid) if guid else Unclear(f"{known.name} compares with a GUID")
    if known.kind == "enum":
        return Equals(flags_key(value))
    if known.kind == "bytesize":
        # recipientfilter-properties.md: sizes work in dynamic groups; "others: Unlimited, or blank/non-blank"
        return (
            Equals("unlimited")
            if value.lower() == "unlimited"
            else Unclear(f"{known.name} compares only with 'Unlimited'")
        )
    if known.kind == "timespan":
        seconds = span(value)
        return Equals(seconds) if seconds is not None else Unclear(f"{known.name} compares with a time span")
    if known.kind == "datetime":
        at = moments(value)
        return Equals(text_key(value), at) if at else Unclear(f"{known.name} compares with a date this tool can read")
    return Unclear(f"{known.name} compares only with $null")


def _order(known: Property, operator: Operator, value: str | int | bool) -> Meaning:
    if known.kind == "integer":
        whole = number(value)
        return Order(operator, whole) if whole is not None else Unclear(f"{known.name} compares with a whole number")
    if known.kind == "datetime" and isinstance(value, str):
        at = moments(value)
        return Order(operator, None, at) if at else Unclear(f"{known.name} compares with a date this tool can read")
    return Unclear(f"the order that -{operator} uses for {known.name} is not documented")
