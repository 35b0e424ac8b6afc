"""Text to filter and back: the documented examples, and what is refused and where."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from exoscope.opath import (
    MAX_DEPTH,
    And,
    Compare,
    Mixed,
    Not,
    OpathError,
    Or,
    flags,
    parse,
    properties,
    scope_problem,
)
from exoscope.outcome import ExoscopeError

DATA = Path(__file__).parents[1] / "data"
EXAMPLES = json.loads((DATA / "opath_examples.json").read_text("utf-8"))
ERRORS = yaml.safe_load((DATA / "opath_errors.yaml").read_text("utf-8"))
VALID = [example["filter"] for example in EXAMPLES["valid"]] + EXAMPLES["filter_parameter"]


@pytest.mark.parametrize("text", VALID)
def test_every_documented_example_parses_and_prints_what_it_means(text: str) -> None:
    found = parse(text)
    assert parse(str(found)) == found
    assert str(parse(str(found))) == str(found)


# The documentation's faulty examples: a syntax error, or the sentence that flags them
FAULTY = {
    "Department -like '*sales'": "only at the end",
    "Property -like '*abc'": "only at the end",
    "Department -eq 'Sales' -and -RecipientType -eq 'UserMailbox'": OpathError,
    "UPN -like 'A*' -and UPN -like '*C' -and UPN like '*B*'": OpathError,
    "UPN -like 'A*B*C'": "only at the end",
}


@pytest.mark.parametrize("text", [example["filter"] for example in EXAMPLES["invalid"]])
def test_every_faulty_example_is_refused_or_flagged(text: str) -> None:
    wanted = FAULTY.get(text, "only at the end")
    if wanted is OpathError:
        with pytest.raises(OpathError):
            parse(text)
    else:
        assert any(str(wanted) in sentence for sentence in flags(parse(text)))


@pytest.mark.parametrize(("text", "position", "says"), ERRORS, ids=[repr(error[0]) for error in ERRORS])
def test_an_error_names_its_place(text: str, position: int, says: str) -> None:
    with pytest.raises(OpathError) as caught:
        parse(text)
    assert caught.value.position == position
    assert says in str(caught.value)
    assert f"character {position + 1} " in str(caught.value)


def test_an_error_belongs_to_both_families() -> None:
    assert issubclass(OpathError, ExoscopeError)
    assert issubclass(OpathError, ValueError)


def compare(name: str, operator: str, value: object) -> Compare:
    return Compare(name, operator, value)  # type: ignore[arg-type]  # the table below holds only good ones


A, B, C = (compare(name, "eq", "x") for name in ("City", "Office", "Company"))
TREES = {
    "City -eq 'x'": A,
    "((City -eq 'x'))": A,
    "{City -eq 'x'}": A,
    " { ( City\t-EQ\r\n'x' ) } ": A,
    'City -eq "x"': A,
    "city -eq 'x'": A,
    "City -eq 'O''Neill'": compare("City", "eq", "O'Neill"),
    "City -eq ''''": compare("City", "eq", "'"),
    "City -eq \"a''b\"": compare("City", "eq", "a''b"),
    "City -eq 'a\"{}()\n-and'": compare("City", "eq", 'a"{}()\n-and'),
    "PostalCode -eq 90210": compare("PostalCode", "eq", 90210),
    "ResourceCapacity -ge -5": compare("ResourceCapacity", "ge", -5),
    "ResourceCapacity -le 0": compare("ResourceCapacity", "le", 0),
    "City -ne $NULL": compare("City", "ne", None),
    "AuditEnabled -eq $True": compare("AuditEnabled", "eq", True),
    "AuditEnabled -eq $false": compare("AuditEnabled", "eq", False),
    "(City -eq 'x')-and(Office -eq 'x')": And((A, B)),
    "City -eq 'x'-and Office -eq 'x'": And((A, B)),
    "(-not(City -eq 'x'))": Not(A),
    "-not -not City -eq 'x'": Not(Not(A)),
    "-not City -eq 'x' -and Office -eq 'x'": And((Not(A), B)),
    "-not (City -eq 'x' -and Office -eq 'x')": Not(And((A, B))),
    "((City -eq 'x' -or Office -eq 'x') -or Company -eq 'x')": Or((A, B, C)),
    "City -eq 'x' -or (Office -eq 'x' -or Company -eq 'x')": Or((A, B, C)),
    "City -eq 'x' -or (Office -eq 'x' -and Company -eq 'x')": Or((A, And((B, C)))),
    "City -eq 'x' -or Office -eq 'x' -and Company -eq 'x'": Mixed((A, B, C), ("or", "and")),
    "(City -eq 'x' -and Office -eq 'x' -or Company -eq 'x') -and City -eq 'x'": And(
        (Mixed((A, B, C), ("and", "or")), A)
    ),
}


@pytest.mark.parametrize("text", TREES)
def test_a_text_gives_its_tree(text: str) -> None:
    assert parse(text) == TREES[text]
    assert parse(str(TREES[text])) == TREES[text]


PRINTED = {
    'CITY -EQ "O\'Neill"': "City -eq 'O''Neill'",
    "shoeSize -eq 5": "shoeSize -eq 5",
    "customattribute15 -ne $NULL": "CustomAttribute15 -ne $null",
    "{-not city -like 'a*' -and office -eq $true}": "(-not (City -like 'a*')) -and (Office -eq $true)",
    "city -eq 'a' -or city -eq 'b' -and city -eq 'c'": "(City -eq 'a') -or (City -eq 'b') -and (City -eq 'c')",
}


@pytest.mark.parametrize("text", PRINTED)
def test_the_canonical_text(text: str) -> None:
    assert str(parse(text)) == PRINTED[text]


def test_true_and_one_are_different_values() -> None:
    one, true = parse("EwsEnabled -eq 1"), parse("EwsEnabled -eq $true")
    assert one != true
    assert len({one, true}) == 2
    assert str(true) == "EwsEnabled -eq $true"


@pytest.mark.parametrize(
    "make",
    [
        lambda: compare("City", "is", "x"),
        lambda: compare("City", "like", 5),
        lambda: compare("City", "gt", None),
        lambda: compare("City", "eq", 2**63),
        lambda: compare("City", "eq", 1.5),
        lambda: And((A,)),
        lambda: Or(()),
        lambda: Mixed((A, B), ("and",)),
        lambda: Mixed((A, B), ("and", "or")),
    ],
)
def test_a_node_that_no_text_gives_cannot_be_made(make: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()  # type: ignore[operator]  # each is a function


def test_a_mix_keeps_every_reading() -> None:
    mix = parse("City -eq 'x' -and Office -eq 'x' -or Company -eq 'x'")
    assert isinstance(mix, Mixed)
    assert mix.and_first == Or((And((A, B)), C))
    assert mix.or_first == And((A, Or((B, C))))
    assert mix.left_first == Or((And((A, B)), C))


def test_hostile_nesting_is_bounded_and_honest_nesting_is_not() -> None:
    deep = "(" * 20_000 + "City -eq 'x'" + ")" * 20_000
    assert parse(deep) == A
    left = "(" * 3000 + "City -eq 'x'" + " -or City -eq 'x')" * 3000
    right = "(City -eq 'x' -or " * 3000 + "City -eq 'x'" + ")" * 3000
    for text in (left, right):
        found = parse(text)
        assert isinstance(found, Or)
        assert len(found.operands) == 3001
    for hostile in (
        "-not " * 20_000 + "City -eq 'x'",
        "(City -eq 'x' -or (City -eq 'x' -and " * 2000 + "City -eq 'x'" + "))" * 2000,
    ):
        with pytest.raises(OpathError, match=f"more than {MAX_DEPTH} deep"):
            parse(hostile)
    at_the_bound = parse("-not " * (MAX_DEPTH - 1) + "City -eq 'x'")
    assert parse(str(at_the_bound)) == at_the_bound
    with pytest.raises(OpathError):
        parse("-not " * MAX_DEPTH + "City -eq 'x'")


def test_a_mixed_part_deep_inside_can_still_be_printed_and_read() -> None:
    text = "City -eq 'x' -and Office -eq 'x' -or Company -eq 'x'"
    while True:
        try:
            found = parse(text)
        except OpathError:
            break
        assert parse(str(found)) == found
        text = f"({text}) -and Office -eq 'x' -or Company -eq 'x'"
    assert len(text) > 1000


def test_time_grows_with_the_text_alone() -> None:
    def seconds(count: int) -> float:
        text = " -or ".join(f"MemberOfGroup -eq 'CN=g{index},DC=com'" for index in range(count))
        start = time.perf_counter()
        parse(text)
        return time.perf_counter() - start

    seconds(100)
    assert seconds(20_000) < 100 * max(seconds(1000), 0.005)  # squared, it would be 400 times as long


def test_names_are_known_in_their_documented_spelling() -> None:
    found = parse("customattribute7 -eq 'a' -and shoesize -eq 5 -and -not (MEMBEROFGROUP -eq 'CN=a')")
    assert properties(found) == {"CustomAttribute7", "shoesize", "MemberOfGroup"}
    assert "shoesize is not documented" in str(scope_problem(found))
    assert "UMEnabled is filterable only on Exchange Server" in str(scope_problem(parse("umenabled -eq $true")))
    assert scope_problem(parse("ExtensionCustomAttribute5 -eq 'a'")) is None
    assert "ExtensionCustomAttribute6" in str(scope_problem(parse("ExtensionCustomAttribute6 -eq 'a'")))


FLAGGED = {
    "City -like 'a*'": None,
    "City -eq 'a*b'": None,
    "City -notlike '*a'": "only at the end",
    "City -like 'a*b*'": "only at the end",
    "MemberOfGroup -eq 'Sales'": "matches nothing",
    "PrimarySmtpAddress -eq 'a@x'": "every address",
    "City -eq '$city'": "variable",
    "City -gt 'a'": "not documented",
    "RecipientTypeDetails -like 'User*'": "takes no wildcard",
    "ExtensionCustomAttribute1 -eq 'a'": "usually blank",
    "City -eq 'a' -or City -eq 'b' -and Office -eq 'c'": "without parentheses",
    "City -eq 'a' -or (City -eq 'b' -and Office -eq 'c')": None,
}


@pytest.mark.parametrize("text", FLAGGED)
def test_what_an_admin_should_know_is_said(text: str) -> None:
    said, wanted = flags(parse(text)), FLAGGED[text]
    assert (said == ()) if wanted is None else any(wanted in sentence for sentence in said)
