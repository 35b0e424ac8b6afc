"""Credentials made, proven, handed over and removed, so that a process killed at any moment leaves nothing that nobody knows of.

Order: the place is checked; the intent is on the disk, with the name that the credential will carry; Entra makes it; its key id is
on the disk; the value goes to its place; that is on the disk. What stands between two of these is settled by :meth:`Maker.settle`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from exoscope import entra
from exoscope.clock import Clock, iso
from exoscope.entra.certificates import KeyPair, PublicCertificate, make_key_pair, read_key_pair, written
from exoscope.entra.credentials import (
    Application,
    NewSecret,
    add_certificate,
    add_secret,
    read_application,
    remove_credential,
    seen,
)
from exoscope.entra.graph import EVENTUAL
from exoscope.model import Noun, Secret
from exoscope.outcome import Deadline, Exit, ExoscopeError, SignInFailed, Transient
from exoscope.running.handed import Entry, Handed, Ledger, Stage
from exoscope.running.placing import Place, Screen, check_place, digest_at, found_at, put

YOUNG = timedelta(minutes=10)
"""A credential made this recently may not be in Graph's lists yet."""

SPREADING = frozenset({"7000215", "700027", "700016", "7000229"})
"""AADSTS codes with which a credential or app that is new is refused until it is known everywhere (facts, 4.5 and 5)."""

SignIn = Callable[[str, Secret | KeyPair], None]
"""Signs an app in with a credential. Raises SignInFailed, Transient …"""


class Made(Noun, frozen=True):
    """A credential that was made: its record, and what signs the app in with it (None: its key was never here)."""

    entry: Entry
    credential: Secret | KeyPair | None


def run_id(now: datetime) -> str:
    """The name of one making: it sorts by time, and stands in the credential's display name in Entra."""
    at = now.astimezone(UTC)
    return f"{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(2)}"


