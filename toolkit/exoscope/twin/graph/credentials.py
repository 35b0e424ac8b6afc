"""An application's secrets and certificates: as Graph lists them, and as it adds and removes them.

Sources: application-addpassword, application-removepassword, application-update, passwordcredential, keycredential,
applications-how-to-add-certificate. From others: "No password credential found with keyId" (HashiCorp Vault's Azure engine looks
for that text), "Update to existing credential with KeyId '…' is not allowed." (azure-powershell #6784), and
KeyCredentialsInvalidEndDate "Key credential end date is invalid." (Microsoft365DSC #3426).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.clock import iso
from exoscope.model import App, Credential
from exoscope.twin.errors import Unread
from exoscope.twin.graph.app_management import AppManagement
from exoscope.twin.graph.errors import bad_request, not_modelled
from exoscope.twin.keychain import Held, new_secret
from exoscope.twin.registration import Registration
from exoscope.twin.tenant import TwinTenant

TWO_YEARS = 730  # days; "startDateTime + 2 years": application-addpassword
ONE_YEAR = timedelta(days=366)  # "a maximum of one year from the startDateTime": applications-how-to-add-certificate
_PASSWORD = {"displayName", "startDateTime", "endDateTime"}
_KEY = {"customKeyIdentifier", "displayName", "endDateTime", "key", "keyId", "startDateTime", "type", "usage"}


class Credentials:
    """Secrets and certificates of registrations. The caller has looked at permissions, and holds the tenant's lock to write."""

    def __init__(self, tenant: TwinTenant) -> None:
        self.tenant = tenant
        self.policy = AppManagement()
        self._removed: list[tuple[str, Credential]] = []  # by folded app id: lists may still show these

    # -- as lists show them ------------------------------------------------------------------------------------

    def rows(self, app: App, *, with_keys: bool = False) -> dict[str, Any]:
        """Both collections; nothing where the snapshot had them not. ``with_keys``: a certificate's own bytes too."""
        if app.credentials is UNSET:
            return {}
        spreading = self.tenant.spreading
        shown = [c for c in app.credentials if spreading.over(c.key_id)]
        shown += [c for owner, c in self._removed if owner == app.app_id.casefold() and not spreading.over(c.key_id)]
        known = self.tenant.registrations.of(app.app_id)
        return {
            "passwordCredentials": [_password(c, known.hints) for c in shown if c.kind == "secret"],
            "keyCredentials": [_key(c, known.keys, with_key=with_keys) for c in shown if c.kind == "certificate"],
        }

    # -- secrets -----------------------------------------------------------------------------------------------

    def add_password(self, app: App, body: Mapping[str, Any]) -> dict[str, Any]:
        """The new secret, with its value: nobody shows that again."""
        asked = body.get("passwordCredential") or {}
        if set(body) - {"passwordCredential"} or not isinstance(asked, dict) or set(asked) - _PASSWORD:
            raise not_modelled(
                "adding a password with other properties than displayName, startDateTime and endDateTime"
            )
        now = self.tenant.clock.now()
        starts = _moment(asked.get("startDateTime")) or now
        ends = _moment(asked.get("endDateTime")) or starts + timedelta(days=TWO_YEARS)
        if starts > now + timedelta(minutes=5) or ends <= now:
            raise not_modelled("a password that is not valid now")
        known = self.tenant.registrations.of(app.app_id)
        self.policy.check_secret(known.created, ends - starts)
        held = self._held(app)
        secret, key_id = new_secret(), str(uuid.uuid4())
        name = asked.get("displayName")
        made = Credential("secret", key_id, None if name is None else str(name), _long(starts), _long(ends))
        since = self.tenant.spreading.began(key_id)
        self.tenant.put_registered(replace(app, credentials=(*held, made)))
        self.tenant.registrations.put(app.app_id, replace(known, hints={**known.hints, key_id: secret[:3]}))
        self.tenant.keychain.add(app.app_id, Held(secret, None, ends, key_id, since))
        return {**_password(made, {key_id: secret[:3]}), "secretText": secret}

    def remove_password(self, app: App, body: Mapping[str, Any]) -> None:
        """Remove a secret by its key id."""
        if set(body) != {"keyId"} or not isinstance(body["keyId"], str):
            raise bad_request("Property keyId is required.")
        held = self._held(app)
        gone = [c for c in held if c.kind == "secret" and c.key_id.casefold() == body["keyId"].casefold()]
        if not gone or not self.tenant.spreading.over(gone[0].key_id):
            raise bad_request(f"No password credential found with keyId '{body['keyId']}'.")
        self._drop(app, gone)
        self.tenant.put_registered(replace(app, credentials=tuple(c for c in held if c not in gone)))

    # -- certificates ------------------------------------------------------------------------------------------

    def replace_keys(self, app: App, known: Registration, value: Any) -> tuple[App, Registration]:
        """The application with these certificates and no others: PATCH replaces the collection."""
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise bad_request("Invalid value specified for property 'keyCredentials' of resource 'Application'.")
        held = self._held(app)
        before = {c.key_id.casefold(): c for c in held if c.kind == "certificate"}
        kept: list[Credential] = []
        made: list[tuple[Credential, bytes]] = []
        for entry in value:
            if set(entry) - _KEY:
                raise not_modelled(f"a key credential with {', '.join(sorted(set(entry) - _KEY))}")
            old = before.get(str(entry.get("keyId") or "").casefold())
            if old is not None:
                kept.append(self._unchanged(app, old, entry))
            else:
                made.append(self._new_key(app, entry))
        stays = {c.key_id for c in kept}
        self._drop(app, [c for c in before.values() if c.key_id not in stays])
        keys = dict(known.keys)
        for credential, der in made:
            since = self.tenant.spreading.began(credential.key_id)
            keys[credential.key_id] = base64.b64encode(der).decode()
            self.tenant.keychain.add(app.app_id, Held(None, der, _moment(credential.end), credential.key_id, since))
        others = tuple(c for c in held if c.kind != "certificate")
        return replace(app, credentials=(*others, *kept, *(c for c, _ in made))), replace(known, keys=keys)

    def _unchanged(self, app: App, old: Credential, entry: Mapping[str, Any]) -> Credential:
        """An entry that names what is there: its key may be left out or null, and nothing may differ."""
        shown = _key(old, self.tenant.registrations.of(app.app_id).keys, with_key=True)
        for name, value in entry.items():
            if name == "customKeyIdentifier" or (name == "key" and value is None):
                continue
            same = _moment(value) == _moment(shown[name]) if name.endswith("DateTime") else value == shown[name]
            if not same:
                raise bad_request(f"Update to existing credential with KeyId '{old.key_id}' is not allowed.")
        return old

    def _new_key(self, app: App, entry: Mapping[str, Any]) -> tuple[Credential, bytes]:
        if entry.get("type") != "AsymmetricX509Cert" or entry.get("usage") != "Verify":
            raise not_modelled("a key credential that is no certificate to verify with")
        certificate = _certificate(entry.get("key"))
        der = certificate.public_bytes(Encoding.DER)
        known = self.tenant.registrations.of(app.app_id)
        if base64.b64encode(der).decode() in known.keys.values():
            raise not_modelled("adding a certificate that is there already")
        starts = _moment(entry.get("startDateTime")) or certificate.not_valid_before_utc
        longest = min(certificate.not_valid_after_utc, starts + ONE_YEAR)
        ends = _moment(entry.get("endDateTime")) or longest
        if ends > longest or ends <= starts or starts < certificate.not_valid_before_utc:
            raise bad_request("Key credential end date is invalid.", code="KeyCredentialsInvalidEndDate")
        self.policy.check_certificate(known.created, ends - starts)
        name = entry.get("displayName")
        name = certificate.subject.rfc4514_string() if name is None else str(name)
        return Credential("certificate", str(uuid.uuid4()), name, iso(starts), iso(ends)), der

    # -- both --------------------------------------------------------------------------------------------------

    def _held(self, app: App) -> tuple[Credential, ...]:
        if app.credentials is UNSET:
            raise Unread(f"credentials of {app.display_name}")
        return app.credentials

    def _drop(self, app: App, gone: Iterable[Credential]) -> None:
        for credential in gone:
            until = self.tenant.spreading.began(credential.key_id)
            self._removed.append((app.app_id.casefold(), credential))
            self.tenant.keychain.remove(app.app_id, credential.key_id, until=until)


