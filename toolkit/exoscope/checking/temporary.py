"""``verify --temporary-credential``: an app of this tenant, of which no credential is at hand, signs in with a certificate that is
added for the proof and removed after it, whatever comes of that.

Its key is in memory only. The record in the state folder is written before it is added: one that a killed process has left ends
within the hour, and the next command that makes or removes credentials of the app, or this one, removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from exoscope.clock import Clock, iso
from exoscope.entra import can_probe
from exoscope.entra.credentials import read_application
from exoscope.model import App, Secret
from exoscope.outcome import Exit, ExoscopeError, ServiceError
from exoscope.proving import AppClaim, Options
from exoscope.reading import Connection
from exoscope.running import Store
from exoscope.running.credential_jobs import signing_in
from exoscope.running.credentials import Made, Maker, run_id
from exoscope.running.handed import Ledger

LIFETIME = timedelta(hours=1)


class _Nowhere:
    """No place is needed: the key is not handed over."""

    def interactive(self) -> bool:
        return False

    def show_once(self, what: str, value: Secret) -> None:
        raise TypeError("a temporary key is shown to nobody")

    def reveal(self, value: Secret) -> None:
        raise TypeError("a temporary key is shown to nobody")


class TemporaryCredentials:
    """Lends certificates for one proof; what was done is told in sentences for the security team."""

    def __init__(self, connection: Connection, store: Store, clock: Clock, say: Callable[[str], None]) -> None:
        self._connection, self._store, self._clock, self._say = connection, store, clock, say

    @contextmanager
    def __call__(self, claims: Sequence[AppClaim], options: Options) -> Iterator[list[str]]:
        """Yields the notes; each is whole when the block has ended.

        Raises Refused (``locked``, ``lifetime-not-allowed``), AccessDenied and the rest of the ServiceError family before anything
        is proven; ExoscopeError ``temporary-left`` (exit 5) where one could not be removed.
        """
        notes: list[str] = []
        wanted = [each.app for each in claims if self._needs(each, options)]
        if not wanted:
            self._say(
                "No temporary certificate is needed: the profile has the apps' credentials, or Graph cannot be asked."
            )
            yield notes
            return
        tenant = self._connection.prove_tenant().id
        with self._store.lock(tenant), ExitStack() as stack:
            for app in wanted:
                stack.enter_context(self._lent(app, tenant, notes))
            yield notes

    def _needs(self, claim: AppClaim, options: Options) -> bool:
        if self._connection.tokens.has(claim.app.app_id):
            return False
        if not any(can_probe(each.permission, send=options.send) for each in claim.claims):
            return False
        if claim.app.application_object_id is None:
            self._say(f"{claim.app.display_name} is registered in another tenant: it gets no temporary certificate.")
            return False
        return True

    @contextmanager
    def _lent(self, app: App, tenant: str, notes: list[str]) -> Iterator[None]:
        graph = self._connection.graph_writes
        maker = Maker(
            graph,
            Ledger(self._store.state, tenant),
            read_application(graph, str(app.application_object_id)),
            run=run_id(self._clock.now()),
            clock=self._clock,
            screen=_Nowhere(),
            sign_in=signing_in(self._connection.tokens, tenant),
            say=self._say,
        )
        maker.settle()
        began = self._clock.now()
        try:
            made = maker.temporary(ends=began + LIFETIME)
        except BaseException:
            self._take_back(maker, None)
            raise
        proven = whole = False
        try:
            if made.credential is not None and self._signs_in(maker, made):
                self._connection.tokens.give(app.app_id, made.credential)
                proven = True
            yield
            whole = True
        finally:
            self._connection.tokens.give(app.app_id, None)
            self._take_back(maker, made)
            notes.append(self._note(app, made, iso(began), proven=proven))
            if not whole:
                self._say(notes[-1])  # there is no answer that could hold it

    def _signs_in(self, maker: Maker, made: Made) -> bool:
        self._say(
            f"A certificate for one hour was added to {maker.application.display_name}; waiting until it signs in."
        )
        try:
            if made.credential is not None:
                maker.prove(made.credential)
        except ServiceError as error:
            self._say(f"It does not sign in ({error.message}), so Graph is not asked as the app.")
            return False
        return True

    def _take_back(self, maker: Maker, made: Made | None) -> None:
        """Remove it; of one whose making ended nobody knows how, find out first."""
        try:
            if made is None:
                maker.settle()
            elif made.entry.key_id is not None:
                maker.remove(made.entry.key_id)
        except ExoscopeError as error:
            name = made.entry.key_id if made is not None else f"called exoscope {maker.run}"
            raise ExoscopeError(
                f"the temporary certificate {name} of {maker.application.display_name} could not be removed: {error.message}",
                code="temporary-left",
                changed=True,
                exit=Exit.STOPPED,
                next="It ends within the hour. The same command, or any exoscope credentials command that changes this app, "
                "removes it.",
            ) from None

    def _note(self, app: App, made: Made, began: str, *, proven: bool) -> str:
        used = "Graph was asked with it as the app" if proven else "it did not sign in, and was used for nothing"
        return (
            f"For the security team: exoscope added the certificate {made.entry.thumbprint} (key id {made.entry.key_id}) to "
            f"the app {app.display_name} ({app.app_id}) at {began}; {used}; it was removed at {iso(self._clock.now())}. Its key "
            "was in memory only. A token that was issued with it acts until it ends."
        )
