"""``exoscope rehearse``: a plan on the twin of its tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.printing import line, plain
from exoscope.outcome import verdict_exit

if TYPE_CHECKING:
    from exoscope.rehearsing.rehearse import Rehearsal


@frame.command("rehearse", short_help="Apply a plan to the twin of its tenant, watch every moment, and take it back.")
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN_JSON")
@click.option(
    "--snapshot",
    "snapshot_file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The tenant: the snapshot that the plan was made from, or a later one.",
)
@frame.json_option
def command(plan: Path, snapshot_file: Path, as_json: bool) -> None:
    """Apply a plan to the twin of its tenant, watch every moment, and take it back. Talks to this machine only.

    The snapshot comes to life as a twin, the plan is applied to it over PSRP at accelerated time and undone. Whatever an app of
    the plan could have been answered at any moment, by the states that the service may hold and the tokens that may still act, is
    held against the reach before and the intent. Exit 0: proven, 1: violated, 6: not everything could be seen.
    """
    from exoscope import snapshot
    from exoscope.clock import SystemClock
    from exoscope.planning import load_plan
    from exoscope.rehearsing.rehearse import rehearse

    file = load_plan(frame.read_file(plan), str(plan))
    answer = rehearse(file, snapshot.load(snapshot_file), SystemClock(), lambda text: frame.say(plain(text)))
    if as_json:
        frame.answer(answer)
    else:
        _print(answer)
    ending = verdict_exit(answer.verdict, accept_configured=False)
    if ending:
        frame.finish(ending)


def _print(answer: Rehearsal, limit: int = 20) -> None:
    line(f"Verdict: {answer.verdict}")
    line(
        f"{answer.steps} steps, {answer.moments} moments, each for every mailbox; "
        f"the twin itself was asked {answer.decisions} times"
    )
    line("Taken back: every app reaches what it reached before." if answer.undone else "NOT taken back.")
    for word, found in (("Reachable that may not be", answer.gained), ("Lost that must stay", answer.lost)):
        for each in found[:limit]:
            line(f"  {word}: {each.mailbox} ({each.app_id}, {each.permission}), after: {plain(each.after)}")
        if len(found) > limit:
            line(f"  and {len(found) - limit} more (--json has all)")
    for text in answer.why[:limit]:
        line(f"  {plain(text)}")
