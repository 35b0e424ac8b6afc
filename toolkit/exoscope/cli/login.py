"""``exoscope login``: sign the operator in."""

from __future__ import annotations

import os
from pathlib import Path

import click

from exoscope.cli import frame, signing


@frame.command("login", short_help="Sign the operator in, and keep it where the profile says so.")
@click.option(
    "--graph-writes",
    "writing",
    is_flag=True,
    help="Sign in the profile's operator for Graph writes too; else that one signs in when something is written.",
)
@frame.profile_option
@frame.json_option
def command(writing: bool, profile: Path | None, as_json: bool) -> None:
    """Sign the operator in for Exchange and Graph, and say who that is, as whoami does.

    A person's sign-in is kept for later commands where the profile has [operator] cache; else this only shows that it works.
    No token is printed. Exit code 6 where nobody could be signed in.
    """
    from exoscope.clock import SystemClock
    from exoscope.entra import Tokens, whoami
    from exoscope.profile import load_profile

    loaded = load_profile(profile, os.environ)
    tokens = Tokens(loaded, SystemClock(), frame.say)
    answer = whoami.who(loaded, tokens, ask=True, writing=writing)
    kind = answer.operators[0].kind
    if not answer.kept and kind in ("interactive", "device-code"):
        frame.say(
            'Nothing was kept: each command asks again. [operator] cache = "encrypted" or "file" keeps a sign-in.'
        )
    elif not answer.kept:
        frame.say(f"Nothing is kept for {kind}: each command signs in by itself.")
    signing.show(answer, as_json=as_json)
