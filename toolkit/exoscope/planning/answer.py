"""The answer of ``exoscope plan --json``: its shape is a contract that others script against."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from msgspec import UNSET, UnsetType

from exoscope.clock import iso
from exoscope.model import Addresses, AppPlan, Noun, Plan, PlanFile, Request, Step, Tenant, Unset, WaitKind
from exoscope.outcome import Finding, Refusal
from exoscope.planning.timing import WAITS, schedule
from exoscope.powershell import holes


class PermissionAnswer(Noun, frozen=True):
    """Reach of one permission before and after: primary addresses, sorted without case."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    unknown: tuple[str, ...]


class AppAnswer(Noun, frozen=True):
    """What the plan comes to for one app."""

    app_id: str
    scoped: bool
    not_scoped_because: tuple[str, ...]
    permissions: dict[str, PermissionAnswer]
    display_name: str
    tenant_wide: tuple[str, ...]
    notes: tuple[str, ...]


class StageAnswer(Noun, frozen=True):
    """A stage with the longest wait of its gates and the earliest time, in seconds after apply's start, it can be through."""

    id: str
    waits: tuple[WaitKind, ...]
    ready_after: float
    earliest: float
    title: str


class StepAnswer(Noun, frozen=True):
    """A step as a reader needs it: exactly one of ``script`` and ``request`` is set. ``holes`` says what each hole in them
    will be."""

    id: str
    stage: str
    title: str
    kind: Literal["exchange", "graph"]
    needs: tuple[str, ...]
    script: str | None
    request: Request | None
    holes: dict[str, str]


class PlanAnswer(Noun, frozen=True):
    """The whole answer. ``hash`` is null when every app is refused: there is no plan then, and no file."""

    hash: str | None
    apps: tuple[AppAnswer, ...]
    stages: tuple[StageAnswer, ...]
    steps: tuple[StepAnswer, ...]
    refusals: tuple[Refusal, ...]


def plan_answer(
    plan: Plan,
    hash: str,
    mailboxes: tuple[str, ...],
    waits: Mapping[WaitKind, float] = WAITS,
    *,
    lengthen: bool = True,
) -> PlanAnswer:
    """The answer for a plan. ``mailboxes`` are all primary addresses of the tenant, which "all but" is taken from."""
    times = {time.stage: time for time in schedule(plan, waits, lengthen=lengthen)}
    return PlanAnswer(
        hash=hash,
        apps=tuple(_app(app, mailboxes) for app in plan.apps),
        stages=tuple(
            StageAnswer(
                id=stage.id,
                waits=tuple(dict.fromkeys(kind for gate in stage.gates for kind in gate.waits)),
                ready_after=times[stage.id].ready_after,
                earliest=times[stage.id].earliest,
                title=stage.title,
            )
            for stage in plan.stages
        ),
        steps=tuple(step_answer(step) for step in plan.steps),
        refusals=plan.refusals,
    )


class MigrateAnswer(Noun, frozen=True):
    """``exoscope migrate --json``: as of ``plan``, and what an admin should know beside it."""

    hash: str | None
    apps: tuple[AppAnswer, ...]
    stages: tuple[StageAnswer, ...]
    steps: tuple[StepAnswer, ...]
    refusals: tuple[Refusal, ...]
    findings: tuple[Finding, ...]


def migrate_answer(
    plan: Plan,
    hash: str,
    mailboxes: tuple[str, ...],
    waits: Mapping[WaitKind, float] = WAITS,
    *,
    lengthen: bool = True,
) -> MigrateAnswer:
    """The answer for a migration's plan; see :func:`plan_answer`."""
    of_plan = plan_answer(plan, hash, mailboxes, waits, lengthen=lengthen)
    found = () if isinstance(plan.findings, UnsetType) else plan.findings
    return MigrateAnswer(of_plan.hash, of_plan.apps, of_plan.stages, of_plan.steps, of_plan.refusals, found)


def refused_migration(refusals: tuple[Refusal, ...]) -> MigrateAnswer:
    """The answer where every app is refused."""
    return MigrateAnswer(None, (), (), (), refusals, ())


