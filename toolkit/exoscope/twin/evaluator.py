"""Who may do what: one app, one permission, one mailbox at a time, from SNAPSHOT.md ("How reach follows from it").

This shares no code with :mod:`exoscope.reach`, which answers the same for all mailboxes at once; a property test holds the
two against each other over random tenants. Slow and plain on purpose: each rule stands once, in the order of that page.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from exoscope.catalog import by_id, governed, granted_by, implied_by
from exoscope.catalog import permission as known_permission
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnitScope,
    App,
    Group,
    GroupScope,
    ManagementScopeScope,
    Noun,
    OrganizationScope,
    Recipient,
    RoleAssignment,
    Snapshot,
)
from exoscope.twin.filters import scope_holds
from exoscope.twin.view import View, dn_key, fold

Answer = Literal["allowed", "denied", "unknown"]
Mechanism = Literal["consent", "rbac", "raop", "none"]

# Permissions whose consent is worth nothing without mailbox permissions, which a snapshot does not hold.
_PROTOCOLS = frozenset({"imap.accessasapp", "pop.accessasapp", "smtp.sendasapp"})
# Permissions that let an app act on Exchange itself: findings elsewhere, no reach.
_NO_REACH = frozenset({"exchange.manageasapp", "mailbox.migration"})
_SECURITY_GROUP = "mailuniversalsecuritygroup"


Held = tuple[str, str, bool]  # resource, permission, and whether it is certain that this is what is held


class Outcome(Noun, frozen=True):
    """An answer, what it rests on, and which mechanism decided (see :class:`exoscope.twin.tenant.Decision`)."""

    answer: Answer
    because: str
    mechanism: Mechanism = "none"


def evaluate(source: Snapshot | View, app: App, permission: str, mailbox: Recipient) -> Answer:
    """Whether a call of ``app`` that needs ``permission`` on ``mailbox`` would be let through, consents as they stand."""
    view = source if isinstance(source, View) else View(source)
    held = []
    for consent in app.consents:
        held.append((consent.resource, consent.permission, True))
        meant = by_id(consent.resource, consent.app_role_id)
        if meant is not None and fold(meant.name) != fold(consent.permission):
            # its name is one permission's, its app role id another's: it may be either
            held.append((consent.resource, meant.name, False))
    return _union(view, app.object_id, app.app_id, held, permission, mailbox).answer


def decide_with_roles(
    view: View,
    object_id: str,
    app_id: str,
    roles: tuple[str, ...],
    resource: str,
    permission: str,
    mailbox: Recipient,
) -> Outcome:
    """The same for a call made with a token: its ``roles`` on ``resource`` stand for the consents."""
    return _union(view, object_id, app_id, [(resource, role, True) for role in roles], permission, mailbox)


def _union(
    view: View,
    object_id: str,
    app_id: str,
    held: list[Held],
    permission: str,
    mailbox: Recipient,
) -> Outcome:
    if fold(mailbox.recipient_type) != "usermailbox":
        return Outcome("denied", f"{mailbox.primary_smtp_address} is a {mailbox.recipient_type}, not a mailbox")
    outcomes = [
        *_by_consent(view, object_id, app_id, held, permission, mailbox),
        *_by_role(view, object_id, permission, mailbox),
    ]
    for answer in ("allowed", "unknown"):
        for outcome in outcomes:
            if outcome.answer == answer:
                return outcome
    # a policy's refusal is told before a scope's: Exchange says [RAOP] of the former only
    denials = sorted(outcomes, key=lambda outcome: outcome.mechanism != "raop")
    return denials[0] if denials else Outcome("denied", f"holds nothing that gives {permission}")


# --- rule 1: consent ---------------------------------------------------------------------------------------------


def _by_consent(
    view: View,
    object_id: str,
    app_id: str,
    held: list[Held],
    permission: str,
    mailbox: Recipient,
) -> list[Outcome]:
    wanted = {fold(name) for name in implied_by(permission)}
    outcomes = []
    needed = known_permission(permission)
    for resource, name, certain in held:
        if fold(name) not in wanted or fold(name) in _NO_REACH:
            continue
        if needed is None:
            outcomes.append(Outcome("unknown", f"the catalogue does not know {permission}"))
            continue
        if fold(resource) != fold(needed.resource):
            continue  # the same name on the legacy Exchange resource is another permission
        if fold(name) in _PROTOCOLS:
            outcomes.append(Outcome("unknown", f"{name} reaches mailboxes by mailbox permissions, which are not known"))
            continue
        outcome = Outcome("allowed", f"consent {name}", "consent")
        if governed(name, resource):
            outcome = _policies(view, app_id, name, mailbox)
        if outcome.answer == "allowed" and not certain:
            outcome = Outcome("unknown", f"a consent's name and its app role id differ: it may be {name}")
        if outcome.answer == "allowed" and (doubt := _enforcement(view, object_id)):
            outcome = Outcome("unknown", doubt)
        outcomes.append(outcome)
    return outcomes


def _enforcement(view: View, object_id: str) -> str | None:
    """Why what a consent gives is undocumented here, or None."""
    organization, pointers = view.snapshot.organization, view.snapshot.service_principals
    if organization is UNSET or pointers is UNSET:
        return "whether EnforceExoAppRbacPermissions is set was not read"
    if organization.enforce_exo_app_rbac_permissions is True:
        return "EnforceExoAppRbacPermissions is set: what a consent gives then is not documented"
    for pointer in view.pointers_of(object_id):
        override = pointer.override_enforce_exo_app_rbac_permissions
        if override is UNSET:
            return "the pointer's OverrideEnforceExoAppRbacPermissions was not read"
        if override is True:
            return "OverrideEnforceExoAppRbacPermissions is set: what a consent gives then is not documented"
    return None


def _policies(view: View, app_id: str, name: str, mailbox: Recipient) -> Outcome:
    """The policy rules of application-access-policies, in their order, deny first."""
    if view.snapshot.access_policies is UNSET:
        return Outcome("unknown", "access policies were not read")
    mine = view.policies(app_id)
    if app_id != "*" and view.behaviour.wildcard == "counted":
        mine += view.policies("*")
    deny = [(policy, _matches(view, policy, mailbox)) for policy in mine if policy.access_right == "DenyAccess"]
    restrict = [(policy, _matches(view, policy, mailbox)) for policy in mine if policy.access_right == "RestrictAccess"]
    for policy, hit in deny:
        if hit:
            return Outcome("denied", f"policy {policy.identity} denies", "raop")
    if any(hit for _, hit in restrict) or not restrict:
        outcome = Outcome("allowed", f"consent {name}", "consent")
    elif any(hit is None for _, hit in restrict):
        outcome = Outcome("unknown", "whether a RestrictAccess policy holds the mailbox is not known")
    else:
        outcome = Outcome("denied", "no RestrictAccess policy of the app holds the mailbox", "raop")
    if outcome.answer == "allowed" and any(hit is None for _, hit in deny):
        return Outcome("unknown", "whether a DenyAccess policy holds the mailbox is not known")
    return outcome


def policy_answer(view: View, app_id: str, mailbox: Recipient) -> Outcome:
    """What the policies alone leave an app on a mailbox (Test-ApplicationAccessPolicy); no policy leaves everything."""
    return _policies(view, app_id, "any", mailbox)


def _matches(view: View, policy: AccessPolicy, mailbox: Recipient) -> bool | None:
    if not policy.valid:
        return None
    groups = view.groups_by_id(policy.scope.object_id)
    if groups:
        return _inside(view, groups[0], mailbox)
    named = view.recipient_by_directory_id(policy.scope.object_id) or view.recipient(policy.scope.object_id)
    if named:
        guids = [each.guid for each in named] if isinstance(named, tuple) else [named.guid]
        return fold(mailbox.guid) in map(fold, guids)
    return None


def _inside(view: View, top: Group, mailbox: Recipient) -> bool | None:
    """Direct members, and those of nested mail-enabled security groups; through any other nested group it is unknown."""
    answer: bool | None = False
    seen: set[tuple[str, bool]] = set()
    open_groups = [(top, True)]
    while open_groups:
        group, counts = open_groups.pop()
        if (fold(group.guid), counts) in seen:
            continue
        seen.add((fold(group.guid), counts))
        if group.members is None:
            answer = None
            continue
        if fold(mailbox.guid) in view.members(group):
            if counts:
                return True
            answer = None
        if view.behaviour.nested_members == "ignored":
            continue
        open_groups += [
            (nested, counts and fold(nested.recipient_type_details) == _SECURITY_GROUP) for nested in view.nested(group)
        ]
    return answer


# --- rule 2: role assignments ------------------------------------------------------------------------------------


def _by_role(view: View, object_id: str, permission: str, mailbox: Recipient) -> list[Outcome]:
    if view.snapshot.role_assignments is UNSET:
        return [Outcome("unknown", "role assignments were not read")]
    outcomes = []
    for assignment in _perhaps_assigned(view, object_id):
        if not assignment.enabled:
            continue
        grants = _grants(view, assignment, permission)
        if grants is False:
            continue
        assigned = _assigned(view, assignment, object_id)
        if assigned is False:
            continue
        inside = in_scope(view, assignment, mailbox)
        if inside is False:
            outcomes.append(Outcome("denied", f"outside the scope of assignment {assignment.name}", "rbac"))
        elif None in (grants, assigned, inside):
            outcomes.append(Outcome("unknown", f"assignment {assignment.name}: not all of it is known"))
        else:
            outcomes.append(Outcome("allowed", f"assignment {assignment.name}", "rbac"))
    return outcomes


def _perhaps_assigned(view: View, object_id: str) -> tuple[RoleAssignment, ...]:
    """Those that name one of the app's pointers in some way; all of them where nobody knows what pointers there are."""
    if view.snapshot.service_principals is UNSET:
        every: tuple[RoleAssignment, ...] = view.snapshot.role_assignments or ()
        return every
    pointers = view.pointers_of(object_id)
    names = {fold(text) for each in pointers for text in (each.object_id, each.app_id, each.display_name)}
    return tuple(assignment for name in sorted(names) for assignment in view.assigned_to(name))


