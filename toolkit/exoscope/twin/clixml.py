"""Rows as the text that PowerShell's own serialiser reads ([MS-PSRP] 2.2.5; ``PSSerializer.Deserialize``), written by hand:
psrpcore makes some thousand objects a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from exoscope.twin.exchange.call import Row
from exoscope.twin.exchange.call import is_time as holds_time

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_HEAD = '<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
# What XML cannot carry as it is, and what would be taken for an escape ([MS-PSRP] 2.2.5.3.2).
_ESCAPED = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]|_(?=[xX][0-9A-Fa-f]{4}_)")
_OBJECT = '<TN RefId="0"><T>System.Management.Automation.PSCustomObject</T><T>System.Object</T></TN>'
_LIST = '<TN RefId="1"><T>System.Collections.ArrayList</T><T>System.Object</T></TN>'


def is_guid(name: str, value: str) -> bool:
    """Whether a column's text is a Guid on Exchange's object. Most ids are plain texts there: those of the directory, of apps."""
    return len(value) == 36 and name.lower().endswith("guid") and _GUID.fullmatch(value) is not None


def is_time(name: str, value: str) -> bool:
    """Whether a column's text is a time on Exchange's object."""
    return value[10:11] == "T" and _TIME.fullmatch(value) is not None and holds_time(name)


def dumps(rows: Iterable[Row]) -> str:
    """One text for all rows: objects with a property for each column, Guids and times as such, lists of texts as lists."""
    writer = _Writer()
    return _HEAD + "".join([writer.row(row) for row in rows]) + "</Objs>"


class _Writer:
    def __init__(self) -> None:
        self._number = 0
        self._named: set[str] = set()

    def row(self, row: Row) -> str:
        cells = "".join([self._cell(name, value) for name, value in row.items()])
        return f'<Obj RefId="{self._next()}">{self._types(_OBJECT)}<MS>{cells}</MS></Obj>'

    def _cell(self, name: str, value: object) -> str:
        if value is None:
            return f'<Nil N="{name}"/>'
        if isinstance(value, bool):
            return f'<B N="{name}">{"true" if value else "false"}</B>'
        if isinstance(value, int):
            return f'<I64 N="{name}">{value}</I64>'
        if isinstance(value, list | tuple):
            texts = "".join([f"<S>{_text(str(each))}</S>" for each in value])
            return f'<Obj N="{name}" RefId="{self._next()}">{self._types(_LIST)}<LST>{texts}</LST></Obj>'
        text = str(value)
        if is_guid(name, text):
            return f'<G N="{name}">{text}</G>'
        if is_time(name, text):
            return f'<DT N="{name}">{text}</DT>'
        return f'<S N="{name}">{_text(text)}</S>'

    def _next(self) -> int:
        self._number += 1
        return self._number - 1

    def _types(self, names: str) -> str:
        if names in self._named:
            return f'<TNRef RefId="{0 if names is _OBJECT else 1}"/>'
        self._named.add(names)
        return names


def _text(text: str) -> str:
    return escape(_ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", text))
