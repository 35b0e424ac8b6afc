"""PowerShell's own characters: what it takes for quotes, dashes, blanks and newlines, and what no script may hold.

Source: PowerShell's tokenizer (CharTraits.cs), seen on the engine: five single and four double quotes, four dashes;
TAB, NBSP, NEL and every Unicode separator (the line and paragraph separators too) are blanks; only CR and LF end a
line.
"""

from __future__ import annotations

import re
import unicodedata

SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b"
DOUBLE_QUOTES = '"\u201c\u201d\u201e'
DASHES = "-\u2013\u2014\u2015"
NEWLINES = "\r\n"
STOP_PARSING = "--%"

# What XML 1.0 cannot carry. PSRP acknowledges a script with one of these and then never answers. Lone surrogates are
# no text at all.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def forbidden_at(text: str) -> int | None:
    """Offset of the first character that no script may hold, or None."""
    found = _FORBIDDEN.search(text)
    return found.start() if found else None


def is_blank(character: str) -> bool:
    """Does PowerShell take this character for a blank (never for a newline)?"""
    if character in " \t":
        return True
    if character < "\x80":
        return False
    return character == "\x85" or unicodedata.category(character) in ("Zs", "Zl", "Zp")


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1, in code points. CR, LF and CR LF each end one line."""
    before = text[:offset]
    if offset < len(text) and text[offset] == "\n" and before.endswith("\r"):
        before = before[:-1]
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1


def named(character: str) -> str:
    """A character for a message: by code point, so that what cannot be printed or is easily mistaken can be told."""
    return f"U+{ord(character):04X}"
