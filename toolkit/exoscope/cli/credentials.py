"""``exoscope credentials``: an app's secrets and certificates, listed, added, rotated, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import changing, frame
from exoscope.cli.printing import line, plain, seconds
from exoscope.outcome import BadInput

if TYPE_CHECKING:
    from exoscope.profile import Profile
    from exoscope.running import Store
    from exoscope.running.credential_answers import CredentialLine, MadeAnswer, Settled
    from exoscope.running.credential_jobs import Asked, Work

command = frame.Group(
    "credentials",
    short_help="List, add, rotate and remove an app's secrets and certificates.",
    help="List, add, rotate and remove an app's secrets and certificates. For apps registered in this tenant, over Graph.",
)


def app_option(function: frame.Decorated) -> frame.Decorated:
    """``--app APP`` of a command that changes."""
    return click.option(
        "--app",
        required=True,
        metavar="APP",
        help="An app registered in this tenant: appId, object id or display name.",
    )(function)


def yes_option(function: frame.Decorated) -> frame.Decorated:
    """``--yes`` of a command that removes."""
    return click.option("--yes", is_flag=True, help="Do not ask before something is removed.")(function)


def making_options(function: frame.Decorated) -> frame.Decorated:
    """What to make and where it goes."""
    for option in reversed(
        (
            click.option(
                "--kind",
                type=click.Choice(["secret", "certificate"]),
                default="secret",
                show_default=True,
                help="What to make. A certificate's key is made here and never leaves this machine.",
            ),
            click.option(
                "--certificate",
                type=click.Path(dir_okay=False, path_type=Path),
                metavar="FILE",
                help="Instead: upload this certificate (PEM or DER), whose key somebody else keeps.",
            ),
            click.option(
                "--lifetime",
                type=frame.Duration(),
                help="How long it is good (90d …). Else 180d, or the longest that the tenant's policy lets in.",
            ),
            click.option(
                "--file",
                type=click.Path(dir_okay=False, path_type=Path),
                metavar="FILE",
                help="Put it into this new file, which only you can read: a secret's value, or a certificate with its key "
                "(PFX where the name ends in .pfx, else PEM).",
            ),
            click.option("--keyring", metavar="SERVICE/USER", help="Put a secret into this entry of the keyring."),
            click.option("--terminal", is_flag=True, help="Show a secret on the terminal once, after a key press."),
            click.option("--reveal", is_flag=True, help="Write a secret to standard output, whoever reads that."),
            click.option(
                "--passphrase",
                metavar="REF",
                help="Encrypt a certificate's key with the passphrase behind this reference (env:NAME, file:PATH …).",
            ),
        )
    ):
        function = option(function)
    return function


# -- the commands ----------------------------------------------------------------------------------------------------


@command.command("list", short_help="Show what apps sign in with, and for how long.")
@click.option("--app", metavar="APP", help="One app only: appId, object id or display name.")
@click.option(
    "--expiring",
    type=frame.Duration(),
    help="For a monitor: exit 1 where something ends within this time (30d), or every credential of an app has ended.",
)
@frame.profile_option
@frame.state_option
@frame.json_option
def list_(app: str | None, expiring: float | None, profile: Path | None, state: Path | None, as_json: bool) -> None:
    """Show what apps sign in with, and for how long.

    Every app that is registered in the tenant, or the one named: its secrets and certificates as Entra lists them, the days
    left, and where exoscope put those that it made. Reads only. Exit 1 only with --expiring.
    """
    from exoscope.clock import SystemClock
    from exoscope.running.credential_answers import exit_of_list
    from exoscope.running.credential_jobs import list_credentials

    loaded, store = _profile(profile, state)
    within = None if expiring is None else timedelta(seconds=expiring)
    answer = list_credentials(loaded, store, app, within, clock=SystemClock(), say=lambda text: frame.say(plain(text)))
    if as_json:
        frame.answer(answer)
    else:
        for each in answer.apps:
            line(f"{each.display_name} ({each.app_id})")
            _lines(each.credentials)
            if not each.credentials:
                line("  no secret and no certificate")
        for found in answer.due or ():
            line(f"Due: {found.display_name}{f', {found.key_id}' if found.key_id else ''}: {found.why}.")
        if answer.due == ():
            frame.say("Nothing is due.")
    if exit_of_list(answer):
        frame.finish(exit_of_list(answer))


@command.command("add", short_help="Add a secret or certificate and hand it over.")
@app_option
@making_options
@frame.profile_option
@frame.state_option
@frame.json_option
def add(app: str, profile: Path | None, state: Path | None, as_json: bool, **making: object) -> None:
    """Add a secret or certificate and hand it over.

    Its place (--file, --keyring, --terminal or --reveal; on a terminal that one by default) is checked before anything is made.
    Nothing that is there is changed. A run that stopped before the hand-over is settled first: what it made is removed.
    """
    from exoscope.running.credential_jobs import add as run

    asked = _asked(as_json=as_json, **making)  # type: ignore[arg-type]  # click gives what the options above say
    with _work(app, profile, state) as work:
        _print(run(work, asked), as_json=as_json)


@command.command("rotate", short_help="Add a credential, prove it, and remove the old ones that are named.")
@app_option
@making_options
@click.option(
    "--remove",
    "old",
    multiple=True,
    metavar="KEYID",
    help="Remove this old credential once the new one has signed in. May be given more than once.",
)
@yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def rotate(
    app: str,
    old: tuple[str, ...],
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
    **making: object,
) -> None:
    """Add a credential, prove it, and remove the old ones that are named.

    As add; then the app signs in with the new credential, and only after that, and a yes, what --remove names is removed. Without
    --remove both act side by side, so that the connector can change over: then use exoscope credentials remove. Exit 5 where
    the new one is made and not proven: the old ones stay.
    """
    from exoscope.running.credential_jobs import rotate as run

    asked = _asked(as_json=as_json, **making)  # type: ignore[arg-type]  # click gives what the options above say
    if old:
        changing.need_somebody(yes, "--yes")
    with _work(app, profile, state) as work:
        _print(run(work, asked, old, lambda question: yes or _yes(question)), as_json=as_json)


@command.command("remove", short_help="Remove secrets or certificates by key id.")
@app_option
@click.option(
    "--key-id", "old", multiple=True, required=True, metavar="KEYID", help="Which. May be given more than once."
)
@yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def remove(app: str, old: tuple[str, ...], yes: bool, profile: Path | None, state: Path | None, as_json: bool) -> None:
    """Remove secrets or certificates by key id.

    Asks, naming each and saying where it is the app's last. Whoever uses one is locked out at once; tokens act until they end.
    """
    from exoscope.running.credential_jobs import remove as run

    changing.need_somebody(yes, "--yes")
    with _work(app, profile, state) as work:
        answer = run(work, old, lambda question: yes or _yes(question))
    if as_json:
        frame.answer(answer)
        return
    _settled(answer.settled)
    line(
        f"{answer.display_name}: removed {', '.join(answer.removed)}."
        + (" Left:" if answer.others else " None is left.")
    )
    _lines(answer.others)


# -- helpers ---------------------------------------------------------------------------------------------------------


def _profile(path: Path | None, state: Path | None) -> tuple[Profile, Store]:
    from exoscope.profile import load_profile, state_dir
    from exoscope.running import Store

    loaded = load_profile(path, os.environ)
    return loaded, Store(state_dir(state, os.environ, loaded))


@contextmanager
def _work(app: str, path: Path | None, state: Path | None) -> Iterator[Work]:
    from exoscope.cli.screens import TerminalScreen
    from exoscope.clock import SystemClock
    from exoscope.running.credential_jobs import at_work

    loaded, store = _profile(path, state)
    with at_work(
        loaded, store, app, clock=SystemClock(), screen=TerminalScreen(), say=lambda text: frame.say(plain(text))
    ) as work:
        yield work


def _asked(
    *,
    as_json: bool,
    kind: str,
    certificate: Path | None,
    lifetime: float | None,
    file: Path | None,
    keyring: str | None,
    terminal: bool,
    reveal: bool,
    passphrase: str | None,
) -> Asked:
    from exoscope.entra.certificates import read_certificate
    from exoscope.profile import resolve
    from exoscope.profile.given import reference
    from exoscope.running.credential_jobs import Asked
    from exoscope.running.placing import Place, file_place, keyring_place

    places = [file is not None, keyring is not None, terminal, reveal]
    if certificate is not None:
        if any(places) or lifetime is not None or passphrase is not None:
            raise click.UsageError(
                "--certificate is somebody else's: it has its lifetime, and there is nothing to put anywhere"
            )
        data = frame.read_file(certificate)
        return Asked("certificate", None, given=read_certificate(data, str(certificate)))
    if sum(places) > 1:
        raise click.UsageError("--file, --keyring, --terminal and --reveal exclude each other")
    if reveal and as_json:
        raise click.UsageError("--reveal writes the secret to standard output, where --json writes the answer")
    if kind == "certificate" and file is None:
        raise click.UsageError("a certificate with its key goes into a file: give --file")
    if passphrase is not None and kind != "certificate":
        raise click.UsageError("--passphrase is about --kind certificate")
    if lifetime is not None and lifetime < 3600:
        raise BadInput("--lifetime must be an hour at least")
    place = Place("output") if reveal else Place("terminal")
    if file is not None:
        place = file_place(file)
    elif keyring is not None:
        place = keyring_place(keyring)
    elif not reveal and not frame.interactive():
        raise click.UsageError("there is no terminal: give --file, --keyring or --reveal")
    return Asked(
        kind="secret" if kind == "secret" else "certificate",
        place=place,
        lifetime=None if lifetime is None else timedelta(seconds=lifetime),
        pfx=file is not None and file.suffix.casefold() in (".pfx", ".p12"),
        passphrase=None if passphrase is None else resolve(reference(passphrase, "--passphrase")),
    )


def _yes(question: str) -> bool:
    frame.clear()
    return click.confirm(plain(question), default=False, err=True)


def _print(answer: MadeAnswer, *, as_json: bool) -> None:
    if as_json:
        frame.answer(answer)
        return
    told = frame.say if answer.place == "output" else line  # stdout holds a revealed secret alone
    _settled(answer.settled)
    where = f", in {answer.where}" if answer.where else ""
    ends = seconds(answer.expires) if answer.expires else "at a time that is not known"
    told(f"{answer.display_name}: {answer.kind} {answer.key_id}, ends {ends}{where}.")
    if answer.proven:
        told("The app signs in with it.")
    if answer.removed:
        told(f"Removed: {', '.join(answer.removed)}.")
    for each in answer.others:
        frame.say(plain(f"Also there: {_words(each)}"))


def _lines(lines: tuple[CredentialLine, ...]) -> None:
    for each in lines:
        line(f"  {_words(each)}")


def _words(each: CredentialLine) -> str:
    end = seconds(each.end or "")
    left = "no end is known" if each.days_left is None else f"{each.days_left} day(s) left, ends {end}"
    if each.state == "expired":
        left = f"expired, ended {end}"
    where = f", put into {each.where or each.place}" if each.place else ""
    return f"{each.kind} {each.key_id} {each.display_name or '(no name)'}: {left}{where}"


def _settled(settled: tuple[Settled, ...]) -> None:
    for each in settled:
        frame.say(plain(f"Of an earlier run: {each.display_name}, {each.stage}."))
