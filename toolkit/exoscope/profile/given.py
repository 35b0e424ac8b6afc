"""What a command line names in place of a profile: a tenant, an app, its credential by reference. No error repeats a secret."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec

from exoscope.catalog import cloud as cloud_endpoints
from exoscope.model.tenant import Cloud
from exoscope.outcome import BadInput
from exoscope.profile.nouns import AppCredential, Endpoints, Profile, Scheme, SecretRef
from exoscope.profile.tables import DOMAIN, GUID

_SCHEMES = "env:NAME, file:PATH, keyring:SERVICE/USER or exec:COMMAND"


def is_guid(text: str) -> bool:
    """Has it the form of a Guid?"""
    return GUID.fullmatch(text) is not None


def reference(text: str, option: str) -> SecretRef:
    """A secret by reference, as an option gives it; a relative path starts from the current folder.

    Raises BadInput, which does not repeat the text: it may be the secret itself.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in get_args(Scheme) or not rest.strip():
        raise BadInput(f"{option} must be a reference ({_SCHEMES}), never a secret")
    if scheme == "keyring" and not all(rest.partition("/")):
        raise BadInput(f"{option} must be keyring:SERVICE/USER")
    return SecretRef(scheme=msgspec.convert(scheme, Scheme), text=rest, base=Path.cwd())


def profile_of_app(
    tenant: str, client_id: str, credential: AppCredential, *, cloud: str | None, like: Profile | None
) -> Profile:
    """A profile that holds one app and nobody else. ``like``: whose cloud and endpoints are taken; else those of ``cloud``.

    Raises BadInput for a tenant that is neither a Guid nor a domain, a client id that is no Guid, an unknown cloud.
    """
    if not is_guid(tenant) and not DOMAIN.fullmatch(tenant):
        raise BadInput("--tenant must be a Guid or a domain (never common or organizations)")
    if not is_guid(client_id):
        raise BadInput("--client-id must be an application (client) id, a Guid")
    known = like.cloud_endpoints if like is not None else cloud_endpoints(cloud or "worldwide")
    own = Endpoints(authority=known.authority, graph=known.graph, exchange=known.exchange)
    return Profile(
        path=Path("--client-id"),  # names it in messages
        tenant=tenant.casefold(),
        organization=tenant,
        cloud=msgspec.convert(known.name, Cloud),
        cloud_endpoints=known,
        endpoints=like.endpoints if like is not None else own,
        apps={client_id.casefold(): credential},
    )
