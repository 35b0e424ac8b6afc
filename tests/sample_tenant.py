"""Makes the sample tenant, the same every time: ``python tests/sample_tenant.py`` writes it, a test compares.

About 60 mailboxes of an imagined Contoso, awkward where real tenants are: names with every kind of quote and script, aliases
that look like other people's addresses, nested, circular, empty and Microsoft 365 groups, shared, room and equipment mailboxes,
mail users, connectors with leftover consents, a stale pointer, an organisation-wide assignment, a Deny policy. It is wholly read.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exoscope import snapshot
from exoscope.catalog import EXCHANGE, GRAPH, ROLES, by_id, permission
from exoscope.model import (
    AccessPolicy,
    AdministrativeUnit,
    AdministrativeUnitScope,
    App,
    Consent,
    Credential,
    Group,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    Organization,
    OrganizationScope,
    PolicyScope,
    Recipient,
    Requested,
    Role,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
    Tenant,
)

FILE = Path(__file__).parents[1] / "toolkit" / "exoscope" / "data" / "sample_tenant.json"
TENANT = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
DOMAIN = "contoso.onmicrosoft.com"
BASE = f"OU={DOMAIN},OU=Microsoft Exchange Hosted Organizations,DC=EURPR05A002,DC=PROD,DC=OUTLOOK,DC=COM"
USER_READ_ALL = ("User.Read.All", "df021288-bdef-4463-88db-98f22de89214")


def guid(*parts: str) -> str:
    """A Guid that depends on the parts alone."""
    return str(uuid.uuid5(uuid.UUID(TENANT), "/".join(parts)))


def dn(name: str) -> str:
    """The distinguished name, with the characters of RFC 4514 escaped."""
    escaped = "".join("\\" + char if char in ',+"\\<>;=' else char for char in name)
    return f"CN={escaped},{BASE}"


# --- recipients ------------------------------------------------------------------------------------------------------

# alias, display name, further addresses, Department, CustomAttribute1
PEOPLE = [
    ("ada", "Ada Lovelace", ["a.lovelace", "countess"], "Engineering", "omniscope"),
    ("alan", "Alan Turing", ["a.turing"], "Engineering", "omniscope"),
    ("grace", "Grace Hopper", ["amazing.grace"], "Engineering", "omniscope"),
    ("ceo", "Martha Chief", ["martha", "martha.chief"], "Board", None),
    ("cfo", "Ravi Gupta", ["ravi.gupta"], "Board", None),
    # somebody else's would-be address: firstname.lastname of Ada is Anna's alias
    ("anna.lovelace", "Anna Lovelace", ["ada.lovelace"], "Sales", None),
    ("sean.obrien", "Seán O’Brien", ["sean.o'brien"], "Sales", "O'Brien's team"),
    ("darcy", "Fitzwilliam D'Arcy", ["fitzwilliam"], "Sales", "O'Brien's team"),
    ("jack.miller", 'Jack "Ace" Miller', ["ace"], "Sales", None),
    ("max.mustermann", "„Max“ Mustermann", ["m.mustermann"], "Vertrieb", None),
    ("li.wei", "李伟", ["wei.li"], "Sales", None),
    ("yamada", "山田 太郎", ["taro.yamada"], "Sales", None),
    ("kim", "김민준", ["minjun.kim"], "Engineering", None),
    ("sokolova", "Юлия Соколова", ["julia.sokolova"], "Finance", None),
    ("papadopoulos", "Αλέξης Παπαδόπουλος", ["alexis"], "Finance", None),
    ("m.ali", "محمد علي", ["mohammed.ali"], "Finance", None),
    ("levi", "נועה לוי", ["noa.levi"], "HR", None),
    ("zoe", "Zoë Ångström", ["zoe.angstrom"], "HR", None),
    ("nguyen", "Nguyễn Thị Hạnh", ["hanh.nguyen"], "HR", None),
    ("istanbul", "İpek Işık", ["ipek.isik"], "Engineering", None),
    ("weiss", "Straße, Heinz (Büro „West‚)", ["h.strasse"], "Vertrieb", None),
    ("sales.smith", "Sally Smith", ["sales-team"], "Sales", None),
    ("smith", "John Smith", ["j.smith"], "Sales", None),
    ("smith2", "John Smith", ["john.smith2"], "IT", None),
    ("null", "Null Pointer", ["undefined"], "IT", None),
    ("backslash", "Back\\Slash, Inc. + Partner", [], "IT", None),
    ("semicolon", "Robert'); DROP TABLE Mailboxes;--", ["bobby.tables"], "IT", "omniscope"),
    ("percent", "100% --% Percent", [], "IT", None),
    ("admin", "Tenant Admin", ["postmaster", "abuse"], "IT", None),
    ("helpdesk1", "Helga Desk", ["helga"], "IT", None),
    ("priya", "Priya Sharma", ["p.sharma"], "Engineering", None),
    ("omar", "Omar Haddad", ["o.haddad"], "Engineering", None),
    ("ingrid", "Ingrid Bergström", ["i.bergstrom"], "Engineering", None),
    ("tomasz", "Tomasz Wójcik", ["t.wojcik"], "Finance", None),
    ("chloe", "Chloé Dubois", ["c.dubois"], "Finance", None),
    ("mateo", "Mateo García", ["m.garcia"], "Sales", None),
    ("joao", "João Conceição", ["j.conceicao"], "Sales", None),
    ("fatima", "Fatima Zahra", ["f.zahra"], "Legal", None),
    ("viktor", "Viktor Novák", ["v.novak"], "Legal", None),
    ("aoife", "Aoife Ní Bhriain", ["a.nibhriain"], "Legal", None),
    ("sam", "Sam Nobody", [], None, None),
    ("pat", "Pat Nobody", [], None, None),
    ("leaver", "Lea Leaver (left 2025)", ["former.ceo"], None, None),
]
# alias, display name, details, further addresses, Department
SPECIAL = [
    ("info", "Info", "SharedMailbox", ["hello", "contact"], None),
    ("sales", "Sales ‚front desk‛", "SharedMailbox", ["vertrieb"], "Sales"),
    ("invoices", "Invoices & „Rechnungen“", "SharedMailbox", ["rechnungen"], "Finance"),
    ("jobs", "Jobs / 採用", "SharedMailbox", ["careers"], "HR"),
    ("launch", "🚀 Launch", "SharedMailbox", [], None),
    ("omniscope-inbox", "Omniscope Inbox", "SharedMailbox", ["omniscope"], None),
    ("archive", "Archive 2019", "UserMailbox", [], None),
    ("svc-scan", "svc-scan", "UserMailbox", ["scanner"], "IT"),
    ("room-ada", "Room Ada (12)", "RoomMailbox", ["room.a"], None),
    ("room-babbage", "Room “Babbage”", "RoomMailbox", ["room.b"], None),
    ("room-wien", "Raum Wien (Österreich)", "RoomMailbox", [], None),
    ("room-board", "Board Room", "RoomMailbox", [], "Board"),
    ("van", "Delivery Van", "EquipmentMailbox", [], None),
    ("projector", "Projector №2", "EquipmentMailbox", ["beamer"], None),
]
# alias, display name, details: no mailboxes
MAIL_USERS = [
    ("contractor", "Connie Contractor", "MailUser"),
    ("auditor_fabrikam.com#EXT#", "Auditor (Fabrikam)", "GuestMailUser"),
    ("partner", "Partner’s Desk", "MailUser"),
]


def recipient(
    alias: str, name: str, details: str, more: list[str], department: str | None, custom: str | None
) -> Recipient:
    """One recipient; a name that occurs twice gets its alias into the DN, as Exchange makes names unique."""
    twice = [person[1] for person in PEOPLE].count(name) > 1
    mailbox = not details.endswith("MailUser")
    address = f"{alias}@{'contoso.com' if mailbox else DOMAIN}"
    read = {"Department": department, "CustomAttribute1": custom}
    return Recipient(
        guid=guid("recipient", alias),
        external_directory_object_id=guid("user", alias),
        display_name=name,
        primary_smtp_address=address,
        email_addresses=(address, *(f"{other}@contoso.com" for other in more)),
        distinguished_name=dn(f"{name} {alias}" if twice else name),
        recipient_type="UserMailbox" if mailbox else "MailUser",
        recipient_type_details=details,
        attributes={key: value for key, value in read.items() if value is not None},
    )


RECIPIENTS = (
    *(recipient(alias, name, "UserMailbox", more, dept, custom) for alias, name, more, dept, custom in PEOPLE),
    *(recipient(alias, name, details, more, dept, None) for alias, name, details, more, dept in SPECIAL),
    *(recipient(alias, name, details, [], None, None) for alias, name, details in MAIL_USERS),
)

# --- groups ----------------------------------------------------------------------------------------------------------

SECURITY, DISTRIBUTION, UNIFIED = "MailUniversalSecurityGroup", "MailUniversalDistributionGroup", "GroupMailbox"
CONTACT = guid("contact", "supplier")  # a mail contact: in no list of a snapshot


def person(alias: str) -> str:
    """A recipient's Guid."""
    assert any(found.guid == guid("recipient", alias) for found in RECIPIENTS), alias
    return guid("recipient", alias)


