"""A plan's scripts, their holes filled with what the plan's run knows: what exoscope read itself, or a script's result told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from exoscope.model import Noun, PlanFile, Step, WaitKind
from exoscope.outcome import Refused
from exoscope.planning.operations import fits
from exoscope.planning.registration import KINDS, fill_ids, named_app
from exoscope.powershell import HOLE, HoleError, fill
from exoscope.running.apply import refuse_elsewhere
from exoscope.running.filling import fill_call, fill_known, fill_subject, found
from exoscope.running.store import Store
from exoscope.scripting.parts import LeftOut, Part, missing_of, own_holes, parts_of

Yields = Mapping[str, Mapping[str, Any]]


class Export(Noun, frozen=True):
    """The scripts that can be written and those that cannot yet. ``run``: the plan's run, whose values stand in them (null: none);
    ``stands``: the ids of steps that stand as it knows.
    """

    run: str | None
    parts: tuple[Part, ...]
    left: tuple[LeftOut, ...]
    stands: frozenset[str]

    def stand(self, part: Part) -> bool:
        """Do all steps of this script stand already?"""
        return all(step.id in self.stands for step in part.data.steps)


def export(
    file: PlanFile,
    store: Store,
    waits: Mapping[WaitKind, float],
    *,
    lengthen: bool,
    stage: str | None = None,
    graph: str | None = None,
) -> Export:
    """The scripts of a plan, or of one stage. Where ``store`` has a run of the plan, its values and its waits stand in them.

    A filled script must be the planned one but for its holes. Raises as :func:`exoscope.scripting.parts_of`; Refused
    ``other-endpoints`` where the run is of a twin and ``lengthen`` is not, or the other way round.
    """
    known: Yields = {}
    state = next((state for _, state in store.runs_of(file.hash) if not state.undone), None)
    if state is not None:
        refuse_elsewhere(state, lengthen=lengthen)
        known, waits = state.known, state.waits
    refuse_registering([step for step in file.plan.steps if step.id not in known and stage in (None, step.stage)])
    apps = {app.app_id.casefold(): app for app in file.plan.apps}
    filled: dict[str, Step] = {}
    for step in file.plan.steps:
        made = filled_step(step, known)
        if made is None:
            continue
        # The app too is called by its ids then, where the plan registers it.
        app, called = apps.get((made.app_id or "").casefold()), made.app_id and fill_ids(made.app_id, found(known))
        if not fits(replace(made, app_id=called), app and named_app(app, found(known))):
            raise Refused(
                f"{step.id} ({step.title}) would not do what the plan says of it once its holes are filled",
                code="plan-edited",
                next="Plan again, and review the plan that will run.",
            )
        filled[step.id] = made
    parts, left = parts_of(
        file.plan,
        file.hash,
        waits,
        lengthen=lengthen,
        stage=stage,
        graph=graph,
        filled=filled,
        known=texts_of(known),
    )
    if state is None:
        return Export(None, parts, left, frozenset())
    return Export(state.started.run, parts, left, frozenset(state.known))


def refuse_registering(steps: Iterable[Step]) -> None:
    """No script registers an app or makes what it signs in with. Raises Refused ``makes-secret`` where one would have to."""
    found = [step for step in steps if step.target.kind in KINDS]
    if not found:
        return
    if all(step.after is None for step in found):
        raise Refused(
            f"{found[0].id} ({found[0].title}) takes a registration back, which no script does",
            code="makes-secret",
            next="Use exoscope undo.",
        )
    made = next((step for step in found if step.target.kind == "credential"), found[0])
    raise Refused(
        f"{made.id} ({made.title}): a script would have to hold or print what nobody may see, so this stage is in none",
        code="makes-secret",
        next=f"Run it with: exoscope apply PLAN --until {made.stage}; then write the scripts of the stages after it.",
    )


def filled_step(step: Step, known: Yields) -> Step | None:
    """A step with its holes filled, but those that its own reading fills; None where it has none, or one that nothing is known for.

    Raises GuardRefused when the filled script is not the planned one but for its holes.
    """
    if not missing_of(step):
        return None
    if step.request is not None:
        try:
            subject = fill_subject(step, known)
            return replace(subject, request=fill_known(step.request, found(known), own_holes(step)))
        except HoleError:
            return None
    values = {hole: value for hole, value in found(known).items() if isinstance(value, str)}
    try:
        subject, call = fill_subject(step, known), fill_call(step, known)
        made = replace(subject, script=call.script, values=fill(step.values, values))
    except HoleError:
        return None
    return replace(made, title=HOLE.sub(lambda hole: values.get(hole.group(), hole.group()), step.title))


def texts_of(known: Yields) -> dict[str, dict[str, str]]:
    """What steps yielded, less what is no text."""
    return {
        step: {name: each for name, each in given.items() if isinstance(each, str)} for step, given in known.items()
    }
