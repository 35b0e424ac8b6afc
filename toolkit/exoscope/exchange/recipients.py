"""Recipients, groups and their members as nouns. Large: their rows are parsed without detours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from exoscope.exchange.inventory import rows_of
from exoscope.exchange.parallel import Reading
from exoscope.exchange.rows import Cells, parse_rows
from exoscope.exchange.session import LONG, ExchangeSession, ReadsTogether, Row
from exoscope.model import Group, Noun, Recipient
from exoscope.outcome import AccessDenied, ServiceError
from exoscope.powershell import render_guarded

_COLUMNS = frozenset(
    {
        "guid",
        "externaldirectoryobjectid",
        "name",
        "alias",
        "displayname",
        "primarysmtpaddress",
        "emailaddresses",
        "distinguishedname",
        "recipienttype",
        "recipienttypedetails",
    }
)  # of the template
OWN = (_COLUMNS - {"name", "alias"}) | {"memberofgroup"}
"""Properties (lower case) that every snapshot holds anyway; the others stand in ``attributes_read`` where they are wanted."""

_MAILBOX_OR_USER = frozenset({"usermailbox", "mailuser"})
_GROUPS = frozenset(
    {
        "mailuniversaldistributiongroup",
        "mailuniversalsecuritygroup",
        "mailnonuniversalgroup",
        "dynamicdistributiongroup",
    }
)
M365 = "groupmailbox"
DYNAMIC = "dynamicdistributiongroup"
DISTRIBUTION = frozenset(
    {"mailuniversaldistributiongroup", "mailuniversalsecuritygroup", "mailnonuniversalgroup", "roomlist"}
)
ROLE_GROUP_OWNER = "organization management"  # the owner Exchange writes where no person owns a group

# What the object of Get-Recipient is known to carry. Selecting a property that an object lacks answers null as well, so a
# property that is not in this list, and null for every recipient, counts as unread. Source: the object's properties as
# Microsoft365DSC and the exported module's help show them.
SHOWN = frozenset(
    [
        "city",
        "company",
        "countryorregion",
        "department",
        "displayname",
        "firstname",
        "lastname",
        "manager",
        "office",
        "phone",
        "postalcode",
        "stateorprovince",
        "title",
        "hiddenfromaddresslistsenabled",
        "emailaddresspolicyenabled",
        "externalemailaddress",
        "identity",
        "isvalidsecurityprincipal",
        "managedby",
        "litigationholdenabled",
        "organizationalunit",
        "resourcetype",
        "samaccountname",
        "skuassigned",
        "usagelocation",
        "whenchanged",
        "whencreated",
        "whenmailboxcreated",
        "whensoftdeleted",
        "windowsliveid",
        "archiveguid",
        "archivestate",
        "archivestatus",
        "exchangeguid",
        "notes",
        "hasactivesyncdevicepartnership",
        "administrativeunits",
    ]
    + [f"customattribute{n}" for n in range(1, 16)]
    + [f"extensioncustomattribute{n}" for n in range(1, 6)]
)


class RecipientList(Noun, frozen=True):
    """Every recipient of the tenant, groups apart. ``names``: Exchange's unique Name (lower case) → Guids that bear it."""

    recipients: tuple[Recipient, ...]
    groups: dict[str, Group]
    names: dict[str, tuple[str, ...]]
    attributes_read: tuple[str, ...]
    attributes_unread: tuple[str, ...]


def parse_recipients(rows: Sequence[Row], attributes: Sequence[str]) -> RecipientList:
    """Rows of inventory/recipients read with ``attributes``. Contacts and public folders are left out; groups stand apart,
    by lower-case Guid, with members and owners unread.
    """
    recipients: list[Recipient] = []
    groups: dict[str, Group] = {}
    names: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    missing: set[str] = set()
    pick = _picker(rows, (*_PICKED, *attributes))
    for row in rows:
        guid, name, kind, directory_id, shown, smtp, addresses, dn, details, *values = pick(row)
        if type(guid) is not str or type(kind) is not str or not guid:
            raise ServiceError("Exchange answered a recipient without Guid or RecipientType", code="unexpected-answer")
        if name:
            key = str(name).casefold()
            names[key] = (*names[key], guid) if key in names else (guid,)
        folded = kind.casefold()
        if folded in _GROUPS:
            groups[guid.casefold()] = _group(Cells(row), guid)
            continue
        if folded not in _MAILBOX_OR_USER:
            continue
        held: dict[str, Any] = {}
        for attribute, value in zip(attributes, values, strict=True):
            if value is _MISSING:
                missing.add(attribute)
            elif value or (value is not None and value != "" and value != []):
                # Exchange does not tell "not set" from the empty text.
                held[attribute] = tuple(value) if type(value) is list else value
                seen.add(attribute)
        plain = _plain_addresses(addresses)
        ordinary = {type(directory_id), type(shown), type(smtp), type(dn), type(details)} == _TEXT
        if ordinary and plain is not None and directory_id and shown and dn and details:
            recipients.append(Recipient(guid, directory_id, shown, smtp, plain, dn, kind, details, held))
        else:
            recipients.append(_odd_recipient(Cells(row), guid, kind, held))
    read = tuple(
        name for name in attributes if name not in missing and (name in seen or name.casefold() in SHOWN | _COLUMNS)
    )
    if len(read) < len(attributes):
        recipients = [_only(recipient, read) for recipient in recipients]
    return RecipientList(
        recipients=tuple(recipients),
        groups=groups,
        names=names,
        attributes_read=read,
        attributes_unread=tuple(name for name in attributes if name not in read),
    )


