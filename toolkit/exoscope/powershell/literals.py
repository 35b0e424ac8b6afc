"""Python values as PowerShell literals that mean exactly them, wherever an argument may stand.

Source of each rule: PowerShell's tokenizer, and what the engine was seen to do. In a ``'…'`` string two adjacent
single-quote characters of any of the five kinds mean the second one, so each of the five is doubled. ``--%`` ends
parsing even when it is quoted unless it is glued to its parameter with a colon or stands inside ``@(…)``;
:class:`Verbatim` marks it for the renderer. A negative number as an argument is a string, and digits past Int64
become Decimal: both are refused rather than changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exoscope.outcome import BadInput
from exoscope.powershell.characters import SINGLE_QUOTES, STOP_PARSING, forbidden_at, named

# What an argument of an operation can be. A dict is a hashtable of such values.
Value = str | bool | int | None | tuple["Value", ...] | dict[str, "Value"]

MAX_DIGITS = 18


class LiteralError(BadInput):
    """The value cannot be written as a PowerShell literal without changing it. Nothing was tried."""

    code = "bad-literal"


class Verbatim(str):
    """The literal of the one text ``--%``, which is safe only glued to its parameter (``-Name:'--%'``) or in ``@(…)``."""

    __slots__ = ()

    def __str__(self) -> str:
        return self  # str() keeps the mark on its way through a template


def literal(value: object) -> str:
    """The literal of a text, boolean, integer, None, a list or tuple of these, or a mapping from text to these.

    Raises LiteralError for what XML 1.0 cannot carry, lone surrogates, negative or very long numbers, nested lists and
    every other type.
    """
    if isinstance(value, list | tuple):
        return _array(value)
    if isinstance(value, Mapping):
        entries = "; ".join(f"{_text(_key(key))} = {_element(item, 'a hashtable')}" for key, item in value.items())
        if len({str(key).casefold() for key in value}) != len(value):
            raise LiteralError("a hashtable cannot hold two keys that differ in case only")
        return "@{" + entries + "}"
    text = _scalar(value)
    return Verbatim(text) if value == STOP_PARSING else text


def _scalar(value: object) -> str:
    if value is None:
        return "$null"
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        if value < 0 or len(str(int(value))) > MAX_DIGITS:
            raise LiteralError(
                "a number must have at most 18 digits and no sign: PowerShell reads others as something else"
            )
        return str(int(value))
    raise LiteralError(f"a {type(value).__name__} has no PowerShell literal here")


def _text(text: str) -> str:
    at = forbidden_at(text)
    if at is not None:
        raise LiteralError(f"a text holds {named(text[at])}, which a script cannot carry (character {at + 1})")
    for quote in SINGLE_QUOTES:
        text = text.replace(quote, quote * 2)
    return f"'{text}'"


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise LiteralError("a hashtable's keys must be texts")
    return key


def _element(value: object, where: str) -> str:
    if where == "a hashtable" and isinstance(value, list | tuple):
        return _array(value)
    if isinstance(value, list | tuple | Mapping):
        raise LiteralError(f"{where} cannot hold another list or hashtable: PowerShell would unroll it")
    return _scalar(value)


def _array(values: Sequence[object]) -> str:
    return "@(" + ", ".join(_element(value, "a list") for value in values) + ")"
