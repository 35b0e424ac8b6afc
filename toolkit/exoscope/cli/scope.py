"""``exoscope scope``: the main job in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame, proofs, roads
from exoscope.cli.planning import Waits, customization_option, print_apps, print_plan, refused
from exoscope.cli.printing import line, plain
from exoscope.outcome import BadInput, Refused

if TYPE_CHECKING:
    from exoscope.checking import Verification
    from exoscope.jobs import Asked, Place, ScopeJob
    from exoscope.model import PlanFile, Snapshot
    from exoscope.running import RunAnswer, Service


@frame.command("scope", short_help="The main job in one command: plan, ask, apply and prove, for one app.")
@click.option("--app", metavar="A", help="The app: appId, object id or display name.")
@click.option("--permission", "permissions", multiple=True, metavar="P", help="A permission; may be repeated.")
@click.option("--mailbox", "mailboxes", multiple=True, metavar="M", help="A mailbox it may reach; may be repeated.")
@click.option(
    "--mailboxes",
    "listed",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file with one mailbox a line; what follows # is not read.",
)
@click.option("--group", metavar="G", help="A group whose direct members it may reach.")
@click.option("--filter", "opath", metavar="F", help="A recipient filter (OPATH) of the mailboxes it may reach.")
@click.option(
    "--never", multiple=True, metavar="M", help="A mailbox that must be proven out of reach; may be repeated."
)
@click.option("--continue", "going_on", is_flag=True, help="Go on with the job in the folder.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where scope.yaml, snapshot, plan, run and evidence lie; else scope-APP here.",
)
@customization_option
@click.option("--accept", type=click.Choice(["configured"]), help="Count a verdict of configured as success (exit 0).")
@frame.yes_option
@frame.wait_option
@frame.only_option
@frame.unseen_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    app: str | None,
    permissions: tuple[str, ...],
    mailboxes: tuple[str, ...],
    listed: Path | None,
    group: str | None,
    opath: str | None,
    never: tuple[str, ...],
    going_on: bool,
    folder: Path | None,
    accept_customization: bool,
    accept: str | None,
    yes: bool,
    wait: float | None,
    only: Service | None,
    unseen_ok: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """The main job in one command: read the tenant, plan, show, ask, apply, and prove when the gates are open.

    Where a gate must be waited for it ends (exit 3) and says when `exoscope scope --continue` goes on. All it makes lies in one
    folder: scope.yaml, tenant.json, plan.json, run.json with the run's journal, evidence.html. Each of them is what the single
    command makes, and can be used with it. Exit as of apply while it runs, as of verify once it is through.
    """
    from exoscope.clock import SystemClock
    from exoscope.jobs import Place, ScopeJob, exit_of_scope

    given = (app, permissions, mailboxes, listed, group, opath, never)
    if going_on and any(given):
        raise click.UsageError("--continue goes on with what was asked for; no option of a new job goes with it")
    asked = None if going_on else _asked(app, permissions, mailboxes, listed, group, opath, never)
    changing.need_somebody(yes, "--yes")
    place = _only_job() if folder is None and asked is None else Place(folder) if folder else Place.of(app or "")
    loaded = roads.profile_with_road(profile, yes=yes)
    job = ScopeJob(
        place,
        loaded,
        changing.desk(loaded, state, unseen_ok=unseen_ok),
        SystemClock(),
        say=lambda text: frame.say(plain(text)),
        progress=lambda text: frame.passing(plain(text)),
    )
    if asked is not None:
        file, tenant = _planned(job, asked, accept_customization=accept_customization, as_json=as_json)
    else:
        file, tenant = job.planned()
    if job.run_id() is None:
        _approved(job, file, tenant, Waits(profile), yes=yes, as_json=as_json)
    run = job.run(wait=wait or 0.0, only=only)
    done = _proven(job, run, wait or 0.0)
    answer = job.answer(run, done, only=only)
    if as_json:
        frame.answer(answer)
    else:
        if done is not None:
            proofs.print_proof(done.proof)
        line(answer.why)
    frame.say(f"Everything lies in {answer.folder}." + (f" Go on with: {answer.next}" if answer.next else ""))
    ending = exit_of_scope(run, done, accept_configured=accept == "configured")
    if ending:
        frame.finish(ending)


def _asked(
    app: str | None,
    permissions: tuple[str, ...],
    mailboxes: tuple[str, ...],
    listed: Path | None,
    group: str | None,
    opath: str | None,
    never: tuple[str, ...],
) -> Asked:
    """What was asked for. Raises UsageError, and BadInput naming the line of the file of mailboxes."""
    from exoscope.jobs import Asked

    if app is None or not permissions:
        raise click.UsageError("--app and --permission are needed, or --continue")
    ways = {"--mailbox": bool(mailboxes), "--mailboxes": listed is not None, "--group": group, "--filter": opath}
    if sum(bool(each) for each in ways.values()) != 1:
        raise click.UsageError(f"exactly one of {', '.join(ways)} says what it may reach")
    named = mailboxes if listed is None else _lines(listed)
    return Asked(app, permissions, named, group, opath, never)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        text = frame.read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text") from None
    found: list[str] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        address = raw.partition("#")[0].strip()
        if not address:
            continue
        if len(address.split()) > 1 or any(each in address for each in ",;"):
            raise BadInput(f"{path} line {number}: one mailbox a line, not {address!r}")
        found.append(address)
    if not found:
        raise BadInput(
            f"{path} names no mailbox", next="Write one address a line. To reach nothing, remove the app's access."
        )
    return tuple(found)


def _only_job() -> Place:
    """The job in this folder, where there is one. Raises BadInput."""
    from exoscope.jobs import pending

    jobs = pending(Path())
    if len(jobs) == 1:
        return jobs[0]
    names = ", ".join(str(each.folder) for each in jobs)
    raise BadInput(
        f"which job to go on with? Here are {names}" if jobs else "there is no job here to go on with",
        next="Name its folder with --folder.",
    )


def _planned(job: ScopeJob, asked: Asked, *, accept_customization: bool, as_json: bool) -> tuple[PlanFile, Snapshot]:
    from exoscope import snapshot as snapshots
    from exoscope.jobs.scope import TENANT

    try:
        return job.plan(asked, accept_customization=accept_customization)
    except Refused as error:
        kept = f"Nothing was changed; scope.yaml and the snapshot are in {job.place.folder}."
        tenant = snapshots.load(job.place / TENANT) if error.refusals else None
        refused(error, tenant, as_json=as_json, nothing=kept)


def _approved(job: ScopeJob, file: PlanFile, tenant: Snapshot, waits: Waits, *, yes: bool, as_json: bool) -> None:
    """Show the plan and ask. Raises Refused."""
    from exoscope.planning import plan_answer
    from exoscope.reach import Reach

    if not as_json:
        told = plan_answer(
            file.plan, file.hash, Reach(tenant).mailboxes.addresses(), waits.seconds, lengthen=waits.lengthen
        )
        print_plan(file.plan, file.hash, waits)
        print_apps(told.apps)
    if not yes:
        if as_json:
            changing.summary(file.plan)
        try:
            changing.ask("Run it?")
        except Refused as refused:
            again = f"The plan stays in {job.place.folder}; exoscope scope --continue --folder {job.place.folder} asks again."
            raise Refused(refused.message, code=refused.code, next=again) from None


def _proven(job: ScopeJob, run: RunAnswer, wait: float) -> Verification | None:
    """The proof, once the run is through."""
    from exoscope.proving import Options

    return job.prove(Options(), wait=wait) if run.outcome == "done" else None
