"""Names of the objects that a plan makes: the app in each, at most 64 characters, one for each (app, purpose).

``exoscope <app> <permission> <tag>``: the tag is a digest of the whole appId and of what the object is for, so that names stay
apart where display names are alike or were cut. The permissions of an entry, not its scope, make the tag: when an admin
writes another scope for the same permissions, the plan finds its object again and moves it. ``app_id`` is what
:func:`exoscope.planning.registration.naming` says.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

LIMIT = 64
"""Characters in the name of a scope, assignment or group, and in an alias (New-ManagementScope, New-DistributionGroup)."""
_PREFIX = "exoscope"
_TAG = 10


def scope_name(app_id: str, display_name: str, permissions: Sequence[str], place: int) -> str:
    """A management scope's name. ``place`` (from 0) tells apart entries of one app with the same permissions."""
    return _fit(display_name, _tag("scope", app_id, permissions, place))


def assignment_name(app_id: str, display_name: str, permission: str, place: int) -> str:
    """A role assignment's name."""
    return _fit(display_name, permission, _tag("assignment", app_id, (permission,), place))


def group_name(app_id: str, display_name: str, permissions: Sequence[str], place: int) -> str:
    """A managed group's name and display name."""
    return _fit(display_name, "mailboxes", _tag("group", app_id, permissions, place))


def is_ours(name: str) -> bool:
    """Does an object have a name that a plan gives?"""
    return name.casefold().startswith(f"{_PREFIX} ")


def group_alias(name: str) -> str:
    """A managed group's alias: the ASCII letters and digits of its name, the tag at its end."""
    words = ["".join(char for char in word.casefold() if char.isascii() and char.isalnum()) for word in name.split(" ")]
    return "-".join(word for word in words if word)[-LIMIT:].strip("-")


def group_notes(app_id: str, display_name: str) -> str:
    """The note by which a managed group is known again, and an admin is warned."""
    return f"exoscope: managed for {_plain(display_name)} ({app_id.casefold()}). Membership changes mailbox access."


def _tag(what: str, app_id: str, permissions: Sequence[str], place: int) -> str:
    meaning = "\0".join((what, app_id.casefold(), str(place), *sorted(p.casefold() for p in permissions)))
    return hashlib.sha256(meaning.encode("utf-8", "surrogatepass")).hexdigest()[:_TAG]


def _fit(display_name: str, *rest: str) -> str:
    tail = " ".join(rest)
    room = LIMIT - len(_PREFIX) - len(tail) - 2
    app = _cut(_plain(display_name), room)
    return f"{_PREFIX} {app} {tail}" if app else f"{_PREFIX} {tail}"


def _plain(text: str) -> str:
    """Letters and digits of any script, and ``. _ -``; all else becomes one blank: no wildcard, quote or DN special."""
    kept = "".join(char if char.isalnum() or char in "._-" else " " for char in unicodedata.normalize("NFC", text))
    return " ".join(kept.split())


def _cut(text: str, room: int) -> str:
    # Exchange counts UTF-16 units; a letter beyond the first plane counts twice.
    while len(text.encode("utf-16-le", "surrogatepass")) > 2 * room:
        text = text[:-1]
    return text.strip()
