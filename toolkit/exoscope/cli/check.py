"""``exoscope check``: what a connector will meet, with its own credential."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame, roads
from exoscope.cli.printing import line, plain
from exoscope.outcome import BadInput

if TYPE_CHECKING:
    from exoscope.checking.connector import ConnectorCheck, Side
    from exoscope.clock import Clock
    from exoscope.profile import AppCredential, Profile

_WORDS = {"ok": "ok", "note": "note", "failed": "FAILED", "pending": "pending", "unknown": "unknown"}


@frame.command("check", short_help="See what a connector will meet, with its own credential.")
@click.option("--tenant", required=True, metavar="TENANT", help="The connector's tenant: its Guid or a domain of it.")
@click.option("--client-id", required=True, metavar="ID", help="The connector's application (client) id.")
@click.option(
    "--secret-ref",
    metavar="REF",
    help="Where its client secret is: env:NAME, file:PATH (its owner's only), keyring:SERVICE/USER, exec:COMMAND.",
)
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Its certificate with private key (PEM or PFX), in place of a secret.",
)
@click.option("--passphrase-ref", metavar="REF", help="Where the certificate's passphrase is, as for --secret-ref.")
@click.option(
    "--mailbox", "inside", multiple=True, metavar="ADDRESS", help="A mailbox that it must read; may be repeated."
)
@click.option(
    "--not-mailbox",
    "outside",
    multiple=True,
    metavar="ADDRESS",
    help="A mailbox that it must not read; may be repeated.",
)
@click.option(
    "--permission",
    default="Mail.Read",
    show_default=True,
    metavar="PERMISSION",
    help="What it must hold on them: a permission for which Graph has a call that reads no content.",
)
@click.option(
    "--send", is_flag=True, help="Say what can be known of Mail.Send. No message is sent, with this option or without."
)
@click.option("--cloud", metavar="CLOUD", help="worldwide (the default), gcc-high, dod or china.")
@click.option(
    "--endpoints",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take the cloud and [endpoints] of this profile, and nothing else of it.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ask Exchange, too, as the operator of this profile. Only where it is named: no variable, no ./exoscope.toml.",
)
@frame.road_yes_option
@frame.state_option
@frame.json_option
def command(
    tenant: str,
    client_id: str,
    secret_ref: str | None,
    certificate: Path | None,
    passphrase_ref: str | None,
    inside: tuple[str, ...],
    outside: tuple[str, ...],
    permission: str,
    send: bool,
    cloud: str | None,
    endpoints: Path | None,
    profile: Path | None,
    yes: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """See what a connector will meet, with its own credential and nothing else. Changes nothing, reads no content, sends nothing.

    Each line: what was asked, what was seen, what it means, what to do. From here a mailbox outside the scope, a grant that
    is missing and a refusal that the service remembers look alike; with --profile Exchange's test cmdlets and the rules over a
    fresh reading say which. Exit 0: all is as it must be, 1: something is not, 3: a change may not act yet (ready_at), 6: it
    could not be told.
    """
    if not inside:
        raise click.UsageError("Missing option '--mailbox'.")
    if cloud is not None and (endpoints is not None or profile is not None):
        raise click.UsageError("--cloud does not go with --endpoints or --profile, which name the cloud")
    if endpoints is not None and profile is not None:
        raise click.UsageError("--endpoints and --profile exclude each other: a profile has endpoints of its own")
    if profile is None and (yes or state is not None):
        raise click.UsageError("--yes and --state are about --profile")

    from exoscope import catalog
    from exoscope.checking.connector import EXITS, Question, check
    from exoscope.clock import SystemClock
    from exoscope.planning import WAITS
    from exoscope.profile import load_profile
    from exoscope.profile.given import profile_of_app

    if catalog.probe_for(permission) is None:
        raise BadInput(
            f"Graph has no call that asks for {permission} and reads no content",
            next="Name one of Mail, Calendars, Contacts or MailboxSettings; of Mail.Send --send says what can be known.",
        )
    question = Question(client_id, catalog.canonical(permission), _addresses(inside), _addresses(outside), send=send)
    both = {each.casefold() for each in question.inside} & {each.casefold() for each in question.outside}
    if both:
        raise BadInput(f"{sorted(both)[0]} stands under --mailbox and --not-mailbox")
    credential = _credential(secret_ref, certificate, passphrase_ref)
    operator = roads.profile_with_road(profile, yes=yes) if profile is not None else None
    if operator is not None and operator.operator is None:
        raise BadInput(
            f"{operator.path} has no [operator]: nobody to ask Exchange as", next="Use --endpoints, or add one."
        )
    like = operator or (load_profile(endpoints, os.environ) if endpoints is not None else None)
    used = profile_of_app(tenant, client_id, credential, cloud=cloud, like=like)
    clock = SystemClock()
    with ExitStack() as stack:
        side = None if operator is None else _side(operator, state, clock, stack)
        done = check(
            question,
            used,
            clock,
            side=side,
            cache=float(operator.waits.cache) if operator is not None else WAITS["cache"],
            progress=lambda text: frame.passing(plain(text)),
        )
    if as_json:
        frame.answer(done)
    else:
        _print(done)
    if EXITS[done.outcome]:
        frame.finish(EXITS[done.outcome])


def _addresses(given: Sequence[str]) -> tuple[str, ...]:
    """Each once. Raises BadInput for what is neither an address nor a Guid: it becomes a part of a path."""
    from exoscope.profile.given import is_guid

    for each in given:
        name, at, domain = each.partition("@")
        good = name and domain and "@" not in domain and each.isprintable() and not set(each) & set(' /\\?"<>')
        if not (at and good) and not is_guid(each):
            raise BadInput(f"{plain(each)!r} is no mailbox: write its user principal name or its directory id")
    found: dict[str, str] = {}
    for each in given:
        found.setdefault(each.casefold(), each)
    return tuple(found.values())


def _credential(secret_ref: str | None, certificate: Path | None, passphrase_ref: str | None) -> AppCredential:
    from exoscope.profile import AppCredential
    from exoscope.profile.given import reference

    if (secret_ref is None) == (certificate is None):
        raise click.UsageError("give --secret-ref or --certificate, one of the two")
    if passphrase_ref is not None and certificate is None:
        raise click.UsageError("--passphrase-ref goes with --certificate")
    return AppCredential(
        secret=reference(secret_ref, "--secret-ref") if secret_ref is not None else None,
        certificate=certificate,
        passphrase=reference(passphrase_ref, "--passphrase-ref") if passphrase_ref is not None else None,
    )


def _side(operator: Profile, state: Path | None, clock: Clock, stack: ExitStack) -> Side:
    """The operator's side of the check; nothing of it is opened before the app has asked."""
    from exoscope.checking.connector import Side
    from exoscope.planning import WAITS
    from exoscope.profile import on_loopback, state_dir
    from exoscope.reading import Connection
    from exoscope.running import Store

    connection = stack.enter_context(Connection(operator, clock, lambda text: frame.say(plain(text))))
    return Side(
        connection=connection,
        store=Store(state_dir(state, os.environ, operator)),
        waits={kind: float(getattr(operator.waits, kind)) for kind in WAITS},
        lengthen=not on_loopback(operator),
    )


def _print(done: ConnectorCheck) -> None:
    for each in done.lines:
        subject = f" {each.subject}" if each.subject else ""
        cause = f" ({each.cause})" if each.cause else ""
        line(f"{_WORDS[each.result]:8} {each.what}{subject}{cause}: {each.meaning}")
        line(f"         asked  {each.asked}")
        line(f"         seen   {each.seen}{f'; request id {each.request_id}' if each.request_id else ''}")
        if each.remedy:
            line(f"         do     {each.remedy}")
    line()
    line(f"Outcome: {done.outcome}")
    if done.stopped:
        line(done.stopped)
    if done.ready_at:
        line(f"Come back at {done.ready_at}.")
