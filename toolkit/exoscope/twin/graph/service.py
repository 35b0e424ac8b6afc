"""Graph's front: who calls, whether there are too many calls, which call it is, and how an answer looks on the wire."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from exoscope.catalog import GRAPH
from exoscope.clock import iso
from exoscope.twin.errors import NotModelled, Unread
from exoscope.twin.graph.applications import Applications
from exoscope.twin.graph.call import Call, Reply
from exoscope.twin.graph.directory import Directory
from exoscope.twin.graph.errors import GraphError, bad_request, bad_token, no_privilege, not_modelled
from exoscope.twin.graph.faults import Dropped, GraphFaults
from exoscope.twin.graph.limits import Limits
from exoscope.twin.graph.mailboxes import Mailboxes
from exoscope.twin.graph.registrations import OWNED
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.tokens import Principal, TokenRefused, Tokens
from exoscope.twin.web import cut_off

VERSION = "/v1.0"
BATCH = 20
_ALTERNATE = re.compile(r"^/(applications|servicePrincipals)\(appId='([^']*)'\)")
_ELIGIBLE = "/roleManagement/directory/roleEligibilityScheduleInstances"
_MAILBOX_CALLS = ("/users/", "/admin/exchange/")
_log = logging.getLogger("exoscope.twin.graph")


class Graph:
    """The WSGI application. ``rate``: requests a second each app may make, None: any number."""

    def __init__(self, tenant: TwinTenant, tokens: Tokens, *, rate: float | None = None) -> None:
        self.tenant = tenant
        self.tokens = tokens
        self.faults = GraphFaults()
        self.limits = Limits(tenant.clock, rate)
        self.origin = ""
        directory, applications = Directory(tenant), Applications(tenant, self.faults)
        self.directory = directory
        self.mailboxes = Mailboxes(tenant, self.limits, self.faults)
        self.applications = applications
        self.registrations = registrations = applications.registrations
        sp, app, user, admin = (
            "/servicePrincipals",
            "/applications",
            "/users/<user>",
            "/admin/exchange/mailboxes/<mailbox>",
        )
        collection = self.mailboxes.collection
        table: list[tuple[str, str, Callable[..., Reply]]] = [
            ("GET", "/organization", directory.organization),
            ("GET", f"{_ELIGIBLE}/filterByCurrentUser(on='principal')", directory.eligible),
            ("GET", "/users", directory.users),
            ("GET", "/users/<id>", directory.user),
            ("GET", "/groups", directory.groups),
            ("GET", "/groups/<id>", directory.group),
            ("GET", "/groups/<id>/members", directory.group_members),
            ("GET", "/groups/<id>/transitiveMembers", directory.group_transitive_members),
            ("GET", "/directory/administrativeUnits", directory.units),
            ("GET", "/directory/administrativeUnits/<id>", directory.unit),
            ("GET", "/directory/administrativeUnits/<id>/members", directory.unit_members),
            ("GET", app, registrations.applications),
            ("POST", app, registrations.create),
            ("GET", f"{app}/<id>", registrations.application),
            ("PATCH", f"{app}/<id>", registrations.change),
            ("DELETE", f"{app}/<id>", registrations.delete),
            ("POST", f"{app}/<id>/addPassword", registrations.add_password),
            ("POST", f"{app}/<id>/removePassword", registrations.remove_password),
            ("GET", f"{app}/<id>/tokenLifetimePolicies", registrations.policies),
            ("GET", "/policies/defaultAppManagementPolicy", registrations.app_management),
            ("GET", "/policies/tokenLifetimePolicies", applications.all_policies),
            ("GET", sp, applications.service_principals),
            ("POST", sp, applications.create),
            ("GET", f"{sp}/<id>", applications.service_principal),
            ("DELETE", f"{sp}/<id>", applications.delete),
            ("GET", f"{sp}/<id>/tokenLifetimePolicies", applications.policies),
            ("GET", f"{sp}/<id>/appRoleAssignments", applications.held),
            ("POST", f"{sp}/<id>/appRoleAssignments", applications.grant),
            ("GET", f"{sp}/<id>/appRoleAssignments/<assignment>", applications.one_held),
            ("DELETE", f"{sp}/<id>/appRoleAssignments/<assignment>", applications.revoke),
            ("GET", f"{sp}/<id>/appRoleAssignedTo", applications.given),
            ("POST", f"{sp}/<id>/appRoleAssignedTo", applications.grant),
            ("GET", f"{sp}/<id>/appRoleAssignedTo/<assignment>", applications.one_held),
            ("DELETE", f"{sp}/<id>/appRoleAssignedTo/<assignment>", applications.revoke),
            *(
                ("GET", f"{user}/{kind}", lambda call, user, kind=kind: collection(call, user, kind))
                for kind in ("messages", "mailFolders", "calendars", "events", "contacts", "contactFolders")
            ),
            ("GET", f"{user}/calendar", self.mailboxes.calendar),
            ("GET", f"{user}/calendar/events", lambda call, user: collection(call, user, "events")),
            ("GET", f"{user}/messages/<id>", self.mailboxes.message),
            ("GET", f"{user}/messages/<id>/attachments", self.mailboxes.attachments),
            ("GET", f"{user}/mailFolders/<id>", self.mailboxes.folder),
            ("GET", f"{user}/mailFolders/<id>/messages", self.mailboxes.folder_messages),
            ("GET", f"{user}/mailboxSettings", self.mailboxes.settings),
            ("POST", f"{user}/sendMail", self.mailboxes.send),
            ("POST", f"{user}/getMailTips", self.mailboxes.mail_tips),
            ("GET", f"{admin}/folders", self.mailboxes.folders),
            ("GET", f"{admin}/folders/<folder>/items", self.mailboxes.items),
        ]
        self._routes = Map([Rule(path, endpoint=run, methods=[method]) for method, path, run in table])

    # -- one request -------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        request = Request(environ)
        ids = {"request-id": str(uuid.uuid4()), "client-request-id": request.headers.get("client-request-id", "")}
        ids["client-request-id"] = ids["client-request-id"] or ids["request-id"]
        try:
            reply = self._receive(request)
        except GraphError as error:
            reply = self._error(error, ids)
        except Dropped:
            raise cut_off(environ) from None
        headers = {**ids, **reply.headers}
        if reply.body is None:
            response = Response(b"", reply.status, headers=headers)
        else:
            content_type = "application/json; odata.metadata=minimal; charset=utf-8"
            response = Response(
                msgspec.json.encode(reply.body), reply.status, headers=headers, content_type=content_type
            )
        response.date = self.tenant.clock.now()
        return response(environ, start_response)

    def _receive(self, request: Request) -> Reply:
        principal = self._principal(request.headers.get("Authorization", ""))
        path = request.path
        if not path.startswith(VERSION + "/"):
            raise not_modelled(f"the address {path}")
        call = Call(
            method=request.method,
            path=path[len(VERSION) :],
            query=dict(request.args.items()),
            headers={name.casefold(): value for name, value in request.headers.items()},
            body=_json(request.get_data()),
            principal=principal,
            base=self.origin + VERSION,
        )
        if call.path == "/$batch":
            if call.method != "POST":
                raise bad_request("A batch is posted.", code="BadRequest")
            return self._batch(call)
        return self._answer(call)

    def _principal(self, header: str) -> Principal:
        kind, _, token = header.partition(" ")
        if not token or kind.casefold() != "bearer":
            raise bad_token("Access token is empty.")
        try:
            return self.tokens.read(token.strip(), GRAPH)
        except TokenRefused as refused:
            raise bad_token(str(refused)) from None

    def _answer(self, call: Call) -> Reply:
        """One call, alone or of a batch. Raises GraphError or Dropped."""
        self.limits.request(call.principal.app_id)
        self.faults.take(call, after_acting=False)
        if "/$" in call.path:
            # $count, $value, $ref, $delta…: not the id that a route would take it for
            raise not_modelled(f"{call.method} {call.path}")
        try:
            found = _ALTERNATE.match(call.path)
            path = call.path
            if found:
                call.needs("Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All", OWNED)
                path = f"/{found[1]}/{quote(self.applications.object_id(found[1], found[2]))}{path[found.end() :]}"
            run, arguments = self._routes.bind("twin").match(path, method=call.method)
            reply: Reply = run(call, **arguments)
        except HTTPException:
            raise not_modelled(f"{call.method} {call.path}") from None
        except NotModelled as unknown:
            raise not_modelled(str(unknown)) from None
        except Unread:
            raise no_privilege() from None
        except GraphError:
            raise
        except Exception:  # noqa: BLE001 - whatever goes wrong in a handler is answered as Graph answers its own failures
            _log.exception("the twin failed at %s %s", call.method, call.path)
            raise GraphError(500, "InternalServerError", "The twin failed; see its log.") from None
        self.faults.take(call, after_acting=True)
        return reply

    def _error(self, error: GraphError, ids: Mapping[str, str]) -> Reply:
        inner = {"date": iso(self.tenant.clock.now()).rstrip("Z"), **ids}
        headers = {} if error.retry_after is None else {"Retry-After": f"{max(error.retry_after, 0.001):.3f}"}
        told: dict[str, Any] = {"code": error.code, "message": error.message, "innerError": inner}
        if error.details:
            told["details"] = [dict(each) for each in error.details]
        return Reply(error.status, {"error": told}, headers)

    # -- $batch ------------------------------------------------------------------------------------------------

    def _batch(self, call: Call) -> Reply:
        asked = call.object().get("requests")
        if not isinstance(asked, list) or not asked:
            raise bad_request("Invalid batch payload format.", code="BadRequest")
        if len(asked) > BATCH:
            text = f"Number of batch request steps exceeds the maximum value of {BATCH}."
            raise bad_request(text, code="MaximumValueExceeded")
        ids = [entry.get("id") if isinstance(entry, dict) else None for entry in asked]
        if not all(isinstance(each, str) and each for each in ids) or len(set(ids)) != len(ids):
            raise bad_request("Each request of a batch must have an id of its own.", code="BadRequest")
        done: dict[str, dict[str, Any]] = {}
        mailbox_calls = 0
        for entry in asked:
            depends = entry.get("dependsOn") or []
            if any(other not in done for other in depends):
                raise bad_request("A request depends on one that is not before it.", code="BadRequest")
            inner = self._inner(call, entry)
            mailbox_calls += inner.path.startswith(_MAILBOX_CALLS)
            done[entry["id"]] = self._batched(inner, [done[other]["status"] for other in depends])
        self.faults.linger(mailbox_calls)
        # Graph answers in any order; the twin in the reverse of the asked one, so that nobody relies on it
        answers = [{"id": each, **answer} for each, answer in reversed(done.items())]
        return Reply(200, {"responses": answers})

    def _batched(self, inner: Call, before: list[int]) -> dict[str, Any]:
        ids = {"request-id": str(uuid.uuid4())}
        ids["client-request-id"] = inner.headers.get("client-request-id", ids["request-id"])
        if any(status >= 400 for status in before):
            failed = GraphError(424, "FailedDependency", "A request that this one depends on has failed.")
            return self._shown(self._error(failed, ids), ids)
        try:
            reply = self._answer(inner)
        except GraphError as error:
            reply = self._error(error, ids)
        return self._shown(reply, ids)

    def _shown(self, reply: Reply, ids: Mapping[str, str]) -> dict[str, Any]:
        headers = {**ids, **reply.headers}
        if reply.body is None:
            return {"status": reply.status, "headers": headers}
        return {"status": reply.status, "headers": {**headers, "Content-Type": "application/json"}, "body": reply.body}

    def _inner(self, call: Call, entry: dict[str, Any]) -> Call:
        method, url = entry.get("method"), entry.get("url")
        if not isinstance(method, str) or not isinstance(url, str) or "://" in url.partition("?")[0]:
            raise bad_request("Each request of a batch has a method and a relative url.", code="BadRequest")
        headers = {name.casefold(): str(value) for name, value in (entry.get("headers") or {}).items()}
        if entry.get("body") is not None and "content-type" not in headers:
            raise bad_request("A request with a body must name its Content-Type.", code="BadRequest")
        parts = urlsplit(url if url.startswith("/") else "/" + url)
        return Call(
            method=method.upper(),
            path=unquote(parts.path),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=headers,
            body=entry.get("body"),
            principal=call.principal,
            base=call.base,
            in_batch=True,
        )


def _json(data: bytes) -> Any:
    if not data:
        return None
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        raise bad_request("Unable to read JSON request payload.", code="BadRequest") from None
