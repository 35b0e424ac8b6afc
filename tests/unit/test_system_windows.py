"""Private files and folders on Windows: the access lists as text, and the calls, made to stand-ins of the same prototypes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exoscope import snapshot, system
from exoscope.outcome import BadInput
from exoscope.system.access import is_private, private
from exoscope.system.windows import ADVAPI32, KERNEL32, AccessLists, Libraries
from twin_fixtures import load_sample

ME = "S-1-5-21-1-2-3-1001"
OTHER = "S-1-5-21-1-2-3-1002"
WHOLE = f"(A;;FA;;;{ME})(A;;FA;;;SY)(A;;FA;;;BA)"
SDDL = {
    f"O:{ME}G:S-1-5-21-1-2-3-513D:PAI{WHOLE}": True,
    f"O:{ME}D:(D;;FA;;;WD)(A;;FA;;;{ME})": True,
    f"O:{ME}D:AI(A;ID;FA;;;{ME})S:AI": True,
    f"O:{ME}D:(A;;FA;;;S-1-5-18)(A;;FA;;;S-1-5-32-544)(A;;FA;;;OW)": True,
    f"O:BAG:SYD:P{WHOLE}": True,  # made by an administrator with raised rights
    f"O:SYD:P{WHOLE}": True,
    f"O:{ME}D:P(A;OICI;FA;;;{ME})(A;OICIIO;FA;;;CO)": True,
    f"O:{ME}D:P(A;OICI;FA;;;{ME})(A;OICI;FA;;;CO)": False,
    f"O:{ME}D:P(A;OICI;FA;;;{ME})(A;OICIIO;FR;;;BU)": False,
    f"O:{OTHER}D:P{WHOLE}": False,
    f"O:{OTHER}D:P(A;;FA;;;{OTHER})": False,
    f"O:{ME}G:SYD:(A;;FA;;;{ME})(A;;FR;;;BU)": False,
    f"O:{ME}D:(A;;FR;;;WD)": False,
    f"O:{ME}D:(A;;FR;;;{OTHER})": False,
    f"O:{ME}D:(A;;FR;;;{ME}0)": False,
    f"O:{ME}D:(OA;;FR;;;{ME})": False,
    f"O:{ME}D:(A;;FA;;;{ME})(OA;;FR;;;{ME})": False,
    f"O:{ME}D:(XA;;FR;;;{ME};(a == 1))": False,
    f"O:{ME}D:NO_ACCESS_CONTROL": False,
    f"O:{ME}G:SY": False,
    f"O:{ME}D:": False,
    f"D:P{WHOLE}": False,
    "": False,
}


@pytest.mark.parametrize(("sddl", "answer"), SDDL.items())
def test_an_access_list_is_private_when_it_lets_in_nobody_else(sddl: str, answer: bool) -> None:
    assert is_private(sddl, ME) is answer


def test_what_is_made_private_reads_as_private() -> None:
    for me in (ME, "LA"):
        for folder in (False, True):
            assert is_private(f"O:{me}{private(me, folder=folder)}", me)
            assert not is_private(f"O:{me}{private(me, folder=folder)}", OTHER)
    assert not is_private("O:D:(A;;FA;;;)", "")
    assert private(ME, folder=True).count(";OICI;") == 3
    assert private(ME).startswith("D:P(")


class Windows:
    """Stands in for the two libraries: descriptors are texts, files are those of this machine, and memory is counted."""

    def __init__(self) -> None:
        self.user, self.alias, self.owner = ME, ME, ME
        self.lists: dict[tuple[int, int], str] = {}  # by file, whatever it is called
        self.made_with: list[str] = []
        self.keeps_lists = True
        self.failing: set[str] = set()
        self.memory: dict[int, Any] = {}
        self.open_tokens = 0
        self.last: OSError = OSError("no call failed")
        self.libraries = Libraries(
            self._library(ADVAPI32), self._library(KERNEL32), lambda: self.last, lambda handle: handle, lambda fd: fd
        )

    def _library(self, functions: dict[str, tuple[Any, ...]]) -> Any:
        return SimpleNamespace(
            **{
                name: ctypes.CFUNCTYPE(result, *arguments)(self._guarded(name))
                for name, (result, *arguments) in functions.items()
            }
        )

    def _guarded(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name in self.failing:
                self.last = PermissionError(13, "Access is denied")
                return 5 if name.endswith(("SecurityInfo", "SecurityInfoW")) else 0
            return getattr(self, f"_{name}")(*arguments)

        return call

    def list_of(self, path: Path) -> str:
        return self.lists[self._id(path.stat())]

    def set_list(self, path: Path, sddl: str) -> None:
        self.lists[self._id(path.stat())] = sddl

    @staticmethod
    def _id(found: os.stat_result) -> tuple[int, int]:
        return found.st_dev, found.st_ino

    def _put(self, value: Any) -> int:
        buffer = ctypes.create_unicode_buffer(value)
        self.memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    # -- advapi32

    def _OpenProcessToken(self, process: int, access: int, token: Any) -> int:
        assert access == 8
        self.open_tokens += 1
        token[0] = 77
        return 1

    def _GetTokenInformation(self, token: int, kind: int, into: int, size: int, length: Any) -> int:
        assert (token, kind) == (77, 1)
        assert size >= 84
        self.sid = ctypes.create_unicode_buffer(self.user)
        ctypes.c_void_p.from_address(into).value = ctypes.addressof(self.sid)
        return 1

    def _ConvertSidToStringSidW(self, sid: int, out: Any) -> int:
        out[0] = self._put(ctypes.wstring_at(sid))
        return 1

    def _ConvertStringSecurityDescriptorToSecurityDescriptorW(
        self, text: str, revision: int, out: Any, size: Any
    ) -> int:
        assert revision == 1
        out[0] = self._put(text)
        return 1

    def _ConvertSecurityDescriptorToStringSecurityDescriptorW(
        self, descriptor: int, revision: int, what: int, out: Any, size: Any
    ) -> int:
        assert descriptor in self.memory
        text = ctypes.wstring_at(descriptor).replace(self.user, self.alias)
        out[0] = self._put(text if what == 5 else text.partition("D:")[0])
        return 1

    def _GetSecurityInfo(self, handle: int, kind: int, what: int, *out: Any) -> int:
        return self._told(os.fstat(handle), kind, what, out)

    def _GetNamedSecurityInfoW(self, path: str, kind: int, what: int, *out: Any) -> int:
        return self._told(Path(path).stat(), kind, what, out)

    def _told(self, found: os.stat_result, kind: int, what: int, out: tuple[Any, ...]) -> int:
        assert (kind, what, len(out)) == (1, 5, 5)
        out[-1][0] = self._put(self.lists.get(self._id(found), f"O:{self.owner}D:(A;;FA;;;WD)"))
        return 0

    # -- kernel32

    def _GetCurrentProcess(self) -> int:
        return ctypes.c_void_p(-1).value or 0

    def _CloseHandle(self, handle: int) -> int:
        assert handle == 77
        self.open_tokens -= 1
        return 1

    def _LocalFree(self, address: int | None) -> int:
        if address is not None:
            del self.memory[address]
        return 0

    def _keep(self, path: str, attributes: Any) -> None:
        assert attributes.contents.length == ctypes.sizeof(attributes.contents)
        sddl = ctypes.wstring_at(attributes.contents.descriptor)
        self.made_with.append(sddl)
        if self.keeps_lists:
            self.set_list(Path(path), f"O:{self.owner}{sddl}")

    def _CreateFileW(
        self, path: str, access: int, share: int, attributes: Any, how: int, flags: int, template: int
    ) -> int:
        assert (share, how) == (0, 1)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            self.last = error
            return ctypes.c_void_p(-1).value or 0
        self._keep(path, attributes)
        return handle

    def _CreateDirectoryW(self, path: str, attributes: Any) -> int:
        try:
            Path(path).mkdir()
        except OSError as error:
            self.last = error
            return 0
        self._keep(path, attributes)
        return 1


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Any:
    if sys.platform == "win32":
        pytest.skip("here the system's own functions are called, by the tests of files")
    made = Windows()
    monkeypatch.setattr(system, "_LISTS", AccessLists(made.libraries))
    yield made
    assert made.memory == {}, "what the system gave is given back"
    assert made.open_tokens == 0


def test_a_file_is_private_from_its_first_moment(windows: Windows, tmp_path: Path) -> None:
    system.write_private(tmp_path / "secret", b"hunter2\n")
    assert windows.made_with == [f"D:P(A;;FA;;;{ME})(A;;FA;;;SY)(A;;FA;;;BA)"]
    assert is_private(windows.list_of(tmp_path / "secret"), ME)
    assert system.read_private(tmp_path / "secret") == b"hunter2\n"
    with pytest.raises(BadInput) as refused:
        system.write_private(tmp_path / "secret", b"two")
    assert refused.value.code == "exists"
    system.write_private(tmp_path / "secret", b"two", replace=True)
    assert is_private(windows.list_of(tmp_path / "secret"), ME)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_snapshot_is_such_a_file(windows: Windows, tmp_path: Path) -> None:
    snapshot.save(load_sample(), tmp_path / "tenant.json")
    assert is_private(windows.list_of(tmp_path / "tenant.json"), ME)


@pytest.mark.parametrize(
    "sddl",
    [f"O:{ME}D:(A;;FA;;;{ME})(A;;FR;;;BU)", f"O:{OTHER}D:P(A;;FA;;;{ME})", f"O:{ME}D:NO_ACCESS_CONTROL"],
)
def test_a_secret_that_others_can_read_or_wrote_is_refused(windows: Windows, tmp_path: Path, sddl: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"hunter2")
    windows.set_list(path, sddl)
    for read in (system.read_private, system.require_private):
        with pytest.raises(BadInput, match="can be read by others") as refused:
            read(path)
        assert f"/grant:r *{ME}:F" in refused.value.next
        assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("failing", ["GetSecurityInfo", "ConvertSecurityDescriptorToStringSecurityDescriptorW"])
def test_where_the_access_list_cannot_be_read_the_secret_is_not(windows: Windows, tmp_path: Path, failing: str) -> None:
    system.write_private(tmp_path / "secret", b"hunter2")
    windows.failing = {failing}
    with pytest.raises(BadInput, match="cannot be told"):
        system.read_private(tmp_path / "secret")
    windows.failing.clear()
    assert system.read_private(tmp_path / "secret") == b"hunter2"


def test_on_a_drive_without_access_lists_nothing_is_written(windows: Windows, tmp_path: Path) -> None:
    windows.keeps_lists = False
    with pytest.raises(BadInput, match="keeps no access list"):
        system.write_private(tmp_path / "secret", b"x")
    with pytest.raises(BadInput, match="not yours alone"):
        system.make_private_dir(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not any((tmp_path / "folder").iterdir())


def test_a_folder_is_private_with_all_that_is_made_in_it(windows: Windows, tmp_path: Path) -> None:
    made = system.make_private_dir(tmp_path / "a" / "b")
    assert windows.made_with == [f"D:P(A;OICI;FA;;;{ME})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"]
    assert system.make_private_dir(made) == made
    windows.set_list(made, f"O:{ME}D:AI(A;OICI;FA;;;{ME})(A;OICIID;0x1200a9;;;BU)")
    with pytest.raises(BadInput, match="not yours alone"):
        system.make_private_dir(made)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be used"):
        system.make_private_dir(tmp_path / "file")


def test_the_built_in_administrator_and_raised_rights(windows: Windows, tmp_path: Path) -> None:
    windows.user, windows.alias, windows.owner = "S-1-5-21-1-2-3-500", "LA", "BA"
    system.write_private(tmp_path / "secret", b"x")
    assert windows.made_with[0].startswith("D:P(A;;FA;;;LA)")
    assert system.read_private(tmp_path / "secret") == b"x"


@pytest.mark.parametrize(
    "failing",
    [
        "OpenProcessToken",
        "GetTokenInformation",
        "ConvertSidToStringSidW",
        "ConvertStringSecurityDescriptorToSecurityDescriptorW",
        "CreateFileW",
    ],
)
def test_a_call_that_fails_writes_nothing(windows: Windows, tmp_path: Path, failing: str) -> None:
    windows.failing = {failing}
    with pytest.raises(BadInput, match="cannot be written: Access is denied"):
        system.write_private(tmp_path / "secret", b"x")
    assert list(tmp_path.iterdir()) == []
