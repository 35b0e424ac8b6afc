"""What differs between operating systems: owner-only files and folders, durable appends, locks, the user's state folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from exoscope.outcome import BadInput, Refused
from exoscope.system.access import is_private

if TYPE_CHECKING:
    from exoscope.system.windows import AccessLists

_PRIVATE_FILE = 0o600
_PRIVATE_DIR = 0o700


def _access_lists() -> AccessLists | None:
    """Those of this system; None where files have modes."""
    if os.name != "nt":
        return None
    from exoscope.system.windows import AccessLists, libraries

    return AccessLists(libraries())


_LISTS = _access_lists()  # Windows: there privacy is an access list, not a mode


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a whole file that only its owner can read, in one step: a reader sees the old file, the new one, or none.

    Durable when it returns. On Windows its access list names this user, SYSTEM and Administrators from its first moment.
    Raises BadInput (code ``exists``) when the file is there and ``replace`` is not said, or when it cannot be written so.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        handle = _open_new(partial)
        try:
            with os.fdopen(handle, "wb") as file:
                _keeps_private(path, file)
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
        raise BadInput(f"{path} cannot be written: {error.strerror}", next="Name a folder that is yours.") from None


def _open_new(path: Path) -> int:
    if _LISTS is not None:
        return _LISTS.open_new(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)


def _keeps_private(path: Path, file: BinaryIO) -> None:
    if not _listed_private(file):
        raise BadInput(
            f"{path} would be readable by others: its drive keeps no access list that says otherwise",
            next="Name a folder on a drive of this machine (NTFS).",
        )


def _listed_private(file: BinaryIO) -> bool:
    """Where privacy is an access list: does this open file's allow nobody else?"""
    return _LISTS is None or is_private(_LISTS.of_file(file.fileno()), _LISTS.me)


def _place_new(partial: Path, path: Path) -> None:
    if sys.platform == "win32":
        partial.rename(path)  # Windows refuses to rename onto a file that is there
        return
    os.link(partial, path)  # unlike rename, this fails when the name is taken
    partial.unlink()


def make_private_dir(path: Path) -> Path:
    """Make a folder (and its parents) that only its owner can enter; one that is there must be the owner's.

    Raises BadInput when it cannot be made, is no folder, belongs to somebody else, or others can write into it (Windows: or
    read it, since there a file in it can be reached past the folder).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _LISTS is not None:
            _make_listed(_LISTS, path)
            return path
        path.mkdir(mode=_PRIVATE_DIR, exist_ok=True)
        found = path.stat()
        if not _mine(found) or found.st_mode & 0o022:
            raise BadInput(
                f"{path} is not yours alone to write", next=f"Run: chmod 700 {path}, or name another folder."
            )
        path.chmod(_PRIVATE_DIR)
    except OSError as error:
        raise BadInput(f"{path} cannot be used as a folder: {error.strerror}") from None
    return path


def _make_listed(lists: AccessLists, path: Path) -> None:
    try:
        lists.make_dir(path)
    except FileExistsError:
        if not path.is_dir():
            raise
    if not is_private(lists.of_folder(path), lists.me):
        raise BadInput(
            f"{path} is not yours alone",
            next="Name a folder that is not there yet, or leave only yourself, SYSTEM and Administrators in its access list.",
        )


def private_temporary_dir(prefix: str) -> Path:
    """A new private folder where temporary ones go on this system; the caller removes it. Raises BadInput."""
    import tempfile

    # symbolic links resolved: some systems' temporary folder is one
    return make_private_dir(Path(tempfile.gettempdir()).resolve() / f"{prefix}{secrets.token_hex(8)}")


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner can read, checked on the open file itself.

    Raises BadInput when it cannot be read, is no regular file, or others can read it. Windows: the access list may name
    this user, SYSTEM and Administrators only; one that cannot be read or understood is refused.
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
    if _LISTS is not None:
        if not _listed_private(file):
            raise BadInput(
                f"{path} can be read by others, or belongs to somebody else, or who can read it cannot be told",
                next=f'Leave only yourself, SYSTEM and Administrators in its access list: icacls "{path}" /inheritance:r '
                f"/grant:r *{_LISTS.sid}:F",
            )
        return
    if not _mine(found):
        raise BadInput(f"{path} belongs to another user", next="Use a file of your own.")
    if found.st_mode & 0o077:
        raise BadInput(f"{path} can be read by others", next=f"Run: chmod 600 {path}")


def _mine(found: os.stat_result) -> bool:
    """Is it this user's? Asked where files have modes only."""
    return sys.platform != "win32" and found.st_uid == os.geteuid()


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


def at_terminal() -> bool:
    """Is somebody here who can be asked to do something?"""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def state_folder() -> Path:
    """The user's folder for state (journals, locks) on this system. Not made."""
    from platformdirs import user_state_path

    return user_state_path("exoscope", appauthor=False)
