"""Recipient filters, one recipient at a time, three-valued: True, False, or None where the answer is not known.

Written from SNAPSHOT.md ("How filters are evaluated") and deliberately apart from :mod:`exoscope.opath.evaluate`: only its
parser is used, so that a wrong rule there cannot agree with itself here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
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
    "primarysmtpaddress": lambda r: (*r.email_addresses, r.primary_smtp_address),
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
    """The same for a parsed filter. One property that is not filterable makes all of it unknown."""
    if unfilterable(node):
        return None
    return _node(view, node, recipient)


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


def _node(view: View, node: Filter, recipient: Recipient) -> bool | None:
    if isinstance(node, And):
        answers = [_node(view, operand, recipient) for operand in node.operands]
        return False if False in answers else None if None in answers else True
    if isinstance(node, Or):
        answers = [_node(view, operand, recipient) for operand in node.operands]
        return True if True in answers else None if None in answers else False
    if isinstance(node, Not):
        inner = _node(view, node.operand, recipient)
        return None if inner is None else not inner
    if isinstance(node, Mixed):
        first, second = _node(view, node.and_first, recipient), _node(view, node.or_first, recipient)
        return first if first == second else None
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
        # not even $null: a DN-only property compared with what is no DN matches nothing, read or not
        return False if _never(kind, atom) else None
    values: Sequence[Any] = value if isinstance(value, tuple | list) else () if value is None else (value,)
    if atom.value is None:
        return not values
    if _never(kind, atom):
        return False
    answers = [_one(kind, name, atom, each) for each in values]
    return True if True in answers else None if None in answers else False


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
    if atom.operator != "eq":
        return None  # ordering or wildcards on a DN: nothing says what they do
    found = view.groups_by_dn(str(atom.value))
    if not found:
        return None  # a group the file does not know
    answers = [None if g.members is None else fold(recipient.guid) in map(fold, g.members) for g in found]
    return True if True in answers else None if None in answers else False


def _one(kind: str, name: str, atom: Compare, have: Any) -> bool | None:
    """One value of the recipient against one atom with -eq, -like, -lt, -le, -gt or -ge."""
    want = atom.value
    if atom.operator == "like":
        return _like(kind, name, str(want), have)
    if atom.operator in ("lt", "le", "gt", "ge"):
        return _order(kind, atom.operator, want, have)
    if isinstance(have, bool) or isinstance(want, bool) or kind == "boolean":
        return _boolean(want, have)
    if kind == "dn":
        mine = dn_key(str(have))
        return mine is not None and mine == dn_key(str(want))
    if kind == "datetime":
        mine_at, want_at = _moment(str(have)), _moment(str(want))
        return None if mine_at is None or want_at is None else mine_at == want_at
    if kind == "integer" or isinstance(have, int | float):
        mine_n, want_n = _number(have), _number(want)
        return None if mine_n is None or want_n is None else mine_n == want_n
    if kind in ("bytesize", "timespan", "bytes", "blank-or-not"):
        return True if fold(str(have)) == fold(str(want)) else None  # other spellings of one value are not documented
    if name in ("usagelocation", "countryorregion"):
        return _country(str(want), str(have))
    if name in ("emailaddresses", "primarysmtpaddress"):
        return _address(str(want)) == _address(str(have))
    if kind == "enum" and "," in str(want):
        flags = [{part.strip().lower() for part in str(text).split(",")} for text in (want, have)]
        return flags[0] == flags[1]
    return fold(str(have)) == fold(str(want))


def _like(kind: str, name: str, pattern: str, have: Any) -> bool | None:
    if kind not in _TEXT:
        # wildcards are documented for text only; without one -like is -eq
        return None if "*" in pattern else _one(kind, name, Compare(name, "eq", pattern), have)
    text = str(have)
    if name in ("emailaddresses", "primarysmtpaddress"):
        text, pattern = _address(text), _address(pattern)
    parts = [re.escape(part) for part in fold(pattern).split("*")]
    return re.fullmatch(".*".join(parts), fold(text), re.DOTALL) is not None


def _address(text: str) -> str:
    lowered = fold(text)
    return lowered.removeprefix("smtp:")


def _boolean(want: Any, have: Any) -> bool | None:
    words = {"true": True, "false": False}
    values = [each if isinstance(each, bool) else words.get(str(each).lower()) for each in (want, have)]
    return None if None in values else values[0] == values[1]


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return value
    return int(value) if re.fullmatch(r"-?[0-9]+", str(value)) else None


def _order(kind: str, operator: str, want: Any, have: Any) -> bool | None:
    left: Any
    right: Any
    if kind == "integer":
        left, right = _number(have), _number(want)
    elif kind == "datetime":
        left, right = _moment(str(have)), _moment(str(want))
    else:
        return None  # the order of text is not documented
    if left is None or right is None:
        return None
    return bool({"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}[operator])


def _country(want: str, have: str) -> bool | None:
    if fold(want) == fold(have):
        return True
    # a code against a name: they may be one country
    return None if (len(want) == 2) != (len(have) == 2) else False


_SLASHED = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([AP]M))?)?", re.IGNORECASE
)


def _moment(text: str) -> datetime | None:
    """A time; None for text that is none, or whose day and month could be either way round. No zone means UTC."""
    slashed = _SLASHED.fullmatch(text.strip())
    try:
        if slashed is None:
            moment = datetime.fromisoformat(text.strip())
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        first, second, year, hour, minute, second_ = (int(part or 0) for part in slashed.groups()[:6])
        if first <= 12 and second <= 12 and first != second:
            return None
        month, day = (first, second) if first <= 12 else (second, first)
        half = (slashed.group(7) or "").upper()
        if half:
            hour = hour % 12 + (12 if half == "PM" else 0)
        return datetime(year, month, day, hour, minute, second_, tzinfo=UTC)
    except ValueError:
        return None
