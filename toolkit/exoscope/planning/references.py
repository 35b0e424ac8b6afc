"""What refers to a pointer, a scope or a group."""

from __future__ import annotations

from collections.abc import Iterable

from exoscope import opath
from exoscope.model import GroupScope, ManagementScope, ManagementScopeScope, Snapshot, Target
from exoscope.planning.states import find_group_named, fold, group_ids, listed


def references(now: Snapshot, end: Snapshot, target: Target) -> tuple[str, ...]:
    """What, in ``end``, refers to an object that is in ``now`` and gone in ``end``; as words for people."""
    finders = {"pointer": _to_pointer, "management_scope": _to_scope, "group": _to_group}
    return tuple(finders[target.kind](now, end, target.key))


def _to_pointer(now: Snapshot, end: Snapshot, key: dict[str, str]) -> Iterable[str]:
    gone = [
        each
        for each in listed(now, "service_principals")
        if fold(each.app_id) == fold(key["app_id"]) and fold(each.object_id) == fold(key["object_id"])
    ]
    names = {fold(name) for each in gone for name in (each.app_id, each.object_id, each.display_name)}
    for assignment in listed(end, "role_assignments"):
        if fold(assignment.assignee) in names:
            yield f"assignment {assignment.name}"


def _to_scope(now: Snapshot, end: Snapshot, key: dict[str, str]) -> Iterable[str]:
    for assignment in listed(end, "role_assignments"):
        if isinstance(assignment.scope, ManagementScopeScope) and fold(assignment.scope.name) == fold(key["name"]):
            yield f"assignment {assignment.name}"


def _to_group(now: Snapshot, end: Snapshot, key: dict[str, str]) -> Iterable[str]:
    group = find_group_named(now, key["name"])
    if group is None:
        return
    ids = group_ids(group)
    for assignment in listed(end, "role_assignments"):
        if isinstance(assignment.scope, GroupScope) and fold(assignment.scope.id) in ids:
            yield f"assignment {assignment.name}"
    for policy in listed(end, "access_policies"):
        if fold(policy.scope.object_id) in ids:
            yield f"access policy {policy.identity}"
    for scope in listed(end, "management_scopes"):
        if _names_dn(scope, group.distinguished_name):
            yield f"scope {scope.name}"
    for other in listed(end, "groups"):
        if other is not group and ids & {fold(member) for member in other.members or ()}:
            yield f"group {other.display_name}"


def _names_dn(scope: ManagementScope, dn: str) -> bool:
    """Does a scope's filter name this DN? A filter that does not parse is searched as text: it may."""
    try:
        named = opath.dns(opath.parse(scope.recipient_filter))
    except opath.OpathError:
        return dn.casefold() in scope.recipient_filter.casefold()
    return opath.normal_dn(dn) in {opath.normal_dn(each) for each in named}
