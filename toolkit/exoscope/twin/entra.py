"""The twin's sign-in: OpenID configuration and token endpoint (secret, certificate, a platform's token, device code, browser).

What signs in are the sandbox's own credentials, which no answer of Graph or Exchange shows, and those made through Graph.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from exoscope.catalog import CLOUDS, EXCHANGE, GRAPH, MANAGE_AS_APP
from exoscope.model import App, Noun
from exoscope.twin import aadsts
from exoscope.twin.aadsts import AadSts
from exoscope.twin.authorize import Asked, People
from exoscope.twin.errors import Unread
from exoscope.twin.federation import Federation
from exoscope.twin.keychain import Held, new_secret
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.tokens import TokenRefused, Tokens, assertion_header, read_assertion, thumbprints

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
OPERATOR_GRAPH_ROLES = (
    "AdministrativeUnit.Read.All",
    "AppRoleAssignment.ReadWrite.All",
    "Application.ReadWrite.All",
    "Group.Read.All",
    "Organization.Read.All",
    "Policy.Read.All",
    "User.Read.All",
)


class Operator(Noun, frozen=True):
    """The sandbox's operator: an app that is in no list of the tenant."""

    app_id: str
    object_id: str
    upn: str
    graph_roles: tuple[str, ...] = OPERATOR_GRAPH_ROLES
    exchange_roles: tuple[str, ...] = (MANAGE_AS_APP,)


class _DeviceCode:
    __slots__ = ("asked", "ends", "polls")

    def __init__(self, asked: Asked, ends: float) -> None:
        self.asked = asked
        self.ends = ends
        self.polls = 0


