"""The tenant as a file: strict in both directions.

Reading refuses, with the JSON path (``$.apps[3].consents[0].id``): unknown keys, missing keys, wrong types, a key given
twice, two objects with one identity, a format newer than this one. What is absent is *not read*; a reference to something
that is not in the file loads.

Identities (compared without case; null and empty never clash):

==================== =====================================================================================
apps                 object_id; app_id; a consent's id within its app; what is requested, within its app
service_principals   app_id together with object_id
management_scopes,   name
role_assignments,
roles
access_policies      identity
recipients, groups   guid, external_directory_object_id, distinguished_name, primary_smtp_address: each names one
                     object among recipients and groups together; a group's sid among groups. An alias
                     (email_addresses) on two recipients loads: whoever asks for it is told both.
administrative_units id
==================== =====================================================================================

Strings are any text that UTF-8 can carry: ``\\u0000`` loads, a lone surrogate is refused. An attribute's value null is
refused: absent says $null here, and null elsewhere in the file says not read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from exoscope import system
from exoscope.model import Recipient, Snapshot, Unset
from exoscope.outcome import BadInput

__all__ = ["digest", "dumps", "load", "loads", "save"]

VERSION: Final = 1
_DECODER = msgspec.json.Decoder(Snapshot)
_PLACE = re.compile(r"^(?P<what>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<how>contains unknown|missing required) field `(?P<field>[^`]*)`$", re.DOTALL)


def load(path: Path) -> Snapshot:
    """The snapshot in a file. Raises BadInput naming the file, and in it the JSON path, when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", next="Name a snapshot file.") from None
    try:
        return loads(data)
    except BadInput as error:
        raise BadInput(f"{path}: {error.message}", next=error.next) from None


def loads(data: bytes) -> Snapshot:
    """The snapshot in these bytes (UTF-8 JSON, a byte order mark allowed). Raises BadInput with the JSON path."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        snapshot = _DECODER.decode(data)
        json.loads(data, object_pairs_hook=_once)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # The quick pass says that something is wrong; the slow one, for this file only, where.
        raise _explained(data, error) from None
    _check_times(snapshot)
    _check_attributes(snapshot)
    for rows in _identities(snapshot):
        _check_unique(rows)
    return snapshot


def dumps(snapshot: Snapshot) -> bytes:
    """The file's bytes: keys sorted, indented by two, a newline at the end; the same snapshot gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(snapshot, order="sorted"), indent=2) + b"\n"


def save(snapshot: Snapshot, path: Path) -> None:
    """Write the file, readable by its owner only, whole or not at all.

    Raises BadInput when it cannot be written; an older file then stays.
    """
    system.write_private(path, dumps(snapshot), replace=True)


