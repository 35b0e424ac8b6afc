"""From a plan to scripts: one for each stretch of a stage that Exchange alone, or Graph alone, does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from exoscope.catalog import cloud
from exoscope.model import Noun, Plan, Step, Tenant, WaitKind
from exoscope.outcome import BadInput, NotFound, Refused
from exoscope.planning import states
from exoscope.planning.operations import fits
from exoscope.planning.registration import KINDS, fill_ids
from exoscope.planning.timing import WAITS, gate_seconds
from exoscope.powershell import holes, render_guarded
from exoscope.scripting.data import After, Fill, ScriptApp, ScriptData, ScriptStep

VERSION = "/v1.0"
OWN = frozenset({"resource_id", "required_resource_access"})
"""Yields of a step's own reading just before its write: part of the call, not of what it made."""
UNDO = "undo-"
"""How the names of files begin that take a plan back."""


class LeftOut(Noun, frozen=True):
    """A script that cannot be written yet, and why."""

    script: str
    stage: str
    why: str


class Part(Noun, frozen=True):
    """A script's data; its file name is ``data.script``."""

    data: ScriptData

    def fills(self) -> dict[str, str]:
        """What stands in it where the plan has holes: hole -> value."""
        return {f"<{each.step}.{name}>": value for each in self.data.fills for name, value in each.values.items()}


def graph_root(tenant: Tenant, origin: str | None = None) -> str:
    """Graph's version root for a tenant: its cloud's own, or a twin's on this machine.

    Raises BadInput for any other origin: a script would carry a token there.
    """
    return root_in(tenant.cloud, origin)


def root_in(cloud_name: str, origin: str | None = None) -> str:
    """:func:`graph_root` by the name of the cloud."""
    own = cloud(cloud_name).graph
    if origin is not None and origin != own:
        if not _is_loopback(origin):
            raise BadInput(f"{origin} is not Graph's origin in the cloud {cloud_name}; a script talks to nothing else")
        return origin + VERSION
    return own + VERSION


