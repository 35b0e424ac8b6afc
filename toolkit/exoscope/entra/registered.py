"""Registrations, service principals and credentials, single ones, as they read now.

Sources: application-list ($filter on displayName), application-get and serviceprincipal-get (by appId), passwordcredential and
keycredential. Lists lag behind what was just made, so what has an id is read by it (facts, 4.5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from msgspec import UnsetType

from exoscope.entra.graph import GraphClient
from exoscope.entra.inventory import parse_credentials
from exoscope.model import Credential, Observed
from exoscope.outcome import ObjectNotFound, ServiceError

Key = Mapping[str, str]
Row = dict[str, Any]
_APPLICATION = "id,appId,displayName,signInAudience,tags"
_OURS = "exoscope "
"""How the display names of credentials begin that exoscope made."""


def _application(graph: GraphClient, key: Key) -> Observed | None:
    """By ``app_id`` where the key has one; else of this exact name, ours first. Yields ``app_id``, ``application_object_id``."""
    rows = _registrations(graph, key)
    ours = [row for row in rows if key["tag"] in _tags(row)]
    if len(ours) > 1:
        ids = ", ".join(str(row["appId"]) for row in ours)
        raise ServiceError(
            f"{len(ours)} apps are called {key['name']} and carry exoscope's tag: {ids}", code="name-clash"
        )
    row = next(iter((*ours, *rows)), None)
    if row is None:
        return None
    state = {"owner": key["tag"] if ours else None, "sign_in_audience": row.get("signInAudience")}
    return Observed(state, {"app_id": str(row["appId"]), "application_object_id": str(row["id"])})


def _registrations(graph: GraphClient, key: Key) -> list[Row]:
    if key.get("app_id"):
        row = _get(graph, f"/applications(appId='{key['app_id']}')?$select={_APPLICATION}")
        return [] if row is None else [_checked(row, key["app_id"])]
    name = quote(key["name"].replace("'", "''"), safe="")
    rows = graph.pages(f"/applications?$filter=displayName eq '{name}'&$select={_APPLICATION}")
    return [row for row in rows if str(row.get("displayName") or "").casefold() == key["name"].casefold()]


def _tags(row: Row) -> list[str]:
    tags = row.get("tags")
    if not isinstance(tags, list):
        raise ServiceError(f"Graph answered the app {row.get('appId')} without its tags", code="unexpected-answer")
    return [str(tag) for tag in tags]


def _service_principal(graph: GraphClient, key: Key) -> Observed | None:
    row = _get(graph, f"/servicePrincipals(appId='{key['app_id']}')?$select=id,appId,displayName,accountEnabled")
    if row is None:
        return None
    _checked(row, key["app_id"])
    state: dict[str, Any] = {"display_name": str(row.get("displayName") or "")}
    if isinstance(row.get("accountEnabled"), bool):
        state["account_enabled"] = row["accountEnabled"]
    return Observed(state, {"object_id": str(row["id"])})


def _credential(graph: GraphClient, key: Key) -> Observed | None:
    """The credential ``key_id`` where the key has one; else any, what exoscope made first. Yields ``key_id``, and for a
    certificate to be removed ``key_credentials``: the collection as it must be written back without it."""
    select = "id,appId,passwordCredentials,keyCredentials"
    row = _get(graph, f"/applications(appId='{key['app_id']}')?$select={select}")
    if row is None:
        return None
    _checked(row, key["app_id"])
    held = parse_credentials(row)
    if isinstance(held, UnsetType):
        raise ServiceError(f"Graph answered the app {key['app_id']} without its credentials", code="unexpected-answer")
    wanted = key.get("key_id")
    found = [each for each in held if wanted is None or each.key_id.casefold() == wanted.casefold()]
    if not found:
        return Observed(None)
    chosen = sorted(found, key=_made_by_others)[0]
    yields: dict[str, Any] = {"key_id": chosen.key_id}
    if wanted is not None and chosen.kind == "certificate":
        yields["key_credentials"] = _others(graph, str(row["id"]), chosen)
    return Observed({}, yields)


def _made_by_others(credential: Credential) -> bool:
    return not (credential.display_name or "").startswith(_OURS)


def _others(graph: GraphClient, id: str, removed: Credential) -> list[Row]:
    # Certificates come with their bytes only where a single object is read with $select (keycredential).
    rows = graph.get(f"/applications/{id}?$select=id,keyCredentials").get("keyCredentials")
    if not isinstance(rows, list):
        raise ServiceError(f"Graph answered the application {id} without its certificates", code="unexpected-answer")
    return [
        {name: value for name, value in row.items() if not name.startswith("@odata.")}
        for row in rows
        if str(row.get("keyId")).casefold() != removed.key_id.casefold()
    ]


def _get(graph: GraphClient, path: str) -> Row | None:
    try:
        return graph.get(path)
    except ObjectNotFound:
        return None


def _checked(row: Row, asked: str) -> Row:
    if str(row.get("appId")).casefold() != asked.casefold():
        raise ServiceError(f"Graph answered another app than {asked}", code="unexpected-answer")
    return row


READ: dict[str, Callable[[GraphClient, Key], Observed | None]] = {
    "application": _application,
    "service_principal": _service_principal,
    "credential": _credential,
}
