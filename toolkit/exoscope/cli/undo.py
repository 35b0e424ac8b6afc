"""``exoscope undo``: take a run back, in the safe order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame, roads
from exoscope.cli.printing import plain, told

if TYPE_CHECKING:
    from exoscope.model import Plan
    from exoscope.running import Service


@frame.command("undo", short_help="Take a run back, in the safe order.")
@click.argument("run", metavar="RUN")
@click.option("--app", metavar="APP", help="Only this app: appId or display name.")
@click.option("--to", metavar="STAGE", help="Keep this stage and what came before it.")
@frame.yes_option
@frame.wait_option
@frame.only_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    run: str,
    app: str | None,
    to: str | None,
    yes: bool,
    wait: float | None,
    only: Service | None,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Take a run back, in the safe order, as a run of its own that `exoscope resume` continues.

    RUN is a run's id, a unique beginning or ending of it, or `last`. States the reach now and after, names each mailbox that
    becomes reachable again, and asks. Refuses (exit 4) where somebody else changed an object since.
    """
    from exoscope import running

    changing.need_somebody(yes, "--yes")
    desk = changing.desk(roads.profile_with_road(profile, yes=yes), state, back=True)

    def approve(plan: Plan) -> None:
        _opens(plan)
        if not yes:
            changing.steps(plan)
            changing.ask("Take it back?")

    changing.finish(
        running.undo(run, desk, approve=approve, app=app, to=to, wait=wait or 0.0, only=only),
        as_json=as_json,
        only=only,
    )


def _opens(plan: Plan) -> None:
    """Reach now and after, and the plan's notes: they name every mailbox that becomes reachable again."""
    for app in plan.apps:
        for permission, reach in app.permissions.items():
            name = f"{plain(app.display_name)}, {permission}"
            frame.say(f"{name}: reaches {told(reach.before)} now, {told(reach.after)} after")
        for note in app.notes:
            frame.say(f"  {plain(note)}")
