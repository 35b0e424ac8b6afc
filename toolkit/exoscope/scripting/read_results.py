"""What a script that only reads noted: the result file, one JSON object a line, read strictly.

It is taken whole or not at all: the last line counts the others and holds their SHA-256, so that a file which was cut off, or
changed on its way, is refused and never taken for a tenant with less in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NoReturn

import msgspec

from exoscope.exchange.errors import Failure
from exoscope.model import Noun
from exoscope.model.tenant import Cloud
from exoscope.outcome import BadInput

FORMAT = "exoscope/script-reading@1"
BOM = b"\xef\xbb\xbf"
_NEXT = "Run the script again, and give its result as it was written."


class Header(Noun, frozen=True):
    """The first line. ``tenant`` is the Guid that the script proved, ``app_id`` as whom it asked (null: as the operator)."""

    format: Literal["exoscope/script-reading@1"]
    script: str
    part: Literal["exchange", "graph", "app"]
    purpose: Literal["read", "check"]
    plan: str | None
    tenant: str
    cloud: Cloud
    graph: str
    app_id: str | None
    seed: int
    started_at: datetime


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A further line."""


class _Read(_Line, frozen=True, tag="read"):
    n: int
    script: str


class _Rows(_Line, frozen=True, tag="rows"):
    n: int
    columns: list[str]
    rows: list[list[Any]]


class _ReadEnd(_Line, frozen=True, tag="read-end"):
    n: int
    count: int


class _Failed(_Line, frozen=True, tag="failed"):
    n: int
    message: str
    error_id: str
    category: str
    types: list[str]
    activity: str


class Got(_Line, frozen=True, tag="get"):
    """One answer of Graph. ``status`` 0: there was none; ``text`` is what came instead of a body."""

    path: str
    status: int
    body: dict[str, Any] | None
    text: str
    request_id: str | None


class _Groups(_Line, frozen=True, tag="groups"):
    ids: list[str]


class _Mailbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    guid: str
    id: str


class _Asked(_Line, frozen=True, tag="asked"):
    app_id: str
    tested: list[str]
    probed: list[_Mailbox]


class TokenSeen(_Line, frozen=True, tag="token"):
    """The token that Graph was asked with: its application permissions, and when it ends (null: not told)."""

    app_id: str
    roles: list[str]
    expires_at: datetime | None


class _Finished(_Line, frozen=True, tag="finished"):
    at: datetime


class _End(_Line, frozen=True, tag="end"):
    lines: int
    sha256: str


class Answer(Noun, frozen=True):
    """What an operation answered: rows by the columns they have, or an error."""

    columns: tuple[str, ...]
    rows: tuple[list[Any], ...]
    failure: Failure | None


class Asked(Noun, frozen=True):
    """Whom an app was tested on by Exchange, and whom Graph was to be asked about: Guids in lower case."""

    tested: frozenset[str]
    probed: frozenset[str]


class Reading(Noun, frozen=True):
    """A whole result. ``answers`` by the script that ran (without outer blanks), ``gets`` by path, ``asked`` by folded appId."""

    name: str
    header: Header
    finished_at: datetime
    answers: dict[str, Answer]
    gets: dict[str, Got]
    asked: dict[str, Asked]
    token: TokenSeen | None


_HEADER = msgspec.json.Decoder(Header)
_LINE: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    _Read | _Rows | _ReadEnd | _Failed | Got | _Groups | _Asked | TokenSeen | _Finished | _End
)


def is_reading(data: bytes) -> bool:
    """Does this begin as the result of a script that only reads?"""
    return data.removeprefix(BOM).startswith(b'{"format":"exoscope/script-reading@')


