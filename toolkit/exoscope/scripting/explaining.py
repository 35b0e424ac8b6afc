"""What a script of ours would do, once it was seen to be one: byte for byte this version's frame around what it says."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from exoscope.outcome import BadInput, GuardRefused
from exoscope.powershell import Pipeline, read
from exoscope.scripting import read_frames
from exoscope.scripting.data import ScriptData, ScriptStep, read_data, refused
from exoscope.scripting.frames import BOM, head_of, operations_of, text_of
from exoscope.scripting.parts import VERSION, graph_root, root_in
from exoscope.scripting.read_data import ReadData

_CHANGES = ("exchange", "graph")
_READINGS = ("exchange", "graph", "app")


class Explained(msgspec.Struct, frozen=True):
    """A script of ours: what it says it is about, its operations (readings and writes) in order, and its Graph requests."""

    data: ScriptData | ReadData
    pipelines: tuple[Pipeline, ...]
    requests: tuple[dict[str, object], ...]


def explain(content: bytes) -> Explained | None:
    """Read a file that begins as a script of ours; None for a file that does not.

    It is taken only with its byte order mark, and when writing what its data block says gives the very same bytes: nothing in
    it then but the frame, literals, and the operations that the templates render. Raises GuardRefused.
    """
    body = content.removeprefix(BOM)
    change = next((each for each in _CHANGES if body.startswith(_title(head_of(each)))), None)
    reading = next((each for each in _READINGS if body.startswith(_title(read_frames.head_of(each)))), None)
    if change is None and reading is None:
        return None
    if len(body) == len(content):
        raise GuardRefused("the file has lost its byte order mark: Windows PowerShell 5.1 would misread it")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start].decode("utf-8")
        raise refused("the file is not UTF-8", before, len(before)) from None
    return _change(text, change) if change is not None else _reading(text, str(reading))


def _change(text: str, part: str) -> Explained:
    head = head_of(part)
    _same(head, text[: len(head)], text)
    data = read_data(text, len(head), ScriptData)
    if data.part != part:
        raise refused(f"the data block is not that of the {part} frame", text, len(head))
    if len({step.id for step in data.steps}) != len(data.steps) or not all(_fits(step, part) for step in data.steps):
        raise refused("a step of the data block is not one of this script", text, len(head))
    if data.fills and part != "exchange":
        raise refused("the data block fills what a Graph script cannot read", text, len(head))
    try:
        expected = text_of(data)
        operations = operations_of(data) if part == "exchange" else ()
        known = graph_root(data.tenant, _origin(data.graph)) == data.graph
    except (BadInput, ValueError, KeyError, TypeError) as error:
        raise refused(f"the data block makes no script: {error}", text, len(head)) from None
    if not known:
        raise refused("the data block names another place than Graph", text, len(head))
    _same(expected, text, text)
    return Explained(
        data,
        _pipelines(operations),
        tuple(
            {"method": step.request.method, "path": step.request.path, "body": step.request.body}
            for step in data.steps
            if step.request is not None
        ),
    )


def _reading(text: str, part: str) -> Explained:
    head = read_frames.head_of(part)
    _same(head, text[: len(head)], text)
    data = read_data(text, len(head), ReadData)
    if data.part != part or (part == "app" and len(data.apps) != 1):
        raise refused(f"the data block is not that of the {part} frame", text, len(head))
    try:
        expected = read_frames.text_of(data)
        operations = read_frames.operations_of(data) if part == "exchange" else {}
        requests = {} if part == "exchange" else read_frames.requests_of(data)
        known = root_in(data.cloud, _origin(data.graph)) == data.graph
    except (BadInput, ValueError, KeyError, TypeError) as error:
        raise refused(f"the data block makes no script: {error}", text, len(head)) from None
    if not known:
        raise refused("the data block names another place than Graph", text, len(head))
    _same(expected, text, text)
    return Explained(
        data,
        _pipelines(operations.values()),
        tuple({"method": "GET", "path": path, "body": None} for path in requests.values()),
    )


def _pipelines(operations: Iterable[str]) -> tuple[Pipeline, ...]:
    return tuple(pipeline for operation in operations for pipeline in read(operation))


def _origin(root: str) -> str:
    return root.removesuffix(VERSION)


def _fits(step: ScriptStep, part: str) -> bool:
    return (step.request is not None) == (part == "graph") and (step.template is not None) == (part == "exchange")


def _title(head: str) -> bytes:
    return head.split("\n", 1)[0].encode("ascii")


def _same(expected: str, found: str, text: str) -> None:
    if expected == found:
        return
    pairs = zip(expected, found, strict=False)
    at = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(found)))
    raise refused("here it differs from what this version of exoscope writes", text, min(at, len(text)))
