"""Recipient filters, one recipient at a time, three-valued: True, False, or None where the answer is not known.

Written from SNAPSHOT.md ("How filters are evaluated") and deliberately apart from :mod:`exoscope.opath.evaluate`: only its
parser is used, so that a wrong rule there cannot agree with itself here.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from msgspec import UNSET

from exoscope.model import Recipient
from exoscope.opath import And, Compare, Filter, Mixed, Not, OpathError, Or, parse
from exoscope.twin.view import View, dn_key, fold

_COLUMNS: dict[str, Callable[[Recipient], Any]] = {
    "guid": lambda r: r.guid,
    "externaldirectoryobjectid": lambda r: r.external_directory_object_id,
    "displayname": lambda r: r.display_name,
    "emailaddresses": lambda r: r.email_addresses,
    "primarysmtpaddress": lambda r: r.primary_smtp_address,
    "distinguishedname": lambda r: r.distinguished_name,
    "recipienttype": lambda r: r.recipient_type,
    "recipienttypedetails": lambda r: r.recipient_type_details,
}


class _Unknown:
    """The marker of a property that was not read."""


_UNREAD = _Unknown()
_TEXT = frozenset({"string-wildcard", "string", "smtp-address"})


@cache
def _kinds() -> dict[str, str]:
    """Property name, lower case, to its kind; only what Exchange Online can filter on."""
    table = json.loads(resources.files("exoscope").joinpath("data/filterable_properties.json").read_text("utf-8"))
    kinds = {}
    for row in table["properties"]:
        if not row["exchange_online"]:
            continue
        first, to, last = row["name"].partition(" to ")
        names = [first]
        if to:
            stem = first.rstrip("0123456789")
            names = [f"{stem}{n}" for n in range(int(first[len(stem) :]), int(last[len(stem) :]) + 1)]
        kinds.update({name.lower(): row["kind"] for name in names})
    return kinds


def scope_holds(view: View, text: str, recipient: Recipient) -> bool | None:
    """Whether the filter ``text`` selects the recipient. Unknown for a filter that does not parse or cannot be evaluated."""
    try:
        node = parse(text)
    except OpathError:
        return None
    return holds(view, node, recipient)


def holds(view: View, node: Filter, recipient: Recipient) -> bool | None:
    """The same for a parsed filter. One property that is not filterable makes all of it unknown.

    Without parentheses which of -and and -or binds tighter is not documented: the whole filter is read both ways.
    """
    if unfilterable(node):
        return None
    one, other = (_node(view, node, recipient, and_first) for and_first in (True, False))
    return one if one == other else None


def unfilterable(node: Filter) -> str | None:
    """A property of the filter on which Exchange Online does not filter, or None."""
    return next((atom.property for atom in _atoms(node) if atom.property.lower() not in _kinds()), None)


def properties(node: Filter) -> tuple[str, ...]:
    """The properties that a filter compares."""
    return tuple(atom.property for atom in _atoms(node))


def _atoms(node: Filter) -> Iterable[Compare]:
    if isinstance(node, Compare):
        yield node
    elif isinstance(node, Not):
        yield from _atoms(node.operand)
    elif isinstance(node, And | Or | Mixed):
        for operand in node.operands:
            yield from _atoms(operand)
    else:
        raise TypeError(type(node).__name__)


def _node(view: View, node: Filter, recipient: Recipient, and_first: bool) -> bool | None:
    if isinstance(node, Mixed):
        node = node.and_first if and_first else node.or_first
    if isinstance(node, And | Or):
        answers = [_node(view, operand, recipient, and_first) for operand in node.operands]
        settled = isinstance(node, Or)  # the answer that one operand alone settles
        return settled if settled in answers else None if None in answers else not settled
    if isinstance(node, Not):
        inner = _node(view, node.operand, recipient, and_first)
        return None if inner is None else not inner
    if isinstance(node, Compare):
        return _compare(view, node, recipient)
    raise TypeError(type(node).__name__)


def _compare(view: View, atom: Compare, recipient: Recipient) -> bool | None:
    if atom.operator in ("ne", "notlike"):
        positive = Compare(atom.property, "eq" if atom.operator == "ne" else "like", atom.value)
        inner = _compare(view, positive, recipient)
        return None if inner is None else not inner
    name = atom.property.lower()
    kind = _kinds()[name]
    if name == "memberofgroup":
        return _member(view, atom, recipient)
    value = _read(view, name, recipient)
    if isinstance(value, _Unknown):
        # a DN-only property compared with what is no DN matches nothing, read or not
        return False if _never(kind, atom) else None
    if atom.value is None:
        # a directory holds no empty text: what Exchange sees where one was read is not known
        return None if value == "" else value is None or value == () or value == []
    if _never(kind, atom):
        return False
    if _undocumented(kind, name, atom):
        return None
    values: Sequence[Any] = value if isinstance(value, tuple | list) else () if value is None else (value,)
    if name == "primarysmtpaddress":
        values = (*recipient.email_addresses, recipient.primary_smtp_address)
    answers = [_one(kind, name, atom, each) for each in values]
    return True if True in answers else None if None in answers else False


def _undocumented(kind: str, name: str, atom: Compare) -> bool:
    """Comparisons of which no source says what they find, whatever the recipient holds."""
    want = atom.value
    if want == "" or (name == "primarysmtpaddress" and str(want).lower().startswith("smtp:")):
        return True
    if atom.operator == "like" and "*" in str(want):
        return kind != "string-wildcard"  # wildcards are documented for text only
    if atom.operator in ("lt", "le", "gt", "ge"):
        if kind == "datetime":
            return not _moments(str(want))
        return kind != "integer" or _number(want) is None
    if kind == "boolean" or isinstance(want, bool):
        return not (kind == "boolean" and isinstance(want, bool))
    if kind == "integer":
        return _number(want) is None and str(want).lower() != "unlimited"
    if kind in _TEXT:
        return fold(str(want)) == "smtp:" and name in ("emailaddresses", "primarysmtpaddress")
    if not isinstance(want, str):
        return True
    if kind == "datetime":
        return not _moments(want)
    if kind == "guid":
        return len(re.sub(r"[^0-9a-f]", "", want.lower())) != 32
    return kind not in ("dn", "enum")


def _never(kind: str, atom: Compare) -> bool:
    """DN-only properties match nothing but a DN, silently."""
    return kind == "dn" and atom.value is not None and not (isinstance(atom.value, str) and dn_key(atom.value))


def _read(view: View, name: str, recipient: Recipient) -> Any:
    if name in _COLUMNS:
        return _COLUMNS[name](recipient)
    names = view.snapshot.attributes_read
    if names is UNSET or name not in {each.lower() for each in names}:
        return _UNREAD
    return next((value for key, value in recipient.attributes.items() if key.lower() == name), None)


def _member(view: View, atom: Compare, recipient: Recipient) -> bool | None:
    """MemberOfGroup: direct membership, by DN."""
    if _never("dn", atom):
        return False
    if view.snapshot.groups is UNSET:
        return None
    if atom.value is None:
        if view.groups_of(recipient.guid):
            return False
        return None if view.unread_groups() else True
    if atom.operator not in ("eq", "like") or "*" in str(atom.value):
        return None  # ordering or wildcards on a DN: nothing says what they do
    found = view.groups_by_dn(str(atom.value))
    if not found:
        return None  # a group the file does not know
    if any(held is group for held in view.groups_of(recipient.guid) for group in found):
        return True
    return None if any(group.members is None for group in found) else False


def _one(kind: str, name: str, atom: Compare, have: Any) -> bool | None:
    """One value of the recipient against one atom with -eq, -like, -lt, -le, -gt or -ge. What nothing documents is None."""
    want = atom.value
    if atom.operator == "like" and "*" in str(want):
        return _text(name, str(want), have, like=True)
    if atom.operator in ("lt", "le", "gt", "ge"):
        return _order(kind, atom.operator, want, have)
    if kind == "boolean":
        return _boolean(want, have)
    if kind in _TEXT:
        return _text(name, str(want), have, like=False)
    if kind == "integer":
        numbers = [_number(have), _number(want)]
        unlimited = [str(each).strip().lower() == "unlimited" for each in (have, want)]
        if any(number is None and not word for number, word in zip(numbers, unlimited, strict=True)):
            return None
        return unlimited[0] == unlimited[1] and numbers[0] == numbers[1]
    if not isinstance(want, str) or not isinstance(have, str):
        return None
    return _special(kind, name, want, have)


def _special(kind: str, name: str, want: str, have: str) -> bool | None:
    """Text for a property that is not text."""
    if kind == "dn":
        mine = dn_key(have)
        return None if mine is None else mine == dn_key(want)
    if kind == "datetime":
        return _same_moment(want, have)
    if kind == "guid":
        digits = [re.sub(r"[^0-9a-f]", "", text.lower()) for text in (want, have)]
        return digits[0] == digits[1] if all(len(each) == 32 for each in digits) else None
    if name == "usagelocation":
        return _country(want, have)
    if kind == "enum":
        flags = [sorted({part.strip().lower() for part in text.split(",")}) for text in (want, have)]
        return flags[0] == flags[1]
    return None  # sizes, spans, bytes: other spellings of one value are not documented


def _text(name: str, want: str, have: Any, *, like: bool) -> bool | None:
    if isinstance(have, bool | float):
        return None
    text = str(have)
    if name == "countryorregion":
        return None if like else _country(want, text)
    if name in ("emailaddresses", "primarysmtpaddress"):
        return _address(want, text, like=like)
    answer = _same_text(want, text, like=like)
    if answer is False and name in ("distinguishedname", "id") and dn_key(text) == dn_key(want) is not None:
        return None  # two spellings of one DN, in a property that is compared as text
    return answer


def _same_text(want: str, have: str, *, like: bool) -> bool | None:
    """Without case. What is the same only under Unicode's wider folding may be either."""
    if _matches(want.lower(), have.lower(), like=like):
        return True
    return None if _matches(_wide(want), _wide(have), like=like) else False


