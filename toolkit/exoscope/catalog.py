"""Permissions, Exchange's application roles and clouds: tables, not string surgery.

Names are inconsistent (``.All`` comes and goes between a role and its permission), and one Guid stands for different
permissions on different resources, so everything is looked up: a permission by (resource, app role id) or by name, what
lets a call through by family, a role by the list the tenant gave or else by the carried table (``data/app_roles.json``;
sources: Microsoft's application-rbac page of 2025-11-25, application-access-policies, provisioningInfo.json of 2026-08-07;
the Exchange resource's ids but Exchange.ManageAsApp come from a third party's dump).

Two app role ids are not confirmed by any source and are None here: MailTips.ReadBasic.All and SMTP.SendAsApp. Whoever
needs one asks the resource's service principal for its ``appRoles`` and takes the id whose value is the name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from exoscope.model import Role, Unset
from exoscope.outcome import BadInput

About = Literal["mailbox", "directory", "protocol", "management"]

_TABLE = json.loads(resources.files("exoscope").joinpath("data/app_roles.json").read_text(encoding="utf-8"))

GRAPH: Final[str] = _TABLE["_meta"]["graph_resource_appid"]
"""App id of Microsoft Graph."""
EXCHANGE: Final[str] = _TABLE["_meta"]["exo_resource_appid"]
"""App id of Office 365 Exchange Online, the legacy resource."""

MANAGE_AS_APP: Final = "Exchange.ManageAsApp"
MANAGE_AS_USER: Final = "Exchange.Manage"
"""The delegated permission of a person whose client is not Microsoft's own."""
MAILBOX_MIGRATION: Final = "Mailbox.Migration"
EWS_CONSENT: Final = "full_access_as_app"
EWS_ROLE_PERMISSION: Final = "EWS.AccessAsApp"
PROTOCOLS: Final = frozenset({"IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"})
"""Consents that reach only mailboxes on which the pointer has mailbox permissions, which no snapshot holds."""

SELF_WIDENING: Final = frozenset(
    {
        (GRAPH, "AppRoleAssignment.ReadWrite.All"),
        (GRAPH, "Application.ReadWrite.All"),
        (GRAPH, "RoleManagement.ReadWrite.Exchange"),
        (EXCHANGE, MANAGE_AS_APP),
    }
)
"""(resource, permission): with one of these an app can give itself more."""


class Permission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An application permission on its resource.

    ``app_role_id`` None: no confirmed id (or, for EWS.AccessAsApp, none at all: it is given by an Exchange role only).
    ``about``: mailbox content and settings, the directory, a mail protocol with its own rules, or managing a service.
    ``governed``: Application Access Policies restrict it. ``self_widening``: its holder can give itself more.
    """

    name: str
    resource: str
    app_role_id: str | None
    about: About
    governed: bool
    self_widening: bool


_MANAGEMENT = frozenset({MANAGE_AS_APP, MAILBOX_MIGRATION, "ReportingWebService.Read.All"})
_DIRECTORY = ("AppRoleAssignment.", "Application.", "RoleManagement.", "User.", "GroupMember.", "AdministrativeUnit.")


def _about(name: str) -> About:
    if name in PROTOCOLS:
        return "protocol"
    if name in _MANAGEMENT:
        return "management"
    # A prefix decides only for the names of the carried table, which a test lists one by one.
    return "directory" if name.startswith(_DIRECTORY) else "mailbox"


def _permissions() -> tuple[Permission, ...]:
    governed = {(GRAPH, name) for name in _TABLE["aap_supported"]["graph"]}
    governed |= {(EXCHANGE, name) for name in _TABLE["aap_supported"]["exo"]}
    rows: list[tuple[str, str, str | None]] = [
        (GRAPH, name, role_id) for name, role_id in _TABLE["graph_app_roles"].items()
    ]
    # Graph has Calendars.ReadBasic beside the .All form in some tenants; no source gives its id.
    rows.append((GRAPH, "Calendars.ReadBasic", None))
    rows += [(EXCHANGE, name, role_id) for name, role_id in _TABLE["exo_resource_app_roles"].items()]
    rows += [(EXCHANGE, "SMTP.SendAsApp", None), (EXCHANGE, EWS_ROLE_PERMISSION, None)]
    return tuple(
        Permission(
            name, resource, role_id, _about(name), (resource, name) in governed, (resource, name) in SELF_WIDENING
        )
        for resource, name, role_id in rows
    )


PERMISSIONS: Final[tuple[Permission, ...]] = _permissions()
"""Every permission known here, Graph's first."""

