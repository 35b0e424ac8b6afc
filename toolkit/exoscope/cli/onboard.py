"""``exoscope onboard``: from a connector.yaml to the steps that register it and hand it over scoped."""

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


@frame.command("onboard", short_help="Plan the registration of a connector, handed over scoped.")
@click.argument("connector", type=click.Path(path_type=Path), metavar="CONNECTOR_YAML")
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that `exoscope snapshot` wrote; without it the tenant is read now, into a file beside the plan.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The plan; else CONNECTOR.plan.json, beside the connector's file.",
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
    connector: Path,
    snapshot: Path | None,
    output: Path | None,
    accept_customization: bool,
    parallel: int | None,
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Plan the registration of a connector: app, service principal, credential, scope, proof. Changes nothing.

    `exoscope apply` does it, in the order that never leaves the app wider than intended; `resume`, `undo` and `verify` work as with
    every plan. What is there already is found by exact name and owner tag and gets no step: no second app is made, and no secret
    renewed. Exit 4: refused, with the choices; 2: the file is not valid, or names what is not there; 6: something needed was not
    read.
    """
    from exoscope.intent import load_connector
    from exoscope.planning import dump_plan, load_plan, plan_answer, plan_onboard, refused_answer
    from exoscope.reach import Reach
    from exoscope.reading.wanted import wanted_for_connector

    if yes and snapshot is not None:
        raise click.UsageError("--yes is about the road to Exchange, and with --snapshot none is taken")
    if parallel is not None and snapshot is not None:
        raise click.UsageError("--parallel is about sessions with Exchange, and with --snapshot none is opened")
    output = output or connector.with_name(f"{connector.stem}.plan.json")
    place = read_into(output)
    for each in (output, *(() if snapshot else (place,))):
        frame.not_over(each, connector, snapshot)
    wanted = load_connector(connector)
    waits = Waits(profile)
    del state  # a plan keeps no state; the option stands on every command that opens a session
    tenant = tenant_for(snapshot, wanted_for_connector(wanted), output, profile, yes=yes, parallel=parallel or 1)
    try:
        plan = plan_onboard(tenant, wanted, accept_customization=accept_customization)
    except BadInput as error:
        raise type(error)(f"{connector}: {error.message}", code=error.code, next=error.next) from None
    except Refused as refused:
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
    say_where(f"The plan is in {output}.{f' exoscope apply {output} does it.' if plan.steps else ''}")
