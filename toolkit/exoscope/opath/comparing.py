"""One comparison against one value of its property: true, false or unknown."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from exoscope.opath.dn import normal_dn
from exoscope.opath.meaning import (
    ADDRESSES,
    COUNTRIES,
    Blank,
    Equals,
    Like,
    Meaning,
    Never,
    Order,
    Unclear,
    bare_address,
    flags_key,
    guid_key,
    loose_key,
    meaning,
    negative,
    number,
    text_key,
)
from exoscope.opath.moments import moments, order, span
from exoscope.opath.nodes import Compare
from exoscope.opath.table import Property, lookup


class Unread(enum.Enum):
    """The type of `UNREAD`: the property was not read, which is not the same as blank."""

    UNREAD = "unread"


UNREAD: Final = Unread.UNREAD


class Partial(msgspec.Struct, frozen=True):
    """Group membership that is known in part: a value for MemberOfGroup.

    A direct member of the groups ``known``; of those in ``unknown`` perhaps; of all others certainly not. Both are DNs in
    any spelling.
    """

    known: frozenset[str]
    unknown: frozenset[str]

    def __post_init__(self) -> None:
        for field in ("known", "unknown"):
            folded = frozenset(normal_dn(dn) or text_key(dn) for dn in getattr(self, field))
            msgspec.structs.force_setattr(self, field, folded)


Scalar = str | bool | int | float
Value = Scalar | tuple[str, ...] | Partial | Unread | None

_SCHEME = re.compile(r"[a-z0-9]+:")
# Names of one object that the directory may compare as DNs though the table calls them text
_DN_TEXT = frozenset({"DistinguishedName", "Id"})


def compare(atom: Compare, value: Value) -> bool | None:
    """Whether a recipient whose property holds ``value`` passes; None is unknown.

    ``value`` None or ``()`` is ``$null``; a tuple passes if any element does (before the negation of -ne and -notlike). For
    PrimarySmtpAddress hand in the tuple of all addresses (`reads` says which properties an atom asks).
    """
    found = _found(meaning(atom), atom, value)
    return found if not negative(atom) else negated(found)


def negated(answer: bool | None) -> bool | None:
    """Kleene's not."""
    return None if answer is None else not answer


def any_of(answers: Iterable[bool | None]) -> bool | None:
    """Kleene's or; of none, False."""
    result: bool | None = False
    for answer in answers:
        if answer:
            return True
        if answer is None:
            result = None
    return result


def all_of(answers: Iterable[bool | None]) -> bool | None:
    """Kleene's and; of none, True."""
    return negated(any_of(negated(answer) for answer in answers))


def found_in(atom: Compare, values: Iterable[Value]) -> bool | None:
    """`compare` over the values of several properties, any of which may match (the PrimarySmtpAddress trap)."""
    sense = meaning(atom)
    found = any_of(_found(sense, atom, value) for value in values)
    return found if not negative(atom) else negated(found)


def reads(atom: Compare) -> tuple[str, ...]:
    """The properties an atom asks. ``PrimarySmtpAddress`` searches the other addresses too (documented trap)."""
    known = lookup(atom.property)
    if known is not None and known.name == "PrimarySmtpAddress" and atom.value is not None:
        return ("PrimarySmtpAddress", "EmailAddresses")
    return (known.name if known else atom.property,)


def fits(parts: tuple[str, ...], text: str) -> bool:
    """Whether text fits a pattern given as what stands between its wildcards (`Like.parts`)."""
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        place = text.find(part, at, end)
        if place < 0:
            return False
        at = place + len(part)
    return True


def _found(sense: Meaning, atom: Compare, value: Value) -> bool | None:
    if isinstance(sense, Never):
        return False
    if isinstance(sense, Unclear) or value is UNREAD:
        return None
    if isinstance(value, Partial):
        return _membership(sense, value)
    if isinstance(sense, Blank):
        # a directory holds no empty text, so where one was read, what Exchange sees is not known
        return None if value == "" else value is None or value == ()
    if value is None or value == ():
        return False
    known = lookup(atom.property)
    if known is None:
        return None
    if isinstance(value, tuple):
        return any_of(_one(sense, atom, known, element) for element in value)
    return _one(sense, atom, known, value)


def _membership(sense: Meaning, value: Partial) -> bool | None:
    if isinstance(sense, Blank):
        return False if value.known else (None if value.unknown else True)
    if not isinstance(sense, Equals):
        return None
    if sense.key in value.known:
        return True
    return None if sense.key in value.unknown else False


