"""What every command does on a terminal, in a pipe that closes early, and when something unforeseen is raised."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from exoscope.cli import frame, printing
from exoscope.outcome import BadInput


class Terminal(io.StringIO):
    """A stderr that says it is a terminal; ``screen`` is what a person sees in the end, line by line."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines = []
        for raw in self.getvalue().split("\n"):
            shown = ""
            for part in raw.split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return lines


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Called inside the test: pytest puts its own streams back between a fixture and its test."""

    def start() -> Terminal:
        screen = Terminal()
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setattr(sys, "stdout", screen)
        return screen

    return start


def test_small_progress_passes_and_leaves_nothing_behind(on: Callable[[], Terminal]) -> None:
    terminal = on()
    frame.say("Asking.")
    for each in ("a-long-address@contoso.com", "b@contoso.com", "c@contoso.com"):
        frame.passing(each)
        assert terminal.screen[-1] == f"  {each}"
    printing.line("Verdict: proven")
    frame.passing("d@contoso.com")
    frame.say("Done.")
    assert terminal.screen == ["Asking.", "Verdict: proven", "Done.", ""]


def test_a_line_longer_than_the_terminal_does_not_wrap(
    on: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = on()
    frame.passing("x" * 200)
    assert terminal.screen == ["  " + "x" * 37]
    frame.clear()


def test_with_v_progress_stays_line_by_line(on: Callable[[], Terminal]) -> None:
    logger = logging.getLogger("exoscope")
    terminal = on()
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    try:
        frame.passing("one")
        frame.passing("two")
    finally:
        logger.removeHandler(handler)
    assert terminal.screen == ["  one", "  two", ""]


def test_progress_is_quiet_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    frame.passing("one")
    frame.progress("two")
    assert capsys.readouterr() == ("", "")


def test_an_output_over_an_input_is_refused_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
    (tmp_path / "inner").mkdir()
    with pytest.raises(BadInput, match="would overwrite"):
        frame.not_over(tmp_path / "inner" / ".." / "plan.json", None, tmp_path / "plan.json")
    frame.not_over(tmp_path / "new.json", tmp_path / "plan.json")
    frame.not_over(tmp_path / "plan.json", tmp_path / "none.json", None)


LEAVING = """
import click
from exoscope.cli import frame
from exoscope.outcome import Exit

@click.command()
def command():
    for _ in range(40000):
        click.echo("a line of an answer")
    frame.finish(Exit.FINDINGS)

frame.run(command, [])
"""


def test_a_reader_that_leaves_early_does_not_change_the_exit_code() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LEAVING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None and started.stderr is not None
        started.stdout.readline()
        started.stdout.close()
        said = started.stderr.read()
        assert started.wait(30) == 1
    assert said == ""


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), ValueError("x"), SystemExit(1)])
def test_what_nobody_foresaw_is_exit_6_and_says_that_nothing_was_changed(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        frame.run(command, ["--json"])
    assert ended.value.code == 6
    out, err = capsys.readouterr()
    said: dict[str, Any] = json.loads(out)["error"]
    assert (said["code"], said["changed"]) == ("internal-error", False)
    assert "Nothing was changed" in err
