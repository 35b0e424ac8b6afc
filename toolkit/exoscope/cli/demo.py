"""``exoscope demo``: see the main job run."""

from __future__ import annotations

from pathlib import Path

import click

from exoscope.cli import frame
from exoscope.cli.printing import line, plain
from exoscope.outcome import Exit, ExoscopeError, verdict_exit


@frame.command("demo", short_help="See the main job run on a sample tenant.")
@click.option(
    "--pwsh",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Put a real PowerShell behind the gateway: PATH, else EXOSCOPE_PWSH, else pwsh on PATH.",
)
@frame.json_option
def command(pwsh: str | None, as_json: bool) -> None:
    """See the main job run on a sample tenant.

    Starts the twin of a sample tenant on this machine, finds that its connector can read every mailbox, plans, applies over PSRP,
    proves, writes the evidence page, and undoes. Talks to nothing but this machine.
    """
    from exoscope.clock import SystemClock
    from exoscope.powershell.child import find_program
    from exoscope.rehearsing.demo import demo

    program = None if pwsh is None else find_program(Path(pwsh) if pwsh else None)
    answer = demo(SystemClock(), (lambda text: frame.say(plain(text))) if as_json else line, pwsh=program)
    if as_json:
        frame.answer(answer)
    else:
        line(f"The evidence page stays at {answer.evidence}")
    if not answer.undone:
        raise ExoscopeError("the undo did not bring back the reach from before", code="demo-failed")
    ending = verdict_exit(answer.verdict, accept_configured=False)
    if ending != Exit.DONE:
        frame.finish(ending)
