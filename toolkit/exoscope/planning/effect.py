"""What a transition does to a snapshot: so that reach can be computed at every moment of a plan, before it runs.

Values that only the tenant can give (a new group's DN and Guids, a policy's identity) are simulated, the same ones each time:
from the name of what is made.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import UnsetType
from msgspec.structs import replace

from exoscope.model import (
    AccessPolicy,
    AdministrativeUnitScope,
    App,
    Consent,
    Credential,
    Group,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    OrganizationScope,
    PolicyScope,
    Requested,
    RoleAssignment,
    Scope,
    ServicePrincipal,
    Snapshot,
    State,
    Step,
    Target,
)
from exoscope.planning import registration, states
from exoscope.planning.states import fold, listed
from exoscope.powershell import fill

_SPACE = uuid.UUID("6d0f5e0a-6f0e-5b39-9c7a-5f1d2c3b4a59")


def after(snapshot: Snapshot, target: Target, state: State) -> Snapshot:
    """The snapshot as it would read once ``target`` is in ``state`` (None: absent).

    Raises Unreadable when the list it stands in was not read, LookupError when the app or group it belongs to is missing.
    """
    return _AFTER[target.kind](snapshot, target.key, state)


def apply_step(
    snapshot: Snapshot, step: Step, yields: Mapping[str, str] | None = None
) -> tuple[Snapshot, dict[str, str]]:
    """Simulate one step. ``yields`` maps holes (``<step-1.guid>``) to values; the answer holds what this step adds to them."""
    known = dict(yields or {})
    target = replace(step.target, key={name: str(value) for name, value in fill(step.target.key, known).items()})
    state: State = None if step.after is None else fill(step.after, known)
    changed = after(snapshot, target, state)
    if step.target.kind == "group" and state is not None:
        group = states.find_group_named(changed, target.key["name"])
        if group is not None:
            for name, value in group_yields(group).items():
                known[f"<{step.id}.{name}>"] = value
    for name, value in _registered_yields(changed, target, state).items():
        known[f"<{step.id}.{name}>"] = value
    return changed, known


def apply_steps(snapshot: Snapshot, steps: Iterable[Step]) -> Snapshot:
    """The snapshot after all these steps, in order."""
    known: dict[str, str] = {}
    for step in steps:
        snapshot, known = apply_step(snapshot, step, known)
    return snapshot


def _registered_yields(snapshot: Snapshot, target: Target, state: State) -> dict[str, str]:
    """What a step that registers an app, or makes its service principal, yields."""
    if state is None or target.kind not in ("application", "service_principal"):
        return {}
    if target.kind == "service_principal":
        app = states.find_app(snapshot, target.key["app_id"])
        return {} if app is None else {"object_id": app.object_id}
    app = states.find_registered(snapshot, target.key)
    return {} if app is None else {"app_id": app.app_id, "application_object_id": app.application_object_id or ""}


def named(snapshot: Snapshot, target: Target, yields: Mapping[str, Any]) -> Snapshot:
    """The snapshot with an object that a step made known by what its read-back yielded, in place of simulated values."""
    if target.kind == "group":
        group = states.find_group_named(snapshot, target.key["name"])
        names = ("guid", "external_directory_object_id", "distinguished_name", "primary_smtp_address")
        given = {name: str(yields[name]) for name in names if yields.get(name)}
        groups = listed(snapshot, "groups")
        return (
            snapshot if group is None else replace(snapshot, groups=_put(groups, _is(group), replace(group, **given)))
        )
    if target.kind == "access_policy" and yields.get("identity"):
        policy = states.find_policy(snapshot, target.key)
        if policy is None:
            return snapshot
        policies = _put(listed(snapshot, "access_policies"), _is(policy), replace(policy, identity=yields["identity"]))
        return replace(snapshot, access_policies=policies)
    if target.kind == "consent" and yields.get("id"):
        same = _same_role(target.key)

        def rename(app: App) -> App:
            return replace(app, consents=tuple(replace(c, id=yields["id"]) if same(c) else c for c in app.consents))

        return _change_app(snapshot, target.key["app_id"], rename)
    return snapshot


def _is(this: Any) -> Callable[[Any], bool]:
    return lambda each: each is this


def group_yields(group: Group) -> dict[str, str]:
    """What the step that makes a group yields."""
    return {
        "distinguished_name": group.distinguished_name,
        "guid": group.guid,
        "external_directory_object_id": group.external_directory_object_id or group.guid,
        "primary_smtp_address": group.primary_smtp_address or "",
    }


def _put(items: tuple[Any, ...], here: Callable[[Any], bool], item: Any | None) -> tuple[Any, ...]:
    """Replace the item that is ``here`` in its place, add it at the end, or (``item`` None) drop it."""
    found = False
    kept = []
    for each in items:
        if here(each):
            if item is not None and not found:
                kept.append(item)
            found = True
        else:
            kept.append(each)
    if not found and item is not None:
        kept.append(item)
    return tuple(kept)


def _organization(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    organization = snapshot.organization
    if isinstance(organization, UnsetType) or state is None:
        raise LookupError("the organisation's settings were not read")
    return replace(snapshot, organization=replace(organization, is_dehydrated=state["is_dehydrated"]))


def _pointer(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    pointers = listed(snapshot, "service_principals")

    def here(pointer: ServicePrincipal) -> bool:
        return fold(pointer.app_id) == fold(key["app_id"]) and fold(pointer.object_id) == fold(key["object_id"])

    old = next((pointer for pointer in pointers if here(pointer)), None)
    new = None
    if state is not None:
        override = None if old is None else old.override_enforce_exo_app_rbac_permissions
        new = ServicePrincipal(key["app_id"], key["object_id"], state["display_name"], override)
    return replace(snapshot, service_principals=_put(pointers, here, new))


def _management_scope(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    new = None
    if state is not None:
        new = ManagementScope(
            key["name"], state["recipient_filter"], state.get("recipient_root"), bool(state.get("exclusive", False))
        )
    scopes = listed(snapshot, "management_scopes")
    return replace(snapshot, management_scopes=_put(scopes, lambda scope: fold(scope.name) == fold(key["name"]), new))


def to_scope(scope: Mapping[str, str]) -> Scope:
    """A role assignment's scope from its state."""
    kind = scope["kind"]
    if kind == "management_scope":
        return ManagementScopeScope(scope["name"])
    if kind == "administrative_unit":
        return AdministrativeUnitScope(scope["id"])
    if kind == "group":
        return GroupScope(scope["id"])
    if kind == "organization":
        return OrganizationScope()
    raise ValueError(f"{kind} is no kind of scope")


