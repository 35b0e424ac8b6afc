"""Literals: each line of what PowerShell was seen to do with quotes, ``--%``, numbers and forbidden characters."""

from __future__ import annotations

import enum

import pytest

from exoscope.outcome import ExoscopeError
from exoscope.powershell import LiteralError, literal


class Text(enum.StrEnum):
    QUOTED = "it's"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", "''"),
        ("plain", "'plain'"),
        ("it's", "'it''s'"),
        ("\u2018\u2019\u201a\u201b", "'\u2018\u2018\u2019\u2019\u201a\u201a\u201b\u201b'"),
        ('"\u201c\u201d\u201e$x`n', "'\"\u201c\u201d\u201e$x`n'"),
        ("a\r\nb\tc\u0085\u2028", "'a\r\nb\tc\u0085\u2028'"),
        ("--%", "'--%'"),
        ("-2", "'-2'"),
        (Text.QUOTED, "'it''s'"),
        (True, "$true"),
        (False, "$false"),
        (None, "$null"),
        (0, "0"),
        (999_999_999_999_999_999, "999999999999999999"),
        ([], "@()"),
        (["a"], "@('a')"),
        (("a", 1, False, "--%"), "@('a', 1, $false, '--%')"),
        ({"Add": ["a"], "o'r": "--%"}, "@{'Add' = @('a'); 'o''r' = '--%'}"),
    ],
)
def test_literal(value: object, wanted: str) -> None:
    assert str(literal(value)) == wanted


@pytest.mark.parametrize(
    "code", [*range(9), 0xB, 0xC, *range(0xE, 0x20), 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xFFFE, 0xFFFF]
)
def test_characters_that_a_script_cannot_carry(code: int) -> None:
    for value in ("a" + chr(code), [chr(code)], {chr(code): "a"}):
        with pytest.raises(LiteralError, match=f"U\\+{code:04X}"):
            literal(value)


@pytest.mark.parametrize(
    "code", [0x9, 0xA, 0xD, 0x20, 0x7F, 0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0x10000, 0x1F600, 0x10FFFF]
)
def test_characters_that_it_can(code: int) -> None:
    assert literal(chr(code)) == f"'{chr(code)}'"


@pytest.mark.parametrize(
    "value",
    [
        -1,
        10**18,
        1.5,
        b"a",
        object(),
        ["a", ["b"]],
        ["a", {"b": 1}],
        {"a": {"b": 1}},
        {1: "a"},
        {"a": 1, "A": 2},
        {"s"},
    ],
)
def test_what_would_be_read_as_something_else_is_refused(value: object) -> None:
    with pytest.raises(LiteralError) as caught:
        literal(value)
    assert isinstance(caught.value, ExoscopeError)


def test_a_refusal_does_not_show_the_value() -> None:
    with pytest.raises(LiteralError) as caught:
        literal("hunter2\x00")
    assert "hunter2" not in str(caught.value)
