"""Tokens by msal, for the operator and for the apps that are asked about: the only file that touches msal.

Nothing is signed in before it is needed: msal's constructors go to the network. Tokens live in memory only.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from exoscope import system
from exoscope.clock import Clock
from exoscope.entra.aadsts import error_of
from exoscope.entra.certificates import KeyPair
from exoscope.model import Noun, Secret
from exoscope.outcome import BadInput, ExoscopeError, SignInFailed, Transient
from exoscope.profile import Operator, Profile, SecretRef, resolve

log = logging.getLogger("exoscope.entra")

Resource = Literal["graph", "exchange"]
VALID_FOR = 60.0
TRIES = 3
DISCOVERY = "https://login.microsoftonline.com"  # where msal asks whether an authority is one of Microsoft's


class Token(Noun, frozen=True):
    """An access token. ``roles`` are its application permissions (empty: it carries none; None: it could not be read),
    ``tenant_id`` and ``object_id`` the claims tid and oid; ``user`` the sign-in name it speaks for (None: an application).
    """

    secret: Secret
    issued_at: datetime
    expires_at: datetime
    tenant_id: str | None
    object_id: str | None
    roles: tuple[str, ...] | None
    user: str | None = None


class _Client(Protocol):
    """One identity at msal."""

    def acquire(self, resource: str, *, fresh: bool) -> Mapping[str, Any]: ...


class Tokens:
    """Tokens for one profile, each asked for once and kept until it nears its end. Safe to use from several threads.

    ``say`` gets the sentence with which a person signs in by device code.
    """

    missing = "the profile names no credential of the app, so Graph cannot be asked as the app"

    def __init__(self, profile: Profile, clock: Clock, say: Callable[[str], None] | None = None) -> None:
        self._profile, self._clock = profile, clock
        self._say = say or log.warning
        self._clients: dict[str, _Client] = {}
        self._held: dict[tuple[str, Resource], Token] = {}
        self._given: dict[str, Any] = {}
        self._lock = threading.RLock()

    def operator(self, resource: Resource, *, valid_for: float = VALID_FOR, fresh: bool = False) -> Token:
        """The operator's token; ``fresh``: issued now. Raises SignInFailed, Transient; BadInput: the profile has no operator."""
        return self._token("", resource, valid_for, fresh=fresh)

    def exchange(self, *, valid_for: float = VALID_FOR, fresh: bool = False) -> Token:
        """The operator's token for Exchange."""
        return self.operator("exchange", valid_for=valid_for, fresh=fresh)

    def app(self, app_id: str, *, fresh: bool = False, resource: Resource = "graph") -> Token:
        """A token as the app itself. ``fresh``: issued now, never one that was kept.

        Raises SignInFailed (code ``no-credential`` when the profile has none for it), Transient.
        """
        return self._token(app_id.casefold(), resource, VALID_FOR, fresh=fresh)

    def has(self, app_id: str) -> bool:
        """Can the app be signed in, as far as the profile goes?"""
        return app_id.casefold() in self._given or self._profile.credential(app_id) is not None

    def give(self, app_id: str, credential: Secret | KeyPair | None) -> None:
        """Sign this app in with what is at hand instead of what the profile names; None: no longer. Tokens it had are forgotten."""
        who = app_id.casefold()
        with self._lock:
            self._clients.pop(who, None)
            self._held = {key: token for key, token in self._held.items() if key[0] != who}
            if credential is None:
                self._given.pop(who, None)
            else:
                self._given[who] = credential.reveal() if isinstance(credential, Secret) else credential.for_msal()

    # -- asking ------------------------------------------------------------------------------------------------

    def _token(self, who: str, resource: Resource, valid_for: float, *, fresh: bool) -> Token:
        with self._lock:
            held = self._held.get((who, resource))
            if held is not None and not fresh and self._good(held, valid_for):
                return held
            token = self._acquire(who, resource, fresh=fresh or held is not None)
            self._held[who, resource] = token
            return token

    def _good(self, token: Token, valid_for: float) -> bool:
        life = (token.expires_at - token.issued_at).total_seconds()
        # A service that issues short tokens never gives one that is good for long: half a life must do.
        return (token.expires_at - self._clock.now()).total_seconds() > min(valid_for, life / 2)

    def _acquire(self, who: str, resource: Resource, *, fresh: bool) -> Token:
        name = f"the app {who}" if who else "the operator"
        known = self._profile.cloud_endpoints
        audience = known.token_resource_exchange if resource == "exchange" else known.graph
        for tried in range(1, TRIES + 1):
            asked = self._clock.now()
            try:
                result = self._ask(who, name, audience, fresh=fresh)
                log.info("signed in %s for %s", name, resource)
                return self._read(result, asked)
            except ExoscopeError as error:
                # msal remembers a refusal for a while: what asks again must be a new client.
                self._clients.pop(who, None)
                if not isinstance(error, Transient) or tried == TRIES:
                    raise
            except Exception as error:  # noqa: BLE001 - msal raises what requests raises, and ValueError for a bad authority
                self._clients.pop(who, None)
                failure = self._unreachable(error, name)
                if not isinstance(failure, Transient) or tried == TRIES:
                    raise failure from None
            self._clock.sleep(2.0**tried)
        raise AssertionError("unreachable: the last try returns or raises")

    def _ask(self, who: str, name: str, audience: str, *, fresh: bool) -> Mapping[str, Any]:
        result = self._client(who).acquire(audience, fresh=fresh)
        if "access_token" not in result:
            raise error_of(result, name)
        return result

    def _unreachable(self, error: Exception, name: str) -> ExoscopeError:
        import requests
        from msal.exceptions import MsalServiceError

        authority = self._profile.endpoints.authority
        if isinstance(error, MsalServiceError):
            # msal raises for 5xx and keeps nothing of the answer but its status.
            found = re.search(r"HTTP Error: (\d+)", str(error))
            what = f"HTTP {found.group(1)}" if found else "a server error"
            return Transient(f"sign-in of {name}: {authority} answered {what}", next="Run the same command again.")
        if isinstance(error, requests.exceptions.SSLError):
            return SignInFailed(
                f"sign-in of {name} failed: the certificate of {authority} is not trusted",
                next="Name the CA that signed it as [endpoints] ca, or in REQUESTS_CA_BUNDLE.",
            )
        if isinstance(error, requests.exceptions.RequestException):
            return Transient(
                f"{authority} cannot be reached ({type(error).__name__})", next="Check the network and proxy."
            )
        # The text of these may repeat what was handed in, so only their kind is told.
        return SignInFailed(
            f"sign-in of {name} failed: {type(error).__name__} from the sign-in library",
            next="Check tenant, cloud and [endpoints] authority in the profile, and that the certificate file is whole.",
        )

    def _read(self, result: Mapping[str, Any], asked: datetime) -> Token:
        text = str(result["access_token"])
        claims = _claims(text)
        roles = claims.get("roles", []) if claims is not None else None
        claims = claims or {}
        return Token(
            secret=Secret(text, "access token"),
            issued_at=asked,
            expires_at=asked + timedelta(seconds=float(result.get("expires_in") or 0)),
            tenant_id=_text(claims.get("tid")),
            object_id=_text(claims.get("oid")),
            roles=tuple(str(role) for role in roles) if isinstance(roles, list) else None,
            user=_text(claims.get("upn")) or _text(claims.get("preferred_username")),
        )

    # -- identities --------------------------------------------------------------------------------------------

    def _client(self, who: str) -> _Client:
        if who not in self._clients:
            self._clients[who] = self._app_client(who) if who else self._operator_client()
        return self._clients[who]

    def _operator_client(self) -> _Client:
        operator = self._profile.operator
        if operator is None:
            raise BadInput(f"{self._profile.path} has no [operator]: nobody to sign in as")
        if operator.managed_identity:
            return _ManagedIdentity(operator)
        if operator.device_code:
            return _DeviceCode(str(operator.client_id), self._common(), self._say)
        credential = _credential(operator.secret, operator.certificate, operator.passphrase)
        return _Confidential(str(operator.client_id), credential, self._common())

    def _app_client(self, app_id: str) -> _Client:
        if app_id in self._given:
            return _Confidential(app_id, self._given[app_id], self._common())
        held = self._profile.credential(app_id)
        if held is None:
            raise SignInFailed(
                f"the profile has no credential of the app {app_id}",
                code="no-credential",
                next=f'Add [apps."{app_id}"] with secret or certificate, so that Graph can be asked as the app.',
            )
        return _Confidential(app_id, _credential(held.secret, held.certificate, held.passphrase), self._common())

    def _common(self) -> dict[str, Any]:
        from exoscope.origins import OriginSession

        ends = self._profile.endpoints
        origins = [ends.authority] if ends.own else [ends.authority, DISCOVERY]
        return {
            "authority": f"{ends.authority}/{self._profile.tenant}",
            "instance_discovery": False if ends.own else None,
            "http_client": OriginSession(origins, ends.ca),
        }


