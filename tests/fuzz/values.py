"""Hostile values: texts that look like code, quotes, blanks, markup or numbers to somebody on the way to Exchange and back.

:func:`stream` makes them from a seed, for long runs; :data:`PIECES` are what hypothesis composes its own from.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from xml.parsers import expat
from xml.sax.saxutils import escape

from exoscope.powershell.characters import DASHES, DOUBLE_QUOTES, SINGLE_QUOTES

LONG = 10_000

BLANKS = " \t\u00a0\u0085\u1680\u2000\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NEWLINES = ("\r", "\n", "\r\n", "\n\r")
RIGHT_TO_LEFT = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
UNSEEN = RIGHT_TO_LEFT + "\u00ad\u034f\u180e\u200b\u200c\u200d\u2060\ufe0f\ufeff"
OPERATORS = "`$;|&{}()[]<>#@,:.=%!^~+*/\\?"
# Among them letters that grow, shrink or meet when case is ignored, and some that look like quotes.
LETTERS = "aZ_059éÒßıİſK\u0301\u0345\u1e9e\uff07\u02bc\ufb01\u6f22\ufffd\U0001f600\U000e0041"
CODE = (
    *("--%", "'--%'", "-Confirm:$false", "$(Remove-Y)", "${env:PATH}", "$x", "@('a')", "@{a='b'}", ")\nRemove-Y"),
    *("'; Remove-Y -Id b #", "’; Remove-Y -Id b #", '"; Remove-Y -Id b #', "'@\n", "\n'@", "@'\n", '"@'),
    *("<#", "#>", "#x\n", "#Requires -Modules Other", "# SIG # Begin signature block"),
    *("`n", "`'", "`\n", "`u{27}", "''", "’’", "'’", "''''", '""', "\\'", '\\"'),
)
NUMBERS = (
    *("-2", "007", "5kb", "0x1F", "1e5", "1..3", "1,2", "$true", "True", "$null", "NaN", "-0", "18446744073709551616"),
    *("2026-11-23T09:00:00Z", "/Date(0)/", "\\/Date(0)\\/", "00:00:01", "1.2.3.4"),
    "12345678-1234-1234-1234-123456789abc",
)
MARKUP = (
    *("_x0027_", "_x000A_", "_x005F_", "_x0000_", "_xD83D_", "&#39;", "&apos;", "&amp;", "]]>", "<![CDATA["),
    *("<S>", "</S>", "<Nil/>", "\\u0027", "\\n", '{"a":1}', "null", "[]", "@odata.type", "%27", "%PATH%"),
    *("[red]", "[/]"),
)
OURS = (
    *("{{ name }}", "{% raw %}", "{0}", "%(x)s", "<step-1.guid>", "exoscope-mark-0"),
    *("CN=a\\,b,OU=x", "a@b.c", "smtp:a@b.c"),
)
PIECES: tuple[str, ...] = (
    *(*SINGLE_QUOTES, *DOUBLE_QUOTES, *DASHES, *BLANKS, *NEWLINES, *UNSEEN, *OPERATORS, *LETTERS),
    *(*CODE, *NUMBERS, *MARKUP, *OURS),
)
FORBIDDEN = (*map(chr, range(9)), "\x0b", "\x0c", *map(chr, range(0xE, 0x20)), "\ufffe", "\uffff")
SURROGATES = ("\ud800", "\udbff", "\udc00", "\udfff", "\ude00\ud83d")


def stream(seed: int) -> Iterator[str]:
    """Values without end. About one in thirty holds what no script can carry, one in a thousand has 10,000 characters."""
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    while True:
        kind = rng.random()
        if kind < 0.001:
            yield _cut(rng, _composed(rng, 40) * LONG, LONG)
        elif kind < 0.02:
            yield _with(rng, _composed(rng, 6), rng.choice(FORBIDDEN))
        elif kind < 0.035:
            yield _with(rng, _composed(rng, 6), rng.choice(SURROGATES))
        elif kind < 0.05:
            # anything that is a character at all
            yield _with(rng, _composed(rng, 3), chr(rng.randrange(0x110000)))
        elif kind < 0.055:
            yield rng.choice(("", *BLANKS, *PIECES)) * rng.randint(0, 3)
        else:
            yield _composed(rng, 12)


def _composed(rng: random.Random, most: int) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(1, most)))


def _with(rng: random.Random, text: str, piece: str) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + piece + text[at:]


def _cut(rng: random.Random, text: str, length: int) -> str:
    start = rng.randrange(40)
    return text[start : start + length]


def carried(text: str) -> bool:
    """Can XML 1.0 carry this text? Asked of expat, which we did not write: exactly such values must not be refused."""
    try:
        expat.ParserCreate().Parse(f"<a>{escape(text)}</a>".encode(), True)
    except (UnicodeEncodeError, expat.ExpatError):
        return False
    return True


def quoted(text: str) -> str:
    """A text in PowerShell's single quotes, whatever it holds: as somebody writes it who does not ask whether it can be sent."""
    return "'" + "".join(each * 2 if each in SINGLE_QUOTES else each for each in text) + "'"
