"""``exoscope show``: a plan, as it would run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.planning import Waits, print_findings, print_plan, print_refusals
from exoscope.cli.printing import line, told

if TYPE_CHECKING:
    from exoscope.model import PlanFile


@frame.command("show", short_help="Print a plan: stages, steps, needs, times, exact PowerShell.")
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN")
@click.option(
    "--for",
    "reader",
    type=click.Choice(["entra"]),
    help="Print only the steps in Entra: portal clicks and Graph calls.",
)
@frame.profile_option
@frame.json_option
def command(plan: Path, reader: str | None, profile: Path | None, as_json: bool) -> None:
    """Print a plan: stages, steps, what each needs, when gates can open if it started now, and the exact PowerShell.

    --for entra prints what is to be done in Entra, for whoever may change things there, with what must be so before each step.
    Reads the plan, and the profile for its waits; asks nothing of the tenant. An edited plan is refused (exit 4).
    """
    from msgspec import UnsetType

    from exoscope.clock import SystemClock
    from exoscope.planning import load_plan
    from exoscope.planning.answer import shown_answer

    file = load_plan(frame.read_file(plan), str(plan))
    if reader is not None:
        _for_entra(file, as_json=as_json)
        return
    waits = Waits(profile)
    now = SystemClock().now()
    if as_json:
        frame.answer(shown_answer(file, now, waits.seconds, lengthen=waits.lengthen))
        return
    print_plan(file.plan, file.hash, waits, start=now)
    for app in file.plan.apps:
        line()
        verdict = "scoped" if app.scoped else f"NOT scoped ({', '.join(app.not_scoped_because)})"
        line(f"{app.display_name} ({app.app_id}): {verdict}")
        for name, reach in app.permissions.items():
            line(f"  {name}: reaches {told(reach.before)} before, {told(reach.after)} after")
            for word, these in (("gained", reach.gained), ("lost", reach.lost), ("unknown", reach.unknown)):
                if these.addresses or these.all_but:
                    line(f"    {word}: {told(these)}")
        for note in app.notes:
            line(f"  note: {note}")
    print_findings(() if isinstance(file.plan.findings, UnsetType) else file.plan.findings)
    print_refusals(file.plan.refusals)


def _for_entra(file: PlanFile, *, as_json: bool) -> None:
    from exoscope.planning.by_hand import for_entra

    found = for_entra(file)
    if as_json:
        frame.answer(found)
        return
    line(f"Plan {found.hash}")
    line(f"Tenant {found.tenant.domain} ({found.tenant.id}); steps in Entra: {len(found.steps)}")
    for step in found.steps:
        line()
        line(f"{step.id} [{step.stage}] {step.display_name or 'the organisation'}: {step.title}")
        line(f"  first: {step.not_before}")
        line(f"  needs: {', '.join(step.needs)} (by Graph), or {step.role} (by the portal)")
        for click_path in step.portal:
            line(f"  portal: {click_path}")
        for call in step.calls:
            line(f"  Graph: {call.method} /v1.0{call.path}")
            if call.body is not None:
                line(f"         {json.dumps(call.body, ensure_ascii=False)}")
        for hole, meaning in step.holes.items():
            line(f"         {hole}: {meaning}")
