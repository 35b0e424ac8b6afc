"""``exoscope --help`` against the help of an empty click program: what our own imports cost everybody who types a command."""

from __future__ import annotations

import subprocess
import sys

from .harness import ROOT, Row, Scale, at_most, in_turn, seconds

SIZES = {Scale.FULL: 30, Scale.QUICK: 7, Scale.TINY: 1}
OURS = "from exoscope.cli import main; main()"
EMPTY = "import click; click.Group('empty')()"


def run(scale: Scale) -> list[Row]:
    """The same interpreter, the same options; both print their help and end."""
    rounds = SIZES[scale]
    measured = in_turn(
        rounds, {"ours": lambda: _help(OURS), "empty": lambda: _help(EMPTY)}, warm=scale is not Scale.TINY
    )
    return [
        at_most(
            "exoscope --help, against an empty click program",
            seconds(measured.median("ours")),
            seconds(measured.median("empty")),
            measured.ratios("ours", "empty"),
            2,
        )
    ]


def _help(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, "--help"], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.startswith(b"Usage:")
