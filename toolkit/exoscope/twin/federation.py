"""The twin's federated identity credentials: an app signs in with a token of a platform that it trusts.

Sources: Graph's federatedIdentityCredential (issuer, subject and audience must equal the token's claims, case and trailing slashes
included); Azure workload identity's and GitLab's troubleshooting pages for the codes: 70021 (none matches at all), 700211 issuer,
700212 audience, 700213 subject.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import jwt

from exoscope.model import Noun
from exoscope.twin.aadsts import AadSts

AUDIENCE = "api://AzureADTokenExchange"


class Credential(Noun, frozen=True):
    """What an app trusts: a token of this issuer, about this subject, meant for this audience."""

    issuer: str
    subject: str
    audience: str = AUDIENCE


class Federation:
    """The federated credentials of all apps, and the keys of the platforms."""

    def __init__(self) -> None:
        self._held: dict[str, list[Credential]] = {}
        self._keys: dict[str, Any] = {}
        self._lock = threading.Lock()

    def trust(self, issuer: str, public_key: Any) -> None:
        """A platform's public key, as it would be found in the issuer's OpenID configuration."""
        self._keys[issuer] = public_key

    def add(self, app_id: str, credential: Credential) -> None:
        """Let an app sign in with such tokens."""
        with self._lock:
            self._held.setdefault(app_id.casefold(), []).append(credential)

    def is_platforms(self, client: str, assertion: str) -> bool:
        """Is this a platform's token, and no assertion that the app signed itself, with a certificate?"""
        try:
            header = jwt.get_unverified_header(assertion)
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            with self._lock:
                return client.casefold() in self._held
        signed = "x5t" in header or "x5t#S256" in header
        return not signed and str(claims.get("iss", "")).casefold() != client.casefold()

    def prove(self, client: str, assertion: str, now: datetime) -> None:
        """Raises AadSts where the token is not one that this app trusts."""
        with self._lock:
            held = list(self._held.get(client.casefold(), ()))
        try:
            claims = jwt.decode(assertion, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise AadSts(50027) from None
        issuer, subject, audience = (str(claims.get(name, "")) for name in ("iss", "sub", "aud"))
        if not held:
            raise AadSts(70021, issuer=issuer, subject=subject, audience=audience)
        left = [each for each in held if each.issuer == issuer]
        if not left:
            raise AadSts(700211, name=issuer)
        left = [each for each in left if each.audience == audience]
        if not left:
            raise AadSts(700212, name=audience)
        if not any(each.subject == subject for each in left):
            raise AadSts(700213, name=subject)
        self._signed(issuer, assertion)
        begins, ends = claims.get("nbf", claims.get("iat", 0)), claims.get("exp")
        if not isinstance(ends, int | float) or not isinstance(begins, int | float):
            raise AadSts(700024)
        if not begins - 300 <= now.timestamp() < ends + 300:
            raise AadSts(700024)

    def _signed(self, issuer: str, assertion: str) -> None:
        key = self._keys.get(issuer)
        if key is None:
            raise AadSts(50013)
        unchecked = {"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            jwt.decode(assertion, key, algorithms=["RS256"], options=unchecked)  # type: ignore[arg-type]  # a dict is its own type there
        except (jwt.InvalidTokenError, TypeError):
            raise AadSts(50013) from None
