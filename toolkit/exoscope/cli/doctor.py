"""``exoscope doctor``: everything the operator needs, before it is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.printing import line, plain
from exoscope.outcome import Exit

if TYPE_CHECKING:
    from exoscope.checking.seen import DoctorAnswer
    from exoscope.model import PlanFile
    from exoscope.profile import Profile

WORDS = {"ok": "ok", "note": "note", "unknown": "UNKNOWN", "failed": "FAILED"}


@frame.command("doctor")
@click.option(
    "--for",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PLAN",
    help="Ask for exactly what this plan needs.",
)
@click.option(
    "--share",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result without any name, address or id, for a report.",
)
@frame.road_yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    plan_file: Path | None, share: Path | None, yes: bool, profile: Path | None, state: Path | None, as_json: bool
) -> None:
    """Look at your own set-up: everything the operator needs, before it is needed.

    Reads only. One line each, with its remedy: road, PowerShell and module, clocks, sign-in, tenant, cmdlets, delegating
    assignments, Entra role, Graph permissions, the organisation, the apps' credentials; and first contact: one example of
    everything that a plan decides from, compared with what is expected. Exit 1 where something fails, 6 where something could not
    be told.
    """
    from exoscope.planning.hashing import load_plan
    from exoscope.profile import load_profile

    plan = None if plan_file is None else load_plan(frame.read_file(plan_file), str(plan_file))
    if share is not None:
        frame.not_over(share, plan_file, profile)
    answer = examined(load_profile(profile, os.environ), state, plan, admin_api=yes)
    if share is not None:
        _share(answer, share)
    finish(answer, as_json=as_json)


def examined(profile: Profile, state: Path | None, plan: PlanFile | None = None, *, admin_api: bool) -> DoctorAnswer:
    """The set-up of a profile, looked at now."""
    from exoscope.checking.examining import examine
    from exoscope.checking.passes import Passes
    from exoscope.clock import SystemClock
    from exoscope.exchange.trying import look
    from exoscope.profile import state_dir

    clock = SystemClock()
    return examine(
        profile,
        clock=clock,
        passes=Passes(state_dir(state, os.environ, profile), clock),
        plan=plan,
        look=lambda: look(os.environ, lambda text: frame.passing(plain(text))),
        admin_api=admin_api,
        say=lambda text: frame.say(plain(text)),
        progress=lambda text: frame.passing(plain(text)),
    )


def finish(answer: DoctorAnswer, *, as_json: bool) -> None:
    """Print it, and end with its exit code where that is not 0."""
    if as_json:
        frame.answer(answer)
    else:
        _tell(answer)
    if answer.exit != Exit.DONE:
        frame.finish(answer.exit)


def _share(answer: DoctorAnswer, path: Path) -> None:
    import msgspec

    from exoscope.checking.sharing import shared
    from exoscope.cli.planning import write_file

    write_file(path, msgspec.json.format(msgspec.json.encode(shared(answer)), indent=1) + b"\n")
    frame.say(f"{path}: the result without names, addresses and ids.")


def _tell(answer: DoctorAnswer) -> None:
    width = max(len(each.code) for each in answer.lines)
    for each in answer.lines:
        line(f"{WORDS[each.state]:8} {each.code:{width}}  {each.said}")
        if each.remedy:
            line(f"{'':8} {'':{width}}  -> {each.remedy}")
    for met in answer.contact.met if answer.contact is not None else ():
        if met.status == "unread":
            line(f"{'':8} {met.name} was not read: {met.why}")
        for difference in met.differences:
            what = f"{met.name}.{difference.column}" if difference.column else met.name
            value = "" if difference.value is None else f": {difference.value}"
            line(f"{'':8} {what}: expected {difference.expected}, seen {difference.seen}{value}")
    counts = {state: sum(each.state == state for each in answer.lines) for state in WORDS}
    frame.say(f"{counts['ok']} ok, {counts['failed']} failed, {counts['unknown']} could not be told.")
