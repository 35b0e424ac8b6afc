"""``exoscope show``: a plan, as it would run."""

from __future__ import annotations

from pathlib import Path

import click

from exoscope.cli import frame
from exoscope.cli.planning import Waits, print_findings, print_plan, print_refusals
from exoscope.cli.printing import line, told


@frame.command("show", short_help="Print a plan: stages, steps, needs, times, exact PowerShell.")
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN")
@frame.profile_option
@frame.json_option
def command(plan: Path, profile: Path | None, as_json: bool) -> None:
    """Print a plan: stages, steps, what each needs, when gates can open if it started now, and the exact PowerShell.

    Reads the plan, and the profile for its waits; asks nothing of the tenant. An edited plan is refused (exit 4).
    """
    from msgspec import UnsetType

    from exoscope.clock import SystemClock
    from exoscope.planning import load_plan
    from exoscope.planning.answer import shown_answer

    file = load_plan(frame.read_file(plan), str(plan))
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
