"""The pages of docs/ as data: fenced blocks, commands with their outputs, and tables that the code gives.

``python tests/docs_pages.py`` writes the options of every command into docs/commands.md anew. Tests compare.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from exoscope.cli import program

ROOT = Path(__file__).resolve().parents[1]
COMMANDS_PAGE = ROOT / "docs" / "commands.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EVERYWHERE = ("--verbose", "--log")
"""Options of every command: they stand once on the page."""

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"<!-- options: ([^>]*?) -->\n(.*?)<!-- end -->", re.DOTALL)


class Fenced(NamedTuple):
    """A fenced block: the word after the fence, and its text."""

    kind: str
    text: str


class Typed(NamedTuple):
    """A command on a page, and what stands below it: stdout and stderr as a terminal shows them."""

    words: str
    shown: tuple[str, ...]


def text_of(page: str) -> str:
    """A page by its path from the repository's root."""
    return (ROOT / page).read_text(encoding="utf-8")


def fenced(text: str) -> list[Fenced]:
    """The fenced blocks of a page, in order."""
    return [Fenced(found[1].strip(), found[2]) for found in _FENCE.finditer(text)]


def typed(block: str) -> list[Typed]:
    """The commands of a console block: lines with ``$``, continued after a backslash; what follows is their output."""
    found: list[tuple[str, list[str]]] = []
    for line in block.replace("\\\n", "").splitlines():
        if line.startswith("$ "):
            found.append((" ".join(line[2:].split()), []))
        elif found:
            found[-1][1].append(line)
    return [Typed(words, tuple(shown)) for words, shown in found]


def looks_like(shown: tuple[str, ...], real: list[str]) -> bool:
    """Is this what was seen? ``…`` stands for any text in a line, and alone for any lines."""
    if not shown:
        return not real
    if shown[0].strip() == "…":
        return any(looks_like(shown[1:], real[start:]) for start in range(len(real) + 1))
    pattern = ".*".join(re.escape(part) for part in shown[0].rstrip().split("…"))
    return bool(real) and re.fullmatch(pattern, real[0].rstrip()) is not None and looks_like(shown[1:], real[1:])


def exoscope_words(line: str) -> list[str] | None:
    """The arguments of a line that runs exoscope; None for any other line."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    return [word for word in words[1:] if word != "&"] if words[:1] == ["exoscope"] else None


def commands() -> Iterator[tuple[str, click.Context]]:
    """Every command by its words (``plan``, ``sandbox serve``), with a context that can tell its help."""
    root = click.Context(program, info_name="exoscope")
    for name in program.list_commands(root):
        command = program.get_command(root, name)
        assert command is not None, name
        context = click.Context(command, info_name=name, parent=root)
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                within = command.get_command(context, inner)
                assert within is not None, inner
                yield f"{name} {inner}", click.Context(within, info_name=inner, parent=context)
        else:
            yield name, context


def options_of(context: click.Context) -> str:
    """A command as the page has it: usage, help, options."""
    command = context.command
    lines = ["```text", f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}", "```", ""]
    lines += [" ".join(part.split()) + "\n" for part in re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))]
    own = [each for each in command.params if not set(each.opts) & set(EVERYWHERE)]
    return "\n".join([*lines, *table(own, context)]) + "\n"


def table(params: list[click.Parameter], context: click.Context) -> list[str]:
    """Options and what their help says, as Markdown; nothing where there are none."""
    records = [record for each in params if (record := each.get_help_record(context)) is not None and record[1]]
    if not records:
        return []
    return ["| option | meaning |", "|---|---|", *(f"| `{name}` | {meaning} |" for name, meaning in records)]


def common_options() -> str:
    """The options that every command has."""
    root = click.Context(program, info_name="exoscope")
    return "\n".join(table([*program.params, *program.get_params(root)[-1:]], root)) + "\n"


def generated() -> dict[str, str]:
    """Name of a block → what must stand in it."""
    return {"exoscope": common_options(), **{name: options_of(context) for name, context in commands()}}


def blocks(text: str) -> dict[str, str]:
    """Name of a block → what stands in it."""
    return {found[1]: found[2] for found in _BLOCK.finditer(text)}


def written(text: str) -> str:
    """The page with its blocks written anew. Raises KeyError for a block of a command that does not exist."""
    made = generated()
    return _BLOCK.sub(lambda found: f"<!-- options: {found[1]} -->\n{made[found[1]]}<!-- end -->", text)


if __name__ == "__main__":
    COMMANDS_PAGE.write_text(written(COMMANDS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
