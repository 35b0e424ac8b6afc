"""Recipients: mailboxes, mail users and groups; the same filters as management scopes have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import UNSET

from exoscope.model import Group, Recipient
from exoscope.opath import Filter, parse
from exoscope.twin.errors import NotModelled, Unread
from exoscope.twin.exchange.call import Call, Row, cmdlet, is_time, name_of
from exoscope.twin.exchange.group import by_guid, extra, recipient_type
from exoscope.twin.exchange.management_scope import rewritten
from exoscope.twin.filters import holds, properties
from exoscope.twin.view import fold, recipient_alias

Column = Callable[[Recipient], Any]
_OWN: dict[str, Column] = {
    "Identity": name_of,
    "Guid": lambda r: r.guid,
    "ExternalDirectoryObjectId": lambda r: r.external_directory_object_id or "",
    "Name": name_of,
    "Alias": recipient_alias,
    "DisplayName": lambda r: r.display_name,
    "PrimarySmtpAddress": lambda r: r.primary_smtp_address,
    "EmailAddresses": lambda r: _proxies(r.primary_smtp_address, r.email_addresses),
    "DistinguishedName": lambda r: r.distinguished_name,
    "RecipientType": lambda r: r.recipient_type,
    "RecipientTypeDetails": lambda r: r.recipient_type_details,
}
# Get-Recipient has no UserPrincipalName. The file holds none unless it was read: the primary address stands for it, as in Graph.
_MAILBOX = {**_OWN, "UserPrincipalName": lambda r: _principal(r)}
_USER = {
    **{
        name: value for name, value in _MAILBOX.items() if name not in ("Alias", "PrimarySmtpAddress", "EmailAddresses")
    },
    "WindowsEmailAddress": lambda r: r.primary_smtp_address,
}
_OWN_LOWER = {name.lower(): (name, value) for name, value in _OWN.items()}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z")


def _proxies(primary: str, addresses: Iterable[str]) -> list[str]:
    """Addresses as Exchange gives them: ``SMTP:`` before the primary one, ``smtp:`` before the others."""
    key = fold(primary)
    return [
        "SMTP:" + each if each == primary or fold(each) == key else each if ":" in each else "smtp:" + each
        for each in addresses
    ]


def _as_recipient(call: Call, group: Group) -> Recipient:
    """A group as the recipient that a filter sees."""
    address = group.primary_smtp_address or ""
    return Recipient(
        guid=group.guid,
        external_directory_object_id=group.external_directory_object_id,
        display_name=group.display_name,
        primary_smtp_address=address,
        email_addresses=(address,) if address else (),
        distinguished_name=group.distinguished_name,
        recipient_type=recipient_type(group),
        recipient_type_details=group.recipient_type_details,
        attributes={"Alias": extra(call, group).alias},
    )


def _principal(recipient: Recipient) -> str:
    held = next((v for k, v in recipient.attributes.items() if k.lower() == "userprincipalname"), None)
    return held if isinstance(held, str) else recipient.primary_smtp_address


def _columns(call: Call, fixed: Mapping[str, Column]) -> list[tuple[str, Column]]:
    """What a row is made of: what the pipeline selects, else the fixed columns and every attribute that was read."""
    read = call.view.snapshot.attributes_read
    attributes = {} if read is UNSET else {name.lower(): name for name in read}
    own = {name.lower(): (name, value) for name, value in fixed.items()}
    wanted = call.wanted
    if wanted is None:
        wanted = (*fixed, *(name for key, name in attributes.items() if key not in own))
    columns: list[tuple[str, Column]] = []
    for name in wanted:
        key = name.lower()
        if key in own:
            columns.append(own[key])
        elif key in attributes:
            columns.append((attributes[key], _attribute(attributes[key])))
        else:
            raise Unread(f"the property {name} of recipients")
    return columns


def _attribute(name: str) -> Callable[[Recipient], Any]:
    key = name.lower()
    timed = is_time(name)

    def value(recipient: Recipient) -> Any:
        held = recipient.attributes
        found = held[name] if name in held else next((v for k, v in held.items() if k.lower() == key), None)
        if timed and isinstance(found, str) and (time := _TIME.fullmatch(found)):
            return f"{found[:19]}{(time[1] or '.').ljust(8, '0')}Z"  # with the seven digits that .NET gives
        return list(found) if isinstance(found, tuple) else found

    return value


def _every(call: Call) -> list[Recipient]:
    groups = call.view.snapshot.groups
    found = list(call.read("recipients"))
    return found if groups is UNSET else found + [_as_recipient(call, group) for group in groups]


def _identified(call: Call) -> list[Recipient]:
    identity = call.text("Identity")
    call.read("recipients")
    found = list(call.view.recipients(identity))
    if call.view.snapshot.groups is not UNSET:
        found += [_as_recipient(call, group) for group in by_guid(call.view.groups(identity), identity)]
    exact = [r for r in found if fold(identity) in (fold(r.guid), fold(r.external_directory_object_id or ""))]
    return call.chosen(exact or found, identity, lambda: _every(call))


def _selected(call: Call, every: list[Recipient], node: Filter) -> list[Recipient]:
    """Those that a filter selects. What cannot be told about a mailbox or mail user is refused, never left out."""
    known = (_OWN_LOWER.keys() - {"alias", "name", "identity"}) | {"memberofgroup"} | _read_names(call)
    unread = [name for name in properties(node) if name.lower() not in known]
    groups = {id(r) for r in every[len(call.read("recipients")) :]}
    found = []
    for recipient in every:
        answer = holds(call.view, node, recipient)
        if answer:
            found.append(recipient)
        elif answer is None and id(recipient) not in groups:
            if unread:
                raise Unread(f"the property {unread[0]} of recipients")
            raise NotModelled(f"whether the filter selects '{recipient.primary_smtp_address}'")
    return found


def _read_names(call: Call) -> set[str]:
    read = call.view.snapshot.attributes_read
    return set() if read is UNSET else {name.lower() for name in read}


@cmdlet("Get-Recipient", "Identity", "Filter", "RecipientType", "RecipientTypeDetails", "ResultSize", "Properties")
def get(call: Call) -> Iterable[Row]:
    found = _identified(call) if call.has("Identity") else _every(call)
    if call.has("Filter"):
        found = _selected(call, found, parse(rewritten(call.text("Filter"))))
    for parameter, value in (("RecipientType", "recipient_type"), ("RecipientTypeDetails", "recipient_type_details")):
        if call.has(parameter):
            kinds = {fold(each) for each in call.texts(parameter)}
            found = [r for r in found if fold(getattr(r, value)) in kinds]
    return _rows(call, found, _OWN)


@cmdlet("Get-Mailbox", "Identity", "Filter", "RecipientTypeDetails", "ResultSize")
def get_mailbox(call: Call) -> Iterable[Row]:
    """User, shared, room and equipment mailboxes."""
    found = _identified(call) if call.has("Identity") else list(call.read("recipients"))
    found = [r for r in found if fold(r.recipient_type) == "usermailbox"]
    if call.has("Identity"):
        call.only(found, call.text("Identity"))
    if call.has("Filter"):
        found = _selected(call, found, parse(rewritten(call.text("Filter"))))
    if call.has("RecipientTypeDetails"):
        kinds = {fold(each) for each in call.texts("RecipientTypeDetails")}
        found = [r for r in found if fold(r.recipient_type_details) in kinds]
    return _rows(call, found, _MAILBOX)


@cmdlet("Get-User", "Identity", "ResultSize")
def get_user(call: Call) -> Iterable[Row]:
    """The users behind mailboxes and mail users. Users without either are in no snapshot: the list is not the whole one."""
    if not call.has("Identity"):
        raise NotModelled("Get-User without -Identity: the users who have no mailbox are not known")
    found = [each for each in _identified(call) if fold(each.recipient_type) in ("usermailbox", "mailuser")]
    call.only(found, call.text("Identity"))
    return _rows(call, found, _USER)


def _rows(call: Call, found: list[Recipient], fixed: Mapping[str, Column]) -> Iterable[Row]:
    names, values = zip(*_columns(call, fixed), strict=True)
    call.projected = True
    return (dict(zip(names, [value(recipient) for value in values], strict=True)) for recipient in call.limited(found))