_BY_NAME: dict[tuple[str, str], Permission] = {(p.resource, p.name.casefold()): p for p in PERMISSIONS}
_BY_ID: dict[tuple[str, str], Permission] = {(p.resource, p.app_role_id): p for p in PERMISSIONS if p.app_role_id}


def permission(name: str, resource: str | None = None) -> Permission | None:
    """The permission of that name (case does not matter) on ``resource``, or on Graph before Exchange; None: unknown."""
    folded = name.casefold()
    if resource is not None:
        return _BY_NAME.get((resource.casefold(), folded))
    return _BY_NAME.get((GRAPH, folded)) or _BY_NAME.get((EXCHANGE, folded))


def by_id(resource: str, app_role_id: str) -> Permission | None:
    """The permission with that app role id on that resource; None: unknown. One Guid may stand on both resources."""
    return _BY_ID.get((resource.casefold(), app_role_id.casefold()))


def held_as(resource: str, app_role_id: str, name: str) -> Permission | None:
    """The permission that a consent or request entry is; None: not known, or its id is that of another than its name says."""
    known, by = permission(name, resource), by_id(resource, app_role_id)
    if by is not None and (known is None or canonical(by.name) != canonical(known.name)):
        return None
    return known


# -- which permission lets a call through ---------------------------------------------------------------------------

# Each family from the narrowest call to the widest grant (SNAPSHOT: X.ReadWrite ⇒ X.Read ⇒ X.ReadBasic); names in one
# tuple are one permission, its first name being the canonical one. MailboxItem.Export and ImportExport stand alone: no
# source says that one includes the other.
_FAMILIES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("Mail.ReadBasic", "Mail.ReadBasic.All"), ("Mail.Read",), ("Mail.ReadWrite",)),
    (("Calendars.ReadBasic.All", "Calendars.ReadBasic"), ("Calendars.Read",), ("Calendars.ReadWrite",)),
    (("Contacts.Read",), ("Contacts.ReadWrite",)),
    (("MailboxSettings.Read",), ("MailboxSettings.ReadWrite",)),
    (("MailboxFolder.Read.All",), ("MailboxFolder.ReadWrite.All",)),
    (("MailboxItem.Read.All",), ("MailboxItem.ReadWrite.All",)),
    (("MailboxConfigItem.Read",), ("MailboxConfigItem.ReadWrite",)),
    (("Calendars.Read.All",), ("Calendars.ReadWrite.All",)),
    ((EWS_CONSENT, EWS_ROLE_PERMISSION),),
)

_CANONICAL: dict[str, str] = {}
_IMPLIED_BY: dict[str, tuple[str, ...]] = {}
for _family in _FAMILIES:
    for _place, _names in enumerate(_family):
        for _name in _names:
            _CANONICAL[_name.casefold()] = _names[0]
            _IMPLIED_BY[_name.casefold()] = tuple(wider for level in _family[_place:] for wider in level)


def canonical(name: str) -> str:
    """One spelling for each permission: Mail.ReadBasic.All is Mail.ReadBasic, EWS.AccessAsApp is full_access_as_app.

    A name that is not known here is answered as given.
    """
    known = permission(name)
    return _CANONICAL.get(name.casefold(), known.name if known else name)


def implied_by(name: str) -> tuple[str, ...]:
    """The permissions that let a call which needs ``name`` through: itself (under all its names) and wider ones."""
    return _IMPLIED_BY.get(name.casefold(), (canonical(name),))


