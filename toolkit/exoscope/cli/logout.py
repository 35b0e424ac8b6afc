"""``exoscope logout``: remove a kept sign-in."""

from __future__ import annotations

import os
from pathlib import Path

from exoscope.cli import frame
from exoscope.cli.printing import line


@frame.command("logout", short_help="Remove the kept sign-in of the profile's operator.")
@frame.profile_option
@frame.json_option
def command(profile: Path | None, as_json: bool) -> None:
    """Remove the kept sign-in of the profile's operators from this machine. Nothing is asked of Entra.

    Access tokens that were issued before act until they end (60 to 90 minutes); to end every sign-in of an account, an
    administrator revokes its sessions in Entra.
    """
    from exoscope.entra import whoami
    from exoscope.profile import load_profile

    answer = whoami.logout(load_profile(profile, os.environ))
    if as_json:
        frame.answer(answer)
        return
    for place in answer.removed:
        line(f"Removed {place}.")
    if not answer.removed:
        line("Nothing was kept.")
