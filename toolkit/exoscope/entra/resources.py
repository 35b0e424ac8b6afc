"""The resources whose permissions apps hold: their service principals in this tenant, and the names of their app roles."""

from __future__ import annotations

from typing import Any

from exoscope import catalog
from exoscope.entra.graph import GraphClient
from exoscope.entra.paths import path
from exoscope.model import Noun
from exoscope.outcome import ObjectNotFound


class Resource(Noun, frozen=True):
    """A resource in this tenant. ``roles``: app role id (lower case) → its value, such as Mail.Read."""

    app_id: str
    object_id: str
    roles: dict[str, str]

    def permission(self, app_role_id: str) -> str:
        """The name of an app role. One that neither the tenant nor the catalogue names is called by its id: it stays unknown."""
        named = self.roles.get(app_role_id.casefold())
        known = catalog.by_id(self.app_id, app_role_id)
        return named or (known.name if known is not None else app_role_id)


class Resources:
    """Resources by appId, each read once."""

    def __init__(self, graph: GraphClient) -> None:
        self._graph = graph
        self._held: dict[str, Resource | None] = {}

    def find(self, app_id: str) -> Resource | None:
        """The resource with this appId; None: the tenant has none. Raises the ServiceError family."""
        key = app_id.casefold()
        if key not in self._held:
            try:
                row = self._graph.get(path("resource", key))
            except ObjectNotFound:
                self._held[key] = None
            else:
                self._held[key] = _resource(key, row)
        return self._held[key]


def _resource(app_id: str, row: dict[str, Any]) -> Resource:
    roles = {str(role["id"]).casefold(): str(role["value"]) for role in row.get("appRoles") or () if role.get("value")}
    return Resource(app_id=app_id, object_id=str(row["id"]), roles=roles)
