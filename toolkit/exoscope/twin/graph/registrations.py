"""Applications: registered, changed and deleted, and the service principals made from them.

Sources: application-post-applications, application-list, application-get, application-update, application-delete,
serviceprincipal-post-serviceprincipals, serviceprincipal-delete, tenantappmanagementpolicy-get; deleting an application "also
deletes its home tenant service principal" (app-objects-and-service-principals). From others: the 409 of a second service principal
(reliable-web-app-pattern-java #185), NoBackingApplicationObject as a detail of a 400.
"""

from __future__ import annotations

import uuid
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from exoscope.clock import iso
from exoscope.model import App, Requested
from exoscope.twin.errors import Unread
from exoscope.twin.graph.call import Call, Reply, context
from exoscope.twin.graph.credentials import Credentials
from exoscope.twin.graph.errors import GraphError, bad_request, missing, no_privilege, not_modelled
from exoscope.twin.graph.query import many, one
from exoscope.twin.graph.resources import Resources
from exoscope.twin.registration import Delegated, Registration
from exoscope.twin.tenant import TwinTenant

READ = ("Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All")
WRITE = "Application.ReadWrite.All"
OWNED = "Application.ReadWrite.OwnedBy"
POLICIES = ("Policy.Read.All", "Policy.Read.ApplicationConfiguration", "Policy.ReadWrite.ApplicationConfiguration")
AUDIENCES = ("AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount")
_CREATED = {"displayName", "signInAudience", "tags", "notes", "requiredResourceAccess"}
_CHANGED = {"requiredResourceAccess", "keyCredentials", "tags", "notes"}


