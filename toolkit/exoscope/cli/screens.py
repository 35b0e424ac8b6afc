"""The terminal as the place of a secret: shown after a key press, taken away after another."""

from __future__ import annotations

import click

from exoscope.cli import frame
from exoscope.model import Secret


class TerminalScreen:
    """See :class:`exoscope.running.placing.Screen`."""

    def interactive(self) -> bool:
        """Is somebody there?"""
        return frame.interactive()

    def show_once(self, what: str, value: Secret) -> None:
        """On the terminal itself (stderr), never on stdout: that may be a pipe."""
        frame.say(f"Press a key to see {what}. It is shown once.")
        _key()
        text = value.reveal()
        click.echo(text, err=True, nl=False)
        try:
            _key()
        finally:
            click.echo(f"\r{' ' * len(text)}\r", err=True, nl=False)
        frame.say("Taken from the screen. Nobody can show it again.")

    def reveal(self, value: Secret) -> None:
        """On stdout, alone in its line."""
        frame.clear()
        click.echo(value.reveal())


def _key() -> None:
    """One key. Raises KeyboardInterrupt for Ctrl-C, and where the terminal is gone."""
    try:
        click.getchar()
    except (EOFError, click.Abort):
        raise KeyboardInterrupt from None