def _matches(want: str, have: str, *, like: bool) -> bool:
    if not like:
        return want == have
    return re.fullmatch(".*".join(re.escape(part) for part in want.split("*")), have, re.DOTALL) is not None


def _wide(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _address(want: str, have: str, *, like: bool) -> bool | None:
    """An address with its prefix or without. What fits only because of how a prefix is stored may be either."""
    wanted, held = want.lower().removeprefix("smtp:"), have.lower().removeprefix("smtp:")
    prefixed = wanted != want.lower()
    answer = _same_text(wanted, held, like=like)
    if answer is False and not prefixed and _same_text(wanted, f"smtp:{held}", like=like) is not False:
        return None
    return answer


def _boolean(want: Any, have: Any) -> bool | None:
    words = {"true": True, "false": False}
    values = [each if isinstance(each, bool) else words.get(str(each).lower()) for each in (want, have)]
    return None if None in values else values[0] == values[1]


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return value
    return int(value) if re.fullmatch(r"-?[0-9]+", str(value)) else None


def _order(kind: str, operator: str, want: Any, have: Any) -> bool | None:
    if kind == "integer":
        left, right = _number(have), _number(want)
        if left is None or right is None:
            return None
        sign = (left > right) - (left < right)
    elif kind == "datetime":
        found = _compare_moments(str(have), str(want))
        if found is None:
            return None
        sign = found
    else:
        return None  # the order of text is not documented
    return {"lt": sign < 0, "le": sign <= 0, "gt": sign > 0, "ge": sign >= 0}[operator]


def _country(want: str, have: str) -> bool | None:
    """Codes with codes, names with names; a code and a name may be one country."""
    codes = [len(text) == 2 and text.isalpha() for text in (want, have)]
    if codes[0] != codes[1]:
        return None
    if fold(want) == fold(have):
        return True
    bare = ["".join(char for char in _wide(text) if char.isalnum()) for text in (want, have)]
    return None if bare[0] == bare[1] else False


_SLASHED = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([AP]M))?)?", re.IGNORECASE
)


