"""Tokens for the operator and for the apps that are asked about.

Nothing is signed in before it is needed. Tokens live in memory only, unless the profile asks for a cache of a person's sign-in.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from exoscope import system
from exoscope.clock import Clock
from exoscope.entra import clients
from exoscope.entra.aadsts import error_of
from exoscope.entra.certificates import KeyPair
from exoscope.entra.clients import Resource
from exoscope.model import Noun, Secret
from exoscope.outcome import BadInput, ExoscopeError, SignInFailed, Transient
from exoscope.profile import MICROSOFT, Operator, Profile

if TYPE_CHECKING:
    from exoscope.entra.identities import Identity

log = logging.getLogger("exoscope.entra")

VALID_FOR = 60.0
TRIES = 3
DISCOVERY = "https://login.microsoftonline.com"  # where msal asks whether an authority is one of Microsoft's

_OPERATOR, _WRITER = "", "graph-writes"
_NAMES = {_OPERATOR: "the operator", _WRITER: "the operator for Graph writes"}


class Token(Noun, frozen=True):
    """An access token. ``roles`` are its application permissions, ``scopes`` its delegated ones (empty: it carries none; None: it
    could not be read), ``tenant_id``, ``object_id`` and ``client_id`` the claims tid, oid and appid; ``user`` the sign-in name it
    speaks for (None: an application). ``kept``: it came from a sign-in kept before.
    """

    secret: Secret
    issued_at: datetime
    expires_at: datetime
    tenant_id: str | None
    object_id: str | None
    roles: tuple[str, ...] | None
    user: str | None = None
    scopes: tuple[str, ...] | None = None
    client_id: str | None = None
    kept: bool = False


class Tokens:
    """Tokens for one profile, each asked for once and kept until it nears its end. Safe to use from several threads.

    ``say`` gets the sentences with which a person signs in. ``at_terminal``: is somebody here who can? Found out when not said.
    """

    missing = "the profile names no credential of the app, so Graph cannot be asked as the app"

    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        say: Callable[[str], None] | None = None,
        *,
        at_terminal: bool | None = None,
    ) -> None:
        self._profile, self._clock = profile, clock
        self._say = say or log.warning
        self._at_terminal = system.at_terminal() if at_terminal is None else at_terminal
        self._clients: dict[tuple[str, str], Identity] = {}
        self._caches: dict[str, Any] = {}  # msal's, by identity: they outlive a client that was dropped after an error
        self._held: dict[tuple[str, str], Token] = {}
        self._given: dict[str, Any] = {}
        self._users: dict[str, str] = {}  # who signed in, by identity
        self._lock = threading.RLock()

    def operator(
        self,
        resource: Resource,
        *,
        valid_for: float = VALID_FOR,
        fresh: bool = False,
        writing: bool = False,
        ask: bool = True,
    ) -> Token:
        """The operator's token; ``fresh``: issued now. ``writing``: one that something in Graph is changed with, of the profile's
        operator for Graph writes where there is one. ``ask``: a person may be asked to sign in.

        Raises SignInFailed (code ``sign-in-needed``: nobody may be asked), Transient; BadInput: the profile has no operator.
        """
        who = _WRITER if writing and self.second_writer else _OPERATOR
        return self._token(who, resource, valid_for, fresh=fresh, writing=writing, ask=ask)

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
            self._clients = {key: client for key, client in self._clients.items() if key[0] != who}
            self._held = {key: token for key, token in self._held.items() if key[0] != who}
            if credential is None:
                self._given.pop(who, None)
            else:
                self._given[who] = credential.reveal() if isinstance(credential, Secret) else credential.for_msal()

    @property
    def second_writer(self) -> bool:
        """Does the profile name an operator of its own for Graph writes?"""
        operator = self._profile.operator
        return operator is not None and operator.graph_writes is not None

    @property
    def asks_more_to_write(self) -> bool:
        """Is a token for Graph writes another one than the operator's for Graph?"""
        return self.second_writer or self.signed_in_as().client_id == MICROSOFT

    def signed_in_as(self, *, writing: bool = False) -> Operator:
        """Who signs in; where the profile names nobody, a person in the browser at a terminal. Raises BadInput elsewhere."""
        operator = self._profile.operator
        if operator is not None:
            return operator.graph_writes or operator if writing else operator
        if not self._at_terminal:
            raise BadInput(
                f"{self._profile.path} has no [operator]: nobody to sign in as",
                next="Name one (docs/sign-in.md). At a terminal, without [operator], a person signs in in the browser.",
            )
        if self._profile.cloud == "china":
            raise BadInput(
                f"{self._profile.path} has no [operator], and Microsoft's own clients do not exist in this cloud",
                next='Name an app registration of yours: [operator] kind = "interactive", client_id = "…".',
            )
        return Operator(client_id=MICROSOFT, interactive=True)

    # -- asking ------------------------------------------------------------------------------------------------

    def _token(
        self, who: str, resource: Resource, valid_for: float, *, fresh: bool, writing: bool = False, ask: bool = True
    ) -> Token:
        with self._lock:
            slot = "graph-writes" if writing and self.asks_more_to_write else resource
            held = self._held.get((who, slot))
            if held is not None and not fresh and self._good(held, valid_for):
                return held
            token = self._acquire(who, resource, fresh=fresh or held is not None, writing=writing, ask=ask)
            self._held[who, slot] = token
            return token

    def _audience(self, resource: Resource) -> str:
        """What a token is asked for: always the cloud's own name of the service, whatever host serves it."""
        known = self._profile.cloud_endpoints
        if resource == "graph":
            return known.graph
        return self._profile.endpoints.exchange_resource or known.token_resource_exchange

    def _good(self, token: Token, valid_for: float) -> bool:
        life = (token.expires_at - token.issued_at).total_seconds()
        # A service that issues short tokens never gives one that is good for long: half a life must do.
        return (token.expires_at - self._clock.now()).total_seconds() > min(valid_for, life / 2)

    def _acquire(self, who: str, resource: Resource, *, fresh: bool, writing: bool, ask: bool) -> Token:
        name = _NAMES.get(who, f"the app {who}")
        audience = self._audience(resource)
        operator = self.signed_in_as(writing=who == _WRITER) if who in _NAMES else None
        if operator is None:
            client_id, scopes = who, [f"{audience}/.default"]
        else:
            client_id = clients.client_of(operator, resource)
            scopes = clients.scopes_of(operator, resource, audience, writing=writing)
        from exoscope.entra import identities  # msal and requests are slow to load

        for tried in range(1, TRIES + 1):
            asked = self._clock.now()
            try:
                client = self._client(who, client_id, operator)
                result = client.acquire(scopes, fresh=fresh, ask=ask)
                needed = "" if operator is None else clients.consent_of(operator, resource, writing=writing)
                token = self._read(_granted(result, name, operator, needed), asked)
                if operator is not None:
                    self._expect(who, token, operator, client)
            except ExoscopeError as error:
                # msal remembers a refusal for a while: what asks again must be a new client.
                self._clients.pop((who, client_id), None)
                if not isinstance(error, Transient) or tried == TRIES:
                    raise
            except Exception as error:  # noqa: BLE001 - msal raises what requests raises, and ValueError for a bad authority
                self._clients.pop((who, client_id), None)
                failure = identities.failure_of(error, name, self._profile.endpoints.authority)
                if not isinstance(failure, Transient) or tried == TRIES:
                    raise failure from None
            else:
                log.info("signed in %s for %s with the client %s", name, resource, client_id or "of the machine")
                return token
            self._clock.sleep(2.0**tried)
        raise AssertionError("unreachable: the last try returns or raises")

    def _expect(self, who: str, token: Token, operator: Operator, client: Identity) -> None:
        """Is it the account that the profile names, or else the one that signed in for the other service?"""
        meant = operator.account or self._users.get(who)
        if meant is None or (token.user or "").casefold() == meant.casefold():
            if token.user is not None:
                self._users[who] = token.user
            return
        from exoscope.entra.identities import Person

        if isinstance(client, Person):
            client.forget_all_but(meant)
        whose = "the profile's account is" if operator.account else "for the other service it was"
        raise SignInFailed(
            f"{token.user or 'somebody without a name'} signed in; {whose} {meant}",
            code="wrong-account",
            next=f"Run the same command again and sign in as {meant}. This sign-in was not kept.",
        )

    def _read(self, result: Mapping[str, Any], asked: datetime) -> Token:
        text = str(result["access_token"])
        claims = claims_of(text)
        roles = claims.get("roles", []) if claims is not None else None
        scopes = claims.get("scp", "") if claims is not None else None
        claims = claims or {}
        person = result.get("id_token_claims")
        person = person if isinstance(person, dict) else {}
        return Token(
            secret=Secret(text, "access token"),
            issued_at=asked,
            expires_at=asked + timedelta(seconds=float(result.get("expires_in") or 0)),
            tenant_id=_text(claims.get("tid")),
            object_id=_text(claims.get("oid")),
            roles=tuple(str(role) for role in roles) if isinstance(roles, list) else None,
            # The account of another tenant (a partner's) has no upn here, but a unique_name.
            user=_text(claims.get("upn"))
            or _text(claims.get("preferred_username"))
            or _text(claims.get("unique_name"))
            or _text(person.get("preferred_username")),
            scopes=tuple(scopes.split()) if isinstance(scopes, str) else None,
            client_id=_text(claims.get("appid")) or _text(claims.get("azp")),
            kept=result.get("token_source") == "cache",
        )

    # -- identities --------------------------------------------------------------------------------------------

    def _client(self, who: str, client_id: str, operator: Operator | None) -> Identity:
        key = (who, client_id)
        if key not in self._clients:
            self._clients[key] = (
                self._app_client(who) if operator is None else self._operator_client(who, client_id, operator)
            )
        return self._clients[key]

    def _operator_client(self, who: str, client_id: str, operator: Operator) -> Identity:
        from exoscope.entra.identities import Confidential, ManagedIdentity, Person, credential

        if operator.managed_identity:
            return ManagedIdentity(operator.client_id)
        if operator.interactive or operator.device_code:
            return Person(
                client_id,
                operator,
                self._common(),
                cache=self._cache(who, operator),
                say=self._say,
                at_terminal=self._at_terminal,
                hint=lambda: self._users.get(who),
            )
        if operator.federated is not None:
            return Confidential(client_id, {"client_assertion": self._assertion(operator)}, self._common())
        return Confidential(
            client_id, credential(operator.secret, operator.certificate, operator.passphrase), self._common()
        )

    def _assertion(self, operator: Operator) -> Callable[[], str]:
        from exoscope.entra import federation

        federated, audience = operator.federated, self._profile.cloud_endpoints.federation_audience
        if federated is None:
            raise BadInput("the operator names no platform whose token signs it in")
        return lambda: federation.assertion(federated, audience).reveal()

    def _cache(self, who: str, operator: Operator) -> Any:
        if who not in self._caches:
            from exoscope.entra import keeping

            found = keeping.cache_of(self._profile, operator)
            if found is None:
                from exoscope.entra.identities import memory

                found = memory()
            self._caches[who] = found
        return self._caches[who]

    def _app_client(self, app_id: str) -> Identity:
        from exoscope.entra.identities import Confidential, credential

        if app_id in self._given:
            return Confidential(app_id, self._given[app_id], self._common())
        held = self._profile.credential(app_id)
        if held is None:
            raise SignInFailed(
                f"the profile has no credential of the app {app_id}",
                code="no-credential",
                next=f'Add [apps."{app_id}"] with secret or certificate, so that Graph can be asked as the app.',
            )
        return Confidential(app_id, credential(held.secret, held.certificate, held.passphrase), self._common())

    def _common(self) -> dict[str, Any]:
        from exoscope.origins import OriginSession

        ends = self._profile.endpoints
        origins = [ends.authority] if ends.own else [ends.authority, DISCOVERY]
        return {
            "authority": f"{ends.authority}/{self._profile.tenant}",
            "instance_discovery": False if ends.own else None,
            "http_client": OriginSession(origins, ends.ca),
        }


def _granted(result: Mapping[str, Any], name: str, operator: Operator | None, needed: str) -> Mapping[str, Any]:
    """msal's answer where it holds a token. Raises what else it says, as one of our errors."""
    if "access_token" not in result:
        raise error_of(result, name, kind="" if operator is None else operator.kind, consent=needed)
    return result


def claims_of(token: str) -> dict[str, Any] | None:
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