class Registrations:
    """The applications of Graph."""

    def __init__(self, tenant: TwinTenant, resources: Resources) -> None:
        self.tenant = tenant
        self.resources = resources
        self.credentials = Credentials(tenant)

    # -- reading -----------------------------------------------------------------------------------------------

    def applications(self, call: Call) -> Reply:
        """GET /applications: those registered in this tenant."""
        call.needs(*READ)
        rows = [self._row(app) for app in self.tenant.registered() if self._spread(app.application_object_id)]
        return many(call, rows, "applications")

    def application(self, call: Call, id: str) -> Reply:
        """GET /applications/{object id}; certificates with their bytes where ``$select`` names keyCredentials."""
        app = self._found(id)
        self._may_read(call, app)
        with_keys = "keycredentials" in call.query.get("$select", "").casefold()
        return one(call, self._row(app, with_keys=with_keys), "applications")

    def policies(self, call: Call, id: str) -> Reply:
        """GET /applications/{object id}/tokenLifetimePolicies: none, for those a file holds stand on service principals."""
        call.needs(*READ)
        call.needs(*POLICIES)
        app = self._found(id)
        if app.object_id and app.token_lifetime_minutes is UNSET:
            raise Unread(f"token_lifetime_minutes of {id}")
        return many(call, [], "tokenLifetimePolicies")

    def app_management(self, call: Call) -> Reply:
        """GET /policies/defaultAppManagementPolicy."""
        call.needs(*POLICIES)
        return one(call, self.credentials.policy.row(), "policies/defaultAppManagementPolicy")

    def object_id(self, app_id: str) -> str:
        """The object id behind ``/applications(appId='…')``. Raises 404."""
        for app in self.tenant.registered():
            if app.app_id.casefold() == app_id.casefold() and self._spread(app.application_object_id):
                return str(app.application_object_id)
        raise missing(app_id)

    def _found(self, id: str) -> App:
        for app in self.tenant.registered():
            own = app.application_object_id or ""
            if id.casefold() == own.casefold() and self._spread(own):
                return app
        raise missing(id)

    def _spread(self, id: str | None) -> bool:
        return id is not None and self.tenant.spreading.over(id)

    # -- changing ----------------------------------------------------------------------------------------------

    def create(self, call: Call) -> Reply:
        """POST /applications."""
        call.needs(WRITE, OWNED)
        body = call.object()
        if "passwordCredentials" in body:
            raise bad_request("New password credentials must be generated with service actions.")
        if set(body) - _CREATED:
            raise not_modelled(f"creating an application with {', '.join(sorted(set(body) - _CREATED))}")
        name = body.get("displayName")
        if not isinstance(name, str) or not name or len(name) > 256:
            raise bad_request("A value is required for property 'displayName' of resource 'Application'.")
        audience = body.get("signInAudience", "AzureADandPersonalMicrosoftAccount")
        if audience not in AUDIENCES:
            raise bad_request("Invalid value specified for property 'signInAudience' of resource 'Application'.")
        app = App(
            app_id=str(uuid.uuid4()),
            object_id="",
            application_object_id=str(uuid.uuid4()),
            display_name=name,
            consents=(),
            requested=(),
            credentials=(),
            tags=_texts(body.get("tags", []), "tags"),
        )
        requested, delegated = self._requested(app, body.get("requiredResourceAccess", []))
        with self.tenant.lock:
            made = Registration(
                created=self.tenant.clock.now(),
                audience=audience,
                notes=body.get("notes"),
                owner=call.principal.object_id,
                delegated=delegated,
            )
            self.tenant.registrations.put(app.app_id, made)
            self.tenant.spreading.began(str(app.application_object_id))
            app = replace(app, requested=requested)
            self.tenant.put_registered(app)
        return Reply(201, {"@odata.context": context(call, "applications/$entity"), **self._row(app)})

    def change(self, call: Call, id: str) -> Reply:
        """PATCH /applications/{object id}: requiredResourceAccess and keyCredentials replace their collections."""
        call.needs(WRITE, OWNED)
        body = call.object()
        if not body or set(body) - _CHANGED:
            raise not_modelled(f"changing of an application {', '.join(sorted(set(body) - _CHANGED)) or 'nothing'}")
        with self.tenant.lock:
            app = self._mine(call, id)
            known = self.tenant.registrations.of(app.app_id)
            known = replace(known, notes=body.get("notes", known.notes))
            if "tags" in body:
                app = replace(app, tags=_texts(body["tags"], "tags"))
            if "requiredResourceAccess" in body:
                requested, delegated = self._requested(app, body["requiredResourceAccess"])
                app, known = replace(app, requested=requested), replace(known, delegated=delegated)
            if "keyCredentials" in body:
                app, known = self.credentials.replace_keys(app, known, body["keyCredentials"])
            self.tenant.registrations.put(app.app_id, known)
            self.tenant.put_registered(app)
        return Reply(204)

    def add_password(self, call: Call, id: str) -> Reply:
        """POST /applications/{object id}/addPassword: 200 with the secret's value, this once."""
        call.needs(WRITE, OWNED)
        with self.tenant.lock:
            row = self.credentials.add_password(self._mine(call, id), call.object())
        return Reply(200, {"@odata.context": context(call, "microsoft.graph.passwordCredential"), **row})

    def remove_password(self, call: Call, id: str) -> Reply:
        """POST /applications/{object id}/removePassword."""
        call.needs(WRITE, OWNED)
        with self.tenant.lock:
            self.credentials.remove_password(self._mine(call, id), call.object())
        return Reply(204)

    def delete(self, call: Call, id: str) -> Reply:
        """DELETE /applications/{object id}: the service principal here goes with it."""
        call.needs(WRITE, OWNED)
        with self.tenant.lock:
            app = self._mine(call, id)
            self.tenant.remove_registered(app)
        return Reply(204)

    # -- service principals ------------------------------------------------------------------------------------

    def create_principal(self, call: Call) -> App:
        """What POST /servicePrincipals makes of an application of this tenant."""
        call.needs(WRITE, OWNED)
        body = call.object()
        if set(body) - {"appId", "tags"}:
            raise not_modelled(f"creating a service principal with {', '.join(sorted(set(body) - {'appId', 'tags'}))}")
        app_id = body.get("appId")
        if not isinstance(app_id, str) or not app_id:
            raise bad_request("A value is required for property 'appId' of resource 'ServicePrincipal'.")
        tags = _texts(body.get("tags", []), "tags")
        with self.tenant.lock:
            taken = app_id.casefold() in self.resources.by_app_id or self.tenant.app(app_id) is not None
            if taken:
                raise GraphError(
                    409,
                    "Request_MultipleObjectsWithSameKeyValue",
                    "The service principal cannot be created, updated, or restored because the service principal name "
                    f"{app_id} is already in use.",
                )
            found = next((a for a in self.tenant.registered() if a.app_id.casefold() == app_id.casefold()), None)
            if found is None or not self._spread(found.application_object_id):
                text = f"The appId '{app_id}' of the service principal does not reference a valid application object."
                raise GraphError(
                    400,
                    "Request_BadRequest",
                    text,
                    details=({"code": "NoBackingApplicationObject", "message": text, "target": "appId"},),
                )
            self._check_owner(call, found)
            made = replace(
                found,
                object_id=str(uuid.uuid4()),
                kind="Application",
                account_enabled=True,
                token_lifetime_minutes=None,
            )
            self.tenant.spreading.began(made.object_id)
            known = self.tenant.registrations.of(made.app_id)
            self.tenant.registrations.put(made.app_id, replace(known, principal_tags=tags))
            self.tenant.put_registered(made)
        return made

    def delete_principal(self, call: Call, app: App) -> Reply:
        """DELETE /servicePrincipals/{object id}: an application of this tenant stays, without one."""
        call.needs(WRITE, OWNED)
        with self.tenant.lock:
            if app.application_object_id:
                self._check_owner(call, app)
                self.tenant.remove_app(app.object_id)
                self.tenant.put_registered(replace(app, object_id="", consents=()))
            else:
                call.needs(WRITE)
                self.tenant.remove_app(app.object_id)
                self.tenant.keychain.drop(app.app_id)
        return Reply(204)

    # -- permissions -------------------------------------------------------------------------------------------

    def _mine(self, call: Call, id: str) -> App:
        app = self._found(id)
        self._check_owner(call, app)
        return app

    def _check_owner(self, call: Call, app: App) -> None:
        """Application.ReadWrite.OwnedBy: applications that the caller owns, as it does those it made (permissions-reference)."""
        if WRITE not in call.principal.roles and not self._owns(call, app):
            raise no_privilege()

    def _owns(self, call: Call, app: App) -> bool:
        owner = self.tenant.registrations.of(app.app_id).owner
        return owner is not None and owner.casefold() == call.principal.object_id.casefold()

    def _may_read(self, call: Call, app: App) -> None:
        if not (OWNED in call.principal.roles and self._owns(call, app)):
            call.needs(*READ)

    # -- rows --------------------------------------------------------------------------------------------------

    def _row(self, app: App, *, with_keys: bool = False) -> dict[str, Any]:
        known = self.tenant.registrations.of(app.app_id)
        row: dict[str, Any] = {
            "id": app.application_object_id,
            "appId": app.app_id,
            "createdDateTime": None if known.created is None else iso(known.created),
            "displayName": app.display_name,
            "notes": known.notes,
            "publisherDomain": self.tenant.state.tenant.domain,
            "requiredResourceAccess": self._required(app),
            "signInAudience": known.audience,
        }
        if app.tags is not UNSET:
            row["tags"] = list(app.tags)
        return row | self.credentials.rows(app, with_keys=with_keys)

    def _required(self, app: App) -> list[dict[str, Any]]:
        entries: dict[str, list[dict[str, str]]] = {}
        for requested in app.requested:
            entries.setdefault(requested.resource, []).append({"id": requested.app_role_id, "type": "Role"})
        for other in self.tenant.registrations.of(app.app_id).delegated:
            entries.setdefault(other.resource, []).append({"id": other.id, "type": other.type})
        return [{"resourceAppId": resource, "resourceAccess": access} for resource, access in entries.items()]

    def _requested(self, app: App, value: Any) -> tuple[tuple[Requested, ...], tuple[Delegated, ...]]:
        requested: list[Requested] = []
        delegated: list[Delegated] = []
        before = {(r.resource.casefold(), r.app_role_id.casefold()): r for r in app.requested}
        try:
            for entry in value:
                resource = entry["resourceAppId"]
                known = self.resources.by_app_id.get(resource.casefold())
                for access in entry["resourceAccess"]:
                    role, kind = access["id"], access["type"]
                    if kind == "Scope":
                        delegated.append(Delegated(resource=resource, id=role))
                        continue
                    if kind != "Role":
                        raise bad_request("Invalid value specified for property 'type' of resource 'ResourceAccess'.")
                    old = before.get((resource.casefold(), role.casefold()))
                    permission = (known.role(role) if known else None) or (old.permission if old else role)
                    requested.append(Requested(resource=resource, app_role_id=role, permission=permission))
        except (KeyError, TypeError, AttributeError):
            raise bad_request(
                "Invalid value specified for property 'requiredResourceAccess' of resource 'Application'."
            ) from None
        return tuple(requested), tuple(delegated)


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise bad_request(f"Invalid value specified for property '{name}'.")
    return tuple(value)