class Maker:
    """Makes and removes credentials of one application. The caller holds the tenant's lock.

    ``run`` stands in the display name of what is made. ``sign_in`` proves a credential; ``say`` gets sentences for people.
    """

    def __init__(
        self,
        graph: entra.GraphClient,
        ledger: Ledger,
        application: Application,
        *,
        run: str,
        clock: Clock,
        screen: Screen,
        sign_in: SignIn,
        say: Callable[[str], None],
    ) -> None:
        self._graph, self._ledger, self._clock, self._screen = graph, ledger, clock, screen
        self._sign_in, self._say = sign_in, say
        self.application = application
        self.run = run
        self.changed = False
        """Has this one made or removed something, beside settling what an earlier run had left?"""
        self.held: Handed = ledger.of(application.app_id, application.display_name)

    @property
    def touched(self) -> bool:
        """May something of this run stand in Entra that was not there before, or be gone?"""
        return self.changed or any(entry.open and entry.run == self.run for entry in self.held.entries)

    # -- making ------------------------------------------------------------------------------------------------

    def secret(self, place: Place, *, ends: datetime) -> Made:
        """A new secret, put into ``place``.

        Raises BadInput (the place), Refused (the tenant's policy), and the ServiceError family; ExoscopeError ``not-handed-over``
        where it was made, could not be handed over, and was removed again.
        """
        check_place(place, self._screen)
        entry = self._intend("secret", place)
        try:
            new = self._add_secret(entry, ends)
        except (Transient, Deadline):
            self._say("Graph did not answer: what it made, if anything, is removed, and another is made.")
            self._settle(entry)
            entry = self._intend("secret", place, again=" again")
            new = self._add_secret(entry, ends)
        self.changed = True
        entry = self._note(replace(entry, stage="made", key_id=new.key_id, expires=new.ends))
        entry = self._hand_over(entry, place, new.value.reveal().encode("utf-8"), "the client secret's value")
        return Made(entry, new.value)

    def _add_secret(self, entry: Entry, ends: datetime) -> NewSecret:
        try:
            return add_secret(self._graph, self.application, display_name=entry.display_name, ends=ends)
        except ExoscopeError as error:
            raise self._unmade(entry, error) from None

    def certificate(self, place: Place, *, ends: datetime, pfx: bool = False, passphrase: Secret | None = None) -> Made:
        """A new key and certificate; the certificate goes to Entra, both into the file ``place``. Raises as :meth:`secret`."""
        check_place(place, self._screen)
        pair = make_key_pair(f"exoscope {self.run}", now=self._clock.now(), ends=ends)
        data = written(pair, pfx=pfx, name=f"exoscope {self.run}", passphrase=passphrase)
        entry = self._intend("certificate", place, thumbprint=pair.public.thumbprint)
        entry = self._upload(replace(entry, file_sha256=hashlib.sha256(data).hexdigest()), pair.public)
        entry = self._hand_over(entry, place, data, "the certificate with its key")
        return Made(entry, pair)

    def temporary(self, *, ends: datetime) -> Made:
        """A certificate whose key stays in memory and ends with this process. Raises as :meth:`secret`."""
        pair = make_key_pair(f"exoscope {self.run}", now=self._clock.now(), ends=ends)
        entry = self._intend("certificate", None, thumbprint=pair.public.thumbprint, temporary=True)
        return Made(self._upload(entry, pair.public), pair)

    def given(self, certificate: PublicCertificate) -> Made:
        """A certificate of somebody else, whose key was never here. Raises as :meth:`secret`."""
        entry = self._intend("certificate", None, thumbprint=certificate.thumbprint, given=True)
        entry = self._upload(entry, certificate)
        return Made(self._note(replace(entry, stage="handed-over")), None)

    def _intend(
        self,
        kind: str,
        place: Place | None,
        *,
        thumbprint: str | None = None,
        given: bool = False,
        temporary: bool = False,
        again: str = "",
    ) -> Entry:
        now = iso(self._clock.now())
        return self._note(
            Entry(
                run=self.run,
                kind="secret" if kind == "secret" else "certificate",
                display_name=f"exoscope {self.run}{again}",
                stage="making",
                place=None if place is None else place.kind,
                where=None if place is None else place.where,
                began_at=now,
                changed_at=now,
                thumbprint=thumbprint,
                given=given,
                temporary=temporary,
            )
        )

    def _upload(self, entry: Entry, certificate: PublicCertificate) -> Entry:
        known = [
            e for e in self.held.entries if e.kind == "certificate" and e.key_id and e.stage in ("made", "handed-over")
        ]
        listed = {each.key_id.casefold() for each in self.application.credentials}
        try:
            made = add_certificate(
                self._graph,
                self.application,
                certificate,
                display_name=entry.display_name,
                clock=self._clock,
                # what is not in the list that was read at the start was removed by somebody; what is must still be there
                expected=[e.key_id for e in known if e.key_id is not None and e.key_id.casefold() in listed],
            )
        except ExoscopeError as error:
            raise self._unmade(entry, error) from None
        self.changed = True
        return self._note(replace(entry, stage="made", key_id=made.key_id, expires=made.end))

    def _unmade(self, entry: Entry, error: ExoscopeError) -> ExoscopeError:
        """An error of making. Where it says that nothing happened, the intent is closed; else the next command settles it."""
        if not isinstance(error, Transient | Deadline) and not error.changed:
            self._note(replace(entry, stage="lost"))
        return error

    def _hand_over(self, entry: Entry, place: Place, data: bytes, what: str) -> Entry:
        try:
            put(place, data, what, self._screen)
        except ExoscopeError as error:
            self._say(f"It could not be put into the {place}: it is removed again.")
            self._remove(entry, "lost")
            raise ExoscopeError(
                f"a credential was made and could not be handed over ({error.message}); it was removed again",
                code="not-handed-over",
                changed=True,
                exit=Exit.STOPPED,
                next=error.next or "Name another place and run the same command again.",
            ) from None
        return self._note(replace(entry, stage="handed-over"))

    # -- proving -----------------------------------------------------------------------------------------------

    def seen(self, made: Made) -> None:
        """Read it back from Graph's list. Raises Unreadable ``stale-list``."""
        if made.entry.key_id is not None:
            seen(self._graph, self.application, made.entry.key_id, self._clock)
            self._sweep()

    def prove(self, credential: Secret | KeyPair) -> None:
        """Sign the app in with it. A new one is refused until it is known everywhere: that is waited for, about a minute.

        Raises SignInFailed and the rest of ServiceError.
        """
        for pause in (*EVENTUAL, None):
            try:
                self._sign_in(self.application.app_id, credential)
                return
            except SignInFailed as error:
                if pause is None or error.service_code not in SPREADING:
                    raise
                self._clock.sleep(pause)

    def lying_in(self, place: Place, kind: str) -> Secret | KeyPair | None:
        """The credential that lies in a place; None: nothing does, or a key that a passphrase keeps."""
        held = found_at(place)
        if not held or kind == "secret":
            return held
        return read_key_pair(held)

    # -- removing ----------------------------------------------------------------------------------------------

    def remove(self, key_id: str) -> None:
        """Remove a credential of the application, whoever made it; a record of it says so then."""
        remove_credential(self._graph, self.application, key_id, self._clock)
        self.changed = True
        entry = self.held.of_key(key_id)
        if entry is not None:
            self._note(replace(entry, stage="removed"))

    def _remove(self, entry: Entry, stage: Stage) -> None:
        if entry.key_id is not None:
            # made a moment ago: until a list shows it, "not there" says nothing
            seen(self._graph, self.application, entry.key_id, self._clock)
            remove_credential(self._graph, self.application, entry.key_id, self._clock)
        self._note(replace(entry, stage=stage))

    # -- what earlier processes left ---------------------------------------------------------------------------

    def settle(self) -> tuple[Entry, ...]:
        """Settle what stopped between its making and its hand-over: kept where it lies in its place and works, else removed.

        Returns what was settled, each with its new stage; what became of each is said. Raises the ServiceError family, Unreadable.
        """
        settled = [self._settle(entry) for entry in self.held.entries if entry.open]
        self._sweep()
        return tuple(settled)

    def _sweep(self) -> None:
        """Remove what carries the name of one of ours and is not it: nobody has its value. It was in no list when it was looked
        for; or Graph had made it and answered 503, after which another was made under the same name."""
        known = {
            each.display_name: each for each in self.held.entries if each.stage in ("lost", "removed", "handed-over")
        }
        for late in read_application(self._graph, self.application.object_id).credentials:
            entry = known.get(late.display_name or "")
            if entry is None or (entry.stage == "handed-over" and entry.key_id is None):
                continue
            if entry.stage == "lost" or str(entry.key_id).casefold() != late.key_id.casefold():
                remove_credential(self._graph, self.application, late.key_id, self._clock)
                self._say(
                    f"{late.display_name} ({late.key_id}), of which nobody has the value, has shown up and was removed."
                )

    def _settle(self, entry: Entry) -> Entry:
        name = entry.display_name
        if entry.stage == "made" and self._lies_there(entry):
            self._say(f"An earlier run put {name} into its place and was stopped: it works, and is kept.")
            return self._note(replace(entry, stage="handed-over"))
        found = self._named(entry)
        for key_id in found:
            remove_credential(self._graph, self.application, key_id, self._clock)
        if found:
            why = "its key was in memory only" if entry.temporary else "its value was lost"
            self._say(f"An earlier run was stopped after it had made {name}: {why}, so it was removed.")
        else:
            self._say(f"An earlier run was stopped while it made {name}: Entra has no such credential.")
        return self._note(replace(entry, stage="removed" if entry.temporary else "lost"))

    def _named(self, entry: Entry) -> list[str]:
        """Key ids of credentials that carry the entry's name; one made a moment ago may take a minute to be listed."""
        young = self._clock.now() - datetime.fromisoformat(entry.began_at) < YOUNG
        for pause in (*EVENTUAL, None):
            listed = read_application(self._graph, self.application.object_id).credentials
            found = [each.key_id for each in listed if each.display_name == entry.display_name]
            if found or pause is None or not young:
                return found
            if pause == EVENTUAL[0]:
                self._say(
                    f"Looking for what an earlier run may have made, {entry.display_name}: lists may be a minute behind."
                )
            self._clock.sleep(pause)
        return []

    def _lies_there(self, entry: Entry) -> bool:
        """Is what was made in the place it was made for? The place was empty then, and is written in one step."""
        if entry.place not in ("file", "keyring") or entry.where is None:
            return False
        place = Place(entry.place, entry.where)
        if entry.kind == "certificate":
            return digest_at(place) == entry.file_sha256
        held = found_at(place)
        if not held:
            return False
        try:
            self.prove(held)
        except SignInFailed:
            return False
        return True

    def _note(self, entry: Entry) -> Entry:
        entry = replace(entry, changed_at=iso(self._clock.now()))
        self.held = self._ledger.put(self.held, entry)
        return entry


def kept_in(settled: Iterable[Entry], kind: str, place: Place) -> Entry | None:
    """What an earlier run had put into this place before it was stopped: with it the job is done, and nothing is made again."""
    for entry in settled:
        if entry.stage == "handed-over" and (entry.kind, entry.place, entry.where) == (kind, place.kind, place.where):
            return entry
    return None
