"""Recipients: mailboxes, mail users and groups; the same filters as management scopes have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import UNSET

from exoscope.model import Group, Recipient
from exoscope.opath import Filter, parse
from exoscope.twin.errors import NotModelled, Unread
from exoscope.twin.exchange.call import Call, Row, cmdlet, name_of
from exoscope.twin.exchange.group import by_guid, extra, recipient_type
from exoscope.twin.exchange.management_scope import rewritten
from exoscope.twin.filters import holds, properties
from exoscope.twin.view import fold, recipient_alias

_OWN: dict[str, Callable[[Recipient], Any]] = {
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
_OWN_LOWER = {name.lower(): (name, value) for name, value in _OWN.items()}


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


def _columns(call: Call) -> list[tuple[str, Callable[[Recipient], Any]]]:
    """What a row is made of: what the pipeline selects, else the fixed columns and every attribute that was read."""
    read = call.view.snapshot.attributes_read
    attributes = {} if read is UNSET else {name.lower(): name for name in read}
    wanted = (
        call.wanted
        if call.wanted is not None
        else (*_OWN, *(a for a in attributes.values() if fold(a) not in _OWN_LOWER))
    )
    columns: list[tuple[str, Callable[[Recipient], Any]]] = []
    for name in wanted:
        key = name.lower()
        if key in _OWN_LOWER:
            columns.append(_OWN_LOWER[key])
        elif key in attributes:
            columns.append((attributes[key], _attribute(attributes[key])))
        else:
            raise Unread(f"the property {name} of recipients")
    return columns


def _attribute(name: str) -> Callable[[Recipient], Any]:
    key = name.lower()

    def value(recipient: Recipient) -> Any:
        held = recipient.attributes
        found = held[name] if name in held else next((v for k, v in held.items() if k.lower() == key), None)
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
    return _rows(call, found)


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
    return _rows(call, found)


def _rows(call: Call, found: list[Recipient]) -> Iterable[Row]:
    names, values = zip(*_columns(call), strict=True)
    call.projected = True
    return (dict(zip(names, [value(recipient) for value in values], strict=True)) for recipient in call.limited(found))
