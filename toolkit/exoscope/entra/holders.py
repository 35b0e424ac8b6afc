"""What the operator's token says beside whom it is for: permissions, and the Entra roles that were active when it was issued.

Source of ``wids``: access-token-claims-reference (tenant-wide roles of the holder, by template id); that tokens of applications
carry it too is seen in msgraph-sdk-powershell, issue 1782. The authority gave us the token over TLS just now, so its signature
need not be looked at.
"""

from __future__ import annotations

from exoscope.entra.tokens import Token, claims_of
from exoscope.model import Noun


class Holder(Noun, frozen=True):
    """``permissions``: application permissions, or (of a person) delegated ones. ``directory_roles``: template ids of active Entra
    roles; None: the token does not tell. ``object_id`` and ``user`` (None: an application) say who.
    """

    permissions: tuple[str, ...]
    directory_roles: tuple[str, ...] | None
    object_id: str | None
    user: str | None


def holder_of(token: Token) -> Holder | None:
    """What a token says of its holder; None: it cannot be read."""
    permissions = token.roles if token.user is None else token.scopes
    if permissions is None:
        return None
    wids = (claims_of(token.secret.reveal()) or {}).get("wids")
    return Holder(
        permissions=permissions,
        directory_roles=tuple(str(each).casefold() for each in wids) if isinstance(wids, list) else None,
        object_id=token.object_id,
        user=token.user,
    )
