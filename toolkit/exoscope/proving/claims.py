"""What is claimed, over a fresh snapshot: per app and permission the mailboxes that must be reached, and no others. Pure.

The expectation is the intent's scope evaluated now (a list stays the list): who joined or left since the plan is *moved*,
not a violation. Members that cannot be told make the expectation unknown, and the claim with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from exoscope import catalog, opath
from exoscope.catalog import Permission
from exoscope.model import (
    Addresses,
    AdministrativeUnitScope,
    App,
    AppPlan,
    Group,
    GroupScope,
    Intent,
    IntentEntry,
    IntentScope,
    Mechanism,
    Moved,
    Noun,
    PlanEntry,
    Prove,
    Snapshot,
    WaitKind,
)
from exoscope.outcome import BadInput, Unreadable
from exoscope.planning.drafts import Denied, Wanted
from exoscope.planning.holdings import kept_consents
from exoscope.planning.resolve import find_group
from exoscope.planning.scoped import not_scoped_because
from exoscope.planning.states import find_group as group_of_id
from exoscope.planning.states import fold, listed
from exoscope.planning.tokens import token_wait
from exoscope.planning.world import World
from exoscope.reach import Mailboxes, Reach

UNREAD = "unread"
_GOVERNED = "Mail.Read"  # one of those that policies govern: which makes no difference to whom a policy matches
UNTOLD = frozenset({UNREAD, "unknown-reach", "unknown-role", "unknown-permission", "protocol"})
"""Codes of ``not_scoped_because`` that say it cannot be told, rather than that it is not so."""


class Claim(Noun, frozen=True):
    """One permission of one app. ``expected`` must be reached, everything else must not; of ``doubtful`` nobody can tell
    (``problem`` says why). Who is named under ``prove`` is expected so whoever joins or leaves. ``near``: addresses worth
    asking about although they are outside (boundaries, ``never``).
    """

    permission: str
    mechanisms: frozenset[Mechanism]
    expected: Mailboxes
    doubtful: Mailboxes
    problem: str | None
    near: frozenset[str]


class AppClaim(Noun, frozen=True):
    """All claims of one app, and why it may not be called scoped (no code: it may)."""

    app: App
    not_scoped_because: tuple[str, ...]
    token_wait: WaitKind
    claims: tuple[Claim, ...]
    moved: tuple[Moved, ...] = ()
    tenant_wide: tuple[str, ...] = ()

    @property
    def scoped(self) -> bool | None:
        """None: it cannot be told."""
        if not self.not_scoped_because:
            return True
        return None if set(self.not_scoped_because) <= UNTOLD else False


class _Entry(Noun, frozen=True):
    permissions: tuple[str, ...]
    mechanism: Mechanism
    scope: IntentScope
    filter: str | None
    group: str | None
    prove: Prove
    also_holds: tuple[str, ...]
    planned: Addresses | None
    keeps: bool
    problem: str | None = None


def of_plan(app_plan: AppPlan, reach: Reach) -> AppClaim:
    """The claims of a planned app over the tenant as ``reach`` sees it. Raises NotFound when the app is gone."""
    entries = [_planned(entry, app_plan) for entry in app_plan.entries]
    return _claim(reach, reach.find_app(app_plan.app_id), entries, app_plan.token_wait)


def of_intent(intent: Intent, reach: Reach) -> tuple[AppClaim, ...]:
    """The claims of an intent. Raises BadInput (NotFound, Ambiguous) naming the entry's line."""
    by_app: dict[str, tuple[App, list[_Entry], list[bool]]] = {}
    for entry in intent.apps:
        try:
            app = reach.find_app(entry.app)
            resolved = _intended(entry, reach)
        except BadInput as error:
            raise type(error)(f"line {entry.line}: {error.message}", next=error.next) from None
        _, entries, flags = by_app.setdefault(app.app_id.casefold(), (app, [], []))
        entries.append(resolved)
        flags.append(entry.no_cae)
    return tuple(_claim(reach, app, entries, token_wait(app, all(flags))) for app, entries, flags in by_app.values())


def _planned(entry: PlanEntry, app: AppPlan) -> _Entry:
    return _Entry(
        entry.permissions,
        entry.mechanism,
        entry.scope,
        entry.filter,
        entry.group,
        entry.prove,
        app.also_holds,
        entry.expected,
        entry.keeps_consent,
    )


