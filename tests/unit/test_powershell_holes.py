"""Named holes: found, filled in values in one pass, by the rule of the place they stand in."""

from __future__ import annotations

import pytest

from exoscope.powershell import HoleError, fill, fill_pipelines, holes, read, render_guarded

DN = "CN=O'Brien ''x'',OU=contoso.onmicrosoft.com"
FOUND = {"<step-1.distinguished_name>": DN, "<step-12.guid>": "5f0c3b0e-0000-4000-8000-000000000001"}
FILTER = "(MemberOfGroup -eq '<step-1.distinguished_name>') -and (Department -eq 'O''Neil')"


def test_holes_are_found_in_order_each_once() -> None:
    assert holes(FILTER) == ("<step-1.distinguished_name>",)
    assert holes({"a": ["<step-2.b>", "<step-1.a>"], "b": "<step-2.b> <step-3.c>", "c": True}) == (
        "<step-2.b>",
        "<step-1.a>",
        "<step-3.c>",
    )
    for no_hole in ("<step-x.a>", "<step-1.A>", "<step-1>", "step-1.a", "<step-1.a", "<Step-1.a>", "<step-1.a b>"):
        assert holes(no_hole) == ()


def test_a_hole_that_is_the_whole_value_takes_the_text_unchanged() -> None:
    assert fill({"group": "<step-1.distinguished_name>", "n": 5, "b": True, "none": None}, FOUND) == {
        "group": DN,
        "n": 5,
        "b": True,
        "none": None,
    }
    assert fill({"members": ["<step-12.guid>", "x"]}, FOUND) == {"members": [FOUND["<step-12.guid>"], "x"]}
    assert fill({"members": ("<step-12.guid>",)}, FOUND) == {"members": (FOUND["<step-12.guid>"],)}


def test_a_hole_in_a_filters_text_has_its_quotes_doubled() -> None:
    filled = fill({"filter": FILTER}, FOUND)["filter"]
    assert filled == (
        "(MemberOfGroup -eq 'CN=O''Brien ''''x'''',OU=contoso.onmicrosoft.com') -and (Department -eq 'O''Neil')"
    )


def test_the_filled_filter_is_one_comparison_to_our_own_parser() -> None:
    from exoscope import opath

    filled = str(fill({"filter": "MemberOfGroup -eq '<step-1.distinguished_name>'"}, FOUND)["filter"])
    assert opath.same(opath.parse(filled), opath.member_of(DN)) is True


@pytest.mark.parametrize(
    "text",
    [
        "MemberOfGroup -eq <step-1.distinguished_name>",
        'MemberOfGroup -eq "<step-1.distinguished_name>"',
        "a 'b' <step-1.distinguished_name>",
        'a "\'<step-1.distinguished_name>"',
        " <step-1.distinguished_name>",
    ],
)
def test_a_hole_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(HoleError, match="outside"):
        fill({"filter": text}, FOUND)


@pytest.mark.parametrize("found", [{}, {"<step-1.distinguished_name>": ""}, {"step-1.distinguished_name": "x"}])
def test_a_hole_without_its_value_is_refused(found: dict[str, str]) -> None:
    with pytest.raises(HoleError, match="no value"):
        fill({"filter": FILTER}, found)


def test_what_fills_a_hole_is_not_searched_for_holes() -> None:
    assert fill({"a": "<step-1.a>", "f": "x -eq '<step-1.a>'"}, {"<step-1.a>": "<step-2.b>"}) == {
        "a": "<step-2.b>",
        "f": "x -eq '<step-2.b>'",
    }


def test_what_cannot_be_carried_does_not_fill_a_hole() -> None:
    with pytest.raises(HoleError, match="character"):
        fill({"a": "<step-1.a>"}, {"<step-1.a>": "x\x01"})


def test_the_filled_script_is_the_planned_one_but_for_its_holes() -> None:
    values = {"name": "n", "filter": "MemberOfGroup -eq '<step-1.distinguished_name>'"}
    planned = render_guarded("rbac/new_management_scope", values)
    filled = render_guarded("rbac/new_management_scope", fill(values, FOUND))
    assert planned.text != filled.text
    assert fill_pipelines(read(planned.text), FOUND) == filled.pipelines


def test_filling_pipelines_reaches_lists_and_hashtables() -> None:
    planned = read(
        "Set-DistributionGroup -Identity '<step-1.distinguished_name>' -BypassSecurityGroupManagerCheck "
        "-ManagedBy @{ Add = @('<step-12.guid>', 'x') }"
    )
    ((operation,),) = fill_pipelines(planned, FOUND)
    assert operation.parameters == {
        "Identity": DN,
        "ManagedBy": {"Add": (FOUND["<step-12.guid>"], "x")},
        "BypassSecurityGroupManagerCheck": True,
    }
