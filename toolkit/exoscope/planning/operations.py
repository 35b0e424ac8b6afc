"""What makes a transition happen: for each kind of object and direction, one template with values or one Graph request.

Undo is the transition back, so every change a plan makes has its reverse here, but the organisation's customisation, which
Exchange does not take back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import field

from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.model import App, AppPlan, Noun, Request, State, Step, Target
from exoscope.planning.registration import AUDIENCE
from exoscope.powershell import HOLE, render_guarded

_ROLES = "Role Management"
_POLICIES = "Organization Configuration"
_GROUPS = "Security Group Creation and Membership"
_GROUP_SETTINGS = "Distribution Groups"
_GRANTS = "AppRoleAssignment.ReadWrite.All"
_APPLICATIONS = "Application.ReadWrite.All"
_RESOURCES = {GRAPH: "Microsoft Graph", EXCHANGE: "Office 365 Exchange Online"}


class Operation(Noun, frozen=True):
    """How one transition is made: a template with its values, or a Graph request; and what the operator needs for it."""

    title: str
    needs: tuple[str, ...]
    template: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    request: Request | None = None
    yields: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["exchange", "graph"]:
        return "exchange" if self.template else "graph"


class Context(Noun, frozen=True):
    """What a transition's operation is made from beside the transition.

    ``step``: the step's own id, for holes that its own reading fills. ``app``: the app it is about (None: the organisation).
    ``identity``: how the tenant knows an object that is there: a group's Guid (or a hole), a policy's identity, a consent's id.
    ``label``: who a member is, for the title.
    """

    step: str
    app: App | None = None
    identity: str | None = None
    label: str | None = None


class NoOperation(Exception):
    """No operation makes this transition."""


_ID = re.compile(r"[A-Za-z0-9_=-]+")


def _segment(id: str) -> str:
    """An id, or the hole of one, as one segment of a Graph path. Raises NoOperation for what would leave it (a slash, dots, a
    query)."""
    if not _ID.fullmatch(id) and not HOLE.fullmatch(id):
        raise NoOperation(f"{id!r} is no id that Graph gives")
    return id


def operation(target: Target, before: State, after: State, context: Context) -> Operation:
    """The operation of a transition. Raises NoOperation where Exchange or Graph has none that is safe to use."""
    return _OPERATIONS[target.kind](target.key, before, after, context)


def step(
    id: str,
    stage: str,
    target: Target,
    before: State,
    after: State,
    app: App | None,
    identity: str | None = None,
    label: str | None = None,
) -> Step:
    """The whole step of a transition, its script rendered and guarded. Raises NoOperation as :func:`operation` does."""
    made = operation(target, before, after, Context(id, app, identity, label))
    return Step(
        id=id,
        stage=stage,
        app_id=None if app is None else app.app_id,
        title=made.title,
        kind=made.kind,
        needs=made.needs,
        target=target,
        before=before,
        after=after,
        script=None if made.template is None else render_guarded(made.template, made.values).text,
        template=made.template,
        values=made.values,
        request=made.request,
        yields=made.yields,
    )


def bare_step(
    id: str,
    stage: str,
    target: Target,
    before: State,
    after: State,
    app: App | None,
    identity: str | None = None,
    label: str | None = None,
) -> Step:
    """As :func:`step` without its script, for trying what a plan would do. Raises NoOperation as :func:`operation` does."""
    made = operation(target, before, after, Context(id, app, identity, label))
    app_id = None if app is None else app.app_id
    return Step(id, stage, app_id, made.title, made.kind, made.needs, target, before, after, yields=made.yields)


def fits(made: Step, app: AppPlan | None) -> bool:
    """Is a step's call the one that makes its transition, for its app? A plan may have been written by hand.

    How the tenant knows an object that is there (a group's Guid, a policy's identity, a consent's id) is the step's own word:
    the reading before the call tells whether it is.
    """
    key, request = made.target.key, made.request
    if made.app_id is not None and (app is None or made.app_id.casefold() != app.app_id.casefold()):
        return False
    if "app_id" in key and (app is None or key["app_id"].casefold() != app.app_id.casefold()):
        return False
    stale = made.target.kind == "pointer" and (app is None or key["object_id"].casefold() != app.object_id.casefold())
    if stale and made.after is not None:
        return False  # a stale pointer of the app may go, never come
    last = None if request is None else request.path.rpartition("/")[2]
    registered = last if request is None else "".join(request.path.split("/")[2:3]) or last
    subject = None if app is None else App(app.app_id, app.object_id, registered, app.display_name, (), ())
    named = made.values.get("group") if made.target.kind == "group" else made.values.get("identity", last)
    if made.target.kind == "credential" and request is not None and request.body is not None:
        named = request.body.get("keyId")
    context = Context(made.id, subject, None if named is None else str(named))
    try:
        meant = operation(made.target, made.before, made.after, context)
    except (NoOperation, KeyError, TypeError, ValueError, AttributeError):
        return False
    if made.title != meant.title and made.target.kind != "group_member":  # whose title names the member
        return False
    return (made.template, made.values, made.request, made.yields, made.kind) == (
        meant.template,
        meant.values,
        meant.request,
        meant.yields,
        meant.kind,
    )


def _organization(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    if after is None or after.get("is_dehydrated") is not False:
        raise NoOperation("Exchange has no command that takes organisation customisation back")
    return Operation("Enable organisation customisation", (_POLICIES,), "rbac/enable_organization_customization")


def _pointer(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    if before is None and after is not None:
        return Operation(
            f"Make Exchange's pointer to {after['display_name']}",
            (_ROLES,),
            "rbac/new_service_principal",
            {"app_id": key["app_id"], "object_id": key["object_id"], "display_name": after["display_name"]},
        )
    if before is not None and after is None:
        values = {"object_id": key["object_id"]}
        return Operation(
            f"Remove Exchange's pointer to {before['display_name']}",
            (_ROLES,),
            "rbac/remove_service_principal",
            values,
        )
    raise NoOperation("a pointer is made or removed, never changed")


def _management_scope(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    name = key["name"]
    if after is None:
        return Operation(f"Remove scope {name}", (_ROLES,), "rbac/remove_management_scope", {"name": name})
    if after.get("recipient_root") or after.get("exclusive"):
        raise NoOperation("exoscope makes no scope with a root and no exclusive one")
    values = {"name": name, "filter": after["recipient_filter"]}
    if before is None:
        return Operation(f"Make scope {name}", (_ROLES,), "rbac/new_management_scope", values)
    return Operation(f"Move scope {name}", (_ROLES,), "rbac/set_management_scope", values)


def _role_assignment(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    name = key["name"]
    if after is None:
        title = f"Take {(before or {})['role']} away"
        return Operation(title, (_ROLES,), "rbac/remove_role_assignment", {"name": name})
    scope = after["scope"]
    if before is None:
        if not after["enabled"]:
            raise NoOperation("an assignment is made enabled")
        values = {"name": name, "role": after["role"], "app": after["assignee"]}
        return Operation(
            f"Give {after['role']} over {_over(scope)}",
            (_ROLES,),
            f"rbac/new_role_assignment_{scope['kind']}",
            {**values, **_scope_value(scope)},
        )
    if before["role"].casefold() != after["role"].casefold():
        raise NoOperation("an assignment's role cannot be changed")
    if before["enabled"] != after["enabled"]:
        if before["scope"] != scope:
            raise NoOperation("one transition moves an assignment or switches it, not both")
        title = f"Switch {after['role']} {'on' if after['enabled'] else 'off'}"
        values = {"name": name, "enabled": after["enabled"]}
        return Operation(title, (_ROLES,), "rbac/set_role_assignment_enabled", values)
    if scope["kind"] == "organization":
        # How to go back to the whole organisation is stated nowhere: such an assignment would have to be made anew.
        raise NoOperation("an assignment cannot be moved to the whole organisation")
    return Operation(
        f"Move {after['role']} to {_over(scope)}",
        (_ROLES,),
        f"rbac/set_role_assignment_{scope['kind']}",
        {"name": name, **_scope_value(scope)},
    )


def _over(scope: Mapping[str, str]) -> str:
    kind = scope["kind"]
    if kind == "organization":
        return "the whole organisation"
    if kind == "management_scope":
        return f"scope {scope['name']}"
    return f"{'administrative unit' if kind == 'administrative_unit' else 'group'} {scope['id']}"


def _scope_value(scope: Mapping[str, str]) -> dict[str, str]:
    kind = scope["kind"]
    if kind == "management_scope":
        return {"scope": scope["name"]}
    if kind == "administrative_unit":
        return {"unit": scope["id"]}
    return {"group": scope["id"]} if kind == "group" else {}


def _access_policy(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    if before is None and after is not None:
        values = {
            "app_id": key["app_id"],
            "access_right": key["access_right"],
            "group": key["group"],
            "description": after["description"] or "",
        }
        title = f"Make an access policy ({key['access_right']}) for group {key['group']}"
        return Operation(title, (_POLICIES,), "access_policy/new_policy", values, yields=("identity",))
    if after is None and context.identity:
        title = f"Remove the access policy ({key['access_right']}) for group {key['group']}"
        return Operation(title, (_POLICIES,), "access_policy/remove_policy", {"identity": context.identity})
    raise NoOperation("an access policy is made, or removed by its identity")


def _group(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    name = key["name"]
    if before is None and after is not None:
        if after["hidden"]:
            raise NoOperation("a group is hidden only once it is there")
        values = {field: after[field] for field in ("alias", "display_name", "notes")} | {"name": name}
        members = after["members"]
        return Operation(
            f"Make managed group {name} with {len(members)} members",
            (_GROUPS,),
            "groups/new_group_with_members" if members else "groups/new_group",
            values | ({"members": list(members)} if members else {}),
            yields=("distinguished_name", "guid", "external_directory_object_id", "primary_smtp_address"),
        )
    if context.identity is None:
        raise NoOperation("a group is changed or removed by its Guid")
    if after is None:
        return Operation(f"Remove managed group {name}", (_GROUPS,), "groups/remove_group", {"group": context.identity})
    return Operation(
        f"{'Hide' if after['hidden'] else 'Show'} managed group {name} {'from' if after['hidden'] else 'in'} address lists",
        (_GROUP_SETTINGS, _GROUPS),  # the latter for -BypassSecurityGroupManagerCheck, as its reference page says
        "groups/set_group",
        {
            "group": context.identity,
            "hidden": after["hidden"],
            "join_restriction": after["join_restriction"],
            "depart_restriction": after["depart_restriction"],
        },
    )


def _group_member(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    values = {"group": key["group"], "member": key["member"]}
    who = context.label or key["member"]
    if after is None:
        return Operation(f"Take {who} out of the managed group", (_GROUPS,), "groups/remove_member", values)
    return Operation(f"Put {who} into the managed group", (_GROUPS,), "groups/add_member", values)


def _held_by(context: Context) -> App:
    if context.app is None:
        raise NoOperation("a permission belongs to an app")
    return context.app


def _resource(key: Mapping[str, str]) -> str:
    return _RESOURCES.get(key["resource"].casefold(), key["resource"])


def _consent(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    app = _held_by(context)
    path = f"/servicePrincipals/{_segment(app.object_id)}/appRoleAssignments"
    if after is None:
        if before is None or not context.identity:
            raise NoOperation("a consent is removed by its id")
        title = f"Remove the tenant-wide consent {before['permission']} ({_resource(key)})"
        return Operation(title, (_GRANTS,), request=Request("DELETE", f"{path}/{_segment(context.identity)}", None))
    body = {
        "principalId": app.object_id,
        # The object id that the resource's service principal has in this tenant: read just before the write.
        "resourceId": f"<{context.step}.resource_id>",
        "appRoleId": key["app_role_id"],
    }
    title = f"Consent to {after['permission']} ({_resource(key)})"
    return Operation(title, (_GRANTS,), request=Request("POST", path, body), yields=("id", "resource_id"))


def _request(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    app = _held_by(context)
    if app.application_object_id is None:
        raise NoOperation("the registration is another tenant's")
    # Graph replaces the whole collection, so it is read just before, changed by this one entry, and written back:
    # entries of other kinds (delegated ones) stay as they are.
    body = {"requiredResourceAccess": f"<{context.step}.required_resource_access>"}
    permission = (after or before or {})["permission"]
    verb = "Stop requesting" if after is None else "Request"
    return Operation(
        f"{verb} {permission} ({_resource(key)}) in the app's registration",
        (_APPLICATIONS,),
        request=Request("PATCH", f"/applications/{_segment(app.application_object_id)}", body),
        yields=("required_resource_access",),
    )


def _application(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    name = key["name"]
    if before is None and after is not None:
        # Without an audience the app would be open to every tenant (Graph, create application: signInAudience).
        body = {"displayName": name, "signInAudience": AUDIENCE, "tags": [key["tag"]]}
        return Operation(
            f"Register {name} in Entra, for this tenant alone",
            (_APPLICATIONS,),
            request=Request("POST", "/applications", body),
            yields=("app_id", "application_object_id"),
        )
    if after is None and context.identity:
        path = f"/applications/{_segment(context.identity)}"
        return Operation(f"Delete the registration of {name}", (_APPLICATIONS,), request=Request("DELETE", path, None))
    raise NoOperation("an app is registered, or its registration deleted by its id")


def _service_principal(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    if before is None and after is not None:
        return Operation(
            f"Make the service principal of {after['display_name']}",
            (_APPLICATIONS,),
            request=Request("POST", "/servicePrincipals", {"appId": key["app_id"]}),
            yields=("object_id",),
        )
    if before is not None and after is None and context.identity:
        title = f"Delete the service principal of {before.get('display_name', key['app_id'])}"
        path = f"/servicePrincipals/{_segment(context.identity)}"
        return Operation(title, (_APPLICATIONS,), request=Request("DELETE", path, None))
    raise NoOperation("a service principal is made, or deleted by its id")


def _credential(key: Mapping[str, str], before: State, after: State, context: Context) -> Operation:
    registered = _held_by(context).application_object_id
    if registered is None:
        raise NoOperation("the registration is another tenant's")
    path = f"/applications/{_segment(registered)}"
    what = "certificate" if key["kind"] == "certificate" else "client secret"
    own = f"<{context.step}.key_credentials>"
    if before is None and after is not None:
        to = "on the terminal" if key["place"] == "terminal" else f"in {key['place']} {key['where']}"
        title = f"Make a {what} for {key['days']} days and hand it over {to}"
        if what == "certificate":
            # Graph replaces the whole collection, so it is read just before and written back with one more.
            request = Request("PATCH", path, {"keyCredentials": own})
        else:
            made = {"displayName": f"<{context.step}.name>", "endDateTime": f"<{context.step}.end>"}
            request = Request("POST", f"{path}/addPassword", {"passwordCredential": made})
        return Operation(title, (_APPLICATIONS,), request=request, yields=("key_id",))
    if after is None and context.identity:
        if what == "certificate":
            request = Request("PATCH", path, {"keyCredentials": own})
        else:
            request = Request("POST", f"{path}/removePassword", {"keyId": context.identity})
        return Operation(f"Remove the {what} {context.identity}", (_APPLICATIONS,), request=request)
    raise NoOperation("a credential is made, or removed by its id")


_OPERATIONS: dict[str, Callable[[Mapping[str, str], State, State, Context], Operation]] = {
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
