"""What the commands about credentials answer, and when one is due. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from exoscope.entra.credentials import Application
from exoscope.model import Credential, Noun
from exoscope.outcome import Exit
from exoscope.running.handed import Entry, Handed, Stage
from exoscope.running.placing import PlaceKind

MARGIN = timedelta(minutes=5)


class CredentialLine(Noun, frozen=True):
    """A credential as Entra lists it. ``days_left`` rounded down, negative once it has ended; null with ``state`` unknown: Entra
    names no end that can be read. ``run``, ``place``, ``where``: who made it and where it went, as far as exoscope knows.
    """

    kind: Literal["secret", "certificate"]
    key_id: str
    display_name: str | None
    start: str | None
    end: str | None
    days_left: int | None
    state: Literal["live", "expired", "unknown"]
    run: str | None = None
    place: PlaceKind | None = None
    where: str | None = None


class AppCredentials(Noun, frozen=True):
    """An app and its credentials, those that end first before the others."""

    app_id: str
    display_name: str
    credentials: tuple[CredentialLine, ...]


class Due(Noun, frozen=True):
    """Why a monitor should speak up. ``key_id`` null: it is about the whole app."""

    app_id: str
    display_name: str
    key_id: str | None
    end: str | None
    days_left: int | None
    why: str


class CredentialsAnswer(Noun, frozen=True):
    """``exoscope credentials list``. ``due`` null: nobody asked with ``--expiring``."""

    apps: tuple[AppCredentials, ...]
    due: tuple[Due, ...] | None


class Settled(Noun, frozen=True):
    """What became of a credential that an earlier run had left: ``handed-over``, ``lost`` (removed) or ``removed``."""

    display_name: str
    stage: Stage


class MadeAnswer(Noun, frozen=True):
    """``exoscope credentials add`` and ``rotate``. ``proven``: the app signed in with it. ``removed``: key ids; ``others``: what
    the app has beside the new one.
    """

    app_id: str
    display_name: str
    run: str
    kind: Literal["secret", "certificate"]
    key_id: str | None
    expires: str | None
    thumbprint: str | None
    place: PlaceKind | None
    where: str | None
    proven: bool
    removed: tuple[str, ...]
    others: tuple[CredentialLine, ...]
    settled: tuple[Settled, ...]


class RemovedAnswer(Noun, frozen=True):
    """``exoscope credentials remove``: key ids that are gone, and what the app has left."""

    app_id: str
    display_name: str
    removed: tuple[str, ...]
    others: tuple[CredentialLine, ...]
    settled: tuple[Settled, ...]


def lines_of(application: Application, held: Handed, now: datetime) -> tuple[CredentialLine, ...]:
    """An app's credentials, those that end first before the others, and those of which no end is known first of all."""
    lines = [_line(each, held.of_key(each.key_id), now) for each in application.credentials]
    return tuple(sorted(lines, key=lambda line: (line.days_left is not None, line.days_left or 0, line.key_id)))


def _line(credential: Credential, entry: Entry | None, now: datetime) -> CredentialLine:
    end = moment_of(credential.end)
    return CredentialLine(
        kind=credential.kind,
        key_id=credential.key_id,
        display_name=credential.display_name,
        start=credential.start,
        end=credential.end,
        days_left=None if end is None else (end - now) // timedelta(days=1),
        state="unknown" if end is None else ("live" if end > now else "expired"),
        run=None if entry is None else entry.run,
        place=None if entry is None else entry.place,
        where=None if entry is None else entry.where,
    )


def moment_of(text: str | None) -> datetime | None:
    """A time as Graph writes it; None where it is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def due(apps: Iterable[AppCredentials], within: timedelta, now: datetime) -> tuple[Due, ...]:
    """Live credentials that end within this time, those of which no end is known, and apps whose every credential has ended.

    An expired one beside a live one is nobody's trouble any more; an app without any has none to lose.
    """
    found: list[Due] = []
    for app in apps:
        for line in app.credentials:
            end = moment_of(line.end)
            if end is None:
                found.append(_due(app, line, "Entra names no end of it"))
            elif now < end <= now + within:
                found.append(_due(app, line, f"the {line.kind} ends in {line.days_left} day(s)"))
        if app.credentials and all(line.state == "expired" for line in app.credentials):
            found.append(_due(app, None, "every credential of the app has ended"))
    return tuple(found)


def _due(app: AppCredentials, line: CredentialLine | None, why: str) -> Due:
    if line is None:
        return Due(app.app_id, app.display_name, None, None, None, why)
    return Due(app.app_id, app.display_name, line.key_id, line.end, line.days_left, why)


def exit_of_list(answer: CredentialsAnswer) -> Exit:
    """1 where a monitor should speak up, else 0."""
    return Exit.FINDINGS if answer.due else Exit.DONE


def chosen_end(now: datetime, asked: timedelta | None, usual: timedelta, longest: timedelta | None) -> datetime:
    """When a new credential ends: as asked for; else after the usual time, or the longest that the tenant's policy lets in.

    A little earlier than that: it begins by Entra's clock, which may be behind ours, and must not live longer than it may.
    """
    lifetime = asked or (usual if longest is None else min(usual, longest))
    return (now + lifetime - MARGIN).replace(microsecond=0)
