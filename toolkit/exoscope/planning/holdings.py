"""What an app holds beside its intent, sorted by what it means for a plan."""

from __future__ import annotations

from collections.abc import Sequence

from exoscope.catalog import (
    EWS_CONSENT,
    EXCHANGE,
    MAILBOX_MIGRATION,
    Permission,
    by_id,
    canonical,
    granted_by,
    held_as,
    implied_by,
)
from exoscope.model import App, Consent, Noun, Requested, RoleAssignment, Snapshot
from exoscope.planning.drafts import Denied, Wanted, listing
from exoscope.planning.states import assignees, fold, listed


class Holdings(Noun, frozen=True):
    """The app's consents: ``leftover`` of intended permissions (to remove), ``kept`` although they let intended calls through,
    ``also`` held because the intent says so, ``legacy`` (same-named roles of the retired Outlook API), ``tenant_wide``.
    """

    leftover: tuple[Consent, ...]
    kept: tuple[Consent, ...]
    also: tuple[Consent, ...]
    legacy: tuple[Consent, ...]
    tenant_wide: tuple[Consent, ...]


def sort_consents(app: App, wanted: Sequence[Wanted]) -> Holdings:
    """Sort what the app holds. Raises Denied: leftover-consent, extra-permission, unknown-permission, self-widening."""
    leftover: list[Consent] = []
    kept: list[Consent] = []
    also: list[Consent] = []
    legacy: list[Consent] = []
    tenant_wide: list[Consent] = []
    extra: list[str] = []
    unknown: list[str] = []
    widening: list[str] = []
    named = {fold(canonical(name)) for each in wanted for name in each.entry.also_holds}
    restricted = {
        (fold(p.resource), fold(p.app_role_id)) for each in by_mechanism(wanted, "access-policy") for p in each.mailbox
    }
    for consent in app.consents:
        known = held_as(consent.resource, consent.app_role_id, consent.permission)
        name_listed = fold(canonical(consent.permission)) in named
        if (fold(consent.resource), fold(consent.app_role_id)) in restricted:
            continue
        if name_listed:
            also.append(consent)
        elif known is None:
            unknown.append(_unknown_name(consent))
        elif known.self_widening:
            widening.append(known.name)
        elif is_legacy(known):
            legacy.append(consent)
        elif entries := lets_through(known, by_mechanism(wanted, "rbac")):
            choices = {each.entry.on_leftover_consent for each in entries}
            if "refuse" in choices:
                raise Denied(
                    "leftover-consent",
                    f"the tenant-wide consent {known.name} lets calls through whatever the scope says, "
                    "and the intent is to refuse then",
                )
            (kept if "keep" in choices else leftover).append(consent)
        elif known.about in ("mailbox", "protocol") or known.name == MAILBOX_MIGRATION:
            extra.append(known.name)
        else:
            tenant_wide.append(consent)
    if widening:
        raise Denied(
            "self-widening",
            f"the app could give itself more: it holds {listing(widening)}. Remove that, or name it under also-holds "
            "(then the plan says that the app is not scoped).",
        )
    if extra:
        raise Denied(
            "extra-permission",
            f"the app also holds {listing(extra)} on mailboxes, which the intent does not speak of. "
            "Name it under permissions or also-holds, or remove the consent.",
        )
    if unknown:
        raise Denied(
            "unknown-permission",
            f"the app also holds {listing(unknown)}, which exoscope does not know, so it may reach mailboxes. "
            "Name it under also-holds, or remove the consent.",
        )
    return Holdings(tuple(leftover), tuple(kept), tuple(also), tuple(legacy), tuple(tenant_wide))


