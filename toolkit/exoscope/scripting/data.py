"""The data block of a script: what it is about, as one PowerShell literal, and read back from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from exoscope.model import Noun, ObjectKind, Request, State, Tenant
from exoscope.outcome import GuardRefused
from exoscope.powershell import literal
from exoscope.powershell.characters import SINGLE_QUOTES, place

_PLAIN = re.compile(r"\$(?:true|false|null)|[0-9]{1,18}")
_PLAIN_VALUES: dict[str, bool | None] = {"$true": True, "$false": False, "$null": None}
_DEPTH = 12


class After(Noun, frozen=True):
    """What a script follows: the result of the one before it, ``seconds`` after that ended, and evidence that must be seen.

    ``script`` is empty where none comes before it: then it follows evidence alone.
    """

    script: str
    stage: str
    seconds: int
    evidence: tuple[str, ...]


class ScriptApp(Noun, frozen=True):
    """An app that the script is about."""

    app_id: str
    name: str


class Fill(Noun, frozen=True):
    """What an earlier step (``step``) yielded and stands in this script where the plan has holes: ``values`` by name.

    The script reads the object, named as the plan names it, and compares before each step: a value is taken from nowhere else.
    """

    step: str
    kind: ObjectKind
    key: dict[str, str]
    object: str
    values: dict[str, str]


class ScriptStep(Noun, frozen=True):
    """One step: see :class:`exoscope.model.plan.Step`. ``later``: steps of this script that change the same object afterwards.

    ``yields``: what its object must show when it is read back. Exactly one of ``template`` (with ``values``) and ``request`` is
    set.
    """

    id: str
    title: str
    needs: tuple[str, ...]
    kind: ObjectKind
    key: dict[str, str]
    object: str
    before: State
    after: State
    later: tuple[str, ...] = ()
    yields: tuple[str, ...] = ()
    template: str | None = None
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    request: Request | None = None


class ScriptData(Noun, frozen=True):
    """The whole data block. ``graph`` is the version root of Graph that requests are relative to."""

    format: Literal["exoscope/script@1"]
    script: str
    part: Literal["exchange", "graph"]
    plan: str
    stage: str
    tenant: Tenant
    graph: str
    apps: tuple[ScriptApp, ...]
    notes: tuple[str, ...]
    after: After | None
    fills: tuple[Fill, ...]
    steps: tuple[ScriptStep, ...]


Block = TypeVar("Block", bound=Noun)


def write_data(data: Noun) -> str:
    """The literal of a data block. Raises LiteralError for a text that PowerShell cannot hold unchanged."""
    return _write(msgspec.to_builtins(data), 0)


def _write(value: Any, depth: int) -> str:
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, Mapping):
        if not value:
            return "@{}"
        entries = "".join(f"{inner}{literal(str(key))} = {_write(each, depth + 1)}\n" for key, each in value.items())
        return f"@{{\n{entries}{outer}}}"
    if isinstance(value, list | tuple):
        if not any(isinstance(each, Mapping) for each in value):
            return "@(" + ", ".join(str(literal(each)) for each in value) + ")"
        return "@(\n" + ",\n".join(inner + _write(each, depth + 1) for each in value) + f"\n{outer})"
    return str(literal(value))


def read_data(text: str, at: int, kind: type[Block]) -> Block:
    """The data block of this kind whose literal begins at this offset.

    It is read for what it says, not for how it is spelled: whoever rests on it writes it again and compares the bytes.
    Raises GuardRefused for what is no such literal, or no data block.
    """
    reader = _Reader(text, at)
    value = reader.value(0)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise refused(f"the data block is not of this version of exoscope: {error}", text, at) from None


class _Reader:
    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def value(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise self.refused("the data block is nested too deeply")
        if self.take("@{"):
            return self.hashtable(depth)
        if self.take("@("):
            return self.array(depth)
        if self.text.startswith("'", self.at):
            return self.string()
        found = _PLAIN.match(self.text, self.at)
        if found is None:
            raise self.refused("the data block holds something that is no literal")
        self.at = found.end()
        word = found.group()
        return _PLAIN_VALUES[word] if word in _PLAIN_VALUES else int(word)

    def hashtable(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.blanks()
        while not self.take("}"):
            key = self.string()
            self.blanks()
            if not self.take("="):
                raise self.refused("a key of the data block has no value")
            self.blanks()
            if key in found:
                raise self.refused("a key of the data block is given twice")
            found[key] = self.value(depth + 1)
            self.blanks()
        return found

    def array(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self.blanks()
        while not self.take(")"):
            found.append(self.value(depth + 1))
            self.blanks()
            if self.take(","):
                self.blanks()
        return found

    def string(self) -> str:
        if not self.take("'"):
            raise self.refused("the data block holds something that is no literal")
        found: list[str] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character in SINGLE_QUOTES:
                if self.at < len(self.text) and self.text[self.at] in SINGLE_QUOTES:
                    character = self.text[self.at]
                    self.at += 1
                else:
                    return "".join(found)
            found.append(character)
        raise self.refused("a text of the data block does not end")

    def take(self, word: str) -> bool:
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \n":
            self.at += 1

    def refused(self, why: str) -> GuardRefused:
        return refused(why, self.text, self.at)


def refused(why: str, text: str, at: int) -> GuardRefused:
    """A refusal with the line and column of an offset of the text."""
    line, column = place(text, min(at, len(text)))
    return GuardRefused(why, line=line, column=column)