def lets_through(held: str, needed: str) -> bool:
    """Does holding ``held`` let a call through that needs ``needed``? Resources are the caller's to compare."""
    return held.casefold() in {name.casefold() for name in implied_by(needed)}


def leftovers(name: str) -> tuple[str, ...]:
    """Which consents, if still held, let a call for the intended permission ``name`` through (tenant-wide)."""
    return implied_by(name)


def governed(permission_name: str, resource: str) -> bool:
    """Do Application Access Policies restrict this permission? Source: application-access-policies (Microsoft)."""
    known = permission(permission_name, resource)
    return known is not None and known.governed


def about_mailboxes(resource: str, permission_name: str) -> bool | None:
    """Does this consent open mailboxes? None where the catalogue does not know the permission: unknown is not clean."""
    known = permission(permission_name, resource)
    if known is None:
        return None
    return known.about in ("mailbox", "protocol") or known.name == MAILBOX_MIGRATION


# -- application roles ------------------------------------------------------------------------------------------------

ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {row["role"]: tuple(row["permissions"]) for row in _TABLE["exchange_rbac_roles"]}
)
"""Carried table: Exchange application role → the permissions it gives."""

TenantRoles = Iterable[Role] | Unset | None


def roles(tenant_roles: TenantRoles) -> Mapping[str, tuple[str, ...]]:
    """Role name → permissions: the tenant's own list when it was read (not UNSET, not None), else the carried table."""
    if tenant_roles is None or isinstance(tenant_roles, Unset):
        return ROLES
    return {role.name: role.permissions for role in tenant_roles}


def granted_by(role_name: str, tenant_roles: TenantRoles) -> tuple[str, ...] | None:
    """The permissions a role gives; None when the role is not known (neither "no permission" nor "not an app role")."""
    folded = role_name.casefold()
    return next((given for name, given in roles(tenant_roles).items() if name.casefold() == folded), None)


def role_for(permission_name: str, tenant_roles: TenantRoles, composite: bool = False) -> str | None:
    """The role that gives exactly this permission; None where there is none.

    ``composite``: where no such role is, the role with the fewest permissions beside it.
    """
    wanted = canonical(permission_name)
    found = [
        (len({canonical(p) for p in given}), name)
        for name, given in roles(tenant_roles).items()
        if wanted in {canonical(p) for p in given}
    ]
    if not found:
        return None
    size, name = min(found)
    return name if size == 1 or composite else None


# -- probes -----------------------------------------------------------------------------------------------------------

_PROBES: dict[str, str] = {
    "Mail": "/users/{id}/messages?$top=1&$select=id",
    "Calendars": "/users/{id}/calendars?$top=1&$select=id",
    "Contacts": "/users/{id}/contacts?$top=1&$select=id",
    "MailboxSettings": "/users/{id}/mailboxSettings?$select=timeZone",
}
_PROBED = {
    "Mail.ReadBasic": "Mail",
    "Mail.ReadBasic.All": "Mail",
    "Mail.Read": "Mail",
    "Mail.ReadWrite": "Mail",
    "Calendars.ReadBasic": "Calendars",
    "Calendars.ReadBasic.All": "Calendars",
    "Calendars.Read": "Calendars",
    "Calendars.ReadWrite": "Calendars",
    "Contacts.Read": "Contacts",
    "Contacts.ReadWrite": "Contacts",
    "MailboxSettings.Read": "MailboxSettings",
    "MailboxSettings.ReadWrite": "MailboxSettings",
}


def probe_for(permission_name: str) -> tuple[str, str] | None:
    """(method, path template) of a Graph call that needs this permission and reads no content; None: there is none.

    ``{id}`` is the mailbox's external directory object id; the path is relative to the version root. A GET cannot tell
    ReadWrite from Read. None for Mail.Send (only a POST), EWS, SMTP, IMAP and POP (not Graph), MailTips (a POST with a
    body), MailboxConfigItem, and MailboxFolder and MailboxItem, whose paths take a mailbox id that only another
    permission reads. Source: Graph's permissions.json of 2026-08-07.
    """
    known = permission(permission_name, GRAPH)
    family = _PROBED.get(known.name) if known else None
    return ("GET", _PROBES[family]) if family else None