def _certificate(value: Any) -> x509.Certificate:
    try:
        data = base64.b64decode(str(value or ""), validate=True)
        return x509.load_der_x509_certificate(data)
    except (binascii.Error, ValueError):
        raise not_modelled("a key that is no certificate in DER, as base64") from None


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise bad_request(f"Cannot convert the literal '{value}' to the expected type 'Edm.DateTimeOffset'.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _long(moment: datetime) -> str:
    """With seven digits of a second, as Graph writes what it made itself."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _password(credential: Credential, hints: Mapping[str, str]) -> dict[str, Any]:
    return {
        **_common(credential),
        "customKeyIdentifier": None,
        "hint": hints.get(credential.key_id),
        "secretText": None,
    }


def _key(credential: Credential, keys: Mapping[str, str], *, with_key: bool) -> dict[str, Any]:
    key = keys.get(credential.key_id)
    digest = None if key is None else hashlib.sha1(base64.b64decode(key), usedforsecurity=False).digest()
    return {
        **_common(credential),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
        "customKeyIdentifier": None if digest is None else base64.b64encode(digest).decode(),
        "key": key if with_key else None,
    }


def _common(credential: Credential) -> dict[str, Any]:
    return {
        "keyId": credential.key_id,
        "displayName": credential.display_name,
        "startDateTime": credential.start,
        "endDateTime": credential.end,
    }