def group_id(alias: str) -> str:
    """A group's Guid."""
    return guid("group", alias)


def group(
    alias: str,
    name: str,
    details: str,
    members: list[str],
    *,
    owners: tuple[str, ...] = ("admin",),
    join: str = "Closed",
) -> Group:
    """One group; members are aliases of recipients, ``@alias`` of groups, or Guids."""
    direct = tuple(
        group_id(each[1:]) if each.startswith("@") else each if len(each) == 36 else person(each) for each in members
    )
    unified = details == UNIFIED
    number = uuid.UUID(guid("sid", alias)).int
    return Group(
        guid=group_id(alias),
        external_directory_object_id=guid("group-oid", alias),
        sid=f"S-1-5-21-{number % 4000000007}-{(number >> 40) % 4000000007}-{(number >> 80) % 4000000007}-{number % 900000}",
        display_name=name,
        primary_smtp_address=f"{alias}@contoso.com",
        distinguished_name=dn(name),
        recipient_type_details=details,
        members=direct,
        owners=tuple(person(owner) for owner in owners),
        join_restriction=None if unified else join,
        depart_restriction=None if unified else "Closed",
    )


OMNISCOPE_MEMBERS = ["ada", "alan", "grace", "semicolon", "sean.obrien", "yamada", "omniscope-inbox", "invoices"]
GROUPS = (
    # its nested group holds nobody who is not a direct member too: MemberOfGroup counts direct members only
    group("omniscope-mailboxes", "Omniscope mailboxes", SECURITY, [*OMNISCOPE_MEMBERS, "@omniscope-pilots"]),
    group("omniscope-pilots", "Omniscope pilots", SECURITY, ["ada", "grace"]),
    group("crm-users", "CRM users", SECURITY, ["jack.miller", "li.wei", "sales", "smith", "ceo", "@crm-sued"]),
    group("crm-sued", "CRM Süd (Außendienst)", SECURITY, ["max.mustermann", "weiss", "mateo"]),
    group("executives", "Executives", SECURITY, ["ceo", "cfo"], owners=()),
    group("finance", "Finance „intern“", SECURITY, ["sokolova", "papadopoulos", "m.ali", "tomasz", "chloe"]),
    group("all-hands", "All hands", DISTRIBUTION, ["@engineering", "@crm-users", "levi", "zoe", CONTACT], join="Open"),
    group("engineering", "Engineering", DISTRIBUTION, ["ada", "alan", "grace", "kim", "priya", "omar", "ingrid"]),
    group("ring-a", "Ring A", DISTRIBUTION, ["@ring-b", "fatima"]),  # the two hold each other
    group("ring-b", "Ring B", DISTRIBUTION, ["@ring-a", "viktor"]),
    group("empty", "Nobody yet", SECURITY, []),
    group("rooms-wien", "Räume Wien", "RoomList", ["room-wien", "room-ada"]),
    group("projekt-lodz", "Projekt Łódź", UNIFIED, ["tomasz", "viktor", "ada", "partner"], owners=("tomasz",)),
    group("helpdesk", "Helpdesk’s own", SECURITY, ["helpdesk1", "admin", "svc-scan"], join="ApprovalRequired"),
)

