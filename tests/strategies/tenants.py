"""Random tenants: small, and awkward on purpose. ``from strategies.tenants import tenants, filters, PERMISSIONS``.

Names clash, groups nest in circles, references dangle, lists and members are unread, filters are odd. Every tenant is one that
the loader takes: identities are unique, case is not kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

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
    "Calendars.Read",
    "MailboxItem.Read.All",
    "MailboxSettings.Read",
    "full_access_as_app",
    "EWS.AccessAsApp",
    "IMAP.AccessAsApp",
    "SMTP.SendAsApp",
    "Exchange.ManageAsApp",
    "Mailbox.Migration",
)
_HELD = (
    *((GRAPH, name) for name in PERMISSIONS if permission(name, GRAPH)),
    *((EXCHANGE, name) for name in ("full_access_as_app", "Mail.Read", "IMAP.AccessAsApp", "SMTP.SendAsApp")),
    (EXCHANGE, "Exchange.ManageAsApp"),
    (EXCHANGE, "Mailbox.Migration"),
    (EXCHANGE, "EWS.AccessAsApp"),
)
# what most tenants of this strategy are about, so that rules meet each other
_MAIL = ((GRAPH, "Mail.Read"), (GRAPH, "Mail.ReadWrite")) * 6
_ROLES = (*ROLES, "Application Made.Up")
_KINDS = ("UserMailbox", "SharedMailbox", "RoomMailbox", "MailUser")
_GROUPS = ("MailUniversalSecurityGroup", "MailUniversalDistributionGroup", "GroupMailbox")
_WORDS = ("Sales", "sales", "Straße", "STRASSE", "O'Brien", "West*", "x", "90210", "FR", "France")
_DATES = ("2017-01-08T00:00:00Z", "2020-05-05", "8/1/2017 2:00:00 PM", "12/31/2019")
ATTRIBUTES = (
    "Department",
    "CustomAttribute1",
    "Company",
    "ResourceCapacity",
    "HiddenFromAddressListsEnabled",
    "WhenCreated",
)
_TEXTS = ("Department", "CustomAttribute1", "Company", "DisplayName", "ExtensionCustomAttribute1", "City")
ATTRIBUTES += ("Manager", "ExtensionCustomAttribute1", "UsageLocation")


def _guid(kind: int, number: int) -> str:
    return f"{kind:08d}-aaaa-4bbb-8ccc-{number:012d}"


def recased(text: str) -> st.SearchStrategy[str]:
    """The text, perhaps in other case: identities are compared without it."""
    return st.sampled_from((text, text, text.upper(), text.lower()))


def dn(kind: str, number: int) -> str:
    """A DN with something to escape in every second one."""
    return f"CN={kind}{number}{'' if number % 2 else chr(92) + ', x'},OU=contoso,DC=test"


def _value(name: str) -> st.SearchStrategy[Any]:
    if name == "ResourceCapacity":
        return st.one_of(st.integers(-3, 20), st.sampled_from(("15", "Unlimited")))
    if name == "HiddenFromAddressListsEnabled":
        return st.booleans()
    if name == "WhenCreated":
        return st.sampled_from(_DATES)
    if name == "Manager":
        return st.sampled_from((dn("u", 0), dn("u", 1)))
    if name == "ExtensionCustomAttribute1":
        return st.lists(st.sampled_from(_WORDS), max_size=2).map(tuple)
    if name == "UsageLocation":
        return st.sampled_from(("FR", "France", "UnitedStates", "United States", "US"))
    return st.sampled_from(_WORDS)


@st.composite
def _recipient(draw: st.DrawFn, number: int) -> Recipient:
    kind = draw(st.sampled_from(_KINDS))
    alias = st.sampled_from(("smtp:old@contoso.com", f"u{(number + 1) % 4}.alias@contoso.com", "x@fabrikam.com"))
    primary = f"u{number}@contoso.com"
    names = draw(st.sets(st.sampled_from(ATTRIBUTES), max_size=4))
    return Recipient(
        guid=draw(recased(_guid(1, number))),
        external_directory_object_id=draw(st.one_of(st.none(), recased(_guid(2, number)))),
        display_name=draw(st.sampled_from(("Ada", "ada", f"User {number}"))),
        primary_smtp_address=primary,
        email_addresses=(primary, *draw(st.lists(alias, max_size=2, unique=True))),
        distinguished_name=dn("u", number),
        recipient_type="MailUser" if kind == "MailUser" else draw(recased("UserMailbox")),
        recipient_type_details=kind,
        attributes={name: draw(_value(name)) for name in sorted(names)},
    )


@st.composite
def _group(draw: st.DrawFn, number: int, groups: int, recipients: int) -> Group:
    guids = [_guid(1, n) for n in range(recipients)] + [_guid(3, n) for n in range(groups)] * 2 + [_guid(9, 0)]
    members = st.lists(st.sampled_from(guids).flatmap(recased), max_size=5, unique_by=str.lower).map(tuple)
    return Group(
        guid=_guid(3, number),
        external_directory_object_id=draw(st.one_of(st.none(), recased(_guid(4, number)), recased(_guid(4, number)))),
        sid=f"S-1-5-21-{number}",
        display_name=draw(st.sampled_from(("Sales", f"Group {number}"))),
        primary_smtp_address=f"g{number}@contoso.com",
        distinguished_name=dn("g", number),
        recipient_type_details=draw(st.sampled_from((*_GROUPS, _GROUPS[0], _GROUPS[0]))),
        members=draw(st.one_of(members, members, members, st.none())),
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# property, operators, values as they stand in the filter
_ATOMS: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("MemberOfGroup", "memberofgroup"),
        ("-eq", "-eq", "-ne", "-like", "-EQ"),
        (
            *(_literal(dn("g", n)) for n in range(4)),
            _literal(dn("g", 1).replace(",", " , ").upper()),
            _literal("g0@contoso.com"),
            _literal("CN=*,DC=x"),
        ),
    ),
    (("MemberOfGroup",), ("-eq", "-ne"), ("$null",)),
    (("Manager",), ("-eq", "-ne"), (_literal(dn("u", 0)), _literal("Ada"), "$null")),
    (("HiddenFromAddressListsEnabled",), ("-eq", "-ne"), ("$true", "$false", "$null")),
    (("ResourceCapacity",), ("-eq", "-ne", "-gt", "-lt", "-ge", "-le"), ("15", "-2", _literal("15"))),
    (("WhenCreated",), ("-gt", "-lt", "-eq"), tuple(_literal(date) for date in _DATES)),
    (
        ("PrimarySmtpAddress", "EmailAddresses"),
        ("-eq", "-like", "-ne"),
        tuple(
            _literal(text)
            for text in (
                "u0@contoso.com",
                "u1.alias@contoso.com",
                "smtp:u1*",
                "u*",
                "s*",
                "*contoso.com",
                "SMTP:U2@contoso.com",
            )
        ),
    ),
    (
        ("RecipientType", "recipienttypedetails"),
        ("-eq", "-ne"),
        tuple(_literal(kind) for kind in (*_KINDS, "userMAILBOX")),
    ),
    (
        ("Database", "NoSuchProperty", "UsageLocation", "DistinguishedName", "ExternalDirectoryObjectId", "Guid"),
        ("-eq",),
        tuple(_literal(text) for text in ("FR", "France", dn("u", 1), _guid(1, 0), _guid(2, 1).upper())),
    ),
    (_TEXTS, ("-eq", "-ne"), ("$null", "90210")),
    (_TEXTS, ("-eq", "-ne", "-like", "-notlike", "-gt"), tuple(_literal(word) for word in _WORDS)),
    (_TEXTS, ("-like", "-notlike"), tuple(_literal(word + "*") for word in _WORDS)),
)


def _atom() -> st.SearchStrategy[str]:
    return (
        st.sampled_from(_ATOMS).flatmap(lambda atom: st.tuples(*(st.sampled_from(part) for part in atom))).map(" ".join)
    )


def filters() -> st.SearchStrategy[str]:
    """Filter texts: mostly ones that parse, some that do not, some whose -and and -or stand side by side."""
    joined = st.recursive(
        _atom(),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(("-and", "-or")), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
            inner.map(lambda text: f"-not ({text})"),
            st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) -and ({t[1]}) -or ({t[2]})"),
        ),
        max_leaves=4,
    )
    return st.one_of(
        joined, joined, joined, joined, st.sampled_from(("Department -eq", "", "Department = 'x'", "{City -eq 'Wien'}"))
    )


def _maybe(strategy: st.SearchStrategy[Any], unread: bool) -> st.SearchStrategy[Any]:
    """The list, or (rarely) unread."""
    return st.integers(0, 11).flatmap(lambda n: st.just(UNSET) if unread and n == 11 else strategy)


_other_role = st.one_of(*[st.none()] * 5, st.sampled_from(PERMISSIONS))
"""Now and then a consent's app role id is that of another permission than its name says."""


