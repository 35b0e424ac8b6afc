"""Look-ups over one state of the tenant: plain dictionaries, built when first asked for, kept while their list is the same."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import UNSET

from exoscope.model import (
    AccessPolicy,
    AdministrativeUnit,
    App,
    Group,
    ManagementScope,
    Recipient,
    RoleAssignment,
    ServicePrincipal,
    Snapshot,
)
from exoscope.twin.behaviour import Behaviour

Table = dict[str, tuple[Any, ...]]


def fold(text: str) -> str:
    """How Guids, addresses, names and DNs are compared: without case."""
    return text.lower()


DnKey = tuple[tuple[str, str], ...]


@functools.lru_cache(maxsize=4096)  # a filter's DN is compared with every recipient
def dn_key(text: str) -> DnKey | None:
    """A DN as pairs of attribute and value without case, escapes and outer blanks; None when the text is no DN."""
    pairs: list[tuple[str, str]] = []
    attribute: str | None = None
    value: list[str] = []
    solid = 0  # up to where blanks at the end are not the value's own
    at = 0

    def close() -> bool:
        text = "".join(value[:solid])
        if attribute is None or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+", attribute) or not text:
            return False
        pairs.append((attribute.lower(), text.lower()))
        return True

    while at <= len(text):
        char = text[at] if at < len(text) else ","
        if at < len(text) and char == "\\":
            hexa = re.match(r"(\\[0-9A-Fa-f]{2})+", text[at:])
            if hexa:
                raw = bytes.fromhex(hexa.group().replace("\\", ""))
                try:
                    value.extend(raw.decode("utf-8"))
                except UnicodeDecodeError:
                    return None
                at += len(hexa.group())
            elif at + 1 < len(text):
                value.append(text[at + 1])
                at += 2
            else:
                return None
            solid = len(value)
            continue
        if char == ",":
            if not close():
                return None
            attribute, value, solid = None, [], 0
        elif char == "=" and attribute is None:
            attribute = "".join(value).strip()
            value, solid = [], 0
        elif char != " " or value:
            value.append(char)
            solid = len(value) if char != " " else solid
        at += 1
    return tuple(pairs)


_DN_PIECE = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)|([^\\,])", re.DOTALL)


def common_name(dn: str) -> str:
    """The unescaped value of a DN's first part: Exchange's Name of the object."""
    if "\\" not in dn:
        return dn.partition("=")[2].partition(",")[0].strip(" ")
    value = ""
    solid = 0  # up to where blanks at the end are not the value's own
    at = dn.find("=") + 1 or len(dn)
    while (piece := _DN_PIECE.match(dn, at)) is not None:
        octets, escaped, plain = piece.groups()
        if octets:
            value += bytes.fromhex(octets.replace("\\", "")).decode("utf-8", "replace")
        elif plain != " " or value:
            value += escaped or plain
        if plain != " ":
            solid = len(value)
        at = piece.end()
    return value[:solid]


def dn_value(name: str) -> str:
    """A name as the value of a DN's part: what would end or change it is escaped. Source: RFC 4514, 2.4."""
    text = re.sub(r'[,+"\\<>;=]', r"\\\g<0>", name)
    text = re.sub(r"[\x00-\x1f]", lambda control: f"\\{ord(control.group()):02X}", text)
    text = re.sub(r"^[ #]", r"\\\g<0>", text)
    return text[:-1] + "\\ " if len(name) > 1 and name.endswith(" ") else text


def recipient_alias(recipient: Recipient) -> str:
    """The Alias that was read, else (the file need not hold it) the primary address's local part."""
    held = recipient.attributes
    alias = held.get("Alias") or next((held[name] for name in held if name.lower() == "alias"), None)
    return alias if isinstance(alias, str) else recipient.primary_smtp_address.partition("@")[0]


def recipient_names(recipient: Recipient) -> Iterable[str]:
    """Everything by which Exchange's -Identity finds a recipient (addresses with and without their prefix apart)."""
    yield recipient.guid
    if recipient.external_directory_object_id:
        yield recipient.external_directory_object_id
    yield recipient.primary_smtp_address
    yield from recipient.email_addresses
    yield recipient.distinguished_name
    yield common_name(recipient.distinguished_name)
    yield recipient.display_name
    yield recipient_alias(recipient)
    principal = next((v for k, v in recipient.attributes.items() if k.lower() == "userprincipalname"), None)
    if isinstance(principal, str):
        yield principal


def group_names(group: Group) -> Iterable[str]:
    """Everything by which -Identity finds a group."""
    yield group.guid
    for name in (group.external_directory_object_id, group.sid, group.primary_smtp_address):
        if name:
            yield name
    if group.primary_smtp_address:
        yield group.primary_smtp_address.partition("@")[0]
    yield group.distinguished_name
    yield common_name(group.distinguished_name)
    yield group.display_name


def _people(snapshot: Snapshot) -> tuple[int, int]:
    """The very lists of people and groups that a state holds."""
    return id(snapshot.recipients), id(snapshot.groups)


