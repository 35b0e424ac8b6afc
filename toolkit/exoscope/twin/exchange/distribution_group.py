"""Distribution groups and mail-enabled security groups: reading, making, changing, members."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from exoscope.model import Group
from exoscope.twin.errors import Unread
from exoscope.twin.exchange.call import (
    Call,
    CmdletError,
    Row,
    already_exists,
    bad_argument,
    cmdlet,
    invalid,
    stable_sid,
)
from exoscope.twin.exchange.group import DISTRIBUTION, M365, extra, identified, members_of, owner_names
from exoscope.twin.tenant import GroupExtra
from exoscope.twin.view import dn_value, fold

_TASKS = "Microsoft.Exchange.Management.RecipientTasks."
_RESTRICTIONS = ("Closed", "Open", "ApprovalRequired")
_HOSTED = "OU=Microsoft Exchange Hosted Organizations,DC=TWIN,DC=prod,DC=outlook,DC=com"


def _row(call: Call, group: Group) -> Row:
    """Raises Unread where the file holds no owners or restrictions of this group."""
    if group.join_restriction is UNSET or group.depart_restriction is UNSET:
        raise Unread(f"who may join and leave '{group.display_name}'")
    more = extra(call, group)
    security = fold(group.recipient_type_details) == "mailuniversalsecuritygroup"
    return {
        "Identity": more.name,
        "Guid": group.guid,
        "ExternalDirectoryObjectId": group.external_directory_object_id or "",
        "Name": more.name,
        "Alias": more.alias,
        "DisplayName": group.display_name,
        "PrimarySmtpAddress": group.primary_smtp_address or "",
        "DistinguishedName": group.distinguished_name,
        "RecipientType": group.recipient_type_details,
        "RecipientTypeDetails": group.recipient_type_details,
        "GroupType": "Universal, SecurityEnabled" if security else "Universal",
        "ManagedBy": owner_names(call, group),
        "MemberJoinRestriction": group.join_restriction,
        "MemberDepartRestriction": group.depart_restriction,
        "HiddenFromAddressListsEnabled": more.hidden,
    }


@cmdlet("Get-DistributionGroup", "Identity", "ResultSize")
def get(call: Call) -> Iterable[Row]:
    return [_row(call, group) for group in call.limited(identified(call, DISTRIBUTION))]


@cmdlet("Get-DistributionGroupMember", "Identity", "ResultSize")
def get_members(call: Call) -> Iterable[Row]:
    """Of a Microsoft 365 group it answers nothing, though that group has members."""
    call.text("Identity")
    group = identified(call, DISTRIBUTION | {M365})[0]
    return [] if fold(group.recipient_type_details) == M365 else members_of(call, group)


@cmdlet(
    "New-DistributionGroup",
    "Name",
    "Alias",
    "DisplayName",
    "Notes",
    "Type",
    "Members",
    "ManagedBy",
    "MemberJoinRestriction",
    "MemberDepartRestriction",
    "PrimarySmtpAddress",
    "IgnoreNamingPolicy",
    writes=True,
)
def new(call: Call) -> Iterable[Row]:
    """A distribution group unless -Type Security; its owner, made by an application, is the role group."""
    every: tuple[Group, ...] = call.read("groups")
    call.read("recipients")
    name = call.new_name()
    alias = (
        call.new_name("Alias")
        if call.has("Alias")
        else "".join(c for c in name if c.isascii() and (c.isalnum() or c in "-_."))
    )
    if not alias:
        raise invalid("The alias is empty.", name)
    security = call.choice("Type", "Distribution", "Security") == "Security"
    domain = call.tenant.state.tenant.domain
    address = call.optional_text("PrimarySmtpAddress") or f"{alias}@{domain}"
    if any(fold(extra(call, g).name) == fold(name) for g in every):
        raise already_exists(name)
    if any(fold(extra(call, g).alias) == fold(alias) for g in every) or _taken(call, address):
        kind = "Microsoft.Exchange.Data.Directory.ProxyAddressExistsException"
        text = f'The proxy address "SMTP:{address}" is already being used. Please choose another proxy address.'
        raise CmdletError(kind, text, category="InvalidOperation", target=name)
    guid = str(uuid.uuid4())
    group = Group(
        guid=guid,
        external_directory_object_id=str(uuid.uuid4()),
        sid=stable_sid(guid),
        display_name=call.optional_text("DisplayName") or name,
        primary_smtp_address=address,
        distinguished_name=f"CN={dn_value(name)},OU={domain},{_HOSTED}",
        recipient_type_details="MailUniversalSecurityGroup" if security else "MailUniversalDistributionGroup",
        members=tuple(dict.fromkeys(call.recipient_or_group(each).guid for each in call.texts("Members"))),
        owners=tuple(call.recipient_or_group(each).guid for each in call.texts("ManagedBy")),
        join_restriction=call.choice("MemberJoinRestriction", *_RESTRICTIONS) or ("Closed" if security else "Open"),
        depart_restriction=call.choice("MemberDepartRestriction", *_RESTRICTIONS) or ("Closed" if security else "Open"),
    )
    more = GroupExtra(name=name, alias=alias, notes=call.optional_text("Notes") or "")
    if call.get("WhatIf") is not True:
        call.tenant.group_extras[fold(guid)] = more
    call.change(name, groups=(*every, group))
    return [_row(call, group)]


def _taken(call: Call, address: str) -> bool:
    key = fold(address)
    recipients = call.view.recipients(address)
    if any(key in map(fold, (r.primary_smtp_address, *r.email_addresses)) for r in recipients):
        return True
    return any(fold(g.primary_smtp_address or "") == key for g in call.read("groups"))


@cmdlet(
    "Set-DistributionGroup",
    "Identity",
    "DisplayName",
    "HiddenFromAddressListsEnabled",
    "MemberJoinRestriction",
    "MemberDepartRestriction",
    "ManagedBy",
    "BypassSecurityGroupManagerCheck",
    writes=True,
)
def update(call: Call) -> Iterable[Row]:
    group = _writable(call)
    changes: dict[str, object] = {}
    if call.has("DisplayName"):
        changes["display_name"] = call.text("DisplayName")
    for parameter, name in (
        ("MemberJoinRestriction", "join_restriction"),
        ("MemberDepartRestriction", "depart_restriction"),
    ):
        if call.has(parameter):
            changes[name] = call.choice(parameter, *_RESTRICTIONS)
    if call.has("ManagedBy"):
        changes["owners"] = tuple(call.recipient_or_group(each).guid for each in call.texts("ManagedBy"))
    if call.has("HiddenFromAddressListsEnabled"):
        hidden = call.get("HiddenFromAddressListsEnabled")
        if not isinstance(hidden, bool):
            raise bad_argument("HiddenFromAddressListsEnabled", "Cannot convert the value to a Boolean.")
        if call.get("WhatIf") is not True:
            call.tenant.group_extras[fold(group.guid)] = msgspec.structs.replace(extra(call, group), hidden=hidden)
    _replace(call, group, msgspec.structs.replace(group, **changes))
    return []


@cmdlet("Remove-DistributionGroup", "Identity", "BypassSecurityGroupManagerCheck", writes=True)
def remove(call: Call) -> Iterable[Row]:
    """The group goes out of the groups that held it; scopes and policies that named it dangle."""
    group = _writable(call)
    key = fold(group.guid)
    kept = []
    for other in call.read("groups"):
        if other is group:
            continue
        if other.members is not None and key in map(fold, other.members):
            other = msgspec.structs.replace(other, members=tuple(m for m in other.members if fold(m) != key))
        kept.append(other)
    call.change(group.display_name, groups=tuple(kept))
    return []


@cmdlet("Add-DistributionGroupMember", "Identity", "Member", "BypassSecurityGroupManagerCheck", writes=True)
def add_member(call: Call) -> Iterable[Row]:
    group = _writable(call)
    member = call.recipient_or_group(call.text("Member"))
    if group.members is None:
        raise Unread(f"the members of '{group.display_name}'")
    if fold(member.guid) in map(fold, group.members):
        text = f'The recipient "{member.display_name}" is already a member of the group "{group.display_name}".'
        raise CmdletError(
            f"{_TASKS}MemberAlreadyExistsException", text, category="InvalidData", target=group.display_name
        )
    _replace(call, group, msgspec.structs.replace(group, members=(*group.members, member.guid)))
    return []


@cmdlet("Remove-DistributionGroupMember", "Identity", "Member", "BypassSecurityGroupManagerCheck", writes=True)
def remove_member(call: Call) -> Iterable[Row]:
    group = _writable(call)
    member = call.recipient_or_group(call.text("Member"))
    if group.members is None:
        raise Unread(f"the members of '{group.display_name}'")
    kept = tuple(guid for guid in group.members if fold(guid) != fold(member.guid))
    if len(kept) == len(group.members):
        text = f'The recipient "{member.display_name}" isn\'t a member of the group "{group.display_name}".'
        raise CmdletError(f"{_TASKS}MemberNotFoundException", text, category="InvalidData", target=group.display_name)
    _replace(call, group, msgspec.structs.replace(group, members=kept))
    return []


def _writable(call: Call) -> Group:
    """The group that -Identity means. Its owners alone may change it, unless that check is bypassed."""
    call.text("Identity")
    group = identified(call, DISTRIBUTION)[0]
    if call.get("BypassSecurityGroupManagerCheck") is not True:
        kind = "Microsoft.Exchange.Configuration.Tasks.OperationRequiresGroupManagerException"
        text = "You don't have sufficient permissions. This operation can only be performed by a manager of the group."
        raise CmdletError(kind, text, category="PermissionDenied", target=group.display_name)
    return group


def _replace(call: Call, group: Group, changed: Group) -> None:
    call.change(group.display_name, groups=tuple(changed if g is group else g for g in call.read("groups")))
