"""Entries of an intent against the tenant: which app, which permissions, which mailboxes; and what is refused for that."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from exoscope import opath
from exoscope.catalog import PERMISSIONS, Permission, governed, permission, role_for
from exoscope.model import AdministrativeUnit, App, Group, IntentEntry, Recipient, Snapshot
from exoscope.outcome import Ambiguous, BadInput
from exoscope.planning.drafts import Denied, Wanted, listing
from exoscope.planning.states import fold, group_ids, listed
from exoscope.planning.world import Mailboxes, World

SECURITY_GROUP = "MailUniversalSecurityGroup"
_NO_MEMBERS_STORED = "DynamicDistributionGroup"
_READ_AGAIN = (
    "Read the tenant with `exoscope snapshot --for` this intent: it reads what the intent rests on, or says why not."
)


def resolve_app(world: World, entry: IntentEntry) -> App:
    """The app that an entry names. Raises NotFound or Ambiguous with the entry's line and the candidates."""
    try:
        return world.find_app(entry.app)
    except BadInput as error:
        raise type(error)(f"line {entry.line}: {error.message}", next=error.next) from None


def resolve(world: World, entry: IntentEntry, app: App, place: int) -> Wanted:
    """One entry of ``app``. Raises Denied, or BadInput where the entry itself cannot be meant."""
    mailbox, directory = _permissions(world.snapshot, entry)
    wanted = _scope(world, entry, place, mailbox, directory)
    _check_prove(world, entry, wanted.expected)
    return wanted


def _permissions(snapshot: Snapshot, entry: IntentEntry) -> tuple[tuple[Permission, ...], tuple[Permission, ...]]:
    mailbox: list[Permission] = []
    directory: list[Permission] = []
    for name in entry.permissions:
        known = permission(name)
        if known is None:
            raise Denied("unknown-permission", f"{name} is no permission that exoscope knows{_near(name)}")
        if known.self_widening:
            raise Denied(
                "self-widening", f"with {known.name} the app could give itself more; exoscope does not grant it"
            )
        if known.about == "directory":
            directory.append(_grantable(known))
        elif entry.mechanism == "rbac":
            if role_for(known.name, snapshot.roles) is None:
                raise Denied("no-role", f"no application role of Exchange gives exactly {known.name}")
            mailbox.append(known)
        else:
            if not governed(known.name, known.resource):
                raise Denied("not-governed", f"access policies do not restrict {known.name}: it would stay tenant-wide")
            mailbox.append(_grantable(known))
    return tuple(mailbox), tuple(directory)


def _near(name: str) -> str:
    names = {each.name.casefold(): each.name for each in PERMISSIONS}
    close = [names[each] for each in difflib.get_close_matches(name.casefold(), names, n=3)]
    return f"; near: {', '.join(close)}" if close else ""


def _grantable(known: Permission) -> Permission:
    if known.app_role_id is None:
        raise Denied(
            "unknown-permission", f"the app role id of {known.name} is not known, so it cannot be consented to"
        )
    return known


def _scope(
    world: World,
    entry: IntentEntry,
    place: int,
    mailbox: tuple[Permission, ...],
    directory: tuple[Permission, ...],
) -> Wanted:
    base = Wanted(entry, place, mailbox, directory, world.none)

    def wanted(expected: Mailboxes, **scope: Any) -> Wanted:
        return replace(base, expected=expected, **scope)

    scope = entry.scope
    value = scope.value or ""
    if scope.kind == "organization":
        note = "The intent is the whole organisation: the app reaches every mailbox, so a proof finds none outside."
        return wanted(world.all, notes=(note,))
    if scope.kind == "mailboxes":
        # Two addresses of one mailbox are one member.
        found = {
            each.guid.casefold(): each for address in scope.mailboxes for each in [_mailbox(world, address, entry)]
        }
        return wanted(world.of_guids(found), managed=tuple(found.values()))
    if scope.kind == "filter":
        expected, canonical, notes = _by_filter(world, entry, value)
        return wanted(expected, filter=canonical, notes=notes)
    if scope.kind == "administrative-unit":
        unit = _unit(world.snapshot, value)
        members = world.members(unit)
        if members.unknown:
            raise Denied(
                "membership-unread", f"the members of the unit {unit.display_name} cannot all be told. {_READ_AGAIN}"
            )
        return wanted(members.inside, unit=unit.id)
    group = find_group(world.snapshot, value)
    if entry.mechanism == "access-policy":
        return wanted(policy_members(world, group), group=group)
    expected = _direct(world, group)
    if scope.kind == "group-scope":
        return wanted(expected, group=group)
    return wanted(expected, filter=str(opath.member_of(group.distinguished_name)))


