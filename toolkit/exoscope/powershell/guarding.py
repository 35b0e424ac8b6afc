"""The guard: a script runs only when it reads back as exactly the operations that were meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from exoscope.outcome import GuardRefused
from exoscope.powershell.literals import LiteralError, Value
from exoscope.powershell.operations import Operation, Pipeline, read
from exoscope.powershell.rendering import render


class Script(msgspec.Struct, frozen=True):
    """A guarded script: its text, and what it does."""

    text: str
    pipelines: tuple[Pipeline, ...]


def guard(script: str, expected: Sequence[Pipeline] | None = None) -> tuple[Pipeline, ...]:
    """Read a script back; with ``expected``, hold that it does exactly that.

    Raises GuardRefused when the reader does not understand it, or when it would do something else.
    """
    pipelines = read(script)
    if expected is not None and not _same(pipelines, tuple(expected)):
        raise GuardRefused("the script does not read back as the operations that were meant")
    return pipelines


def render_guarded(template: str, values: Mapping[str, object]) -> Script:
    """Render a template and read it back: it must be the template's operations with exactly these values.

    What is expected is not taken from the rendered text: the template is rendered once more with neutral marks in place
    of all texts, and the values are put into the operations that come back. So no value can change what is done.
    Raises GuardRefused, LiteralError or TemplateError; then nothing may run.
    """
    marks: dict[str, str] = {}
    marked = {name: _mark(value, marks) for name, value in values.items()}
    shape = read(render(template, marked))
    if not shape:
        raise GuardRefused(f"the template {template} does nothing")
    expected = tuple(
        tuple(
            Operation(each.cmdlet, {name: _unmark(value, marks) for name, value in each.parameters.items()})
            for each in pipeline
        )
        for pipeline in shape
    )
    text = render(template, values)
    for operation in (each for pipeline in expected for each in pipeline):
        identity = operation.parameters.get("Identity", "given")
        if identity is None or (isinstance(identity, str) and not identity.strip()):
            # Source: the reference page of every Get- cmdlet: an empty identity answers with all objects.
            raise GuardRefused(f"{operation.cmdlet} without an identity would mean every object")
    return Script(text, guard(text, expected))


def _mark(value: object, marks: dict[str, str]) -> object:
    if isinstance(value, str):
        mark = f"exoscope-mark-{len(marks)}"
        marks[mark] = str.__str__(value)
        return mark
    if isinstance(value, list | tuple):
        return [_mark(each, marks) for each in value]
    if isinstance(value, Mapping):
        # Keys are marked too: a hostile key must not agree with itself.
        return {str(_mark(key, marks)): _mark(each, marks) for key, each in value.items()}
    if value is None or isinstance(value, bool | int):
        return value
    raise LiteralError(f"a {type(value).__name__} has no PowerShell literal here")


def _unmark(value: Value, marks: Mapping[str, str]) -> Value:
    if isinstance(value, str):
        return marks.get(value, value)
    if isinstance(value, tuple):
        return tuple(_unmark(each, marks) for each in value)
    if isinstance(value, dict):
        return {marks.get(key, key): _unmark(each, marks) for key, each in value.items()}
    return value


def _same(one: tuple[Pipeline, ...], other: tuple[Pipeline, ...]) -> bool:
    # Python takes True for 1; to Exchange they are different, so compare with types.
    return _typed(one) == _typed(other)


def _typed(value: object) -> object:
    if isinstance(value, Operation):
        return (value.cmdlet, {name: _typed(each) for name, each in value.parameters.items()})
    if isinstance(value, tuple):
        return tuple(_typed(each) for each in value)
    if isinstance(value, dict):
        return {name: _typed(each) for name, each in value.items()}
    return (type(value).__name__, value)
