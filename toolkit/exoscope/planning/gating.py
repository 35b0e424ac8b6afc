"""Does a plan that applies an intent stop where it must? A plan file may have been written by hand, and hashed again."""

from __future__ import annotations

from collections.abc import Iterator

from exoscope.catalog import held_as
from exoscope.model import Gate, Plan, Step


def ungated(plan: Plan) -> Iterator[str]:
    """What runs without the gates it must have, in words; nothing where every one is there.

    A consent on mailboxes is removed only behind a gate that saw the narrower grant, and is made only behind one that saw its
    policy; what is made or removed is itself waited for and seen before an app is done. A migration removes a policy only behind
    a gate that waited for older tokens to end. A consent that an onboarding makes beside a scope rests on nothing: the plan says
    that it leaves the app unscoped.
    """
    if plan.purpose not in ("scope", "migrate", "onboard"):
        return
    stages = [stage.id for stage in plan.stages]
    for step in plan.steps:
        if step.app_id is None or not _on_mailboxes(step):
            continue
        here = stages.index(step.stage) if step.stage in stages else -1
        own = {place: gate for place, stage in enumerate(plan.stages) for gate in stage.gates if _of(gate, step)}
        if plan.purpose == "migrate" and step.target.kind == "access_policy" and step.after is None:
            if not any(_ended(gate) for place, gate in own.items() if place < here):
                yield f"{step.id} ({step.title}) comes before older tokens have ended"
            continue
        if not _seen(own.get(here)):
            yield f"{step.id} ({step.title}) is followed by no gate that waits for caches and asks a witness"
        before = [gate for place, gate in own.items() if place < here and _seen(gate)]
        if step.target.kind != "consent":
            continue
        if step.after is None and not before:
            yield f"{step.id} ({step.title}) comes before anything was seen that would replace it"
        if step.after is not None and not _beside(plan, step) and not any("policy" in gate.evidence for gate in before):
            yield f"{step.id} ({step.title}) comes before its access policy was tested"


def _beside(plan: Plan, step: Step) -> bool:
    """Does the plan say that this consent leaves the app unscoped?"""
    name = (step.after or {}).get("permission")
    return plan.purpose == "onboard" and any(
        app.app_id == step.app_id
        and not app.scoped
        and any(entry.keeps_consent and name in entry.permissions for entry in app.entries)
        for app in plan.apps
    )


def _of(gate: Gate, step: Step) -> bool:
    return gate.app_id.casefold() == (step.app_id or "").casefold()


def _ended(gate: Gate) -> bool:
    return "cache" in gate.waits and any(kind != "cache" for kind in gate.waits)


def _seen(gate: Gate | None) -> bool:
    return gate is not None and "cache" in gate.waits and bool(gate.evidence)


def _on_mailboxes(step: Step) -> bool:
    """Does the step change what the app reaches, by itself?"""
    if step.target.kind != "consent":
        return step.target.kind in ("role_assignment", "management_scope", "group_member", "access_policy")
    key = step.target.key
    held = held_as(key["resource"], key["app_role_id"], ((step.before or step.after) or {}).get("permission", ""))
    return held is None or held.about in ("mailbox", "protocol")