def _role_assignment(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    new = None
    if state is not None:
        new = RoleAssignment(
            key["name"], state["role"], state["assignee"], bool(state["enabled"]), to_scope(state["scope"])
        )
    assignments = listed(snapshot, "role_assignments")
    return replace(snapshot, role_assignments=_put(assignments, lambda a: fold(a.name) == fold(key["name"]), new))


def _access_policy(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    old = states.find_policy(snapshot, key)
    new = None
    if state is not None:
        scope = old.scope if old else _policy_scope(snapshot, key["group"])
        identity = old.identity if old else f"{snapshot.tenant.id}\\{key['app_id']}:{scope.sid};{scope.object_id}"
        new = AccessPolicy(
            identity,
            key["app_id"],
            "DenyAccess" if key["access_right"] == "DenyAccess" else "RestrictAccess",
            scope,
            state.get("description"),
            True,
        )
    policies = listed(snapshot, "access_policies")
    return replace(snapshot, access_policies=_put(policies, lambda policy: policy is old, new))


def _policy_scope(snapshot: Snapshot, identity: str) -> PolicyScope:
    group = states.find_group(snapshot, identity)
    if group is not None:
        return PolicyScope(group.display_name, group.sid or f"S-1-5-21-{group.guid}", identity)
    # A policy may name one mailbox or mail user (New-ApplicationAccessPolicy, PolicyScopeGroupId).
    ids = fold(identity)
    for each in listed(snapshot, "recipients"):
        if ids in (fold(each.guid), fold(each.external_directory_object_id)):
            return PolicyScope(each.display_name, f"S-1-5-21-{each.guid}", identity)
    raise LookupError(f"there is no group or mailbox {identity}")


def _group(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    groups = listed(snapshot, "groups")
    name = key["name"]
    old = states.find_group_named(snapshot, name)
    new = None
    if state is not None:
        base = old or _simulated_group(snapshot, name, state.get("alias"))
        members = state.get("members", base.members)
        new = replace(
            base,
            members=None if members is None else tuple(members),
            owners=tuple(state.get("owners", ())),
            join_restriction=state.get("join_restriction"),
            depart_restriction=state.get("depart_restriction"),
        )
    return replace(snapshot, groups=_put(groups, lambda group: group is old, new))


def _simulated_group(snapshot: Snapshot, name: str, alias: str | None) -> Group:
    guid = str(uuid.uuid5(_SPACE, name.casefold()))
    domain = snapshot.tenant.domain
    parts = ",".join(f"DC={part}" for part in domain.split("."))
    return Group(
        guid=guid,
        external_directory_object_id=str(uuid.uuid5(_SPACE, "external\0" + name.casefold())),
        sid="S-1-5-21-" + "-".join(str(int(guid[start : start + 4], 16)) for start in (0, 9, 14, 19)),
        display_name=name,
        primary_smtp_address=f"{alias or guid}@{domain}",
        distinguished_name=f"CN={name},OU={domain},{parts}",
        recipient_type_details="MailUniversalSecurityGroup",
        members=(),
        owners=(),
        join_restriction="Closed",
        depart_restriction="Closed",
    )


def _group_member(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    group = states.find_group(snapshot, key["group"])
    if group is None:
        raise LookupError(f"there is no group {key['group']}")
    if group.members is None:
        raise LookupError(f"the members of {group.display_name} were not read")
    members = _put(
        group.members, lambda member: fold(member) == fold(key["member"]), None if state is None else key["member"]
    )
    changed = replace(group, members=members)
    return replace(snapshot, groups=_put(listed(snapshot, "groups"), lambda each: each is group, changed))


def _change_app(snapshot: Snapshot, app_id: str, change: Callable[[App], App]) -> Snapshot:
    app = states.find_app(snapshot, app_id)
    if app is None:
        raise LookupError(f"there is no app {app_id}")
    return replace(snapshot, apps=_put(listed(snapshot, "apps"), lambda each: each is app, change(app)))


def _same_role(key: Mapping[str, str]) -> Callable[[Consent | Requested], bool]:
    return lambda each: (
        fold(each.resource) == fold(key["resource"]) and fold(each.app_role_id) == fold(key["app_role_id"])
    )


def consent_id(key: Mapping[str, str]) -> str:
    """The id that a consent has in a simulated snapshot."""
    return str(uuid.uuid5(_SPACE, "\0".join(sorted(value.casefold() for value in key.values()))))


def _consent(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    def change(app: App) -> App:
        new = None
        if state is not None:
            new = Consent(
                consent_id(key),
                key["resource"],
                key["app_role_id"],
                state["permission"],
            )
        return replace(app, consents=_put(app.consents, _same_role(key), new))

    return _change_app(snapshot, key["app_id"], change)


def _request(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    def change(app: App) -> App:
        new = None if state is None else Requested(key["resource"], key["app_role_id"], state["permission"])
        return replace(app, requested=_put(app.requested, _same_role(key), new))

    return _change_app(snapshot, key["app_id"], change)


def _application(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    apps = listed(snapshot, "apps")
    old = states.find_registered(snapshot, key)
    if state is not None:
        new = old or registration.registered(key["name"], key["tag"], key.get("app_id", ""))
        return replace(snapshot, apps=_put(apps, _is(old), new))
    # With its registration goes its service principal.
    return snapshot if old is None else replace(snapshot, apps=_put(apps, _is(old), None))


def _service_principal(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    app = states.find_app(snapshot, key["app_id"])
    if state is None:
        if app is None or app.application_object_id is not None:
            return snapshot if app is None else _change_app(snapshot, app.app_id, lambda a: replace(a, object_id=""))
        return replace(snapshot, apps=_put(listed(snapshot, "apps"), _is(app), None))

    def change(app: App) -> App:
        return replace(app, object_id=app.object_id or registration.simulated("service principal", app.app_id))

    return _change_app(snapshot, key["app_id"], change)


def _credential(snapshot: Snapshot, key: dict[str, str], state: State) -> Snapshot:
    def change(app: App) -> App:
        if isinstance(app.credentials, UnsetType):
            return app
        made = key.get("key_id") or registration.simulated("credential", app.app_id)
        name = registration.CREDENTIAL.strip()
        given = Credential("certificate" if key["kind"] == "certificate" else "secret", made, name, None, None)
        new = None if state is None else given
        return replace(app, credentials=_put(app.credentials, lambda each: fold(each.key_id) == fold(made), new))

    return _change_app(snapshot, key["app_id"], change)


_AFTER: dict[str, Callable[[Snapshot, dict[str, str], State], Snapshot]] = {
    "organization": _organization,
    "pointer": _pointer,
    "management_scope": _management_scope,
    "role_assignment": _role_assignment,
    "access_policy": _access_policy,
    "group": _group,
    "group_member": _group_member,
    "consent": _consent,
    "request": _request,
    "application": _application,
    "service_principal": _service_principal,
    "credential": _credential,
}