def digest(snapshot: Snapshot) -> str:
    """``sha256:`` and the hash of the snapshot's compact JSON with sorted keys."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(snapshot, order="sorted")).hexdigest()


# -- the quick pass ---------------------------------------------------------------------------------------------------


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is given twice")


def _check_times(snapshot: Snapshot) -> None:
    if snapshot.read_at.utcoffset() is None:
        raise BadInput("$.read_at: names no time zone", next="Write UTC, as 2026-11-23T09:00:00Z.")


def _check_attributes(snapshot: Snapshot) -> None:
    """Values are strings, booleans, numbers or lists of strings (kept as tuples); names differ by more than case."""
    recipients: Iterable[Recipient] = () if isinstance(snapshot.recipients, Unset) else snapshot.recipients
    seen: set[tuple[str, ...]] = set()
    for place, recipient in enumerate(recipients):
        attributes = recipient.attributes
        for name, value in attributes.items():
            if isinstance(value, str | bool | int | float):
                continue
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                attributes[name] = tuple(value)
                continue
            raise BadInput(
                f"$.recipients[{place}].attributes.{name}: Expected a string, boolean, number or list of strings",
                next="Leave a property that is $null out." if value is None else "",
            )
        names = tuple(attributes)
        if names not in seen:
            seen.add(names)
            folded: dict[str, str] = {}
            for name in names:
                if folded.setdefault(name.casefold(), name) != name:
                    raise BadInput(
                        f"$.recipients[{place}].attributes.{name}: is {folded[name.casefold()]} again,"
                        " for property names ignore case"
                    )


# -- identities -------------------------------------------------------------------------------------------------------

_Row = tuple[str, int | str, str, Any]  # list, place in it, field, identity


def _list(snapshot: Snapshot, name: str) -> tuple[Any, ...]:
    rows = getattr(snapshot, name)
    return () if isinstance(rows, Unset) else rows


def _column(snapshot: Snapshot, name: str, field: str) -> Iterator[_Row]:
    for place, row in enumerate(_list(snapshot, name)):
        value = getattr(row, field)
        if value:
            yield name, place, field, value.casefold()


def _identities(snapshot: Snapshot) -> Iterator[Iterator[_Row]]:
    for name, field in (
        ("apps", "object_id"),
        ("apps", "app_id"),
        ("management_scopes", "name"),
        ("role_assignments", "name"),
        ("access_policies", "identity"),
        ("roles", "name"),
        ("administrative_units", "id"),
        ("groups", "sid"),
    ):
        yield _column(snapshot, name, field)
    for field in ("guid", "external_directory_object_id", "distinguished_name", "primary_smtp_address"):
        yield (row for name in ("recipients", "groups") for row in _column(snapshot, name, field))
    yield (
        ("service_principals", place, "object_id", (row.app_id.casefold(), row.object_id.casefold()))
        for place, row in enumerate(_list(snapshot, "service_principals"))
    )
    for place, app in enumerate(_list(snapshot, "apps")):
        yield ((f"apps[{place}].consents", i, "id", consent.id.casefold()) for i, consent in enumerate(app.consents))
        yield (
            (
                f"apps[{place}].requested",
                i,
                "app_role_id",
                (row.resource.casefold(), row.app_role_id.casefold(), row.permission.casefold()),
            )
            for i, row in enumerate(app.requested)
        )


def _check_unique(rows: Iterator[_Row]) -> None:
    first: dict[Any, tuple[str, int | str]] = {}
    for name, place, field, identity in rows:
        earlier = first.setdefault(identity, (name, place))
        if earlier != (name, place):
            shown = identity if isinstance(identity, str) else ", ".join(identity)
            raise BadInput(f"$.{name}[{place}].{field}: {shown!r} is the identity of $.{earlier[0]}[{earlier[1]}] too")


# -- the slow pass: where is it wrong? ---------------------------------------------------------------------------------


class _Twice:
    """An object in which a key was given twice."""

    def __init__(self, key: str) -> None:
        self.key = key


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            return _Twice(key)
        found[key] = value
    return found


def _explained(data: bytes, error: Exception) -> BadInput:
    if isinstance(error, RecursionError):
        return BadInput("$: is nested too deeply for a snapshot")
    try:
        tree = json.loads(data.decode("utf-8"), object_pairs_hook=_marked)
    except UnicodeDecodeError as wrong:
        return BadInput(f"$: is not UTF-8 at byte {wrong.start}")
    except RecursionError:
        return BadInput("$: is nested too deeply for a snapshot")
    except json.JSONDecodeError as wrong:
        return BadInput(f"$: is not JSON at line {wrong.lineno}, column {wrong.colno}: {wrong.msg}")
    except ValueError:
        # Python's limit on the digits of one number.
        return BadInput("$: holds a number too long to read")
    if isinstance(tree, dict):
        newer = re.fullmatch(r"exoscope/snapshot@([0-9]{1,9})", str(tree.get("format")))
        if newer and int(newer[1]) > VERSION:
            return BadInput(
                f"$.format: {tree['format']} is newer than exoscope/snapshot@{VERSION}, the newest known here",
                next="Use a newer exoscope.",
            )
    for path, node in _walk("$", tree):
        if isinstance(node, _Twice):
            return BadInput(f"{path}.{node.key}: is given twice")
        if isinstance(node, str) and any("\ud800" <= char <= "\udfff" for char in node):
            return BadInput(f"{path}: holds a lone surrogate, which no text can carry")
    return _placed(str(error))


def _placed(message: str) -> BadInput:
    """msgspec's words, with the path first and down to the key."""
    match = _PLACE.match(message)
    what, path = (match["what"], match["path"]) if match else (message, "$")
    field = _FIELD.match(what)
    if field:
        return BadInput(f"{path}.{field['field']}: {'unknown key' if 'unknown' in field['how'] else 'is missing'}")
    return BadInput(f"{path}: {what}")


def _walk(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    todo = [(path, node)]
    while todo:
        here, value = todo.pop()
        yield here, value
        if isinstance(value, dict):
            for key in value:
                yield f"{here} (a key)", key
            todo += reversed([(f"{here}.{key}", child) for key, child in value.items()])
        elif isinstance(value, list):
            todo += reversed([(f"{here}[{i}]", child) for i, child in enumerate(value)])