def parts_of(
    plan: Plan,
    plan_hash: str,
    waits: Mapping[WaitKind, float] = WAITS,
    *,
    lengthen: bool = True,
    stage: str | None = None,
    graph: str | None = None,
    filled: Mapping[str, Step] = MappingProxyType({}),
    known: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> tuple[tuple[Part, ...], tuple[LeftOut, ...]]:
    """The scripts of a plan in their order, or those of one stage, and those that cannot be written yet.

    A script cannot be written while a value that an earlier step yields stands in it as a hole, or when its stage begins with a
    wait that no earlier script of the plan begins. What registers an app stands in none. All apps go together: a stage's wait is
    its slowest app's. ``graph``: Graph's origin where it is not the cloud's (a twin's). ``filled``: steps whose holes are filled,
    by id, from what earlier ones yielded (``known``, by step id and name); which steps a file has does not depend on them.
    Raises NotFound for a stage that the plan has not, Refused ``plan-edited`` where a step's call is not what makes its
    transition, BadInput, GuardRefused.
    """
    if stage is not None and stage not in {each.id for each in plan.stages}:
        names = ", ".join(each.id for each in plan.stages) or "none"
        raise NotFound(f"the plan has no stage {stage} (its stages: {names})")
    root = graph_root(plan.tenant, graph)
    _refuse_misfits(plan)
    parts: list[Part] = []
    left: list[LeftOut] = []
    previous: tuple[str, str] | None = None
    waiting = 0
    evidence: dict[str, None] = {}
    number = 0
    for each in plan.stages:
        for stretch in _stretches([step for step in plan.steps if step.stage == each.id]):
            number += 1
            if any(step.target.kind in KINDS for step in stretch):
                continue  # exoscope alone does these, and did: what comes after rests on what they yielded
            kind = stretch[0].kind
            name = f"{UNDO if plan.purpose == 'undo' else ''}{number:02d}-{each.id}-{kind}.ps1"
            if stage in (None, each.id):
                ready = [filled.get(step.id, step) for step in stretch]
                missing = dict.fromkeys(hole for step in ready for hole in missing_of(step))
                if missing:
                    why = f"{', '.join(missing)} has no value before an earlier step was done"
                    left.append(LeftOut(name, each.id, why))
                elif waiting and not (previous and previous[0]):
                    left.append(LeftOut(name, each.id, "it follows a wait that no script of this plan begins"))
                else:
                    after = previous and After(previous[0], previous[1], waiting, tuple(evidence))
                    fills = _fills(plan, stretch, known)
                    values = {
                        f"<{maker}.{name}>": value for maker, given in known.items() for name, value in given.items()
                    }
                    data = _data(plan, plan_hash, name, each.id, kind, ready, root, after or None, fills, values)
                    parts.append(Part(data))
            previous = (name, each.id)
            waiting, evidence = 0, {}
        waiting += math.ceil(max((gate_seconds(gate, waits, lengthen=lengthen) for gate in each.gates), default=0.0))
        evidence |= {str(witness): None for gate in each.gates for witness in gate.evidence}
        if each.gates:
            # A stage may be nothing but its gate: what follows then names that stage as the one whose proof must be seen.
            previous = (previous[0] if previous else "", each.id)
    return tuple(parts), tuple(left)


def _refuse_misfits(plan: Plan) -> None:
    """A hash tells that a plan was not edited since it was hashed, not that exoscope wrote it."""
    apps = {app.app_id.casefold(): app for app in plan.apps}
    for step in plan.steps:
        made = step.template is None or render_guarded(step.template, step.values).text == step.script
        if not made or not fits(step, apps.get((step.app_id or "").casefold())):
            raise Refused(
                f"{step.id} ({step.title}) would not do what the plan says of it",
                code="plan-edited",
                next="Plan again, and review the plan that will run.",
            )


def _stretches(steps: list[Step]) -> Iterator[list[Step]]:
    """Steps of one kind in a row; what rests on what a step of the same stretch yields begins another one."""
    stretch: list[Step] = []
    for step in steps:
        made = {each.id for each in stretch}
        rests = any(_maker(hole) in made for hole in missing_of(step))
        if stretch and (stretch[0].kind != step.kind or rests):
            yield stretch
            stretch = []
        stretch.append(step)
    if stretch:
        yield stretch


def missing_of(step: Step) -> tuple[str, ...]:
    """Holes that this step's own reading, just before its write, does not fill."""
    request = [] if step.request is None else [step.request.path, step.request.body]
    found = holes([step.target.key, step.before, step.after, step.values, step.script, *request])
    own = own_holes(step)
    return tuple(hole for hole in found if hole not in own)


def own_holes(step: Step) -> frozenset[str]:
    """The holes that stand for what a step's own reading gives."""
    return frozenset(f"<{step.id}.{name}>" for name in OWN)


def _maker(hole: str) -> str:
    """The id of the step that yields what a hole stands for."""
    return hole[1:-1].partition(".")[0]


def _fills(plan: Plan, stretch: list[Step], known: Mapping[str, Mapping[str, str]]) -> tuple[Fill, ...]:
    """What the script must find the objects of earlier steps to be, for what stands in it in place of holes."""
    wanted: dict[str, dict[str, str]] = {}
    for hole in dict.fromkeys(hole for step in stretch for hole in missing_of(step)):
        maker, name = _maker(hole), hole[1:-1].partition(".")[2]
        wanted.setdefault(maker, {})[name] = known[maker][name]
    steps = {step.id: step for step in plan.steps}
    return tuple(
        Fill(maker, target.kind, target.key, states.told(target), values)
        for maker, values in wanted.items()
        for target in (steps[maker].target,)
        if target.kind not in KINDS  # ids of an app never change: what stands in the script is what it was read as
    )


def _data(
    plan: Plan,
    plan_hash: str,
    name: str,
    stage: str,
    kind: Literal["exchange", "graph"],
    steps: list[Step],
    root: str,
    after: After | None,
    fills: tuple[Fill, ...],
    known: Mapping[str, str],
) -> ScriptData:
    apps = {step.app_id for step in steps}
    concerned = [app for app in plan.apps if app.app_id in apps or None in apps]
    return ScriptData(
        format="exoscope/script@1",
        script=name,
        part=kind,
        plan=plan_hash,
        stage=stage,
        tenant=plan.tenant,
        graph=root,
        apps=tuple(ScriptApp(fill_ids(app.app_id, known), app.display_name) for app in concerned),
        notes=tuple(dict.fromkeys(note for app in concerned for note in app.notes)),
        after=after,
        fills=fills,
        steps=tuple(script_step(step, steps[place + 1 :]) for place, step in enumerate(steps)),
    )


def script_step(step: Step, following: Sequence[Step] = ()) -> ScriptStep:
    """A step as the data block says it; ``following``: the steps after it in the same script."""
    same = states.key_of(step.target)
    return ScriptStep(
        id=step.id,
        title=step.title,
        needs=step.needs,
        kind=step.target.kind,
        key=step.target.key,
        object=states.told(step.target),
        before=step.before,
        after=step.after,
        later=tuple(each.id for each in following if states.key_of(each.target) == same),
        yields=tuple(name for name in step.yields if name not in OWN),
        template=step.template,
        values=step.values,
        request=step.request,
    )


def _is_loopback(origin: str) -> bool:
    return urlsplit(origin).scheme == "https" and urlsplit(origin).hostname in ("localhost", "127.0.0.1", "::1")
