"""A PowerShell is tried by starting it and loading the module, with a child that answers well or misbehaves on purpose."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exoscope.exchange.trying import look, try_module
from exoscope.twin.exchange.call import CmdletError
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh, gone
from twin_fixtures import shared_twin

__all__ = ["shared_twin"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")
MISSING = CmdletError(
    "System.IO.FileNotFoundException",
    "The specified module 'ExchangeOnlineManagement' with version '3.2.0' was not loaded because no valid module\nfile was "
    f"found in any module directory.{' Really.' * 100}",
    category="ResourceUnavailable",
)


@pytest.fixture
def fake(tmp_path: Path, shared_twin: Twin) -> Iterator[FakePwsh]:
    made = FakePwsh(tmp_path, shared_twin)
    yield made
    made.close()
    shared_twin.faults.clear()


def test_one_that_loads_it_says_which_and_ends(fake: FakePwsh) -> None:
    found = try_module(str(fake.path))
    assert (found.engine, found.module, found.where) == ("7.6.0", "3.9.2", "ExchangeOnlineManagement")
    assert found.program == str(fake.path)
    assert fake.arguments == ["-NoLogo -NoProfile -s"]
    assert gone(fake.pids[0])


def test_one_without_the_module_says_so_in_a_line(fake: FakePwsh, shared_twin: Twin) -> None:
    shared_twin.faults.fail("Import-Module", MISSING)
    found = try_module(str(fake.path))
    assert found.module is None
    assert "no valid module file was found" in found.why
    assert len(found.why) <= 301
    assert gone(fake.pids[0])


def test_one_that_hangs_while_it_loads_is_ended(fake: FakePwsh, shared_twin: Twin) -> None:
    shared_twin.faults.hang("Import-Module")
    found = try_module(str(fake.path), seconds=5.0)
    assert (found.module, found.why) == (None, "it did not load the module within 5 s")
    assert gone(fake.pids[0])


@pytest.mark.parametrize(
    ("mood", "words"), [("silent", "no answer within"), ("babble", "no PSRP"), ("refuse", "no room for another")]
)
def test_one_that_serves_no_session(fake: FakePwsh, mood: str, words: str) -> None:
    fake.mood = mood
    found = try_module(str(fake.path), seconds=2.0 if mood == "silent" else 60.0)
    assert found.module is None
    assert words in found.why


def test_one_that_cannot_be_started(tmp_path: Path) -> None:
    broken = tmp_path / "pwsh"
    broken.write_bytes(b"\x7fELF, not quite")
    broken.chmod(0o755)
    found = try_module(str(broken))
    assert found.module is None
    assert "cannot be started" in found.why


def test_all_at_hand_are_tried_up_to_the_first_that_does(fake: FakePwsh, shared_twin: Twin, tmp_path: Path) -> None:
    told: list[str] = []
    assert look({"PATH": str(tmp_path)}, told.append)[0].module == "3.9.2"
    assert told == [f"trying {fake.path}"]
    shared_twin.faults.fail("Import-Module", MISSING)
    (found,) = look({"EXOSCOPE_PWSH": str(fake.path)})
    assert found.module is None
    assert look({"PATH": ""}) == ()
