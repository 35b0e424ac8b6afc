"""[operator] of a profile: who exoscope acts as, and how it signs in. Every error has its line; no credential is repeated.

``kind`` may be left out where a key says it (``secret``, ``certificate``, ``federated``, ``managed_identity = true``,
``device_code = true``); one that is there must agree with the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

import msgspec

from exoscope.profile.nouns import MICROSOFT, Cache, Federated, Kind, Operator, SecretRef

if TYPE_CHECKING:
    from exoscope.model.tenant import Cloud
    from exoscope.profile.tables import Table

PEOPLE: Final = ("interactive", "device-code")
GRAPH_WRITES: Final = "graph_writes"
_PROVIDERS: Final = ("github-actions", "azure-pipelines")
_KEYS: Final = ("secret", "certificate", "federated", "managed_identity", "device_code")


def read_operator(table: Table, *, cloud: Cloud, organization: str, second: bool = False) -> Operator:
    """The operator of one table. ``second``: it is [operator.graph_writes], which has none of its own. Raises BadInput."""
    kind = _kind(table)
    certificate = table.path("certificate")
    operator = Operator(
        client_id=_client_id(table, kind, cloud),
        secret=table.secret("secret"),
        certificate=certificate,
        passphrase=passphrase(table, certificate is not None),
        managed_identity=kind == "managed-identity",
        device_code=kind == "device-code",
        interactive=kind == "interactive",
        federated=_federated(table),
        account=_account(table, kind),
        partner=_partner(table, kind, organization),
        cache=_cache(table, kind),
    )
    if operator.client_id is None and kind != "managed-identity":
        table.reader.fail(table.name, f"needs client_id{_OWN_CLIENT if kind in PEOPLE else ''}")
    if second or GRAPH_WRITES not in table.values:
        return operator
    inner = table.sub(GRAPH_WRITES)
    writes = read_operator(inner, cloud=cloud, organization=organization, second=True)
    inner.done()
    return msgspec.structs.replace(operator, graph_writes=writes)


_OWN_CLIENT = (
    ": the id of an app registration of yours (public client, redirect http://localhost), or "
    f'"{MICROSOFT}" for the clients of Microsoft\'s own modules (docs/sign-in.md)'
)


def _kind(table: Table) -> Kind:
    """The way of signing in, said or shown by exactly one key."""
    flags = {"managed_identity": table.flag("managed_identity"), "device_code": table.flag("device_code")}
    given = [key for key in _KEYS if flags.get(key, key in table.values)]
    said = table.text("kind")
    if said is None:
        if len(given) != 1:
            table.reader.fail(
                table.name,
                f"needs exactly one of {', '.join(_KEYS)}, or kind" + (f", not {len(given)}" if given else ""),
            )
        return _SHOWN[given[0]]
    if said not in get_args(Kind):
        table.fail("kind", f"must be one of {', '.join(get_args(Kind))}")
    kind: Kind = msgspec.convert(said, Kind)
    for key in given:
        if _SHOWN[key] != kind:
            table.fail(key, f'does not go with kind = "{kind}"')
    if not given and kind in ("secret", "certificate", "federated"):
        table.reader.fail(table.name, f'needs {kind} for kind = "{kind}"')
    return kind


_SHOWN: Final[dict[str, Kind]] = {
    "secret": "secret",
    "certificate": "certificate",
    "federated": "federated",
    "managed_identity": "managed-identity",
    "device_code": "device-code",
}


def passphrase(table: Table, certificate: bool) -> SecretRef | None:
    """The passphrase of a certificate's file."""
    found = table.secret("passphrase")
    if found is not None and not certificate:
        table.fail("passphrase", "goes with certificate only")
    return found


def _client_id(table: Table, kind: Kind, cloud: Cloud) -> str | None:
    client_id = table.text("client_id")
    if client_id == MICROSOFT:
        if kind not in PEOPLE:
            table.fail("client_id", f'"{MICROSOFT}" is for people who sign in: name the id of your app registration')
        if cloud == "china":
            # Source: Graph PowerShell's page on national clouds: globally registered apps are not replicated to Azure China.
            table.fail(
                "client_id", "must be an app registration of yours: Microsoft's own clients do not exist in China"
            )
    elif client_id is not None and not table.is_guid(client_id):
        table.fail("client_id", "must be an application (client) id, a Guid")
    return client_id


def _federated(table: Table) -> Federated | None:
    """``github-actions``, ``azure-pipelines``, or where the platform's token is found, as a reference."""
    connection = table.text("service_connection")
    provider = table.values.get("federated")
    if connection is not None and provider != "azure-pipelines":
        table.fail("service_connection", 'goes with federated = "azure-pipelines" only')
    if provider is None:
        return None
    if provider not in _PROVIDERS:
        return Federated(provider="reference", reference=table.secret("federated", also=_PROVIDERS))
    table.values.pop("federated")
    if provider == "azure-pipelines":
        if connection is None:
            table.reader.fail(table.name, "needs service_connection: the id of the service connection in Azure DevOps")
        if not table.is_guid(connection):
            table.fail("service_connection", "must be the id of a service connection, a Guid")
        return Federated(provider="azure-pipelines", service_connection=connection)
    return Federated(provider="github-actions")


def _account(table: Table, kind: Kind) -> str | None:
    account = table.text("account")
    if account is not None and kind not in PEOPLE:
        table.fail("account", "is for people who sign in (interactive, device-code)")
    if account is not None and ("@" not in account or any(char.isspace() for char in account)):
        table.fail("account", "must be a sign-in name (user@domain)")
    return account


def _partner(table: Table, kind: Kind, organization: str) -> bool:
    partner = table.flag("partner")
    if partner and kind not in PEOPLE:
        table.fail(
            "partner",
            "is for people who sign in (interactive, device-code): an app that the customer consented to signs in as any other",
        )
    if partner and "." not in organization:
        table.fail("partner", "needs organization at the top of the file: the customer's name.onmicrosoft.com")
    return partner


def _cache(table: Table, kind: Kind) -> Cache | None:
    cache = table.text("cache")
    if cache is None:
        return None
    if cache not in get_args(Cache):
        table.fail("cache", f"must be one of {', '.join(get_args(Cache))}")
    if kind not in PEOPLE:
        table.fail("cache", "is for people who sign in (interactive, device-code): nothing else is worth keeping")
    kept: Cache = msgspec.convert(cache, Cache)
    return kept
