"""docs/commands.md is the help: every command, option and its text; and every command on any page is one that can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from docs_pages import PAGES, blocks, commands, exoscope_words, fenced, generated, text_of
from exoscope.cli import COMMANDS, program
from exoscope.cli.frame import SECTIONS
from exoscope.intent import loads_connector, loads_intent
from exoscope.profile import loads_profile

PAGE = text_of("docs/commands.md")
MADE = generated()


@pytest.mark.parametrize("name", list(MADE))
def test_the_page_says_what_the_help_says(name: str) -> None:
    assert blocks(PAGE).get(name) == MADE[name], "run: python tests/docs_pages.py"


def test_nothing_stands_there_that_does_not_exist() -> None:
    assert set(blocks(PAGE)) == set(MADE)
    assert sorted(re.findall(r"^### exoscope (.*)$", PAGE, re.MULTILINE)) == sorted(name for name, _ in commands())
    known = {word for _, context in commands() for each in context.command.params for word in each.opts}
    known |= {word for each in program.get_params(click.Context(program)) for word in each.opts}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= known
    for name, context in commands():
        section = re.search(rf"^### exoscope {name}$(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
        assert section is not None and f"$ exoscope {name}" in section[1], f"{context.command_path} has no example"


def test_every_option_and_its_text_stand_there() -> None:
    for name, context in commands():
        for each in context.command.params:
            if isinstance(each, click.Option):
                assert each.help, f"{name} {each.opts[0]} says nothing"
                assert each.help in PAGE


def test_the_groups_are_those_of_the_help() -> None:
    page = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert [name for name in page if name in SECTIONS] == [
        name for name in SECTIONS if any(place.section == name for place in COMMANDS.values())
    ]
    for name, place in COMMANDS.items():
        section = PAGE.split(f"\n## {place.section}\n", 1)[1].split("\n## ", 1)[0]
        assert f"### exoscope {name}" in section


def _typed() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in fenced(page.read_text(encoding="utf-8")):
            lines = block.text.replace("\\\n", "").splitlines()
            if block.kind in ("", "console"):
                found += [(page.name, line) for line in lines if line.startswith(("exoscope ", "$ exoscope "))]
    return found


@pytest.mark.parametrize(("page", "line"), _typed())
def test_every_command_of_every_page_can_be_typed(page: str, line: str) -> None:
    words = exoscope_words(line)
    assert words
    parent = click.Context(program, info_name="exoscope")
    command = program.get_command(parent, words.pop(0))
    assert command is not None, f"{page}: {line}"
    if isinstance(command, click.Group):
        command = command.get_command(parent, words.pop(0))
        assert command is not None, f"{page}: {line}"
    # Parsing only: no command runs, and no file is opened.
    command.make_context("exoscope", words, parent=parent)


PROFILES = [
    (page.name, block.text)
    for page in PAGES
    for block in fenced(page.read_text(encoding="utf-8"))
    if block.kind == "toml" and "tenant =" in block.text
]
INTENTS = [
    (page.name, block.text)
    for page in PAGES
    for block in fenced(page.read_text(encoding="utf-8"))
    if block.kind == "yaml" and "version:" in block.text and "credential:" not in block.text
]
CONNECTORS = [
    (page.name, block.text)
    for page in PAGES
    for block in fenced(page.read_text(encoding="utf-8"))
    if block.kind == "yaml" and "credential:" in block.text
]


@pytest.mark.parametrize(("page", "text"), PROFILES)
def test_every_profile_on_a_page_is_one(page: str, text: str, tmp_path: Path) -> None:
    profile = loads_profile(text.encode(), tmp_path / "exoscope.toml")
    assert profile.transport is not None
    assert profile.operator is not None
    if profile.operator.certificate is not None:
        assert profile.operator.certificate.parent == tmp_path, f"{page}: a certificate is a path, not a reference"


@pytest.mark.parametrize(("page", "text"), INTENTS)
def test_every_intent_on_a_page_is_one(page: str, text: str) -> None:
    assert loads_intent(text, page).apps


@pytest.mark.parametrize(("page", "text"), CONNECTORS)
def test_every_connector_on_a_page_is_one(page: str, text: str) -> None:
    assert loads_connector(text, page).permissions


def test_the_pages_have_such_examples() -> None:
    assert CONNECTORS
    assert len(PROFILES) >= 2
    assert len(INTENTS) >= 2
