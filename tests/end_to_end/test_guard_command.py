"""``exoscope guard``, as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def guard(*words: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", "guard", *map(str, words)], capture_output=True, timeout=60, check=False
    )
    out = done.stdout.decode("utf-8")
    return done.returncode, [json.loads(line) for line in out.splitlines()] if "--json" in words else [], out


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good é.ps1"
    path.write_text(
        "# é\nget-group -identity 'é😀’’s' -ResultSize Unlimited | Select-Object -Property Guid, Sid\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.ps1"
    path.write_text("Get-Group\r\nGet-Group -Identity 'é😀' iex", encoding="utf-8", newline="")
    return path


READ = [
    [
        {"cmdlet": "Get-Group", "parameters": {"Identity": "é😀’s", "ResultSize": "Unlimited"}},
        {"cmdlet": "Select-Object", "parameters": {"Property": ["Guid", "Sid"]}},
    ]
]


def test_good(good: Path) -> None:
    assert guard("--json", good)[:2] == (0, [{"file": str(good), "pipelines": READ}])


def test_a_byte_order_mark_changes_nothing(good: Path, bad: Path) -> None:
    for path in (good, bad):
        before = guard("--json", path)[:2]
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert guard("--json", path)[:2] == before


def test_one_refused_of_two(good: Path, bad: Path) -> None:
    code, (first, second), _ = guard(good, bad, "--json")
    assert code == 4
    assert first == {"file": str(good), "pipelines": READ}
    assert second["file"] == str(bad)
    assert second["refused"]
    assert (second["line"], second["column"]) == (2, 26)


def test_one_that_cannot_be_opened(good: Path, bad: Path, tmp_path: Path) -> None:
    code, answers, _ = guard(good, bad, tmp_path / "none.ps1", "--json")
    assert code == 2
    assert answers[-1]["error"]["changed"] is False
    assert guard(tmp_path, "--json")[0] == 2
    assert guard("--json")[0] == 2


def test_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "ansi.ps1"
    path.write_bytes("# é\nGet-Group -Identity 'é".encode() + b"\xe9'")
    code, (answer,), _ = guard(path, "--json")
    assert code == 4
    assert (answer["line"], answer["column"]) == (2, 23)
    path.write_bytes("Get-Group".encode("utf-16"))
    assert guard(path, "--json")[0] == 4


def test_for_people(good: Path, bad: Path) -> None:
    code, _, out = guard(good, bad)
    assert code == 4
    assert "Get-Group" in out
    assert "-ResultSize: " in out
    assert f"{bad}:2:26: refused: " in out


def test_a_value_cannot_draw_lines_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.ps1"
    path.write_text("Get-Group -Identity 'a\n\u009b31mb\u202ec'", encoding="utf-8")
    _, _, out = guard(path)
    assert "\\n\\u009b31mb\\u202ec" in out
    assert len(out.splitlines()) == 3


def test_an_empty_file_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.ps1"
    path.write_text("", encoding="utf-8")
    assert guard(path, "--json")[:2] == (0, [{"file": str(path), "pipelines": []}])