def _grants(view: View, assignment: RoleAssignment, permission: str) -> bool | None:
    roles = view.snapshot.roles
    given = granted_by(assignment.role, None if roles is UNSET else roles)
    if given is None:
        return None
    return bool({fold(name) for name in given} & {fold(name) for name in implied_by(permission)})


def _assigned(view: View, assignment: RoleAssignment, object_id: str) -> bool | None:
    """Whether the assignee is a pointer to the app's service principal; with several of one name, unknown."""
    if view.snapshot.service_principals is UNSET:
        return None
    pointers = view.pointers(assignment.assignee)
    mine = [fold(pointer.object_id) == fold(object_id) for pointer in pointers]
    if not mine or not any(mine):
        return False
    return True if all(mine) else None


def in_scope(view: View, assignment: RoleAssignment, mailbox: Recipient) -> bool | None:
    """Whether the mailbox is in the assignment's scope; None where that is not known."""
    scope = assignment.scope
    if isinstance(scope, OrganizationScope):
        return True
    if isinstance(scope, ManagementScopeScope):
        found = next(iter(view.scopes(scope.name)), None)
        if found is None:
            return None
        inside = scope_holds(view, found.recipient_filter, mailbox)
        if found.recipient_root and inside is not False:
            below = _below(mailbox.distinguished_name, found.recipient_root)
            return False if below is False else None if None in (below, inside) else True
        return inside
    if isinstance(scope, AdministrativeUnitScope):
        unit = view.unit(scope.id)
        if unit is None:
            return None
        member = mailbox.external_directory_object_id
        return member is not None and fold(member) in map(fold, unit.members)
    assert isinstance(scope, GroupScope)  # noqa: S101 - the last of the union's kinds
    groups = view.groups_by_id(scope.id)
    if not groups:
        return None
    answers = [None if g.members is None else fold(mailbox.guid) in view.members(g) for g in groups]
    return True if True in answers else None if None in answers else False


def _below(dn: str, root: str) -> bool | None:
    """Whether an object is the root or lies below it; None where either is no DN."""
    mine, above = dn_key(dn), dn_key(root)
    if mine is None or above is None:
        return None
    return mine[len(mine) - len(above) :] == above if len(mine) >= len(above) else False