def _by_filter(world: World, entry: IntentEntry, text: str) -> tuple[Mailboxes, str, tuple[str, ...]]:
    try:
        parsed = opath.parse(text)
    except opath.OpathError as error:
        raise BadInput(
            f"line {entry.line}: filter: {error.message}", next="Correct the filter; nothing was tried."
        ) from None
    problem = opath.scope_problem(parsed)
    if problem:
        raise BadInput(f"line {entry.line}: filter: {problem}", next="Correct the filter; nothing was tried.")
    notes = [f"The filter: {flag}" for flag in opath.flags(parsed)]
    for atom in opath.atoms(parsed):
        if atom.property.casefold() == "memberofgroup" and isinstance(atom.value, str):
            group = _group_of_dn(world.snapshot, atom.value)
            nested = nested_groups(world.snapshot, group)
            if nested:
                names = listing(each.display_name for each in nested)
                notes.append(f"Members of groups inside {group.display_name} do not count: {names}.")
    canonical = str(parsed)
    found = world.members(canonical)
    if found.unknown:
        raise Denied(
            "membership-unread",
            f"whether the filter holds {len(found.unknown)} mailboxes cannot be told: "
            f"{listing(world.addresses(found.unknown), 5)}. {_READ_AGAIN}",
        )
    return found.inside, canonical, tuple(notes)


def _group_of_dn(snapshot: Snapshot, dn: str) -> Group:
    wanted = opath.normal_dn(dn)
    found: Group | None = next(
        (g for g in listed(snapshot, "groups") if wanted and opath.normal_dn(g.distinguished_name) == wanted), None
    )
    if found is None:
        raise Denied("group-missing", f"the filter names the group {dn!r}, and there is none with that DN")
    return found


def _mailbox(world: World, address: str, entry: IntentEntry) -> Recipient:
    try:
        return world.find_mailbox(address)
    except BadInput as error:
        raise type(error)(f"line {entry.line}: {error.message}", next=error.next) from None


def _unit(snapshot: Snapshot, value: str) -> AdministrativeUnit:
    units: tuple[AdministrativeUnit, ...] = listed(snapshot, "administrative_units")
    found = [unit for unit in units if fold(value) == fold(unit.id)]
    found = found or [unit for unit in units if fold(value) == fold(unit.display_name)]
    if not found:
        raise Denied("group-missing", f"there is no administrative unit {value}")
    if len(found) > 1:
        raise Ambiguous(f"{value} names {len(found)} administrative units: {listing(unit.id for unit in found)}")
    return found[0]


def find_group(snapshot: Snapshot, value: str) -> Group:
    """The group of this address, Guid, DN or display name. Raises Denied ``group-missing``, or Ambiguous."""
    groups: tuple[Group, ...] = listed(snapshot, "groups")
    wanted = fold(value)
    by_id = [
        g
        for g in groups
        if wanted in group_ids(g) or wanted in (fold(g.primary_smtp_address), fold(g.distinguished_name))
    ]
    found = by_id or [g for g in groups if wanted == fold(g.display_name)]
    if not found:
        raise Denied("group-missing", f"there is no group {value} that Exchange knows{_near_groups(groups, value)}")
    if len(found) > 1:
        raise Ambiguous(
            f"{value} names {len(found)} groups: {listing(g.primary_smtp_address or g.guid for g in found)}"
        )
    return found[0]


def _near_groups(groups: Iterable[Group], value: str) -> str:
    names = {str(each).casefold(): each for g in groups for each in (g.primary_smtp_address, g.display_name) if each}
    close = [names[each] for each in difflib.get_close_matches(value.casefold(), names, n=3, cutoff=0.8)]
    return f"; near: {', '.join(close)}" if close else ""


def _unread(snapshot: Snapshot, group: Group) -> str:
    """Why a group's members are not in the snapshot: reading failed, or nobody asked for them."""
    names = [str(each).casefold() for each in (group.primary_smtp_address, group.guid) if each]
    for each in snapshot.unread:
        if each.what.endswith(".members") and any(f"={name}]" in each.what.casefold() for name in names):
            return f"could not be read: {each.why}"
    return f"were not read. {_READ_AGAIN}"


