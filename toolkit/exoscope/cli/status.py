"""``exoscope status``: what a run waits for, and how long."""

from __future__ import annotations

from pathlib import Path

import click

from exoscope.cli import changing, frame


@frame.command("status", short_help="Say what a run waits for, and how long.")
@click.argument("run", metavar="RUN")
@frame.profile_option
@frame.state_option
@frame.json_option
def command(run: str, profile: Path | None, state: Path | None, as_json: bool) -> None:
    """Say what a run waits for, and how long. Reads files only.

    RUN is a run's id, a unique beginning or ending of it, or `last`. The exit code is the one that apply or resume would have ended
    with: 0 done, 3 waiting, 5 stopped part-way.
    """
    from exoscope import running
    from exoscope.clock import SystemClock

    changing.finish(running.status(run, changing.store(profile, state), SystemClock()), as_json=as_json)
