"""Groups of every kind: what they are, and how an identity finds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import UNSET

from exoscope.model import Group, Recipient
from exoscope.twin.errors import Unread
from exoscope.twin.exchange.call import OMITTED, Call, Row, cmdlet, name_of
from exoscope.twin.tenant import GroupExtra
from exoscope.twin.view import fold

M365 = "groupmailbox"
DISTRIBUTION = frozenset(
    {"mailuniversaldistributiongroup", "mailuniversalsecuritygroup", "mailnonuniversalgroup", "roomlist"}
)
# Exchange's own role group stands as the owner of a group that an application made.
NO_OWNER = "Organization Management"


def by_guid(found: Sequence[Group], identity: str) -> list[Group]:
    """Those that the identity means by an id, else all of them."""
    exact = [g for g in found if fold(identity) in (fold(g.guid), fold(g.external_directory_object_id or ""))]
    return exact or list(found)


def recipient_type(group: Group) -> str:
    """RecipientType of a group, from its RecipientTypeDetails."""
    details = group.recipient_type_details
    return "MailUniversalDistributionGroup" if fold(details) in (M365, "roomlist") else details


def extra(call: Call, group: Group) -> GroupExtra:
    """What Exchange knows of a group beside the snapshot; what the twin was never told has ordinary values."""
    held = call.tenant.group_extras.get(fold(group.guid))
    if held is not None:
        return held
    alias = (group.primary_smtp_address or "").partition("@")[0]
    return GroupExtra(name=name_of(group), alias=alias)


def owner_names(call: Call, group: Group) -> list[str]:
    """ManagedBy: names, as Exchange gives them; a Guid where the file does not know the owner."""
    if group.owners is UNSET:
        raise Unread(f"the owners of '{group.display_name}'")
    names = []
    for guid in group.owners:
        owner: Recipient | Group | None = call.view.recipient(guid)
        if owner is None:
            owner = next(iter(call.view.groups_by_id(guid)), None)
        names.append(name_of(owner) if owner is not None else guid)
    return names or [NO_OWNER]


def identified(call: Call, kinds: frozenset[str] | None) -> list[Group]:
    """The groups that -Identity means, of these kinds; all of them without -Identity."""
    every = [g for g in call.read("groups") if kinds is None or fold(g.recipient_type_details) in kinds]
    if not call.has("Identity"):
        return every
    identity = call.text("Identity")
    kept = {id(group) for group in every}
    found = by_guid([g for g in call.view.groups(identity) if id(g) in kept], identity)
    return call.chosen(found, identity, lambda: every)


def member_row(call: Call, guid: str) -> Row:
    """One member as the member cmdlets give it; what is in no list is a contact, a device or a user without a mailbox."""
    recipient = call.view.recipient(guid)
    if recipient is not None:
        return {
            "Guid": recipient.guid,
            "ExternalDirectoryObjectId": recipient.external_directory_object_id or "",
            "Name": name_of(recipient),
            "DisplayName": recipient.display_name,
            "PrimarySmtpAddress": recipient.primary_smtp_address,
            "DistinguishedName": recipient.distinguished_name,
            "RecipientType": recipient.recipient_type,
            "RecipientTypeDetails": recipient.recipient_type_details,
        }
    group = next((g for g in call.view.groups_by_id(guid) if fold(g.guid) == fold(guid)), None)
    if group is not None:
        return {
            "Guid": group.guid,
            "ExternalDirectoryObjectId": group.external_directory_object_id or "",
            "Name": name_of(group),
            "DisplayName": group.display_name,
            "PrimarySmtpAddress": group.primary_smtp_address or "",
            "DistinguishedName": group.distinguished_name,
            "RecipientType": recipient_type(group),
            "RecipientTypeDetails": group.recipient_type_details,
        }
    return {
        "Guid": guid,
        "ExternalDirectoryObjectId": "",
        "Name": guid,
        "DisplayName": guid,
        "PrimarySmtpAddress": "",
        "DistinguishedName": f"CN={guid}",
        "RecipientType": "User",
        "RecipientTypeDetails": "User",
    }


def members_of(call: Call, group: Group) -> list[Row]:
    """Direct members. Access denied when they were not read."""
    if group.members is None:
        raise Unread(f"the members of '{group.display_name}'")
    return [member_row(call, guid) for guid in call.limited(group.members)]


@cmdlet("Get-Group", "Identity", "ResultSize", "RecipientTypeDetails")
def get(call: Call) -> Iterable[Row]:
    """Every kind of group, Microsoft 365 groups too."""
    kinds = frozenset(fold(each) for each in call.texts("RecipientTypeDetails")) or None
    rows = []
    for group in call.limited(identified(call, kinds)):
        row: Row = {
            "Guid": group.guid,
            "ExternalDirectoryObjectId": group.external_directory_object_id or "",
            "Identity": name_of(group),
            "Sid": group.sid or "",
            "Name": name_of(group),
            "DisplayName": group.display_name,
            "WindowsEmailAddress": group.primary_smtp_address or "",
            "DistinguishedName": group.distinguished_name,
            "RecipientType": recipient_type(group),
            "RecipientTypeDetails": group.recipient_type_details,
            "Notes": extra(call, group).notes,
        }
        if group.owners is UNSET:
            call.warnings.append(f"Access is denied: ManagedBy of '{group.display_name}'.")
        row["ManagedBy"] = OMITTED if group.owners is UNSET else owner_names(call, group)
        rows.append(row)
    return rows


@cmdlet("Get-UnifiedGroup", "Identity", "ResultSize")
def get_unified(call: Call) -> Iterable[Row]:
    rows = []
    for group in call.limited(identified(call, frozenset({M365}))):
        row = member_row(call, group.guid)
        row["Alias"] = extra(call, group).alias
        rows.append(row)
    return rows


@cmdlet("Get-UnifiedGroupLinks", "Identity", "LinkType", "ResultSize")
def get_links(call: Call) -> Iterable[Row]:
    call.text("Identity")
    link = call.choice("LinkType", "Members", "Owners", "Subscribers", "EventSubscribers", "Aggregators")
    group = identified(call, frozenset({M365}))[0]
    if link == "Members":
        return members_of(call, group)
    if link == "Owners":
        if group.owners is UNSET:
            raise Unread(f"the owners of '{group.display_name}'")
        return [member_row(call, guid) for guid in call.limited(group.owners)]
    return []