def load_reading(data: bytes, name: str) -> Reading:
    """A result from its bytes. Raises BadInput naming the line for anything that is not one, whole and unchanged."""
    lines = data.removeprefix(BOM).split(b"\n")
    if lines.pop() != b"" or len(lines) < 2:
        _refuse(name, len(lines), "it is cut off")
    try:
        header = _HEADER.decode(lines[0])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse(name, 1, str(error))
    end = _decoded(lines[-1], name, len(lines))
    if not isinstance(end, _End):
        _refuse(name, len(lines), "it is cut off: it does not end as a result does")
    digest = hashlib.sha256()
    for line in lines[:-1]:
        digest.update(line)
        digest.update(b"\n")
    if end.lines != len(lines) - 1 or end.sha256 != digest.hexdigest():
        _refuse(name, len(lines), "it is not as it was written: it was changed, or lost a part, since")
    reader = _Reader(name)
    for number, line in enumerate(lines[1:-1], start=2):
        reader.take(_decoded(line, name, number), number)
    return reader.reading(header, len(lines))


class _Open:
    """A read whose rows are coming."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.columns: tuple[str, ...] | None = None
        self.rows: list[list[Any]] = []


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.open: dict[int, _Open] = {}
        self.answers: dict[str, Answer] = {}
        self.gets: dict[str, Got] = {}
        self.asked: dict[str, Asked] = {}
        self.token: TokenSeen | None = None
        self.finished: datetime | None = None

    def take(self, line: Any, number: int) -> None:
        match line:
            case _Read():
                if line.n in self.open:
                    _refuse(self.name, number, "two reads have one number")
                self.open[line.n] = _Open(line.script.strip())
            case _Rows():
                self._rows(self._of(line.n, number), line, number)
            case _ReadEnd():
                read = self._of(line.n, number)
                if len(read.rows) != line.count:
                    _refuse(self.name, number, f"it counts {line.count} rows where {len(read.rows)} stand")
                self._answer(line.n, Answer(read.columns or (), tuple(read.rows), None))
            case _Failed():
                self._of(line.n, number)
                failure = Failure(line.message, line.error_id, line.category, tuple(line.types), line.activity)
                self._answer(line.n, Answer((), (), failure))
            case Got():
                self.gets[line.path] = line
            case _Asked():
                probed = frozenset(each.guid.casefold() for each in line.probed)
                tested = frozenset(each.casefold() for each in line.tested)
                if line.app_id.casefold() in self.asked:
                    _refuse(self.name, number, "an app was asked about twice")
                self.asked[line.app_id.casefold()] = Asked(tested, probed)
            case TokenSeen() if self.token is None:
                self.token = line
            case _Finished() if self.finished is None:
                self.finished = line.at
            case _Groups():
                pass  # for the script that comes after
            case _:
                _refuse(self.name, number, "this line does not belong here")

    def _of(self, n: int, number: int) -> _Open:
        if n not in self.open:
            _refuse(self.name, number, "it is of a read that did not begin")
        return self.open[n]

    def _rows(self, read: _Open, line: _Rows, number: int) -> None:
        columns = tuple(line.columns)
        if read.columns is None:
            read.columns = columns
        if columns != read.columns or len({each.casefold() for each in columns}) != len(columns):
            _refuse(self.name, number, "its columns are not those of the rows before")
        if any(len(row) != len(columns) or not all(_is_cell(cell) for cell in row) for row in line.rows):
            _refuse(self.name, number, "a row is not of its columns")
        read.rows += line.rows

    def _answer(self, n: int, answer: Answer) -> None:
        # A read that was tried again stands more than once; the last try counts.
        self.answers[self.open.pop(n).script] = answer

    def reading(self, header: Header, last: int) -> Reading:
        if self.open or self.finished is None:
            _refuse(self.name, last, "a read did not end")
        if (header.part == "app") != (self.token is not None) or (header.part == "app") != (header.app_id is not None):
            _refuse(self.name, 1, "it does not say as whom Graph was asked")
        return Reading(self.name, header, self.finished, self.answers, self.gets, self.asked, self.token)


def _is_cell(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    return not isinstance(value, Mapping)


def _decoded(line: bytes, name: str, number: int) -> Any:
    try:
        return _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse(name, number, str(error))


def _refuse(name: str, line: int, why: str) -> NoReturn:
    raise BadInput(f"{name} line {line}: {why}", next=_NEXT)
