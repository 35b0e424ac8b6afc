"""The strict reader: two tables, one case a line, each held against the other readers too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from exoscope.outcome import Exit, GuardRefused
from exoscope.powershell import Operation, guard, read, render_guarded
from exoscope.powershell.characters import place
from powershell_oracles import reader_view, tree_sitter_view

DATA = Path(__file__).resolve().parents[1] / "data"
GOOD: dict[str, dict[str, Any]] = yaml.safe_load((DATA / "guard_good.yaml").read_text(encoding="utf-8"))
HOSTILE: dict[str, dict[str, Any]] = yaml.safe_load((DATA / "guard_hostile.yaml").read_text(encoding="utf-8"))


def frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(frozen(each) for each in value)
    return {key: frozen(each) for key, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("case", GOOD.values(), ids=list(GOOD))
def test_reads(case: dict[str, Any]) -> None:
    wanted = tuple(
        tuple(Operation(cmdlet, frozen(parameters)) for cmdlet, parameters in pipeline) for pipeline in case["reads"]
    )
    found = read(case["script"])
    assert found == wanted
    # True is 1 to Python, and must not be to us
    assert [[list(map(type, each.parameters.values())) for each in p] for p in found] == [
        [list(map(type, each.parameters.values())) for each in p] for p in wanted
    ]


@pytest.mark.parametrize("case", HOSTILE.values(), ids=list(HOSTILE))
def test_refuses_with_its_place(case: dict[str, Any]) -> None:
    marked = case["script"]
    script, at = marked.replace("¦", ""), marked.index("¦")
    before = script[:at].replace("\r\n", "\n").replace("\r", "\n")
    with pytest.raises(GuardRefused) as caught:
        read(script)
    assert case["why"] in caught.value.message
    assert (caught.value.line, caught.value.column) == (
        before.count("\n") + 1,
        len(before.split("\n")[-1]) + 1,
    )
    assert caught.value.code == "refused-by-guard"
    assert caught.value.exit is Exit.REFUSED


@pytest.mark.parametrize("case", GOOD.values(), ids=list(GOOD))
def test_tree_sitter_reads_good_scripts_the_same_or_not_at_all(case: dict[str, Any]) -> None:
    other = tree_sitter_view(case["script"])
    assert other is None or other == reader_view(case["script"])


def test_tree_sitter_understands_most_good_scripts() -> None:
    assert sum(tree_sitter_view(case["script"]) is not None for case in GOOD.values()) > len(GOOD) / 2


def test_a_lone_surrogate_is_refused_where_it_stands() -> None:
    with pytest.raises(GuardRefused) as caught:
        read("Get-Group -Identity 'a\ud83d'")
    assert (caught.value.line, caught.value.column) == (1, 23)


def test_a_refusal_never_shows_a_value() -> None:
    with pytest.raises(GuardRefused) as caught:
        read("Get-Group -Identity 'hunter2' 'hunter2'")
    assert "hunter2" not in str(caught.value)


def test_places_count_each_line_end_once() -> None:
    assert [place("a\r\nb\rc\nd", at) for at in range(8)] == [
        (1, 1),
        (1, 2),
        (1, 2),  # the second half of one line end
        (2, 1),
        (2, 2),
        (3, 1),
        (3, 2),
        (4, 1),
    ]


def test_a_file_decoded_wrongly_is_read_as_powershell_would_and_not_taken_for_what_was_meant() -> None:
    # Windows PowerShell 5.1 reads UTF-8 without a byte order mark in the ANSI code page: the second byte of Ò becomes a quote.
    script = render_guarded("inventory/group", {"identity": "Ò; Remove-DistributionGroup -Identity b #"})
    seen = script.text.encode("utf-8").decode("cp1252")
    assert [each[0].cmdlet for each in read(seen)] == ["Get-Group", "Remove-DistributionGroup"]
    with pytest.raises(GuardRefused):
        guard(seen, script.pipelines)


def test_the_room_loads_without_its_template_engine() -> None:
    code = (
        "import sys, exoscope.powershell, exoscope.cli.guard; print(sorted({'jinja2', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
