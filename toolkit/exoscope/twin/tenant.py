"""The state of the embedded tenant: a snapshot brought to life.

States are :class:`~exoscope.model.Snapshot` values, never changed in place: a change makes a new one and the old ones
stay in the history with the time of the change, so that access can be decided as of any past moment.

Delay, scaled from what is documented (30 minutes for an idle app to 2 hours for a busy one, application-rbac): with
``propagation`` P seconds a change reaches the service's stores after P/4; what the service loaded for an (app, mailbox) it
keeps until P/4 pass without a call, and at most 3P/4. So an idle app sees a change after P/4, an app that keeps asking
after P at the latest, and asking again and again keeps an old denial alive. Consents do not pass through here: they act
through the roles a token was issued with.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from exoscope.catalog import GRAPH
from exoscope.clock import Clock
from exoscope.model import App, Consent, Noun, Recipient, Requested, Snapshot
from exoscope.twin.behaviour import Behaviour
from exoscope.twin.errors import Unread
from exoscope.twin.evaluator import Outcome, decide_with_roles
from exoscope.twin.keychain import Keychain
from exoscope.twin.registration import Delegated, Registrations
from exoscope.twin.spreading import Spreading
from exoscope.twin.view import View, fold

LISTS = (
    "apps",
    "service_principals",
    "management_scopes",
    "role_assignments",
    "access_policies",
    "roles",
    "recipients",
    "groups",
    "administrative_units",
    "organization",
)


class GroupExtra(Noun, frozen=True):
    """What Exchange knows of a group beside the snapshot's fields."""

    name: str
    alias: str
    notes: str = ""
    hidden: bool = False


class Decision(Noun, frozen=True):
    """The answer to one call. ``mechanism``: what let it through (``consent``, ``rbac``) or what stopped it: ``raop`` an access
    policy, ``rbac`` every scope it has, ``none`` no permission at all.
    """

    answer: Literal["allowed", "denied", "not-modelled"]
    because: str
    mechanism: Literal["consent", "rbac", "raop", "none"]


class Change(Noun, frozen=True):
    """One entry of the change log."""

    at: datetime
    what: str


class Version(NamedTuple):
    """A state of the tenant, from ``at`` until the next one's."""

    at: datetime
    what: str
    view: View


