"""Owner-only files, folders, locks and durable appends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from exoscope import system
from exoscope.outcome import BadInput, Refused

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_a_private_file_is_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        system.write_private(tmp_path / "secret", b"x")
    finally:
        os.umask(old)
    assert mode(tmp_path / "secret") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_it_replaces_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    system.write_private(path, b"one")
    with pytest.raises(BadInput) as refused:
        system.write_private(path, b"two")
    assert refused.value.code == "exists"
    assert path.read_bytes() == b"one"
    system.write_private(path, b"two", replace=True)
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        system.write_private(tmp_path / "nowhere" / "file", b"x")


@posix
@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o601])
def test_a_secret_that_others_can_touch_is_refused(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"hunter2")
    path.chmod(bits)
    for read in (system.read_private, system.require_private):
        with pytest.raises(BadInput, match="can be read by others") as refused:
            read(path)
        assert "hunter2" not in str(refused.value)
    path.chmod(0o400)
    assert system.read_private(path) == b"hunter2"


@posix
def test_a_folder_or_pipe_is_no_secret_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        system.read_private(tmp_path)
    with pytest.raises(BadInput):
        system.read_private(tmp_path / "absent")


@posix
def test_a_private_folder(tmp_path: Path) -> None:
    made = system.make_private_dir(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    made.chmod(0o755)
    assert mode(system.make_private_dir(made)) == 0o700
    made.chmod(0o777)
    with pytest.raises(BadInput, match="not yours alone"):
        system.make_private_dir(made)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be used"):
        system.make_private_dir(tmp_path / "file")


def test_a_lock_holds_against_another_process_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from exoscope import system\n"
        "with system.lock(Path(sys.argv[1]), 'contoso'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(Refused) as refused, system.lock(path):
            pytest.fail("both hold it")
        assert refused.value.code == "locked"
        other.kill()
    with system.lock(path):
        pass


def test_an_append_is_there_before_the_handle_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("ab") as handle:
        system.append_durable(handle, b"one\n")
        assert (tmp_path / "journal").read_bytes() == b"one\n"


def test_a_temporary_folder_is_private_and_new_each_time() -> None:
    made = [system.private_temporary_dir("exoscope-test-") for _ in range(2)]
    try:
        assert made[0] != made[1]
        assert all(path.is_dir() and path.name.startswith("exoscope-test-") for path in made)
        if sys.platform != "win32":
            assert [mode(path) for path in made] == [0o700, 0o700]
    finally:
        for path in made:
            path.rmdir()
