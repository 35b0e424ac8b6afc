"""Do two filters mean the same? Decided by proof, not by text.

Each comparison becomes a function over what its property can hold (`worlds`), each filter a decision diagram over those
(`bdd`). The filters agree when no possible recipient is in one and not in the other; they differ when a real one is. What
neither proves is None, and so is what takes more than `BOUND` nodes (plain lists of thousands of groups stay far below).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import msgspec

from exoscope.opath.bdd import FALSE, TRUE, Bdd, TooLarge
from exoscope.opath.comparing import is_code
from exoscope.opath.evaluating import atoms, is_mixed, reading, scope_problem
from exoscope.opath.meaning import (
    ADDRESSES,
    COUNTRIES,
    Blank,
    Equals,
    Like,
    Meaning,
    Never,
    Order,
    Unclear,
    loose_key,
    meaning,
    negative,
    text_key,
)
from exoscope.opath.nodes import And, Compare, Filter, Mixed, Not, Or
from exoscope.opath.table import Property, lookup, spelling
from exoscope.opath.worlds import MANDATORY, cells, implies, scale

BOUND = 200_000
_JOINS_READ_LEFT = (
    50  # a longer mix of -and and -or is not read from left to right: each change of join nests one deeper
)

# Which recipients there are: RecipientTypeDetails by RecipientType (exchange.md §3)
_TYPES = {
    "usermailbox": "usermailbox sharedmailbox roommailbox equipmentmailbox schedulingmailbox linkedmailbox legacymailbox",
    "mailuser": "mailuser guestmailuser",
    "mailcontact": "mailcontact",
    "mailuniversalsecuritygroup": "mailuniversalsecuritygroup",
    "mailuniversaldistributiongroup": "mailuniversaldistributiongroup",
}
# Properties that say one thing in several ways: whether a recipient can hold one value here and another there is not known,
# so filters that name two of a family are never called different.
_FAMILIES = [
    frozenset(names.split())
    for names in (
        "WhenChanged WhenChangedUTC",
        "WhenCreated WhenCreatedUTC WhenMailboxCreated",
        "C Co CountryOrRegion UsageLocation",
        "CommonName DistinguishedName Id Name RawCanonicalName RawName RecipientContainer",
        "EmailAddresses WindowsEmailAddress ExternalEmailAddress RawExternalEmailAddress",
        "PrimarySmtpAddress WindowsEmailAddress",
        "UserPrincipalName WindowsLiveID",
        "InPlaceHolds InPlaceHoldsRaw",
        "ElcMailboxFlags LitigationHoldDate LitigationHoldEnabled LitigationHoldOwner SingleItemRecoveryEnabled"
        " ComplianceTagHoldApplied",
        "ArchiveDatabase ArchiveDomain ArchiveGuid ArchiveName ArchiveRelease ArchiveState ArchiveStatus"
        " DisabledArchiveDatabase DisabledArchiveGuid",
        "MailboxMoveBatchName MailboxMoveFlags MailboxMoveRemoteHostName MailboxMoveSourceMDB MailboxMoveStatus"
        " MailboxMoveTargetMDB",
        "GroupType IncludedRecipients MapiRecipient RecipientDisplayType RecipientTypeDetails RemoteRecipientType"
        " ResourceMetaData ResourceSearchProperties ResourceType",
        "GroupType IncludedRecipients MapiRecipient RecipientDisplayType RecipientType RemoteRecipientType"
        " ResourceMetaData ResourceSearchProperties ResourceType",
    )
]


def same(a: Filter, b: Filter) -> bool | None:
    """Whether two filters let the same recipients in, whatever the tenant.

    False only where some recipient that can exist is in one and not in the other. None where that cannot be said: it hangs
    on something undocumented (precedence, the order of texts, a country's code against its name, an unknown property).
    """
    if a == b or _shape(a) == _shape(b):
        return True
    certain = scope_problem(a) is None and scope_problem(b) is None
    if not (is_mixed(a) or is_mixed(b)):
        return _decide(a, b, certain)
    # one precedence holds for both, and it is one of these three
    pairs = [
        (reading(a, lambda mixed: mixed.and_first), reading(b, lambda mixed: mixed.and_first)),
        (reading(a, lambda mixed: mixed.or_first), reading(b, lambda mixed: mixed.or_first)),
    ]
    answers = {_decide(one, other, certain) for one, other in pairs}
    if max(_longest_mix(a), _longest_mix(b)) > _JOINS_READ_LEFT:
        return None
    answers.add(
        _decide(reading(a, lambda mixed: mixed.left_first), reading(b, lambda mixed: mixed.left_first), certain)
    )
    return answers.pop() if len(answers) == 1 else None


def _decide(a: Filter, b: Filter, certain: bool) -> bool | None:
    """For filters with one reading. ``certain`` false: never False."""
    try:
        space = _Space([*atoms(a), *atoms(b)])
        bdd = space.bdd
        difference = bdd.both(bdd.differ(space.function(a), space.function(b)), space.possible)
        if difference == FALSE:
            return True
        if certain and not space.linked and bdd.reaches_true(bdd.both(difference, space.real), space.first_open):
            return False
    except TooLarge:
        return None
    return None


class _Set(msgspec.Struct, frozen=True):
    """A function of one single-valued property: the cells (a bit each) where it is true."""

    name: str
    bits: int


class _Variable(msgspec.Struct, frozen=True):
    """A single-valued property in the diagram: ``width`` variables from ``first`` on number its ``count`` cells."""

    first: int
    width: int
    count: int


class _Space:
    """The diagram's variables for a set of comparisons, and what is possible and real over them."""

    def __init__(self, found: Iterable[Compare]) -> None:
        self.bdd = Bdd(BOUND)
        self.possible = self.real = TRUE
        self._atoms: dict[object, _Set | int] = {}
        self._singles: dict[str, _Variable] = {}
        self._next = 0
        opened: dict[object, None] = {}
        clear: dict[str, dict[Meaning, None]] = {}
        for atom in found:
            sense = meaning(atom)
            if isinstance(sense, Unclear):
                opened[_identity(atom)] = None
            elif not isinstance(sense, Never):
                clear.setdefault(spelling(atom.property), {})[sense] = None
        for name, senses in clear.items():
            known = lookup(name)
            trusted = _trusted(known, list(senses)) if known else []
            if known is not None and not (self._many if known.many else self._single)(known, trusted):
                trusted = []
            opened.update(((name, sense), None) for sense in senses if sense not in trusted)
        self._relate(clear)
        self.linked = any(len(family & clear.keys()) > 1 for family in _FAMILIES)
        self.first_open = self._next
        for key in opened:
            self._atoms[key] = self._variable()

    def function(self, node: Filter) -> int:
        """The filter as a diagram."""
        return self._diagram(self._value(node))

    def _value(self, node: Filter) -> _Set | int:
        if isinstance(node, Compare):
            sense = meaning(node)
            value = FALSE if isinstance(sense, Never) else self._atoms[_identity(node)]
            return self._not(value) if negative(node) else value
        if isinstance(node, Not):
            return self._not(self._value(node.operand))
        if isinstance(node, And | Or):
            return self._join(isinstance(node, And), [self._value(operand) for operand in node.operands])
        raise TypeError(f"{type(node).__name__} is not a node of a filter that is read one way")

    def _not(self, value: _Set | int) -> _Set | int:
        if isinstance(value, int):
            return self.bdd.negate(value)
        return _Set(value.name, value.bits ^ ((1 << self._singles[value.name].count) - 1))

    def _join(self, every: bool, values: list[_Set | int]) -> _Set | int:
        sets: dict[str, int] = {}
        rest = []
        for value in values:
            if isinstance(value, int):
                rest.append(value)
            elif value.name not in sets:
                sets[value.name] = value.bits
            elif every:
                sets[value.name] &= value.bits
            else:
                sets[value.name] |= value.bits
        merged = [_Set(name, bits) for name, bits in sets.items()]
        if not rest and len(merged) == 1:
            return merged[0]
        rest.extend(self._diagram(value) for value in merged)
        return self.bdd.join(self.bdd.both, TRUE, rest) if every else self.bdd.join(self.bdd.either, FALSE, rest)

    def _diagram(self, value: _Set | int) -> int:
        if isinstance(value, int):
            return value
        place = self._singles[value.name]
        # numbers past the last cell stand for the last cell once more
        row = [(value.bits >> min(index, place.count - 1)) & 1 for index in range(1 << place.width)]
        for variable in range(place.first + place.width - 1, place.first - 1, -1):
            row = [self.bdd.node(variable, row[index], row[index + 1]) for index in range(0, len(row), 2)]
        return row[0]

    def _variable(self) -> int:
        self._next += 1
        return self.bdd.variable(self._next - 1)

    def _single(self, known: Property, senses: list[Meaning]) -> bool:
        found = cells(known, senses)
        if found is None:
            return False
        width = (found.count - 1).bit_length()
        self._singles[known.name] = _Variable(self._next, width, found.count)
        self._next += width
        for sense, bits in zip(senses, found.columns, strict=True):
            self._atoms[(known.name, sense)] = _Set(known.name, bits)
        self.real = self.bdd.both(self.real, self._diagram(_Set(known.name, found.real)))
        return True

    def _many(self, known: Property, senses: list[Meaning]) -> bool:
        """Each comparison is its own variable: any set of elements can stand together but for what implies what."""
        for sense in senses:
            self._atoms[(known.name, sense)] = self._variable()
        rules = []
        wides = [sense for sense in senses if isinstance(sense, Like)]  # two equalities never imply each other
        for narrow, wide in product(senses, wides):
            if narrow is not wide and implies(narrow, wide):
                rules.append(self._rule(self._of(known.name, narrow), self._of(known.name, wide)))
        blank = self._atoms.get((known.name, Blank()))
        if isinstance(blank, int):
            filled = [self._of(known.name, sense) for sense in senses if not isinstance(sense, Blank)]
            rules.append(self._rule(blank, self.bdd.negate(self.bdd.join(self.bdd.either, FALSE, filled))))
            if known.name == "PrimarySmtpAddress":
                self.real = self.bdd.both(self.real, self.bdd.negate(blank))
        self.possible = self.bdd.both(self.possible, self.bdd.join(self.bdd.both, TRUE, rules))
        return True

    def _relate(self, clear: dict[str, dict[Meaning, None]]) -> None:
        """What two properties of one recipient have to do with each other; narrows only what is real."""
        primary, every = clear.get("PrimarySmtpAddress", {}), clear.get("EmailAddresses", {})
        for one in primary:
            for other in every:
                left, right = self._atoms.get(("PrimarySmtpAddress", one)), self._atoms.get(("EmailAddresses", other))
                if isinstance(left, int) and isinstance(right, int):
                    for narrow, wide, goes in ((left, right, implies(one, other)), (right, left, implies(other, one))):
                        if goes:
                            self.real = self.bdd.both(self.real, self._rule(narrow, wide))
        if "RecipientType" in self._singles and "RecipientTypeDetails" in self._singles:
            pairs: list[int] = []
            for kind, details in _TYPES.items():
                left = self._only("RecipientType", kind, clear)
                pairs.extend(
                    self.bdd.both(left, self._only("RecipientTypeDetails", one, clear)) for one in details.split()
                )
            self.real = self.bdd.both(self.real, self.bdd.join(self.bdd.either, FALSE, pairs))

    def _only(self, name: str, value: str, clear: dict[str, dict[Meaning, None]]) -> int:
        """The one cell of a property in which this value lies."""
        result = (1 << self._singles[name].count) - 1
        for sense in clear[name]:
            place = self._atoms[(name, sense)]
            if isinstance(place, _Set):
                holds = isinstance(sense, Equals) and sense.key == (value,)
                result &= place.bits if holds else ~place.bits
        return self._diagram(_Set(name, result))

    def _of(self, name: str, sense: Meaning) -> int:
        return self._diagram(self._atoms[(name, sense)])

    def _rule(self, narrow: int, wide: int) -> int:
        return self.bdd.either(self.bdd.negate(narrow), wide)


def _identity(atom: Compare) -> object:
    """What two comparisons have in common when they are the same but for their sign."""
    sense, name = meaning(atom), spelling(atom.property)
    if not isinstance(sense, Unclear):
        return (name, sense)
    operator = {"ne": "eq", "notlike": "like"}.get(atom.operator, atom.operator)
    value = text_key(atom.value) if isinstance(atom.value, str) else atom.value
    if operator == "like" and isinstance(value, str) and "*" not in value:
        operator = "eq"
    return (name.lower(), operator, type(value), value)


def _trusted(known: Property, senses: list[Meaning]) -> list[Meaning]:
    """The meanings whose relations to each other are known; the others count as open questions."""
    blank: list[Meaning] = [sense for sense in senses if isinstance(sense, Blank)]
    others: list[Meaning] = [sense for sense in senses if not isinstance(sense, Blank)]
    if known.name in COUNTRIES:
        codes = {
            is_code(str(sense.key[0] if isinstance(sense.key, tuple) else sense.key))
            for sense in others
            if isinstance(sense, Equals)
        }
        return blank if len(codes) > 1 or any(isinstance(sense, Like) for sense in others) else senses
    if not scale(others):
        return blank
    if any(isinstance(sense, Order) for sense in others) and Equals("unlimited") in others:
        return [sense for sense in senses if not isinstance(sense, Order)]
    if known.kind not in ("string-wildcard", "string", "smtp-address"):
        return senses
    return [sense for sense in senses if isinstance(sense, Blank) or not _blurred(known, sense, others)]


def _blurred(known: Property, sense: Meaning, others: list[Meaning]) -> bool:
    """Whether a text may be the same as another one here in ways that nothing documents."""
    if known.name in ADDRESSES and isinstance(sense, Like):
        first = sense.parts[0]
        if first and "smtp:".startswith(first):
            return True
        if not first and any(":" in part or part in "smtp:" for part in sense.parts if part):
            return True
    texts = [
        str(other.key) if isinstance(other, Equals) else other.pattern
        for other in others
        if isinstance(other, Equals | Like)
    ]
    own = str(sense.key) if isinstance(sense, Equals) else sense.pattern if isinstance(sense, Like) else ""
    patterns = any(isinstance(other, Like) for other in others) and len(texts) > 1
    if known.name in MANDATORY and known.kind == "string" and len(texts) > 1 and "=" in own:
        return True  # DNs as text: spelled differently they may be one
    return loose_key(own) != own and (
        patterns or any(loose_key(text) == loose_key(own) for text in texts if text != own)
    )


def _shape(node: Filter) -> object:
    """A filter with order, repetition and double negation gone: equal shapes mean the same without any proof."""
    if isinstance(node, Compare):
        literal = _identity(node)
        return ("not", literal) if negative(node) else literal
    if isinstance(node, Not):
        inner = _shape(node.operand)
        return inner[1] if isinstance(inner, tuple) and inner[0] == "not" else ("not", inner)
    if isinstance(node, And | Or):
        shapes = frozenset(_shape(operand) for operand in node.operands)
        return next(iter(shapes)) if len(shapes) == 1 else (type(node).__name__, shapes)
    if isinstance(node, Mixed):
        return ("Mixed", node.operators, tuple(_shape(operand) for operand in node.operands))
    raise TypeError(f"{type(node).__name__} is not a node of a filter")


def _longest_mix(node: Filter) -> int:
    if isinstance(node, Mixed):
        return max(len(node.operators), *(_longest_mix(operand) for operand in node.operands))
    if isinstance(node, And | Or):
        return max(_longest_mix(operand) for operand in node.operands)
    return _longest_mix(node.operand) if isinstance(node, Not) else 0
