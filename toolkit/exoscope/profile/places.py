"""On which line a key of a TOML file stands. The parser tells lines for syntax errors only; this scan is for messages."""

from __future__ import annotations

import re

Key = tuple[str, ...]

_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_DOTTED = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*")


def _parts(dotted: str) -> Key:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, dotted))


def lines(text: str) -> dict[Key, int]:
    """Full key → line, from 1, of tables and keys. A key inside an inline table is not listed: ask for its parent."""
    found: dict[Key, int] = {}
    table: Key = ()
    closing: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if closing is not None:
            closing = None if closing in line else closing
            continue
        stripped = line.strip()
        if stripped.startswith("["):
            head = _DOTTED.match(stripped.lstrip("["))
            if head:
                table = _parts(head.group(1))
                found.setdefault(table, number)
            continue
        key = _DOTTED.match(line)
        if key is None or line[key.end() : key.end() + 1] != "=":
            continue
        found.setdefault((*table, *_parts(key.group(1))), number)
        value = line[key.end() + 1 :].strip()
        for quotes in ('"""', "'''"):
            if value.startswith(quotes) and quotes not in value[3:]:
                closing = quotes
    return found
