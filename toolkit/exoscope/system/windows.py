"""The calls of Windows that exoscope makes about access lists. Nothing else in the house touches ctypes.

No test has run this on Windows: tests call it with functions of the same prototypes that stand in for the system's.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, wintypes
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from exoscope.system.access import private

_POINTER = ctypes.c_void_p
_OUT = POINTER(_POINTER)
_TOKEN_QUERY, _TOKEN_USER = 0x8, 1
_OWNER, _OWNER_AND_LIST = 0x1, 0x1 | 0x4
_FILE_OBJECT, _REVISION = 1, 1
_READ_CONTROL, _GENERIC_WRITE, _CREATE_NEW, _NORMAL = 0x20000, 0x40000000, 1, 0x80
_INVALID = _POINTER(-1).value


class SecurityAttributes(ctypes.Structure):
    """SECURITY_ATTRIBUTES."""

    _fields_ = (("length", wintypes.DWORD), ("descriptor", _POINTER), ("inherit", wintypes.BOOL))


_SECURITY_INFO = (ctypes.c_int, wintypes.DWORD, _OUT, _OUT, _OUT, _OUT, _OUT)
ADVAPI32: dict[str, tuple[Any, ...]] = {
    "OpenProcessToken": (wintypes.BOOL, wintypes.HANDLE, wintypes.DWORD, POINTER(wintypes.HANDLE)),
    "GetTokenInformation": (
        wintypes.BOOL,
        wintypes.HANDLE,
        ctypes.c_int,
        _POINTER,
        wintypes.DWORD,
        POINTER(wintypes.DWORD),
    ),
    "ConvertSidToStringSidW": (wintypes.BOOL, _POINTER, _OUT),
    "ConvertStringSecurityDescriptorToSecurityDescriptorW": (
        wintypes.BOOL,
        wintypes.LPCWSTR,
        wintypes.DWORD,
        _OUT,
        _POINTER,
    ),
    "ConvertSecurityDescriptorToStringSecurityDescriptorW": (
        wintypes.BOOL,
        _POINTER,
        wintypes.DWORD,
        wintypes.DWORD,
        _OUT,
        _POINTER,
    ),
    "GetSecurityInfo": (wintypes.DWORD, wintypes.HANDLE, *_SECURITY_INFO),
    "GetNamedSecurityInfoW": (wintypes.DWORD, wintypes.LPCWSTR, *_SECURITY_INFO),
}
KERNEL32: dict[str, tuple[Any, ...]] = {
    "GetCurrentProcess": (wintypes.HANDLE,),
    "CloseHandle": (wintypes.BOOL, wintypes.HANDLE),
    "LocalFree": (_POINTER, _POINTER),
    "CreateFileW": (
        wintypes.HANDLE,
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        POINTER(SecurityAttributes),
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.HANDLE,
    ),
    "CreateDirectoryW": (wintypes.BOOL, wintypes.LPCWSTR, POINTER(SecurityAttributes)),
}
"""Result and arguments of each function that is called. Source: learn.microsoft.com/windows/win32/api."""


class Libraries(NamedTuple):
    """The system's functions.

    ``error`` is the OSError of the last call that failed; ``fd`` and ``handle`` make a file descriptor of a handle and back.
    """

    advapi32: Any
    kernel32: Any
    error: Callable[[], OSError]
    fd: Callable[[int], int]
    handle: Callable[[int], int]


def libraries() -> Libraries:
    """The real ones."""
    if sys.platform != "win32":
        raise AssertionError("unreachable: only Windows has them")
    import msvcrt

    loaded = []
    for name, functions in (("advapi32", ADVAPI32), ("kernel32", KERNEL32)):
        library = ctypes.WinDLL(name, use_last_error=True)
        for function, (result, *arguments) in functions.items():
            found = getattr(library, function)
            found.restype, found.argtypes = result, arguments
        loaded.append(library)
    return Libraries(
        loaded[0],
        loaded[1],
        lambda: ctypes.WinError(ctypes.get_last_error()),
        lambda handle: msvcrt.open_osfhandle(handle, 0),  # binary: it is text only where O_TEXT is said
        msvcrt.get_osfhandle,
    )


class AccessLists:
    """Private files and folders, and who may touch what is there. Every method raises OSError but where it says otherwise."""

    def __init__(self, system: Libraries) -> None:
        self._system = system
        self._advapi, self._kernel = system.advapi32, system.kernel32

    @cached_property
    def me(self) -> str:
        """This process's user as SDDL spells it."""
        with self._descriptor(f"O:{self.sid}") as descriptor:
            return self._text(descriptor, _OWNER).removeprefix("O:")

    @cached_property
    def sid(self) -> str:
        """This process's user, as a SID."""
        token, length = wintypes.HANDLE(), wintypes.DWORD()
        if not self._advapi.OpenProcessToken(self._kernel.GetCurrentProcess(), _TOKEN_QUERY, byref(token)):
            raise self._system.error()
        try:
            user = (
                _POINTER * 32
            )()  # a TOKEN_USER: a pointer to the SID, its attributes, and the SID itself (68 bytes at most)
            if not self._advapi.GetTokenInformation(token, _TOKEN_USER, user, ctypes.sizeof(user), byref(length)):
                raise self._system.error()
            text = _POINTER()
            if not self._advapi.ConvertSidToStringSidW(user[0], byref(text)):
                raise self._system.error()
            return self._taken(text)
        finally:
            self._kernel.CloseHandle(token)

    def open_new(self, path: Path) -> int:
        """A new file, private from its first moment: its descriptor, to write. FileExistsError when it is there."""
        with self._attributes(private(self.me)) as attributes:
            handle = self._kernel.CreateFileW(
                str(path), _GENERIC_WRITE | _READ_CONTROL, 0, byref(attributes), _CREATE_NEW, _NORMAL, None
            )
        if handle is None or handle == _INVALID:
            raise self._system.error()
        return self._system.fd(handle)

    def make_dir(self, path: Path) -> None:
        """A new folder, private with all that will be made in it. FileExistsError when it is there."""
        with self._attributes(private(self.me, folder=True)) as attributes:
            if not self._kernel.CreateDirectoryW(str(path), byref(attributes)):
                raise self._system.error()

    def of_file(self, fd: int) -> str:
        """Owner and access list of an open file, as SDDL; empty when they cannot be read. Never raises."""
        handle = self._system.handle(fd)
        return self._read(
            lambda out: self._advapi.GetSecurityInfo(handle, _FILE_OBJECT, _OWNER_AND_LIST, None, None, None, None, out)
        )

    def of_folder(self, path: Path) -> str:
        """The same of a folder."""
        return self._read(
            lambda out: self._advapi.GetNamedSecurityInfoW(
                str(path), _FILE_OBJECT, _OWNER_AND_LIST, None, None, None, None, out
            )
        )

    def _read(self, ask: Callable[[Any], int]) -> str:
        descriptor = _POINTER()
        if ask(byref(descriptor)):  # these two answer an error's number, 0 is none
            return ""
        try:
            return self._text(descriptor, _OWNER_AND_LIST)
        except OSError:
            return ""
        finally:
            self._kernel.LocalFree(descriptor)

    @contextmanager
    def _attributes(self, sddl: str) -> Iterator[SecurityAttributes]:
        with self._descriptor(sddl) as descriptor:
            yield SecurityAttributes(ctypes.sizeof(SecurityAttributes), descriptor, False)

    @contextmanager
    def _descriptor(self, sddl: str) -> Iterator[ctypes.c_void_p]:
        made = _POINTER()
        convert = self._advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW
        if not convert(sddl, _REVISION, byref(made), None):
            raise self._system.error()
        try:
            yield made
        finally:
            self._kernel.LocalFree(made)

    def _text(self, descriptor: ctypes.c_void_p, what: int) -> str:
        text = _POINTER()
        convert = self._advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW
        if not convert(descriptor, _REVISION, what, byref(text), None):
            raise self._system.error()
        return self._taken(text)

    def _taken(self, text: ctypes.c_void_p) -> str:
        """The system's text as ours; its memory is given back."""
        try:
            return ctypes.wstring_at(text.value or 0)
        finally:
            self._kernel.LocalFree(text)
