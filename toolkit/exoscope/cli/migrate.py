"""``exoscope migrate``: from Application Access Policies to RBAC for Applications, planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame, roads
from exoscope.cli.planning import (
    Waits,
    check_places,
    check_source,
    customization_option,
    print_apps,
    print_findings,
    print_plan,
    print_refusals,
    refused,
    say_where,
    snapshot_option,
    tenant_for,
    write_plan,
)
from exoscope.cli.printing import line, plain
from exoscope.outcome import Exit, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from exoscope.model import Migration, Snapshot
    from exoscope.running import AdvanceAnswer


@frame.command("migrate", short_help="Plan the move from Application Access Policies to roles.")
@click.option(
    "--app", "apps", multiple=True, metavar="A", help="Only this app (appId, object id or name); may be repeated."
)
@snapshot_option
@click.option(
    "--nested",
    type=click.Choice(["auto", "filter", "group", "refuse"]),
    default="auto",
    show_default=True,
    help="Groups inside a policy's group: named in the filter while that is exact, else their members copied into a managed group "
    "(auto); only ever named (filter); always copied (group); refused (refuse).",
)
@click.option("--compact", is_flag=True, help="Use roles that give several of the consented permissions at once.")
@click.option(
    "--also-scope",
    is_flag=True,
    help="Narrow permissions that policies do not govern, tenant-wide today, to the same mailboxes where a role gives them.",
)
@click.option(
    "--accept",
    multiple=True,
    metavar="CODE:APP",
    help="Accept deny-fails-open, no-role, legacy-consent or reconsent for one app; may be repeated.",
)
@click.option(
    "--accept-loss", multiple=True, metavar="APP:ADDRESS", help="A mailbox that the app may lose; may be repeated."
)
@customization_option
@click.option("--drop-dead", is_flag=True, help="Remove policies that restrain nobody, after the full token wait.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The plan; else plan.json.",
)
@click.option(
    "--advance",
    is_flag=True,
    help="Do the next thing that is due, once: go on with the migration that runs, else begin the approved plan, else plan and "
    "stop for approval (exit 3). For a nightly job; the state folder holds all it knows.",
)
@click.option("--hash", "expected", metavar="H", help="With --advance: approve the plan with this hash.")
@frame.wait_option
@frame.all_option
@frame.unseen_option
@roads.parallel_option
@frame.yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    apps: tuple[str, ...],
    snapshot: Path | None,
    nested: str,
    compact: bool,
    also_scope: bool,
    accept: tuple[str, ...],
    accept_loss: tuple[str, ...],
    accept_customization: bool,
    drop_dead: bool,
    output: Path | None,
    advance: bool,
    expected: str | None,
    wait: float | None,
    everything: bool,
    unseen_ok: bool,
    parallel: int | None,
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Plan the move from Application Access Policies to scopes and roles with the same reach. Changes nothing.

    Every app that policies govern is planned, or those named. No mailbox is gained at any moment; none is lost but those named
    with --accept-loss. Apps are refused one by one, each with a code: the plan is written for the others (exit 1), or not at all
    when every app is refused (exit 4). `exoscope show` prints the plan, `exoscope apply` runs it.
    """
    from exoscope.planning import migrate_answer, refused_migration
    from exoscope.planning.migration import asking, plan_migration
    from exoscope.reach import Reach
    from exoscope.reading.wanted import Wanted

    if advance and (snapshot is not None or output is not None):
        raise click.UsageError("--advance reads the tenant itself, and keeps its plan in the state folder")
    if expected is not None and not advance:
        raise click.UsageError("--hash approves a plan for --advance")
    if (wait is not None or everything or unseen_ok) and not advance:
        raise click.UsageError("--wait, --all and --unseen-ok are about a run, and only --advance runs one")
    check_source(snapshot, parallel, yes=yes)

    def ask(tenant: Snapshot) -> Migration:
        return asking.ask(
            tenant,
            nested=nested,
            compact=compact,
            also_scope=also_scope,
            drop_dead=drop_dead,
            accept_customization=accept_customization,
            accept=accept,
            accept_loss=accept_loss,
        )

    if advance:
        _advance(
            apps,
            ask,
            expected,
            profile,
            state,
            wait=wait or 0.0,
            everything=everything,
            unseen_ok=unseen_ok,
            yes=yes,
            parallel=parallel or 1,
            as_json=as_json,
        )
        return
    output = output or Path("plan.json")
    check_places(output, None, snapshot)
    waits = Waits(profile)
    tenant = tenant_for(snapshot, Wanted(apps=apps), output, profile, yes=yes, parallel=parallel or 1)
    try:
        plan = plan_migration(tenant, apps, ask(tenant))
    except Refused as error:
        refused(error, tenant, as_json=as_json, answer=refused_migration)
    digest = write_plan(plan, output)
    answer = migrate_answer(plan, digest, Reach(tenant).mailboxes.addresses(), waits.seconds, lengthen=waits.lengthen)
    if as_json:
        frame.answer(answer)
    else:
        print_plan(plan, digest, waits)
        print_apps(answer.apps)
        print_findings(answer.findings, tenant)
        print_refusals(plan.refusals, tenant)
    say_where(f"The plan is in {output}.")
    if plan.refusals:
        frame.finish(Exit.FINDINGS)


