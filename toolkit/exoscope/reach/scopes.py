"""Scopes: which mailboxes are inside a filter, a management scope, a unit, a group, an access policy's scope."""

from __future__ import annotations

from typing import NamedTuple

from exoscope.model import (
    AccessPolicy,
    AdministrativeUnitScope,
    GroupScope,
    ManagementScope,
    ManagementScopeScope,
    OrganizationScope,
    Scope,
    Snapshot,
    Unset,
)
from exoscope.opath import Compare, OpathError, flags, fold, lookup, parse, scope_problem
from exoscope.reach.groups import GroupIndex
from exoscope.reach.recipients import RecipientIndex
from exoscope.reach.sets import Span, bits, complement, either_reading, exactly, intersection, union


class Inside(NamedTuple):
    """Who is inside; ``problem``: the one reason why all or some of that is unknown, None where there is none.

    ``code`` is the finding that goes with the problem; ``flags`` are sentences an admin should read all the same.
    """

    span: Span
    problem: str | None = None
    code: str | None = None
    flags: tuple[str, ...] = ()


class ScopeIndex:
    """What scopes of a snapshot hold. ``earlier``: shares the work of an index with the same recipients and groups."""

    def __init__(self, snapshot: Snapshot, earlier: ScopeIndex | None = None) -> None:
        recipients = earlier.recipients if earlier is not None else None
        if (
            recipients is None
            or recipients.recipients is not snapshot.recipients
            or recipients.attributes_read is not snapshot.attributes_read
        ):
            recipients = RecipientIndex(snapshot)
        groups = earlier.groups if earlier is not None else None
        same_groups = (
            groups is not None
            and groups.recipients is recipients
            and groups.groups is snapshot.groups
            and groups.units is snapshot.administrative_units
        )
        self.recipients: RecipientIndex = recipients
        self.groups: GroupIndex = (
            groups if groups is not None and same_groups else GroupIndex(snapshot, recipients, groups)
        )
        self._filters: dict[str, Inside] = earlier._filters if earlier is not None and same_groups else {}
        self._scopes: dict[str, ManagementScope] | None = (
            None
            if isinstance(snapshot.management_scopes, Unset)
            else {scope.name.casefold(): scope for scope in snapshot.management_scopes}
        )

    def nobody_knows(self, problem: str, code: str) -> Inside:
        """Every mailbox may be inside."""
        return Inside(Span(bits(), self.recipients.everything), problem, code)

    def filter(self, text: str) -> Inside:
        """The mailboxes an OPATH filter selects (SNAPSHOT, "How filters are evaluated")."""
        if text not in self._filters:
            self._filters[text] = self._filter(text)
        return self._filters[text]

    def _filter(self, text: str) -> Inside:
        try:
            node = parse(text)
        except OpathError as error:
            return self.nobody_knows(f"its filter does not parse: {error.message}", "filter-unreadable")
        problem = scope_problem(node)
        if problem is not None:
            return self.nobody_knows(problem, "filter-unreadable")
        everything = self.recipients.everything
        span = fold(
            node,
            leaf=self._leaf,
            all_=intersection,
            any_=union,
            not_=lambda inner: complement(inner, everything),
            both=either_reading,
        )
        doubt = "what its filter depends on was not read, or is not documented" if span.unknown else None
        return Inside(span, doubt, "filter-undecided" if doubt else None, flags(node))

    def _leaf(self, atom: Compare) -> Span:
        known = lookup(atom.property)
        if known is not None and known.name == "MemberOfGroup":
            return self.groups.member_of(atom)
        return self.recipients.select(atom)

    def scope(self, scope: Scope) -> Inside:
        """The mailboxes inside the scope of a role assignment."""
        if isinstance(scope, OrganizationScope):
            return Inside(exactly(self.recipients.everything))
        if isinstance(scope, ManagementScopeScope):
            return self._management_scope(scope.name)
        if isinstance(scope, AdministrativeUnitScope):
            unit = self.groups.unit(scope.id)
            if unit is None:
                return self.nobody_knows(f"the administrative unit {scope.id} was not read", "dangling-scope")
            return Inside(exactly(self.groups.unit_members(unit)))
        return self._group(scope)

    def _group(self, scope: GroupScope) -> Inside:
        group = self.groups.find(scope.id)
        if group is None:
            return self.nobody_knows(f"the group {scope.id} was not read", "dangling-scope")
        if group.members is None:
            return self.nobody_knows(f"the members of {group.display_name} were not read", "members-unread")
        return Inside(self.groups.direct(group))

    def _management_scope(self, name: str) -> Inside:
        if self._scopes is None:
            return self.nobody_knows("management scopes were not read", "dangling-scope")
        found = self._scopes.get(name.casefold())
        if found is None:
            return self.nobody_knows(f"the management scope {name} is not there", "dangling-scope")
        inside = self.filter(found.recipient_filter)
        if not found.recipient_root:
            return inside
        # A root that is a DN is decided by the recipients' own DNs; other spellings of a place are not.
        root = self.recipients.under(found.recipient_root)
        if root is None:
            return Inside(
                inside.span.doubted(),
                f"its root {found.recipient_root} is no distinguished name, so what lies below it is not known",
                "recipient-root",
                inside.flags,
            )
        return inside._replace(span=intersection([inside.span, exactly(root)]))

    def policy(self, policy: AccessPolicy) -> Inside:
        """The mailboxes an access policy matches."""
        if not policy.valid:
            return self.nobody_knows("Exchange calls the policy invalid", "policy-invalid")
        group = self.groups.find(policy.scope.object_id)
        if group is not None:
            span = self.groups.policy(group)
            if not span.unknown:
                return Inside(span)
            return Inside(
                span,
                f"not everything that {group.display_name} holds, nested groups included, is known",
                "members-unread",
            )
        recipient = self.recipients.by_object_id(policy.scope.object_id)
        if recipient is None:
            return self.nobody_knows(f"its scope {policy.scope.name} is not among what was read", "dangling-scope")
        place = self.recipients.place_by_guid.get(recipient.guid.casefold())
        return Inside(exactly(bits(() if place is None else (place,))))
