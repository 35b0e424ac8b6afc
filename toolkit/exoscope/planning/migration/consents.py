"""What an app holds, sorted by what a migration does with it; and the roles that take over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from exoscope.catalog import (
    GRAPH,
    Permission,
    by_id,
    canonical,
    governed,
    granted_by,
    held_as,
    permission,
    role_for,
    roles,
)
from exoscope.model import App, Consent, Migration, Noun, Requested, Snapshot
from exoscope.planning.drafts import Denied, listing
from exoscope.planning.holdings import covers, grants, is_legacy, own_assignments
from exoscope.planning.rbac import Giving, one_each
from exoscope.planning.states import fold


class Held(Noun, frozen=True):
    """The app's consents: ``moving`` to roles, ``staying`` under the policies (governed, without a role), ``legacy``,
    ``beside`` (on mailboxes, not governed, left tenant-wide).
    """

    moving: tuple[tuple[Consent, Permission], ...]
    staying: tuple[Consent, ...]
    legacy: tuple[Consent, ...]
    beside: tuple[tuple[Consent, Permission], ...]

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What moves, each permission once."""
        return tuple({canonical(known.name): known for _, known in self.moving}.values())


def sort_held(app: App, snapshot: Snapshot, asked: Migration) -> Held:
    """Sort what the app holds. Raises Denied: consent-mismatch, no-role, legacy-consent."""
    rests: list[tuple[Consent, Permission]] = []
    beside: list[tuple[Consent, Permission]] = []
    legacy: list[Consent] = []
    for consent in app.consents:
        known = held_as(consent.resource, consent.app_role_id, consent.permission)
        if known is None:
            _refuse_mismatch(consent)
        elif is_legacy(known):
            legacy.append(consent)
        elif known.governed:
            rests.append((consent, known))
        elif known.about == "mailbox":
            beside.append((consent, known))
    with_role = _with_role(snapshot, [known for _, known in rests], compact=asked.compact)
    moving = [each for each in rests if canonical(each[1].name) in with_role]
    staying = [consent for consent, known in rests if canonical(known.name) not in with_role]
    if staying and not asked.accepts("no-role", app.app_id):
        raise Denied(
            "no-role",
            f"no application role of this tenant gives {listing(each.permission for each in staying)}, which policies restrain. "
            "Accepted (--accept no-role:APP), those consents stay, and the app's policies with them.",
        )
    if legacy and not asked.accepts("legacy-consent", app.app_id):
        raise Denied(
            "legacy-consent",
            f"the app also holds {listing(each.permission for each in legacy)} on the legacy Exchange resource, which no role "
            "replaces; nothing documents whether policies restrain it. Remove that consent, or accept it "
            "(--accept legacy-consent:APP): it stays, and the app's policies with it.",
        )
    if asked.also_scope:
        offered = _with_role(snapshot, [known for _, known in beside], compact=False)
        moving += [each for each in beside if canonical(each[1].name) in offered]
        beside = [each for each in beside if canonical(each[1].name) not in offered]
    return Held(tuple(moving), tuple(staying), tuple(legacy), tuple(beside))


def _refuse_mismatch(consent: Consent) -> None:
    """A consent whose name and id say different things may be one that policies govern."""
    by = by_id(consent.resource, consent.app_role_id)
    named = permission(consent.permission, consent.resource)
    if any(each is not None and governed(each.name, each.resource) for each in (by, named)):
        raise Denied(
            "consent-mismatch",
            f"the consent {consent.permission} has the app role id of {by.name if by else 'another permission'}: "
            "which of the two it is cannot be told",
        )


def unknown_consents(app: App) -> tuple[str, ...]:
    """Permissions of Graph that the catalogue does not know: policies govern none but those documented."""
    return tuple(
        consent.permission
        for consent in app.consents
        if fold(consent.resource) == GRAPH
        and permission(consent.permission, GRAPH) is None
        and by_id(consent.resource, consent.app_role_id) is None
    )


# -- roles ------------------------------------------------------------------------------------------------------------------


