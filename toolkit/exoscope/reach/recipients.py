"""Recipients, indexed: each property as value → mailboxes, built when a filter first asks, and what a comparison selects."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from exoscope.model import Recipient, Snapshot, Unset
from exoscope.opath import UNREAD, Compare, dn_under, found_in, reads
from exoscope.outcome import Unreadable
from exoscope.reach.sets import Bits, Span, Universe, bits, exactly

_COLUMNS: dict[str, Callable[[Recipient], Any]] = {
    "guid": lambda r: r.guid,
    "externaldirectoryobjectid": lambda r: r.external_directory_object_id,
    "displayname": lambda r: r.display_name,
    "primarysmtpaddress": lambda r: r.primary_smtp_address,
    "emailaddresses": lambda r: r.email_addresses,
    "distinguishedname": lambda r: r.distinguished_name,
    "recipienttype": lambda r: r.recipient_type,
    "recipienttypedetails": lambda r: r.recipient_type_details,
}

_LONG_TEXT = frozenset({"displayname", "primarysmtpaddress", "emailaddresses"})
_Key = tuple[tuple[type, Hashable], ...]


class RecipientIndex:
    """Over ``recipients`` and ``attributes_read`` of a snapshot; shared by every reach with the same two.

    ``universe``: the mailboxes (recipients whose recipient_type is UserMailbox). Raises Unreadable when recipients were
    not read: without them no set of mailboxes can be told, and an empty one would lie.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        if isinstance(snapshot.recipients, Unset):
            raise Unreadable(
                "recipients were not read, so nobody can say which mailboxes there are",
                next="Take a snapshot that holds recipients.",
            )
        self.recipients = snapshot.recipients
        self.attributes_read = snapshot.attributes_read
        found = [r for r in self.recipients if r.recipient_type.casefold() == "usermailbox"]
        found.sort(key=lambda r: (r.primary_smtp_address.casefold(), r.guid.casefold()))
        self.mailboxes = tuple(found)
        self.universe = Universe([mailbox.primary_smtp_address for mailbox in found])
        self.place_by_guid = {mailbox.guid.casefold(): place for place, mailbox in enumerate(found)}
        self._by_external_id: dict[str, int] | None = None
        self._others: dict[str, Recipient] | None = None
        self._by_address: dict[str, list[Recipient]] | None = None
        self._tables: dict[tuple[str, ...], dict[_Key, list[int]]] = {}
        self._atoms: dict[Compare, Span] = {}
        self._roots: dict[str, Bits | None] = {}
        self._spellings: dict[str, list[str]] | None = None

    @property
    def everything(self) -> Bits:
        return self.universe.everything

    @property
    def place_by_external_id(self) -> dict[str, int]:
        """External directory object id, without case, → place of the mailbox."""
        if self._by_external_id is None:
            self._by_external_id = {
                mailbox.external_directory_object_id.casefold(): place
                for place, mailbox in enumerate(self.mailboxes)
                if mailbox.external_directory_object_id
            }
        return self._by_external_id

    def by_object_id(self, object_id: str) -> Recipient | None:
        """The recipient (mail users included) with this external directory object id or guid."""
        if self._others is None:
            self._others = {r.guid.casefold(): r for r in self.recipients}
            self._others |= {
                r.external_directory_object_id.casefold(): r for r in self.recipients if r.external_directory_object_id
            }
        return self._others.get(object_id.casefold())

    def by_address(self, address: str) -> list[Recipient]:
        """Recipients with this address: the one whose primary it is, else all that have it as an alias."""
        if self._by_address is None:
            aliases: dict[str, list[Recipient]] = {}
            for recipient in self.recipients:
                for alias in {a.casefold().removeprefix("smtp:") for a in recipient.email_addresses}:
                    aliases.setdefault(alias, []).append(recipient)
            # Last, so that a primary address wins over another recipient's alias.
            aliases |= {r.primary_smtp_address.casefold(): [r] for r in self.recipients}
            self._by_address = aliases
        return self._by_address.get(address.casefold(), [])

    def select(self, atom: Compare) -> Span:
        """The mailboxes that pass one comparison (not of MemberOfGroup); each distinct value is compared once."""
        if atom not in self._atoms:
            self._atoms[atom] = self._select(atom)
        return self._atoms[atom]

    def under(self, root: str) -> Bits | None:
        """The mailboxes at or below this DN; None where it is no DN."""
        if root not in self._roots:
            held = [dn_under(mailbox.distinguished_name, root) for mailbox in self.mailboxes]
            decided = dn_under(root, root) is not None and None not in held
            self._roots[root] = bits(place for place, inside in enumerate(held) if inside) if decided else None
        return self._roots[root]

    def _select(self, atom: Compare) -> Span:
        table = self._table(reads(atom))
        cannot = _cannot_match(atom)
        sure: list[int] = []
        possible: list[int] = []
        for key, places in table.items():
            if cannot is not None and cannot.holds(key):
                answer: bool | None = cannot.answer
            else:
                answer = found_in(atom, (value for _, value in key))  # type: ignore[misc] # values are opath's by the loader
            if answer is not False:
                possible += places
                if answer:
                    sure += places
        if len(sure) == len(possible):
            return exactly(bits(sure))
        return Span(bits(sure), bits(possible))

    def _table(self, names: tuple[str, ...]) -> dict[_Key, list[int]]:
        if names not in self._tables:
            columns = [self._column(name) for name in names]
            # The type stands in the key because true and 1 are one key of a dict and two values of a property.
            if len(columns) == 1:
                single: dict[tuple[type, Hashable], list[int]] = {}
                for place, value in enumerate(columns[0]):
                    key = (value.__class__, value)
                    if key in single:
                        single[key].append(place)
                    else:
                        single[key] = [place]
                self._tables[names] = {(key,): places for key, places in single.items()}
            else:
                table: dict[_Key, list[int]] = {}
                for place, values in enumerate(zip(*columns, strict=True)):
                    table.setdefault(tuple([(value.__class__, value) for value in values]), []).append(place)
                self._tables[names] = table
        return self._tables[names]

    def _column(self, name: str) -> list[Any]:
        """What each mailbox holds in a property, in the order of places; lists as tuples."""
        folded = name.casefold()
        if folded in _COLUMNS:
            read = _COLUMNS[folded]
            return [read(mailbox) for mailbox in self.mailboxes]
        attributes = () if isinstance(self.attributes_read, Unset) else self.attributes_read
        if folded not in {attribute.casefold() for attribute in attributes}:
            return [UNREAD] * len(self.mailboxes)
        if self._spellings is None:
            self._spellings = {}
            for spelled in {key for recipient in self.recipients for key in recipient.attributes}:
                self._spellings.setdefault(spelled.casefold(), []).append(spelled)
        spellings = self._spellings.get(folded, [])
        if len(spellings) == 1:
            only = spellings[0]
            held = [mailbox.attributes.get(only) for mailbox in self.mailboxes]
        else:
            held = [
                next((mailbox.attributes[key] for key in spellings if key in mailbox.attributes), None)
                for mailbox in self.mailboxes
            ]
        return [tuple(value) if value.__class__ is list else value for value in held]


