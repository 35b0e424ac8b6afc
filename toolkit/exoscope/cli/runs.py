"""``exoscope runs``: list the runs."""

from __future__ import annotations

from pathlib import Path

from exoscope.cli import changing, frame
from exoscope.cli.printing import line


@frame.command("runs", short_help="List the runs.")
@frame.profile_option
@frame.state_option
@frame.json_option
def command(profile: Path | None, state: Path | None, as_json: bool) -> None:
    """List the runs, oldest first, and where each stands. Reads files only."""
    from exoscope import running
    from exoscope.clock import SystemClock

    store = changing.store(profile, state)
    listed = running.runs(store, SystemClock())
    if as_json:
        frame.answer({"runs": listed})
        return
    for each in listed:
        ready = f", ready at {each.ready_at}" if each.ready_at else ""
        line(
            f"{each.run}  {each.purpose or 'unreadable'}  {each.outcome or 'unknown'}  {each.done}/{each.steps}{ready}"
        )
        line(f"    {each.why}")
    if not listed:
        frame.say(f"There are no runs in {store.runs}.")