class TwinTenant:
    """The tenant, safe to use from many threads: every public method takes ``lock`` (reentrant); hold it over read-then-write.

    ``propagation`` in seconds; ``decisions`` a file to which each decision is appended as a JSON line.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        *,
        propagation: float = 2.0,
        decisions: Path | None = None,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.propagation = propagation
        self.origin = "https://outlook.office365.com"  # of its Exchange; its own once it is served
        self.log: list[Change] = []
        self.keychain = Keychain()
        self.spreading = Spreading(clock)
        self.registrations = Registrations()
        self.group_extras: dict[str, GroupExtra] = {}  # by folded guid
        self.default_token_lifetime: int | None = (
            None  # minutes: the organisation's default policy, which no file holds
        )
        self._history: list[tuple[datetime, View]] = [
            (datetime.min.replace(tzinfo=UTC), View(snapshot, behaviour=behaviour))
        ]
        self._loaded: dict[tuple[str, str], tuple[datetime, datetime, View]] = {}  # (app, mailbox): loaded, last used
        self._decisions = decisions.open("a", encoding="utf-8") if decisions else None

    # --- reading ---------------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The present state with its indexes."""
        with self.lock:
            return self._history[-1][1]

    @property
    def state(self) -> Snapshot:
        """The present state; ``read_at`` is that of the snapshot it began as."""
        return self.view.snapshot

    def snapshot(self) -> Snapshot:
        """The present state as a snapshot read now."""
        return msgspec.structs.replace(self.state, read_at=self.clock.now())

    def read(self, name: str) -> Any:
        """One of the top-level lists (or ``organization``) as it is now. Raises :class:`Unread` when the file had it not."""
        value = getattr(self.state, name)
        if value is UNSET:
            raise Unread(name)
        return value

    def history(self) -> tuple[Version, ...]:
        """Every state so far, the first that of the beginning, each with what made it."""
        with self.lock:
            made = ("the beginning", *(change.what for change in self.log))
            return tuple(Version(at, what, view) for (at, view), what in zip(self._history, made, strict=True))

    def count(self) -> int:
        """How many states there were so far: the number of the next one in :meth:`history`."""
        with self.lock:
            return len(self._history)

    def as_of(self, moment: datetime) -> View:
        """The state at ``moment``: every change made at or before it, none after."""
        with self.lock:
            return next(view for at, view in reversed(self._history) if at <= moment)

    def app(self, identity: str) -> App | None:
        """The service principal with this object id or app id. Raises :class:`Unread` when apps were not read."""
        self.read("apps")
        found = self.view.apps(identity)
        return next((app for app in found if fold(identity) in (fold(app.object_id), fold(app.app_id))), None)

    def user(self, identity: str) -> Recipient | None:
        """The recipient that Graph's ``/users/{identity}`` names: directory object id, user principal name or primary address.

        The file holds no user principal names unless they were read as an attribute; the primary address stands for them.
        """
        self.read("recipients")
        key = fold(identity)
        for recipient in self.view.recipients(identity):
            principal = next((v for k, v in recipient.attributes.items() if k.lower() == "userprincipalname"), None)
            names = (recipient.external_directory_object_id, recipient.primary_smtp_address, principal)
            if any(isinstance(name, str) and fold(name) == key for name in names):
                return recipient
        return None

    # --- changing --------------------------------------------------------------------------------------------

    def change(self, what: str, **lists: Any) -> None:
        """Replace whole lists (or ``organization``) by new values: one version, one line in the change log."""
        with self.lock:
            for name in lists:
                if name not in LISTS:
                    raise ValueError(f"{name} is no part of the tenant's state")
            now = self.clock.now()
            view = self.view
            self._history.append((now, View(msgspec.structs.replace(view.snapshot, **lists), view)))
            self.log.append(Change(at=now, what=what))

    def put_app(self, app: App) -> None:
        """Add a service principal, or replace the one with its object id."""
        with self.lock:
            key = fold(app.object_id)
            apps = self.read("apps")
            found = any(fold(old.object_id) == key for old in apps)
            kept = tuple(app if fold(old.object_id) == key else old for old in apps)
            self.change(f"app {app.app_id}", apps=kept if found else (*kept, app))

    def remove_app(self, object_id: str) -> None:
        """Delete a service principal: Exchange drops its pointer and assignments and leaves the scopes behind."""
        with self.lock:
            key = fold(object_id)
            lists: dict[str, Any] = {"apps": tuple(a for a in self.read("apps") if fold(a.object_id) != key)}
            state = self.state
            if state.service_principals is not UNSET:
                gone = [p for p in state.service_principals if fold(p.object_id) == key]
                lists["service_principals"] = tuple(p for p in state.service_principals if fold(p.object_id) != key)
                names = {fold(name) for p in gone for name in (p.object_id, p.app_id, p.display_name)}
                if state.role_assignments is not UNSET:
                    kept = tuple(a for a in state.role_assignments if fold(a.assignee) not in names)
                    lists["role_assignments"] = kept
            self.change(f"app {object_id} removed", **lists)

    def add_consent(self, object_id: str, consent: Consent) -> None:
        """Give an app role. Raises KeyError for an app that is not there."""
        with self.lock:
            app = self._must(object_id)
            self.put_app(msgspec.structs.replace(app, consents=(*app.consents, consent)))

    def remove_consent(self, object_id: str, consent_id: str) -> bool:
        """Take an app role away; False when there was none with this id."""
        with self.lock:
            app = self._must(object_id)
            kept = tuple(c for c in app.consents if c.id != consent_id)
            if len(kept) == len(app.consents):
                return False
            self.put_app(msgspec.structs.replace(app, consents=kept))
            return True

    def set_requested(
        self, object_id: str, requested: tuple[Requested, ...], delegated: tuple[Delegated, ...] = ()
    ) -> None:
        """Replace the registration's requiredResourceAccess: application entries, and the others beside them."""
        with self.lock:
            app = self._must(object_id)
            known = self.registrations.of(app.app_id)
            self.registrations.put(app.app_id, msgspec.structs.replace(known, delegated=delegated))
            self.put_app(msgspec.structs.replace(app, requested=requested))

    def registered(self) -> tuple[App, ...]:
        """Every application registered here; ``object_id`` is empty where it has no service principal."""
        with self.lock:
            return (*(app for app in self.read("apps") if app.application_object_id), *self.registrations.bare())

    def put_registered(self, app: App) -> None:
        """Put an application, with its service principal where it has one (``object_id``)."""
        with self.lock:
            if app.object_id:
                self.registrations.put_bare(app.app_id, None)
                self.put_app(app)
            else:
                self.registrations.put_bare(app.app_id, app)

    def remove_registered(self, app: App) -> None:
        """Delete an application, its service principal, and what they sign in with."""
        with self.lock:
            if app.object_id:
                self.remove_app(app.object_id)
            self.registrations.forget(app.app_id)
            self.keychain.drop(app.app_id)

    def _must(self, object_id: str) -> App:
        app = self.app(object_id)
        if app is None:
            raise KeyError(object_id)
        return app

    # --- deciding --------------------------------------------------------------------------------------------

    def decide(
        self,
        app_object_id: str,
        roles_in_token: tuple[str, ...],
        permission: str,
        mailbox: Recipient,
        now: datetime | None = None,
        *,
        resource: str = GRAPH,
    ) -> Decision:
        """Whether a call that needs ``permission`` on ``mailbox`` is let through, and write it to the decisions file.

        ``roles_in_token`` are the roles the token was issued with, on ``resource`` (Graph unless told). Exchange's part is
        what the service has loaded for this app and mailbox (see the module's words on delay).
        """
        moment = now or self.clock.now()
        with self.lock:
            view = self._service_view(app_object_id, mailbox.guid, moment)
            apps = self.view.apps(app_object_id)
        app_id = next((a.app_id for a in apps if fold(a.object_id) == fold(app_object_id)), app_object_id)
        outcome = decide_with_roles(view, app_object_id, app_id, roles_in_token, resource, permission, mailbox)
        decision = _decision(outcome)
        self._write(moment, app_id, permission, mailbox, decision)
        return decision

    def _service_view(self, app: str, mailbox: str, now: datetime) -> View:
        key = (fold(app), fold(mailbox))
        quarter = timedelta(seconds=self.propagation / 4)
        held = self._loaded.get(key)
        if held is not None:
            loaded, used, view = held
            if now - used < quarter and now - loaded < 3 * quarter:
                self._loaded[key] = (loaded, now, view)
                return view
        view = self.as_of(now - quarter)
        self._loaded[key] = (now, now, view)
        return view

    def _write(self, at: datetime, app_id: str, permission: str, mailbox: Recipient, decision: Decision) -> None:
        if self._decisions is None:
            return
        line = {
            "at": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "app_id": app_id,
            "permission": permission,
            "mailbox": mailbox.primary_smtp_address,
            "answer": decision.answer,
            "because": decision.because,
        }
        with self.lock:
            self._decisions.write(msgspec.json.encode(line).decode() + "\n")
            self._decisions.flush()

    def close(self) -> None:
        """Close the decisions file."""
        with self.lock:
            if self._decisions is not None:
                self._decisions.close()
                self._decisions = None


def _decision(outcome: Outcome) -> Decision:
    answer: Literal["allowed", "denied", "not-modelled"] = (
        "not-modelled" if outcome.answer == "unknown" else outcome.answer
    )
    return Decision(answer=answer, because=outcome.because, mechanism=outcome.mechanism)