def _moments(text: str) -> list[tuple[datetime, bool]]:
    """Every reading of a date (two where day and month could be either way round), and whether its zone is known."""
    text = text.strip()
    slashed = _SLASHED.fullmatch(text)
    if slashed is None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return []
        return [(moment.replace(tzinfo=moment.tzinfo or UTC), moment.tzinfo is not None)]
    one, two, year, hour, minute, second = (int(part or 0) for part in slashed.groups()[:6])
    half = (slashed.group(7) or "").upper()
    if half and not 1 <= hour <= 12:
        return []
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    found = []
    for month, day in {(one, two), (two, one)}:
        try:
            found.append((datetime(year, month, day, hour, minute, second, tzinfo=UTC), False))
        except ValueError:
            continue
    return found


def _compare_moments(left: str, right: str) -> int | None:
    """-1, 0 or 1; None where the zone or the order of day and month, which the texts leave open, would decide."""
    signs: set[int | None] = set()
    for one, one_zoned in _moments(left):
        for other, other_zoned in _moments(right):
            # offsets lie between -12 and +14 hours
            slack = timedelta(hours=14) * ((not one_zoned) + (not other_zoned))
            close = slack and abs(one - other) <= slack
            signs.add(None if close else (one > other) - (one < other))
    return signs.pop() if len(signs) == 1 else None


def _same_moment(want: str, have: str) -> bool | None:
    sign = _compare_moments(have, want)
    return None if sign is None else sign == 0
