"""One table of a profile: its values are taken out one by one, and whatever is left over is unknown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, get_args
from urllib.parse import urlsplit

import msgspec

from exoscope.profile.nouns import Scheme, SecretRef

GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DOMAIN = re.compile(r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}")


class Reader(Protocol):
    """What a table needs of the file it stands in."""

    base: Path

    def fail(self, key: tuple[str, ...], why: str) -> NoReturn: ...


class Table:
    """One table: its values are taken out one by one, and whatever is left over is unknown."""

    def __init__(self, reader: Reader, name: tuple[str, ...], values: Any) -> None:
        self.reader, self.name = reader, name
        if not isinstance(values, dict):
            reader.fail(name, "must be a table")
        self.values = dict(values)

    def fail(self, key: str, why: str) -> NoReturn:
        self.reader.fail((*self.name, key), why)

    def text(self, key: str) -> str | None:
        value = self.values.pop(key, None)
        if value is not None and (not isinstance(value, str) or not value.strip() or "\0" in value):
            self.fail(key, "must be a text that is not empty")
        return value

    def need(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            for near in difflib.get_close_matches(key, self.values, n=1, cutoff=0.7):
                self.fail(near, f"is not a key that exoscope knows; {key} is needed")
            self.reader.fail(self.name, f"needs {key}")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.pop(key, False)
        if not isinstance(value, bool):
            self.fail(key, "must be true or false")
        return value

    def path(self, key: str) -> Path | None:
        value = self.text(key)
        return None if value is None else self.reader.base / Path(value).expanduser()

    def secret(self, key: str, *, also: Sequence[str] = ()) -> SecretRef | None:
        """A reference. ``also``: words that the key takes beside one, for the message."""
        value = self.values.pop(key, None)
        if value is None:
            return None
        scheme, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not colon or scheme not in get_args(Scheme) or not rest.strip():
            # Whatever stands there may be the secret itself: it is not repeated.
            words = "".join(f"{word}, or " for word in also)
            self.fail(
                key,
                f"must be {words}a reference (env:NAME, file:PATH, keyring:SERVICE/USER or exec:COMMAND), never a secret",
            )
        if scheme == "keyring" and not all(rest.partition("/")):
            self.fail(key, "must be keyring:SERVICE/USER")
        return SecretRef(scheme=msgspec.convert(scheme, Scheme), text=rest, base=self.reader.base)

    def url(self, key: str) -> str | None:
        value = self.text(key)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good:
            self.fail(key, "must be an https:// URL")
        if parts.username or parts.password or parts.query or parts.fragment:
            self.fail(key, "must be a URL without user, password, query and fragment")
        return value

    def done(self) -> None:
        for key in self.values:
            self.fail(key, "is not a key that exoscope knows")

    def sub(self, key: str) -> Table:
        """The table below this one; whoever reads it says when it is done."""
        return Table(self.reader, (*self.name, key), self.values.pop(key))

    @staticmethod
    def is_guid(text: str) -> bool:
        """Is it a Guid?"""
        return GUID.fullmatch(text) is not None
