"""OData as far as it is used: ``$select``, ``$top``, ``$filter`` (eq, in, startswith, joined by and/or), ``$count``, paging.

Anything else is refused as not modelled: an option that is ignored would answer another question than the one asked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from exoscope.twin.graph.call import Call, Reply, context
from exoscope.twin.graph.errors import bad_request, not_modelled

PAGE = 25  # small, so that clients meet paging with a small tenant; Graph's own default is 100
MAXIMUM = 999

_KNOWN = {"$select", "$top", "$filter", "$count", "$skiptoken"}
_TERM = re.compile(
    r"\s*(?:"
    r"(?P<eq>[A-Za-z]+)\s+eq\s+(?P<value>'(?:[^']|'')*'|true|false|null|[0-9a-fA-F-]{36})"
    r"|startswith\(\s*(?P<start>[A-Za-z]+)\s*,\s*(?P<prefix>'(?:[^']|'')*')\s*\)"
    r"|(?P<in>[A-Za-z]+)\s+in\s+\((?P<values>\s*'(?:[^']|'')*'(?:\s*,\s*'(?:[^']|'')*')*\s*)\)"
    r")\s*"
)
Row = dict[str, Any]


def check_options(call: Call, allowed: Sequence[str] = ()) -> None:
    """Raises 501 for a query option that is not modelled here."""
    for name in call.query:
        if name not in _KNOWN and name not in allowed:
            raise not_modelled(f"the query option {name}")


def one(call: Call, row: Row, name: str) -> Reply:
    """The answer for one object."""
    check_options(call)
    for option in ("$filter", "$top", "$count", "$skiptoken"):
        if option in call.query:
            raise not_modelled(f"{option} on a single object")
    return Reply(200, {"@odata.context": context(call, f"{name}/$entity"), **select(call, row)})


def many(call: Call, rows: Sequence[Row], name: str, *, page: int = PAGE) -> Reply:
    """The answer for a list: filtered, cut into pages, with ``@odata.nextLink`` while more follow."""
    check_options(call)
    text = call.query.get("$filter")
    if text:
        matches = parse_filter(text)
        rows = [row for row in rows if matches(row)]
    top = _top(call, page)
    start = _start(call)
    body: dict[str, Any] = {"@odata.context": context(call, name)}
    if call.query.get("$count", "").casefold() == "true":
        body["@odata.count"] = len(rows)
    body["value"] = [select(call, row) for row in rows[start : start + top]]
    if start + top < len(rows):
        kept = {key: value for key, value in call.query.items() if key != "$skiptoken"}
        kept["$skiptoken"] = base64.urlsafe_b64encode(f"twin-{start + top}".encode()).decode()
        options = "&".join(f"{key}={quote(value, safe='')}" for key, value in kept.items())
        body["@odata.nextLink"] = f"{call.base}{quote(call.path, safe='/()=,$@')}?{options}"
    return Reply(200, body)


def select(call: Call, row: Row) -> Row:
    """``$select``: the named properties; one that the object does not have is left out, as Graph does."""
    wanted = call.query.get("$select")
    if not wanted:
        return row
    names = {name.strip().casefold() for name in wanted.split(",")}
    return {key: value for key, value in row.items() if key.casefold() in names or key.startswith("@odata.")}


def parse_filter(text: str) -> Callable[[Row], bool]:
    """A predicate. Raises 501 for what is not modelled, 400 for what is broken."""
    tests: list[Callable[[Row], bool]] = []
    joins: set[str] = set()
    position = 0
    while True:
        found = _TERM.match(text, position)
        if found is None:
            raise not_modelled(f"the $filter {text!r}")
        tests.append(_test(found))
        position = found.end()
        if position == len(text):
            break
        word = re.compile(r"(and|or)\s+", re.IGNORECASE).match(text, position)
        if word is None:
            raise not_modelled(f"the $filter {text!r}")
        joins.add(word[1].casefold())
        position = word.end()
    if len(joins) > 1:
        raise not_modelled("a $filter that mixes and with or")
    combine = any if joins == {"or"} else all
    return lambda row: combine(test(row) for test in tests)


def _test(found: re.Match[str]) -> Callable[[Row], bool]:
    if found["eq"]:
        name, wanted = found["eq"], _value(found["value"])
        return lambda row: _same(row, name, wanted)
    if found["start"]:
        name, prefix = found["start"], str(_value(found["prefix"])).casefold()
        return lambda row: str(_get(row, name) or "").casefold().startswith(prefix)
    name, values = found["in"], [_value(part[0]) for part in re.finditer(r"'(?:[^']|'')*'", found["values"])]
    return lambda row: any(_same(row, name, value) for value in values)


def _value(text: str) -> str | bool | None:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return {"true": True, "false": False, "null": None}.get(text, text)


def _get(row: Row, name: str) -> Any:
    for key, value in row.items():
        if key.casefold() == name.casefold():
            return value
    raise bad_request(f"Could not find a property named '{name}'.", code="BadRequest")


def _same(row: Row, name: str, wanted: str | bool | None) -> bool:
    value = _get(row, name)
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    return bool(value == wanted)


def _top(call: Call, page: int) -> int:
    text = call.query.get("$top")
    if text is None:
        return page
    if not text.isdecimal() or not 1 <= int(text) <= MAXIMUM:
        raise bad_request(f"Invalid page size specified: '{text}'. Must be between 1 and {MAXIMUM} inclusive.")
    return int(text)


def _start(call: Call) -> int:
    token = call.query.get("$skiptoken")
    if token is None:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(token).decode().partition("-")
    except ValueError:
        word, number = "", ""
    if word != "twin" or not number.isdecimal():
        raise bad_request("The skip token is not valid.", code="Directory_ExpiredPageToken")
    return int(number)