_PICKED = (
    "Guid",
    "Name",
    "RecipientType",
    "ExternalDirectoryObjectId",
    "DisplayName",
    "PrimarySmtpAddress",
    "EmailAddresses",
    "DistinguishedName",
    "RecipientTypeDetails",
)
_MISSING: Any = object()
_TEXT = {str}


def _picker(rows: Sequence[Row], columns: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    """A row's values in these columns, whatever the case of either; _MISSING for a column that it has not.

    Spellings are looked up in the first row, which nearly always is how all rows have them.
    """
    folded = [name.casefold() for name in columns]
    spelled = {name.casefold(): name for name in rows[0]} if rows else {}
    at_once = itemgetter(*(spelled.get(name, name) for name in folded))

    def pick(row: Row) -> tuple[Any, ...]:
        try:
            found: tuple[Any, ...] = at_once(row)
        except KeyError:
            held = {name.casefold(): value for name, value in row.items()}
            found = tuple(held.get(name, _MISSING) for name in folded)
        return found

    return pick


_SMTP = frozenset({"SMTP:", "smtp:"})


def _plain_addresses(addresses: Any) -> tuple[str, ...] | None:
    """A list of texts with SMTP's prefixes taken off; None for anything else."""
    if type(addresses) is not list:
        return None
    try:
        return tuple([each[5:] if each[:5] in _SMTP or each[:5].lower() == "smtp:" else each for each in addresses])
    except (TypeError, AttributeError):
        return None


def _odd_recipient(cells: Cells, guid: str, kind: str, values: dict[str, Any]) -> Recipient:
    return Recipient(
        guid=guid,
        external_directory_object_id=cells.optional("ExternalDirectoryObjectId"),
        display_name=cells.optional("DisplayName") or cells.optional("Name") or guid,
        primary_smtp_address=cells.optional("PrimarySmtpAddress") or "",
        email_addresses=tuple(plain_address(address) for address in cells.texts("EmailAddresses") or ()),
        distinguished_name=cells.text("DistinguishedName"),
        recipient_type=kind,
        recipient_type_details=cells.optional("RecipientTypeDetails") or kind,
        attributes=values,
    )


def plain_address(address: str) -> str:
    """An SMTP address without its prefix; addresses of other kinds (SIP:, X500:) keep theirs."""
    prefix, colon, rest = address.partition(":")
    return rest if colon and prefix.casefold() == "smtp" else address


def _only(recipient: Recipient, read: Iterable[str]) -> Recipient:
    kept = {name: value for name, value in recipient.attributes.items() if name in read}
    return msgspec.structs.replace(recipient, attributes=kept)


def _group(cells: Cells, guid: str) -> Group:
    return Group(
        guid=guid,
        external_directory_object_id=cells.optional("ExternalDirectoryObjectId"),
        sid=None,
        display_name=cells.optional("DisplayName") or cells.optional("Name") or guid,
        primary_smtp_address=cells.optional("PrimarySmtpAddress"),
        distinguished_name=cells.text("DistinguishedName"),
        recipient_type_details=cells.optional("RecipientTypeDetails") or cells.text("RecipientType"),
        members=None,
    )


def read_recipients(session: ExchangeSession, attributes: Sequence[str]) -> RecipientList:
    """Every recipient, with these further properties. One that may not be read is in ``attributes_unread``."""
    wanted = [name for name in attributes if name.casefold() not in OWN]
    try:
        return _recipients(session, wanted)
    except AccessDenied:
        if not wanted:
            raise
    # One property that may not be read takes the others down with it: find out which, one at a time.
    _recipients(session, ())
    readable = [name for name in wanted if _readable(session, name)]
    found = _recipients(session, readable)

    unread = (*found.attributes_unread, *(name for name in wanted if name not in readable))
    return msgspec.structs.replace(found, attributes_unread=unread)


def recipients_reading(attributes: Sequence[str]) -> Reading:
    """The template, and its values, of the one read with which :func:`read_recipients` begins."""
    return "inventory/recipients", {
        "properties": [name for name in attributes if name.casefold() not in OWN | _COLUMNS]
    }


def _recipients(session: ExchangeSession, wanted: Sequence[str]) -> RecipientList:
    return parse_recipients(rows_of(session, *recipients_reading(wanted)), wanted)


def _readable(session: ExchangeSession, name: str) -> bool:
    try:
        _recipients(session, [name])
    except AccessDenied:
        return False
    return True


# -- groups ------------------------------------------------------------------------------------------------------------


class GroupRow(Noun, frozen=True):
    """A group as Get-Group lists it. ``managed_by`` are names (UNSET: not read)."""

    group: Group
    managed_by: tuple[str, ...] | UnsetType
    name: str


def parse_group(cells: Cells) -> GroupRow:
    """A row of inventory/groups."""
    guid = cells.text("Guid")
    name = cells.optional("Name") or guid
    group = Group(
        guid=guid,
        external_directory_object_id=cells.optional("ExternalDirectoryObjectId"),
        sid=cells.optional("Sid"),
        display_name=cells.optional("DisplayName") or name,
        primary_smtp_address=cells.optional("WindowsEmailAddress"),
        distinguished_name=cells.text("DistinguishedName"),
        recipient_type_details=cells.text("RecipientTypeDetails"),
        members=None,
    )
    return GroupRow(group, (cells.texts("ManagedBy") or ()) if cells.has("ManagedBy") else UNSET, name)


def read_groups(session: ExchangeSession) -> tuple[GroupRow, ...]:
    """Every group of any kind, without members and restrictions."""
    return parse_rows(rows_of(session, "inventory/groups"), parse_group)


class Restrictions(Noun, frozen=True):
    """Who may join and leave a distribution group."""

    guid: str
    join: str | None
    depart: str | None


def parse_restrictions(cells: Cells) -> Restrictions:
    """A row of inventory/distribution_groups."""
    return Restrictions(
        cells.text("Guid"), cells.optional("MemberJoinRestriction"), cells.optional("MemberDepartRestriction")
    )


def read_restrictions(session: ExchangeSession) -> dict[str, Restrictions]:
    """Restrictions of every distribution and mail-enabled security group, by lower-case Guid."""
    rows = parse_rows(rows_of(session, "inventory/distribution_groups"), parse_restrictions)
    return {row.guid.casefold(): row for row in rows}


def read_restrictions_of(session: ExchangeSession, guid: str) -> Restrictions:
    """Restrictions of one group."""
    rows = parse_rows(rows_of(session, "inventory/distribution_group", {"identity": guid}), parse_restrictions)
    found = [row for row in rows if row.guid.casefold() == guid.casefold()]
    if len(found) != 1:
        raise ServiceError(f"Exchange answered {len(rows)} groups for one Guid", code="unexpected-answer")
    return found[0]


def owner_guids(managed_by: Iterable[str], names: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """The owners' Guids, from their names (or Guids, as Exchange likes). None where a name has no one Guid."""
    guids: list[str] = []
    for owner in managed_by:
        if owner.casefold() == ROLE_GROUP_OWNER:
            continue
        found = names.get(owner.casefold(), ())
        if len(set(found)) == 1:
            guids.append(found[0])
        elif _GUID.fullmatch(owner):
            guids.append(owner)
        else:
            return None
    return tuple(guids)


_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


# -- members -----------------------------------------------------------------------------------------------------------


def members_template(recipient_type_details: str) -> str | None:
    """The template that reads a group's direct members; None where Exchange stores none or knows none (dynamic groups,
    security groups without mail). Get-DistributionGroupMember answers nothing for a Microsoft 365 group, which is not empty.
    """
    kind = recipient_type_details.casefold()
    if kind == M365:
        return "inventory/unified_group_members"
    return "inventory/distribution_group_members" if kind in DISTRIBUTION else None


def read_members(session: ExchangeSession, group: Group) -> tuple[str, ...] | None:
    """Guids of a group's direct members, of every kind; None where Exchange has no way to tell. Raises the ServiceError family."""
    template = members_template(group.recipient_type_details)
    if template is None:
        return None
    return _guids(rows_of(session, template, {"group": group.guid}))


def _guids(rows: tuple[Row, ...]) -> tuple[str, ...]:
    """The Guid of each row: groups have hundreds of thousands of members in all, so nothing else of a row is looked at."""
    found = tuple(guid for row in rows if type(guid := row.get("Guid")) is str and guid)
    return found if len(found) == len(rows) else parse_rows(rows, lambda cells: cells.text("Guid"))


def members_together(session: ExchangeSession, groups: Sequence[Group]) -> dict[str, tuple[str, ...] | ServiceError]:
    """Direct members of several groups by lower-case Guid, or why they were not read: read in few requests where the
    road can do that. A group that is not in it is to be read by :func:`read_members`; with most roads that is every one.
    """
    asked = [(group, template) for group in groups if (template := members_template(group.recipient_type_details))]
    if len(asked) < 2 or not isinstance(session, ReadsTogether):
        return {}
    scripts = [render_guarded(template, {"group": group.guid}).text for group, template in asked]
    found: dict[str, tuple[str, ...] | ServiceError] = {}
    for (group, _), result in zip(asked, session.run_each(scripts, deadline=LONG), strict=True):
        try:
            if isinstance(result, ServiceError):
                raise result
            found[group.guid.casefold()] = _guids(result.rows)
        except ServiceError as error:
            found[group.guid.casefold()] = error
    return found
