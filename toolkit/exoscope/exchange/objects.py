"""Single objects of Exchange as they read now: what a step's precondition, check and settling rest on.

Some Get- cmdlets answer an unknown identity with everything, so each row's own identity is compared with what was asked
(source: every Get- page of Exchange's reference).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import UnsetType

from exoscope.exchange.inventory import (
    assignment,
    parse_assignment,
    parse_management_scope,
    parse_policy,
    parse_service_principal,
    read_organization,
    read_service_principals,
    read_units,
    rows_of,
)
from exoscope.exchange.recipients import owner_guids, parse_group, parse_restrictions, read_members
from exoscope.exchange.rows import Cells, parse_rows, same
from exoscope.exchange.session import DEADLINE, ExchangeSession
from exoscope.model import (
    AdministrativeUnitScope,
    Group,
    GroupScope,
    ManagementScopeScope,
    Observed,
    Scope,
    ServicePrincipal,
    Target,
)
from exoscope.outcome import ObjectNotFound, ServiceError

Key = Mapping[str, str]


class Ids:
    """Ids that never change, as earlier readings of one tenant had them: each saves reading a list, or a group, to learn it again.

    ``pointers``: object ids of pointers; ``groups``: both ids of a group (its Guid first), by each of them. Keys without case.
    """

    def __init__(self) -> None:
        self.pointers: dict[str, str] = {}
        self.groups: dict[str, tuple[str, ...]] = {}

    def know(self, pointers: Iterable[ServicePrincipal] = (), groups: Iterable[Group] = ()) -> None:
        """Keep the ids of these."""
        self.pointers |= {each.object_id.casefold(): each.object_id for each in pointers}
        for group in groups:
            both = tuple(each for each in (group.guid, group.external_directory_object_id) if each)
            self.groups |= {each.casefold(): both for each in both}


def read_object(session: ExchangeSession, target: Target, ids: Ids | None = None) -> Observed | None:
    """One object, read now, in the fields :mod:`exoscope.model.plan` lists for its kind; None: it is not there.

    A field that could not be read is left out of the state, never made up. Filters stand as Exchange gives them back.
    ``ids``: what is known of the tenant already, and where what is learned goes.
    Raises ValueError for a kind of object that is not Exchange's, and the ServiceError family.
    """
    read = _READ.get(target.kind)
    if read is None:
        raise ValueError(f"{target.kind} is no object of Exchange")
    try:
        return read(session, target.key, ids or Ids())
    except ObjectNotFound:
        return None


def _rows(session: ExchangeSession, template: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    return rows_of(session, template, values, deadline=DEADLINE)


def _one(found: list[Any], what: str) -> Any:
    if len(found) > 1:
        raise ServiceError(f"Exchange answered {len(found)} objects for {what}", code="unexpected-answer")
    return found[0] if found else None


def _organization(session: ExchangeSession, key: Key, ids: Ids) -> Observed:
    organization = read_organization(session)
    dehydrated = organization.is_dehydrated
    return Observed({} if isinstance(dehydrated, UnsetType) else {"is_dehydrated": dehydrated})


def _pointer(session: ExchangeSession, key: Key, ids: Ids) -> Observed | None:
    rows = _rows(session, "inventory/service_principal", {"identity": key["object_id"]})
    pointers = [
        pointer
        for pointer in parse_rows(rows, parse_service_principal)
        if same(pointer.object_id, key["object_id"]) and same(pointer.app_id, key["app_id"])
    ]
    pointer = _one(pointers, f"the pointer {key['object_id']}")
    return None if pointer is None else Observed({"display_name": pointer.display_name})


def _management_scope(session: ExchangeSession, key: Key, ids: Ids) -> Observed | None:
    rows = _rows(session, "inventory/management_scope", {"identity": key["name"]})
    scopes = [scope for scope in parse_rows(rows, parse_management_scope) if same(scope.name, key["name"])]
    scope = _one(scopes, f"the scope {key['name']}")
    if scope is None:
        return None
    return Observed(
        {
            "recipient_filter": scope.recipient_filter,
            "recipient_root": scope.recipient_root,
            "exclusive": scope.exclusive,
        }
    )


def _role_assignment(session: ExchangeSession, key: Key, ids: Ids) -> Observed | None:
    rows = _rows(session, "inventory/role_assignment", {"identity": key["name"]})
    named = [row for row in rows if same(Cells(row).optional("Name"), key["name"])]
    row = _one(named, f"the assignment {key['name']}")
    if row is None:
        return None
    raw = parse_assignment(Cells(row))
    if raw is None:
        raise ServiceError(
            f"the assignment {key['name']} is not an application role given to a service principal", code="name-clash"
        )
    units = read_units(session) if isinstance(raw.scope, AdministrativeUnitScope) else ()
    found = assignment(raw, units)
    return Observed(
        {
            "role": found.role,
            "assignee": _object_id(session, found.assignee, ids),
            "enabled": found.enabled,
            "scope": _scope(session, found.scope, ids),
        }
    )


def _object_id(session: ExchangeSession, assignee: str, ids: Ids) -> str:
    """The object id of the pointer that Exchange named as assignee; the name itself where no single pointer has it."""
    known = ids.pointers.get(assignee.casefold())
    if known is not None:
        return known  # an object id is one object's for ever; a name may be another's by now
    pointers = read_service_principals(session)
    ids.know(pointers)
    for names in (lambda p: (p.object_id,), lambda p: (p.app_id, p.display_name)):
        found = {
            p.object_id.casefold(): p.object_id for p in pointers if any(same(name, assignee) for name in names(p))
        }
        if len(found) == 1:
            return next(iter(found.values()))
    return assignee


def _scope(session: ExchangeSession, scope: Scope, ids: Ids) -> dict[str, str]:
    if isinstance(scope, ManagementScopeScope):
        return {"kind": "management_scope", "name": scope.name}
    if isinstance(scope, AdministrativeUnitScope):
        return {"kind": "administrative_unit", "id": scope.id}
    if isinstance(scope, GroupScope):
        # A group has two Guids, and Exchange may name it by either: states are told by its own.
        return {"kind": "group", "id": (_group_ids(session, scope.id, ids) or (scope.id,))[0]}
    return {"kind": "organization"}


def _access_policy(session: ExchangeSession, key: Key, ids: Ids) -> Observed | None:
    # Read as a list: a policy's identity holds the tenant's Guid and a SID that a plan does not know.
    named = (key["group"], *_group_ids(session, key["group"], ids))
    policies = [
        policy
        for policy in parse_rows(_rows(session, "inventory/access_policies", {}), parse_policy)
        if same(policy.app_id, key["app_id"])
        and same(policy.access_right, key["access_right"])
        and any(same(policy.scope.object_id, each) for each in named)
    ]
    policy = _one(policies, f"the policy of {key['app_id']}")
    return None if policy is None else Observed({"description": policy.description}, {"identity": policy.identity})


def _group_ids(session: ExchangeSession, identity: str, ids: Ids) -> tuple[str, ...]:
    """Both ids of the group with this one, its Guid first; none where there is no such group."""
    if identity.casefold() not in ids.groups:
        group = _find_group(session, identity)
        ids.know(groups=() if group is None else (group,))
    return ids.groups.get(identity.casefold(), ())


def _find_group(session: ExchangeSession, identity: str) -> Group | None:
    """The one group with this Guid or directory object id; None: there is none."""
    try:
        rows = _rows(session, "inventory/group", {"identity": identity})
    except ObjectNotFound:
        return None
    groups = [row.group for row in parse_rows(rows, parse_group)]
    found = [g for g in groups if same(g.guid, identity) or same(g.external_directory_object_id, identity)]
    group: Group | None = _one(found, f"the group {identity}")
    return group


def _group(session: ExchangeSession, key: Key, ids: Ids) -> Observed | None:
    name = key["name"]
    rows = _rows(session, "inventory/distribution_group", {"identity": name})
    named = [cells for row in rows if same((cells := Cells(row)).optional("Name"), name)]
    cells = _one(named, f"the group {name}")
    if cells is None:
        return None
    guid = cells.text("Guid")
    details = _rows(session, "inventory/group", {"identity": guid})
    detail = _one([each for row in details if same((each := Cells(row)).optional("Guid"), guid)], f"the group {guid}")
    if detail is None:
        raise ServiceError(f"Exchange lists the group {name} but does not show it", code="unexpected-answer")
    group = parse_group(detail).group
    restrictions = parse_restrictions(cells)
    state: dict[str, Any] = {
        "alias": cells.optional("Alias"),
        "display_name": cells.optional("DisplayName"),
        "notes": detail.optional("Notes") or "",
        "hidden": cells.flag("HiddenFromAddressListsEnabled"),
        "join_restriction": restrictions.join,
        "depart_restriction": restrictions.depart,
        "type": "Security" if same(group.recipient_type_details, "MailUniversalSecurityGroup") else "Distribution",
    }
    owners = _owners(session, cells)
    if owners is not None:
        state["owners"] = sorted(owners)
    members = read_members(session, group)
    if members is not None:
        state["members"] = sorted(members)
    yields = {
        "distinguished_name": cells.text("DistinguishedName"),
        "guid": guid,
        "external_directory_object_id": cells.optional("ExternalDirectoryObjectId"),
        "primary_smtp_address": cells.optional("PrimarySmtpAddress"),
    }
    return Observed(state, {name: value for name, value in yields.items() if value is not None})


def _owners(session: ExchangeSession, cells: Cells) -> tuple[str, ...] | None:
    """Guids of the owners; None where a name among them leads to no single recipient."""
    if not cells.has("ManagedBy"):
        return None
    names: dict[str, tuple[str, ...]] = {}
    managed_by = cells.texts("ManagedBy") or ()
    found = owner_guids(managed_by, names)
    if found is not None:
        return found
    for owner in managed_by:
        try:
            rows = _rows(session, "inventory/recipient", {"identity": owner})
        except ObjectNotFound:
            continue
        guids = [Cells(row).text("Guid") for row in rows if same(Cells(row).optional("Name"), owner)]
        names[owner.casefold()] = tuple(guids)
    return owner_guids(managed_by, names)


def _group_member(session: ExchangeSession, key: Key, ids: Ids) -> Observed | None:
    group = _find_group(session, key["group"])
    if group is None:
        return None
    members = read_members(session, group)
    if members is None:
        raise ServiceError(f"Exchange does not tell the members of a {group.recipient_type_details}", code="not-told")
    return Observed({}) if any(same(member, key["member"]) for member in members) else None


_READ: dict[str, Callable[[ExchangeSession, Key, Ids], Observed | None]] = {
    "organization": _organization,
    "pointer": _pointer,
    "management_scope": _management_scope,
    "role_assignment": _role_assignment,
    "access_policy": _access_policy,
    "group": _group,
    "group_member": _group_member,
}
