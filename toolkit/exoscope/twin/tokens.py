"""The twin's access tokens: JWTs it signs and reads itself. The only file of the twin that touches PyJWT.

A token carries the roles its app held when it was issued, and acts until it ends, whatever changes meanwhile: so do Entra's
(configurable-token-lifetimes). ``exp`` is a JSON number with a fraction, so that a short lifetime is not rounded up.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.clock import Clock
from exoscope.model import Noun

EXCHANGE_ADMINISTRATOR = "29232cdf-9323-42fd-ade2-1d097af3e4de"  # template ids of Entra's roles
# Stands in every token of its kind, whatever roles there are (msgraph-sdk-powershell, issue 1782, of an application).
_EVERYBODY = {"app": "0997a1d0-0d1d-4acb-b408-d5ca73121e90", "user": "b79fbf4d-3ef9-4689-8143-76b194e85509"}
AUDIENCES = {GRAPH: "https://graph.microsoft.com", EXCHANGE: "https://outlook.office365.com"}


class Principal(Noun, frozen=True):
    """Who a token speaks for. ``roles`` are of the token's time, on ``resource``; ``operator``: the sandbox's own operator."""

    app_id: str
    object_id: str
    resource: str
    roles: tuple[str, ...]
    operator: bool
    user: str | None
    issued_at: datetime
    expires_at: datetime


class TokenRefused(Exception):
    """A token that does not act here; the text is for the answer's message and holds nothing of the token."""


class Tokens:
    """Signs and reads the tokens of one tenant. ``lifetime`` in seconds; ``operator_lifetime`` of the operator's, else the same.

    ``directory_roles``: template ids of the Entra roles that are active for the operator.
    """

    def __init__(
        self, tenant_id: str, clock: Clock, *, lifetime: float, operator_lifetime: float | None = None
    ) -> None:
        self.tenant_id = tenant_id
        self.clock = clock
        self.lifetime = lifetime
        self.operator_lifetime = lifetime if operator_lifetime is None else operator_lifetime
        self.directory_roles: tuple[str, ...] = (EXCHANGE_ADMINISTRATOR,)
        self.issuer = f"https://sts.windows.net/{tenant_id}/"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._key.public_key()
        numbers = self._public.public_numbers()
        self._jwk = {"kty": "RSA", "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e)}
        self._issued = 0
        self._ended: dict[str, int] = {}  # by resource: the number of the last token that was ended before its time
        self.key_id = base64.urlsafe_b64encode(hashlib.sha256(json.dumps(self._jwk).encode()).digest())[:27].decode()

    def issue(
        self,
        *,
        app_id: str,
        object_id: str,
        resource: str,
        roles: Sequence[str],
        operator: bool = False,
        user: str | None = None,
    ) -> str:
        """A token for ``resource`` (a resource's app id). Without roles it has no ``roles`` claim, as Entra's has none."""
        now = self.clock.now()
        lifetime = self.operator_lifetime if operator else self.lifetime
        self._issued += 1
        claims: dict[str, Any] = {
            "aud": AUDIENCES.get(resource, resource),
            "iss": self.issuer,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": (now + timedelta(seconds=lifetime)).timestamp(),
            "appid": app_id,
            "oid": object_id,
            "sub": object_id,
            "tid": self.tenant_id,
            "ver": "1.0",
            "idtyp": "user" if user else "app",
            "twin_number": self._issued,
        }
        claims["wids"] = [*(self.directory_roles if operator else ()), _EVERYBODY[claims["idtyp"]]]
        if roles and not user:
            claims["roles"] = sorted(roles)
        if user:
            claims["upn"] = user
            claims["scp"] = " ".join(sorted(roles))
        if operator:
            claims["twin_operator"] = True
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self.key_id})

    def identify(self, *, client: str, object_id: str, user: str, nonce: str | None) -> str:
        """An id token: who signed in, for the client."""
        now = int(self.clock.now().timestamp())
        claims = {
            "aud": client,
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "oid": object_id,
            "sub": object_id,
            "tid": self.tenant_id,
            "preferred_username": user,
            "ver": "2.0",
            **({"nonce": nonce} if nonce else {}),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self.key_id})

    def read(self, token: str, resource: str) -> Principal:
        """Whom a token speaks for at ``resource``. Raises TokenRefused when it is not ours, has ended or is for another."""
        try:
            claims = jwt.decode(
                token,
                self._public,
                algorithms=["RS256"],
                # our own clock decides about time: it may be a test's
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError:
            raise TokenRefused("CompactToken parsing failed or its signature is not this tenant's.") from None
        if claims["aud"] != AUDIENCES.get(resource, resource):
            raise TokenRefused("Access token validation failure. Invalid audience.")
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        if self.clock.now() >= expires or claims["twin_number"] <= self._ended.get(resource, 0):
            raise TokenRefused("Lifetime validation failed, the token is expired.")
        user = claims.get("upn")
        roles = claims["scp"].split() if user else claims.get("roles", [])
        return Principal(
            app_id=claims["appid"],
            object_id=claims["oid"],
            resource=resource,
            roles=tuple(roles),
            operator=bool(claims.get("twin_operator")),
            user=user,
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=expires,
        )

    def end_all(self, resource: str) -> None:
        """From now on ``resource`` refuses every token issued so far, as it does when an administrator ends them early."""
        self._ended[resource] = self._issued

    def jwks(self) -> dict[str, Any]:
        """The public key, as Entra publishes its own."""
        return {"keys": [{**self._jwk, "kid": self.key_id, "x5t": self.key_id}]}


def thumbprints(certificate: bytes) -> dict[str, str]:
    """A certificate's (DER) ``x5t#S256`` and ``x5t``: base64url of SHA-256 and SHA-1, without padding."""
    sha1 = hashlib.sha1(certificate, usedforsecurity=False).digest()
    return {"x5t#S256": _text(hashlib.sha256(certificate).digest()), "x5t": _text(sha1)}


def read_assertion(assertion: str, certificate: bytes) -> dict[str, Any]:
    """The claims of a client assertion signed with this certificate's key (DER), times unchecked. Raises TokenRefused."""
    from cryptography import x509

    key = x509.load_der_x509_certificate(certificate).public_key()
    try:
        return jwt.decode(
            assertion,
            key,  # type: ignore[arg-type]  # PyJWT names the key types it takes; another one is an InvalidTokenError
            algorithms=["PS256", "RS256"],
            options={"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except (jwt.InvalidTokenError, TypeError):
        raise TokenRefused("the signature is not of this certificate's key") from None


def assertion_header(assertion: str) -> dict[str, Any]:
    """The header of a client assertion, unverified. Raises TokenRefused when it is no JWT."""
    try:
        return jwt.get_unverified_header(assertion)
    except jwt.InvalidTokenError:
        raise TokenRefused("the assertion is no JWT") from None


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
