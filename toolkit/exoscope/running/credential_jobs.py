"""``exoscope credentials``: list, add, rotate, remove, each from a connection to its answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal

from exoscope import entra
from exoscope.clock import Clock
from exoscope.entra.certificates import KeyPair, PublicCertificate
from exoscope.entra.credentials import (
    Application,
    credential_policy,
    find_application,
    list_applications,
    read_application,
)
from exoscope.model import Noun, Secret
from exoscope.outcome import BadInput, Exit, ExoscopeError, Refused, ServiceError, SignInFailed, WrongTenant
from exoscope.profile import Profile
from exoscope.reading import Connection
from exoscope.running.answer import INTERRUPTED
from exoscope.running.credential_answers import (
    AppCredentials,
    CredentialLine,
    CredentialsAnswer,
    MadeAnswer,
    RemovedAnswer,
    Settled,
    chosen_end,
    due,
    lines_of,
)
from exoscope.running.credentials import Made, Maker, SignIn, kept_in, run_id
from exoscope.running.handed import Entry, Ledger
from exoscope.running.placing import Place, Screen
from exoscope.running.store import Store

log = logging.getLogger("exoscope.running")

USUAL = timedelta(days=180)
LONGEST_CERTIFICATE = timedelta(days=365)
"""A certificate credential ends a year after its start at the latest (applications-how-to-add-certificate)."""

Say = Callable[[str], None]
Approve = Callable[[str], bool]
"""Asks a question."""


class Asked(Noun, frozen=True):
    """What to make. ``given``: a certificate of somebody else; else ``place`` is where the new one goes."""

    kind: Literal["secret", "certificate"]
    place: Place | None
    lifetime: timedelta | None = None
    given: PublicCertificate | None = None
    pfx: bool = False
    passphrase: Secret | None = None


class Work(Noun, frozen=True):
    """An app at work, its tenant locked: the maker, what an earlier run had left, and Graph."""

    maker: Maker
    graph: entra.GraphClient
    settled: tuple[Entry, ...]
    clock: Clock

    def lines(self) -> tuple[CredentialLine, ...]:
        """The app's credentials now."""
        application = read_application(self.graph, self.maker.application.object_id)
        return lines_of(application, self.maker.held, self.clock.now())

    def told(self) -> tuple[Settled, ...]:
        """What was settled."""
        return tuple(Settled(each.display_name, each.stage) for each in self.settled)


def list_credentials(
    profile: Profile, store: Store, app: str | None, expiring: timedelta | None, *, clock: Clock, say: Say
) -> CredentialsAnswer:
    """The credentials of one app, or of every app registered in the tenant. Reads only."""
    with Connection(profile, clock, say) as connection:
        ledger = Ledger(store.state, connection.prove_tenant().id)
        found = [find_application(connection.graph, app)] if app is not None else list_applications(connection.graph)
        now = clock.now()
        apps = [
            AppCredentials(
                each.app_id, each.display_name, lines_of(each, ledger.of(each.app_id, each.display_name), now)
            )
            for each in found
        ]
    apps.sort(key=lambda each: (each.display_name.casefold(), each.app_id))
    return CredentialsAnswer(tuple(apps), None if expiring is None else due(apps, expiring, now))


@contextmanager
def at_work(profile: Profile, store: Store, app: str, *, clock: Clock, screen: Screen, say: Say) -> Iterator[Work]:
    """Open an app for changes: the tenant proven and locked, what an earlier run had left settled.

    Raises NotFound, Ambiguous, Refused (``registered-elsewhere``, ``locked``), Unreadable, and the ServiceError family.
    """
    with Connection(profile, clock, say) as connection:
        tenant = connection.prove_tenant()
        application = find_application(connection.graph, app)
        with store.lock(tenant.id):
            graph = connection.graph_writes
            maker = Maker(
                graph,
                Ledger(store.state, tenant.id),
                application,
                run=run_id(clock.now()),
                clock=clock,
                screen=screen,
                sign_in=signing_in(connection.tokens, tenant.id),
                say=say,
            )
            with _telling(maker):
                yield Work(maker, graph, maker.settle(), clock)


@contextmanager
def _telling(maker: Maker) -> Iterator[None]:
    """What goes wrong after something was made or removed says so, and ends with exit 5."""
    again = "Run the same command again: it settles what was left. See exoscope credentials list."
    try:
        yield
    except ExoscopeError as error:
        if maker.touched and not error.changed:
            error.changed, error.exit, error.next = True, Exit.STOPPED, error.next or again
        raise
    except KeyboardInterrupt:
        if not maker.touched:
            raise
        raise ExoscopeError("interrupted", code=INTERRUPTED, changed=True, exit=Exit.STOPPED, next=again) from None
    except Exception as error:
        if not maker.touched:
            raise
        log.debug("internal error", exc_info=True)
        raise ExoscopeError(
            f"internal error: {type(error).__name__}",
            code="internal-error",
            changed=True,
            exit=Exit.STOPPED,
            next=again,
        ) from None


def signing_in(tokens: entra.Tokens, tenant_id: str) -> SignIn:
    """Signs an app in with a credential at hand, and forgets both again."""

    def sign_in(app_id: str, credential: Secret | KeyPair) -> None:
        tokens.give(app_id, credential)
        try:
            found = tokens.app(app_id, fresh=True).tenant_id
        finally:
            tokens.give(app_id, None)
        if found is not None and found.casefold() != tenant_id.casefold():
            raise WrongTenant(f"the token of {app_id} is of the tenant {found}; meant is {tenant_id}")

    return sign_in


def add(work: Work, asked: Asked) -> MadeAnswer:
    """Add a credential beside those that are there, hand it over and read it back."""
    entry = _made(work, asked).entry
    return _answer(work, entry, proven=False, removed=())


