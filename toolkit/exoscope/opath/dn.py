"""Distinguished names, as far as filters need them: is this one, and do two name the same object?"""

from __future__ import annotations

import re
from functools import lru_cache

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z|\d+(\.\d+)+\Z")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_SPECIAL = frozenset(',+"\\<>;=# ')


@lru_cache(maxsize=65536)
def normal_dn(text: str) -> str | None:
    """One spelling for all spellings of a DN, or None where ``text`` is no DN.

    Case is folded, blanks around ``,`` ``+`` and ``=`` go, ``\\2C`` and ``\\,`` are the same (RFC 4514). The result is for
    comparing, never for sending.
    """
    names = []
    for name in _split(text, ","):
        pairs = []
        for pair in _split(name, "+"):
            attribute, equals, value = pair.partition("=")
            attribute = attribute.strip()
            plain = _unescape(value)
            if not equals or not plain or not _ATTRIBUTE.match(attribute):
                return None
            pairs.append(f"{attribute.lower()}={_escape(plain.lower())}")
        names.append("+".join(sorted(pairs)))
    return ",".join(names)


def dn_under(text: str, root: str) -> bool | None:
    """Whether the object ``text`` is ``root`` or lies below it. None where either is no DN."""
    below, above = normal_dn(text), normal_dn(root)
    if below is None or above is None:
        return None
    return below == above or below.endswith("," + above)


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that no backslash escapes; the pieces keep their escapes."""
    if "\\" not in text:
        return text.split(separator)
    pieces, start, index = [], 0, 0
    while index < len(text):
        if text[index] == "\\":
            index += 1
        elif text[index] == separator:
            pieces.append(text[start:index])
            start = index + 1
        index += 1
    pieces.append(text[start:])
    return pieces


def _unescape(value: str) -> str | None:
    """The value itself: outer blanks gone (escaped ones stay), escapes resolved; None where an escape is broken."""
    value = value.lstrip(" ")
    bare = value.rstrip(" ")
    if len(bare) < len(value) and (len(bare) - len(bare.rstrip("\\"))) % 2:
        bare += " "
    if "\\" not in bare:
        return bare
    out, index = bytearray(), 0
    while index < len(bare):
        if bare[index] != "\\":
            out += bare[index].encode("utf-8", "surrogatepass")
            index += 1
        elif _HEX.match(bare, index + 1):
            out.append(int(bare[index + 1 : index + 3], 16))
            index += 3
        elif index + 1 < len(bare):
            out += bare[index + 1].encode("utf-8", "surrogatepass")
            index += 2
        else:
            return None
    try:
        return out.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _escape(value: str) -> str:
    return "".join("\\" + char if char in _SPECIAL else char for char in value)
