"""Service principals, and the app roles they hold."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from msgspec import UNSET

from exoscope.clock import iso
from exoscope.model import App, Consent
from exoscope.twin.errors import Unread
from exoscope.twin.graph.call import Call, Reply, context
from exoscope.twin.graph.errors import bad_request, missing, not_modelled
from exoscope.twin.graph.faults import GraphFaults
from exoscope.twin.graph.query import many, one
from exoscope.twin.graph.registrations import OWNED, POLICIES, READ, WRITE, Registrations
from exoscope.twin.graph.resources import MICROSOFT, Resource, Resources
from exoscope.twin.tenant import TwinTenant

_GRANT = ("AppRoleAssignment.ReadWrite.All",)


class Applications:
    """The service principals of Graph."""

    def __init__(self, tenant: TwinTenant, faults: GraphFaults) -> None:
        self.tenant = tenant
        self.faults = faults
        self.resources = Resources(tenant)
        self.registrations = Registrations(tenant, self.resources)
        self._recent: list[
            tuple[datetime, bool, str, Consent]
        ] = []  # (when, added, principal, consent), for replication

    def _apps(self) -> tuple[App, ...]:
        """Raises Unread when the snapshot had them not."""
        apps = self.tenant.state.apps
        if apps is UNSET:
            raise Unread("apps")
        return apps

    # -- service principals ------------------------------------------------------------------------------------

    def service_principals(self, call: Call) -> Reply:
        """GET /servicePrincipals: the tenant's apps and the resources."""
        call.needs(*READ)
        apps = self._apps()
        own = {app.object_id.casefold() for app in apps}
        rows = [self._principal(app) for app in apps if self.tenant.spreading.over(app.object_id)]
        rows += [self._resource(r) for key, r in self.resources.by_object_id.items() if key not in own]
        return many(call, rows, "servicePrincipals")

    def service_principal(self, call: Call, id: str) -> Reply:
        """GET /servicePrincipals/{object id}."""
        call.needs(*READ)
        app = self._app(id)
        if app is not None:
            return one(call, self._principal(app), "servicePrincipals")
        return one(call, self._resource(self._resource_of(id)), "servicePrincipals")

    def create(self, call: Call) -> Reply:
        """POST /servicePrincipals."""
        made = self._principal(self.registrations.create_principal(call))
        return Reply(201, {"@odata.context": context(call, "servicePrincipals/$entity"), **made})

    def delete(self, call: Call, id: str) -> Reply:
        """DELETE /servicePrincipals/{object id}."""
        call.needs(WRITE, OWNED)
        app = self._app(id)
        if app is None:
            self._resource_of(id)
            raise not_modelled("deleting the service principal of one of Microsoft's own applications")
        return self.registrations.delete_principal(call, app)

    def policies(self, call: Call, id: str) -> Reply:
        """GET /servicePrincipals/{id}/tokenLifetimePolicies."""
        call.needs(*READ)
        call.needs(*POLICIES)
        app = self._app(id)
        if app is None:
            self._resource_of(id)
            return many(call, [], "tokenLifetimePolicies")
        if app.token_lifetime_minutes is UNSET:
            raise Unread(f"token_lifetime_minutes of {app.display_name}")
        return many(call, _policies_of(app), "tokenLifetimePolicies")

    def all_policies(self, call: Call) -> Reply:
        """GET /policies/tokenLifetimePolicies: each app's, and the organisation's default where it has been given one."""
        call.needs(*POLICIES)
        rows = [row for app in self._apps() for row in _policies_of(app)]
        default = self.tenant.default_token_lifetime
        if default is not None:
            rows.append(_policy(self.tenant.state.tenant.id, default, default=True))
        return many(call, rows, "policies/tokenLifetimePolicies")

    def _app(self, id: str) -> App | None:
        self._apps()
        if not self.tenant.spreading.over(id):
            return None
        return next((a for a in self.tenant.view.apps(id) if a.object_id.casefold() == id.casefold()), None)

    def _resource_of(self, id: str) -> Resource:
        resource = self.resources.by_object_id.get(id.casefold())
        if resource is None:
            raise missing(id)
        return resource

    def object_id(self, kind: str, app_id: str) -> str:
        """The object id behind ``(appId='…')`` of applications or servicePrincipals. Raises 404."""
        if kind == "applications":
            return self.registrations.object_id(app_id)
        app = next((a for a in self._apps() if a.app_id.casefold() == app_id.casefold()), None)
        if app is not None and self.tenant.spreading.over(app.object_id):
            return app.object_id
        resource = self.resources.by_app_id.get(app_id.casefold())
        if resource is None:
            raise missing(app_id)
        return resource.object_id

    def _principal(self, app: App) -> dict[str, Any]:
        resource = self.resources.by_object_id.get(app.object_id.casefold())
        here = self.tenant.state.tenant.id
        row: dict[str, Any] = {
            "id": app.object_id,
            "appId": app.app_id,
            "appDisplayName": app.display_name,
            "displayName": app.display_name,
            "tags": list(self.tenant.registrations.of(app.app_id).principal_tags),
            # an app registered elsewhere: whose it is, the file does not say
            "appOwnerOrganizationId": here if app.application_object_id else None,
            "servicePrincipalNames": [app.app_id],
            "appRoles": resource.app_roles() if resource else [],
        }
        if app.kind is not UNSET:
            row["servicePrincipalType"] = app.kind
        if app.account_enabled is not UNSET:
            row["accountEnabled"] = app.account_enabled
        # a registration's credentials stand on its application; only without one do they stand here
        if app.application_object_id:
            return row | {"passwordCredentials": [], "keyCredentials": []}
        return row | self.registrations.credentials.rows(app)

    def _resource(self, resource: Resource) -> dict[str, Any]:
        return {
            "id": resource.object_id,
            "appId": resource.app_id,
            "appDisplayName": resource.display_name,
            "displayName": resource.display_name,
            "tags": [],
            "appOwnerOrganizationId": MICROSOFT,
            "servicePrincipalNames": [resource.app_id],
            "appRoles": resource.app_roles(),
            "servicePrincipalType": "Application",
            "accountEnabled": True,
            "passwordCredentials": [],
            "keyCredentials": [],
        }

    # -- app role assignments ----------------------------------------------------------------------------------

    def held(self, call: Call, id: str) -> Reply:
        """GET /servicePrincipals/{id}/appRoleAssignments: what it holds."""
        call.needs(*READ)
        app = self._app(id)
        if app is None:
            self._resource_of(id)
            return many(call, [], "appRoleAssignments")
        rows = [self._assignment(app, consent) for consent in self._seen(app)]
        return many(call, rows, "appRoleAssignments")

    def given(self, call: Call, id: str) -> Reply:
        """GET /servicePrincipals/{id}/appRoleAssignedTo: who holds its roles."""
        call.needs(*READ)
        resource = self.resources.by_object_id.get(id.casefold())
        if resource is None and self._app(id) is None:
            raise missing(id)
        wanted = resource.app_id.casefold() if resource else None
        rows = [
            self._assignment(app, consent)
            for app in self._apps()
            for consent in self._seen(app)
            if consent.resource.casefold() == wanted
        ]
        return many(call, rows, "appRoleAssignments")

    def one_held(self, call: Call, id: str, assignment: str) -> Reply:
        """GET /servicePrincipals/{id}/appRoleAssignments/{assignment}, or under appRoleAssignedTo."""
        call.needs(*READ)
        app, consent = self._find(id, assignment)
        return one(call, self._assignment(app, consent), "appRoleAssignments")

    def grant(self, call: Call, id: str) -> Reply:
        """POST /servicePrincipals/{id}/appRoleAssignedTo (or on the client's appRoleAssignments)."""
        call.needs(*_GRANT)
        body = call.object()
        try:
            principal, resource_id, role_id = str(body["principalId"]), str(body["resourceId"]), str(body["appRoleId"])
        except KeyError as absent:
            raise bad_request(f"Property {absent} is required.") from None
        if id.casefold() not in (principal.casefold(), resource_id.casefold()):
            raise bad_request("The object in the path is neither the principal nor the resource.")
        with self.tenant.lock:
            app = self._app(principal)
            resource = self.resources.by_object_id.get(resource_id.casefold())
            if app is None and not self.tenant.spreading.over(principal) and self.tenant.spreading.turn():
                raise bad_request("Not a valid reference update.")
            if app is None or resource is None:
                raise missing(principal if app is None else resource_id)
            permission = resource.role(role_id)
            if permission is None:
                raise bad_request("Permission being assigned was not found on application")
            for consent in app.consents:
                same_resource = consent.resource.casefold() == resource.app_id.casefold()
                if same_resource and consent.app_role_id.casefold() == role_id.casefold():
                    raise bad_request("Permission being assigned already exists on the object")
            made = Consent(
                id=secrets.token_urlsafe(32), resource=resource.app_id, app_role_id=role_id, permission=permission
            )
            self.tenant.add_consent(app.object_id, made)
            self._recent.append((self.tenant.clock.now(), True, app.object_id, made))
        row = self._assignment(app, made)
        return Reply(201, {"@odata.context": context(call, "appRoleAssignments/$entity"), **row})

    def revoke(self, call: Call, id: str, assignment: str) -> Reply:
        """DELETE of an assignment, from either side."""
        call.needs(*_GRANT)
        with self.tenant.lock:
            app, consent = self._find(id, assignment)
            self.tenant.remove_consent(app.object_id, consent.id)
            self._recent.append((self.tenant.clock.now(), False, app.object_id, consent))
        return Reply(204)

    def _find(self, id: str, assignment: str) -> tuple[App, Consent]:
        resource = self.resources.by_object_id.get(id.casefold())
        for app in self._apps():
            for consent in app.consents:
                of_resource = resource is not None and consent.resource.casefold() == resource.app_id.casefold()
                if consent.id == assignment and (of_resource or app.object_id.casefold() == id.casefold()):
                    return app, consent
        raise missing(assignment)

    def _seen(self, app: App) -> list[Consent]:
        """The app's consents as a list shows them: changes younger than the replication fault's delay are not in it yet."""
        consents = list(app.consents)
        since = self.tenant.clock.now() - self.faults.replication
        for at, added, principal, consent in reversed(self._recent):
            if at <= since or principal.casefold() != app.object_id.casefold():
                continue
            if added:
                consents = [c for c in consents if c.id != consent.id]
            else:
                consents.append(consent)
        return consents

    def _assignment(self, app: App, consent: Consent) -> dict[str, Any]:
        resource = self.resources.by_app_id.get(consent.resource.casefold())
        return {
            "id": consent.id,
            "appRoleId": consent.app_role_id,
            "createdDateTime": iso(self.tenant.state.read_at),
            "principalDisplayName": app.display_name,
            "principalId": app.object_id,
            "principalType": "ServicePrincipal",
            "resourceDisplayName": resource.display_name if resource else None,
            "resourceId": resource.object_id if resource else None,
        }


def _policies_of(app: App) -> list[dict[str, Any]]:
    minutes = app.token_lifetime_minutes
    return [] if minutes is UNSET or minutes is None else [_policy(app.object_id, minutes, default=False)]


def _policy(id: str, minutes: int, *, default: bool) -> dict[str, Any]:
    days, rest = divmod(minutes, 1440)
    span = f"{days}." * bool(days) + f"{rest // 60:02}:{rest % 60:02}:00"
    return {
        "id": id,
        "displayName": "Token lifetime",
        "isOrganizationDefault": default,
        "definition": [f'{{"TokenLifetimePolicy":{{"Version":1,"AccessTokenLifetime":"{span}"}}}}'],
    }
