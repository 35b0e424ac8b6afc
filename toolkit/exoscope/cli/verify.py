"""``exoscope verify``: prove a plan or an intent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from exoscope.cli import frame, proofs, roads, script_reading
from exoscope.cli.planning import Waits
from exoscope.cli.printing import line, plain
from exoscope.outcome import BadInput, verdict_exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exoscope.checking import Subject, Verification
    from exoscope.proving import Options


@frame.command("verify", short_help="Prove a plan or an intent with Exchange's answers and Graph calls as the app.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[PLAN_OR_SCOPE] [RESULT]...")
@click.option(
    "--from-script",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="RESULT",
    help="Take results of scripts, and open no connection: of exoscope script --check, all together, to prove the plan; or one of "
    "a script that changed something, into the plan's run, with which resume then goes on.",
)
@click.option(
    "--snapshot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --from-script, where it begins the run: the snapshot that the plan was made from; else the one beside the plan.",
)
@click.option(
    "--stage",
    metavar="STAGE",
    help="Ask only what the gate at the end of this stage of the plan needs, as resume does. Exit 0 where it opens.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Ask about N mailboxes outside the scope; else about all in a small tenant, 300 in a larger one.",
)
@click.option("--all", "everything", is_flag=True, help="Ask every witness about every mailbox.")
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=1,
    show_default=True,
    help="Seed of the sample: the same one asks the same mailboxes.",
)
@click.option(
    "--limit-refusals",
    type=click.IntRange(0),
    metavar="N",
    help="Make at most N calls as the app that will be refused.",
)
@click.option(
    "--probe-send",
    is_flag=True,
    help="For Mail.Send, post a message without recipients as the app; it cannot be delivered.",
)
@click.option(
    "--temporary-credential",
    "temporary",
    is_flag=True,
    help="For an app of this tenant of which the profile has no credential: add a certificate for one hour, ask Graph with it, and "
    "remove it whatever comes of that. It needs Application.ReadWrite.All, and the answer has a note for the security team.",
)
@click.option("--accept", type=click.Choice(["configured"]), help="Count a verdict of configured as success (exit 0).")
@click.option(
    "--evidence",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page for an auditor, and its JSON beside it.",
)
@click.option("--counts", is_flag=True, help="Leave mailbox addresses out of the evidence.")
@frame.wait_option
@roads.parallel_option
@frame.road_yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    files: tuple[Path, ...],
    from_script: tuple[Path, ...],
    snapshot: Path | None,
    stage: str | None,
    sample: int | None,
    everything: bool,
    seed: int,
    limit_refusals: int | None,
    probe_send: bool,
    temporary: bool,
    accept: str | None,
    evidence: Path | None,
    counts: bool,
    wait: float | None,
    parallel: int | None,
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Prove a plan or an intent with Exchange's answers and Graph calls as the app. Changes nothing, but for
    --temporary-credential.

    The tenant is read anew. Exit 0: proven (or configured, accepted), 1: violated, 3: pending until ready_at, 6: unknown or
    only configured. --from-script needs no connection. Of the results of a check it proves the plan, as it was when the scripts
    ran; whom they asked about was said when they were written. The result of a change proves nothing yet: what the script sent
    and saw is noted in the run of its plan, which is begun where there is none. `exoscope resume` settles each such step by
    reading the tenant; `exoscope script` writes the next files with what the script saw. --stage tells what the gate at the end of
    a stage needs to see: exit 0 where it opens (proven, or configured).
    """
    proving = (sample, limit_refusals, wait, parallel)
    seeded = click.get_current_context().get_parameter_source("seed") is not ParameterSource.DEFAULT
    if from_script and (
        everything or probe_send or temporary or seeded or yes or any(each is not None for each in proving)
    ):
        raise click.UsageError("--from-script asks nobody, so no option of asking goes with it")
    subject, results, checked = _sorted(files, from_script)
    if from_script and not checked:
        if counts or accept or stage or evidence is not None:
            raise click.UsageError("the result of a change proves nothing yet, so no option of the proof goes with it")
        _take(results[0], subject, snapshot, profile, state, as_json=as_json)
        return
    if snapshot is not None:
        raise click.UsageError("--snapshot is about --from-script with the result of a change")
    if subject is None:
        raise click.UsageError("Missing argument 'PLAN_OR_SCOPE'.")
    if sample is not None and everything:
        raise click.UsageError("--sample and --all exclude each other")
    if counts and evidence is None:
        raise click.UsageError("--counts is about --evidence")
    meant = _subject(subject)
    if stage is not None:
        if counts or accept or temporary or wait is not None or evidence is not None:
            raise click.UsageError(
                "--stage asks one gate: no --accept, --evidence, --counts, --temporary-credential or --wait goes with it"
            )
        options = _options(seed, sample, limit_refusals, everything=everything, send=probe_send)
        _stage(meant, stage, results, options, profile, state, yes=yes, parallel=parallel or 1, as_json=as_json)
        return
    if evidence is not None:
        for each in (subject, *results):
            _check_place(evidence, each)
    if checked and temporary:
        raise click.UsageError("results of scripts open no connection, so --temporary-credential does not go with them")
    if checked:
        done = _recorded(meant, results, profile, state)
    else:
        options = _options(seed, sample, limit_refusals, everything=everything, send=probe_send)
        done = _live(meant, options, wait or 0.0, profile, state, yes=yes, parallel=parallel or 1, lend=temporary)
    if evidence is not None:
        _write(done, evidence, counts=counts)
    if as_json:
        frame.answer(done.proof)
    else:
        proofs.print_proof(done.proof)
    ending = verdict_exit(done.proof.verdict, accept_configured=accept == "configured")
    if ending:
        frame.finish(ending)