def _advance(
    apps: tuple[str, ...],
    ask: Callable[[Snapshot], Migration],
    hash: str | None,
    profile: Path | None,
    state: Path | None,
    *,
    wait: float,
    everything: bool,
    unseen_ok: bool,
    yes: bool,
    parallel: int,
    as_json: bool,
) -> None:
    """The next thing that is due: the open run, else the approved plan, else a plan that waits for approval."""
    from exoscope.clock import SystemClock
    from exoscope.model import PlanFile
    from exoscope.planning import plan_hash
    from exoscope.planning.migration import plan_migration
    from exoscope.reading import Connection, Wanted, read_snapshot
    from exoscope.running import Approval, advance, exit_of

    loaded = roads.profile_with_road(profile, yes=yes)
    desk = changing.desk(loaded, state, everything=everything, unseen_ok=unseen_ok)

    def make() -> PlanFile:
        with Connection(loaded, SystemClock(), frame.say, parallel=parallel) as connection:
            changing.met(desk.store.state, unseen_ok=unseen_ok)(connection, frame.say, frame.passing)
            tenant = read_snapshot(connection, wanted=Wanted(apps=apps), progress=frame.passing)
        try:
            plan = plan_migration(tenant, apps, ask(tenant))
        except Refused as refused:
            if as_json:  # stdout is for the one document
                for each in refused.refusals:
                    say_where(f"{each.code}: {each.app or 'the tenant'}: {each.message}")
            else:
                print_refusals(refused.refusals, tenant)
            raise
        return PlanFile("exoscope/plan@1", plan_hash(plan), plan)

    wanted = f"sha256:{hash}" if hash is not None and ":" not in hash else hash
    answer = advance(desk, loaded.tenant, "migrate", make, Approval(wanted, yes), wait=wait)
    if as_json:
        frame.answer(answer)
    else:
        _tell(answer, profile)
    ending = exit_of(answer)
    if ending != Exit.DONE:
        frame.finish(ending)


def _tell(answer: AdvanceAnswer, profile: Path | None) -> None:
    """Where the migration stands, for people; a plan that waits for approval as `show` prints it."""
    from exoscope.clock import SystemClock
    from exoscope.planning import load_plan

    if answer.plan is not None:
        file = load_plan(frame.read_file(Path(answer.plan)), answer.plan)
        print_plan(file.plan, file.hash, Waits(profile), start=SystemClock().now())
        print_findings(file.plan.findings if isinstance(file.plan.findings, tuple) else ())
        print_refusals(file.plan.refusals)
    if answer.run is not None:
        line(f"Run {answer.run}: {answer.outcome}, {answer.done} of {answer.steps} step(s) done.")
    if answer.waiting_for == "time" and answer.ready_at is not None:
        line(f"Nothing due before {answer.ready_at}.")
    line(answer.why)
    for note in (each for app in answer.apps for each in app.notes):
        line(f"  {plain(note)}")
    if answer.hash is not None:
        line(f"Approve it with: exoscope migrate --advance --hash {answer.hash}")
