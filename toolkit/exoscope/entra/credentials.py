"""An application's secrets and certificates over Graph: found, listed, added, read back, removed.

Sources: application-addpassword (the value comes once), application-removepassword, application-update (keyCredentials replace
the collection), keycredential (``key`` comes only where a single object is read with ``$select``),
applications-how-to-add-certificate (what is not named again is gone), tenantappmanagementpolicy-get. Lists and refusals lag behind
writes (facts, 4.5): every wait is bounded.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from msgspec import UNSET

from exoscope.clock import Clock, iso
from exoscope.entra.certificates import PublicCertificate
from exoscope.entra.graph import EVENTUAL, GraphClient
from exoscope.entra.inventory import parse_credentials
from exoscope.model import Credential, Noun, Secret
from exoscope.outcome import (
    AccessDenied,
    Ambiguous,
    BadInput,
    Exit,
    NotFound,
    ObjectNotFound,
    Refused,
    ServiceError,
    Unreadable,
)

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SELECT = "id,appId,displayName,passwordCredentials,keyCredentials"
_YEAR = timedelta(days=366)
_NOT_THERE = "No password credential found"
NEEDS = "Give the operator Application.ReadWrite.All (or .OwnedBy, for an app that it made itself), and sign in anew."
Found = TypeVar("Found")
Body = dict[str, Any]


class Application(Noun, frozen=True):
    """A registration in this tenant with its credentials as listed; expired ones too."""

    object_id: str
    app_id: str
    display_name: str
    credentials: tuple[Credential, ...]


class NewSecret(Noun, frozen=True):
    """A secret just made. Its value is nowhere else: hand it over or lose it. ``ends`` as Graph says it."""

    key_id: str
    value: Secret
    ends: str


class CredentialPolicy(Noun, frozen=True):
    """What the tenant's default policy says of applications' credentials. None: nothing; for a lifetime, that it sets none.

    A policy of the app's own may say otherwise, so this explains refusals and chooses defaults; Entra decides.
    """

    secrets: bool
    secret_lifetime: timedelta | None
    certificate_lifetime: timedelta | None


# -- finding -----------------------------------------------------------------------------------------------------------


def find_application(graph: GraphClient, name: str) -> Application:
    """A registration by app id, object id (its own or its service principal's) or display name.

    Raises NotFound, Ambiguous naming candidates, Refused (``registered-elsewhere``), and the ServiceError family.
    """
    if _GUID.fullmatch(name):
        return _by_id(graph, name)
    rows = _named(graph, "applications", name)
    if len(rows) > 1:
        listed = ", ".join(sorted(str(row["appId"]) for row in rows))
        raise Ambiguous(f"{name} is the name of more than one app: {listed}", next="Name one of them by its appId.")
    if rows:
        return read_application(graph, str(rows[0]["id"]))
    if _named(graph, "servicePrincipals", name):
        raise _elsewhere(name)
    raise NotFound(f"no app registered in this tenant is called {name}", next="Name it by its appId.")


def _by_id(graph: GraphClient, id: str) -> Application:
    for path in (f"/applications(appId='{id}')", f"/applications/{id}"):
        row = _get(graph, f"{path}?$select=id,appId")
        if row is not None:
            return read_application(graph, str(row["id"]))
    for path in (f"/servicePrincipals/{id}", f"/servicePrincipals(appId='{id}')"):
        principal = _get(graph, f"{path}?$select=id,appId")
        if principal is not None:
            row = _get(graph, f"/applications(appId='{principal['appId']}')?$select=id,appId")
            if row is None:
                raise _elsewhere(id)
            return read_application(graph, str(row["id"]))
    raise NotFound(f"this tenant has no app {id}", next="A new app can take a minute to be found everywhere.")


def _get(graph: GraphClient, path: str) -> Body | None:
    try:
        return graph.get(path)
    except ObjectNotFound:
        return None


def _named(graph: GraphClient, kind: str, name: str) -> list[Body]:
    wanted = quote(name.replace("'", "''"), safe="")
    return list(graph.pages(f"/{kind}?$filter=displayName eq '{wanted}'&$select=id,appId,displayName"))


def _elsewhere(name: str) -> Refused:
    return Refused(
        f"{name} is registered in another tenant: its credentials are that tenant's",
        code="registered-elsewhere",
        next="Ask the app's owner. What stands here is its service principal only.",
    )


def list_applications(graph: GraphClient) -> Iterator[Application]:
    """Every registration of the tenant. Raises Unreadable where Graph leaves credentials out, and the ServiceError family."""
    for row in graph.pages(f"/applications?$select={_SELECT}&$top=999"):
        yield _application(row)


def read_application(graph: GraphClient, object_id: str) -> Application:
    """One registration, read now. Raises ObjectNotFound, Unreadable …"""
    return _application(graph.get(f"/applications/{object_id}?$select={_SELECT}"))


def _application(row: Body) -> Application:
    credentials = parse_credentials(row)
    if credentials is UNSET:
        raise Unreadable(f"Graph answered the app {row.get('appId')} without its credentials")
    return Application(str(row["id"]), str(row["appId"]), str(row.get("displayName") or ""), credentials)


# -- adding ------------------------------------------------------------------------------------------------------------


def add_secret(graph: GraphClient, application: Application, *, display_name: str, ends: datetime) -> NewSecret:
    """Make a secret. Its value is in the answer and nowhere else.

    Raises Refused (``lifetime-not-allowed``, ``secrets-not-allowed``: the tenant's policy), AccessDenied; Transient and Deadline
    leave the outcome unknown: a secret whose value nobody knows may stand there under this display name.
    """
    body = {"passwordCredential": {"displayName": display_name, "endDateTime": iso(ends)}}
    try:
        answer = graph.patiently("POST", f"/applications/{application.object_id}/addPassword", body).body
    except ServiceError as error:
        raise _explained(graph, error) from None
    value, key_id = answer.get("secretText"), answer.get("keyId")
    if not isinstance(value, str) or not value or not isinstance(key_id, str):
        raise ServiceError(
            "Graph made a secret and did not answer its value",
            code="unexpected-answer",
            changed=True,
            next=f"Remove the secret called {display_name} in Entra.",
        )
    return NewSecret(key_id, Secret(value, "a new secret"), str(answer.get("endDateTime") or iso(ends)))


def add_certificate(
    graph: GraphClient,
    application: Application,
    certificate: PublicCertificate,
    *,
    display_name: str,
    clock: Clock,
    expected: Collection[str] = (),
) -> Credential:
    """Add a certificate beside those that are there, and read it back.

    ``expected``: key ids of certificates known to be there; a list that lacks one is stale, and writing it back would drop it.
    Raises as :func:`add_secret`; BadInput where the certificate has ended or is there already; Unreadable (``stale-list``).
    """
    if certificate.ends <= clock.now():
        raise BadInput(f"the certificate {certificate.thumbprint} ended at {iso(certificate.ends)}")
    wanted = {each.casefold() for each in expected}

    def fresh() -> list[Body] | None:
        rows = _keys(graph, application)
        return rows if wanted <= {str(row["keyId"]).casefold() for row in rows} else None

    before = _until(fresh, clock, "the list of certificates")
    if any(_is(row, certificate) for row in before):
        raise BadInput(f"the app has the certificate {certificate.thumbprint} already", code="certificate-there")
    key: Body = {
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "key": base64.b64encode(certificate.der).decode("ascii"),
        "displayName": display_name,
    }
    if certificate.ends - certificate.begins <= _YEAR:
        # a longer one: Entra gives it an end of its own, which the answer tells
        key |= {"startDateTime": iso(certificate.begins), "endDateTime": iso(certificate.ends)}
    try:
        graph.patiently("PATCH", f"/applications/{application.object_id}", {"keyCredentials": [*before, key]})
    except ServiceError as error:
        raise _explained(graph, error) from None
    kept = {str(row["keyId"]).casefold() for row in before}

    def added() -> Body | None:
        rows = _keys(graph, application)
        mine = [row for row in rows if _is(row, certificate)]
        whole = kept <= {str(row["keyId"]).casefold() for row in rows}
        return mine[0] if mine and whole else None

    row = _until(added, clock, f"the certificate {display_name}", changed=True)
    return Credential(
        "certificate", str(row["keyId"]), row.get("displayName"), row.get("startDateTime"), row.get("endDateTime")
    )


def seen(graph: GraphClient, application: Application, key_id: str, clock: Clock) -> Credential:
    """A credential just made, once Graph lists it. Raises Unreadable (``stale-list``) where it does not within a minute."""

    def look() -> Credential | None:
        return _of(read_application(graph, application.object_id), key_id)

    return _until(look, clock, f"the credential {key_id}", changed=True)


# -- removing ----------------------------------------------------------------------------------------------------------


def remove_credential(graph: GraphClient, application: Application, key_id: str, clock: Clock) -> None:
    """Remove a secret or certificate, and read that it is gone. One that is gone already is success.

    Raises Unreadable (``stale-list``) where Graph goes on listing it, and the ServiceError family.
    """
    held = _of(read_application(graph, application.object_id), key_id)
    if held is None:
        return
    if held.kind == "secret":
        _remove_secret(graph, application, key_id, clock)
    else:
        rows = [row for row in _keys(graph, application) if str(row["keyId"]).casefold() != key_id.casefold()]
        graph.patiently("PATCH", f"/applications/{application.object_id}", {"keyCredentials": rows})

    def gone() -> bool | None:
        return None if _of(read_application(graph, application.object_id), key_id) is not None else True

    _until(gone, clock, f"that the credential {key_id} is gone", changed=True)


def _remove_secret(graph: GraphClient, application: Application, key_id: str, clock: Clock) -> None:
    def remove() -> bool | None:
        try:
            graph.patiently("POST", f"/applications/{application.object_id}/removePassword", {"keyId": key_id})
        except ServiceError as error:
            if _NOT_THERE not in error.message:
                raise
            # gone already, or not known everywhere yet: the list tells which
            return None if _of(read_application(graph, application.object_id), key_id) is not None else True
        return True

    _until(remove, clock, f"that the secret {key_id} can be removed")


# -- the tenant's policy -------------------------------------------------------------------------------------------------


def credential_policy(graph: GraphClient) -> CredentialPolicy | None:
    """The default policy, as far as it is on; None: this operator may not read it (it needs Policy.Read.All)."""
    try:
        row = graph.get("/policies/defaultAppManagementPolicy")
    except (AccessDenied, ObjectNotFound):
        return None
    rules = row.get("applicationRestrictions") if row.get("isEnabled") else None
    rules = rules if isinstance(rules, dict) else {}
    passwords = _enabled(rules.get("passwordCredentials"))
    return CredentialPolicy(
        secrets="passwordAddition" not in passwords,
        secret_lifetime=_span(passwords.get("passwordLifetime")),
        certificate_lifetime=_span(_enabled(rules.get("keyCredentials")).get("asymmetricKeyLifetime")),
    )


def _enabled(rows: Any) -> dict[str, Any]:
    found = rows if isinstance(rows, list) else []
    return {
        str(row.get("restrictionType")): row.get("maxLifetime")
        for row in found
        if isinstance(row, dict) and row.get("state", "enabled") != "disabled"
    }


def _span(text: Any) -> timedelta | None:
    """An ISO 8601 duration of days and smaller, as the policy's pages write it; None for any other."""
    found = re.fullmatch(
        r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?", str(text or ""), re.IGNORECASE
    )
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _explained(graph: GraphClient, error: ServiceError) -> Exception:
    """A refusal by the tenant's policy in words; anything else as it is. Nothing was made."""
    if error.service_code not in ("CredentialInvalidLifetimeAsPerAppPolicy", "CredentialTypeNotAllowedAsPerAppPolicy"):
        if isinstance(error, AccessDenied):
            error.next = NEEDS
        return error
    try:
        policy = credential_policy(graph)
    except ServiceError:
        policy = None
    if error.service_code == "CredentialTypeNotAllowedAsPerAppPolicy":
        return Refused(
            f"the tenant's app management policy does not let this app have such a credential ({error.message})",
            code="secrets-not-allowed",
            next="Take a certificate (--kind certificate), or have the policy exempt this app.",
        )
    told = (
        [each for each in (policy.secret_lifetime, policy.certificate_lifetime) if each is not None] if policy else []
    )
    longest = f" The tenant's default policy allows {_words(min(told))} at most." if told else ""
    return Refused(
        f"the tenant's app management policy does not let a credential live that long ({error.message}).{longest}",
        code="lifetime-not-allowed",
        next=f"Ask for a shorter --lifetime{f', such as {_words(min(told))}' if told else ''}.",
    )


def _words(span: timedelta) -> str:
    """A span as ``--lifetime`` takes it, rounded down."""
    return f"{span.days}d" if span.days else f"{span.seconds // 3600}h"


# -- helpers -----------------------------------------------------------------------------------------------------------


def _of(application: Application, key_id: str) -> Credential | None:
    return next((each for each in application.credentials if each.key_id.casefold() == key_id.casefold()), None)


def _keys(graph: GraphClient, application: Application) -> list[Body]:
    """The certificates as they must be written again: every property that Graph gives, their bytes too."""
    rows = graph.get(f"/applications/{application.object_id}?$select=id,keyCredentials").get("keyCredentials")
    if not isinstance(rows, list):
        raise Unreadable(f"Graph answered the app {application.app_id} without its certificates")
    return [{key: value for key, value in row.items() if not key.startswith("@odata.")} for row in rows]


def _is(row: Body, certificate: PublicCertificate) -> bool:
    return row.get("key") == base64.b64encode(certificate.der).decode("ascii")


def _until(look: Callable[[], Found | None], clock: Clock, what: str, *, changed: bool = False) -> Found:
    """Look until there is something, for about a minute."""
    for pause in (*EVENTUAL, None):
        found = look()
        if found is not None:
            return found
        if pause is not None:
            clock.sleep(pause)
    raise Unreadable(
        f"Graph does not show {what}, a minute after it was written",
        code="stale-list",
        changed=changed,
        exit=Exit.STOPPED if changed else None,
        next="Its lists lag behind at times: look again later with exoscope credentials list.",
    )
