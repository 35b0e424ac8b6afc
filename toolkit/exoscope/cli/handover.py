"""``exoscope handover``: what a connector's form asks for."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame, roads
from exoscope.cli.printing import block, findings, line, plain, seconds

if TYPE_CHECKING:
    from exoscope.checking.handover import HandOver

_MECHANISMS = {
    "rbac": "role assignments in Exchange (RBAC for Applications)",
    "access-policy": "Application Access Policies",
    "consent": "nothing: consents for the whole tenant",
    "mixed": "partly role assignments, partly policies or nothing (exoscope reach says which)",
    None: "not known, or there is nothing to limit",
}
_FILES = {"secret": "CLIENT_SECRET_FILE", "certificate": "CLIENT_CERTIFICATE_FILE"}


@frame.command("handover", short_help="Hand a connector over: what its form asks for, and where its secret lies.")
@click.option("--app", required=True, metavar="APP", help="The connector's app: appId, object id or display name.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "json", "env"]),
    help="text (the default) for a person, json, or env: variables for a process.",
)
@click.option("--recipe", metavar="NAME", help="Say what this recipe says too; else the one that its onboarding named.")
@frame.road_yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    app: str,
    shape: str | None,
    recipe: str | None,
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Hand a connector over: what its form asks for, and where its secret lies. Changes nothing.

    Its mailboxes and permissions are read from the tenant now. The secret itself is never printed, in no format: only where it was
    handed over, as the state folder has it. Exit 1: something is missing or expired, 6: something could not be told.
    """
    if as_json and shape not in (None, "json"):
        raise click.UsageError(f"--json and --format {shape} exclude each other")

    from exoscope import recipes
    from exoscope.checking.handover import handover
    from exoscope.clock import SystemClock
    from exoscope.profile import state_dir
    from exoscope.reading import Connection

    named = recipes.named(recipe) if recipe is not None else None
    used = roads.profile_with_road(profile, yes=yes)
    with Connection(used, SystemClock(), lambda text: frame.say(plain(text))) as connection:
        done = handover(
            connection, state_dir(state, os.environ, used), app, named, lambda text: frame.passing(plain(text))
        )
    if as_json or shape == "json":
        frame.answer(done)
    elif shape == "env":
        _print_variables(done)
    else:
        _print(done)
    if done.exit:
        frame.finish(done.exit)


def _print(done: HandOver) -> None:
    line(f"{done.display_name}: to be filled into the connector's form")
    line()
    line(f"Tenant ID     {done.tenant_id} ({done.domain}, {done.cloud})")
    line(f"Client ID     {done.client_id}")
    if done.credential is None:
        line("Credential    none")
    else:
        title = "Client secret" if done.credential.kind == "secret" else "Certificate  "
        until = done.credential.expires
        line(f"{title} {done.credential.where or '(where it lies is not known here)'}")
        line(f"Good until    {seconds(until) if until else 'a time that was not told'}")
    line(f"Permissions   {', '.join(done.permissions) or 'none'}")
    line(f"Limited by    {_MECHANISMS[done.mechanism]}")
    block(f"Mailboxes ({len(done.mailboxes)})", done.mailboxes)
    block(f"Mailboxes of which it is not known ({len(done.unknown)})", done.unknown)
    block(
        "Not with every permission",
        (f"{each.permission}: not on {', '.join(each.lacking)}" for each in done.reach if each.lacking),
    )
    block("Notes", done.notes)
    findings(done.findings)


def _print_variables(done: HandOver) -> None:
    """For ``set -a; . file``, or a container's env file where no value needs quotes."""
    values = {"TENANT_ID": done.tenant_id, "CLIENT_ID": done.client_id}
    where = done.credential.where if done.credential is not None else None
    if done.credential is not None and where is not None and where.startswith("file:"):
        values[_FILES[done.credential.kind]] = where.removeprefix("file:")
    for name, value in values.items():
        line(f"{name}={shlex.quote(value)}")
    for each in done.findings:
        frame.say(plain(f"{each.code}: {each.message}"))
    if len(values) == 2 and done.credential is not None and where is not None:
        frame.say(plain(f"The {done.credential.kind} is in {where}: no variable names it."))
