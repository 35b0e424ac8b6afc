"""Which tenant a domain belongs to, and in which cloud: from the OpenID configuration that each cloud's authority publishes.

No sign-in is needed for that document. Sources: OpenID Connect Discovery and Microsoft's "OpenID Connect on the identity
platform" for the document and its issuer; what ``tenant_region_sub_scope`` means (DODCON: GCC High, DOD: the Department of
Defense) is documented nowhere by Microsoft and known from public clients only. So it is believed where it stands, and where it
does not, the choice between the two is left to whoever knows: a wrong guess would send tokens to the wrong cloud.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import quote, urlsplit

from exoscope.catalog import CLOUDS
from exoscope.model import Noun
from exoscope.model.tenant import Cloud
from exoscope.origins import OriginSession, origin_of
from exoscope.outcome import BadInput, ServiceError, Transient

Ask = Callable[[str], Mapping[str, Any] | None]
"""Fetches a URL's JSON object; None: the authority knows no such tenant. Raises Transient."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DOMAIN = re.compile(r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}")
_SUB_SCOPES: Mapping[str, Cloud] = {"DODCON": "gcc-high", "DOD": "dod"}


class Discovered(Noun, frozen=True):
    """A tenant's id, and the clouds it may be in: one, or both of those of the US government where the document does not say."""

    tenant_id: str
    clouds: tuple[Cloud, ...]


def discover(name: str, ask: Ask, *, authorities: Mapping[str, tuple[Cloud, ...]] | None = None) -> Discovered:
    """The tenant of a domain (or a tenant id). ``authorities``: origins and the clouds each serves; else Microsoft's own.

    Raises BadInput (``tenant-unknown``: no cloud knows it), Transient (one that might could not be asked), ServiceError.
    """
    wanted = name.strip().casefold()
    if not (_GUID.fullmatch(wanted) or _DOMAIN.fullmatch(wanted)):
        raise BadInput(f"{name!r} is no domain and no tenant id", next="Write a domain of the tenant: contoso.com.")
    silent: list[str] = []
    for authority, clouds in (authorities or known_authorities()).items():
        try:
            document = ask(f"{authority}/{quote(wanted)}/v2.0/.well-known/openid-configuration")
        except Transient as error:
            silent.append(error.message)
            continue
        if document is not None:
            return _read(document, authority, clouds, name)
    if silent:
        raise Transient(
            f"whose domain {name} is cannot be told: {'; '.join(silent)}", next="Check the network and proxy."
        )
    raise BadInput(
        f"no cloud knows the tenant {name}",
        code="tenant-unknown",
        next="Check the spelling; a domain must be verified in the tenant. The closed German cloud is not supported.",
    )


def known_authorities() -> dict[str, tuple[Cloud, ...]]:
    """Microsoft's authorities, each with the clouds that sign in there."""
    found: dict[str, tuple[Cloud, ...]] = {}
    for each, endpoints in CLOUDS.items():
        found[endpoints.authority] = (*found.get(endpoints.authority, ()), cast("Cloud", each))
    return found


def _read(document: Mapping[str, Any], asked: str, clouds: tuple[Cloud, ...], name: str) -> Discovered:
    issuer = str(document.get("issuer", ""))
    tenant = urlsplit(issuer).path.strip("/").partition("/")[0].casefold()
    # An authority answers for tenants of another cloud too, and names that cloud's endpoint for tokens: that one counts.
    try:
        authority = origin_of(str(document.get("token_endpoint") or issuer))
    except ValueError:
        authority = ""
    if not _GUID.fullmatch(tenant):
        raise ServiceError(f"{asked} answered for {name} without a tenant's id", code="unexpected-answer")
    if authority != origin_of(asked):
        clouds = known_authorities().get(authority, ())
        if not clouds:
            raise ServiceError(f"{asked} sends {name} to {authority}, which is no known cloud", code="foreign-origin")
    told = _SUB_SCOPES.get(str(document.get("tenant_region_sub_scope") or "").upper())
    return Discovered(tenant, (told,) if told in clouds else clouds)


def asker(origins: Mapping[str, object], ca: Any = None) -> Ask:
    """Asks over HTTPS, of these origins only."""
    import requests

    session = OriginSession(origins, ca)

    def ask(url: str) -> Mapping[str, Any] | None:
        host = urlsplit(url).netloc
        try:
            answer = session.get(url)
        except requests.exceptions.SSLError:
            raise ServiceError(
                f"the certificate of {host} is not trusted",
                code="untrusted-endpoint",
                next="Name the CA that signed it in REQUESTS_CA_BUNDLE.",
            ) from None
        except requests.exceptions.RequestException as error:
            raise Transient(f"{host} cannot be reached ({type(error).__name__})") from None
        if answer.status_code in (400, 404):
            return None  # AADSTS90002 and 900023 come so: no such tenant here
        if answer.status_code != 200:
            raise Transient(f"{host} answered HTTP {answer.status_code}")
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Transient(f"{host} answered something else than a configuration")
        return document

    return ask
