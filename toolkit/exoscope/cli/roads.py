"""The profile of a command that opens a session: where it names no road, one is chosen, said, and where it must be, asked for.
And how many sessions a command that reads may open.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame
from exoscope.cli.printing import plain

if TYPE_CHECKING:
    from exoscope.exchange.roads import Choice, Tried
    from exoscope.profile import Profile


def profile_with_road(path: Path | None, *, yes: bool) -> Profile:
    """The profile in use, with a road. Raises BadInput (code ``no-road``: there is nobody to ask), Refused (no was said)."""
    from exoscope.exchange import roads
    from exoscope.profile import load_profile

    def look() -> Sequence[Tried]:
        from exoscope.exchange.trying import look

        return look(os.environ, lambda text: frame.passing(plain(text)))

    def approve(choice: Choice) -> None:
        if yes:
            return
        if not frame.interactive():
            raise roads.not_approved(choice, "--yes")
        frame.say(plain(f"The profile names no road to Exchange, and {choice.reason}."))
        changing.ask(f"Take Exchange's admin API? {roads.UNDOCUMENTED}.")

    return roads.settled(
        load_profile(path, os.environ), look=look, approve=approve, say=lambda text: frame.say(plain(text))
    )


def parallel_option(function: frame.Decorated) -> frame.Decorated:
    """``--parallel N`` of a command that reads, as an int, or None where it was not given."""
    return click.option(
        "--parallel",
        type=click.IntRange(1, 8),
        metavar="N",
        help="Read over N sessions with Exchange at once, 1 to 8 (default 1). Each connects by itself, and counts against "
        "Exchange's limits and the gateway's.",
    )(function)