class _CannotMatch(NamedTuple):
    """A quick test for columns with as many values as mailboxes: whom a comparison with plain text cannot select.

    Plain ASCII text that lacks ``needle`` (the longest piece between a pattern's wildcards) cannot match, whatever opath's
    rules for case, prefixes and folding; ``answer`` is what opath says of such text. A test holds it against opath.
    """

    needle: str
    answer: bool

    def holds(self, key: _Key) -> bool:
        for _, value in key:
            for text in value if isinstance(value, tuple) else (value,):
                # An address may be meant with its prefix: a pattern may match across the two.
                if not isinstance(text, str) or not text.isascii() or self.needle in f"smtp:{text}".lower():
                    return False
        return True


def _cannot_match(atom: Compare) -> _CannotMatch | None:
    if atom.property.casefold() not in _LONG_TEXT or atom.operator not in ("eq", "ne", "like", "notlike"):
        return None
    text = atom.value
    if not isinstance(text, str) or not text.isascii():
        return None
    pieces = (
        text.lower().removeprefix("smtp:").split("*")
        if "like" in atom.operator
        else [text.lower().removeprefix("smtp:")]
    )
    needle = max(pieces, key=len)
    lacking = "\x01" if "\x01" not in needle else "\x02"
    answer = found_in(atom, (lacking for _ in reads(atom)))
    return _CannotMatch(needle, answer) if needle and answer is not None else None