def _consent(number: int, held: tuple[str, str], meant: str | None) -> Consent:
    resource, name = held
    known = (permission(meant, resource) if meant else None) or permission(name, resource)
    role = (known.app_role_id if known else None) or _guid(8, number)
    return Consent(id=f"c{number}", resource=resource, app_role_id=role, permission=name)


@st.composite
def _app(draw: st.DrawFn, number: int) -> App:
    held = draw(st.lists(st.sampled_from((*_MAIL, *_HELD)), min_size=number == 0, max_size=3, unique=True))
    return App(
        app_id=draw(recased(_guid(5, number))),
        object_id=draw(recased(_guid(6, number))),
        application_object_id=None,
        display_name=draw(st.sampled_from(("Connector", f"App {number}"))),
        consents=tuple(_consent(place, each, draw(_other_role)) for place, each in enumerate(held)),
        requested=(),
    )


@st.composite
def _pointer(draw: st.DrawFn, number: int) -> ServicePrincipal:
    stale = draw(st.integers(0, 5)) == 0
    return ServicePrincipal(
        app_id=_guid(5, number),
        object_id=_guid(7 if stale else 6, number),
        display_name=draw(st.sampled_from(("Connector", f"App {number}"))),
        override_enforce_exo_app_rbac_permissions=draw(st.sampled_from((None,) * 8 + (False, True, UNSET))),
    )


