"""Laws of filters over random ones: printing, Kleene monotonicity, sameness against brute force."""

from __future__ import annotations

from functools import cache, reduce
from itertools import product
from operator import and_, or_
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exoscope.opath import (
    UNREAD,
    And,
    Compare,
    Filter,
    Mixed,
    Not,
    OpathError,
    Or,
    Partial,
    Value,
    evaluate,
    fold,
    parse,
    same,
)

QUICK = settings(max_examples=300, deadline=None)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["a", "A", "ab", "it's", "''", "*"]
)
VALUES = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none()
NAMES = st.sampled_from(
    ["City", "office", "MEMBEROFGROUP", "ResourceCapacity", "x_1", "CustomAttribute15", "WhenCreated"]
)


@st.composite
def any_atom(draw: st.DrawFn) -> Compare:
    operator = draw(st.sampled_from(["eq", "ne", "lt", "gt", "le", "ge", "like", "notlike"]))
    value = draw(TEXTS if operator not in ("eq", "ne") else VALUES)
    return Compare(draw(NAMES), operator, value)  # type: ignore[arg-type]  # drawn from the operators


def trees(leaves: st.SearchStrategy[Compare], mixed: bool) -> st.SearchStrategy[Filter]:
    def grow(children: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        several = st.lists(children, min_size=2, max_size=3).map(tuple)
        grown: st.SearchStrategy[Filter] = several.map(And) | several.map(Or) | children.map(Not)
        if mixed:
            three = st.tuples(children, children, children)
            grown |= st.builds(Mixed, three, st.sampled_from([("and", "or"), ("or", "and")]))
        return grown

    return st.recursive(leaves, grow, max_leaves=8)


@QUICK
@given(trees(any_atom(), mixed=True))
def test_what_is_printed_is_read_back(filter: Filter) -> None:
    text = str(filter)
    again = parse(text)
    assert str(again) == text
    assert same(again, filter) is True


@QUICK
@given(
    st.lists(
        st.sampled_from([*"'\"(){}$-aeqndor *5\n", "-eq ", "-and ", "-or ", "-not ", "City ", "'a' "]), max_size=30
    ).map("".join)
)
def test_any_text_is_a_filter_or_an_error_with_a_place(text: str) -> None:
    try:
        found = parse(text)
    except OpathError as error:
        assert 0 <= error.position <= len(text)
    else:
        assert parse(str(found)) == found


# A small universe in which brute force is exact: it has a value for each way to answer all of SMALL together.
# One property holds one text, one several DNs, one a number, one a boolean.
UNIVERSE: dict[str, list[Value]] = {
    "City": [None, "a", "ab", "b", "abc", "abx", "ax", "axc", "axb", "axbc", "x", "xc", "xb", "xbc"],
    "MemberOfGroup": [(), ("CN=x",), ("CN=y",), ("CN=x", "CN=y"), ("CN=z",)],
    "ResourceCapacity": [None, 1, 2, 3, 4],
    "HiddenFromAddressListsEnabled": [None, True, False],
}
SMALL = [
    *(Compare("City", "eq", value) for value in ("a", "AB", "b", None)),
    *(Compare("City", "like", value) for value in ("a*", "ab*", "*", "b")),
    *(Compare("City", "notlike", value) for value in ("*b*", "*c")),
    *(
        Compare("MemberOfGroup", operator, value)
        for operator in ("eq", "ne")
        for value in ("CN=x", "cn=Y", "none", None)
    ),
    *(Compare("ResourceCapacity", operator, value) for operator in ("lt", "ge", "eq") for value in (2, "3")),
    *(Compare("HiddenFromAddressListsEnabled", "eq", value) for value in (True, None)),
]
RECIPIENTS = [dict(zip(UNIVERSE, values, strict=True)) for values in product(*UNIVERSE.values())]
SMALL_TREES = trees(st.sampled_from(SMALL), mixed=False)


EVERYONE = (1 << len(RECIPIENTS)) - 1


@cache
def passing(atom: Compare) -> int:
    """Who passes one comparison, a bit each."""
    found = [evaluate(atom, lambda name, row=row: row[name]) for row in RECIPIENTS]  # type: ignore[misc]  # default binds the loop's value
    assert None not in found
    return sum(1 << place for place, answer in enumerate(found) if answer)


def members(filter: Filter) -> int:
    """Who is in, a bit each."""
    inside: int = fold(
        filter,
        leaf=passing,
        all_=lambda sets: int(reduce(and_, sets)),
        any_=lambda sets: int(reduce(or_, sets)),
        not_=EVERYONE.__xor__,
        both=int.__and__,
    )
    return inside


@settings(max_examples=150, deadline=None)
@given(SMALL_TREES, SMALL_TREES)
def test_sameness_is_what_brute_force_finds(one: Filter, other: Filter) -> None:
    answer = same(one, other)
    assert answer is same(other, one)
    assert answer is not None
    assert answer is (members(one) == members(other))


@settings(max_examples=100, deadline=None)
@given(SMALL_TREES)
def test_rewriting_keeps_the_meaning(filter: Filter) -> None:
    assert same(filter, Not(Not(filter))) is True
    assert same(filter, Or((filter, And((filter, SMALL[0]))))) is True
    assert same(filter, Not(filter)) is False
    if isinstance(filter, And | Or):
        dual = Or if isinstance(filter, And) else And
        assert same(filter, Not(dual(tuple(Not(operand) for operand in filter.operands)))) is True
        assert same(filter, type(filter)(tuple(reversed(filter.operands)))) is True


READ: dict[str, st.SearchStrategy[Any]] = {
    "City": st.sampled_from([None, "a", "ab", "ß", "ss"]),
    "MemberOfGroup": st.sampled_from(
        [(), ("CN=x",), Partial(frozenset({"CN=x"}), frozenset({"CN=y"})), Partial(frozenset(), frozenset({"CN=x"}))]
    ),
    "ResourceCapacity": st.sampled_from([None, 2, "3", "many"]),
    "HiddenFromAddressListsEnabled": st.sampled_from([None, True, "yes"]),
    "PrimarySmtpAddress": st.sampled_from(["a@x", "b@x"]),
    "EmailAddresses": st.sampled_from([("a@x",), ("b@x", "smtp:c@x"), ("sip:c@x",)]),
}
OPEN = [
    *SMALL,
    Compare("City", "eq", "ss"),
    Compare("City", "gt", "a"),
    *(Compare(name, "eq", "c@x") for name in ("PrimarySmtpAddress", "EmailAddresses")),
    Compare("EmailAddresses", "like", "s*"),
]


@QUICK
@given(trees(st.sampled_from(OPEN), mixed=True), st.fixed_dictionaries(READ), st.sets(st.sampled_from(sorted(READ))))
def test_reading_more_never_turns_a_known_answer(filter: Filter, row: dict[str, Value], unread: set[str]) -> None:
    before = evaluate(filter, lambda name: UNREAD if name in unread else row[name])
    after = evaluate(filter, lambda name: row[name])
    assert before is None or before is after


@QUICK
@given(trees(st.sampled_from(OPEN), mixed=True), st.fixed_dictionaries(READ))
def test_not_turns_every_answer_round(filter: Filter, row: dict[str, Value]) -> None:
    answer = evaluate(filter, lambda name: row[name])
    assert evaluate(Not(filter), lambda name: row[name]) is (None if answer is None else not answer)


@QUICK
@given(trees(st.sampled_from(SMALL), mixed=True), st.sampled_from(RECIPIENTS))
def test_where_two_readings_agree_every_other_agrees(filter: Filter, row: dict[str, Value]) -> None:
    def left(node: Filter) -> Filter:
        if isinstance(node, Mixed):
            return left(node.left_first)
        if isinstance(node, And | Or):
            return type(node)(tuple(left(operand) for operand in node.operands))
        return Not(left(node.operand)) if isinstance(node, Not) else node

    answer = evaluate(filter, lambda name: row[name])
    assume(answer is not None)
    assert evaluate(left(filter), lambda name: row[name]) is answer


@settings(max_examples=150, deadline=None)
@given(trees(st.sampled_from(OPEN), mixed=True), trees(st.sampled_from(OPEN), mixed=True), st.fixed_dictionaries(READ))
def test_what_is_the_same_is_answered_the_same(one: Filter, other: Filter, row: dict[str, Value]) -> None:
    if same(one, other) is True:
        first, second = (evaluate(each, lambda name: row[name]) for each in (one, other))
        assert None in (first, second) or first is second
