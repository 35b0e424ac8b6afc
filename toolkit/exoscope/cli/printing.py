"""Text for people: names of a tenant's objects printed so that they cannot move the cursor or draw lines of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.outcome import Finding

if TYPE_CHECKING:
    from exoscope.model import Addresses

SHOWN = 20


def plain(text: str) -> str:
    """The text with control characters, line breaks and other invisible characters escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def line(text: str = "") -> None:
    """One line of an answer, on stdout."""
    frame.clear()
    click.echo(plain(text))


def seconds(time: str) -> str:
    """A time as Graph spells it (seven digits of a second), without what no reader asks for."""
    return re.sub(r"\.\d+(?=Z$|[+-][\d:]+$)", "", time)


def block(title: str, lines: Iterable[str]) -> None:
    """A titled, indented block; nothing where there are no lines."""
    listed = list(lines)
    if listed:
        frame.clear()
        # One write: a tenant's mailboxes may be 200,000 lines.
        click.echo("\n".join(["", plain(title), *[f"  {plain(each)}" for each in listed]]))


def findings(found: Iterable[Finding]) -> None:
    """Findings, last in every answer."""
    block(
        "Findings",
        (
            f"{each.code}, app {each.app_id}: {each.message}" if each.app_id else f"{each.code}: {each.message}"
            for each in found
        ),
    )


def told(these: Addresses) -> str:
    """A set of mailboxes in words, the first of them by name."""
    names = ", ".join(plain(each) for each in these.addresses[:SHOWN])
    more = f" and {len(these.addresses) - SHOWN} more" if len(these.addresses) > SHOWN else ""
    if these.all_but:
        return f"every mailbox but {names}{more}" if these.addresses else "every mailbox"
    return f"{len(these.addresses)} mailbox(es)" + (f" ({names}{more})" if these.addresses else "")
