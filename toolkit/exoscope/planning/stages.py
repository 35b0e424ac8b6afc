"""From drafts to a plan's stages and numbered steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from exoscope.model import App, Snapshot, Stage, State, Step, Target
from exoscope.planning.drafts import TITLES, Change, Draft, known
from exoscope.planning.effect import after, group_yields
from exoscope.planning.operations import step
from exoscope.planning.states import find_group_named

_MADE = re.compile(r"<made ([^<>]*)\.([a-z_]+)>")


def assemble(
    drafts: Sequence[Draft],
    shared: Sequence[Change] = (),
    *,
    make: Callable[..., Step] = step,
    simulated: bool = False,
) -> tuple[tuple[Stage, ...], tuple[Step, ...]]:
    """Number the changes of all apps, stage by stage, app by app; fill what only an earlier step yields with its hole.

    ``shared`` are changes of the organisation, which belong to no app and come first. A stage stands in the plan when an app
    has something to do, or to wait for, in it. ``make`` makes the step of a transition. An app that is registered here is called
    by the holes of its ids; ``simulated``: by the ids that stand for them over a snapshot.
    """
    stages: list[Stage] = []
    steps: list[Step] = []
    makers: dict[str, str] = {}
    ids: dict[str, str] = {}

    def fill(text: str) -> str:
        return ids.get(text.casefold()) or fill_made(text, makers)

    for stage in TITLES:
        gates = tuple(draft.gates[stage] for draft in drafts if stage in draft.gates)
        changes: list[tuple[App | None, Change]] = [(None, each) for each in shared if each.stage == stage]
        changes += [(draft.app, each) for draft in drafts for each in draft.changes if each.stage == stage]
        if not changes and not gates:
            continue
        stages.append(Stage(stage, TITLES[stage], gates))
        for app, change in changes:
            step_id = f"step-{len(steps) + 1}"
            target = change.target
            if target.kind == "group" and change.before is None:
                makers[target.key["name"]] = step_id
            if app is not None and change.before is None and not simulated:
                ids |= _ids_made(app, target, step_id)
            steps.append(
                make(
                    step_id,
                    stage,
                    Target(target.kind, {name: fill(value) for name, value in target.key.items()}),
                    _state(change.before, fill),
                    _state(change.after, fill),
                    None if app is None else _called(app, ids),
                    None if change.identity is None else fill(change.identity),
                    change.label,
                )
            )
    return tuple(_gates_called(each, ids) for each in stages), tuple(steps)


def _ids_made(app: App, target: Target, step_id: str) -> dict[str, str]:
    """The simulated ids of an app that a step makes, each with its hole."""
    if target.kind == "application":
        registered = known(app.application_object_id, "an app that is registered here has a registration")
        return {
            app.app_id.casefold(): f"<{step_id}.app_id>",
            registered.casefold(): f"<{step_id}.application_object_id>",
        }
    return {app.object_id.casefold(): f"<{step_id}.object_id>"} if target.kind == "service_principal" else {}


def _called(app: App, ids: dict[str, str]) -> App:
    """The app, called by the holes of its ids where it is made here."""

    def called(id: str) -> str:
        return ids.get(id.casefold(), id)

    registered = app.application_object_id
    return replace(
        app,
        app_id=called(app.app_id),
        object_id=called(app.object_id),
        application_object_id=None if registered is None else called(registered),
    )


def _gates_called(stage: Stage, ids: dict[str, str]) -> Stage:
    gates = tuple(replace(gate, app_id=ids.get(gate.app_id.casefold(), gate.app_id)) for gate in stage.gates)
    return replace(stage, gates=gates)


def fill_made(text: str, makers: dict[str, str]) -> str:
    """``<made NAME.field>`` as the hole of the step that makes group NAME."""
    return _MADE.sub(lambda found: f"<{makers[found.group(1)]}.{found.group(2)}>", text)


def makers_of(steps: Sequence[Step]) -> dict[str, str]:
    """Which step makes which group."""
    return {each.target.key["name"]: each.id for each in steps if each.target.kind == "group" and each.before is None}


def apply_change(snapshot: Snapshot, change: Change) -> Snapshot:
    """The snapshot after a change, what stands for a made group's values taken from the group in the snapshot."""

    def filled(text: str) -> str:
        return _MADE.sub(lambda found: _value_of(snapshot, found.group(1), found.group(2)), text)

    key = {name: filled(value) for name, value in change.target.key.items()}
    return after(snapshot, Target(change.target.kind, key), _state(change.after, filled))


def _value_of(snapshot: Snapshot, name: str, what: str) -> str:
    group = known(find_group_named(snapshot, name), f"the group {name} is made before it is used")
    return group_yields(group)[what]


def _state(state: State, fill: Callable[[str], str]) -> State:
    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return fill(value)
        if isinstance(value, dict):
            return {name: filled(each) for name, each in value.items()}
        return value

    return None if state is None else {name: filled(value) for name, value in state.items()}