def refused_answer(refusals: tuple[Refusal, ...]) -> PlanAnswer:
    """The answer where every app is refused."""
    return PlanAnswer(None, (), (), (), refusals)


def step_answer(step: Step) -> StepAnswer:
    """One step of the answer."""
    told = holes_told(step)
    return StepAnswer(step.id, step.stage, step.title, step.kind, step.needs, step.script, step.request, told)


def holes_told(step: Step) -> dict[str, str]:
    """What each hole of a step's call will be filled with, by the hole as it stands there, in words."""
    request = step.request
    sent = [step.script or "", *(() if request is None else (request.path, request.body or {}))]
    return {hole: _hole_told(step, *hole.strip("<>").split(".")) for hole in holes(sent)}


_OWN = {
    "name": "exoscope and the id of the run that makes it",
    "end": "the time of making and the credential's lifetime",
    "key_credentials": "the app's certificates, read just before, with the one that is made or without the one that goes",
}


def _hole_told(step: Step, source: str, name: str) -> str:
    if source != step.id:
        return f"the {name.replace('_', ' ')} that {source} reads back"
    if name in _OWN:
        return _OWN[name]
    resource, role = step.target.key.get("resource", ""), step.target.key.get("app_role_id", "")
    if name == "resource_id":
        return (
            f"the object id that the service principal of the resource {resource} has in this tenant, read just before"
        )
    change = "without" if step.after is None else "with"
    return (
        f"what the registration requests, read just before, {change} the application permission {role} on {resource}; "
        "every other entry, delegated ones too, as it is then"
    )


def addresses_of(these: Addresses, mailboxes: tuple[str, ...]) -> tuple[str, ...]:
    """A plan's set as a list of addresses."""
    if not these.all_but:
        return these.addresses
    out = {address.casefold() for address in these.addresses}
    return tuple(address for address in mailboxes if address.casefold() not in out)


def _app(app: AppPlan, mailboxes: tuple[str, ...]) -> AppAnswer:
    return AppAnswer(
        app_id=app.app_id,
        scoped=app.scoped,
        not_scoped_because=app.not_scoped_because,
        permissions={
            name: PermissionAnswer(
                *(addresses_of(getattr(reach, part), mailboxes) for part in PermissionAnswer.__struct_fields__)
            )
            for name, reach in app.permissions.items()
        },
        display_name=app.display_name,
        tenant_wide=app.tenant_wide,
        notes=app.notes,
    )


class ShownStage(Noun, frozen=True):
    """A stage of ``show --json``: as in ``plan --json``, with the clock time at which its gate can open at the earliest."""

    id: str
    title: str
    waits: tuple[WaitKind, ...]
    ready_after: float
    earliest: float
    ready_at: str


class ShownAnswer(Noun, frozen=True):
    """``exoscope show --json``. Reach stands as the plan has it: a list, or all mailboxes but a list."""

    hash: str
    purpose: str
    tenant: Tenant
    started_at: str
    apps: tuple[AppPlan, ...]
    stages: tuple[ShownStage, ...]
    steps: tuple[StepAnswer, ...]
    refusals: tuple[Refusal, ...]
    findings: tuple[Finding, ...] | Unset = UNSET


def shown_answer(
    file: PlanFile, start: datetime, waits: Mapping[WaitKind, float] = WAITS, *, lengthen: bool = True
) -> ShownAnswer:
    """A plan file as ``show`` answers it, if it started at ``start``."""
    plan = file.plan
    times = {time.stage: time for time in schedule(plan, waits, lengthen=lengthen)}
    stages = tuple(
        ShownStage(
            id=stage.id,
            title=stage.title,
            waits=tuple(dict.fromkeys(kind for gate in stage.gates for kind in gate.waits)),
            ready_after=times[stage.id].ready_after,
            earliest=times[stage.id].earliest,
            ready_at=iso(start + timedelta(seconds=times[stage.id].earliest)),
        )
        for stage in plan.stages
    )
    steps = tuple(step_answer(step) for step in plan.steps)
    return ShownAnswer(
        file.hash, plan.purpose, plan.tenant, iso(start), plan.apps, stages, steps, plan.refusals, plan.findings
    )
