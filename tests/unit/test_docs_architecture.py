"""docs/architecture.md speaks of the house as it stands: its rooms, their order, the files it names, its dependencies."""

from __future__ import annotations

import re
import tomllib

from docs_pages import ROOT, text_of
from exoscope.outcome import ExoscopeError

PACKAGE = ROOT / "toolkit" / "exoscope"
PAGE = text_of("docs/architecture.md")


def test_every_room_has_its_row() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("[!_]*"))}
    rooms |= {path.stem for path in PACKAGE.glob("[!_]*.py")}
    table = PAGE.split("| room |", 1)[1].split("\n\n", 1)[0]
    rows = {
        name
        for row in re.findall(r"^\| ((?:`[a-z]+/?`(?:, )?)+) \|", table, re.MULTILINE)
        for name in re.findall(r"`([a-z]+)/?`", row)
    }
    assert rooms - {"__pycache__"} == rows


def test_what_others_call_is_there() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    table = PAGE.split("| room |", 1)[1].split("\n\n", 1)[0]
    for row in table.splitlines()[2:]:
        for called in re.findall(r"`\.?(?:[a-z]+\.)?([A-Za-z_]+)(?:\([a-z]*\))?`", row.split("|")[3]):
            there = re.search(rf"\b(def|class) {called}\b", source) or (PACKAGE / "exchange" / f"{called}.py").exists()
            assert there, f"{called} is nowhere"


def test_files_that_are_named_exist() -> None:
    for named in re.findall(r"`((?:[a-z]+/)+[a-z]+)(?:\.py)?`", PAGE):
        assert (
            (PACKAGE / f"{named}.py").exists() or (ROOT / named).exists() or (PACKAGE / "twin" / f"{named}.py").exists()
        ), named


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[<>=\[]", each)[0] for each in project["dependencies"]}
    table = PAGE.split("## Dependencies", 1)[1]
    assert {
        name for row in table.splitlines()[3:] for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[2])
    } == named
    for extra in project["optional-dependencies"]:
        assert f"exoscope[{extra}]" in table


def test_errors_of_the_page_of_the_api_are_the_tree() -> None:
    page = text_of("docs/python-api.md")

    def names(kind: type[ExoscopeError]) -> set[str]:
        return {kind.__name__}.union(
            *(names(each) for each in kind.__subclasses__() if each.__module__ == kind.__module__)
        )

    assert all(f"`{name}`" in page for name in names(ExoscopeError))
