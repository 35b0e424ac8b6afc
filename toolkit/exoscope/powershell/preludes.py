"""Session preludes: constant scripts that are no operations (they connect, send large reads back, or try the module), known
by their hash.

A prelude takes its data as typed parameters, a token as a SecureString; nothing is ever written into its text.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from exoscope.powershell.characters import forbidden_at
from exoscope.powershell.rendering import TemplateError, template_dir

CONNECT = "session/connect"
MODULE = "session/module"
FOLDERS = "session/folders"
CMDLETS = "session/cmdlets"
BATCH = "ConvertTo-ExoscopeBatch"
BATCH_SIZE = 500
_PARAMETER = re.compile(
    r"^\s*(?:\[Parameter\((?P<how>[^)]*)\)\]\s*)?\[(?P<type>[a-z\[\]]+)\]\s*\$(?P<name>[A-Za-z]+)", re.M
)


class PreludeParameter(msgspec.Struct, frozen=True):
    """A parameter of a prelude: PowerShell's type name (``securestring``, ``string``, ``string[]``)."""

    name: str
    type: str
    mandatory: bool


class Prelude(msgspec.Struct, frozen=True):
    """A prelude's text (with LF line ends), the SHA-256 of its UTF-8, and its parameters in order."""

    name: str
    text: str
    sha256: str
    parameters: tuple[PreludeParameter, ...]


def preludes() -> tuple[Prelude, ...]:
    """Every prelude of this version."""
    root = template_dir()
    return tuple(
        prelude(path.relative_to(root).as_posix().removesuffix(".ps1"))
        for path in sorted((root / "session").glob("*.ps1"))
    )


def prelude(name: str = CONNECT) -> Prelude:
    """One prelude by name. Raises TemplateError when there is none, or when it could not be sent unchanged."""
    path = template_dir() / f"{name}.ps1"
    if ".." in name or not path.is_file():
        raise TemplateError(f"there is no prelude {name}")
    # Line ends are made one kind, so that the hash is the same whatever a checkout did to them.
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    if forbidden_at(text) is not None or not text.isascii():
        raise TemplateError(f"the prelude {name} holds a character that no prelude may hold")
    head = text[text.index("param(") : text.index("\n)\n")] if "param(" in text else ""
    parameters = tuple(
        PreludeParameter(found["name"], found["type"], "Mandatory" in (found["how"] or ""))
        for found in _PARAMETER.finditer(head)
    )
    return Prelude(name, text, hash_of(text), parameters)


def hash_of(text: str) -> str:
    """SHA-256 of a text's UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def known_prelude(text: str) -> str | None:
    """The name of the prelude that this text is, byte for byte, or None."""
    found = hash_of(text)
    return next((each.name for each in preludes() if each.sha256 == found), None)
