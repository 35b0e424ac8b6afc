"""``exoscope sandbox``: the twin of a tenant, served on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from exoscope.cli import frame

command = frame.Group(
    "sandbox",
    short_help="Serve the twin of a tenant on this machine.",
    help="Serve the twin of a tenant on this machine.",
)


@command.command("serve", short_help="Serve Exchange, Entra and Graph until stopped.")
@click.option(
    "--snapshot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The tenant to bring to life; else the sample tenant.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=0,
    show_default=True,
    help="One port for everything; 0: a free one for each service.",
)
@click.option(
    "--propagation",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How long Exchange's changes may take to act.",
)
@click.option(
    "--token-lifetime",
    type=click.FloatRange(1),
    default=6.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a token acts.",
)
@click.option(
    "--operator-lifetime",
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="How long a token of the sandbox's operator acts; else as long as any.",
)
@click.option(
    "--throttle",
    type=click.FloatRange(0, min_open=True),
    metavar="RATE",
    help="Graph requests a second each app may make; more are answered 429.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where profile, CA, secrets, decisions and state lie; else a temporary folder, removed at the end.",
)
@click.option(
    "--pwsh",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="A PowerShell to stand behind the gateway: each shell is one of its processes.",
)
@click.option(
    "--behaviour",
    multiple=True,
    metavar="NAME=WORD",
    help="Where documents and users of access policies disagree: nested-members=ignored, wildcard=ignored (else counted).",
)
def serve(
    snapshot: Path | None,
    port: int,
    propagation: float,
    token_lifetime: float,
    operator_lifetime: float | None,
    throttle: float | None,
    directory: Path | None,
    pwsh: Path | None,
    behaviour: tuple[str, ...],
) -> None:
    """Serve the twin of a tenant on 127.0.0.1 until Ctrl-C or SIGTERM.

    When it is ready it prints one JSON line: the addresses of WSMan, Graph and sign-in, the CA, a profile ready to use
    (exoscope snapshot --profile …), the file of decisions, and the secret of each app.
    """
    from exoscope.rehearsing import sandbox

    sandbox.run(
        frame.answer,
        snapshot=snapshot,
        port=port,
        propagation=propagation,
        token_lifetime=token_lifetime,
        operator_lifetime=operator_lifetime,
        throttle=throttle,
        directory=directory,
        pwsh=pwsh,
        behaviour=behaviour,
    )


@command.command("module", short_help="Write a PowerShell module that is the twin's Exchange.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@frame.profile_option
@frame.json_option
def module(folder: Path, profile: Path | None, as_json: bool) -> None:
    """Write the module ExchangeOnlineManagement of a running sandbox into DIR.

    Its cmdlets have the names and parameters of Exchange's own and act on the twin: put DIR first in PSModulePath and try
    any script. The profile is the sandbox's (exoscope sandbox serve prints it).
    """
    from exoscope.profile import load_profile
    from exoscope.rehearsing import sandbox

    written = sandbox.module(folder.resolve(), load_profile(profile, os.environ))
    if as_json:
        frame.answer({"module": str(written.parent)})
    frame.say(f"{written}: set PSModulePath to {written.parent} and load ExchangeOnlineManagement")
