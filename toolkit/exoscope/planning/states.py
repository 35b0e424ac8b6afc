"""States of one object, compared by meaning, and read off a snapshot.

An object's state is the dict that ``model/plan.py`` lists for its kind. Guids, addresses, DNs and Exchange's names compare
without case, filters by :func:`exoscope.opath.same`, lists of Guids as sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec import UnsetType

from exoscope import opath
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnitScope,
    App,
    Consent,
    Group,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    ObjectKind,
    RoleAssignment,
    Scope,
    ServicePrincipal,
    Snapshot,
    State,
    Target,
)
from exoscope.outcome import Unreadable

Found = bool | None
_T = TypeVar("_T")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def agrees(kind: ObjectKind, observed: State, expected: State) -> bool | None:
    """Is what was read what was expected? None where it cannot be told.

    Every field of ``expected`` counts; further fields of ``observed`` do not. A field that was not read, or a filter whose
    meaning cannot be decided, makes the answer None, unless another field already differs.
    """
    if observed is None or expected is None:
        return observed is None and expected is None
    answers = [_field(kind, name, observed, value) for name, value in expected.items()]
    if False in answers:
        return False
    return None if None in answers else True


def differences(kind: ObjectKind, observed: State, expected: State) -> tuple[str, ...]:
    """The fields in which ``observed`` is not certainly ``expected``, as sentences for people."""
    if observed is None or expected is None:
        if observed is None and expected is None:
            return ()
        return ("it is not there",) if observed is None else ("it is there",)
    found = []
    for name, value in expected.items():
        if _field(kind, name, observed, value) is not True:
            seen = repr(observed[name]) if name in observed else "not read"
            found.append(f"{name} is {seen}, expected {value!r}")
    return tuple(found)


def _field(kind: ObjectKind, name: str, observed: dict[str, Any], expected: Any) -> Found:
    if name not in observed:
        return None
    compare = _COMPARE.get((kind, name), _plain)
    return compare(observed[name], expected)


def fold(value: object) -> object:
    """A text without case; anything else as it is."""
    return value.casefold() if isinstance(value, str) else value


def _plain(one: Any, other: Any) -> Found:
    return bool(fold(one) == fold(other))


def _exact(one: Any, other: Any) -> Found:
    # A note or description is text for people: Exchange may end it with a line break, but its words must be ours.
    return (one or "").split() == (other or "").split()


def _set(one: Any, other: Any) -> Found:
    if one is None or other is None:
        return None
    return {fold(each) for each in one} == {fold(each) for each in other}


def people_of(owners: Iterable[str]) -> tuple[str, ...]:
    """Those of a group's owners who are people. A role group that owns it (the operator's, by its name) is none of them."""
    return tuple(each for each in owners if _GUID.fullmatch(each))


def _owners(one: Any, other: Any) -> Found:
    if one is None or other is None:
        return None
    return {fold(each) for each in people_of(one)} == {fold(each) for each in people_of(other)}


def same_filter(one: str, other: str) -> bool | None:
    """Do two recipient filters mean the same? None where it cannot be decided, or one does not parse."""
    if one == other:
        return True
    try:
        return opath.same(opath.parse(one), opath.parse(other))
    except opath.OpathError:
        return None


def _filter(one: Any, other: Any) -> Found:
    return same_filter(one, other) if isinstance(one, str) and isinstance(other, str) else one == other


def _scope(one: Any, other: Any) -> Found:
    def meaning(scope: dict[str, Any]) -> set[tuple[str, object]]:
        return {(key, fold(value)) for key, value in scope.items()}

    return meaning(one) == meaning(other)


_COMPARE: dict[tuple[str, str], Callable[[Any, Any], Found]] = {
    ("management_scope", "recipient_filter"): _filter,
    ("role_assignment", "scope"): _scope,
    ("access_policy", "description"): _exact,
    ("group", "notes"): _exact,
    ("group", "members"): _set,
    ("group", "owners"): _owners,
}


# -- targets ---------------------------------------------------------------------------------------------------------


def key_of(target: Target) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A target's identity, without case: equal for two spellings of one object."""
    return target.kind, tuple(sorted((name, value.casefold()) for name, value in target.key.items()))


def told(target: Target) -> str:
    """A target in words, for messages."""
    words = target.kind.replace("_", " ")
    inside = ", ".join(f"{name} {value}" for name, value in target.key.items())
    return f"{words} ({inside})" if inside else words


# -- reading a snapshot ----------------------------------------------------------------------------------------------


def shown(snapshot: Snapshot, target: Target) -> State:
    """The object's state as far as a snapshot holds it (of a group: not its alias, note, type or whether it is hidden).

    Raises Unreadable when the list it would stand in was not read.
    """
    return _SHOWN[target.kind](snapshot, target.key)


