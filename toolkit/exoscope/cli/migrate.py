"""``exoscope migrate``: from Application Access Policies to RBAC for Applications, planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from exoscope.cli import frame, roads
from exoscope.cli.planning import (
    Waits,
    print_apps,
    print_findings,
    print_plan,
    print_refusals,
    read_into,
    say_where,
    tenant_for,
    write_file,
)
from exoscope.outcome import BadInput, Exit, Refused

if TYPE_CHECKING:
    from exoscope.model import AcceptCode, Migration, Snapshot


@frame.command("migrate", short_help="Plan the move from Application Access Policies to roles.")
@click.option(
    "--app", "apps", multiple=True, metavar="A", help="Only this app (appId, object id or name); may be repeated."
)
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that `exoscope snapshot` wrote; without it the tenant is read now, into a file beside the plan.",
)
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
@click.option("--drop-dead", is_flag=True, help="Remove policies that restrain nobody, after the full token wait.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("plan.json"),
    show_default=True,
    metavar="FILE",
    help="The plan.",
)
@roads.parallel_option
@frame.road_yes_option
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
    drop_dead: bool,
    output: Path,
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
    from exoscope.planning import dump_plan, load_plan, migrate_answer, refused_migration
    from exoscope.planning.migration import plan_migration
    from exoscope.reach import Reach
    from exoscope.reading.wanted import Wanted

    if yes and snapshot is not None:
        raise click.UsageError("--yes is about the road to Exchange, and with --snapshot none is taken")
    if parallel is not None and snapshot is not None:
        raise click.UsageError("--parallel is about sessions with Exchange, and with --snapshot none is opened")
    for each in (output, *(() if snapshot else (read_into(output),))):
        frame.not_over(each, snapshot)
    waits = Waits(profile)
    del state  # a plan keeps no state; the option stands on every command that opens a session
    tenant = tenant_for(snapshot, Wanted(apps=apps), output, profile, yes=yes, parallel=parallel or 1)
    asked = _asked(tenant, nested, accept, accept_loss, compact=compact, also_scope=also_scope, drop_dead=drop_dead)
    try:
        plan = plan_migration(tenant, apps, asked)
    except Refused as refused:
        if not refused.refusals:
            raise
        if as_json:
            frame.answer(refused_migration(refused.refusals))
        else:
            print_refusals(refused.refusals, tenant)
        frame.say(f"{refused.message} No plan was written.")
        frame.finish(Exit.REFUSED)
    data = dump_plan(plan)
    file = load_plan(data, str(output))
    write_file(output, data)
    answer = migrate_answer(
        plan, file.hash, Reach(tenant).mailboxes.addresses(), waits.seconds, lengthen=waits.lengthen
    )
    if as_json:
        frame.answer(answer)
    else:
        print_plan(plan, file.hash, waits)
        print_apps(answer.apps)
        print_findings(answer.findings, tenant)
        print_refusals(plan.refusals, tenant)
    say_where(f"The plan is in {output}.")
    if plan.refusals:
        frame.finish(Exit.FINDINGS)


def _asked(
    tenant: Snapshot,
    nested: str,
    accept: tuple[str, ...],
    accept_loss: tuple[str, ...],
    *,
    compact: bool,
    also_scope: bool,
    drop_dead: bool,
) -> Migration:
    """The options, with apps by appId and mailboxes by primary address. Raises BadInput naming the option."""
    from exoscope.model import AcceptCode, Accepted, AcceptedLoss, Migration
    from exoscope.reach import Reach

    reach = Reach(tenant)
    codes: tuple[AcceptCode, ...] = get_args(AcceptCode)
    accepted = set()
    for text in accept:
        given, colon, app = text.partition(":")
        code: AcceptCode | None = next((each for each in codes if each == given), None)
        if not colon or not app or code is None:
            raise BadInput(
                f"--accept {text}: this is no CODE:APP", next=f"CODE is one of {', '.join(codes)}; APP names one app."
            )
        accepted.add((code, reach.find_app(app).app_id.casefold()))
    losses = set()
    for text in accept_loss:
        app, colon, address = text.rpartition(":")
        if not colon or not app or not address:
            raise BadInput(f"--accept-loss {text}: this is no APP:ADDRESS", next="Name one app and one mailbox.")
        losses.add((reach.find_app(app).app_id.casefold(), reach.find_mailbox(address).primary_smtp_address))
    return Migration(
        nested=nested,  # type: ignore[arg-type]  # click has held it to the four
        compact=compact,
        also_scope=also_scope,
        drop_dead=drop_dead,
        accept=tuple(Accepted(code, app) for code, app in sorted(accepted)),
        accept_loss=tuple(AcceptedLoss(app, address) for app, address in sorted(losses)),
    )
