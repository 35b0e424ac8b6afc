"""Entra's side of a snapshot: apps with what they hold, the organisation, administrative units and their members."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.entra.graph import Call, GraphClient, Reply
from exoscope.entra.paths import path
from exoscope.entra.resources import Resource, Resources
from exoscope.model import AdministrativeUnit, App, Consent, Credential, Noun, Requested, Unread
from exoscope.outcome import ServiceError, SignInFailed

log = logging.getLogger("exoscope.entra")

MICROSOFT = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
"""The tenant that owns Microsoft's own applications. Source: Microsoft's "verify first-party applications" page."""

_WHY_UNREAD = {
    "token_lifetime_minutes": "Graph did not give this operator every token-lifetime policy that may act on it: the service "
    "principal's, its registration's, the resources' and the organisation's default (needs Policy.Read.All)"
}

Body = dict[str, Any]


class OrganizationRow(Noun, frozen=True):
    """The tenant as Graph names it."""

    id: str
    initial_domain: str
    domains: tuple[str, ...]


def read_organization(graph: GraphClient) -> OrganizationRow:
    """The one organisation. Raises the ServiceError family."""
    rows = list(graph.pages(path("organization")))
    if len(rows) != 1:
        raise ServiceError(f"Graph answered {len(rows)} organisations", code="unexpected-answer")
    domains = rows[0].get("verifiedDomains") or []
    initial = [str(domain["name"]) for domain in domains if domain.get("isInitial")]
    if len(initial) != 1:
        raise ServiceError("Graph answered an organisation without its initial domain", code="unexpected-answer")
    return OrganizationRow(str(rows[0]["id"]), initial[0], tuple(str(domain["name"]) for domain in domains))


class Apps(Noun, frozen=True):
    """Apps as read, and what of them could not be."""

    apps: tuple[App, ...]
    unread: tuple[Unread, ...]


def read_apps(
    graph: GraphClient,
    resources: Resources,
    *,
    named: Iterable[str],
    progress: Callable[[str], None],
) -> Apps:
    """Every app that matters here: all that are not Microsoft's own, and of Microsoft's those that hold a permission on Graph
    or Exchange or are ``named`` (object id, app id or display name).

    Raises the ServiceError family where principals, grants or registrations cannot be listed: the list is then unread.
    """
    progress("apps: service principals")
    principals = list(graph.pages(path("principals")))
    progress(f"apps: registrations and grants of {len(principals)}")
    registered = {str(row["appId"]).casefold(): row for row in graph.pages(path("applications"))}
    held_on = [found for each in (GRAPH, EXCHANGE) if (found := resources.find(each)) is not None]
    consents = _consents(graph, held_on)
    wanted = {name.casefold() for name in named}
    chosen = [row for row in principals if _matters(row, consents, wanted)]
    progress(f"apps: token lifetimes of {len(chosen)}")
    registrations = {app_id: str(row["id"]) for app_id, row in registered.items()}
    lifetimes = _lifetimes(graph, chosen, registrations, [each.object_id for each in held_on])
    apps: list[App] = []
    unread: list[Unread] = []
    for row in chosen:
        app, missing = _app(row, registered.get(str(row["appId"]).casefold()), consents, resources, lifetimes)
        apps.append(app)
        unread += missing
    return Apps(tuple(sorted(apps, key=lambda app: app.app_id.casefold())), tuple(unread))


def _matters(row: Body, consents: Mapping[str, Sequence[Consent]], wanted: set[str]) -> bool:
    names = {str(row.get(column) or "").casefold() for column in ("id", "appId", "displayName")}
    if names & wanted or str(row["id"]).casefold() in consents:
        return True
    return str(row.get("appOwnerOrganizationId") or "").casefold() != MICROSOFT


def _consents(graph: GraphClient, resources: Sequence[Resource]) -> dict[str, list[Consent]]:
    """Who holds which permission of these resources, by the holder's object id in lower case."""
    found: dict[str, list[Consent]] = {}
    for resource in resources:
        for row in graph.pages(path("assigned", resource.object_id)):
            if str(row.get("principalType") or "ServicePrincipal") != "ServicePrincipal":
                continue  # people and groups: an app role given to them is not application access
            role = str(row["appRoleId"])
            consent = Consent(str(row["id"]), resource.app_id, role, resource.permission(role))
            found.setdefault(str(row["principalId"]).casefold(), []).append(consent)
    return found


