"""Whether two filters mean the same: the table, large lists, and the proof engine's bounds."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import yaml

from exoscope.opath import Filter, Not, Or, member_of, not_member_of, parse, same
from exoscope.opath.bdd import FALSE, TRUE, Bdd, TooLarge

DATA = Path(__file__).parents[1] / "data"
PAIRS = yaml.safe_load((DATA / "opath_same.yaml").read_text("utf-8"))


@pytest.mark.parametrize(("answer", "one", "other"), [pair[:3] for pair in PAIRS], ids=[pair[3] for pair in PAIRS])
def test_a_pair(answer: bool | None, one: str, other: str) -> None:
    assert same(parse(one), parse(other)) is answer
    assert same(parse(other), parse(one)) is answer


def test_every_filter_is_itself_and_not_its_opposite() -> None:
    for _, one, other, _ in PAIRS:
        for found in (parse(one), parse(other)):
            assert same(found, found) is True
            assert same(found, parse(f"({found}) -and ({found})")) is True
            assert same(found, Not(found)) is not True


def groups(count: int) -> list[str]:
    return [f"CN=group{index},OU=contoso.onmicrosoft.com,DC=prod,DC=outlook,DC=com" for index in range(count)]


def seconds(one: Filter, other: Filter, wanted: bool | None) -> float:
    start = time.perf_counter()
    assert same(one, other) is wanted
    return time.perf_counter() - start


def test_hundreds_of_groups_are_decided_quickly() -> None:
    names = groups(300)
    mixed = names[:]
    random.Random(3).shuffle(mixed)  # noqa: S311  # an order, not a secret
    best = min(seconds(member_of(*names), member_of(*mixed), True) for _ in range(3))
    assert best < 0.05
    assert min(seconds(member_of(*names), member_of(*mixed[1:]), False) for _ in range(3)) < 0.5
    assert (
        seconds(not_member_of(*names), parse(" -and ".join(f"MemberOfGroup -ne '{name}'" for name in mixed)), True) < 1
    )


def test_hundreds_of_values_of_one_property_are_decided_quickly() -> None:
    texts = [f"Department -eq 'd{index}'" for index in range(300)]
    every = parse(" -or ".join(texts))
    assert seconds(every, parse(" -or ".join(texts[1:])), False) < 1
    assert seconds(every, Or((every, parse("Department -eq 'D5' -and Department -ne 'd6'"))), True) < 1


def test_thousands_of_groups_need_no_deep_stack() -> None:
    names = groups(3000)
    assert (
        same(
            member_of(*names),
            Or((member_of(*reversed(names)), parse(f"MemberOfGroup -eq '{names[0]}' -and City -eq 'x'"))),
        )
        is True
    )
    assert same(member_of(*names), member_of(*names[:-1])) is False


def test_what_takes_too_long_is_undecided() -> None:
    # sums of products over variables in the worst order: the diagram doubles with each pair
    def knot(shift: int) -> Filter:
        count = 40
        return parse(
            " -or ".join(
                f"(MemberOfGroup -eq 'CN=a{index}' -and MemberOfGroup -eq 'CN=b{(index * 7 + shift) % count}')"
                for index in range(count)
            )
        )

    order = " -or ".join(f"MemberOfGroup -eq 'CN=a{index}'" for index in range(40))
    one, other = parse(f"({order}) -and ({knot(0)})"), parse(f"({order}) -and ({knot(1)})")
    start = time.perf_counter()
    assert same(one, other) is None
    assert time.perf_counter() - start < 10


def test_a_long_mix_of_joins_is_undecided_unless_it_is_the_same_mix() -> None:
    text = " -or ".join(f"City -eq 'c{index}' -and Office -eq 'o{index}'" for index in range(200))
    assert same(parse(text), parse(text.lower())) is True
    assert same(parse(text), parse("Company -eq 'x'")) is None


def test_the_diagram_is_canonical_and_bounded() -> None:
    bdd = Bdd(1000)
    x, y, z = (bdd.variable(number) for number in range(3))
    assert bdd.both(x, bdd.negate(x)) == FALSE
    assert bdd.either(bdd.both(x, y), bdd.both(x, bdd.negate(y))) == x
    assert bdd.negate(bdd.either(x, y)) == bdd.both(bdd.negate(x), bdd.negate(y))
    assert bdd.differ(x, bdd.differ(y, x)) == y
    assert bdd.join(bdd.both, TRUE, [z, x, y]) == bdd.both(bdd.both(x, y), z)
    assert bdd.join(bdd.either, FALSE, []) == FALSE
    assert bdd.reaches_true(bdd.either(x, z), below=2)
    assert not bdd.reaches_true(bdd.both(x, z), below=2)
    tiny = Bdd(3)
    with pytest.raises(TooLarge):
        tiny.both(tiny.variable(0), tiny.differ(tiny.variable(1), tiny.variable(2)))
