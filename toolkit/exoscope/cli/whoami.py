"""``exoscope whoami``: who the operator is."""

from __future__ import annotations

import os
from pathlib import Path

from exoscope.cli import frame, signing


@frame.command("whoami", short_help="Say who the operator is, as the tokens say it.")
@frame.profile_option
@frame.json_option
def command(profile: Path | None, as_json: bool) -> None:
    """Say who the operator is, as the tokens say it: who, in which tenant, with which client, roles and scopes, until when,
    and where the sign-in came from.

    Nobody is asked to sign in: where a person must, the answer is that nobody is signed in, and the exit code 6. No token is
    printed.
    """
    from exoscope.clock import SystemClock
    from exoscope.entra import Tokens, whoami
    from exoscope.profile import load_profile

    loaded = load_profile(profile, os.environ)
    signing.show(whoami.who(loaded, Tokens(loaded, SystemClock(), frame.say), ask=False), as_json=as_json)
