"""A large made-up tenant for the benchmarks: sizes like those of the largest real ones, the same every time."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from msgspec.structs import replace

from exoscope.catalog import EXCHANGE, GRAPH, ROLES, permission
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnit,
    AdministrativeUnitScope,
    App,
    Consent,
    Group,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    Organization,
    OrganizationScope,
    PolicyScope,
    Recipient,
    Requested,
    RoleAssignment,
    Scope,
    ServicePrincipal,
    Snapshot,
    Tenant,
)

DEPARTMENTS = tuple(f"Department {n}" for n in range(400))
GRANTED = ("Mail.Read", "Mail.ReadWrite", "Mail.Send", "Calendars.Read", "Contacts.Read")


def guid(kind: int, number: int) -> str:
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


def group_dn(number: int) -> str:
    return f"CN=Group {number},OU=contoso.onmicrosoft.com,OU=Microsoft Exchange Hosted Organizations,DC=prod,DC=outlook,DC=com"


def tenant(apps: int = 1_000, mailboxes: int = 200_000, seed: int = 20261123) -> Snapshot:
    """``apps`` connectors over ``mailboxes``: 2,000 groups, one scope an app, policies for every fifth, leftover consents."""
    chance = random.Random(seed)  # noqa: S311 - made-up data
    groups = min(2_000, max(2, mailboxes // 100))
    scopes = tuple(_management_scope(number, groups, chance) for number in range(apps))
    return Snapshot(
        format="exoscope/snapshot@1",
        read_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
        tenant=Tenant(guid(1, 1), "contoso.onmicrosoft.com", "worldwide"),
        apps=tuple(_app(number, chance) for number in range(apps)),
        service_principals=tuple(
            ServicePrincipal(guid(2, n), guid(3, n), f"Connector {n}", override_enforce_exo_app_rbac_permissions=None)
            for n in range(apps)
        ),
        management_scopes=scopes,
        role_assignments=tuple(
            RoleAssignment(
                f"Assignment {n} {name}",
                f"Application {name}",
                guid(3, n),
                enabled=True,
                scope=_scope(n, groups, chance),
            )
            for n in range(apps)
            for name in chance.sample(GRANTED, 2)
        ),
        access_policies=tuple(
            AccessPolicy(
                f"{guid(1, 1)}\\{guid(2, n)}:S-1-5-21-{n};{guid(6, n % groups)}",
                guid(2, n),
                "DenyAccess" if n % 50 == 0 else "RestrictAccess",
                PolicyScope(f"Group {n % groups}", f"S-1-5-21-{n % groups}", guid(6, n % groups)),
                None,
                valid=True,
            )
            for n in range(0, apps, 5)
        ),
        attributes_read=("Department", "CustomAttribute1", "CountryOrRegion", "HiddenFromAddressListsEnabled"),
        recipients=tuple(_recipient(number, chance) for number in range(mailboxes)),
        groups=tuple(_group(number, groups, mailboxes, chance) for number in range(groups)),
        administrative_units=tuple(
            AdministrativeUnit(
                guid(8, n), f"Unit {n}", tuple(guid(5, m) for m in chance.sample(range(mailboxes), mailboxes // 50))
            )
            for n in range(20)
        ),
        organization=Organization(None, None, enforce_exo_app_rbac_permissions=False),
        unread=(),
    )


def governed(policies: int = 300, mailboxes: int = 200_000, seed: int = 20261126) -> Snapshot:
    """Apps under access policies, and no roles yet: every fifth policy is an app's second one, every twentieth denies. Groups
    are those of :func:`tenant`: some have another inside, some are distribution groups."""
    chance = random.Random(seed)  # noqa: S311 - made-up data
    whole = tenant(policies, mailboxes)
    assert isinstance(whole.groups, tuple)
    owners = [number * 4 // 5 for number in range(policies)]
    return replace(
        whole,
        apps=tuple(_governed_app(number, chance) for number in dict.fromkeys(owners)),
        service_principals=(),
        role_assignments=(),
        access_policies=tuple(
            _policy(owner, whole.groups[chance.randrange(len(whole.groups))], deny=number % 20 == 7)
            for number, owner in enumerate(owners)
        ),
    )


def _governed_app(number: int, chance: random.Random) -> App:
    known = [permission(name, GRAPH) for name in chance.sample(GRANTED, chance.randint(1, 3))]
    held = [each for each in known if each is not None and each.app_role_id is not None]
    return App(
        app_id=guid(2, number),
        object_id=guid(3, number),
        application_object_id=guid(7, number),
        display_name=f"Connector {number}",
        consents=tuple(
            Consent(f"consent-{number}-{place}", GRAPH, str(each.app_role_id), each.name)
            for place, each in enumerate(held)
        ),
        requested=tuple(Requested(GRAPH, str(each.app_role_id), each.name) for each in held),
    )


def _policy(owner: int, group: Group, *, deny: bool) -> AccessPolicy:
    object_id = group.external_directory_object_id or group.guid
    return AccessPolicy(
        f"{guid(1, 1)}\\{guid(2, owner)}:{group.sid};{object_id};{deny}",
        guid(2, owner),
        "DenyAccess" if deny else "RestrictAccess",
        PolicyScope(group.display_name, group.sid or "", object_id),
        None,
        valid=True,
    )


def _app(number: int, chance: random.Random) -> App:
    consents = []
    for name in chance.sample((*GRANTED, "full_access_as_app"), chance.randint(0, 2)):
        known = permission(name, EXCHANGE if name == "full_access_as_app" else GRAPH)
        assert known is not None
        assert known.app_role_id is not None
        consents.append(Consent(f"consent-{number}-{name}", known.resource, known.app_role_id, name))
    return App(
        app_id=guid(2, number),
        object_id=guid(3, number),
        application_object_id=None,
        display_name=f"Connector {number}",
        consents=tuple(consents),
        requested=(),
    )


def _management_scope(number: int, groups: int, chance: random.Random) -> ManagementScope:
    department = chance.choice(DEPARTMENTS)
    text = (
        f"MemberOfGroup -eq '{group_dn(chance.randrange(groups))}'",
        " -or ".join(f"(MemberOfGroup -eq '{group_dn(g)}')" for g in chance.sample(range(groups), min(10, groups))),
        f"(Department -eq '{department}') -and (RecipientTypeDetails -eq 'UserMailbox')",
        f"(CustomAttribute1 -like 'tag{number % 30}*') -or -not (Department -eq '{department}')",
    )[number % 4]
    return ManagementScope(f"Scope {number}", text, None, exclusive=False)


def _scope(number: int, groups: int, chance: random.Random) -> Scope:
    if number % 100 == 2:
        return OrganizationScope()
    if number % 10 == 0:
        return AdministrativeUnitScope(guid(8, number % 20))
    if number % 10 == 1:
        return GroupScope(guid(4, chance.randrange(groups)))
    return ManagementScopeScope(f"Scope {number}")


def _recipient(number: int, chance: random.Random) -> Recipient:
    kind = chance.choices(("UserMailbox", "SharedMailbox", "RoomMailbox", "MailUser"), (85, 8, 4, 3))[0]
    address = f"person.{number}@contoso.com"
    attributes: dict[str, object] = {"Department": chance.choice(DEPARTMENTS), "HiddenFromAddressListsEnabled": False}
    if number % 3 == 0:
        attributes["CustomAttribute1"] = f"tag{number % 1000}"
    return Recipient(
        guid=guid(9, number),
        external_directory_object_id=guid(5, number),
        display_name=f"Person {number}",
        primary_smtp_address=address,
        email_addresses=(address, f"p{number}@contoso.onmicrosoft.com"),
        distinguished_name=f"CN=Person {number},OU=contoso.onmicrosoft.com,OU=Microsoft Exchange Hosted Organizations,DC=com",
        recipient_type="MailUser" if kind == "MailUser" else "UserMailbox",
        recipient_type_details=kind,
        attributes=attributes,
    )


def _group(number: int, groups: int, mailboxes: int, chance: random.Random) -> Group:
    members = [guid(9, n) for n in chance.sample(range(mailboxes), min(mailboxes, chance.choice((5, 50, 500))))]
    if number % 7 == 0:
        members.append(guid(4, (number * 3 + 1) % groups))
    return Group(
        guid=guid(4, number),
        external_directory_object_id=guid(6, number),
        sid=f"S-1-5-21-{number}",
        display_name=f"Group {number}",
        primary_smtp_address=f"group.{number}@contoso.com",
        distinguished_name=group_dn(number),
        recipient_type_details="MailUniversalDistributionGroup" if number % 11 == 0 else "MailUniversalSecurityGroup",
        members=tuple(members),
    )


assert set(GRANTED) <= {name.removeprefix("Application ") for name in ROLES}