def _one(sense: Meaning, atom: Compare, known: Property, value: Scalar) -> bool | None:
    kind = known.kind
    if kind in ("string-wildcard", "string", "smtp-address"):
        if isinstance(value, bool | float):
            return None
        return _text(sense, atom, known, str(value))
    if isinstance(sense, Order):
        return _ordered(sense, value)
    if not isinstance(sense, Equals):
        return None
    if kind == "datetime":
        at = moments(value) if isinstance(value, str) else ()
        sign = order(at, sense.at)
        return None if sign is None else sign == 0
    key = _key(kind, value)
    if key is None:
        return None
    if known.name in COUNTRIES:
        return _country(sense, str(value))
    return key == sense.key


def _key(kind: str, value: Scalar) -> object:
    """The key of a value that was read, in the form its kind compares by; None where it has no such form."""
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None
    if kind == "integer":
        if isinstance(value, str) and value.strip().lower() == "unlimited":
            return "unlimited"
        if isinstance(value, float):
            return int(value) if value.is_integer() else None
        return number(value)
    if not isinstance(value, str):
        return None
    if kind == "dn":
        return normal_dn(value)
    if kind == "guid":
        return guid_key(value)
    if kind == "timespan":
        return span(value)
    return flags_key(value) if kind == "enum" else value.strip().lower()


def _ordered(sense: Order, value: Scalar) -> bool | None:
    if sense.number is not None:
        if isinstance(value, float):
            return sense.holds((value > sense.number) - (value < sense.number)) if value == value else None
        whole = number(value)
        return None if whole is None else sense.holds((whole > sense.number) - (whole < sense.number))
    at = moments(value) if isinstance(value, str) else ()
    sign = order(at, sense.at)
    if sign is not None:
        return sense.holds(sign)
    return None


def _text(sense: Meaning, atom: Compare, known: Property, value: str) -> bool | None:
    if known.name in COUNTRIES:
        return _country(sense, value)
    if known.name in ADDRESSES:
        return _address(sense, atom, value)
    answer = _plain(sense, value)
    if answer is False and known.name in _DN_TEXT and isinstance(sense, Equals):
        dn = normal_dn(value)
        return None if dn is not None and dn == normal_dn(str(atom.value)) else False
    return answer


def _plain(sense: Meaning, text: str) -> bool | None:
    """Text against text: equal but for case is true; equal only under Unicode's wider folding is unknown."""
    test: Callable[[str], str]
    for test, answer in ((text_key, True), (loose_key, None)):
        if isinstance(sense, Equals):
            if test(text) == (sense.key if test is text_key else loose_key(str(sense.key))):
                return answer
        elif isinstance(sense, Like):
            parts = sense.parts if test is text_key else tuple(loose_key(part) for part in sense.parts)
            if fits(parts, test(text)):
                return answer
        else:
            return None
    return False


def _address(sense: Meaning, atom: Compare, value: str) -> bool | None:
    """Addresses with and without ``smtp:``; what matches only through how a prefix is stored is unknown."""
    given = text_key(str(atom.value))
    raw: Meaning = Like(tuple(given.split("*"))) if isinstance(sense, Like) else Equals(given)
    scheme = _SCHEME.match(value.lower())
    if scheme is None or scheme.group() == "smtp:":
        bare = bare_address(value)
        answer = _plain(sense, bare)
        if answer is False and bare_address(given) == given and _plain(raw, f"smtp:{bare}") is not False:
            return None
        return answer
    answer = _plain(raw, value)
    if answer is False and _SCHEME.match(given) is None and _plain(sense, value[scheme.end() :]) is not False:
        return None
    return answer


def _country(sense: Meaning, value: str) -> bool | None:
    """A code and a name may be the same country, and no table here says so: only like is compared with like."""
    if isinstance(sense, Like):
        literal = "".join(sense.parts)
        return _plain(sense, value) if not is_code(value) and len(literal) > 2 else None
    if not isinstance(sense, Equals):
        return None
    wanted = country_text(sense)
    if is_code(value) != is_code(wanted):
        return None
    if text_key(value) == wanted:
        return True
    return None if squeezed(value) == squeezed(wanted) else False


def country_text(sense: Equals) -> str:
    """The text an equality on a country compares with (UsageLocation is an enum in the table)."""
    return sense.key[0] if isinstance(sense.key, tuple) else str(sense.key)


def is_code(text: str) -> bool:
    """Two letters, as in ISO 3166."""
    return len(text) == 2 and text.isalpha()


def squeezed(text: str) -> str:
    """``UnitedStates`` and ``United States`` may be one country's name."""
    return "".join(char for char in loose_key(text) if char.isalnum())