def kept_consents(app: App, wanted: Sequence[Wanted]) -> frozenset[str]:
    """The ids of :class:`Holdings`' ``kept``, of an app that was planned before: what stays although it lets intended calls
    through, because an entry says so."""
    keeping = [each for each in by_mechanism(wanted, "rbac") if each.entry.on_leftover_consent == "keep"]
    named = {fold(canonical(name)) for each in wanted for name in each.entry.also_holds}
    restricted = {
        (fold(p.resource), fold(p.app_role_id)) for each in by_mechanism(wanted, "access-policy") for p in each.mailbox
    }
    return frozenset(
        consent.id
        for consent in app.consents
        if fold(canonical(consent.permission)) not in named
        and (fold(consent.resource), fold(consent.app_role_id)) not in restricted
        and (known := held_as(consent.resource, consent.app_role_id, consent.permission)) is not None
        and lets_through(known, keeping)
    )


def _unknown_name(consent: Consent) -> str:
    by = by_id(consent.resource, consent.app_role_id)
    return consent.permission if by is None else f"{consent.permission} (by its app role id {by.name})"


def stale_requests(app: App, wanted: Sequence[Wanted], holdings: Holdings) -> tuple[Requested, ...]:
    """Request entries by which the next consent click would grant again what a plan removes, or what was removed before.

    Only where the registration is this tenant's; delegated entries are not in a snapshot and stay untouched.
    """
    if app.application_object_id is None:
        return ()
    staying = {(fold(c.resource), fold(c.app_role_id)) for c in app.consents} - {
        (fold(c.resource), fold(c.app_role_id)) for c in holdings.leftover
    }
    named = {fold(canonical(name)) for each in wanted for name in each.entry.also_holds}
    restricted = {
        (fold(p.resource), fold(p.app_role_id)) for each in by_mechanism(wanted, "access-policy") for p in each.mailbox
    }
    found = []
    for entry in app.requested:
        place = (fold(entry.resource), fold(entry.app_role_id))
        known = held_as(entry.resource, entry.app_role_id, entry.permission)
        if known is None or place in staying | restricted or fold(canonical(entry.permission)) in named:
            continue
        choices = {each.entry.on_leftover_consent for each in lets_through(known, by_mechanism(wanted, "rbac"))}
        if choices == {"remove"}:
            found.append(entry)
    return tuple(found)


def by_mechanism(wanted: Sequence[Wanted], mechanism: str) -> tuple[Wanted, ...]:
    """The entries of one mechanism."""
    return tuple(each for each in wanted if each.entry.mechanism == mechanism)


def is_legacy(known: Permission) -> bool:
    """A permission of the Exchange resource that belongs to the retired Outlook API, whatever Graph calls the same."""
    return fold(known.resource) == fold(EXCHANGE) and known.about == "mailbox" and canonical(known.name) != EWS_CONSENT


def lets_through(held: Permission, wanted: Sequence[Wanted]) -> tuple[Wanted, ...]:
    """The entries with a permission whose calls ``held`` lets through."""
    return tuple(
        each
        for each in wanted
        if any(fold(p.resource) == fold(held.resource) and covers(held.name, p.name) for p in each.mailbox)
    )


def covers(held: str, needed: str) -> bool:
    """Does ``held`` let a call through that needs ``needed``?"""
    return fold(held) in {fold(name) for name in implied_by(needed)}


def own_assignments(snapshot: Snapshot, app: App) -> tuple[RoleAssignment, ...]:
    """The role assignments that may be this app's: to its object id, appId, or a display name that its pointers have."""
    pointers = [p for p in listed(snapshot, "service_principals") if fold(p.app_id) == fold(app.app_id)]
    names = {fold(app.object_id), fold(app.app_id)} | {fold(pointer.display_name) for pointer in pointers}
    owner = assignees(snapshot)
    return tuple(
        assignment
        for assignment in listed(snapshot, "role_assignments")
        if fold(assignment.assignee) in names or fold(owner(assignment.assignee)) == fold(app.object_id)
    )


def grants(snapshot: Snapshot, assignment: RoleAssignment) -> tuple[str, ...] | None:
    """What an assignment's role gives, or None where the role is not known."""
    return granted_by(assignment.role, snapshot.roles)
