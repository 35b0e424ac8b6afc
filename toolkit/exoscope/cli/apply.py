"""``exoscope apply``: run a plan up to the first gate that is not open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame, roads

if TYPE_CHECKING:
    from exoscope.running import Service


@frame.command("apply", short_help="Run a plan up to the first gate that is not open.")
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN")
@click.option(
    "--hash", "expected", metavar="H", help="Run only a plan with this hash; stands for the answer to the question."
)
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
    plan: Path,
    expected: str | None,
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
    """Run a plan up to the first gate that is not open.

    Each step is journalled before and after, and read back. Without --wait the run ends at a gate (exit 3) and says when it can go
    on; `exoscope resume` goes on. Without a terminal --yes or --hash is needed; --hash says nothing of the road.
    Exit 5: stopped part-way, 4: refused.
    """
    from exoscope import running
    from exoscope.planning.hashing import load_plan

    file = load_plan(frame.read_file(plan), str(plan))
    changing.need_somebody(yes or expected is not None, "--yes or --hash")
    desk = changing.desk(roads.profile_with_road(profile, yes=yes), state, everything=everything, unseen_ok=unseen_ok)
    if not yes and expected is None:
        changing.summary(file.plan)
        changing.ask("Run it?")
    wanted = f"sha256:{expected}" if expected is not None and ":" not in expected else expected
    changing.finish(
        running.apply(file, desk, wait=wait or 0.0, until=until, only=only, expected_hash=wanted),
        as_json=as_json,
        only=only,
    )
