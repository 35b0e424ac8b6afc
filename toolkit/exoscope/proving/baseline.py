"""The baseline of a migration: does Exchange's own test of the policies agree with the prediction, before anything is changed?

Two rules are documented and disputed, or likely and undocumented: that a policy counts members of nested mail-enabled security
groups, and that a policy for every app counts for each. So every mailbox whose answer rests on one of them is asked, and a
seeded sample of the rest. (Test-ApplicationAccessPolicy; for EWS it is not documented.)
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from msgspec.structs import replace

from exoscope.model import Group, Noun
from exoscope.planning.states import listed
from exoscope.reach import Mailboxes, Reach

SAMPLE = 100
"""Mailboxes of the rest that are asked on each side, let through and not."""
_GOVERNED = "Mail.Read"  # one of those that policies govern: which makes no difference to whom a policy matches


class Baseline(Noun, frozen=True):
    """Whom to ask, and what is predicted. ``nested`` and ``wildcard``: whose answer rests on those rules."""

    allowed: Mailboxes
    unknown: Mailboxes
    nested: Mailboxes
    wildcard: Mailboxes
    ask: tuple[str, ...]

    def why(self, address: str) -> str:
        """Which rule a mailbox's answer rests on, in words."""
        rules = [
            word
            for word, these in (("nesting", self.nested), ("a policy for every app", self.wildcard))
            if address in these
        ]
        return f" (its answer rests on {' and '.join(rules)})" if rules else ""


def baseline(
    reach: Reach, app_id: str, *, seed: int, tested: frozenset[str] | None = None, everything: bool = False
) -> Baseline:
    """The baseline of one app over a fresh reading. What is unknown is not asked: no answer would agree or disagree.

    ``tested``: Guids of those who were asked already, where of the rest no other can be. ``everything``: the rest is asked whole.
    """
    allowed, unknown = reach.policy_allows(app_id, _GOVERNED)
    nested = _differs(allowed, reach.with_(groups=_flat(reach)).policy_allows(app_id, _GOVERNED)[0])
    own = tuple(each for each in listed(reach.snapshot, "access_policies") if each.app_id != "*")
    wildcard = _differs(allowed, reach.with_(access_policies=own).policy_allows(app_id, _GOVERNED)[0])
    certain = (nested | wildcard) - unknown
    rest = reach.mailboxes - certain - unknown
    chosen = random.Random(seed)  # noqa: S311 - a sample that can be drawn again, not a secret
    sides = ((rest & allowed).addresses(), (rest - allowed).addresses())
    ask = [*certain, *(each for side in sides for each in (side if everything else _drawn(chosen, side)))]
    if tested is not None:
        ask = [*certain, *(each for each in rest if reach.find_mailbox(each).guid.casefold() in tested)]
    return Baseline(allowed, unknown, nested, wildcard, tuple(sorted(ask, key=str.casefold)))


def _differs(one: Mailboxes, other: Mailboxes) -> Mailboxes:
    return (one - other) | (other - one)


def _flat(reach: Reach) -> tuple[Group, ...]:
    """The groups as if none were inside another."""
    groups: tuple[Group, ...] = listed(reach.snapshot, "groups")
    guids = {each.guid.casefold() for each in groups}

    def flat(group: Group) -> Group:
        inner = [] if group.members is None else [each for each in group.members if each.casefold() in guids]
        if not inner:
            return group
        return replace(group, members=tuple(each for each in group.members or () if each.casefold() not in guids))

    return tuple(flat(each) for each in groups)


def _drawn(chosen: random.Random, these: Sequence[str]) -> Sequence[str]:
    return these if len(these) <= SAMPLE else chosen.sample(list(these), SAMPLE)