class _Confidential:
    def __init__(self, client_id: str, credential: Any, common: dict[str, Any]) -> None:
        import msal

        self._app = msal.ConfidentialClientApplication(client_id, client_credential=credential, **common)

    def acquire(self, resource: str, *, fresh: bool) -> Mapping[str, Any]:
        if fresh:
            self._app.remove_tokens_for_client()
        result: Mapping[str, Any] = self._app.acquire_token_for_client([f"{resource}/.default"])
        return result


class _DeviceCode:
    def __init__(self, client_id: str, common: dict[str, Any], say: Callable[[str], None]) -> None:
        import msal

        self._app = msal.PublicClientApplication(client_id, **common)
        self._say = say

    def acquire(self, resource: str, *, fresh: bool) -> Mapping[str, Any]:
        scopes = [f"{resource}/.default"]
        for account in self._app.get_accounts():
            found: Mapping[str, Any] | None = self._app.acquire_token_silent(scopes, account, force_refresh=fresh)
            if found and "access_token" in found:
                return found
        flow = self._app.initiate_device_flow(scopes=scopes)
        if "user_code" not in flow:
            return dict(flow)
        self._say(str(flow["message"]))
        result: Mapping[str, Any] = self._app.acquire_token_by_device_flow(flow)
        return result


class _ManagedIdentity:
    def __init__(self, operator: Operator) -> None:
        import msal
        import requests

        identity = (
            msal.UserAssignedManagedIdentity(client_id=operator.client_id)
            if operator.client_id
            else msal.SystemAssignedManagedIdentity()
        )
        session = requests.Session()
        session.trust_env = False  # the machine's own metadata service is asked directly, never through a proxy
        self._app = msal.ManagedIdentityClient(identity, http_client=session)

    def acquire(self, resource: str, *, fresh: bool) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._app.acquire_token_for_client(resource=resource)
        return result


