"""``exoscope plan``: from a tenant and an intent to the steps between them."""

from __future__ import annotations

from pathlib import Path

import click

from exoscope.cli import frame, roads
from exoscope.cli.planning import (
    Waits,
    check_places,
    check_source,
    customization_option,
    finish_plan,
    refused,
    snapshot_option,
    tenant_for,
)
from exoscope.outcome import BadInput, Refused


@frame.command("plan", short_help="Plan the steps from a tenant to an intent.")
@click.argument("intent", type=click.Path(path_type=Path), metavar="SCOPE_YAML")
@snapshot_option
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="The plan."
)
@customization_option
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
    from exoscope.planning import plan_scope
    from exoscope.reading.wanted import wanted_for

    check_source(snapshot, parallel, yes=yes)
    check_places(output, intent, snapshot)
    wanted = load_intent(intent)
    waits = Waits(profile)
    del state  # a plan keeps no state; the option stands on every command that opens a session
    tenant = tenant_for(snapshot, wanted_for(wanted), output, profile, yes=yes, parallel=parallel or 1)
    try:
        plan = plan_scope(tenant, wanted, accept_customization=accept_customization)
    except BadInput as error:
        raise type(error)(f"{intent}: {error.message}", code=error.code, next=error.next) from None
    except Refused as error:
        refused(error, tenant, as_json=as_json)
    finish_plan(plan, tenant, output, waits, as_json=as_json)
