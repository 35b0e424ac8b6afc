"""Named holes of a step, filled from what earlier steps yielded; scripts are rendered and guarded again.

A filled script must do exactly what the planned one does but for its holes: the planned text is read by the guard, the
holes of its operations are filled, and the freshly rendered script must read back as just that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from exoscope.clock import iso
from exoscope.model import Request, State, Step, Target
from exoscope.outcome import GuardRefused
from exoscope.powershell import HoleError, fill, fill_pipelines, guard, holes, read, render_guarded
from exoscope.powershell.holes import HOLE


class Filled(msgspec.Struct, frozen=True):
    """A step's call, ready to be sent: exactly one of ``script`` and ``request`` is set."""

    script: str | None
    request: Request | None


def found(yields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What each hole stands for: ``{"<step-3.guid>": value}`` from ``{"step-3": {"guid": value}}``."""
    return {f"<{step}.{name}>": value for step, given in yields.items() for name, value in given.items()}


def fill_target(step: Step, yields: Mapping[str, Mapping[str, Any]]) -> Target:
    """What the step is about, the holes of its key filled. Raises HoleError for a hole without a value."""
    return Target(step.target.kind, _strings(fill(step.target.key, _texts(found(yields)))))


def fill_subject(step: Step, yields: Mapping[str, Mapping[str, Any]]) -> Step:
    """The step with the holes of its target and states filled. Raises HoleError for a hole without a value."""
    if not holes([step.target.key, step.before, step.after]):
        return step
    values = _texts(found(yields))
    return msgspec.structs.replace(
        step,
        target=fill_target(step, yields),
        before=_state(step.before, values),
        after=_state(step.after, values),
    )


def identity_of(step: Step, yields: Mapping[str, Mapping[str, Any]]) -> str | None:
    """How a step's call names a group or policy that is there, its hole filled; None: it makes one, or is about something else.

    Raises HoleError for a hole without a value.
    """
    name = {"group": "group", "access_policy": "identity"}.get(step.target.kind)
    if name is None or name not in step.values or step.before is None:
        return None
    named = {name: step.values[name]}
    return str(fill(named, _texts(found(yields)) if holes(named) else {})[name])


def fill_call(step: Step, yields: Mapping[str, Mapping[str, Any]]) -> Filled:
    """What the step sends, its holes filled.

    Raises HoleError for a hole without a value, GuardRefused when the filled script is not the planned one but for its holes.
    """
    if step.request is not None:
        return Filled(None, _request(step.request, found(yields)))
    if step.script is None or step.template is None:
        raise GuardRefused(f"{step.id} says neither what to run nor what to ask")
    planned = read(step.script)
    if guard(render_guarded(step.template, step.values).text) != planned:
        raise GuardRefused(f"the script of {step.id} is not what its template and values give")
    if not holes(step.values):
        return Filled(step.script, None)
    texts = _texts(found(yields))
    script = render_guarded(step.template, fill(step.values, texts))
    guard(script.text, fill_pipelines(planned, texts))
    return Filled(script.text, None)


def making(step: Step, yields: Mapping[str, Mapping[str, Any]], run: str, ends: datetime) -> Request | None:
    """What makes a credential, as a journal keeps it: under which name, and until when. Raises HoleError."""
    name = f"exoscope {run}"
    own = {"name": name, "end": iso(ends), "key_credentials": [{"displayName": name, "endDateTime": iso(ends)}]}
    return fill_call(step, {**yields, step.id: own}).request


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {hole: value for hole, value in values.items() if isinstance(value, str)}


def _strings(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _state(state: State, values: Mapping[str, str]) -> State:
    return None if state is None else fill(state, values)


def _request(request: Request, values: Mapping[str, Any]) -> Request:
    def part(text: str) -> str:
        if not holes(text):
            return text
        # One path segment: whatever a service answered as an id stays inside it.
        return HOLE.sub(lambda hole: quote(str(_value(hole.group(), values)), safe=""), text)

    body = request.body
    return Request(request.method, part(request.path), None if body is None else _json(body, values))


def fill_known(request: Request, values: Mapping[str, Any], own: Collection[str]) -> Request:
    """A request with its holes filled but the step's ``own``, which stand for what is read just before it. Raises HoleError."""
    return _request(request, {**values, **{hole: hole for hole in own}})


def _json(value: Any, values: Mapping[str, Any]) -> Any:
    """JSON with each text that is a whole hole replaced by its value (a text, or a list such as required_resource_access)."""
    if isinstance(value, str):
        if HOLE.fullmatch(value):
            return _value(value, values)
        if holes(value):
            raise HoleError(f"{holes(value)[0]} stands inside a longer text of a request")
        return value
    if isinstance(value, Mapping):
        return {key: _json(each, values) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json(each, values) for each in value]
    return value


def _value(hole: str, values: Mapping[str, Any]) -> Any:
    value = values.get(hole)
    if value is None or value == "":
        raise HoleError(f"{hole} has no value yet")
    return value
