"""``exoscope script``: a plan as PowerShell files for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame, script_reading
from exoscope.cli.planning import Waits, say_where, write_file
from exoscope.cli.printing import line, plain
from exoscope.outcome import Exit

if TYPE_CHECKING:
    from exoscope.model import PlanFile

UNDO = "undo-"


@frame.command("script", short_help="Write a plan as PowerShell files for change control.")
@click.argument("plan", type=click.Path(path_type=Path), metavar="PLAN_JSON", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the files go; made where it is missing.",
)
@click.option("--undo", is_flag=True, help="The files that take the plan back, once all of its own files ran.")
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --undo: the snapshot that the plan was made from; else the one that exoscope plan wrote beside it.",
)
@click.option("--stage", metavar="STAGE", help="Only this stage's files.")
@click.option(
    "--read", "reading", is_flag=True, help="Files that read the tenant, for exoscope snapshot --from-script; no plan."
)
@click.option(
    "--for",
    "intent_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --read: read what this scope.yaml needs, too.",
)
@frame.profile_option
@frame.json_option
def command(
    plan: Path | None,
    output: Path,
    undo: bool,
    snapshot: Path | None,
    stage: str | None,
    reading: bool,
    intent_file: Path | None,
    profile: Path | None,
    as_json: bool,
) -> None:
    """Write a plan as PowerShell files that people read, approve and run, with no exoscope where they run.

    One file for each stretch of a stage that Exchange alone, or Graph alone, does; their names sort in the order in which they
    run. They run on Windows PowerShell 5.1 and PowerShell 7, in a session that you connect, and hold no secret. A file is not
    written while a value that only an earlier step gives stands in it as a hole: exit 3, and what is missing. --undo names
    every mailbox that becomes reachable again.

    --read writes files that read the whole tenant and change nothing; exoscope snapshot --from-script makes a snapshot of
    their results. They need no plan, and no profile where the tenant is in the worldwide cloud.
    """
    if reading:
        if plan is not None or undo or stage is not None or snapshot is not None:
            raise click.UsageError("--read is about the tenant: no plan, no --undo, --snapshot or --stage goes with it")
        script_reading.write_reading(output, intent_file, profile, as_json=as_json)
        return
    if intent_file is not None:
        raise click.UsageError("--for is about --read")
    if plan is None:
        raise click.UsageError("Missing argument 'PLAN_JSON'.")
    from exoscope.planning import load_plan
    from exoscope.scripting import LeftOut, Part, bytes_of, only_known_by_running, parts_of

    if snapshot is not None and not undo:
        raise click.UsageError("--snapshot is about --undo")
    file = load_plan(frame.read_file(plan), str(plan))
    waits = Waits(profile)
    parts: tuple[Part, ...] = ()
    missing = only_known_by_running(file.plan) if undo else ()
    if missing:
        why = "the way back of {} needs what only running it gives: take it back with exoscope undo"
        left = tuple(LeftOut(f"{UNDO}{step.id}", step.stage, why.format(step.id)) for step in missing)
    else:
        file = _back(file, plan, snapshot) if undo else file
        parts, left = parts_of(
            file.plan,
            file.hash,
            waits.seconds,
            lengthen=waits.lengthen,
            stage=stage,
            graph=_graph(profile),
            prefix=UNDO if undo else "",
        )
    files = [(part.data, bytes_of(part.data)) for part in parts]
    if files:
        script_reading.make(output)
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
        if not undo:
            frame.say("Run what comes before with exoscope apply: that run goes on with these steps by itself.")
        frame.finish(Exit.PENDING)


def _back(file: PlanFile, path: Path, snapshot: Path | None) -> PlanFile:
    """The plan that takes this one back. Says on stderr which mailboxes open again."""
    from exoscope import snapshot as snapshots
    from exoscope.model import PlanFile
    from exoscope.planning import plan_hash
    from exoscope.scripting import undo_of

    back = undo_of(file.plan, snapshots.load(snapshot or path.with_name(f"{path.stem}.snapshot.json")))
    for app in back.apps:
        for note in app.notes:
            frame.say(f"{plain(app.display_name)}: {plain(note)}")
    return PlanFile("exoscope/plan@1", plan_hash(back), back)


def _graph(profile: Path | None) -> str | None:
    """The origin of Graph that the profile names, where one is in use."""
    from exoscope.profile import find_profile, load_profile

    if find_profile(profile, os.environ) is None:
        return None
    return load_profile(profile, os.environ).endpoints.graph


def _print(file: PlanFile, names: list[str], output: Path) -> None:
    line(f"Plan {file.hash}")
    if not file.plan.steps:
        line("Nothing to do: the tenant is as the intent says, so there is no file.")
    for name in names:
        line(f"  {name}")
    if names:
        say_where(f"{len(names)} file(s) are in {output}. exoscope guard shows what each does.")