def _app(
    row: Body,
    registered: Body | None,
    consents: Mapping[str, Sequence[Consent]],
    resources: Resources,
    lifetimes: Mapping[str, int | UnsetType | None],
) -> tuple[App, list[Unread]]:
    app_id, object_id = str(row["appId"]), str(row["id"])
    holder = registered if registered is not None else row
    credentials = parse_credentials(holder)
    kind, enabled = row.get("servicePrincipalType"), row.get("accountEnabled")
    tags = None if registered is None else registered.get("tags")
    lifetime = lifetimes.get(object_id, UNSET)
    values: dict[str, Any] = {
        "kind": kind if isinstance(kind, str) else UNSET,
        "account_enabled": enabled if isinstance(enabled, bool) else UNSET,
        "credentials": credentials,
        "token_lifetime_minutes": lifetime,
    }
    unread = [
        Unread(f"apps[app_id={app_id}].{name}", _WHY_UNREAD.get(name, "Graph did not give it to this operator"))
        for name, value in values.items()
        if isinstance(value, UnsetType)
    ]
    app = App(
        app_id=app_id,
        object_id=object_id,
        application_object_id=None if registered is None else str(registered["id"]),
        display_name=str(row.get("displayName") or app_id),
        consents=tuple(sorted(consents.get(object_id.casefold(), ()), key=lambda each: each.id)),
        requested=() if registered is None else parse_requested(registered, resources),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, list) else UNSET,
        **values,
    )
    return app, unread


def parse_requested(application: Body, resources: Resources) -> tuple[Requested, ...]:
    """Application permissions (type Role) in requiredResourceAccess, with their names."""
    found: list[Requested] = []
    for entry in application.get("requiredResourceAccess") or ():
        app_id = str(entry["resourceAppId"])
        roles = [str(access["id"]) for access in entry["resourceAccess"] if access.get("type") == "Role"]
        resource = resources.find(app_id) if roles else None
        unknown = Resource(app_id, "", {})
        found += [Requested(app_id, role, (resource or unknown).permission(role)) for role in roles]
    return tuple(found)


def parse_credentials(row: Body) -> tuple[Credential, ...] | UnsetType:
    """Secrets and certificates as Entra lists them; UNSET where it did not list them."""
    secrets, keys = row.get("passwordCredentials"), row.get("keyCredentials")
    if not isinstance(secrets, list) or not isinstance(keys, list):
        return UNSET
    return (
        *(_credential("secret", each) for each in secrets),
        *(_credential("certificate", each) for each in keys),
    )


def _credential(kind: str, row: Body) -> Credential:
    return Credential(
        kind="secret" if kind == "secret" else "certificate",
        key_id=str(row["keyId"]),
        display_name=row.get("displayName"),
        start=row.get("startDateTime"),
        end=row.get("endDateTime"),
    )


# -- token lifetimes ---------------------------------------------------------------------------------------------------


