"""``exoscope script``: a plan as PowerShell files for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.planning import Waits, say_where, write_file
from exoscope.cli.printing import line, plain
from exoscope.outcome import BadInput, Exit

if TYPE_CHECKING:
    from exoscope.model import PlanFile


@frame.command("script", short_help="Write a plan as PowerShell files for change control.")
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN_JSON")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the files go; made where it is missing.",
)
@click.option("--stage", metavar="STAGE", help="Only this stage's files.")
@frame.profile_option
@frame.json_option
def command(plan: Path, output: Path, stage: str | None, profile: Path | None, as_json: bool) -> None:
    """Write a plan as PowerShell files that people read, approve and run, with no exoscope where they run.

    One file for each stretch of a stage that Exchange alone, or Graph alone, does; their names sort in the order in which they
    run. They run on Windows PowerShell 5.1 and PowerShell 7, in a session that you connect, and hold no secret. A file is not
    written while a value that only an earlier step gives stands in it as a hole: exit 3, and what is missing.
    """
    from exoscope.planning import load_plan
    from exoscope.scripting import bytes_of, parts_of

    file = load_plan(frame.read_file(plan), str(plan))
    waits = Waits(profile)
    parts, left = parts_of(
        file.plan, file.hash, waits.seconds, lengthen=waits.lengthen, stage=stage, graph=_graph(profile)
    )
    files = [(part.data, bytes_of(part.data)) for part in parts]
    if files:
        _make(output)
    for data, content in files:
        write_file(output / data.script, content)
    if as_json:
        frame.answer(
            {
                "plan": file.hash,
                "files": [{"file": data.script, "stage": data.stage, "part": data.part} for data, _ in files],
                "left_out": [{"file": each.script, "stage": each.stage, "why": each.why} for each in left],
            }
        )
    else:
        _print(file, [data.script for data, _ in files], output)
    for each in left:
        frame.say(f"not written: {each.script}: {plain(each.why)}.")
    if left:
        frame.say("Run what comes before with exoscope apply and resume: that run goes on with these steps by itself.")
        frame.finish(Exit.PENDING)


def _graph(profile: Path | None) -> str | None:
    """The origin of Graph that the profile names, where one is in use."""
    from exoscope.profile import find_profile, load_profile

    if find_profile(profile, os.environ) is None:
        return None
    return load_profile(profile, os.environ).endpoints.graph


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made: {error.strerror}", next="Name a folder of yours.") from None


def _print(file: PlanFile, names: list[str], output: Path) -> None:
    line(f"Plan {file.hash}")
    if not file.plan.steps:
        line("Nothing to do: the tenant is as the intent says, so there is no file.")
    for name in names:
        line(f"  {name}")
    if names:
        say_where(f"{len(names)} file(s) are in {output}. exoscope guard shows what each does.")