def listed(snapshot: Snapshot, name: str) -> tuple[Any, ...]:
    """One of a snapshot's lists. Raises Unreadable when it was not read."""
    value = getattr(snapshot, name)
    if isinstance(value, UnsetType):
        why = next((unread.why for unread in snapshot.unread if unread.what == name), "it is absent from the snapshot")
        raise Unreadable(
            f"{name} were not read: {why}", next="Read the tenant again with an operator who may read them."
        )
    return tuple(value)


def _organization(snapshot: Snapshot, key: dict[str, str]) -> State:
    organization = snapshot.organization
    if isinstance(organization, UnsetType):
        raise Unreadable("the organisation's settings were not read")
    dehydrated = organization.is_dehydrated
    return {} if isinstance(dehydrated, UnsetType) else {"is_dehydrated": dehydrated}


def find_app(snapshot: Snapshot, app_id: str) -> App | None:
    """The app with this appId."""
    return _one(listed(snapshot, "apps"), lambda app: fold(app.app_id) == fold(app_id))


def find_pointers(snapshot: Snapshot, app_id: str) -> tuple[ServicePrincipal, ...]:
    """Exchange's pointers with this appId."""
    pointers = listed(snapshot, "service_principals")
    return tuple(pointer for pointer in pointers if fold(pointer.app_id) == fold(app_id))


def find_scope(snapshot: Snapshot, name: str) -> ManagementScope | None:
    """The management scope of this name."""
    return _one(listed(snapshot, "management_scopes"), lambda scope: fold(scope.name) == fold(name))


def find_assignment(snapshot: Snapshot, name: str) -> RoleAssignment | None:
    """The role assignment of this name."""
    return _one(listed(snapshot, "role_assignments"), lambda assignment: fold(assignment.name) == fold(name))


def find_group_named(snapshot: Snapshot, name: str) -> Group | None:
    """The group of this display name, which of a managed group is its name as well.

    Raises Unreadable where several have it: a snapshot does not hold names, which are unique, so which is meant is not known.
    """
    found = [group for group in listed(snapshot, "groups") if fold(group.display_name) == fold(name)]
    if len(found) > 1:
        raise Unreadable(f"{len(found)} groups have the display name {name}", next="Rename those that are not meant.")
    return found[0] if found else None


def find_group(snapshot: Snapshot, identity: str) -> Group | None:
    """The group with this Guid: its own, or its external directory object id."""
    return _one(listed(snapshot, "groups"), lambda group: fold(identity) in group_ids(group))


def group_ids(group: Group) -> frozenset[object]:
    """Both Guids of a group, without case."""
    return frozenset(fold(each) for each in (group.guid, group.external_directory_object_id) if each)


def _one(items: Iterable[_T], wanted: Callable[[_T], bool]) -> _T | None:
    return next((item for item in items if wanted(item)), None)


def _pointer(snapshot: Snapshot, key: dict[str, str]) -> State:
    pointer = _one(find_pointers(snapshot, key["app_id"]), lambda p: fold(p.object_id) == fold(key["object_id"]))
    return None if pointer is None else {"display_name": pointer.display_name}


def _management_scope(snapshot: Snapshot, key: dict[str, str]) -> State:
    scope = find_scope(snapshot, key["name"])
    if scope is None:
        return None
    return {
        "recipient_filter": scope.recipient_filter,
        "recipient_root": scope.recipient_root,
        "exclusive": scope.exclusive,
    }


def scope_state(scope: Scope) -> dict[str, str]:
    """A role assignment's scope as its state spells it."""
    if isinstance(scope, ManagementScopeScope):
        return {"kind": "management_scope", "name": scope.name}
    if isinstance(scope, AdministrativeUnitScope):
        return {"kind": "administrative_unit", "id": scope.id}
    if isinstance(scope, GroupScope):
        return {"kind": "group", "id": scope.id}
    return {"kind": "organization"}


def _role_assignment(snapshot: Snapshot, key: dict[str, str]) -> State:
    found = find_assignment(snapshot, key["name"])
    if found is None:
        return None
    return {
        "role": found.role,
        "assignee": assignee_id(snapshot, found.assignee),
        "enabled": found.enabled,
        "scope": scope_state(found.scope),
    }


def assignee_id(snapshot: Snapshot, assignee: str) -> str:
    """The object id of the pointer that an assignee names (object id, appId or display name), else the text itself."""
    pointers = listed(snapshot, "service_principals")
    named = [p for p in pointers if fold(assignee) in {fold(p.object_id), fold(p.app_id), fold(p.display_name)}]
    exact = [p for p in named if fold(p.object_id) == fold(assignee)]
    chosen = exact or named
    return str(chosen[0].object_id) if len(chosen) == 1 else assignee


def assignees(snapshot: Snapshot) -> Callable[[str], str]:
    """:func:`assignee_id` for many assignments of one snapshot: the names of its pointers are gathered once, when first asked."""
    named: dict[object, list[ServicePrincipal]] = {}

    def owner(assignee: str) -> str:
        if not named:
            for pointer in listed(snapshot, "service_principals"):
                for text in {fold(pointer.object_id), fold(pointer.app_id), fold(pointer.display_name)}:
                    named.setdefault(text, []).append(pointer)
        found = named.get(fold(assignee), [])
        exact = [each for each in found if fold(each.object_id) == fold(assignee)]
        chosen = exact or found
        return chosen[0].object_id if len(chosen) == 1 else assignee

    return owner


