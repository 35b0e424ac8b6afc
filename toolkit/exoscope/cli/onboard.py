"""``exoscope onboard``: from a connector.yaml to the steps that register it and hand it over scoped."""

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


@frame.command("onboard", short_help="Plan the registration of a connector, handed over scoped.")
@click.argument("connector", type=click.Path(path_type=Path), metavar="CONNECTOR_YAML")
@snapshot_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The plan; else CONNECTOR.plan.json, beside the connector's file.",
)
@customization_option
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
    from exoscope.planning import plan_onboard
    from exoscope.reading.wanted import wanted_for_connector

    check_source(snapshot, parallel, yes=yes)
    output = output or connector.with_name(f"{connector.stem}.plan.json")
    check_places(output, connector, snapshot)
    wanted = load_connector(connector)
    waits = Waits(profile)
    del state  # a plan keeps no state; the option stands on every command that opens a session
    tenant = tenant_for(snapshot, wanted_for_connector(wanted), output, profile, yes=yes, parallel=parallel or 1)
    try:
        plan = plan_onboard(tenant, wanted, accept_customization=accept_customization)
    except BadInput as error:
        raise type(error)(f"{connector}: {error.message}", code=error.code, next=error.next) from None
    except Refused as error:
        refused(error, tenant, as_json=as_json)
    finish_plan(plan, tenant, output, waits, as_json=as_json)
