"""Where a secret goes: an owner-only file, a keyring, a terminal, or standard output if that was asked for.

A place is checked before anything is made, for what is made first cannot be made again: Entra tells a secret's value once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import secrets
from pathlib import Path
from typing import Any, Literal, Protocol

from exoscope import system
from exoscope.model import Noun, Secret
from exoscope.outcome import BadInput, ExoscopeError

PlaceKind = Literal["file", "keyring", "terminal", "output"]


class Place(Noun, frozen=True):
    """``where``: an absolute path, ``SERVICE/USER`` of a keyring, or empty. ``output`` is standard output, whoever reads it."""

    kind: PlaceKind
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".strip()


class Screen(Protocol):
    """A terminal with somebody before it, and standard output."""

    def interactive(self) -> bool:
        """Is somebody there?"""
        ...

    def show_once(self, what: str, value: Secret) -> None:
        """Show a secret after a key press, and take it away after another."""
        ...

    def reveal(self, value: Secret) -> None:
        """Write a secret to standard output."""
        ...


def file_place(path: Path) -> Place:
    """A file, by its absolute path."""
    return Place("file", str(path.expanduser().absolute()))


def keyring_place(text: str) -> Place:
    """A keyring's entry, ``SERVICE/USER``. Raises BadInput."""
    service, _, user = text.partition("/")
    if not service or not user:
        raise BadInput(f"{text} names no entry of a keyring", next="Write it as SERVICE/USER.")
    return Place("keyring", text)


def check_place(place: Place, screen: Screen) -> None:
    """Raise BadInput unless a secret can be put there now, and nothing is there yet (code ``exists``)."""
    if place.kind == "file":
        _check_file(Path(place.where))
    elif place.kind == "keyring":
        _check_keyring(place.where)
    elif place.kind == "terminal" and not screen.interactive():
        raise BadInput(
            "there is no terminal to show a secret on",
            code="no-terminal",
            next="Name a --file or a --keyring, or --reveal to write it to standard output.",
        )


def put(place: Place, data: bytes, what: str, screen: Screen) -> None:
    """Put it there, and read it back where that can be done. ``data``: a secret's text in UTF-8, or a file's bytes.

    Raises BadInput (``exists``, or the place could not be written after all), ExoscopeError ``not-kept``.
    """
    if place.kind == "file":
        path = Path(place.where)
        system.write_private(path, data)
        if system.read_private(path) != data:
            raise _not_kept(place)
        return
    value = Secret(data.decode("utf-8"), what)
    if place.kind == "keyring":
        _keyring("set_password", place.where, value.reveal())
        if _keyring("get_password", place.where) != value.reveal():
            raise _not_kept(place)
    elif place.kind == "terminal":
        screen.show_once(what, value)
    else:
        screen.reveal(value)


def found_at(place: Place) -> Secret | None:
    """What is in the place now; None: nothing, or it is a place that keeps nothing. Raises BadInput."""
    if place.kind == "file":
        path = Path(place.where)
        if not path.exists():
            return None
        try:
            return Secret(system.read_private(path).decode("utf-8"), str(place))
        except UnicodeDecodeError:
            return Secret("", str(place))  # a file of bytes: not a secret that was put there
    if place.kind == "keyring":
        held = _keyring("get_password", place.where)
        return None if held is None else Secret(str(held), str(place))
    return None


def digest_at(place: Place) -> str | None:
    """SHA-256 of the file there; None: none is, or it is no file of ours alone."""
    path = Path(place.where)
    if not path.exists():
        return None
    try:
        return hashlib.sha256(system.read_private(path)).hexdigest()
    except BadInput:
        return None


def _check_file(path: Path) -> None:
    if path.is_symlink() or path.exists():
        raise BadInput(
            f"{path} is there already: it is not overwritten", code="exists", next="Name another file, or move it away."
        )
    if not path.parent.is_dir():
        raise BadInput(
            f"{path.parent} is no folder, so {path.name} cannot be written", next="Name a folder that exists."
        )
    # Only writing shows that the folder can be written to and keeps a file private.
    trial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.trial")
    try:
        system.write_private(trial, b"trial")
        system.require_private(trial)
    finally:
        trial.unlink(missing_ok=True)


def _check_keyring(entry: str) -> None:
    if _keyring("get_password", entry) is not None:
        raise BadInput(
            f"the keyring holds {entry} already: it is not overwritten",
            code="exists",
            next="Name another entry, or remove it there.",
        )
    # A keyring that is not there takes everything and keeps nothing; only a trial tells.
    trial = f"{entry}-trial-{secrets.token_hex(6)}"
    try:
        _keyring("set_password", trial, "trial")
        kept = _keyring("get_password", trial) == "trial"
    finally:
        with contextlib.suppress(ExoscopeError):
            _keyring("delete_password", trial)
    if not kept:
        raise BadInput("the keyring of this machine keeps nothing", next="Name a --file instead.")


def _keyring(call: str, entry: str, *value: str) -> Any:
    service, _, user = entry.partition("/")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise BadInput("keyring is not installed", next="pip install exoscope[keyring]") from None
    try:
        return getattr(keyring, call)(service, user, *value)
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own; only their kind may be told
        raise BadInput(f"the keyring answered {type(error).__name__}", next="Unlock it, or name a --file.") from None


def _not_kept(place: Place) -> ExoscopeError:
    return ExoscopeError(f"the {place} does not hold what was put there", code="not-kept")
