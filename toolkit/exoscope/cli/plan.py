"""``exoscope plan``: from a tenant and an intent to the steps between them."""

from __future__ import annotations

from pathlib import Path

import click

from exoscope.cli import frame, roads
from exoscope.cli.planning import (
    Waits,
    print_apps,
    print_plan,
    print_refusals,
    read_into,
    say_where,
    tenant_for,
    write_file,
)
from exoscope.outcome import BadInput, Exit, Refused


@frame.command("plan", short_help="Plan the steps from a tenant to an intent.")
@click.argument("intent", type=click.Path(path_type=Path), metavar="SCOPE_YAML")
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that `exoscope snapshot` wrote; without it the tenant is read now, into a file beside the plan.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="The plan."
)
@click.option(
    "--accept-customization",
    is_flag=True,
    help="Where the organisation was never customised, make Enable-OrganizationCustomization the first step.",
)
@roads.parallel_option
@frame.road_yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    intent: Path,
    snapshot: Path | None,
    output: Path,
    accept_customization: bool,
    parallel: int | None,
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Plan the steps from a tenant to an intent. Changes nothing.

    Apps are refused one by one, each with a code: the plan is written for the others (exit 1), or not at all when every app
    is refused (exit 4). Exit 2: the intent names what is not there, or is not valid; 6: something needed was not read.
    """
    from exoscope.intent import load_intent
    from exoscope.planning import dump_plan, load_plan, plan_answer, plan_scope, refused_answer
    from exoscope.reach import Reach
    from exoscope.reading.wanted import wanted_for

    if yes and snapshot is not None:
        raise click.UsageError("--yes is about the road to Exchange, and with --snapshot none is taken")
    if parallel is not None and snapshot is not None:
        raise click.UsageError("--parallel is about sessions with Exchange, and with --snapshot none is opened")
    place = read_into(output)
    for each in (output, *(() if snapshot else (place,))):
        frame.not_over(each, intent, snapshot)
    wanted = load_intent(intent)
    waits = Waits(profile)
    del state  # a plan keeps no state; the option stands on every command that opens a session
    tenant = tenant_for(snapshot, wanted_for(wanted), output, profile, yes=yes, parallel=parallel or 1)
    try:
        plan = plan_scope(tenant, wanted, accept_customization=accept_customization)
    except BadInput as error:
        raise type(error)(f"{intent}: {error.message}", code=error.code, next=error.next) from None
    except Refused as refused:
        if not refused.refusals:
            raise
        if as_json:
            frame.answer(refused_answer(refused.refusals))
        else:
            print_refusals(refused.refusals, tenant)
        frame.say(f"{refused.message} No plan was written.")
        frame.finish(Exit.REFUSED)
    data = dump_plan(plan)
    file = load_plan(data, str(output))
    write_file(output, data)
    answer = plan_answer(plan, file.hash, Reach(tenant).mailboxes.addresses(), waits.seconds, lengthen=waits.lengthen)
    if as_json:
        frame.answer(answer)
    else:
        print_plan(plan, file.hash, waits)
        print_apps(answer.apps)
        print_refusals(plan.refusals, tenant)
    say_where(f"The plan is in {output}.")
    if plan.refusals:
        frame.finish(Exit.FINDINGS)
