"""Named holes: ``<step-3.distinguished_name>`` stands in a value until an earlier step's read-back gives it.

Holes are filled in values, never in the text of a script, and in one pass, so that what fills a hole is never
searched for holes. A hole stands in one of two contexts, and each has its own rule:

- the hole is the whole value: the text takes its place unchanged;
- the hole stands inside a quoted text of an OPATH filter, as in ``MemberOfGroup -eq '<step-1.distinguished_name>'``:
  each ``'`` of the text is doubled, as OPATH wants it. Double-quoted texts and places outside a text are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from exoscope.outcome import BadInput
from exoscope.powershell.characters import forbidden_at
from exoscope.powershell.literals import Value
from exoscope.powershell.operations import Operation, Pipeline

HOLE = re.compile(r"<step-[0-9]+\.[a-z_]+>")


class HoleError(BadInput):
    """A hole has no value, stands where it cannot be filled safely, or its value cannot be carried."""

    code = "bad-hole"


def holes(value: object) -> tuple[str, ...]:
    """The holes of a text, list or mapping of values, in order, each once; as written, with their brackets."""
    return tuple(dict.fromkeys(_found(value)))


def _found(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield from HOLE.findall(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _found(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _found(each)


def fill(values: Mapping[str, object], found: Mapping[str, str]) -> dict[str, object]:
    """The values with every hole filled. ``found`` maps a hole (``<step-3.guid>``) to its text.

    Raises HoleError when a hole is missing from ``found``, or stands in a longer text outside an OPATH ``'…'`` text.
    """
    return {name: _fill(value, found) for name, value in values.items()}


def fill_pipelines(pipelines: Iterable[Pipeline], found: Mapping[str, str]) -> tuple[Pipeline, ...]:
    """The operations of a planned script with its holes filled: what the script rendered from filled values must read as."""
    return tuple(tuple(Operation(each.cmdlet, _parameters(each, found)) for each in pipeline) for pipeline in pipelines)


def _parameters(operation: Operation, found: Mapping[str, str]) -> dict[str, Value]:
    return {name: _filled(value, found) for name, value in operation.parameters.items()}


def _filled(value: Value, found: Mapping[str, str]) -> Value:
    if isinstance(value, str):
        return _fill_text(value, found)
    if isinstance(value, tuple):
        return tuple(_filled(each, found) for each in value)
    if isinstance(value, dict):
        return {key: _filled(each, found) for key, each in value.items()}
    return value


def _fill(value: object, found: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return _fill_text(value, found)
    if isinstance(value, list | tuple):
        return type(value)([_fill(each, found) for each in value])
    if isinstance(value, Mapping):
        return {key: _fill(each, found) for key, each in value.items()}
    return value


def _fill_text(text: str, found: Mapping[str, str]) -> str:
    if HOLE.fullmatch(text):
        return _text_of(text, found)

    def put(hole: re.Match[str]) -> str:
        before = text[: hole.start()]
        # OPATH doubles a quote inside a text, so the number of quotes before a place tells whether it is inside one.
        if before.count("'") % 2 == 0 or '"' in _outside(before):
            raise HoleError(f"{hole.group()} stands in a longer text outside a filter's '…' text")
        return _text_of(hole.group(), found).replace("'", "''")

    return HOLE.sub(put, text)


def _outside(before: str) -> str:
    return "".join(before.split("'")[::2])


def _text_of(hole: str, found: Mapping[str, str]) -> str:
    text = found.get(hole)
    if not text:
        raise HoleError(f"{hole} has no value yet")
    if forbidden_at(text) is not None:
        raise HoleError(f"what {hole} was read as holds a character that no script can carry")
    return text
