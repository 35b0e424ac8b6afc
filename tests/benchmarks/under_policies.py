"""A tenant whose apps are all under Application Access Policies: what a migration to roles begins with."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from exoscope.catalog import GRAPH, ROLES, permission
from exoscope.model import (
    AccessPolicy,
    App,
    Consent,
    Group,
    Organization,
    PolicyScope,
    Recipient,
    Requested,
    Role,
    Snapshot,
    Tenant,
)

from .tenants import GRANTED, group_dn, guid

SIZES = (50, 80, 120, 200, 350, 500, 800)  # members of a group


def under_policies(
    policies: int = 300, apps: int = 250, mailboxes: int = 50_000, *, wildcard: bool = False, seed: int = 20261126
) -> Snapshot:
    """``apps`` under ``policies``: each app has a group of its own (RestrictAccess), the others of these have two, every tenth of
    which is a DenyAccess policy. Every ninth group holds another one. ``wildcard``: one policy for every app besides.
    """
    chance = random.Random(seed)  # noqa: S311 - made-up data
    groups = policies + policies // 9 + 1
    made = [_policy(number, number, deny=False) for number in range(apps)]
    made += [_policy(number - apps, number, deny=number % 10 == 0) for number in range(apps, policies)]
    if wildcard:
        made.append(_policy(None, groups - 1, deny=True))
    return Snapshot(
        format="exoscope/snapshot@1",
        read_at=datetime(2026, 11, 26, 9, tzinfo=UTC),
        tenant=Tenant(guid(1, 1), "contoso.onmicrosoft.com", "worldwide"),
        apps=tuple(_app(number, chance) for number in range(apps)),
        service_principals=(),
        management_scopes=(),
        role_assignments=(),
        access_policies=tuple(made),
        roles=tuple(Role(name, tuple(given)) for name, given in sorted(ROLES.items())),
        attributes_read=(),
        recipients=tuple(_recipient(number) for number in range(mailboxes)),
        groups=tuple(_group(number, policies, mailboxes, chance) for number in range(groups)),
        administrative_units=(),
        organization=Organization(None, None, enforce_exo_app_rbac_permissions=False, is_dehydrated=False),
        unread=(),
    )


def denied(tenant: Snapshot) -> tuple[str, ...]:
    """The apps (ids) that a DenyAccess policy names: their migration has to be accepted."""
    assert isinstance(tenant.access_policies, tuple)
    return tuple(dict.fromkeys(each.app_id for each in tenant.access_policies if each.access_right == "DenyAccess"))


def _app(number: int, chance: random.Random) -> App:
    names = chance.sample(GRANTED, chance.choices((1, 2, 3), (50, 35, 15))[0])
    known = [found for name in names if (found := permission(name, GRAPH)) is not None]
    return App(
        app_id=guid(2, number),
        object_id=guid(3, number),
        application_object_id=guid(7, number),
        display_name=f"Connector {number}",
        consents=tuple(
            Consent(f"consent-{number}-{place}", GRAPH, str(p.app_role_id), p.name) for place, p in enumerate(known)
        ),
        requested=tuple(Requested(GRAPH, str(p.app_role_id), p.name) for p in known),
        kind="Application",
        account_enabled=True,
        token_lifetime_minutes=None,
        credentials=(),
    )


def _policy(app: int | None, group: int, *, deny: bool) -> AccessPolicy:
    app_id = "*" if app is None else guid(2, app)
    return AccessPolicy(
        f"{guid(1, 1)}\\{app_id}:S-1-5-21-{group};{guid(6, group)}",
        app_id,
        "DenyAccess" if deny else "RestrictAccess",
        PolicyScope(f"Group {group}", f"S-1-5-21-{group}", guid(6, group)),
        None,
        valid=True,
    )


def _recipient(number: int) -> Recipient:
    address = f"person.{number}@contoso.com"
    return Recipient(
        guid=guid(9, number),
        external_directory_object_id=guid(5, number),
        display_name=f"Person {number}",
        primary_smtp_address=address,
        email_addresses=(address, f"p{number}@contoso.onmicrosoft.com"),
        distinguished_name=f"CN=Person {number},OU=contoso.onmicrosoft.com,OU=Microsoft Exchange Hosted Organizations,DC=com",
        recipient_type="UserMailbox",
        recipient_type_details="UserMailbox" if number % 12 else "SharedMailbox",
        attributes={},
    )


def _group(number: int, policies: int, mailboxes: int, chance: random.Random) -> Group:
    """The groups that policies name, then those that stand inside of them."""
    size = min(chance.choice(SIZES), max(1, mailboxes // 8))
    members = [guid(9, n) for n in chance.sample(range(mailboxes), size)]
    if number < policies and number % 9 == 0:
        members.append(guid(4, policies + number // 9))
    return Group(
        guid=guid(4, number),
        external_directory_object_id=guid(6, number),
        sid=f"S-1-5-21-{number}",
        display_name=f"Group {number}",
        primary_smtp_address=f"group.{number}@contoso.com",
        distinguished_name=group_dn(number),
        recipient_type_details="MailUniversalSecurityGroup",
        members=tuple(members),
        owners=(),
        join_restriction="Closed",
        depart_restriction="Closed",
    )