# --- apps ------------------------------------------------------------------------------------------------------------


def held(resource: str, name: str) -> tuple[str, str, str]:
    """(resource, app role id, permission) of a permission."""
    known = permission(name, resource)
    role = USER_READ_ALL[1] if name == USER_READ_ALL[0] else (known.app_role_id if known else None)
    assert role is not None, name
    assert known is None or by_id(resource, role) == known
    return resource, role, name


def app(
    key: str,
    name: str,
    consents: list[tuple[str, str]],
    *,
    requested: list[tuple[str, str]] | None = None,
    here: bool = True,
    **more: Any,
) -> App:
    """One app; it requests what it holds unless told otherwise, and nothing here when it is registered elsewhere."""
    wanted = (consents if requested is None else requested) if here else []
    fields: dict[str, Any] = {
        "kind": "Application",
        "account_enabled": True,
        "token_lifetime_minutes": None,
        "credentials": (credential(key, "secret", "prod", 2025),) if here else (),
        **({"tags": ()} if here else {}),
        **more,
    }
    return App(
        app_id=guid("app", key),
        object_id=guid("principal", key),
        application_object_id=guid("application", key) if here else None,
        display_name=name,
        consents=tuple(
            Consent(f"{guid('consent', key, resource, perm)}", *held(resource, perm)) for resource, perm in consents
        ),
        requested=tuple(Requested(*held(resource, perm)) for resource, perm in wanted),
        **fields,
    )


