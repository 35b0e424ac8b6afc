"""``exoscope reach``: which mailboxes an app reaches, or which apps reach a mailbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.printing import block, findings, line
from exoscope.outcome import Exit

if TYPE_CHECKING:
    from exoscope.reach import Answer, MailboxAnswer, Reach, Reason


@frame.command("reach", short_help="Answer which mailboxes an app reaches, or which apps reach a mailbox.")
@click.argument("snapshot", type=click.Path(path_type=Path), metavar="SNAPSHOT")
@click.option("--app", metavar="APP", help="An app: appId, object id or display name. Goes with --permission.")
@click.option("--permission", metavar="PERMISSION", help="A permission, as Mail.Read or full_access_as_app.")
@click.option("--mailbox", metavar="ADDRESS", help="A mailbox: ask for every app that reaches it.")
@frame.json_option
def command(snapshot: Path, app: str | None, permission: str | None, mailbox: str | None, as_json: bool) -> None:
    """Answer which mailboxes an app reaches, or which apps reach a mailbox.

    SNAPSHOT is a file that `exoscope snapshot` wrote. Give --app and --permission, or --mailbox. Nothing is asked of the
    tenant. Exit 6 where an answer is unknown, 2 where what was named is not there or ambiguous; findings do not change it.
    """
    by_app = app is not None and permission is not None
    if by_app == (mailbox is not None) or (mailbox is not None and (app is not None or permission is not None)):
        raise click.UsageError("give --app and --permission, or --mailbox alone")

    from exoscope.reach import Reach
    from exoscope.snapshot import load

    reach = Reach(load(snapshot))
    if app is not None and permission is not None:
        answer = reach.of(app, permission)
        if as_json:
            frame.answer(answer.document())
        else:
            _print_answer(reach, answer)
        unknown = bool(answer.unknown)
    else:
        on = reach.on(mailbox or "")
        if as_json:
            frame.answer(on)
        else:
            _print_mailbox(on)
        unknown = on.unknown
    if unknown:
        frame.finish(Exit.UNKNOWN)


def _print_answer(reach: Reach, answer: Answer) -> None:
    name = reach.find_app(answer.app_id).display_name
    line(
        f"{name} ({answer.app_id}), {answer.permission}: reaches {len(answer.allowed)} of {len(reach.mailboxes)} mailboxes"
    )
    block("Reached", answer.allowed)
    block(f"Unknown for {len(answer.unknown)}", answer.unknown)
    block("Because", map(_reason, answer.because))
    findings(answer.findings)


def _print_mailbox(on: MailboxAnswer) -> None:
    line(f"{on.mailbox}: {len(on.apps)} permission(s) of apps reach it or may")
    for entry in on.apps:
        block(f"{entry.display_name} ({entry.app_id}), {entry.permission}: {entry.answer}", map(_reason, entry.via))
    block("Not read, so that others may reach it too", on.unread)
    findings(on.findings)


def _reason(reason: Reason) -> str:
    return f"{reason.effect:9} {reason.kind} {reason.id}: {reason.text}"