def direct_mailboxes(world: World, group: Group) -> Mailboxes:
    """A group's direct members that are mailboxes. Raises Denied ``membership-unread``."""
    if group.members is None:
        raise Denied("membership-unread", f"the members of {group.display_name} {_unread(world.snapshot, group)}")
    return world.of_guids(group.members)


def nested_groups(snapshot: Snapshot, group: Group) -> tuple[Group, ...]:
    """The groups inside a group, at any depth, itself left out; cycles end. Raises Denied where members were not read."""
    by_guid = {fold(each.guid): each for each in listed(snapshot, "groups")}
    seen: dict[object, Group] = {fold(group.guid): group}
    waiting = [group]
    while waiting:
        current = waiting.pop()
        if current.members is None:
            inside = "" if current is group else f", a group inside {group.display_name},"
            raise Denied(
                "membership-unread",
                f"the members of {current.display_name}{inside} {_unread(snapshot, current)}",
            )
        for member in current.members:
            inner = by_guid.get(fold(member))
            if inner is not None and fold(inner.guid) not in seen:
                seen[fold(inner.guid)] = inner
                waiting.append(inner)
    return tuple(seen.values())[1:]


def _members_of(world: World, groups: Iterable[Group]) -> Mailboxes:
    found = world.none
    for group in groups:
        found = found | direct_mailboxes(world, group)
    return found


def _direct(world: World, group: Group) -> Mailboxes:
    """The mailboxes that RBAC counts for a group. Raises Denied ``nested-lost`` where members of inner groups would fall out."""
    if group.recipient_type_details.casefold() == _NO_MEMBERS_STORED.casefold():
        raise Denied(
            "group-missing", f"{group.display_name} is a dynamic group: it has no members that a scope could follow"
        )
    inside = direct_mailboxes(world, group)
    lost = _members_of(world, nested_groups(world.snapshot, group)) - inside
    if lost:
        raise Denied(
            "nested-lost",
            f"RBAC counts direct members only, so {len(lost)} members of groups inside {group.display_name} would fall out: "
            f"{listing(world.addresses(lost), 200)}. Make them direct members, or list the mailboxes.",
        )
    return inside


def policy_members(world: World, group: Group) -> Mailboxes:
    """The mailboxes that an access policy counts for a group: through nested mail-enabled security groups too.

    (New-ApplicationAccessPolicy's page; disputed by users, so its test cmdlet is asked before anything rests on it.)
    Raises Denied where the group cannot be a policy's scope, or where its members cannot all be told.
    """
    if group.recipient_type_details.casefold() != SECURITY_GROUP.casefold():
        raise Denied(
            "group-missing",
            f"{group.display_name} is a {group.recipient_type_details}: an access policy takes a mail-enabled security group",
        )
    certain = _through(world, group, {fold(group.guid)})
    unsure = _members_of(world, nested_groups(world.snapshot, group))
    if unsure - certain:
        raise Denied(
            "membership-unread",
            f"nothing documents whether a policy counts members of other groups inside {group.display_name}: "
            f"{listing(world.addresses(unsure - certain))}",
        )
    return certain


def _through(world: World, group: Group, seen: set[object]) -> Mailboxes:
    """Mailboxes reached through nested mail-enabled security groups alone."""
    by_guid = {fold(each.guid): each for each in listed(world.snapshot, "groups")}
    found = world.none
    waiting = [group]
    while waiting:
        current = waiting.pop()
        found = found | direct_mailboxes(world, current)
        for member in current.members or ():
            inner = by_guid.get(fold(member))
            if inner is None or fold(inner.guid) in seen:
                continue
            if inner.recipient_type_details.casefold() == SECURITY_GROUP.casefold():
                seen.add(fold(inner.guid))
                waiting.append(inner)
    return found


def _check_prove(world: World, entry: IntentEntry, expected: Mailboxes) -> None:
    """What must be proven reachable lies inside the scope, what must never be outside of it."""
    for address in entry.prove.reach:
        if not world.of_guids([_mailbox(world, address, entry).guid]) & expected:
            raise BadInput(f"line {entry.line}: prove.reach names {address}, which is not in the scope")
    for address in entry.prove.never:
        if world.of_guids([_mailbox(world, address, entry).guid]) & expected:
            raise BadInput(f"line {entry.line}: prove.never names {address}, which is in the scope")
