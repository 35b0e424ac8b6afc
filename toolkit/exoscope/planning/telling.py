"""What a plan says of an app beside its steps: entries with their scope, reach before and after, notes for the admin."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UnsetType

from exoscope.catalog import canonical, held_as
from exoscope.model import Addresses, App, PermissionReach, PlanEntry
from exoscope.planning import access_policy
from exoscope.planning.drafts import Change, Draft, Wanted, listing
from exoscope.planning.holdings import Holdings, by_mechanism
from exoscope.planning.stages import fill_made
from exoscope.planning.world import World

NEEDS_CUSTOMIZED = ("management_scope", "role_assignment")
"""Kinds of object that Exchange takes only in an organisation that was customised."""


def entries_of(world: World, after: World, draft: Draft, makers: dict[str, str]) -> tuple[PlanEntry, ...]:
    entries = []
    for wanted, selected, group in zip(draft.wanted, draft.filters, draft.groups, strict=True):
        expected = wanted.expected
        if wanted.entry.mechanism == "access-policy" and wanted.mailbox:
            # A Deny policy wins over ours: who it names is expected to stay outside.
            expected = expected & after.policies_allow(draft.app, wanted.mailbox[0].name).inside
        # A list even where it is long: a mailbox made later is in no group, and "all but" would hold it.
        everyone = wanted.entry.scope.kind == "organization"
        entries.append(
            PlanEntry(
                permissions=tuple(each.name for each in wanted.mailbox),
                mechanism=wanted.entry.mechanism,
                scope=wanted.entry.scope,
                expected=Addresses((), all_but=True) if everyone else Addresses(expected.addresses()),
                filter=None if selected is None else fill_made(selected, makers),
                group=None if group is None else fill_made(group, makers),
                prove=wanted.entry.prove,
                keeps_consent=wanted.entry.on_leftover_consent == "keep" and bool(draft.kept),
            )
        )
    return tuple(entries)


def denied_notes(after: World, draft: Draft) -> tuple[str, ...]:
    """Whom a Deny policy keeps out although the scope holds them."""
    notes = []
    for wanted in by_mechanism(draft.wanted, "access-policy"):
        if wanted.mailbox:
            out = wanted.expected - after.policies_allow(draft.app, wanted.mailbox[0].name).inside
            if out:
                notes.append(f"In the scope, but they stay denied by another policy: {listing(after.addresses(out))}")
    return tuple(notes)


def bypass_notes(world: World, draft: Draft) -> tuple[str, ...]:
    """Whom a Deny policy keeps out now and a role assignment lets in: policies restrain consents, never assignments."""
    policies = world.snapshot.access_policies
    named = world.none
    for policy in policies if isinstance(policies, tuple) else ():
        if policy.access_right == "DenyAccess" and policy.app_id.casefold() in ("*", draft.app.app_id.casefold()):
            named = named | world.policy_members(policy).inside
    scope = world.none
    for wanted in by_mechanism(draft.wanted, "rbac"):
        scope = scope | (wanted.expected if wanted.mailbox else world.none)
    let_in = scope & named
    if not let_in:
        return ()
    return (
        f"A DenyAccess policy names these, and does not hold a role assignment back: {listing(world.addresses(let_in))}",
    )


def permissions_of(world: World, after: World, draft: Draft) -> dict[str, PermissionReach]:
    """Reach before and after: of every intended permission, of the wider ones that are taken away or kept, and of what else
    changes."""
    names = [p.name for each in draft.wanted for p in each.mailbox]
    names += [each.before["permission"] for each in draft.changes if each.target.kind == "consent" and each.before]
    names += [consent.permission for consent in draft.app.consents if consent.id in draft.kept]
    names += changed_beside(world, after, draft.app, names)
    return {name: reach_change(world, after, draft.app, name) for name in dict.fromkeys(names)}


def changed_beside(world: World, after: World, app: App, named: Sequence[str]) -> list[str]:
    """What else the app holds whose reach changes: a policy cuts every consent that policies govern, a scope moves with all
    that use it."""
    later = after.present(app)
    told = {canonical(name) for name in named}
    return [
        name
        for name in dict.fromkeys((*world.held(app), *after.held(later)))
        if canonical(name) not in told and world.reach(app, name) != after.reach(later, name)
    ]


def cut_notes(world: World, after: World, draft: Draft) -> tuple[str, ...]:
    """Mailboxes that a permission loses although the intent does not speak of it."""
    app = draft.app
    spoken = [p.name for each in draft.wanted for p in each.mailbox]
    spoken += [each.before["permission"] for each in draft.changes if each.target.kind == "consent" and each.before]
    notes = []
    for name in changed_beside(world, after, app, spoken):
        lost = world.reach(app, name).inside - after.reach(after.present(app), name).inside
        if lost:
            notes.append(f"{name}, which it also holds, loses {len(lost)} mailboxes: {listing(after.addresses(lost))}")
    return tuple(notes)


def reach_change(world: World, after: World, app: App, name: str) -> PermissionReach:
    """What a permission reaches in two worlds, and what differs. A mailbox unknown in either is neither gained nor lost."""
    one, other = world.reach(app, name), after.reach(after.present(app), name)
    unknown = one.unknown | other.unknown
    return PermissionReach(
        before=world.told(one.inside),
        after=world.told(other.inside),
        gained=world.told(other.inside - one.inside - unknown),
        lost=world.told(one.inside - other.inside - unknown),
        unknown=world.told(unknown),
    )


def tenant_wide_of(draft: Draft) -> tuple[str, ...]:
    """What the app may do in the whole tenant that is not about mailboxes: held, or consented by this plan."""
    found = {each.name for wanted in draft.wanted for each in wanted.directory}
    for consent in draft.app.consents:
        known = held_as(consent.resource, consent.app_role_id, consent.permission)
        if known is not None and known.about in ("directory", "management"):
            found.add(known.name)
    return tuple(sorted(found, key=str.casefold))


def notes_of(
    world: World, app: App, wanted: Sequence[Wanted], holdings: Holdings, changes: Sequence[Change]
) -> list[str]:
    notes: list[str] = []
    touched = [each for each in changes if each.target.kind == "consent"]
    if app.application_object_id is None and touched:
        notes.append(
            "The app is registered in another tenant, so what it requests cannot be changed here: "
            "the next admin who clicks its consent page grants the removed permissions again."
        )
    for consent in holdings.leftover:
        wishes = {p.name for each in by_mechanism(wanted, "rbac") for p in each.mailbox}
        if canonical(consent.permission) not in {canonical(name) for name in wishes}:
            notes.append(
                f"Removing {consent.permission} takes away what it allows beyond {listing(wishes)}: "
                "name it under permissions if the app needs it."
            )
    if holdings.leftover:
        notes.append("Tokens that the app has when a consent is removed go on acting until they end.")
    notes += [
        f"The consent {consent.permission} stays, so the app is NOT scoped: it reaches every mailbox by it."
        for consent in holdings.kept
    ]
    notes += [
        f"The app also holds {consent.permission} on the legacy Exchange resource (the retired Outlook API), "
        "which is not the Graph permission and is left as it is."
        for consent in holdings.legacy
    ]
    if any(each.mailbox for each in by_mechanism(wanted, "access-policy")):
        notes.append(access_policy.ADVICE)
    if any(each.managed for each in wanted):
        notes.append(
            "The managed group's membership changes mailbox access; only undo of the run that made it removes it."
        )
    organization = world.snapshot.organization
    unread = isinstance(organization, UnsetType) or isinstance(organization.is_dehydrated, UnsetType)
    if unread and any(each.target.kind in NEEDS_CUSTOMIZED for each in changes):
        notes.append("Whether the organisation was customised was not read: if it was not, its first scope is refused.")
    return notes
