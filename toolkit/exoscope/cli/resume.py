"""``exoscope resume``: go on with a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame, roads

if TYPE_CHECKING:
    from exoscope.running import Service


@frame.command("resume", short_help="Go on with a run.")
@click.argument("run", metavar="RUN")
@frame.yes_option
@frame.wait_option
@frame.until_option
@frame.only_option
@frame.all_option
@frame.unseen_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    run: str,
    yes: bool,
    wait: float | None,
    until: str | None,
    only: Service | None,
    everything: bool,
    unseen_ok: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Go on with a run: after a gate's wait, after Ctrl-C, after a lost session or a killed process.

    RUN is a run's id, a unique beginning or ending of it, or `last`. Nothing that was done is repeated; a step whose outcome is
    unknown is read first. The plan was approved when the run began: only a terminal is asked again, and not with --yes.
    """
    from exoscope import running
    from exoscope.clock import SystemClock

    desk = changing.desk(roads.profile_with_road(profile, yes=yes), state, everything=everything, unseen_ok=unseen_ok)
    if not yes and frame.interactive():
        frame.say(running.status(run, desk.store, SystemClock()).why)
        changing.ask("Go on?")
    changing.finish(running.resume(run, desk, wait=wait or 0.0, until=until, only=only), as_json=as_json, only=only)
