"""Is an app scoped once a plan is done? Only when nothing it then holds reaches mailboxes outside, or lets it widen itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exoscope.catalog import EXCHANGE, MAILBOX_MIGRATION, PROTOCOLS, Permission, canonical, held_as, permission
from exoscope.model import App, Consent, ManagementScopeScope, OrganizationScope, RoleAssignment
from exoscope.planning.drafts import Wanted
from exoscope.planning.holdings import covers, grants, is_legacy, own_assignments
from exoscope.planning.rbac import intended
from exoscope.planning.states import find_scope, fold
from exoscope.planning.world import Mailboxes, World

CODES = {
    "leftover-consent": "a tenant-wide consent lets intended calls through everywhere",
    "wider-permission": "another permission it holds reaches mailboxes outside the scope",
    "ews": "EWS access reaches whole mailboxes outside the scope",
    "mailbox-item": "MailboxItem access exports mailbox content outside the scope",
    "protocol": "IMAP, POP or SMTP access reaches what mailbox permissions give, which no snapshot holds",
    "mailbox-migration": "Mailbox.Migration moves whole mailboxes",
    "org-wide-assignment": "a role assignment spans the whole organisation",
    "complement-open": "a filter keeps out the members of a group that is not there any more, and so nobody",
    "wider-assignment": "a role assignment reaches mailboxes outside the scope",
    "unknown-role": "a role assignment gives a role whose permissions are not known",
    "wildcard-policy": "an access policy for every app lets it reach mailboxes outside the scope",
    "self-widening": "it can give itself more",
    "unknown-permission": "it holds a permission that exoscope does not know",
    "unknown-reach": "what it reaches cannot all be told",
}
"""Stable codes of ``not_scoped_because``, and what each says."""


def not_scoped_because(after: World, app: App, wanted: Sequence[Wanted], kept: frozenset[str]) -> tuple[str, ...]:
    """The codes that keep the app from being called scoped, in CODES' order; none: it is scoped.

    ``after`` is the tenant once the plan is done, ``app`` the app in it; ``kept`` are the ids of leftover consents that stay.
    """
    found = set(_of_consents(after, app, wanted, kept))
    found |= set(_of_assignments(after, app, wanted))
    for wish in dict.fromkeys(p for each in wanted for p in each.mailbox):
        sets = after.reach(app, wish.name)
        inside = intended(after, wanted, wish.name)
        if sets.unknown - inside:
            found.add("unknown-reach")
        if (sets.inside - inside) and not found:
            found.add("wildcard-policy" if _wildcard(after) else "wider-permission")
    return tuple(code for code in CODES if code in found)


def _wildcard(after: World) -> bool:
    policies = after.snapshot.access_policies
    return isinstance(policies, tuple) and any(policy.app_id == "*" for policy in policies)


def whole_scope(world: World, wanted: Sequence[Wanted]) -> Mailboxes:
    """Every mailbox that some entry of the app intends."""
    found = world.none
    for each in wanted:
        found = found | each.expected
    return found


def _of_consents(after: World, app: App, wanted: Sequence[Wanted], kept: frozenset[str]) -> Iterable[str]:
    for consent in app.consents:
        if consent.id in kept:
            yield "leftover-consent"
            continue
        known = held_as(consent.resource, consent.app_role_id, consent.permission)
        if known is None:
            yield "unknown-permission"
        elif known.self_widening:
            yield "self-widening"
        elif known.name in PROTOCOLS:
            yield "protocol"
        elif known.name == MAILBOX_MIGRATION:
            yield "mailbox-migration"
        elif known.about == "mailbox" and not is_legacy(known):
            yield from _wider(after, app, wanted, consent, known)


def _wider(after: World, app: App, wanted: Sequence[Wanted], consent: Consent, known: Permission) -> Iterable[str]:
    """A consent on mailboxes: does it reach beyond what the intent says of this permission, or of the app as a whole?"""
    sets = after.reach(app, consent.permission)
    named = [p for each in wanted for p in each.mailbox if covers(known.name, p.name)]
    scope = intended(after, wanted, known.name) if _intends(wanted, known) else whole_scope(after, wanted)
    if not (sets.inside | sets.unknown) - scope:
        return
    if sets.unknown - scope and not sets.inside - scope:
        yield "unknown-reach"
    elif fold(known.resource) == fold(EXCHANGE):
        yield "ews"
    elif known.name.startswith("MailboxItem."):
        yield "mailbox-item"
    elif any(canonical(p.name) == canonical(known.name) for p in named):
        yield "leftover-consent"
    else:
        yield "wider-permission"


def _intends(wanted: Sequence[Wanted], known: Permission) -> bool:
    return any(canonical(p.name) == canonical(known.name) for each in wanted for p in each.mailbox)


def missing_groups(world: World, assignment: RoleAssignment) -> tuple[tuple[str, bool], ...] | None:
    """The DNs in an assignment's filter that no group has (renamed or deleted since), each with whether it keeps its members out:
    then the filter holds everybody. None: groups were not read."""
    if not isinstance(assignment.scope, ManagementScopeScope):
        return ()
    found = find_scope(world.snapshot, assignment.scope.name)
    return () if found is None else world.missing_groups(found.recipient_filter)


def _of_assignments(after: World, app: App, wanted: Sequence[Wanted]) -> Iterable[str]:
    for assignment in own_assignments(after.snapshot, app):
        if not assignment.enabled:
            continue
        given = grants(after.snapshot, assignment)
        sets = after.members(assignment.scope)
        if any(out for _, out in missing_groups(after, assignment) or ()):
            yield "complement-open"
        if given is None:
            yield "unknown-role"
            continue
        for name in given:
            known = permission(name)
            if known is None:
                yield "unknown-permission"
                continue
            scope = intended(after, wanted, name) if _intends(wanted, known) else whole_scope(after, wanted)
            if not (sets.inside | sets.unknown) - scope:
                continue
            if sets.unknown - scope and not sets.inside - scope:
                yield "unknown-reach"
            elif fold(known.resource) == fold(EXCHANGE) and known.name not in PROTOCOLS:
                yield "ews"
            elif known.name.startswith("MailboxItem."):
                yield "mailbox-item"
            elif isinstance(assignment.scope, OrganizationScope):
                yield "org-wide-assignment"
            else:
                yield "wider-assignment"
