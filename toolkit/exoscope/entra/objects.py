"""Single objects of Entra as they read now, and the requests that change them: consents and request entries, and what registers
an app (see :mod:`exoscope.entra.registered`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exoscope.entra import registered
from exoscope.entra.graph import GraphClient, Reply
from exoscope.entra.resources import Resource, Resources
from exoscope.model import Observed, Request, Target
from exoscope.outcome import AlreadyExists, ObjectNotFound, ServiceError

Required = list[dict[str, Any]]


def read_object(graph: GraphClient, target: Target, resources: Resources | None = None) -> Observed | None:
    """A consent, a request entry (``requiredResourceAccess``, type Role), a registration, a service principal or a credential.

    None: the app (or, for a request, its registration in this tenant) is not there. A consent yields ``resource_id`` (the
    object id of the resource's service principal) and, when it is there, ``id``; a request yields
    ``required_resource_access``: the collection as it must be written to add the entry where it is absent, and to remove
    it where it is present, all other entries (delegated ones too) as they are.
    ``resources``: those that were read already serve again. Raises ValueError for another kind, and the ServiceError family.
    """
    if target.kind == "consent":
        return _consent(graph, target.key, resources or Resources(graph))
    if target.kind == "request":
        return _request(graph, target.key, resources or Resources(graph))
    if target.kind in registered.READ:
        return registered.READ[target.kind](graph, target.key)
    raise ValueError(f"{target.kind} is no object of Entra")


def perform(graph: GraphClient, request: Request) -> Reply:
    """Do one write of a plan. What is there already (a duplicate grant) or gone already (DELETE 404) is success.

    A create that meets objects not known everywhere yet is tried again for about a minute. Raises the ServiceError family;
    Transient and Deadline leave the outcome unknown: read the object before repeating.
    """
    if request.method == "POST":
        try:
            return graph.create(request.path, dict(request.body or {}))
        except AlreadyExists as error:
            held = _granted(graph, request) if request.path.endswith("/appRoleAssignments") else None
            if held is None:
                raise
            return Reply(200, held, error.request_id, error.request_id or "")
    if request.method == "DELETE":
        try:
            return graph.send("DELETE", request.path)
        except ObjectNotFound as error:
            return Reply(404, {}, error.request_id, error.request_id or "")
    return graph.send(request.method, request.path, None if request.body is None else dict(request.body))


def _granted(graph: GraphClient, request: Request) -> dict[str, Any] | None:
    """The grant that a duplicate POST was about, found by listing (its refusal has no code of its own)."""
    body = request.body or {}
    for row in graph.pages(request.path):
        if all(_same(row.get(name), body.get(name)) for name in ("principalId", "resourceId", "appRoleId")):
            return row
    return None


def _consent(graph: GraphClient, key: Mapping[str, str], resources: Resources) -> Observed | None:
    resource = _resource(resources, key["resource"])
    try:
        app = graph.get(f"/servicePrincipals(appId='{key['app_id']}')?$select=id,appId")
    except ObjectNotFound:
        return None
    _check(app.get("appId"), key["app_id"])
    yields = {"resource_id": resource.object_id}
    for row in graph.pages(f"/servicePrincipals/{app['id']}/appRoleAssignments"):
        if _same(row.get("resourceId"), resource.object_id) and _same(row.get("appRoleId"), key["app_role_id"]):
            return Observed({"permission": resource.permission(key["app_role_id"])}, {**yields, "id": str(row["id"])})
    return Observed(None, yields)


def _request(graph: GraphClient, key: Mapping[str, str], resources: Resources) -> Observed | None:
    try:
        path = f"/applications(appId='{key['app_id']}')?$select=id,appId,requiredResourceAccess"
        application = graph.get(path)
    except ObjectNotFound:
        return None
    _check(application.get("appId"), key["app_id"])
    required = application.get("requiredResourceAccess")
    if not isinstance(required, list):
        raise ServiceError("Graph answered an application without its requested permissions", code="unexpected-answer")
    role = key["app_role_id"]
    if has_entry(required, key["resource"], role):
        permission = _resource(resources, key["resource"]).permission(role)
        return Observed(
            {"permission": permission}, {"required_resource_access": without(required, key["resource"], role)}
        )
    return Observed(None, {"required_resource_access": including(required, key["resource"], role)})


def has_entry(required: Required, resource: str, app_role_id: str) -> bool:
    """Does the collection request this application permission?"""
    return any(
        _same(entry.get("resourceAppId"), resource)
        and any(_is_role(access, app_role_id) for access in entry["resourceAccess"])
        for entry in required
    )


def without(required: Required, resource: str, app_role_id: str) -> Required:
    """The collection less one application permission. A resource with nothing left goes too: Graph takes no empty one."""
    kept: Required = []
    for entry in required:
        if not _same(entry.get("resourceAppId"), resource):
            kept.append(entry)
            continue
        access = [each for each in entry["resourceAccess"] if not _is_role(each, app_role_id)]
        if access:
            kept.append({**entry, "resourceAccess": access})
    return kept


def including(required: Required, resource: str, app_role_id: str) -> Required:
    """The collection with one application permission more, beside the resource's other entries where it has some."""
    added = {"id": app_role_id, "type": "Role"}
    if has_entry(required, resource, app_role_id):
        return required
    grown: Required = []
    done = False
    for entry in required:
        if not done and _same(entry.get("resourceAppId"), resource):
            grown.append({**entry, "resourceAccess": [*entry["resourceAccess"], added]})
            done = True
        else:
            grown.append(entry)
    return grown if done else [*grown, {"resourceAppId": resource, "resourceAccess": [added]}]


def _is_role(access: Mapping[str, Any], app_role_id: str) -> bool:
    return access.get("type") == "Role" and _same(access.get("id"), app_role_id)


def _resource(resources: Resources, app_id: str) -> Resource:
    found = resources.find(app_id)
    if found is None:
        raise ObjectNotFound(f"the tenant has no service principal of the resource {app_id}")
    return found


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one.casefold() == other.casefold()


def _check(answered: Any, asked: str) -> None:
    if not _same(answered, asked):
        raise ServiceError(f"Graph answered another app than {asked}", code="unexpected-answer")
