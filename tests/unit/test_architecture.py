"""The house keeps its shape: who may import whom, and what a quick command must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "toolkit" / "exoscope"

# From the top of the house to its ground; rooms of one level do not import each other.
LEVELS = (
    ("__main__",),
    ("cli", "api"),
    ("rehearsing", "jobs"),
    ("reporting",),
    ("checking",),
    ("running",),
    ("proving",),
    ("reading", "scripting"),
    ("exchange", "entra"),
    ("planning",),
    ("reach", "snapshot", "intent", "profile", "powershell"),
    ("opath",),
    ("catalog", "recipes"),
    ("outcome", "clock", "origins", "system", "model", "_version"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
GROUND = len(LEVELS) - 1
TWIN_MAY_TAKE = {"model", "outcome", "clock", "system", "catalog", "opath", "snapshot", "powershell", "_version"}
MAY_TAKE_TWIN = {"rehearsing", "cli"}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            if node.module == "exoscope":
                names = [f"exoscope.{alias.name}" for alias in node.names]
            elif node.module:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("exoscope.")}
    return found


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path) not in ("__init__", "data"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    assert room == "twin" or room in LEVEL, (
        f"{room} has no place in the house: give it one in docs/architecture.md and here"
    )
    for other in imported_rooms(path) - {room}:
        if other == "twin":
            assert room in MAY_TAKE_TWIN, f"{path} may not import the twin"
        elif room == "twin":
            assert other in TWIN_MAY_TAKE, f"the twin may not import {other}: it must not share what it checks"
        else:
            ground = LEVEL[room] == GROUND  # the ground floor's rooms may use each other
            assert LEVEL[other] > LEVEL[room] or ground, f"{path} imports {other}, which is not below it"


def test_the_twins_evaluator_takes_only_the_parser_of_opath() -> None:
    text = (PACKAGE / "twin" / "evaluator.py").read_text(encoding="utf-8")
    for name in ("evaluate", "compare", "fold", "same", "atoms"):
        assert f"opath.{name}" not in text
        assert not any(
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("exoscope.opath")
            and name in {alias.name for alias in node.names}
            for node in ast.walk(ast.parse(text))
        )


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(PACKAGE)): count
        for path in SOURCES
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long, f"a file that grows past about 400 lines is two things: {long}"


SLOW = (
    "pypsrp",
    "psrpcore",
    "msal",
    "requests",
    "jinja2",
    "asyncio",
    "rich",
    "cheroot",
    "werkzeug",
    "cryptography",
    "yaml",
)


def test_help_loads_nothing_slow() -> None:
    code = f"""
import sys
sys.argv = ["exoscope", "--help"]
from exoscope.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == "[]"
    assert "Prove:" in done.stdout


def test_the_list_of_commands_is_what_the_commands_say() -> None:
    from exoscope.cli import COMMANDS, program

    context = program.make_context("exoscope", [], resilient_parsing=True)
    for name, place in COMMANDS.items():
        command = program.get_command(context, name)
        assert command is not None
        assert command.name == name
        said = command.short_help or (command.help or "").split("\n")[0].strip()
        assert said == place.short, f"{name}: its short help is the one in the list"