@st.composite
def _assignment(draw: st.DrawFn, number: int) -> RoleAssignment:
    app = draw(st.sampled_from((0, 0, 0, 1)))
    scope = st.one_of(
        st.just(OrganizationScope()),
        st.integers(0, 3).flatmap(lambda n: recased(f"scope {n}")).map(lambda name: ManagementScopeScope(name=name)),
        st.integers(0, 2).flatmap(lambda n: recased(_guid(10, n))).map(lambda unit: AdministrativeUnitScope(id=unit)),
        st.tuples(st.sampled_from((3, 4)), st.integers(0, 3)).map(lambda t: GroupScope(id=_guid(*t))),
    )
    return RoleAssignment(
        name=f"assignment {number}",
        role=draw(
            st.one_of(
                recased("Application Mail.Read"),
                st.sampled_from(("Application Mail.ReadWrite", "Application Mail Full Access")),
                st.sampled_from(_ROLES),
            )
        ),
        assignee=draw(
            st.sampled_from(
                (
                    _guid(6, app),
                    _guid(6, app).upper(),
                    _guid(5, app),
                    "Connector",
                    "Connector",
                    f"App {app}",
                    _guid(7, app),
                )
            )
        ),
        enabled=draw(st.integers(0, 5)) > 0,
        scope=draw(scope),
    )