def _intended(entry: IntentEntry, reach: Reach) -> _Entry:
    scope, rule, group, problem = entry.scope, None, None, None
    value = scope.value or ""
    if scope.kind == "filter":
        try:
            rule = str(opath.parse(value))
        except opath.OpathError as error:
            raise BadInput(f"filter: {error.message}", next="Correct the filter; nothing was tried.") from None
    elif scope.kind == "administrative-unit":
        units = [
            u
            for u in listed(reach.snapshot, "administrative_units")
            if fold(value) in (fold(u.id), fold(u.display_name))
        ]
        group = units[0].id if len(units) == 1 else None
        problem = None if group else f"{len(units)} administrative units are {value}"
    elif scope.kind in ("group", "group-scope"):
        try:
            found = find_group(reach.snapshot, value)
        except Denied as denied:
            problem = denied.message
        else:
            group = found.guid
            if scope.kind == "group" and entry.mechanism == "rbac":
                rule = str(opath.member_of(found.distinguished_name))
    keeps = entry.on_leftover_consent == "keep"
    return _Entry(
        entry.permissions, entry.mechanism, scope, rule, group, entry.prove, entry.also_holds, None, keeps, problem
    )


def _claim(reach: Reach, app: App, entries: Sequence[_Entry], wait: WaitKind) -> AppClaim:
    inside = [_inside(entry, app, reach) for entry in entries]
    known = [[_permission(name, reach) for name in entry.permissions] for entry in entries]
    wanted = [
        Wanted(
            IntentEntry(
                app.app_id,
                entry.permissions,
                entry.mechanism,
                entry.scope,
                also_holds=entry.also_holds,
                on_leftover_consent="keep" if entry.keeps else "remove",
            ),
            place,
            tuple(each for each in named if each.about != "directory"),
            tuple(each for each in named if each.about == "directory"),
            expected,
        )
        for place, (entry, named, (expected, _, _)) in enumerate(zip(entries, known, inside, strict=True))
    ]
    try:
        codes = not_scoped_because(World.over(reach), app, wanted, kept_consents(app, wanted))
    except Unreadable:
        codes = (UNREAD,)
    names = list(dict.fromkeys(p.name for each in wanted for p in each.mailbox))
    return AppClaim(
        app=app,
        not_scoped_because=codes,
        token_wait=wait,
        claims=tuple(_one(reach, name, entries, known, inside) for name in names),
        moved=tuple(_moved(app, entries, known, inside, reach)),
        tenant_wide=tuple(dict.fromkeys(p.name for each in wanted for p in each.directory)),
    )


def _permission(name: str, reach: Reach) -> Permission:
    known = catalog.permission(name)
    if known is not None:
        return known
    reach.permission_named(name)  # raises NotFound naming near ones where nobody knows it
    return Permission(
        name=name, resource=catalog.GRAPH, app_role_id=None, about="mailbox", governed=False, self_widening=False
    )


_Inside = tuple[Mailboxes, Mailboxes, str | None]


def scope_now(entry: PlanEntry, reach: Reach) -> tuple[Mailboxes, Mailboxes, str | None]:
    """(inside, doubtful, why) of a planned entry's scope over the tenant as ``reach`` sees it, whatever policies deny of it."""
    return _scope_now(entry.scope, entry.filter, entry.group, entry.expected.addresses, reach)


def _inside(entry: _Entry, app: App, reach: Reach) -> _Inside:
    """(expected, doubtful, problem) of one entry now."""
    if entry.problem is not None:
        return reach.addresses(()), reach.mailboxes, entry.problem
    listing = entry.scope.mailboxes if entry.planned is None else entry.planned.addresses
    found = _scope_now(entry.scope, entry.filter, entry.group, listing, reach)
    if entry.scope.kind == "mailboxes" and entry.planned is not None:
        # The plan's list is without those that a Deny policy kept out then; a mailbox that is gone is reached by nobody.
        return found[0], found[1], None
    if entry.mechanism != "access-policy":
        return found
    sure, doubtful, problem = _but_denied(reach, app, found)
    if entry.planned is not None:
        # Whom the plan expected to be reached a Deny policy may not take away unsaid: only whom it named by then is left out.
        sure = sure | (found[0] & _listed(entry.planned.addresses, reach)[0])
    return sure, doubtful - sure, problem


def _scope_now(
    scope: IntentScope, filter: str | None, group_id: str | None, listing: Sequence[str], reach: Reach
) -> _Inside:
    nobody = reach.addresses(())
    if scope.kind == "organization":
        return reach.mailboxes, nobody, None
    if scope.kind == "mailboxes":
        return _listed(listing, reach)
    if filter is not None:
        return reach.scope_members(filter)
    if group_id is None:
        return nobody, reach.mailboxes, "what the scope rests on is not known"
    if scope.kind == "administrative-unit":
        return reach.scope_members(AdministrativeUnitScope(group_id))
    if scope.kind == "group-scope":
        return reach.scope_members(GroupScope(group_id))
    group = group_of_id(reach.snapshot, group_id)
    if group is None:
        return nobody, reach.mailboxes, "the group is not there any more"
    return reach.policy_members(group)