def find_policy(snapshot: Snapshot, key: dict[str, str]) -> AccessPolicy | None:
    """The access policy with this app, right and scope. ``group`` may be either Guid of a group."""
    group = find_group(snapshot, key["group"])
    ids = group_ids(group) if group else frozenset({fold(key["group"])})
    return _one(
        listed(snapshot, "access_policies"),
        lambda policy: (
            fold(policy.app_id) == fold(key["app_id"])
            and policy.access_right == key["access_right"]
            and fold(policy.scope.object_id) in ids
        ),
    )


def _access_policy(snapshot: Snapshot, key: dict[str, str]) -> State:
    policy = find_policy(snapshot, key)
    return None if policy is None else {"description": policy.description}


def _group(snapshot: Snapshot, key: dict[str, str]) -> State:
    group = find_group_named(snapshot, key["name"])
    if group is None:
        return None
    state: dict[str, Any] = {"display_name": group.display_name}
    for name in ("join_restriction", "depart_restriction", "owners"):
        value = getattr(group, name)
        if not isinstance(value, UnsetType):
            state[name] = list(value) if name == "owners" else value
    if group.members is not None:
        state["members"] = sorted(group.members)
    return state


def _group_member(snapshot: Snapshot, key: dict[str, str]) -> State:
    group = find_group(snapshot, key["group"])
    if group is None:
        return None
    if group.members is None:
        raise Unreadable(f"the members of {group.display_name} were not read")
    return {} if fold(key["member"]) in {fold(member) for member in group.members} else None


def find_consent(snapshot: Snapshot, target: Target) -> Consent | None:
    """The consent that a target means."""
    app = find_app(snapshot, target.key["app_id"])
    place = (fold(target.key["resource"]), fold(target.key["app_role_id"]))
    return _one(
        () if app is None else app.consents,
        lambda each: (fold(each.resource), fold(each.app_role_id)) == place,
    )


def _permission(field: str) -> Callable[[Snapshot, dict[str, str]], State]:
    def read(snapshot: Snapshot, key: dict[str, str]) -> State:
        app = find_app(snapshot, key["app_id"])
        held = _one(
            () if app is None else getattr(app, field),
            lambda each: (
                fold(each.resource) == fold(key["resource"]) and fold(each.app_role_id) == fold(key["app_role_id"])
            ),
        )
        return None if held is None else {"permission": held.permission}

    return read


def find_registered(snapshot: Snapshot, key: dict[str, str]) -> App | None:
    """The app of an ``application`` key: by ``app_id`` where the key has one, else by name and tag."""
    if key.get("app_id"):
        return find_app(snapshot, key["app_id"])
    return _one(
        _called(snapshot, key["name"]), lambda app: not isinstance(app.tags, UnsetType) and key["tag"] in app.tags
    )


def _called(snapshot: Snapshot, name: str) -> tuple[App, ...]:
    return tuple(app for app in listed(snapshot, "apps") if fold(app.display_name) == fold(name))


def _application(snapshot: Snapshot, key: dict[str, str]) -> State:
    app = find_registered(snapshot, key)
    if app is None and not key.get("app_id"):
        app = next(iter(_called(snapshot, key["name"])), None)
    if app is None:
        return None
    # A snapshot does not hold who may sign in to an app.
    return {} if isinstance(app.tags, UnsetType) else {"owner": key["tag"] if key["tag"] in app.tags else None}


def _service_principal(snapshot: Snapshot, key: dict[str, str]) -> State:
    app = find_app(snapshot, key["app_id"])
    if app is None or not app.object_id:
        return None
    enabled = app.account_enabled
    return {"display_name": app.display_name} | ({} if isinstance(enabled, UnsetType) else {"account_enabled": enabled})


def _credential(snapshot: Snapshot, key: dict[str, str]) -> State:
    app = find_app(snapshot, key["app_id"])
    if app is None:
        return None
    if isinstance(app.credentials, UnsetType):
        raise Unreadable(f"what {app.display_name} signs in with was not read")
    wanted = key.get("key_id")
    return {} if any(wanted is None or fold(each.key_id) == fold(wanted) for each in app.credentials) else None


_SHOWN: dict[ObjectKind, Callable[[Snapshot, dict[str, str]], State]] = {
    "organization": _organization,
    "pointer": _pointer,
    "management_scope": _management_scope,
    "role_assignment": _role_assignment,
    "access_policy": _access_policy,
    "group": _group,
    "group_member": _group_member,
    "consent": _permission("consents"),
    "request": _permission("requested"),
    "application": _application,
    "service_principal": _service_principal,
    "credential": _credential,
}