def _credential(secret: SecretRef | None, certificate: Path | None, passphrase: SecretRef | None) -> Any:
    """A credential in msal's form. Raises BadInput for a file that cannot be read, or whose open key others can read."""
    if secret is not None:
        return resolve(secret).reveal()
    if certificate is None:
        raise BadInput("neither a secret nor a certificate is named")
    phrase = resolve(passphrase).reveal() if passphrase is not None else None
    try:
        data = certificate.read_bytes()
    except OSError as error:
        raise BadInput(f"{certificate} cannot be read: {error.strerror}") from None
    if b"-----BEGIN" not in data:
        return {"private_key_pfx_path": str(certificate), "passphrase": phrase, "public_certificate": True}
    if b"ENCRYPTED" not in data:
        data = system.read_private(certificate)
    text = data.decode("ascii", "replace")
    keys, certificates = _pem(text, "PRIVATE KEY"), _pem(text, "CERTIFICATE")
    if len(keys) != 1 or not certificates:
        raise BadInput(f"{certificate} must hold one private key and its certificate, in PEM")
    found = {"private_key": keys[0], "public_certificate": "".join(certificates)}
    return {**found, "passphrase": phrase} if phrase is not None else found


def _pem(text: str, kind: str) -> list[str]:
    blocks = re.findall(r"-----BEGIN ([A-Z ]+)-----(.*?)-----END \1-----", text, re.DOTALL)
    return [f"-----BEGIN {name}-----{body}-----END {name}-----\n" for name, body in blocks if name.endswith(kind)]


def _claims(token: str) -> dict[str, Any] | None:
    """The claims of a token that the authority just gave us over TLS, so its signature need not be looked at; None: not a JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