def _options(seed: int, sample: int | None, limit_refusals: int | None, *, everything: bool, send: bool) -> Options:
    from exoscope.proving import Options

    return Options(seed=seed, sample=sample, everything=everything, limit_refusals=limit_refusals, send=send)


def _stage(
    meant: Subject,
    stage: str,
    results: Sequence[Path],
    options: Options,
    profile: Path | None,
    state: Path | None,
    *,
    yes: bool,
    parallel: int,
    as_json: bool,
) -> None:
    """The evidence of one gate, over a connection or over results of scripts."""
    from exoscope.checking import verify_stage, verify_stage_recorded
    from exoscope.clock import SystemClock
    from exoscope.model import PlanFile
    from exoscope.profile import state_dir
    from exoscope.reading import Connection
    from exoscope.running import Store
    from exoscope.running.handing import lent

    if not isinstance(meant, PlanFile):
        raise BadInput("--stage is about a stage of a plan", next="Name the plan.")

    def progress(text: str) -> None:
        frame.passing(plain(text))

    waits, clock = Waits(profile), SystemClock()
    if results:
        used = script_reading.profile_in_use(profile)
        answer = verify_stage_recorded(
            meant,
            stage,
            script_reading.take_readings(results, profile),
            Store(state_dir(state, os.environ, used)),
            waits=waits.seconds,
            lengthen=waits.lengthen,
            now=clock.now(),
            progress=progress,
        )
    else:
        loaded = roads.profile_with_road(profile, yes=yes)
        store = Store(state_dir(state, os.environ, loaded))
        with Connection(
            lent(loaded, store.state), clock, lambda text: frame.say(plain(text)), parallel=parallel
        ) as connection:
            answer = verify_stage(
                meant,
                stage,
                connection,
                store,
                options=options,
                waits=waits.seconds,
                lengthen=waits.lengthen,
                progress=progress,
            )
    if as_json:
        frame.answer(answer)
    else:
        proofs.print_stage(answer)
    ending = verdict_exit(answer.verdict, accept_configured=True)
    if ending:
        frame.finish(ending)


def _live(
    meant: Subject,
    options: Options,
    wait: float,
    profile: Path | None,
    state: Path | None,
    *,
    yes: bool,
    parallel: int,
    lend: bool,
) -> Verification:
    """Over a connection, now. ``lend``: apps without a credential get one for the proof."""
    from exoscope.checking import verify
    from exoscope.checking.temporary import TemporaryCredentials
    from exoscope.clock import SystemClock
    from exoscope.profile import state_dir
    from exoscope.reading import Connection
    from exoscope.running import Store
    from exoscope.running.handing import lent
    from exoscope.running.tenancy import desk_for

    loaded = roads.profile_with_road(profile, yes=yes)
    clock = SystemClock()
    store = Store(state_dir(state, os.environ, loaded))
    desk = desk_for(loaded, store, clock=clock, progress=lambda event: None)
    with Connection(
        lent(loaded, store.state), clock, lambda text: frame.say(plain(text)), parallel=parallel
    ) as connection:
        return verify(
            meant,
            connection,
            store,
            options=options,
            waits=desk.waits,
            lengthen=desk.lengthen,
            operator=desk.operator,
            clock=clock,
            wait=wait,
            lend=TemporaryCredentials(connection, store, clock, lambda text: frame.say(plain(text))) if lend else None,
            say=lambda text: frame.say(plain(text)),
            progress=lambda text: frame.passing(plain(text)),
        )


