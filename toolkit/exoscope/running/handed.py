"""What was made for apps and where it was put, never the secret itself: ``<state>/credentials/<app id>.json``, owner-only.

The file is written before a credential is made, after, and after it was handed over: so the next command knows what the last one,
killed anywhere between, may have left in Entra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from exoscope import system
from exoscope.model import Noun
from exoscope.outcome import Unreadable
from exoscope.running.placing import PlaceKind

FORMAT: Literal["exoscope/credentials@1"] = "exoscope/credentials@1"
Stage = Literal["making", "made", "handed-over", "lost", "removed"]


class Entry(Noun, frozen=True):
    """One credential. ``run`` stands in its display name. ``stage``: ``making`` (it may be in Entra, its value in nobody's hands),
    ``made`` (it is), ``handed-over`` (to ``place``, ``where``), ``lost`` (its value was; it is gone), ``removed``.

    ``file_sha256`` is of a certificate's file, whose key nobody can guess from it. ``given``: the certificate of somebody else,
    whose key was never here. ``temporary``: for one proof. Times are ISO 8601 UTC.
    """

    run: str
    kind: Literal["secret", "certificate"]
    display_name: str
    stage: Stage
    place: PlaceKind | None
    where: str | None
    began_at: str
    changed_at: str
    key_id: str | None = None
    expires: str | None = None
    thumbprint: str | None = None
    file_sha256: str | None = None
    given: bool = False
    temporary: bool = False

    @property
    def open(self) -> bool:
        """May it be in Entra with its value in nobody's hands?"""
        return self.stage in ("making", "made")


class Handed(Noun, frozen=True):
    """All that was made for one app, oldest first."""

    format: Literal["exoscope/credentials@1"]
    tenant_id: str
    app_id: str
    display_name: str
    entries: tuple[Entry, ...] = ()

    def latest(self) -> Entry | None:
        """What was handed over last and not removed since; None: nothing that is known here."""
        kept = [each for each in self.entries if each.stage == "handed-over" and not each.temporary]
        return kept[-1] if kept else None

    def of_key(self, key_id: str) -> Entry | None:
        """The entry of a key id."""
        return next(
            (e for e in reversed(self.entries) if e.key_id is not None and e.key_id.casefold() == key_id.casefold()),
            None,
        )


class Ledger:
    """The files of one tenant. Whoever writes holds the tenant's lock."""

    def __init__(self, state: Path, tenant_id: str) -> None:
        self._state = state
        self._folder = state / "credentials"
        self._tenant = tenant_id.casefold()

    def of(self, app_id: str, display_name: str = "") -> Handed:
        """What is known of an app. Raises Unreadable for a file that is not what was written, BadInput where others can read it."""
        path = self._path(app_id)
        if not path.exists():
            return Handed(FORMAT, self._tenant, app_id.casefold(), display_name)
        try:
            held = msgspec.json.decode(system.read_private(path), type=Handed)
        except msgspec.DecodeError as error:
            raise Unreadable(
                f"{path}: {str(error).splitlines()[0]}",
                code="record-damaged",
                next="Keep the file elsewhere; exoscope credentials list tells what Entra holds.",
            ) from None
        if held.tenant_id != self._tenant or held.app_id != app_id.casefold():
            raise Unreadable(f"{path} is about another app or tenant", code="record-damaged")
        return held

    def put(self, held: Handed, entry: Entry) -> Handed:
        """Write an entry, in the place of the one of its run and display name. Returns what the file holds now."""
        same = [(each.run, each.display_name) == (entry.run, entry.display_name) for each in held.entries]
        entries = tuple(entry if hit else each for hit, each in zip(same, held.entries, strict=True))
        held = replace(held, entries=entries if any(same) else (*held.entries, entry))
        system.make_private_dir(self._state)
        system.make_private_dir(self._folder)
        data = msgspec.json.format(msgspec.json.encode(held), indent=1) + b"\n"
        system.write_private(self._path(held.app_id), data, replace=True)
        return held

    def _path(self, app_id: str) -> Path:
        name = "".join(letter for letter in app_id.casefold() if letter.isalnum() or letter == "-")
        return self._folder / f"{name}.json"
