"""The nouns of a profile. Secrets stand in it by reference only."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from msgspec import field

from exoscope.catalog import CloudEndpoints
from exoscope.model import Noun
from exoscope.model.tenant import Cloud

Scheme = Literal["env", "file", "keyring", "exec"]
Auth = Literal["negotiate", "kerberos", "ntlm", "certificate", "basic"]
Kind = Literal["interactive", "device-code", "certificate", "secret", "managed-identity", "federated"]
Cache = Literal["encrypted", "file"]
MICROSOFT: Final = "microsoft"
"""In the place of a client id: the clients of Microsoft's own modules (:mod:`exoscope.entra.clients`)."""


class SecretRef(Noun, frozen=True):
    """Where a secret is: ``env`` a variable, ``file`` an owner-only file, ``keyring`` service/user, ``exec`` a command.

    ``text`` is the reference without its scheme, ``base`` the folder that relative paths start from.
    """

    scheme: Scheme
    text: str
    base: Path

    def __str__(self) -> str:
        # A command's arguments may hold what is nobody else's business.
        return f"exec:{self.text.split(' ')[0]} …" if self.scheme == "exec" else f"{self.scheme}:{self.text}"


class Waits(Noun, frozen=True):
    """Seconds that a change takes to act, by kind. Sources of the defaults: application-rbac (30 minutes to 2 hours),
    configurable-token-lifetimes (60 to 90 minutes; 24 to 28 hours with continuous access evaluation), managed identities (24 h).
    """

    cache: float = 7200
    token: float = 5400
    managed_identity: float = 86400
    long_token: float = 100800


class Transport(Noun, frozen=True):
    """The gateway: a Windows machine with WinRM on which the ExchangeOnlineManagement module runs.

    ``configuration`` is the PowerShell endpoint's name (``PowerShell.7``, a JEA name); ``ca`` a PEM file to trust for it;
    ``certificate`` and ``key`` PEM files for auth = "certificate".
    """

    kind: Literal["gateway"]
    url: str
    auth: Auth = "negotiate"
    username: str | None = None
    password: SecretRef | None = None
    configuration: str = "Microsoft.PowerShell"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class LocalPwsh(Noun, frozen=True):
    """A PowerShell on this machine with the ExchangeOnlineManagement module: ``pwsh``, or Windows PowerShell 5.1.

    ``path`` names the program; without it EXOSCOPE_PWSH does, else it is looked for on PATH.
    """

    kind: Literal["pwsh"]
    path: Path | None = None


class AdminApiRoad(Noun, frozen=True):
    """The REST road of Exchange's own module: no PowerShell, nothing to install. Microsoft does not document it."""

    kind: Literal["admin-api"]


class Federated(Noun, frozen=True):
    """Whose token signs an app in, in the place of a credential: the platform of the job gives it, Entra trusts that platform.

    ``reference``: where the token is found, for any other platform; ``service_connection``: of Azure Pipelines.
    """

    provider: Literal["github-actions", "azure-pipelines", "reference"]
    reference: SecretRef | None = None
    service_connection: str | None = None


class Operator(Noun, frozen=True):
    """Who exoscope acts as. Exactly one way of signing in is set.

    ``client_id`` is None only for a system-assigned identity; :data:`MICROSOFT` stands for the clients of Microsoft's own modules.
    Of people: ``account`` is the sign-in name that is expected, ``partner``: the account is of another tenant than the profile's,
    ``cache``: where the sign-in is kept (None: it is not). ``graph_writes``: who changes things in Graph, where that is another.
    """

    client_id: str | None
    secret: SecretRef | None = None
    certificate: Path | None = None
    passphrase: SecretRef | None = None
    managed_identity: bool = False
    device_code: bool = False
    interactive: bool = False
    federated: Federated | None = None
    account: str | None = None
    partner: bool = False
    cache: Cache | None = None
    graph_writes: Operator | None = None

    @property
    def kind(self) -> Kind:
        """How it signs in."""
        ways: tuple[tuple[Kind, bool], ...] = (
            ("managed-identity", self.managed_identity),
            ("interactive", self.interactive),
            ("device-code", self.device_code),
            ("federated", self.federated is not None),
            ("certificate", self.certificate is not None),
        )
        return next((kind for kind, there in ways if there), "secret")


class AppCredential(Noun, frozen=True):
    """How a subject app signs in, so that Graph can be asked as the app itself: a secret or a certificate."""

    secret: SecretRef | None = None
    certificate: Path | None = None
    passphrase: SecretRef | None = None


class Endpoints(Noun, frozen=True):
    """Origins (``https://host[:port]``) that tokens go to, and a private CA. ``own``: the profile names them itself.

    ``exchange_resource``: what a token for Exchange is asked for, where that is not the cloud's own.
    """

    authority: str
    graph: str
    exchange: str
    ca: Path | None = None
    own: bool = False
    exchange_resource: str | None = None


class Profile(Noun, frozen=True):
    """A whole profile. ``apps`` by lower-case app id. ``operator`` is None where the file has none, ``transport`` where it
    names no road: one is chosen then (:mod:`exoscope.exchange.roads`).
    """

    path: Path
    tenant: str
    organization: str
    cloud: Cloud
    cloud_endpoints: CloudEndpoints
    endpoints: Endpoints
    transport: Transport | LocalPwsh | AdminApiRoad | None = None
    operator: Operator | None = None
    apps: dict[str, AppCredential] = field(default_factory=dict)
    waits: Waits = Waits()
    state: Path | None = None

    def credential(self, app_id: str) -> AppCredential | None:
        """The credential of an app, by app id without case; None where the profile has none."""
        return self.apps.get(app_id.casefold())