def _lifetimes(
    graph: GraphClient, principals: Sequence[Body], registrations: Mapping[str, str], resources: Sequence[str]
) -> dict[str, int | UnsetType | None]:
    """Minutes by object id; None: no policy; UNSET: not read.

    A policy may stand on the service principal, on its registration (``registrations`` by folded app id), on the resource
    that the token is for, or be the organisation's default. Which of several wins has been documented in more than one
    way (configurable-token-lifetimes), so the longest counts, and what one of them says is unknown where another is.
    """
    own = {str(row["id"]): registrations.get(str(row["appId"]).casefold()) for row in principals}
    paths = [path("principal_lifetimes", each) for each in [*own, *resources]]
    paths += [path("registration_lifetimes", each) for each in own.values() if each is not None]
    paths = list(dict.fromkeys(paths))
    replies = graph.batch([Call("GET", each) for each in paths])
    found = {each: _lifetime(reply) for each, reply in zip(paths, replies, strict=True)}
    everywhere = _longest([_default_lifetime(graph), *(found[path("principal_lifetimes", each)] for each in resources)])
    return {
        object_id: _longest(
            [
                everywhere,
                found[path("principal_lifetimes", object_id)],
                None if registration is None else found[path("registration_lifetimes", registration)],
            ]
        )
        for object_id, registration in own.items()
    }


def _default_lifetime(graph: GraphClient) -> int | UnsetType | None:
    """What the organisation's default policy gives every app."""
    try:
        rows = list(graph.pages(path("lifetimes")))
    except SignInFailed:
        raise
    except ServiceError as error:
        log.debug("the tenant's token-lifetime policies could not be read: %s", error.message)
        return UNSET
    # One that does not say whether it is the default may be it.
    return longest_lifetime([row for row in rows if row.get("isOrganizationDefault") is not False])


def _longest(lifetimes: Iterable[int | UnsetType | None]) -> int | UnsetType | None:
    known: list[int] = []
    for each in lifetimes:
        if isinstance(each, UnsetType):
            return UNSET
        if each is not None:
            known.append(each)
    return max(known, default=None)


def _lifetime(reply: Reply) -> int | UnsetType | None:
    rows = reply.body.get("value")
    if reply.status != 200 or not isinstance(rows, list) or reply.body.get("@odata.nextLink"):
        return UNSET
    return longest_lifetime(rows)


def longest_lifetime(policies: Sequence[Body]) -> int | UnsetType | None:
    """The longest access-token lifetime of these policies in minutes, rounded up; None: none names one; UNSET: not understood."""
    minutes: list[int] = []
    for policy in policies:
        for text in policy.get("definition") or ():
            try:
                given = json.loads(text)["TokenLifetimePolicy"].get("AccessTokenLifetime")
            except (ValueError, KeyError, TypeError, AttributeError):
                return UNSET
            if given is None:
                continue
            seconds = _seconds(str(given))
            if seconds is None:
                return UNSET
            minutes.append(-(-seconds // 60))
    return max(minutes, default=None)


_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?")


def _seconds(span: str) -> int | None:
    """A .NET time span ``[d.]hh:mm[:ss]`` in seconds."""
    found = _SPAN.fullmatch(span.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


# -- administrative units ----------------------------------------------------------------------------------------------


class Units(Noun, frozen=True):
    """Administrative units, and those whose members could not be read (left out of ``units``)."""

    units: tuple[AdministrativeUnit, ...]
    unread: tuple[Unread, ...]


def read_units(graph: GraphClient) -> Units:
    """Every administrative unit with its members' directory object ids. Raises the ServiceError family where the list fails."""
    rows = list(graph.pages(path("units")))
    units: list[AdministrativeUnit] = []
    unread: list[Unread] = []
    for row in rows:
        unit = str(row["id"])
        try:
            members = tuple(str(member["id"]) for member in graph.pages(path("unit_members", unit)))
        except ServiceError as error:
            # A unit stands with all of its members or not at all: the file has no "members not read" for units.
            unread.append(Unread(f"administrative_units[id={unit}].members", error.message))
            continue
        units.append(AdministrativeUnit(unit, str(row.get("displayName") or unit), members))
    return Units(tuple(units), tuple(unread))


def read_group_members(graph: GraphClient, group_id: str) -> tuple[str, ...]:
    """Directory object ids of a group's direct members: for groups that Exchange does not know the members of."""
    return tuple(str(row["id"]) for row in graph.pages(path("group_members", group_id)))