def _but_denied(reach: Reach, app: App, members: _Inside) -> _Inside:
    """A policy's members without those that a DenyAccess policy keeps out: deny goes first, and the plan says so."""
    denying = tuple(each for each in listed(reach.snapshot, "access_policies") if each.access_right == "DenyAccess")
    left, unknown = reach.with_(access_policies=denying).policy_allows(app.app_id, _GOVERNED)
    sure, doubtful, problem = members
    return sure & left, (doubtful & (left | unknown)) | (sure & unknown), problem


def _listed(listing: Sequence[str], reach: Reach) -> _Inside:
    found, gone = [], []
    for address in listing:
        try:
            found.append(reach.find_mailbox(address))
        except BadInput:
            gone.append(address)
    # A mailbox that is gone is reached by nobody; the list keeps naming it, so it is said, not hidden.
    problem = f"no mailbox any more: {', '.join(gone)}" if gone else None
    return reach.addresses(found), reach.addresses(()), problem


def _named(addresses: Sequence[str], reach: Reach) -> Mailboxes:
    """The mailboxes of these addresses that are there; one that is gone is reached by nobody."""
    return _listed(addresses, reach)[0]


def _proven_reach(entry: _Entry, reach: Reach) -> Mailboxes:
    found = _named(entry.prove.reach, reach)
    if entry.planned is None or entry.planned.all_but:
        return found
    # What a Deny policy kept out when it was planned stands in the plan's notes, and is not expected.
    return found & _named(entry.planned.addresses, reach)


def _one(
    reach: Reach, name: str, entries: Sequence[_Entry], known: Sequence[Sequence[Permission]], inside: Sequence[_Inside]
) -> Claim:
    expected = doubtful = reach.addresses(())
    mechanisms: set[Mechanism] = set()
    problems: list[str] = []
    near: set[str] = set()
    must, never = reach.addresses(()), reach.addresses(())
    for entry, named, (sure, unknown, problem) in zip(entries, known, inside, strict=True):
        if not any(each.name == name or catalog.lets_through(each.name, name) for each in named):
            continue
        mechanisms.add(entry.mechanism)
        expected, doubtful = expected | sure, doubtful | unknown
        problems += [problem] if problem else []
        with suppress(Unreadable):  # where groups were not read nobody can say who is just outside, nor who is inside
            near |= set(_boundary(entry, reach))
        must = must | _proven_reach(entry, reach)
        if any(catalog.canonical(each.name) == catalog.canonical(name) for each in named):
            never = never | _named(entry.prove.never, reach)
    if not doubtful:
        # Who is named under `prove` is meant by name, whoever joins or leaves the scope.
        expected = (expected | must) - never
    near |= set(never)
    return Claim(
        permission=name,
        mechanisms=frozenset(mechanisms),
        expected=expected,
        doubtful=doubtful - expected,
        problem="; ".join(problems) or None,
        near=frozenset(near - set(expected)),
    )


def _boundary(entry: _Entry, reach: Reach) -> Iterable[str]:
    """Mailboxes just outside: members of groups inside the scope's own, and of groups that its filter keeps out."""
    own = group_of_id(reach.snapshot, entry.group) if entry.group else None
    for group in [own] if own is not None else _groups_of_filter(entry, reach.snapshot):
        yield from reach.policy_members(group).inside
        yield from reach.policy_members(group).unknown


def _groups_of_filter(entry: _Entry, snapshot: Snapshot) -> list[Group]:
    if entry.filter is None:
        return []
    wanted = {opath.normal_dn(dn) for dn in opath.dns(opath.parse(entry.filter))}
    return [each for each in listed(snapshot, "groups") if opath.normal_dn(each.distinguished_name) in wanted]


def _moved(
    app: App, entries: Sequence[_Entry], known: Sequence[Sequence[Permission]], inside: Sequence[_Inside], reach: Reach
) -> Iterable[Moved]:
    for entry, named, (now, unknown, _) in zip(entries, known, inside, strict=True):
        if entry.planned is None or unknown or entry.scope.kind == "mailboxes":
            continue
        listed_then = {address.casefold(): address for address in entry.planned.addresses}
        then = reach.named(listed_then)
        then = reach.mailboxes - then if entry.planned.all_but else then
        gone = () if entry.planned.all_but else (each for each in listed_then if each not in reach.mailboxes)
        left = sorted((*(address.casefold() for address in then - now), *gone))
        for permission in named:
            if permission.about == "directory":
                continue
            for address in now - then:
                yield Moved(app.app_id, permission.name, address, "joined")
            for address in left:
                yield Moved(app.app_id, permission.name, listed_then.get(address, address), "left")
