"""What a token says of its holder: an application's roles, a person's scopes, Entra roles; and what cannot be read is not empty."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from exoscope.entra.holders import Holder, holder_of
from exoscope.entra.tokens import Token
from exoscope.model import Secret


def token(claims: dict[str, Any] | None, **fields: Any) -> Token:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    text = "opaque" if claims is None else f"h.{body}.s"
    now = datetime(2026, 11, 26, tzinfo=UTC)
    held: dict[str, Any] = {"tenant_id": "t", "object_id": "o", "roles": (), "scopes": (), **fields}
    return Token(secret=Secret(text, "access token"), issued_at=now, expires_at=now, **held)


def test_an_application_holds_roles_and_a_person_scopes() -> None:
    wids = {"wids": ["29232CDF-9323-42FD-ADE2-1D097AF3E4DE"]}
    role = "29232cdf-9323-42fd-ade2-1d097af3e4de"
    app = token(wids, roles=("User.Read.All",), scopes=("Mail.Read",))
    assert holder_of(app) == Holder(("User.Read.All",), (role,), "o", None)
    person = token(wids, roles=(), scopes=("User.Read.All",), user="ada@contoso.com")
    assert holder_of(person) == Holder(("User.Read.All",), (role,), "o", "ada@contoso.com")


def test_what_is_not_told_is_not_none() -> None:
    found = holder_of(token({}))
    assert found is not None
    assert found.directory_roles is None, "a token without the claim says nothing of roles"
    empty = holder_of(token({"wids": []}))
    assert empty is not None and empty.directory_roles == ()
    assert holder_of(token(None, roles=None)) is None
    assert holder_of(token(None, scopes=None, user="ada@contoso.com")) is None