@st.composite
def _policy(draw: st.DrawFn, number: int) -> AccessPolicy:
    app_id = draw(st.sampled_from((_guid(5, 0), _guid(5, 0), _guid(5, 0).upper(), _guid(5, 1), "*")))
    scope = draw(
        st.sampled_from(
            [_guid(4, n) for n in (0, 0, 1, 1, 2, 3)] + [_guid(3, 0), _guid(2, 0), _guid(2, 1).upper(), _guid(99, 9)]
        )
    )
    return AccessPolicy(
        identity=f"tenant\\{app_id}:S-{number};{scope}",
        app_id=app_id,
        access_right=draw(st.sampled_from(("RestrictAccess", "RestrictAccess", "DenyAccess"))),
        scope=PolicyScope(name="scope", sid=f"S-{number}", object_id=scope),
        description=None,
        valid=draw(st.integers(0, 11)) > 0,
    )


@st.composite
def tenants(draw: st.DrawFn, *, unread: bool = True) -> Snapshot:
    """A whole tenant of at most 4 recipients, 4 groups, 2 apps. ``unread`` False: everything was read (members too may be null)."""
    recipients = draw(st.integers(2, 4))
    groups = draw(st.integers(1, 4))

    def some(make: Any, most: int) -> st.SearchStrategy[Any]:
        return st.integers(0, most).flatmap(lambda n: st.tuples(*(make(place) for place in range(n))))

    scopes = st.integers(0, 3).flatmap(
        lambda n: st.tuples(
            *(
                st.builds(
                    ManagementScope,
                    name=st.just(f"Scope {place}"),
                    recipient_filter=filters(),
                    recipient_root=st.sampled_from(
                        (None, None, None, "OU=contoso,DC=test", "OU=other", "contoso.com/Users", dn("u", 0))
                    ),
                    exclusive=st.booleans(),
                )
                for place in range(n)
            )
        )
    )
    members = st.lists(st.integers(0, 3).flatmap(lambda n: recased(_guid(2, n))), max_size=3, unique_by=str.lower).map(
        tuple
    )
    units = st.integers(0, 2).flatmap(
        lambda n: st.tuples(
            *(
                st.builds(
                    AdministrativeUnit, id=st.just(_guid(10, p)), display_name=st.just(f"Unit {p}"), members=members
                )
                for p in range(n)
            )
        )
    )
    roles = st.just(tuple(Role(name=name, permissions=given) for name, given in ROLES.items()))
    narrow = st.just(
        (
            Role(name="Application Mail.Read", permissions=("Mail.Read",)),
            Role(name="Application Made.Up", permissions=("Mail.Send",)),
        )
    )
    organization = st.builds(
        Organization,
        ews_enabled=st.none(),
        ews_allowed_app_ids=st.none(),
        enforce_exo_app_rbac_permissions=st.sampled_from((False,) * 8 + (None, True)),
        is_dehydrated=st.just(False),
    )
    return Snapshot(
        format="exoscope/snapshot@1",
        read_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
        tenant=Tenant(id=_guid(11, 0), domain="contoso.onmicrosoft.com", cloud="worldwide"),
        apps=tuple(draw(_app(n)) for n in range(draw(st.integers(1, 2)))),
        service_principals=draw(_maybe(some(_pointer, 2), unread)),
        management_scopes=draw(_maybe(scopes, unread)),
        role_assignments=draw(_maybe(some(_assignment, 3), unread)),
        access_policies=draw(_maybe(some(_policy, 3), unread)),
        roles=draw(st.one_of(roles, narrow, _maybe(roles, unread))),
        attributes_read=draw(_maybe(st.sampled_from((ATTRIBUTES, ATTRIBUTES, ATTRIBUTES[:4], ())), unread)),
        recipients=tuple(draw(_recipient(n)) for n in range(recipients)),
        groups=draw(_maybe(st.tuples(*(_group(n, groups, recipients) for n in range(groups))), unread)),
        administrative_units=draw(_maybe(units, unread)),
        organization=draw(_maybe(organization, unread)),
    )