def least_probed(permission_name: str) -> str | None:
    """The narrowest permission that lets the call of :func:`probe_for` through; None where there is no such call.

    Listing ids of messages needs Mail.ReadBasic only, so that call answers for Mail.Read and Mail.ReadWrite too.
    """
    call = probe_for(permission_name)
    if call is None:
        return None
    return max((name for name in _PROBED if probe_for(name) == call), key=lambda name: (len(implied_by(name)), name))


# -- clouds -----------------------------------------------------------------------------------------------------------


class CloudEndpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a cloud's services are: origins without a trailing slash.

    ``exchange`` is the host of Exchange's REST side, ``token_resource_exchange`` what a token for it is asked for (scope:
    that + ``/.default``), ``exchange_environment`` the value of Connect-ExchangeOnline's -ExchangeEnvironmentName,
    ``federation_audience`` what a platform's token must be meant for to sign an app in.
    Source: Microsoft's Connect-ExchangeOnline and Graph deployments pages, Entra's on workload identity federation (audiences); the
    two China hosts differ between sources and can be overridden in a profile's ``[endpoints]``.
    """

    name: str
    authority: str
    graph: str
    exchange: str
    exchange_environment: str
    token_resource_exchange: str
    federation_audience: str


def _cloud(
    name: str, authority: str, graph: str, exchange: str, environment: str, resource: str, audience: str
) -> CloudEndpoints:
    return CloudEndpoints(
        name=name,
        authority=f"https://{authority}",
        graph=f"https://{graph}",
        exchange=f"https://{exchange}",
        exchange_environment=environment,
        token_resource_exchange=f"https://{resource}",
        federation_audience=f"api://{audience}",
    )


CLOUDS: Final[Mapping[str, CloudEndpoints]] = MappingProxyType(
    {
        cloud.name: cloud
        for cloud in (
            _cloud(
                "worldwide",
                "login.microsoftonline.com",
                "graph.microsoft.com",
                "outlook.office365.com",
                "O365Default",
                "outlook.office365.com",
                "AzureADTokenExchange",
            ),
            _cloud(
                "gcc-high",
                "login.microsoftonline.us",
                "graph.microsoft.us",
                "outlook.office365.us",
                "O365USGovGCCHigh",
                "outlook.office365.us",
                "AzureADTokenExchangeUSGov",
            ),
            _cloud(
                "dod",
                "login.microsoftonline.us",
                "dod-graph.microsoft.us",
                "outlook-dod.office365.us",
                "O365USGovDoD",
                "outlook-dod.office365.us",
                "AzureADTokenExchangeUSGov",
            ),
            _cloud(
                "china",
                "login.partner.microsoftonline.cn",
                "microsoftgraph.chinacloudapi.cn",
                "partner.outlook.cn",
                "O365China",
                "partner.outlook.cn",
                "AzureADTokenExchangeChina",
            ),
        )
    }
)


def cloud(name: str) -> CloudEndpoints:
    """The endpoints of ``worldwide``, ``gcc-high``, ``dod`` or ``china``.

    Raises BadInput for another name, and for Germany with the reason: that cloud was closed in October 2021.
    """
    folded = name.casefold()
    if folded in ("germany", "de", "o365germanycloud"):
        raise BadInput(
            "the German cloud (login.microsoftonline.de) was closed in October 2021",
            next="Tenants that were there are in the worldwide cloud now: write worldwide.",
        )
    if folded not in CLOUDS:
        hint = " (GCC is in the worldwide cloud)" if folded == "gcc" else ""
        raise BadInput(f"{name!r} is no cloud known here{hint}", next=f"Write one of {', '.join(CLOUDS)}.")
    return CLOUDS[folded]
