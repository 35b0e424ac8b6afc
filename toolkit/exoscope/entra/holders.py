"""What the operator's token says beside whom it is for: permissions, and the Entra roles that were active when it was issued.

Source of ``wids``: access-token-claims-reference (tenant-wide roles of the holder, by template id); that tokens of applications
carry it too is seen in msgraph-sdk-powershell, issue 1782. The authority gave us the token over TLS just now, so its signature
need not be looked at.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from exoscope.model import Noun, Secret


class Holder(Noun, frozen=True):
    """``permissions``: application permissions, or (of a person) delegated ones. ``directory_roles``: template ids of active Entra
    roles; None: the token does not tell. ``object_id`` and ``user`` (None: an application) say who.
    """

    permissions: tuple[str, ...]
    directory_roles: tuple[str, ...] | None
    object_id: str | None
    user: str | None


def holder_of(token: Secret) -> Holder | None:
    """What a token says of its holder; None: it cannot be read."""
    claims = _claims(token.reveal())
    if claims is None:
        return None
    user = next((claims[name] for name in ("upn", "preferred_username") if isinstance(claims.get(name), str)), None)
    scopes, roles, wids = claims.get("scp"), claims.get("roles"), claims.get("wids")
    permissions = scopes.split() if user is not None and isinstance(scopes, str) else roles if user is None else []
    oid = claims.get("oid")
    return Holder(
        permissions=tuple(str(each) for each in permissions) if isinstance(permissions, list) else (),
        directory_roles=tuple(str(each).casefold() for each in wids) if isinstance(wids, list) else None,
        object_id=oid if isinstance(oid, str) else None,
        user=user,
    )


def _claims(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
