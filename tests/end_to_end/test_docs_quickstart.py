"""docs/quickstart.md typed, block by block, against a real sandbox: files, commands, exit codes, outputs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs_pages import Typed, fenced, looks_like, text_of, typed

PAGE = text_of("docs/quickstart.md")


@contextmanager
def sandbox(step: Typed, folder: Path) -> Iterator[None]:
    """The sandbox, for as long as the page is typed; its ready line is as the page shows it."""
    words = [sys.executable, "-m", *shlex.split(step.words, comments=True)]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert json.loads(line)["profile"]
            assert looks_like(step.shown, [line]), line
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0


def run(step: Typed, folder: Path, environ: dict[str, str]) -> None:
    words = shlex.split(step.words, comments=True)
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        environ[name] = value
        return
    assert words[0] == "exoscope", step.words
    expected = re.search(r"# exit (\d+)$", step.words)
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=200,
        check=False,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == int(expected[1] if expected else 0), f"{step.words}\n{done.stdout}"
    shown = list(step.shown)
    while shown and not shown[-1].strip():
        shown.pop()
    assert looks_like(tuple(shown), done.stdout.rstrip("\n").split("\n")), f"{step.words}\n{done.stdout}"


@pytest.mark.timeout(400)
def test_what_the_page_says_is_what_is_seen(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("EXOSCOPE_")}
    steps: list[Typed] = []
    for block in fenced(PAGE):
        if block.kind == "yaml":
            name = block.text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block.text, encoding="utf-8")
        else:
            assert block.kind == "console"
            steps += typed(block.text)
    assert len(steps) >= 14
    assert steps[0].words.startswith("exoscope sandbox serve")
    with sandbox(steps[0], tmp_path):
        for step in steps[1:]:
            run(step, tmp_path, environ)
    assert "proven" in (tmp_path / "evidence.html").read_text(encoding="utf-8")


def test_the_readme_types_what_the_quickstart_types() -> None:
    quick = [re.sub(r"\s*#.*", "", step.words) for block in fenced(PAGE) for step in typed(block.text)]
    readme = text_of("README.md").split("## Try it on the twin", 1)[1].split("\n## ", 1)[0]
    lines = [line for block in fenced(readme) if block.kind == "" for line in block.text.splitlines() if line.strip()]
    assert lines
    for line in lines:
        words = re.sub(r"\s*(#.*|&.*)$", "", line).strip()
        assert words in quick, f"README types {words!r}, the quickstart does not"


def test_shown_text_is_compared_as_said() -> None:
    assert looks_like(("a … c", "…", "z"), ["a b c", "1", "2", "z"])
    assert looks_like(("…",), [])
    assert not looks_like(("a … c",), ["a b d"])
    assert not looks_like(("a", "b"), ["a"])
    assert not looks_like(("a",), ["a", "b"])
