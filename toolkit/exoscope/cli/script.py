"""``exoscope script``: a plan as PowerShell files for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from exoscope.cli import frame, script_reading
from exoscope.cli.planning import Waits, say_where, write_file
from exoscope.cli.printing import line, plain
from exoscope.outcome import Exit

if TYPE_CHECKING:
    from exoscope.model import Plan, PlanFile
    from exoscope.running import Export
    from exoscope.scripting import LeftOut

UNDO_PLAN = "undo-plan.json"


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
@click.option("--undo", is_flag=True, help="The files that take the plan back, and the plan of that, undo-plan.json.")
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
@click.option(
    "--check",
    "checking",
    is_flag=True,
    help="Files that ask the plan's witnesses, for exoscope verify --from-script.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="With --check: ask about N mailboxes outside the scope; else as exoscope verify does.",
)
@click.option("--all", "everything", is_flag=True, help="With --check: ask every witness about every mailbox.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    metavar="N",
    default=1,
    show_default=True,
    help="With --check: seed of the sample.",
)
@click.option(
    "--limit-refusals",
    type=click.IntRange(0),
    metavar="N",
    help="With --check: make at most N calls as the app that will be refused.",
)
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    plan: Path | None,
    output: Path,
    undo: bool,
    snapshot: Path | None,
    stage: str | None,
    reading: bool,
    intent_file: Path | None,
    checking: bool,
    sample: int | None,
    everything: bool,
    seed: int,
    limit_refusals: int | None,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Write a plan as PowerShell files that people read, approve and run, with no exoscope where they run.

    One file for each stretch of a stage that Exchange alone, or Graph alone, does; their names sort in the order in which they
    run. They run on Windows PowerShell 5.1 and PowerShell 7, in a session that you connect, and hold no secret. A file is not
    written while a value that only an earlier step gives stands in it as a hole: exit 3, and what is missing. Run what comes
    before, give its result to `exoscope verify --from-script`, and write them again: the values come from the plan's run. --undo
    takes back what that run knows or cannot rule out (without a run: all), and names every mailbox that becomes reachable again.

    --read writes files that read the whole tenant and change nothing; exoscope snapshot --from-script makes a snapshot of
    their results. They need no plan, and no profile where the tenant is in the worldwide cloud. --check writes files that
    read what the plan rests on and ask every witness: Exchange, and Graph as each app; exoscope verify --from-script proves the
    plan with their results.
    """
    seeded = click.get_current_context().get_parameter_source("seed") is not ParameterSource.DEFAULT
    if not checking and (sample is not None or everything or seeded or limit_refusals is not None):
        raise click.UsageError("--sample, --all, --seed and --limit-refusals are about --check")
    if (reading or checking) and (undo or stage is not None or snapshot is not None or (reading and checking)):
        raise click.UsageError("--read and --check stand alone: no --undo, --snapshot or --stage goes with them")
    if reading:
        if plan is not None or state is not None:
            raise click.UsageError("--read is about the tenant: no plan and no --state goes with it")
        script_reading.write_reading(output, intent_file, profile, as_json=as_json)
        return
    if intent_file is not None:
        raise click.UsageError("--for is about --read")
    if plan is None:
        raise click.UsageError("Missing argument 'PLAN_JSON'.")
    if checking:
        if state is not None:
            raise click.UsageError("--check rests on the plan alone: no --state goes with it")
        if sample is not None and everything:
            raise click.UsageError("--sample and --all exclude each other")
        script_reading.write_check(
            plan,
            output,
            script_reading.asking(sample, seed, limit_refusals, everything=everything),
            profile,
            as_json=as_json,
        )
        return
    from exoscope import snapshot as snapshots
    from exoscope.cli import changing
    from exoscope.model import Plan
    from exoscope.planning import dump_plan, load_plan
    from exoscope.running import Export, export, plan_back
    from exoscope.scripting import bytes_of

    if snapshot is not None and not undo:
        raise click.UsageError("--snapshot is about --undo")
    file = load_plan(frame.read_file(plan), str(plan))
    waits = Waits(profile)
    store = changing.store(profile, state)
    back: Plan | tuple[LeftOut, ...] | None = None
    if undo:
        beside = plan.with_name(f"{plan.stem}.snapshot.json")
        given = None if snapshot is None else snapshots.load(snapshot)
        back = plan_back(file, store, given, lambda: snapshots.load(beside), lengthen=waits.lengthen)
    if isinstance(back, Plan):
        # As its file will be read: the scripts are the same bytes whenever they are written from it.
        file = load_plan(dump_plan(back), UNDO_PLAN)
    if isinstance(back, tuple):
        written = Export(None, (), back, frozenset())
    else:
        written = export(file, store, waits.seconds, lengthen=waits.lengthen, stage=stage, graph=_graph(profile))
    files = {part.data.script: bytes_of(part.data) for part in written.parts}
    undo_plan = UNDO_PLAN if isinstance(back, Plan) and back.steps else None
    if isinstance(back, Plan):
        _say_notes(back)
    if undo_plan is not None:
        files[undo_plan] = dump_plan(file.plan)
    if files:
        script_reading.make(output)
    for name, content in files.items():
        frame.not_over(output / name, plan, snapshot)
        write_file(output / name, content)
    if as_json:
        frame.answer(_answer(file, written, undo_plan))
    else:
        _print(file, written, output, undo_plan)
    for each in written.left:
        frame.say(f"not written: {each.script}: {plain(each.why)}.")
    if written.left:
        frame.say(
            "Run what comes before, give each result to exoscope verify PLAN --from-script RESULT, and write the files again"
            f"{'' if undo else '; exoscope apply goes on with such steps by itself'}."
        )
        frame.finish(Exit.PENDING)


def _say_notes(back: Plan) -> None:
    """Which mailboxes open again, and what no result tells: on stderr, as the files say it."""
    for app in back.apps:
        for note in app.notes:
            frame.say(f"{plain(app.display_name)}: {plain(note)}")


def _answer(file: PlanFile, written: Export, undo_plan: str | None) -> dict[str, object]:
    return {
        "plan": file.hash,
        "run": written.run,
        "undo_plan": undo_plan,
        "files": [
            {
                "file": each.data.script,
                "stage": each.data.stage,
                "part": each.data.part,
                "stands": written.stand(each),
                "fills": each.fills(),
            }
            for each in written.parts
        ],
        "left_out": [{"file": each.script, "stage": each.stage, "why": each.why} for each in written.left],
    }


def _graph(profile: Path | None) -> str | None:
    """The origin of Graph that the profile names, where one is in use."""
    from exoscope.profile import find_profile, load_profile

    if find_profile(profile, os.environ) is None:
        return None
    return load_profile(profile, os.environ).endpoints.graph


def _print(file: PlanFile, written: Export, output: Path, undo_plan: str | None) -> None:
    line(f"Plan {file.hash}")
    if not file.plan.steps:
        line("Nothing to do: the tenant is as the intent says, so there is no file.")
    for each in written.parts:
        line(f"  {each.data.script}{'   (stands already)' if written.stand(each) else ''}")
        for hole, value in each.fills().items():
            line(f"    {hole} is {plain(value)}")
    if written.parts:
        say_where(f"{len(written.parts)} file(s) are in {output}. exoscope guard shows what each does.")
    if undo_plan is not None:
        say_where(
            f"{output / undo_plan} is their plan: results go to exoscope verify {undo_plan} --from-script RESULT."
        )
