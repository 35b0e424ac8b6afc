"""``exoscope explain``: the story of one answer."""

from __future__ import annotations

from pathlib import Path

import click

from exoscope.cli import frame
from exoscope.cli.printing import findings, line
from exoscope.outcome import Exit


@frame.command("explain", short_help="Tell the story of one answer, rule by rule.")
@click.argument("snapshot", type=click.Path(path_type=Path), metavar="SNAPSHOT")
@click.option("--app", required=True, metavar="APP", help="An app: appId, object id or display name.")
@click.option("--permission", required=True, metavar="PERMISSION", help="A permission, as Mail.Read.")
@click.option("--mailbox", required=True, metavar="ADDRESS", help="A mailbox: its primary address or an alias.")
@frame.json_option
def command(snapshot: Path, app: str, permission: str, mailbox: str, as_json: bool) -> None:
    """Tell the story of one answer, rule by rule.

    SNAPSHOT is a file that `exoscope snapshot` wrote. Says for each consent, policy and role assignment what it means for
    this mailbox, and what follows. Exit 6 where the answer is unknown, 2 where what was named is not there or ambiguous.
    """
    from exoscope.reach import Reach
    from exoscope.snapshot import load

    story = Reach(load(snapshot)).explain(app, permission, mailbox)
    if as_json:
        frame.answer(story)
    else:
        line(f"{story.display_name} ({story.app_id}), {story.permission}, {story.mailbox}: {story.answer}")
        line()
        for number, told in enumerate(story.told, start=1):
            subject = told.rule if told.id is None else f"{told.rule} {told.id}"
            line(f"{number:3}. {told.outcome:9} {subject}: {told.text}")
        findings(story.findings)
    if story.answer == "unknown":
        frame.finish(Exit.UNKNOWN)
