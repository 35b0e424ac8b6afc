"""What is written is read back unchanged; what several readers accept they read the same."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from exoscope.powershell import LiteralError, fill, literal, read, render_guarded
from fuzz.scripts import differ, seeds
from fuzz.values import PIECES, carried
from powershell_oracles import mutate, reader_view, tree_sitter_view

NASTY = st.sampled_from(PIECES)
CARRIED = st.characters().filter(carried)
TEXTS = st.lists(NASTY | CARRIED, max_size=12).map("".join)
SCALARS = TEXTS | st.booleans() | st.none() | st.integers(0, 10**18 - 1)
VALUES = SCALARS | st.lists(SCALARS, max_size=4).map(tuple)


@settings(max_examples=400, deadline=None)
@given(VALUES)
@example("--%")
@example(("--%", "x"))
def test_a_value_survives_being_written_and_read(value: object) -> None:
    text = literal(value)
    ((operation,),) = read(f"Get-Group -Filter:{text} -Verbose")
    found = operation.parameters["Filter"]
    assert (found, type(found)) == (value, type(value))
    assert operation.parameters["Verbose"] is True


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3))
def test_rendered_operations_are_the_values(name: str, notes: str, members: list[str]) -> None:
    values = {"name": name, "alias": "a", "display_name": notes, "notes": notes, "members": members}
    ((operation,),) = render_guarded("groups/new_group_with_members", values).pipelines
    assert operation.parameters["Name"] == name
    assert operation.parameters["Notes"] == operation.parameters["DisplayName"] == notes
    assert operation.parameters["Members"] == tuple(members)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_tree_sitter_reads_what_we_write(text: str) -> None:
    script = f"Get-Group -Filter:{literal(text)} -Verbose"
    other = tree_sitter_view(script)
    assert other is None or other == reader_view(script)


@settings(max_examples=200, deadline=None)
@given(TEXTS.filter(bool))
def test_a_filled_hole_is_one_text_of_the_filter(text: str) -> None:
    filled = str(fill({"f": "MemberOfGroup -eq '<step-1.a>'"}, {"<step-1.a>": text})["f"])
    assert filled[:19] + filled[19:-1].replace("''", "'") + filled[-1] == f"MemberOfGroup -eq '{text}'"
    assert filled[19:-1].replace("''", "").count("'") == 0


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=8), st.text(st.characters(), max_size=3))
def test_any_text_is_written_or_refused(before: str, after: str) -> None:
    try:
        text = literal(before + after)
    except LiteralError:
        return
    ((operation,),) = read("Get-Group -Filter:" + text)
    assert operation.parameters["Filter"] == before + after


def test_mutated_scripts_mean_the_same_to_tree_sitter_where_it_understands_them() -> None:
    rng = random.Random(20261123)  # noqa: S311 - repeatable on purpose
    base = seeds()
    problems, accepted, both = differ([mutate(rng.choice(base), base, rng) for _ in range(2500)], None)
    assert not problems
    assert accepted > 400
    assert both > 400