def credential(key: str, kind: Any, name: str, year: int) -> Credential:
    """A credential that ends two years after it began."""
    return Credential(kind, guid("key", key, name), name, f"{year}-03-01T00:00:00Z", f"{year + 2}-03-01T00:00:00Z")


OMNISCOPE, BACKUP, CRM = "omniscope", "backup", "crm"
APPS = (
    app(
        OMNISCOPE,
        "Omniscope Email Connector (App-Only)",
        [(GRAPH, "Mail.Read")],
        credentials=(
            credential(OMNISCOPE, "secret", "prod", 2025),
            credential(OMNISCOPE, "certificate", "CN=omniscope", 2026),
        ),
    ),
    app(BACKUP, "Contoso Backup Connector", [(GRAPH, "MailboxItem.Read.All"), (EXCHANGE, "full_access_as_app")]),
    app(
        CRM,
        "Fabrikam CRM Connector",
        [(GRAPH, "Mail.ReadWrite"), (GRAPH, "Mail.Send"), (GRAPH, "Calendars.ReadWrite"), (GRAPH, "Contacts.Read")],
        here=False,
        token_lifetime_minutes=120,
    ),
    app(
        "archiver",
        "Old Archiver „2019“",
        [(GRAPH, "Contacts.ReadWrite"), (EXCHANGE, "Mail.Read"), (EXCHANGE, "IMAP.AccessAsApp")],
        account_enabled=False,
        credentials=(credential("archiver", "secret", "expired", 2019),),
    ),
    # the second consent is a leftover: what is requested names it no more
    app(
        "insight",
        "Sales Insight",
        [(GRAPH, "User.Read.All"), (GRAPH, "MailboxSettings.Read")],
        requested=[(GRAPH, "User.Read.All")],
    ),
    app("rooms", "Room Display", []),
    app("bot", "Helpdesk Bot", []),
    app("signature", "Signature Service’s App", [(GRAPH, "Mail.Send")]),
    app("digest", "fn-mail-digest", [(GRAPH, "Mail.ReadBasic.All")], here=False, kind="ManagedIdentity"),
)
STALE = guid("principal", "signature", "before it was deleted and made again")


def pointer(key: str, *, object_id: str | None = None) -> ServicePrincipal:
    """Exchange's pointer to an app."""
    found = next(each for each in APPS if each.app_id == guid("app", key))
    return ServicePrincipal(
        found.app_id, object_id or found.object_id, found.display_name, override_enforce_exo_app_rbac_permissions=None
    )