def rotate(work: Work, asked: Asked, old: Sequence[str], approve: Approve) -> MadeAnswer:
    """Add a credential, hand it over, prove with a token that it signs in, and then remove ``old`` (key ids), after a yes.

    A no leaves them. Raises BadInput where an old one is not there, or nothing here could prove the new one; ExoscopeError
    ``not-proven`` (exit 5) where it does not sign in: then the old ones stay too.
    """
    _known(work, old)
    if asked.given is not None and old:
        raise BadInput(
            "the key of a given certificate is not here, so nothing here can prove that it signs in",
            next="Add it, see that the app signs in with it, and then run exoscope credentials remove.",
        )
    made = _made(work, asked)
    if made.entry.key_id is not None and made.entry.key_id.casefold() in {each.casefold() for each in old}:
        # An earlier run was stopped after it had put this one into its place: it is the one to change over to.
        raise BadInput(
            f"{made.entry.key_id} is the new credential, which an earlier run has put into {made.entry.where}: it is not removed",
            next="Name the old ones with --remove; see exoscope credentials list.",
        )
    proven = asked.given is None
    if proven:
        _prove(work, made)
    removed: list[str] = []
    if old and approve(_question(work, old, but=made.entry.key_id)):
        for key_id in old:
            work.maker.remove(key_id)
            removed.append(key_id)
    return _answer(work, made.entry, proven=proven, removed=removed)


def remove(work: Work, old: Sequence[str], approve: Approve) -> RemovedAnswer:
    """Remove credentials by key id, after a yes. Raises Refused (``not-approved``), BadInput where one is not there."""
    _known(work, old)
    if not approve(_question(work, old, but=None)):
        raise Refused("not approved", code="not-approved")
    for key_id in old:
        work.maker.remove(key_id)
    application = work.maker.application
    return RemovedAnswer(application.app_id, application.display_name, tuple(old), work.lines(), work.told())


def _made(work: Work, asked: Asked) -> Made:
    """The new credential, or the one that an earlier run had put into the same place before it was stopped."""
    if asked.given is not None:
        return _seen(work, work.maker.given(asked.given))
    if asked.place is None:
        raise BadInput("no place is named for the new credential")
    kept = kept_in(work.settled, asked.kind, asked.place)
    if kept is not None:
        return Made(kept, work.maker.lying_in(asked.place, asked.kind))
    policy = credential_policy(work.graph)
    if asked.kind == "secret":
        ends = chosen_end(work.clock.now(), asked.lifetime, USUAL, policy.secret_lifetime if policy else None)
        return _seen(work, work.maker.secret(asked.place, ends=ends))
    if asked.lifetime is not None and asked.lifetime > LONGEST_CERTIFICATE:
        raise BadInput("a certificate is good for a year at most", next="Give --lifetime 365d or less.")
    ends = chosen_end(work.clock.now(), asked.lifetime, USUAL, policy.certificate_lifetime if policy else None)
    return _seen(work, work.maker.certificate(asked.place, ends=ends, pfx=asked.pfx, passphrase=asked.passphrase))


def _seen(work: Work, made: Made) -> Made:
    work.maker.seen(made)
    return made


def _prove(work: Work, made: Made) -> None:
    try:
        if made.credential is None:
            raise SignInFailed(
                f"what lies in {made.entry.where} cannot be opened here", next="Sign in with it yourself."
            )
        work.maker.prove(made.credential)
    except ServiceError as error:
        raise ExoscopeError(
            f"the new credential {made.entry.key_id} was made and handed over, and it is not proven that the app signs in with it: "
            f"{error.message}. Nothing was removed",
            code="not-proven",
            changed=True,
            exit=Exit.STOPPED,
            next=f"{error.next} Then remove the old one with exoscope credentials remove; or remove the new one.".strip(),
        ) from None


def _known(work: Work, old: Sequence[str]) -> None:
    held = {each.key_id.casefold() for each in work.maker.application.credentials}
    missing = [each for each in old if each.casefold() not in held]
    if missing:
        raise BadInput(
            f"{work.maker.application.display_name} has no credential {', '.join(missing)}",
            code="not-found",
            next="See exoscope credentials list.",
        )


def _question(work: Work, old: Sequence[str], *, but: str | None) -> str:
    application = read_application(work.graph, work.maker.application.object_id)
    gone = {each.casefold() for each in old}
    named = "; ".join(_words(application, each) for each in old)
    left = [each for each in application.credentials if each.key_id.casefold() not in gone]
    last = "" if left else " It is the last: the app cannot sign in afterwards."
    new = f" The new one, {but}, signs in." if but is not None else ""
    return f"Remove from {application.display_name}: {named}?{new}{last} Whoever still uses it is locked out at once"


def _words(application: Application, key_id: str) -> str:
    for each in application.credentials:
        if each.key_id.casefold() == key_id.casefold():
            return f"{each.kind} {key_id} ({each.display_name or 'no name'}, ends {each.end or 'unknown'})"
    return key_id


def _answer(work: Work, entry: Entry, *, proven: bool, removed: Sequence[str]) -> MadeAnswer:
    application = work.maker.application
    gone = {each.casefold() for each in (*removed, entry.key_id or "")}
    return MadeAnswer(
        app_id=application.app_id,
        display_name=application.display_name,
        run=entry.run,
        kind=entry.kind,
        key_id=entry.key_id,
        expires=entry.expires,
        thumbprint=entry.thumbprint,
        place=entry.place,
        where=entry.where,
        proven=proven,
        removed=tuple(removed),
        others=tuple(line for line in work.lines() if line.key_id.casefold() not in gone),
        settled=work.told(),
    )
