"""What differs between operating systems: owner-only files and folders, durable appends, locks, the user's state folder."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from exoscope.outcome import BadInput, Refused

_PRIVATE_FILE = 0o600
_PRIVATE_DIR = 0o700


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a whole file that only its owner can read, in one step: a reader sees the old file, the new one, or none.

    Durable when it returns. On Windows the folder's access list is inherited; there is no mode to set.
    Raises BadInput (code ``exists``) when the file is there and ``replace`` is not said, or when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), _PRIVATE_FILE)
        try:
            with os.fdopen(handle, "wb") as file:
                append_durable(file, data)
            if replace:
                partial.replace(path)
            else:
                _place_new(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except FileExistsError:
        raise BadInput(f"{path} is there already", code="exists", next="Name another file, or move it away.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None


def _place_new(partial: Path, path: Path) -> None:
    if sys.platform == "win32":
        partial.rename(path)  # Windows refuses to rename onto a file that is there
        return
    os.link(partial, path)  # unlike rename, this fails when the name is taken
    partial.unlink()


def make_private_dir(path: Path) -> Path:
    """Make a folder (and its parents) that only its owner can enter; one that is there must be the owner's.

    Raises BadInput when it cannot be made, is no folder, or (POSIX) belongs to somebody else or others can write into it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=_PRIVATE_DIR, exist_ok=True)
        if sys.platform != "win32":
            found = path.stat()
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise BadInput(
                    f"{path} is not yours alone to write", next=f"Run: chmod 700 {path}, or name another folder."
                )
            path.chmod(_PRIVATE_DIR)
    except OSError as error:
        raise BadInput(f"{path} cannot be used as a folder: {error.strerror}") from None
    return path


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner can read, checked on the open file itself.

    Raises BadInput when it cannot be read, is no regular file, or others can read it. Windows: the access list may name
    the owner, SYSTEM and Administrators only; one that cannot be read or understood is refused. (Not seen by a test there.)
    """
    try:
        with path.open("rb") as file:
            _require_private(path, file)
            return file.read()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def require_private(path: Path) -> None:
    """Raise BadInput unless only the file's owner can read it (see :func:`read_private`)."""
    try:
        with path.open("rb") as file:
            _require_private(path, file)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def _require_private(path: Path, file: BinaryIO) -> None:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path} is not a file")
    if sys.platform == "win32":
        if not sddl_is_private(_sddl(path)):
            raise BadInput(f"{path} can be read by others", next="Leave only yourself in its access list.")
        return
    if found.st_uid != os.geteuid():
        raise BadInput(f"{path} belongs to another user", next="Use a file of your own.")
    if found.st_mode & 0o077:
        raise BadInput(f"{path} can be read by others", next=f"Run: chmod 600 {path}")


_ACE = re.compile(r"\(([^()]*)\)")
_TRUSTED = {"SY", "BA", "OW", "S-1-5-18", "S-1-5-32-544"}


def sddl_is_private(sddl: str) -> bool:
    """Does a Windows security descriptor (as SDDL text) allow nobody but the owner, SYSTEM and Administrators?

    What is not understood (no access list, conditional or object entries) is not private.
    """
    owner = re.match(r"O:(.+?)(?=G:|D:|S:|$)", sddl)
    listed = re.search(r"D:[A-Z]*((?:\([^()]*\))*)(?:S:.*)?$", sddl)
    if owner is None or listed is None:
        return False
    entries = [entry.split(";") for entry in _ACE.findall(listed.group(1))]
    if not entries:
        return False
    trusted = _TRUSTED | {owner.group(1)}
    return all(len(entry) == 6 and (entry[0] == "D" or (entry[0] == "A" and entry[5] in trusted)) for entry in entries)


def _sddl(path: Path) -> str:
    """A file's security descriptor on Windows; empty when it cannot be read."""
    if sys.platform != "win32":
        return ""
    import ctypes

    descriptor, text = ctypes.c_void_p(), ctypes.c_wchar_p()
    owner_and_dacl, file_object, revision = 0x1 | 0x4, 1, 1
    advapi, kernel = ctypes.windll.advapi32, ctypes.windll.kernel32
    if advapi.GetNamedSecurityInfoW(
        str(path), file_object, owner_and_dacl, None, None, None, None, ctypes.byref(descriptor)
    ):
        return ""
    try:
        done = advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor, revision, owner_and_dacl, ctypes.byref(text), None
        )
        return str(text.value) if done else ""
    finally:
        kernel.LocalFree(text)
        kernel.LocalFree(descriptor)


def append_durable(handle: BinaryIO, data: bytes) -> None:
    """Write at the handle's place and return only when the disk has it."""
    handle.write(data)
    handle.flush()
    if sys.platform == "darwin":
        import fcntl

        fcntl.fcntl(handle.fileno(), fcntl.F_FULLFSYNC)  # there fsync stops at the drive's cache
        return
    os.fsync(handle.fileno())


def sync_directory(path: Path) -> None:
    """Make a new or renamed entry of this folder durable. Windows has no such call; its journal orders the entries."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(path: Path, what: str = "") -> Iterator[None]:
    """Hold a lock that ends with the process. Raises Refused (code ``locked``) at once when another process holds it."""
    from filelock import FileLock, Timeout

    held = FileLock(str(path), timeout=0, mode=_PRIVATE_FILE)
    try:
        held.acquire()
    except Timeout:
        raise Refused(
            f"another exoscope process is at work{' on ' + what if what else ''} ({path})",
            code="locked",
            next="Wait for it to end; the lock goes with the process.",
        ) from None
    except OSError as error:
        raise BadInput(f"{path} cannot be locked: {error.strerror}") from None
    try:
        yield
    finally:
        held.release()


def own_group() -> dict[str, Any]:
    """Options of subprocess.Popen for a child in a group of its own: Ctrl-C at the terminal reaches us, not the child."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a child that was started with :func:`own_group`, and on POSIX whatever it started; never raises."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def state_folder() -> Path:
    """The user's folder for state (journals, locks) on this system. Not made."""
    from platformdirs import user_state_path

    return user_state_path("exoscope", appauthor=False)