def _with_role(snapshot: Snapshot, wishes: Sequence[Permission], *, compact: bool) -> frozenset[str]:
    """Which of these (canonical) some role gives: alone, or (``compact``) with nothing but others of these."""
    names = {canonical(each.name) for each in wishes}
    found = {name for name in names if role_for(name, snapshot.roles) is not None}
    if compact:
        for _, given in _composites(snapshot, names):
            found |= given
    return frozenset(found)


def _composites(snapshot: Snapshot, within: Iterable[str]) -> list[tuple[str, frozenset[str]]]:
    """Roles that give several permissions, all of them among these; the widest first."""
    wanted = frozenset(within)
    found = [(name, frozenset(canonical(p) for p in given)) for name, given in roles(snapshot.roles).items()]
    kept = [(name, given) for name, given in found if len(given) > 1 and given <= wanted]
    return sorted(kept, key=lambda each: (-len(each[1]), each[0].casefold()))


def chooser(asked: Migration, moving: Sequence[Permission]) -> Callable[[Snapshot, Sequence[Permission]], list[Giving]]:
    """How roles are chosen for the permissions that nothing gives yet: one each, or as few as possible (``--compact``)."""
    if not asked.compact:
        return one_each

    def compact(snapshot: Snapshot, missing: Sequence[Permission]) -> list[Giving]:
        left = {canonical(each.name): each for each in missing}
        chosen: list[Giving] = []
        for role, given in _composites(snapshot, (canonical(each.name) for each in moving)):
            alone = any(role_for(name, snapshot.roles) is None for name in given & left.keys())
            if len(given & left.keys()) > 1 or alone:
                chosen.append(Giving(role, role.removeprefix("Application ")))
                left = {name: each for name, each in left.items() if name not in given}
        return [*chosen, *one_each(snapshot, list(left.values()))]

    return compact


def given_by_roles(snapshot: Snapshot, app: App) -> frozenset[str]:
    """The permissions (canonical) that the app's enabled assignments give; ``snapshot`` holds the app's own ones."""
    found: set[str] = set()
    for each in own_assignments(snapshot, app):
        if each.enabled and _certainly(each.assignee, app):
            found |= {canonical(name) for name in granted_by(each.role, snapshot.roles) or ()}
    return frozenset(found)


def _certainly(assignee: str, app: App) -> bool:
    """Assignees stand by object id where that is known."""
    return fold(assignee) == fold(app.object_id)


# -- request entries ----------------------------------------------------------------------------------------------------------


class Requests(Noun, frozen=True):
    """Request entries: ``gone`` with what roles give instead; ``left``: governed, by which a later consent would be wide open."""

    gone: tuple[Requested, ...]
    left: tuple[str, ...]


def sort_requests(app: App, held: Held, by_roles: frozenset[str]) -> Requests:
    """Sort the registration's entries; none are known where it is another tenant's."""
    staying = {(fold(c.resource), fold(c.app_role_id)) for c in (*held.staying, *held.legacy)}
    staying |= {(fold(c.resource), fold(c.app_role_id)) for c, _ in held.beside}
    gone: list[Requested] = []
    left: list[str] = []
    for entry in app.requested:
        known = held_as(entry.resource, entry.app_role_id, entry.permission)
        if known is None or (fold(entry.resource), fold(entry.app_role_id)) in staying or is_legacy(known):
            continue
        same = known.about == "mailbox" and canonical(known.name) in by_roles
        wider = known.governed and any(covers(known.name, name) for name in by_roles)
        if same or wider:
            gone.append(entry)
        elif known.governed:
            left.append(known.name)
    return Requests(tuple(gone) if app.application_object_id is not None else (), tuple(left))


def unknown_roles(snapshot: Snapshot, app: App) -> tuple[str, ...]:
    """Enabled assignments of roles nobody has described: what they give cannot be told."""
    return tuple(
        each.name for each in own_assignments(snapshot, app) if each.enabled and grants(snapshot, each) is None
    )