def _recorded(meant: Subject, results: Sequence[Path], profile: Path | None, state: Path | None) -> Verification:
    """Over what scripts noted, as it was then."""
    from exoscope.checking import verify_recorded
    from exoscope.clock import SystemClock, iso
    from exoscope.model import PlanFile
    from exoscope.profile import state_dir
    from exoscope.running import Store

    if not isinstance(meant, PlanFile):
        raise BadInput(
            "results of exoscope script --check prove a plan", next="Name the plan that they were written from."
        )
    waits, now = Waits(profile), SystemClock().now()
    done = verify_recorded(
        meant,
        script_reading.take_readings(results, profile),
        Store(state_dir(state, os.environ, script_reading.profile_in_use(profile))),
        waits=waits.seconds,
        lengthen=waits.lengthen,
        operator="whoever ran the scripts",
        now=now,
        progress=lambda text: frame.passing(plain(text)),
    )
    frame.say(f"As the scripts saw it, from {iso(done.started)} to {iso(done.finished)}.")
    if done.proof.ready_at is not None and done.proof.ready_at <= iso(now):
        frame.say("What it waits for is over by now: run the files of exoscope script --check again.")
    return done


def _sorted(files: Sequence[Path], from_script: Sequence[Path]) -> tuple[Path | None, tuple[Path, ...], bool]:
    """(the plan or intent, results of scripts, do these read only?), told apart by what is in the files."""
    from exoscope.scripting import is_reading

    results, others = list(from_script), list(files)
    if from_script:
        named = [each for each in files if b"exoscope/script-re" in script_reading.beginning(each)]
        results, others = [*from_script, *named], [each for each in files if each not in named]
    if len(others) > 1:
        raise click.UsageError(f"Got unexpected extra argument ({others[1]})")
    reading = {is_reading(script_reading.beginning(each)) for each in results}
    if len(reading) > 1 or (reading == {False} and len(results) > 1):
        raise click.UsageError("the result of a script that changes something is taken alone, one at a time")
    return (others[0] if others else None), tuple(results), reading == {True}


def _take(
    path: Path, plan: Path | None, snapshot: Path | None, profile: Path | None, state: Path | None, *, as_json: bool
) -> None:
    """A script's result into the run of its plan."""
    from exoscope import snapshot as snapshots
    from exoscope.cli import changing
    from exoscope.planning.hashing import load_plan
    from exoscope.running import take_result
    from exoscope.scripting import load_result

    result = load_result(frame.read_file(path), str(path))
    file = None if plan is None else load_plan(frame.read_file(plan), str(plan))
    beside = None if plan is None else plan.with_name(f"{plan.stem}.snapshot.json")
    named = snapshot or (beside if beside is not None and beside.exists() else None)
    tenant = None if named is None else lambda: snapshots.load(named)
    answer = take_result(result, changing.desk_of_scripts(profile, state), file, tenant)
    if as_json:
        frame.answer(answer)
    else:
        line(f"Run {answer.run}: took in {plain(result.script)}.")
        line(answer.why)
    frame.say(f"Go on with: exoscope resume {answer.run}, or write the next files with exoscope script.")


def _subject(path: Path) -> Subject:
    """A plan (JSON) or an intent (YAML), told apart by what is in the file."""
    data = frame.read_file(path)
    if data.lstrip().startswith(b"{"):
        from exoscope.planning.hashing import load_plan

        return load_plan(data, str(path))
    from exoscope.intent import load_intent

    return load_intent(path)


def _check_place(path: Path, subject: Path) -> None:
    if path.suffix.casefold() == ".json":
        raise BadInput(f"{path} is the name of the page; its JSON goes beside it", next="Name FILE.html.")
    beside = path.with_suffix(".json")
    for each in (path, beside):
        frame.not_over(each, subject)
    if beside.exists() and b"exoscope/evidence@" not in frame.read_file(beside)[:200]:
        # A plan named like the page (plan.html, plan.json) is what was approved; it must not be lost.
        raise BadInput(
            f"{beside}, where the page's JSON goes, is there already and is no evidence",
            next="Give the page another name.",
        )
    if not path.parent.is_dir():
        raise BadInput(
            f"{path.parent} is no folder, so {path.name} cannot be written", next="Name a folder that exists."
        )


def _write(done: Verification, path: Path, *, counts: bool) -> None:
    from exoscope.reporting import write_evidence

    frame.say(f"Evidence: {path} and {write_evidence(done, path, counts=counts)}")
