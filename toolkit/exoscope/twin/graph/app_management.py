"""The tenant's default app management policy: what credentials may be added, and for how long.

Sources: Graph's tenantAppManagementPolicy, appManagementConfiguration, passwordCredentialConfiguration and
keyCredentialConfiguration pages. Its refusals are not on Microsoft's pages: CredentialInvalidLifetimeAsPerAppPolicy ("Credential
lifetime exceeds the max value allowed as per assigned policy '…'.", azure-cli #28522, PubSec-Info-Assistant #681) and
CredentialTypeNotAllowedAsPerAppPolicy ("Credential type not allowed as per assigned policy", a code in Microsoft's own
microsoft-365-agents-toolkit).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from exoscope.clock import iso
from exoscope.model import Noun
from exoscope.twin.graph.errors import GraphError

ID = "00000000-0000-0000-0000-000000000000"
UNDATED = datetime(
    2019, 1, 1, tzinfo=UTC
)  # "treated as having being created on 01/01/2019": tenantappmanagementpolicy-update


class AppManagement(Noun, frozen=True):
    """Off unless told, as in a new tenant. ``secret_lifetime``, ``certificate_lifetime``: the longest, None: any.

    ``created_after``: only for applications created on that day or later; None: for all.
    """

    enabled: bool = False
    secrets: bool = True
    secret_lifetime: timedelta | None = None
    certificate_lifetime: timedelta | None = None
    created_after: datetime | None = None

    def row(self) -> dict[str, Any]:
        """As Graph answers it."""
        passwords = [] if self.secrets else [self._restriction("passwordAddition", None)]
        if self.secret_lifetime is not None:
            passwords.append(self._restriction("passwordLifetime", self.secret_lifetime))
        keys = []
        if self.certificate_lifetime is not None:
            keys.append(self._restriction("asymmetricKeyLifetime", self.certificate_lifetime))
        return {
            "id": ID,
            "displayName": "Default app management tenant policy",
            "description": "Default tenant policy that enforces app management restrictions.",
            "isEnabled": self.enabled,
            "applicationRestrictions": {"passwordCredentials": passwords, "keyCredentials": keys},
            "servicePrincipalRestrictions": {"passwordCredentials": [], "keyCredentials": []},
        }

    def _restriction(self, kind: str, longest: timedelta | None) -> dict[str, Any]:
        return {
            "restrictionType": kind,
            "state": "enabled",
            "maxLifetime": None if longest is None else duration(longest),
            "restrictForAppsCreatedAfterDateTime": None if self.created_after is None else iso(self.created_after),
        }

    def check_secret(self, created: datetime | None, lifetime: timedelta) -> None:
        """Raises the 400 of a secret that the policy does not let in."""
        if not self._acts_on(created):
            return
        if not self.secrets:
            raise GraphError(
                400,
                "CredentialTypeNotAllowedAsPerAppPolicy",
                f"Credential type not allowed as per assigned policy '{ID}'.",
            )
        self._check(self.secret_lifetime, lifetime)

    def check_certificate(self, created: datetime | None, lifetime: timedelta) -> None:
        """Raises the 400 of a certificate that lives too long."""
        if self._acts_on(created):
            self._check(self.certificate_lifetime, lifetime)

    def _acts_on(self, created: datetime | None) -> bool:
        return self.enabled and (self.created_after is None or (created or UNDATED) >= self.created_after)

    def _check(self, longest: timedelta | None, lifetime: timedelta) -> None:
        if longest is not None and lifetime > longest:
            raise GraphError(
                400,
                "CredentialInvalidLifetimeAsPerAppPolicy",
                f"Credential lifetime exceeds the max value allowed as per assigned policy '{ID}'.",
                details=(
                    {"code": "InvalidKeyEndDate", "target": "EndDate", "message": "Credential lifetime exceeds."},
                ),
            )


def duration(span: timedelta) -> str:
    """An ISO 8601 duration of days, hours, minutes and seconds."""
    hours, rest = divmod(span.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    time = "".join(f"{value}{unit}" for value, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if value)
    return f"P{span.days}D" + (f"T{time}" if time else "")
