"""Small random tenants for the laws of reach: lists go unread, references dangle, groups nest in circles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from exoscope.catalog import EXCHANGE, GRAPH, by_id, permission
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
    Role,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
    Tenant,
)

PERMISSIONS = (
    "Mail.Read",
    "Mail.ReadBasic",
    "Mail.ReadBasic.All",
    "Mail.ReadWrite",
    "Mail.Send",
    "Calendars.ReadBasic.All",
    "MailboxItem.Read.All",
    "MailboxItem.ReadWrite.All",
    "full_access_as_app",
    "EWS.AccessAsApp",
    "IMAP.AccessAsApp",
    "SMTP.SendAsApp",
)
APPS, RECIPIENTS, GROUPS = 3, 5, 5
ROLES = (
    "Application Mail.Read",
    "Application Mail.ReadWrite",
    "Application Mail Full Access",
    "Application EWS.AccessAsApp",
    "Application Mail.ReadBasic",
    "Application SMTP.SendAsApp",
    "Application Nobody.Knows",
)


def guid(kind: int, number: int) -> str:
    return f"{kind:08x}-0000-0000-0000-{number:012x}"


def group_dn(number: int) -> str:
    return f"CN=Group {number},OU=contoso,DC=example,DC=com"


FILTERS = (
    f"MemberOfGroup -eq '{group_dn(0)}'",
    f"MemberOfGroup -eq '{group_dn(1)}' -or MemberOfGroup -eq 'cn=group 2, ou=Contoso, dc=example, dc=com'",
    f"-not (MemberOfGroup -eq '{group_dn(1)}')",
    f"MemberOfGroup -eq '{group_dn(77)}'",
    "MemberOfGroup -ne $null",
    "Department -eq 'sales'",
    "Department -ne 'Sales'",
    "Department -like 'Sa*'",
    "CustomAttribute1 -eq $null",
    "Department -eq 'Sales' -and CustomAttribute1 -eq 'x' -or RecipientTypeDetails -eq 'SharedMailbox'",
    "PrimarySmtpAddress -eq 'alias1@contoso.com'",
    "RecipientType -eq 'UserMailbox'",
    "NobodysProperty -eq 'x'",
    "Department -eq",
)


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, values, values, st.just(UNSET))


@st.composite
def _recipient(draw: st.DrawFn, number: int) -> Recipient:
    attributes: dict[str, Any] = {}
    for name, values in (("Department", ("Sales", "SALES", "Legal", None)), ("CustomAttribute1", ("x", None))):
        value = draw(st.sampled_from(values))
        if value is not None:
            attributes[name] = value
    kind = draw(st.sampled_from(("UserMailbox", "UserMailbox", "UserMailbox", "MailUser")))
    details = draw(st.sampled_from(("UserMailbox", "SharedMailbox"))) if kind == "UserMailbox" else kind
    return Recipient(
        guid=guid(1, number),
        external_directory_object_id=draw(st.sampled_from((guid(2, number), guid(2, number), None))),
        display_name=f"Recipient {number}",
        primary_smtp_address=f"{'rRsS'[number % 4]}{number}@contoso.com",
        email_addresses=(f"r{number}@contoso.com", f"alias{number}@contoso.com"),
        distinguished_name=f"CN=Recipient {number},OU=contoso,DC=example,DC=com",
        recipient_type=kind,
        recipient_type_details=details,
        attributes=attributes,
    )


@st.composite
def _group(draw: st.DrawFn, number: int) -> Group:
    members = [guid(1, n) for n in range(RECIPIENTS)] + [guid(3, n) for n in range(GROUPS)] + [guid(9, 9)]
    return Group(
        guid=guid(3, number),
        external_directory_object_id=guid(4, number),
        sid=f"S-1-5-21-{number}",
        display_name=f"Group {number}",
        primary_smtp_address=f"group{number}@contoso.com",
        distinguished_name=group_dn(number),
        recipient_type_details=draw(
            st.sampled_from(
                ("MailUniversalSecurityGroup", "MailUniversalSecurityGroup", "MailUniversalDistributionGroup")
            )
        ),
        members=draw(
            st.one_of(
                st.none(),
                *[st.lists(st.sampled_from(members), max_size=4, unique=True).map(tuple)] * 5,
            )
        ),
    )


@st.composite
def _app(draw: st.DrawFn, number: int) -> App:
    consents = []
    for place, name in enumerate(draw(st.lists(st.sampled_from(PERMISSIONS), max_size=3, unique=True))):
        home = permission(name)
        assert home is not None
        resource = draw(st.sampled_from((home.resource, home.resource, GRAPH, EXCHANGE)))
        known = permission(name, resource)
        role_id = known.app_role_id if known and known.app_role_id else guid(5, number * 10 + place)
        assert by_id(resource, role_id) in (known, None)
        consents.append(Consent(guid(6, number * 10 + place), resource, role_id, name))
    return App(
        app_id=guid(7, number),
        object_id=guid(8, number),
        application_object_id=None,
        display_name=f"App {number}",
        consents=tuple(consents),
        requested=(),
    )


_POINTER_OBJECTS = [guid(8, n) for n in range(APPS)] + [guid(8, 99)]


@st.composite
def _pointer(draw: st.DrawFn, number: int) -> ServicePrincipal:
    return ServicePrincipal(
        app_id=guid(7, number % APPS),
        object_id=_POINTER_OBJECTS[number],
        display_name=draw(st.sampled_from((f"App {number}", "App 0"))),
        override_enforce_exo_app_rbac_permissions=draw(st.sampled_from((None, None, None, False, True, UNSET))),
    )


@st.composite
def _scope(draw: st.DrawFn) -> Any:
    return draw(
        st.one_of(
            st.just(OrganizationScope()),
            st.sampled_from(range(len(FILTERS) + 1)).map(lambda n: ManagementScopeScope(f"SCOPE {n}")),
            st.sampled_from((0, 1, 9)).map(lambda n: AdministrativeUnitScope(guid(10, n))),
            st.sampled_from((guid(3, 0), guid(4, 1).upper(), guid(3, 2), guid(3, 77))).map(GroupScope),
        )
    )


@st.composite
def _assignment(draw: st.DrawFn, number: int) -> RoleAssignment:
    n = draw(st.integers(0, APPS))
    assignee = draw(st.sampled_from((_POINTER_OBJECTS[n].upper(), guid(7, n % APPS), f"app {n}")))
    enabled = draw(st.sampled_from((True, True, True, False)))
    return RoleAssignment(f"Assignment {number}", draw(st.sampled_from(ROLES)), assignee, enabled, draw(_scope()))


@st.composite
def _policy(draw: st.DrawFn, number: int) -> AccessPolicy:
    app_id = draw(st.sampled_from((*[guid(7, n) for n in range(APPS)], "*")))
    scope = draw(st.sampled_from([guid(4, n).upper() for n in range(GROUPS)] + [guid(2, 0), guid(2, 1), guid(9, 9)]))
    right: Any = draw(st.sampled_from(("RestrictAccess", "DenyAccess")))
    valid = draw(st.sampled_from((True, True, True, True, False)))
    return AccessPolicy(f"{number}", app_id, right, PolicyScope("scope", "S-1", scope), None, valid)


def _each(make: Any, count: int) -> st.SearchStrategy[Any]:
    return st.tuples(*[make(number) for number in range(count)])


def _some(make: Any, most: int) -> st.SearchStrategy[Any]:
    return st.integers(0, most).flatmap(lambda count: _each(make, count))


@st.composite
def tenants(draw: st.DrawFn, unread: bool = True) -> Snapshot:
    """A snapshot. ``unread`` False: every list was read (memberships may still be unread)."""
    wrap = _maybe if unread else (lambda values: values)
    return Snapshot(
        format="exoscope/snapshot@1",
        read_at=datetime(2026, 11, 23, tzinfo=UTC),
        tenant=Tenant(guid(11, 0), "contoso.onmicrosoft.com", "worldwide"),
        apps=draw(_each(_app, APPS)),
        service_principals=draw(wrap(_some(_pointer, APPS + 1))),
        management_scopes=draw(
            wrap(st.just(tuple(ManagementScope(f"Scope {n}", text, None, False) for n, text in enumerate(FILTERS))))
        ),
        role_assignments=draw(wrap(_some(_assignment, 3))),
        access_policies=draw(wrap(_some(_policy, 3))),
        roles=draw(
            st.one_of(
                st.just(UNSET),
                st.just((Role("application mail.read", ("Mail.Read",)), Role(ROLES[1], ("Mail.ReadWrite",)))),
            )
        ),
        attributes_read=draw(wrap(st.sampled_from((("Department", "CustomAttribute1"), ("department",))))),
        recipients=draw(_each(_recipient, RECIPIENTS)),
        groups=draw(wrap(_each(_group, GROUPS))),
        administrative_units=draw(
            wrap(
                st.lists(st.sampled_from([guid(2, n) for n in range(RECIPIENTS)]), unique=True).map(
                    lambda members: tuple(AdministrativeUnit(guid(10, n), f"Unit {n}", tuple(members)) for n in (0, 1))
                )
            )
        ),
        organization=draw(wrap(st.sampled_from((False, False, False, None, True)).map(_organization))),
        unread=(),
    )


def _organization(enforced: bool | None) -> Organization:
    return Organization(None, None, enforced)
