"""From an app's policies to one scope with the same mailboxes: union of RestrictAccess, less DenyAccess, and nothing guessed.

A policy counts direct members and those of nested mail-enabled security groups (New-ApplicationAccessPolicy); a filter counts
direct members only (application-rbac). So each group inside a policy's group is named in the filter by its own DN, or, where
that would not be exact, the members are copied into a managed group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exoscope import opath
from exoscope.model import AccessPolicy, App, Group, Migration, Noun, Recipient
from exoscope.opath import Compare
from exoscope.planning.drafts import Denied, listing
from exoscope.planning.states import fold, listed
from exoscope.planning.world import Mailboxes, World

DYNAMIC = "DynamicDistributionGroup"


class Derived(Noun, frozen=True):
    """The scope that stands for the policies.

    ``allowed``: whom the policies let through. One of ``filter`` (the whole scope) and ``managed`` (members to copy, with
    ``less``: who stays out of them) says what it is in Exchange. ``notes`` are sentences an admin must read.
    """

    allowed: Mailboxes
    filter: opath.Filter | None
    managed: tuple[Recipient, ...]
    less: opath.Filter | None
    notes: tuple[str, ...]


class _Match(Noun, frozen=True):
    """One policy with what it names: groups (its own first, then those nested in it), or one recipient."""

    policy: AccessPolicy
    groups: tuple[Group, ...]
    recipient: Recipient | None


def derive(world: World, app: App, asked: Migration, *, copied: bool = False) -> Derived:
    """The scope for all policies that count for ``app``; ``world`` is of :meth:`TenantView.alone`.

    ``copied``: members to copy are wanted, whatever a filter over the groups' names would hold.

    Raises Denied: policy-invalid, policy-scope-missing, membership-unread, dynamic-group, deny-unreadable (what cannot be
    told), deny-fails-open, nested-groups, nested-inexact (what was not accepted or asked for).
    """
    snapshot = world.snapshot
    lost = _accepted_losses(world, app, asked)
    policies: tuple[AccessPolicy, ...] = listed(snapshot, "access_policies")
    matches = [_match(world, each, lost) for each in policies]
    restricts = [each for each in matches if each.policy.access_right == "RestrictAccess"]
    denies = [each for each in matches if each.policy.access_right == "DenyAccess"]
    if asked.nested == "refuse":
        _refuse_nested(matches)
    less = _any_of(denies)
    if less is not None and any(each.groups for each in denies) and not asked.accepts("deny-fails-open", app.app_id):
        raise Denied("deny-fails-open", _fails_open(denies))
    left = world.policies_allow(app, "Mail.Read")
    # What cannot be told of a mailbox was accepted as lost, or _match has refused.
    allowed = left.inside
    positive = _any_of(restricts)
    whole = _without(positive, less)
    notes = [*_later(restricts, denies), *_losses(world, left.unknown & lost)]
    nested = any(len(each.groups) > 1 and world.policy_members(each.policy).inside for each in restricts)
    copied = copied or (asked.nested == "group" and nested)
    if not copied:
        if whole is not None and _exact(world, whole, allowed):
            return Derived(allowed, whole, (), None, tuple(notes))
        if asked.nested == "filter" or positive is None:
            raise Denied(
                "nested-inexact",
                "no filter over the groups' names holds exactly whom the policies let through"
                + ("" if positive is None else "; --nested auto copies the members into a managed group"),
            )
    members = world.none
    for each in restricts:
        members = members | world.policy_members(each.policy).inside
    guids = {address.casefold() for address in members}
    managed = tuple(r for r in listed(snapshot, "recipients") if r.primary_smtp_address.casefold() in guids)
    notes.append(
        "The scope rests on a managed group with today's members. Until the policies go, each stage of the migration brings it "
        "level with whom they let through; who joins the policies' groups after that is not in it until it is added there."
    )
    return Derived(allowed, None, managed, less, tuple(notes))


# -- one policy -------------------------------------------------------------------------------------------------------------


def _match(world: World, policy: AccessPolicy, lost: Mailboxes) -> _Match:
    deny = policy.access_right == "DenyAccess"
    if not policy.valid:
        raise Denied("deny-unreadable" if deny else "policy-invalid", f"Exchange calls {_told(policy)} invalid")
    subject = world.policy_subject(policy)
    if isinstance(subject, Recipient):
        return _Match(policy, (), subject)
    if subject is None:
        raise Denied(
            "deny-unreadable" if deny else "policy-scope-missing",
            f"{_told(policy)} names {policy.scope.name} ({policy.scope.object_id}), which is no group or mailbox that was read: "
            "whom it matches cannot be told",
        )
    certain, loose = world.policy_groups(subject)
    for each in (*certain, *loose):
        if fold(each.recipient_type_details) == fold(DYNAMIC):
            raise Denied(
                "dynamic-group",
                f"{_told(policy)} rests on {each.display_name}, a dynamic group: it stores no members that a scope could follow",
            )
    for each in (*certain, *loose):
        if each.members is None:
            raise Denied(
                "deny-unreadable" if deny else "membership-unread",
                f"the members of {each.display_name}, on which {_told(policy)} rests, were not read",
            )
    doubted = world.policy_members(policy).unknown - lost
    if doubted:
        raise Denied(
            "deny-unreadable" if deny else "membership-unread",
            f"nothing documents whether {_told(policy)} counts members of the groups "
            f"{listing(each.display_name for each in loose)} inside {subject.display_name}: {listing(world.addresses(doubted))}. "
            "Make them direct members, take them out, or name each with --accept-loss.",
        )
    return _Match(policy, (*certain, *loose) if deny else certain, None)


def _told(policy: AccessPolicy) -> str:
    who = "every app" if policy.app_id == "*" else "the app"
    return f"the {policy.access_right} policy for {who}"


# -- the filter ---------------------------------------------------------------------------------------------------------------


def _any_of(matches: Sequence[_Match]) -> opath.Filter | None:
    """Whom any of these policies matches, as a filter; None: there are none."""
    dns = [group.distinguished_name for each in matches for group in each.groups]
    atoms: list[opath.Filter] = []
    if dns:
        joined = opath.member_of(*dns)
        atoms += joined.operands if isinstance(joined, opath.Or) else [joined]
    atoms += dict.fromkeys(_identity(each.recipient) for each in matches if each.recipient is not None)
    if not atoms:
        return None
    return atoms[0] if len(atoms) == 1 else opath.Or(tuple(atoms))


def _identity(recipient: Recipient) -> Compare:
    """One recipient by what never changes. (PrimarySmtpAddress -eq matches aliases of others, and addresses change.)"""
    if recipient.external_directory_object_id:
        return Compare("ExternalDirectoryObjectId", "eq", recipient.external_directory_object_id)
    return Compare("Guid", "eq", recipient.guid)


def _without(positive: opath.Filter | None, less: opath.Filter | None) -> opath.Filter | None:
    if less is None:
        return positive
    return opath.Not(less) if positive is None else opath.And((positive, opath.Not(less)))


def _exact(world: World, node: opath.Filter, allowed: Mailboxes) -> bool:
    """Does the filter, read back from its text, hold exactly these?"""
    found = world.members(str(node))
    return not found.unknown and found.inside == allowed


# -- what must be said ----------------------------------------------------------------------------------------------------------


def _fails_open(denies: Sequence[_Match]) -> str:
    groups = listing({each.groups[0].display_name for each in denies if each.groups})
    return (
        f"a DenyAccess policy names {groups}. Roles only allow, so the scope would have to be everyone but its members "
        "(-not (MemberOfGroup -eq …)): that opens to all of them when the group is deleted or its DN changes, and does not follow "
        "groups nested in it later. Accept it with --accept deny-fails-open:APP, or restrict the app to a group first."
    )


def _later(restricts: Sequence[_Match], denies: Sequence[_Match]) -> Iterable[str]:
    """What the filter will not follow as the policies did."""
    for each in restricts:
        if each.groups:
            inner = f" (with {listing(g.display_name for g in each.groups[1:])} inside)" if len(each.groups) > 1 else ""
            yield (
                f"Members of {each.groups[0].display_name}{inner} stay reachable as they join and leave; "
                "a group nested there later is not followed by the scope."
            )
    for each in denies:
        if each.groups:
            yield (
                f"Later widening: the scope is everyone but the members of {listing(g.display_name for g in each.groups)}. "
                "It opens when such a group is deleted or its DN changes, and does not follow groups nested there later."
            )


def _losses(world: World, these: Mailboxes) -> Iterable[str]:
    if these:
        yield f"Accepted as lost, since nobody can tell whether they are reached today: {listing(world.addresses(these))}"


def _accepted_losses(world: World, app: App, asked: Migration) -> Mailboxes:
    found = world.none
    for each in asked.accept_loss:
        if each.app.casefold() == app.app_id.casefold():
            found = found | world.of_guids([world.find_mailbox(each.address).guid])
    return found


def _refuse_nested(matches: Sequence[_Match]) -> None:
    inner = [group for each in matches for group in each.groups[1:]]
    if inner:
        raise Denied(
            "nested-groups",
            f"policies rest on groups inside groups, and --nested refuse was given: {listing({g.display_name for g in inner})}",
        )
