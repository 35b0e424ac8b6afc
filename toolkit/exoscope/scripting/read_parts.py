"""Which scripts read a tenant, or check a plan, and what stands in their data blocks."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from exoscope import catalog
from exoscope.model import AppPlan, Noun, Plan, PlanEntry
from exoscope.model.tenant import Cloud
from exoscope.outcome import Refused
from exoscope.powershell import holes
from exoscope.scripting.read_data import CheckedApp, ReadData
from exoscope.scripting.read_frames import COLUMNS


class Asking(Noun, frozen=True):
    """How much a check asks: ``sample`` mailboxes outside, or ``everything``; ``whole``: as the app, every mailbox of a small
    tenant. ``limit_refusals``: at most so many calls as the app that will be refused.
    """

    sample: int
    everything: bool = False
    whole: bool = True
    seed: int = 1
    limit_refusals: int | None = None


def read_parts(
    cloud: Cloud, root: str, *, tenant: str | None, groups: Iterable[str], attributes: Iterable[str]
) -> tuple[ReadData, ...]:
    """The scripts that read a tenant: Exchange, then Graph. ``tenant``: its Guid, null: whichever it is."""
    base = ReadData(
        format="exoscope/read-script@1",
        script="01-read-exchange.ps1",
        part="exchange",
        purpose="read",
        plan=None,
        tenant=None if tenant is None else tenant.lower(),
        cloud=cloud,
        graph=root,
        after=None,
        columns=(*COLUMNS, *attributes),
        groups=tuple(groups),
        resources=(),
        apps=(),
        sample=0,
        everything=False,
        whole=False,
        seed=1,
        limit_refusals=None,
    )
    return base, _graph(base, "02-read-graph.ps1")


def check_parts(
    plan: Plan, plan_hash: str, root: str, *, groups: Iterable[str], attributes: Iterable[str], asking: Asking
) -> tuple[ReadData, ...]:
    """The scripts that read what a plan rests on and put it to its witnesses: Exchange, Graph, and Graph as each app."""
    for each in plan.apps:
        if holes(each.app_id):
            raise Refused(
                f"{each.display_name} has no appId in the plan that registers it, and a script must name it",
                code="not-registered",
                next="Prove it with exoscope verify, which finds the app.",
            )
    first, _ = read_parts(plan.tenant.cloud, root, tenant=plan.tenant.id, groups=groups, attributes=attributes)
    first = replace(
        first,
        script="01-check-exchange.ps1",
        purpose="check",
        plan=plan_hash,
        apps=tuple(_checked(app, plan) for app in plan.apps if app.object_id),
        sample=asking.sample,
        everything=asking.everything,
        whole=asking.whole,
        seed=asking.seed,
        limit_refusals=asking.limit_refusals,
    )
    asked = [
        replace(
            first,
            script=f"{place:02d}-check-as-{app.app_id.lower()}.ps1",
            part="app",
            after=first.script,
            columns=(),
            groups=(),
            apps=(_named(app),),
        )
        for place, app in enumerate((each for each in first.apps if each.permissions), start=3)
    ]
    return first, _graph(first, "02-check-graph.ps1"), *asked


def _graph(exchange: ReadData, name: str) -> ReadData:
    return replace(
        exchange,
        script=name,
        part="graph",
        after=exchange.script,
        columns=(),
        groups=(),
        resources=(catalog.GRAPH, catalog.EXCHANGE),
        apps=tuple(_named(app) for app in exchange.apps),
    )


def _named(app: CheckedApp) -> CheckedApp:
    """The app alone: whom to ask about is Exchange's script to find out."""
    return replace(app, filters=(), groups=(), inside=(), outside=())


def _checked(app: AppPlan, plan: Plan) -> CheckedApp:
    entries = app.entries
    evidence = {
        each for stage in plan.stages for gate in stage.gates if gate.app_id == app.app_id for each in gate.evidence
    }
    return CheckedApp(
        app_id=app.app_id,
        object_id=app.object_id,
        name=app.display_name,
        filters=_once(each.filter for each in entries),
        groups=_once(each.group for each in entries if each.scope.kind != "administrative-unit"),
        inside=_once(
            address
            for each in entries
            for address in (*each.prove.reach, *(() if each.expected.all_but else each.expected.addresses))
        ),
        outside=_once(
            address
            for each in entries
            for address in (*each.prove.never, *(each.expected.addresses if each.expected.all_but else ()))
        ),
        everyone=any(_everyone(each) for each in entries),
        policies=bool(evidence & {"policy", "baseline"}) or any(each.mechanism == "access-policy" for each in entries),
        permissions=_once(name for each in entries for name in each.permissions if catalog.probe_for(name) is not None),
    )


def _everyone(entry: PlanEntry) -> bool:
    # Exchange lists no unit's members: of a unit that holds nearly everybody, everybody is asked about.
    return entry.scope.kind == "organization" or (entry.scope.kind == "administrative-unit" and entry.expected.all_but)


def _once(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in values if each and not holes(each)))
