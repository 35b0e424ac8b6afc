"""Exchange's pointers to Entra service principals."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from exoscope.model import ServicePrincipal
from exoscope.twin.errors import NotModelled
from exoscope.twin.exchange.call import OMITTED, Call, Row, already_exists, cmdlet, refused, stable_guid
from exoscope.twin.view import View, fold


def find(view: View, identity: str) -> list[ServicePrincipal]:
    """Pointers by Guid, object id, app id or display name; ids before names."""
    found = [p for p in view.pointers(identity) if fold(identity) in (fold(p.object_id), fold(p.app_id))]
    if not found:
        found = list(view.pointers(identity))
    if not found and view.snapshot.service_principals is not UNSET:
        found = [p for p in view.snapshot.service_principals if _guid(p) == fold(identity)]
    return found


def _guid(pointer: ServicePrincipal) -> str:
    return stable_guid("pointer", pointer.object_id)


def _row(call: Call, pointer: ServicePrincipal) -> Row:
    row: Row = {
        "Identity": pointer.object_id,
        "Guid": _guid(pointer),
        "Name": pointer.object_id,
        "AppId": pointer.app_id,
        "ObjectId": pointer.object_id,
        "DisplayName": pointer.display_name,
    }
    override = pointer.override_enforce_exo_app_rbac_permissions
    if override is UNSET:
        call.warnings.append(f"Access is denied: OverrideEnforceExoAppRbacPermissions of '{pointer.object_id}'.")
    row["OverrideEnforceExoAppRbacPermissions"] = OMITTED if override is UNSET else override
    return row


@cmdlet("Get-ServicePrincipal", "Identity")
def get(call: Call) -> Iterable[Row]:
    every = call.read("service_principals")
    if call.has("Identity"):
        identity = call.text("Identity")
        every = call.chosen(find(call.view, identity), identity, lambda: every)
    return [_row(call, pointer) for pointer in every]


@cmdlet("New-ServicePrincipal", "AppId", "ObjectId", "DisplayName", writes=True)
def new(call: Call) -> Iterable[Row]:
    app_id, object_id = call.text("AppId"), call.text("ObjectId")
    every = call.read("service_principals")
    app = call.tenant.app(object_id)
    if (
        app is None
        or not call.tenant.spreading.over(object_id)
        or fold(app.app_id) != fold(app_id)
        or fold(app.object_id) != fold(object_id)
    ):
        raise refused(
            f"The service principal with AppId '{app_id}' and ObjectId '{object_id}' doesn't exist in the directory.",
            object_id,
        )
    if any(fold(p.object_id) == fold(object_id) or fold(p.app_id) == fold(app_id) for p in every):
        raise already_exists(object_id)
    pointer = ServicePrincipal(
        app_id=app.app_id,
        object_id=app.object_id,
        display_name=call.optional_text("DisplayName") or app.display_name,
        override_enforce_exo_app_rbac_permissions=None,
    )
    call.change(pointer.object_id, service_principals=(*every, pointer))
    return [_row(call, pointer)]


@cmdlet("Set-ServicePrincipal", "Identity", "DisplayName", writes=True)
def update(call: Call) -> Iterable[Row]:
    every = call.read("service_principals")
    identity = call.text("Identity")
    pointer = call.only(find(call.view, identity), identity)
    changed = msgspec.structs.replace(pointer, display_name=call.text("DisplayName"))
    call.change(pointer.object_id, service_principals=tuple(changed if p is pointer else p for p in every))
    return []


@cmdlet("Remove-ServicePrincipal", "Identity", writes=True)
def remove(call: Call) -> Iterable[Row]:
    """A pointer that assignments still name: Exchange's answer is not documented, so the twin refuses."""
    every = call.read("service_principals")
    identity = call.text("Identity")
    pointer = call.only(find(call.view, identity), identity)
    names = {fold(name) for name in (pointer.object_id, pointer.app_id, pointer.display_name)}
    used = [a.name for a in call.read("role_assignments") if fold(a.assignee) in names]
    if used:
        raise NotModelled(f"removing a pointer that role assignment '{used[0]}' still names")
    call.change(pointer.object_id, service_principals=tuple(p for p in every if p is not pointer))
    return []
