"""Application Access Policies: the restriction first, then the consents that it bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exoscope.catalog import Permission
from exoscope.model import App, Target
from exoscope.planning.drafts import Change, Denied, Wanted, known
from exoscope.planning.managed_group import managed_group
from exoscope.planning.states import find_policy, fold
from exoscope.planning.world import World

# Long descriptions use up the room that all policies of a tenant share (application-access-policies: a fixed total size).
DESCRIPTION = "exoscope"
ADVICE = (
    "Microsoft advises against new access policies: RBAC for Applications replaces them. "
    "A policy restricts only what is consented, and only the permissions it covers."
)


class Restriction:
    """The changes of one entry: the group and policy, then the consents. ``group``: the object id behind the policy, or a hole."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.group = ""


def restrict(world: World, app: App, wanted: Wanted) -> Restriction:
    """What restricts ``wanted``. Raises Denied: name-clash, membership-unread."""
    result = Restriction()
    if not wanted.mailbox:
        return result
    confirm: tuple[Change, ...] = ()
    updates: tuple[Change, ...] = ()
    if wanted.managed:
        group = managed_group(world, app, wanted, "restrict")
        result.changes += group.make
        result.group, confirm, updates = group.object_id, group.confirm, group.update
    else:
        group_there = known(wanted.group, "an access policy's scope is a group or a list of mailboxes")
        result.group = group_there.external_directory_object_id or group_there.guid
    key = {"app_id": app.app_id, "access_right": "RestrictAccess", "group": result.group}
    existing = find_policy(world.snapshot, key)
    if existing is not None and not existing.valid:
        raise Denied("name-clash", f"Exchange calls the policy {existing.identity} invalid; remove it first")
    if existing is None:
        result.changes.append(Change("restrict", Target("access_policy", key), None, {"description": DESCRIPTION}))
    result.changes += updates
    if result.changes:
        result.changes[:0] = confirm
    return result


def consents(app: App, permissions: Sequence[Permission], stage: Any) -> list[Change]:
    """Consent and request entry for each permission that lacks them; no request entry where the registration is elsewhere."""
    changes = []
    for each in permissions:
        role = known(each.app_role_id, "a permission without an app role id was refused before")
        key = {"app_id": app.app_id, "resource": each.resource, "app_role_id": role}
        state = {"permission": each.name}
        if not _has(app.consents, each):
            changes.append(Change(stage, Target("consent", key), None, state))
        if app.application_object_id is not None and not _has(app.requested, each):
            changes.append(Change(stage, Target("request", key), None, state))
    return changes


def _has(held: Sequence[Any], wish: Permission) -> bool:
    return any(
        fold(each.resource) == fold(wish.resource) and fold(each.app_role_id) == fold(wish.app_role_id) for each in held
    )