SCOPES = (
    ManagementScope("Rooms", "RecipientTypeDetails -eq 'RoomMailbox'", None, False),
    ManagementScope(
        "Sales people", "((Department -eq 'Sales') -and (RecipientTypeDetails -eq 'UserMailbox'))", None, False
    ),
    ManagementScope("Team O'Brien", "CustomAttribute1 -eq 'O''Brien''s team'", None, False),
    ManagementScope("Unused since 2023", f"MemberOfGroup -eq '{dn('Projekt Łódź')}'", None, False),
)


def assignment(
    name: str, role: str, key: str, scope: Any, *, enabled: bool = True, assignee: str = ""
) -> RoleAssignment:
    """One role assignment."""
    return RoleAssignment(name, role, assignee or guid("principal", key), enabled, scope)


ASSIGNMENTS = (
    assignment("Calendars of rooms", "Application Calendars.Read", "rooms", ManagementScopeScope("Rooms")),
    assignment("Helpdesk Bot everywhere", "Application MailboxSettings.Read", "bot", OrganizationScope()),
    assignment("Insight contacts", "Application Contacts.Read", "insight", ManagementScopeScope("Sales people")),
    assignment("Insight mail", "Application Mail.Read", "insight", GroupScope(group_id("crm-sued"))),
    assignment(
        "Insight O'Brien (off)",
        "Application Mail.ReadWrite",
        "insight",
        ManagementScopeScope("Team O'Brien"),
        enabled=False,
    ),
    assignment("Digest Wien", "Application Mail.ReadBasic", "digest", AdministrativeUnitScope(guid("unit", "wien"))),
    assignment(
        "Signature (stale)",
        "Application Mail.Send",
        "signature",
        GroupScope(group_id("finance")),
        assignee=STALE,
    ),
)


def policy(key: str, right: Any, name: str, sid: str, object_id: str, description: str | None) -> AccessPolicy:
    """One access policy, named as Exchange names them."""
    app_id = guid("app", key)
    return AccessPolicy(
        f"{TENANT}\\{app_id}:{sid};{object_id}", app_id, right, PolicyScope(name, sid, object_id), description, True
    )


def group_policy(key: str, right: Any, alias: str, description: str) -> AccessPolicy:
    """A policy on a group."""
    found = next(each for each in GROUPS if each.guid == group_id(alias))
    assert found.sid and found.external_directory_object_id
    return policy(key, right, found.display_name, found.sid, found.external_directory_object_id, description)


POLICIES = (
    group_policy(CRM, "RestrictAccess", "crm-users", "CRM reads its users' mailboxes only"),
    group_policy(CRM, "DenyAccess", "executives", "Never the executives'"),
    policy(
        "archiver",
        "RestrictAccess",
        "Archive 2019",
        "S-1-5-21-1482476501-1645522239-1417001333-22019",
        guid("user", "archive"),
        None,
    ),
)

UNITS = (
    AdministrativeUnit(guid("unit", "wien"), "Wien", tuple(guid("user", a) for a in ("weiss", "zoe", "room-wien"))),
    AdministrativeUnit(guid("unit", "leer"), "Leer (noch)", ()),
)


def make() -> Snapshot:
    """The sample tenant."""
    return Snapshot(
        format="exoscope/snapshot@1",
        read_at=datetime(2026, 11, 23, 9, 0, tzinfo=UTC),
        tenant=Tenant(TENANT, DOMAIN, "worldwide"),
        apps=APPS,
        service_principals=(
            pointer("rooms"),
            pointer("bot"),
            pointer("insight"),
            pointer("digest"),
            pointer("signature", object_id=STALE),
        ),
        management_scopes=SCOPES,
        role_assignments=ASSIGNMENTS,
        access_policies=POLICIES,
        roles=tuple(Role(name, permissions) for name, permissions in ROLES.items()),
        attributes_read=("CustomAttribute1", "Department"),
        recipients=RECIPIENTS,
        groups=GROUPS,
        administrative_units=UNITS,
        organization=Organization(
            ews_enabled=True,
            ews_allowed_app_ids=(guid("app", BACKUP),),
            enforce_exo_app_rbac_permissions=False,
            is_dehydrated=False,
        ),
        unread=(),
    )


if __name__ == "__main__":
    FILE.write_bytes(snapshot.dumps(make()))
    print(f"{FILE}: {sum(r.recipient_type == 'UserMailbox' for r in RECIPIENTS)} mailboxes")