class View:
    """One state with its indexes. ``earlier`` is the view of the state before: what did not change is taken from it, and so is
    the behaviour.
    """

    def __init__(self, snapshot: Snapshot, earlier: View | None = None, behaviour: Behaviour | None = None) -> None:
        self.snapshot = snapshot
        self.behaviour: Behaviour = behaviour or (Behaviour() if earlier is None else earlier.behaviour)
        self._tables: dict[tuple[str, int], tuple[Any, Table]] = {}
        # those over people and groups, which hardly change: one that any state makes serves all states with the same lists
        wide = earlier is not None and _people(earlier.snapshot) == _people(snapshot)
        self._wide: dict[tuple[str, int], tuple[Any, Table]] = earlier._wide if earlier is not None and wide else {}
        # by id() of a group, which is kept beside it; what one group holds is the same in every state
        self._members: dict[int, tuple[Group, frozenset[str]]] = {} if earlier is None else earlier._members
        if earlier is not None:
            kept = {id(getattr(snapshot, name)) for name in snapshot.__struct_fields__}
            # copied first: another thread may be adding a table to the earlier view
            self._tables = {key: value for key, value in dict(earlier._tables).items() if key[1] in kept}

    def _table(self, name: str, items: Any, keys: Callable[[Any], Iterable[str]]) -> Table:
        if items is UNSET:
            return {}
        tables = self._wide if items is self.snapshot.groups or items is self.snapshot.recipients else self._tables
        found = tables.get((name, id(items)))
        if found is None:
            lists: dict[str, list[Any]] = {}
            for item in items:
                for key in keys(item):
                    held = lists.setdefault(fold(key), [])
                    if not any(other is item for other in held):
                        held.append(item)
            # the list itself is kept with its table: while it lives its id cannot be another list's
            found = (items, {key: tuple(held) for key, held in lists.items()})
            tables[(name, id(items))] = found
        return found[1]

    def recipients(self, identity: str) -> tuple[Recipient, ...]:
        """Recipients that any of their names matches."""
        return self._table("recipients", self.snapshot.recipients, recipient_names).get(fold(identity), ())

    def recipient(self, guid: str) -> Recipient | None:
        """The recipient with this Guid."""
        table = self._table("recipient", self.snapshot.recipients, lambda item: (item.guid,))
        return next(iter(table.get(fold(guid), ())), None)

    def recipient_by_directory_id(self, object_id: str) -> tuple[Recipient, ...]:
        """Recipients with this external directory object id."""
        return self._table(
            "recipient-oid", self.snapshot.recipients, lambda item: (item.external_directory_object_id or "",)
        ).get(fold(object_id), ())

    def groups(self, identity: str) -> tuple[Group, ...]:
        """Groups that any of their names matches."""
        return self._table("groups", self.snapshot.groups, group_names).get(fold(identity), ())

    def groups_by_id(self, object_id: str) -> tuple[Group, ...]:
        """Groups with this Guid or external directory object id."""
        return self._table(
            "group-id", self.snapshot.groups, lambda item: (item.guid, item.external_directory_object_id or item.guid)
        ).get(fold(object_id), ())

    def groups_by_dn(self, dn: str) -> tuple[Group, ...]:
        """Groups with this DN, its spacing apart."""
        return self._table("group-dn", self.snapshot.groups, lambda item: (repr(dn_key(item.distinguished_name)),)).get(
            fold(repr(dn_key(dn))), ()
        )

    def groups_of(self, guid: str) -> tuple[Group, ...]:
        """Groups whose (read) direct members hold this Guid."""
        return self._table("members", self.snapshot.groups, lambda item: item.members or ()).get(fold(guid), ())

    def members(self, group: Group) -> frozenset[str]:
        """The Guids of a group's direct members, folded; none where they were not read."""
        held = self._members.get(id(group))
        if held is None:
            held = self._members[id(group)] = (group, frozenset(fold(each) for each in group.members or ()))
        return held[1]

    def nested(self, group: Group) -> tuple[Group, ...]:
        """Groups that are direct members of a group."""
        table = self._table("group-guid", self.snapshot.groups, lambda item: (item.guid,))
        return tuple(inner for guid in table.keys() & self.members(group) for inner in table[guid])

    def unread_groups(self) -> tuple[Group, ...]:
        """Groups whose members were not read."""
        return self._table(
            "unread-groups", self.snapshot.groups, lambda item: ("unread",) if item.members is None else ()
        ).get("unread", ())

    def unit(self, object_id: str) -> AdministrativeUnit | None:
        """The administrative unit with this Guid."""
        table = self._table("units", self.snapshot.administrative_units, lambda item: (item.id,))
        return next(iter(table.get(fold(object_id), ())), None)

    def apps(self, identity: str) -> tuple[App, ...]:
        """Service principals by object id, app id or display name."""
        return self._table(
            "apps", self.snapshot.apps, lambda item: (item.object_id, item.app_id, item.display_name)
        ).get(fold(identity), ())

    def scopes(self, name: str) -> tuple[ManagementScope, ...]:
        """Management scopes of this name."""
        return self._table("scopes", self.snapshot.management_scopes, lambda item: (item.name,)).get(fold(name), ())

    def policies(self, app_id: str) -> tuple[AccessPolicy, ...]:
        """Access policies that name this app (or ``*``), in their order."""
        return self._table("policies", self.snapshot.access_policies, lambda item: (item.app_id,)).get(fold(app_id), ())

    def assigned_to(self, text: str) -> tuple[RoleAssignment, ...]:
        """Role assignments whose assignee is this text, in their order."""
        return self._table("assignees", self.snapshot.role_assignments, lambda item: (item.assignee,)).get(
            fold(text), ()
        )

    def pointers_of(self, object_id: str) -> tuple[ServicePrincipal, ...]:
        """Exchange's pointers to the service principal with this object id."""
        return tuple(each for each in self.pointers(object_id) if fold(each.object_id) == fold(object_id))

    def pointers(self, identity: str) -> tuple[ServicePrincipal, ...]:
        """Exchange's pointers by object id, app id or display name."""
        return self._table(
            "pointers", self.snapshot.service_principals, lambda item: (item.object_id, item.app_id, item.display_name)
        ).get(fold(identity), ())
