"""The benchmarks run, in a tiny size, and say what they measured. Nothing here is timed: speed is measured by ``make bench``."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("memory is measured with resource, which Windows has not", allow_module_level=True)

from benchmarks import roads
from benchmarks.__main__ import BENCHMARKS, HEADS, grid, main, table
from benchmarks.harness import Row, Scale, at_least, at_most, beside, in_turn
from road_sessions import ADMIN_API, GATEWAY, ROADS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_runs_and_answers_right(name: str) -> None:
    """Each holds what its sides answered against each other (or it raises), whatever their speed."""
    rows = BENCHMARKS[name](Scale.TINY)
    assert rows
    for row in rows:
        assert row.ratio > 0
        assert row.what
        assert (row.met is None) == (row.aim == "—")


def test_roads_without_powershell_are_measured_and_the_others_named_as_left_out() -> None:
    lines = roads.run(Scale.TINY, None)
    assert [line.road for line in lines] == [GATEWAY, ADMIN_API, roads.PLAIN]
    assert all(line.rate > 0 and line.own > 0 and line.each > 0 for line in lines)
    assert "left out" in (roads.left_out(None) or "")
    assert roads.left_out("pwsh") is None


@pytest.mark.long
@pytest.mark.pwsh
def test_every_road_is_measured(pwsh: str) -> None:
    lines = roads.run(Scale.TINY, pwsh)
    ordinary = (roads.PLAIN, roads.PLAIN_PWSH, roads.NEW)
    assert sorted(line.road for line in lines) == sorted((*ROADS, *ordinary))


def test_a_road_meets_its_aim_by_rows_a_second() -> None:
    lines = [
        roads.Line(GATEWAY, 30_000.0, 12e-6, 0.02),
        roads.Line(ADMIN_API, 29_999.0, 12e-6, 0.02),
        roads.Line(roads.NEW, 100.0, 12e-6, 3.0),
    ]
    told = [row.split("|")[1:-1] for row in grid(roads.HEADS, [line.cells for line in lines]).splitlines()]
    assert [cell.strip() for cell in told[0]] == list(roads.HEADS)
    assert [[cell.strip() for cell in row[3:]] for row in told[2:]] == [
        ["20.0 ms", "≥ 30,000 rows/s", "yes"],
        ["20.0 ms", "≥ 30,000 rows/s", "no"],
        ["3.00 s", "—", "—"],
    ]


def test_sides_take_turns_and_the_first_round_is_not_counted() -> None:
    seen: list[str] = []
    measured = in_turn(2, {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")})
    assert seen == ["a", "b"] * 3
    assert [len(measured.costs[side]) for side in ("a", "b")] == [2, 2]
    assert len(measured.ratios("a", "b")) == 2


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (at_least("w", "o", "p", [9.0, 10.0, 30.0], 10), True),
        (at_least("w", "o", "p", [9.0, 9.9, 30.0], 10), False),
        (at_most("w", "o", "p", [1.0, 1.2, 9.0], 1.2), True),
        (at_most("w", "o", "p", [1.0, 1.21, 1.3], 1.2), False),
        (beside("w", "o", "p", [1.0]), None),
    ],
)
def test_the_median_of_the_pairs_meets_an_aim_or_not(row: Row, met: bool | None) -> None:
    assert row.met is met
    word = {True: "yes", False: "no", None: "—"}[met]
    assert table([row]).splitlines()[-1].split("|")[-2].strip() == word


def test_the_table_has_one_line_a_row() -> None:
    lines = table([beside("one", "1 s", "2 s", [2.0]), at_most("two", "3 s", "4 s", [0.5, 0.75, 1.0], 2)]).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == list(HEADS)
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["one", "1 s", "2 s", "2.00×", "—", "—"]
    assert "0.75× (0.50–1.00)" in lines[3]
    assert len({len(line) for line in lines}) == 1


def test_an_unknown_name_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nothing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "nothing" in capsys.readouterr().err