class SignInFaults:
    """Switches for tests: ``refuse`` makes the next ``times`` token requests (of one app, when named) fail with a code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[tuple[int, str | None]] = []
        self.device_polls = 1  # how many polls answer "pending" before the operator has approved

    def refuse(self, code: int, *, times: int = 1, app_id: str | None = None) -> None:
        """Answer the next ``times`` requests with this AADSTS code. Raises KeyError for a code the twin does not know."""
        aadsts.ERRORS[code]
        with self._lock:
            self._planned += [(code, app_id)] * times

    def take(self, app_id: str) -> None:
        """Raise the fault planned for this app, if there is one."""
        with self._lock:
            for planned in self._planned:
                if planned[1] is None or planned[1].casefold() == app_id.casefold():
                    self._planned.remove(planned)
                    raise AadSts(planned[0], app=app_id)


class Entra:
    """The sign-in service of one tenant. ``origins`` are further names (https origins) of Graph and Exchange: the twin's own."""

    def __init__(self, tenant: TwinTenant, tokens: Tokens, operator: Operator) -> None:
        self.tenant = tenant
        self.tokens = tokens
        self.operator = operator
        self.faults = SignInFaults()
        self.origin = ""
        self._names = {GRAPH: GRAPH, EXCHANGE: EXCHANGE}
        for cloud in CLOUDS.values():
            self._names[cloud.graph] = GRAPH
            self._names[cloud.exchange] = EXCHANGE
            self._names[cloud.token_resource_exchange] = EXCHANGE
        self._names["https://outlook.office.com"] = EXCHANGE
        self._devices: dict[str, _DeviceCode] = {}
        self._lock = threading.Lock()
        self.people = People(self, self._resource)
        self.federation = Federation()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application: every path begins with the tenant."""
        request = Request(environ)
        try:
            status, body = 200, self._route(request)
            if isinstance(body, Response):
                return body(environ, start_response)
        except AadSts as error:
            told = self.tenant.state.tenant.id
            status, body = aadsts.answer(
                error,
                tenant=told,
                correlation_id=request.headers.get("client-request-id"),
                now=self.tokens.clock.now(),
            )
        except NotFound:
            status, body = (
                404,
                {"error": "not_found", "error_description": "not modelled: the twin serves no such path"},
            )
        response = Response(msgspec.json.encode(body), status, content_type="application/json; charset=utf-8")
        response.headers["Cache-Control"] = "no-store, no-cache"
        response.date = self.tokens.clock.now()
        return response(environ, start_response)

    def _route(self, request: Request) -> dict[str, Any] | Response:
        segment, _, rest = request.path.lstrip("/").partition("/")
        self.check_tenant(segment)
        documents = {
            "v2.0/.well-known/openid-configuration": self.configuration,
            "discovery/v2.0/keys": self.tokens.jwks,
        }
        posts = {"oauth2/v2.0/token": self.token, "oauth2/v2.0/devicecode": self.device_code}
        if rest == "oauth2/v2.0/authorize" and request.method == "GET":
            return self.people.authorize(request)
        if rest in documents and request.method == "GET":
            return documents[rest]()
        if rest in posts and request.method == "POST":
            return posts[rest](request.form)
        raise NotFound

    # -- set up ------------------------------------------------------------------------------------------------

    def name_resource(self, origin: str, resource: str) -> None:
        """Let ``origin`` stand for a resource in scopes."""
        self._names[origin.rstrip("/").casefold()] = resource

    def add_secret(self, app_id: str, *, ends: datetime | None = None) -> str:
        """Make a new random secret for an app; it is the only one that knows it besides the caller."""
        secret = new_secret()
        self.tenant.keychain.add(app_id, Held(secret, None, ends))
        return secret

    def add_certificate(self, app_id: str, certificate: bytes, *, ends: datetime | None = None) -> None:
        """Register a certificate (DER) with an app."""
        self.tenant.keychain.add(app_id, Held(None, certificate, ends))

    def is_tenant(self, segment: str) -> bool:
        """Whether a path segment names this tenant: its id, its initial domain, or the domain of a mailbox's address.

        A snapshot does not list a tenant's domains. Exchange takes an address for a mailbox only in an accepted domain, and those
        are verified in Entra: learn.microsoft.com/exchange/mail-flow-best-practices/manage-accepted-domains
        """
        here, named = self.tenant.state.tenant, segment.casefold()
        recipients = self.tenant.state.recipients
        return named in (here.id.casefold(), here.domain.casefold()) or any(
            each.primary_smtp_address.casefold().rpartition("@")[2] == named
            for each in (() if recipients is UNSET else recipients)
            if each.recipient_type_details.endswith("Mailbox")
        )

    def check_tenant(self, segment: str) -> None:
        """Raises AadSts when the path names another tenant, or none."""
        if self.is_tenant(segment):
            return
        if segment.casefold() in ("common", "organizations", "consumers"):
            raise AadSts(9001023)
        looks_like_one = "." in segment or _is_guid(segment)
        raise AadSts(90002 if looks_like_one else 900023, name=segment)

    def configuration(self) -> dict[str, Any]:
        """The OpenID configuration document."""
        base = f"{self.origin}/{self.tenant.state.tenant.id}"
        return {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "tenant_region_scope": "EU",
        }

    # -- tokens ------------------------------------------------------------------------------------------------

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Answer the token endpoint. Raises AadSts."""
        client = form.get("client_id") or ""
        if not client:
            raise AadSts(900144, name="client_id")
        self.faults.take(client)
        grant = form.get("grant_type", "")
        if grant == "client_credentials":
            return self._client_credentials(client, form)
        if grant == DEVICE_GRANT:
            return self._device_token(client, form)
        if grant in ("authorization_code", "refresh_token"):
            self.people.check(client)
            redeem = self.people.redeem if grant == "authorization_code" else self.people.refresh
            return redeem(client, form)
        raise AadSts(70003, name=grant)

    def device_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Begin a device code sign-in of the sandbox's operator, who approves it by himself after a poll. Raises AadSts."""
        client = form.get("client_id", "")
        self.people.check(client)
        asked = self.people.asked(client, form.get("scope", ""))
        code, user_code = secrets.token_urlsafe(24), secrets.token_hex(4).upper()
        with self._lock:
            self._devices[code] = _DeviceCode(asked, self.tokens.clock.now().timestamp() + 900)
        page = f"{self.origin}/common/oauth2/deviceauth"
        return {
            "user_code": user_code,
            "device_code": code,
            "verification_uri": page,
            "expires_in": 900,
            "interval": 1,
            "message": f"To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate.",
        }

    def _client_credentials(self, client: str, form: Mapping[str, str]) -> dict[str, Any]:
        app = self._known(client)
        self._prove(client, form)
        scope = form.get("scope", "")
        if not scope:
            raise AadSts(900144, name="scope")
        if len(scope.split()) != 1:
            raise AadSts(70011, name=scope)
        if not scope.endswith("/.default"):
            raise AadSts(1002012, name=scope)
        resource = self._resource(scope)
        if app is None:
            roles = self.operator.graph_roles if resource == GRAPH else self.operator.exchange_roles
            return self._answer(self.operator.app_id, self.operator.object_id, resource, roles, operator=True)
        held = [c.permission for c in app.consents if c.resource.casefold() == resource.casefold()]
        return self._answer(app.app_id, app.object_id, resource, tuple(held))

    def _answer(
        self,
        app_id: str,
        object_id: str,
        resource: str,
        roles: tuple[str, ...],
        *,
        operator: bool = False,
    ) -> dict[str, Any]:
        token = self.tokens.issue(app_id=app_id, object_id=object_id, resource=resource, roles=roles, operator=operator)
        seconds = int(self.tokens.operator_lifetime if operator else self.tokens.lifetime)
        return {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}

    def _known(self, client: str) -> App | None:
        """The app that signs in; None: the operator. Raises AadSts when it is not in the tenant, or disabled."""
        if client.casefold() == self.operator.app_id.casefold():
            return None
        try:
            app = self.tenant.app(client)
        except Unread:
            app = None
        if app is None or app.app_id.casefold() != client.casefold():
            bare = any(each.app_id.casefold() == client.casefold() for each in self.tenant.registrations.bare())
            raise AadSts(7000229 if bare else 700016, app=client)
        if not self.tenant.spreading.over(app.object_id):
            raise AadSts(700016, app=client)
        if app.account_enabled is not UNSET and not app.account_enabled:
            raise AadSts(7000112, app=client, name=app.display_name)
        return app

    def _prove(self, client: str, form: Mapping[str, str]) -> None:
        now = self.tokens.clock.now()
        held = self.tenant.keychain.of(client, now)
        secret, assertion = form.get("client_secret"), form.get("client_assertion")
        if secret:
            match = next(
                (c for c in held if c.secret and hmac.compare_digest(c.secret.encode(), secret.encode())), None
            )
            if match is None:
                raise AadSts(7000215, app=client)
            if match.ends is not None and match.ends <= now:
                raise AadSts(7000222, app=client)
        elif assertion and form.get("client_assertion_type") == ASSERTION_TYPE:
            self._prove_assertion(client, assertion, [c for c in held if c.certificate], now)
        else:
            raise AadSts(7000218)

    def _prove_assertion(self, client: str, assertion: str, held: list[Held], now: datetime) -> None:
        if self.federation.is_platforms(client, assertion):
            self.federation.prove(client, assertion, now)
            return
        try:
            header = assertion_header(assertion)
            name = "x5t#S256" if "x5t#S256" in header else "x5t"
            if name not in header:
                raise AadSts(700027, app=client, name="The assertion names no certificate.")
            match = next(
                (c for c in held if thumbprints(c.certificate or b"")[name] == str(header[name]).rstrip("=")), None
            )
            if match is None or match.certificate is None:
                raise AadSts(700027, app=client, name=f"The key was not found, {name}: '{header.get(name, '')}'.")
            if match.ends is not None and match.ends <= now:
                raise AadSts(700027, app=client, name="The key used is expired.")
            claims = read_assertion(assertion, match.certificate)
        except TokenRefused as refused:
            raise AadSts(
                700027, app=client, name=f"Client assertion contains an invalid signature: {refused}."
            ) from None
        if str(claims.get("iss", "")).casefold() != client.casefold() or claims.get("sub") != claims.get("iss"):
            raise AadSts(50012, name="the assertion's 'iss' and 'sub' must both be the client id.")
        if claims.get("aud") not in self._assertion_audiences():
            raise AadSts(50012, name="the assertion's audience is not this tenant's token endpoint.")
        if not claims.get("jti"):
            raise AadSts(50012, name="the assertion has no 'jti'.")
        ends, begins = claims.get("exp"), claims.get("nbf", 0)
        moment = now.timestamp()
        if not isinstance(ends, int | float) or not isinstance(begins, int | float):
            raise AadSts(50012, name="the assertion's times are missing.")
        if not begins - 300 <= moment < ends:
            raise AadSts(700024)

    def _assertion_audiences(self) -> tuple[str, ...]:
        here = self.tenant.state.tenant
        paths = ("oauth2/v2.0/token", "v2.0")
        return tuple(f"{self.origin}/{name}/{path}" for name in (here.id, here.domain) for path in paths)

    def _resource(self, scope: str) -> str:
        name = scope.removesuffix("/.default").rstrip("/")
        known = self._names.get(name.casefold())
        if known is None and "/" in name:
            # a delegated scope of device code flows, such as https://graph.microsoft.com/Directory.Read.All
            known = self._names.get(name.rpartition("/")[0].casefold()) if not scope.endswith("/.default") else None
        if known is None:
            raise AadSts(500011, name=name)
        return known

    def _device_token(self, client: str, form: Mapping[str, str]) -> dict[str, Any]:
        self.people.check(client)
        if form.get("client_secret") or form.get("client_assertion"):
            raise AadSts(700025)
        with self._lock:
            device = self._devices.get(form.get("device_code", ""))
            if device is None:
                raise AadSts(70019)
            if self.tokens.clock.now().timestamp() >= device.ends:
                raise AadSts(70020)
            device.polls += 1
            if device.polls <= self.faults.device_polls:
                raise AadSts(70016)
            del self._devices[form["device_code"]]
        return self.people.answer(device.asked)


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
