"""A snapshot, or what a plan would make of it, with its reach. The one place where planning touches :mod:`exoscope.reach`."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from exoscope.model import (
    AccessPolicy,
    Addresses,
    AdministrativeUnit,
    AdministrativeUnitScope,
    App,
    Group,
    Noun,
    Recipient,
    Scope,
    Snapshot,
)
from exoscope.planning.states import find_app
from exoscope.reach import Mailboxes, Reach

__all__ = ["Mailboxes", "Sets", "World"]


class Sets(Noun, frozen=True):
    """What is certain and what cannot be told; the rest is certainly outside."""

    inside: Mailboxes
    unknown: Mailboxes


class World:
    """Reach over one snapshot. Worlds made by :meth:`after` share the indexes over recipients, and their sets compare."""

    def __init__(self, snapshot: Snapshot, *, like: World | None = None) -> None:
        self.snapshot = snapshot
        self._reach: Reach = Reach(snapshot, like=None if like is None else like._reach)
        self._by_guid: dict[str, Recipient] | None = None if like is None else like._by_guid

    @classmethod
    def over(cls, reach: Reach) -> World:
        """The world of a reach that is there already; their sets compare."""
        world = cls.__new__(cls)
        world.snapshot, world._reach, world._by_guid = reach.snapshot, reach, None
        return world

    def after(self, snapshot: Snapshot) -> World:
        """The world of a snapshot made from this one's."""
        return World(snapshot, like=self)

    @property
    def all(self) -> Mailboxes:
        """Every mailbox."""
        return self._reach.mailboxes

    @property
    def none(self) -> Mailboxes:
        """No mailbox."""
        return self._reach.addresses(())

    def present(self, app: App) -> App:
        """The app as it is here; where it is not there, one that holds nothing."""
        return find_app(self.snapshot, app.app_id) or replace(app, object_id="", consents=(), requested=())

    def reach(self, app: App, permission: str) -> Sets:
        """What the app reaches with a permission."""
        inside, unknown = self._reach.sets(app, permission)
        return Sets(inside, unknown)

    def members(self, scope: Scope | AdministrativeUnit | str) -> Sets:
        """Who is inside an assignment's scope, a unit, or a filter."""
        if isinstance(scope, AdministrativeUnit):
            scope = AdministrativeUnitScope(scope.id)
        found = self._reach.scope_members(scope)
        return Sets(found.inside, found.unknown)

    def missing_groups(self, filter: str) -> tuple[tuple[str, bool], ...] | None:
        """The DNs that a filter names and no group has, each with whether it keeps recipients out. None: groups were not read."""
        return self._reach.missing_groups(filter)

    def policy_members(self, policy: AccessPolicy) -> Sets:
        """Whom an access policy matches."""
        found = self._reach.policy_members(policy)
        return Sets(found.inside, found.unknown)

    def policy_subject(self, policy: AccessPolicy) -> Group | Recipient | None:
        """The group, mailbox or mail user that a policy names; None: nothing that was read."""
        return self._reach.policy_subject(policy)

    def policy_groups(self, group: Group) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
        """The groups whose members a policy on this one counts, itself first, and other groups that hang on it."""
        return self._reach.policy_groups(group)

    def held(self, app: App) -> tuple[str, ...]:
        """The permissions on mailboxes that an app holds, or may hold, by consent or by role."""
        return self._reach.held(app)

    def policies_allow(self, app: App, permission: str) -> Sets:
        """What the access policies that count for the app leave to a consent for a permission."""
        inside, unknown = self._reach.policy_allows(app.app_id, permission)
        return Sets(inside, unknown)

    def of_guids(self, guids: Iterable[str]) -> Mailboxes:
        """The mailboxes among these Guids; others (contacts, groups, mail users) fall out."""
        if self._by_guid is None:
            recipients = self.snapshot.recipients
            self._by_guid = {each.guid.casefold(): each for each in recipients} if isinstance(recipients, tuple) else {}
        known = self._by_guid
        return self._reach.addresses(known[guid.casefold()] for guid in guids if guid.casefold() in known)

    def name_of(self, guid: str) -> str | None:
        """The primary address of a recipient, by its Guid."""
        self.of_guids(())
        found = (self._by_guid or {}).get(guid.casefold())
        return None if found is None else found.primary_smtp_address

    def find_app(self, text: str) -> App:
        """The app of this name or id. Raises NotFound, Ambiguous, Unreadable."""
        return self._reach.find_app(text)

    def find_mailbox(self, address: str) -> Recipient:
        """The mailbox with this address. Raises NotFound, Ambiguous."""
        return self._reach.find_mailbox(address)

    def enforcement_doubt(self, app: App) -> str | None:
        """Why what this app's consents give is undocumented or unread; None where they act as documented."""
        return self._reach.enforcement_doubt(app)

    def addresses(self, these: Mailboxes) -> tuple[str, ...]:
        """Primary addresses, as stored, sorted without case."""
        return these.addresses()

    def told(self, these: Mailboxes) -> Addresses:
        """A set as a plan states it: a list, or (more than half of the mailboxes) all but a list."""
        if 2 * len(these) > len(self.all):
            return Addresses((self.all - these).addresses(), all_but=True)
        return Addresses(these.addresses())
