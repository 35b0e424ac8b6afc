"""Groups and administrative units: who is in them directly, who an access policy finds through nesting."""

from __future__ import annotations

from exoscope.model import AdministrativeUnit, Group, Snapshot, Unset
from exoscope.opath import UNREAD, Compare, Partial, Value, compare, normal_dn
from exoscope.reach.recipients import RecipientIndex
from exoscope.reach.sets import Bits, Span, bits, exactly

SECURITY_GROUP = "mailuniversalsecuritygroup"


def _by_dn(group: Group) -> str:
    return group.distinguished_name.casefold()


class GroupIndex:
    """Over ``groups`` and ``administrative_units`` of a snapshot. ``earlier``: an index whose work on groups that stayed
    the same is taken over, where the recipients are the same too.
    """

    def __init__(self, snapshot: Snapshot, recipients: RecipientIndex, earlier: GroupIndex | None = None) -> None:
        self.recipients = recipients
        self.groups = snapshot.groups
        self.units = snapshot.administrative_units
        self.groups_read = not isinstance(snapshot.groups, Unset)
        listed = () if isinstance(snapshot.groups, Unset) else snapshot.groups
        self.by_guid: dict[str, Group] = {group.guid.casefold(): group for group in listed}
        self._by_object_id = {
            group.external_directory_object_id.casefold(): group
            for group in listed
            if group.external_directory_object_id
        }
        self._by_dn: dict[str, Group] | None = None
        units = () if isinstance(snapshot.administrative_units, Unset) else snapshot.administrative_units
        self._units: dict[str, AdministrativeUnit] = {unit.id.casefold(): unit for unit in units}
        # id() of a group with the group itself: while it is held here, no other object can have its id.
        self._direct: dict[int, tuple[Group, Bits, tuple[str, ...]]] = (
            dict(earlier._direct) if earlier is not None and earlier.recipients is recipients else {}
        )
        self._policy: dict[str, Span] = {}
        self._in_unit: dict[str, Bits] = {}

    def find(self, object_id: str) -> Group | None:
        """The group with this external directory object id or guid."""
        folded = object_id.casefold()
        return self._by_object_id.get(folded) or self.by_guid.get(folded)

    def by_dn(self, dn: str) -> Group | None:
        """The group with this DN, in any spelling."""
        if self._by_dn is None:
            self._by_dn = {
                normal_dn(group.distinguished_name) or group.distinguished_name.casefold(): group
                for group in self.by_guid.values()
            }
        return self._by_dn.get(normal_dn(dn) or dn.casefold())

    def unit(self, unit_id: str) -> AdministrativeUnit | None:
        """The administrative unit with this id."""
        return self._units.get(unit_id.casefold())

    def direct(self, group: Group) -> Span:
        """Direct members; where they were not read, anyone may be one."""
        if group.members is None:
            return Span(bits(), self.recipients.everything)
        return exactly(self._members(group)[0])

    def unit_members(self, unit: AdministrativeUnit) -> Bits:
        """Direct members of an administrative unit."""
        key = unit.id.casefold()
        if key not in self._in_unit:
            places = self.recipients.place_by_external_id
            found = (places.get(member.casefold()) for member in unit.members)
            self._in_unit[key] = bits(place for place in found if place is not None)
        return self._in_unit[key]

    def policy(self, group: Group) -> Span:
        """Whom an access policy on this group finds: direct members and those of nested mail-enabled security groups.

        Whoever hangs on another kind of nested group is unknown, and so is everyone where a membership was not read.
        (Source: New-ApplicationAccessPolicy says that nested members count; users have disputed it.)
        """
        key = group.guid.casefold()
        if key not in self._policy:
            certain, loose = self._reached(group)
            sure, possible = bits(), bits()
            for reached in certain:
                span = self.direct(reached)
                sure, possible = sure | span.sure, possible | span.possible
            for reached in loose:
                possible |= self.direct(reached).possible
            self._policy[key] = Span(sure, possible | sure)
        return self._policy[key]

    def counted(self, group: Group) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
        """The groups whose members an access policy on this one counts (itself first), and others that hang on it."""
        certain, loose = self._reached(group)
        sure = {each.guid.casefold() for each in certain}
        inner = sorted(certain[1:], key=_by_dn)
        return (group, *inner), tuple(sorted((g for g in loose if g.guid.casefold() not in sure), key=_by_dn))

    def nested(self, group: Group) -> tuple[Group, ...]:
        """Groups that are direct members of this one."""
        if group.members is None:
            return ()
        return tuple(self.by_guid[guid] for guid in self._members(group)[1])

    def member_of(self, atom: Compare) -> Span:
        """The mailboxes that pass a comparison of MemberOfGroup.

        A DN that names no group of the file is unknown: it may be a group of a kind that was not listed.
        """
        everything = self.recipients.everything
        if not self.groups_read:
            return self._constant(atom, UNREAD)
        if atom.value is None:
            unread = frozenset(g.distinguished_name for g in self.by_guid.values() if g.members is None)
            members = bits()
            for group in self.by_guid.values():
                if group.members is not None:
                    members |= self._members(group)[0]
            inside = self._part(compare(atom, Partial(frozenset({"CN=some group"}), unread)), members)
            outside = self._part(compare(atom, Partial(frozenset(), unread)), everything - members)
            return Span(inside.sure | outside.sure, inside.possible | outside.possible)
        dn = str(atom.value)
        named = frozenset({dn})
        found = self.by_dn(dn)
        if found is None or found.members is None:
            return self._constant(atom, Partial(frozenset(), named))
        members = self._members(found)[0]
        inside = self._part(compare(atom, Partial(named, frozenset())), members)
        outside = self._part(compare(atom, Partial(frozenset(), frozenset())), everything - members)
        return Span(inside.sure | outside.sure, inside.possible | outside.possible)

    def _constant(self, atom: Compare, value: Value) -> Span:
        return self._part(compare(atom, value), self.recipients.everything)

    def _part(self, answer: bool | None, these: Bits) -> Span:
        if answer is None:
            return Span(bits(), these)
        return exactly(these if answer else bits())

    def _members(self, group: Group) -> tuple[Bits, tuple[str, ...]]:
        """Places of the direct members that are mailboxes, and guids (folded) of those that are groups."""
        held = self._direct.get(id(group))
        if held is None:
            places = self.recipients.place_by_guid
            folded = [member.casefold() for member in group.members or ()]
            held = (
                group,
                bits(place for member in folded if (place := places.get(member)) is not None),
                tuple(member for member in folded if member not in places),
            )
            self._direct[id(group)] = held
        # Which of the others are groups is asked anew: another snapshot may list other groups.
        return held[1], tuple(dict.fromkeys(member for member in held[2] if member in self.by_guid))

    def _reached(self, group: Group) -> tuple[list[Group], list[Group]]:
        """Groups whose members count for certain, and those that hang on another kind of group. Cycles end."""
        certain: dict[str, Group] = {}
        loose: dict[str, Group] = {}
        todo = [(group, True)]
        while todo:
            here, sure = todo.pop()
            key = here.guid.casefold()
            seen = certain if sure else loose
            if key in seen:
                continue
            seen[key] = here
            todo += [
                (nested, sure and nested.recipient_type_details.casefold() == SECURITY_GROUP)
                for nested in self.nested(here)
            ]
        return list(certain.values()), list(loose.values())
