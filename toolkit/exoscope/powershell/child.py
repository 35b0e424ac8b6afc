"""A PowerShell of this machine as a child that speaks PSRP over its standard streams (``pwsh -s``): finding, starting,
framing, ending. What the fragments say is nobody's business here.

One XML element a line: Data, Command, Close, Signal and their acknowledgements, each with the Guid of a pipeline, or all
zeros for the pool. PowerShell handles each line on a thread of its own, so the next one is sent only when the one before it
was acknowledged: sent at once, a command now and then never begins (seen on the engine 7.6.9). Source: PowerShell's
OutOfProcTransportManager; ``[MS-PSRP]`` for the fragments.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import queue
import shutil
import subprocess
import sys
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

from exoscope import system
from exoscope.outcome import BadInput

log = logging.getLogger("exoscope.powershell")

VARIABLE = "EXOSCOPE_PWSH"
POOL = uuid.UUID(int=0)
FRAGMENT = 32_768  # bytes of PSRP in one Data element, as PowerShell's own client sends
_ACKS = frozenset({"DataAck", "CommandAck", "CloseAck", "SignalAck"})
_TAGS = frozenset({"Data", "Command", "Close", "Signal"}) | _ACKS
_END = 5.0  # seconds a child has to end by itself
_LAST_WORDS = 2.0  # seconds to read what an ended child complained of; whatever it started may hold the stream open


class ChildEnded(Exception):
    """The child is gone, or what it says is no PSRP. Its words say which."""


class Element(NamedTuple):
    """One element. ``stream`` is Default or PromptResponse and ``data`` fragments of PSRP, for Data only."""

    tag: str
    id: uuid.UUID = POOL
    data: bytes = b""
    stream: str = "Default"

    def line(self) -> bytes:
        """As it goes over the wire, with its line end."""
        if self.tag == "Data":
            text = base64.b64encode(self.data).decode()
            return f"<Data Stream='{self.stream}' PSGuid='{self.id}'>{text}</Data>\n".encode()
        return f"<{self.tag} PSGuid='{self.id}' />\n".encode()


def element_of(line: bytes) -> Element:
    """The element that a line is. Raises ValueError for any other line."""
    try:
        found = ElementTree.fromstring(line)  # noqa: S314 - from our own child; expat itself limits entities
    except ElementTree.ParseError:
        raise ValueError("no XML") from None
    if found.tag not in _TAGS:
        raise ValueError("not an element of this protocol")
    try:
        data = base64.b64decode(found.text or "", validate=True) if found.tag == "Data" else b""
    except binascii.Error:
        raise ValueError("no base64") from None
    return Element(found.tag, uuid.UUID(found.get("PSGuid", "")), data, found.get("Stream", "Default"))


def find_program(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Which PowerShell: ``path``, else EXOSCOPE_PWSH, else ``pwsh`` on PATH, else (Windows) Windows PowerShell 5.1.

    Raises BadInput (code ``no-pwsh``) when there is none, or the one named cannot be run.
    """
    if path is not None:
        return _runnable(str(path), str(path))
    found = programs(environ)
    if not found:
        raise BadInput(
            "there is no PowerShell: no pwsh on PATH",
            code="no-pwsh",
            next=f"Install PowerShell 7, or name it in {VARIABLE}.",
        )
    return found[0]


def programs(environ: Mapping[str, str] = os.environ, *, windows: bool = sys.platform == "win32") -> tuple[str, ...]:
    """Every PowerShell at hand, best first: EXOSCOPE_PWSH, or ``pwsh`` on PATH without it; then Windows PowerShell 5.1.

    Raises BadInput (code ``no-pwsh``) when EXOSCOPE_PWSH names one that cannot be run.
    """
    named = environ.get(VARIABLE)
    first = _runnable(named, f"{VARIABLE} names {named}, which") if named else _on_path("pwsh", environ)
    found = (first, _on_path("powershell.exe", environ) if windows else None)
    return tuple(dict.fromkeys(program for program in found if program is not None))


def _on_path(name: str, environ: Mapping[str, str]) -> str | None:
    return shutil.which(name, path=environ.get("PATH"))


def _runnable(named: str, told: str) -> str:
    found = shutil.which(named)
    if found is None:
        raise BadInput(f"{told} is no program that can be run", code="no-pwsh", next="Name a PowerShell by its path.")
    return found


def is_windows_powershell(program: str) -> bool:
    """Is this Windows PowerShell 5.1, not PowerShell 7?"""
    return Path(program).name.casefold() in ("powershell", "powershell.exe")


def command_of(program: str) -> list[str]:
    """The command line under which a PowerShell serves PSRP on its standard streams."""
    if is_windows_powershell(program):
        return [program, "-Version", "5.1", "-NoLogo", "-NoProfile", "-ServerMode"]
    return [program, "-NoLogo", "-NoProfile", "-s"]


class Child:
    """A running child. ``send`` may be called from any thread, ``receive`` from one at a time.

    It ends with :meth:`close`, at the latest with this process: by its end of input if this process is killed.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """Start it. Raises BadInput (code ``no-pwsh``) when it cannot be started."""
        quiet = {"POWERSHELL_TELEMETRY_OPTOUT": "1", "POWERSHELL_UPDATECHECK": "Off"}
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**(os.environ if environ is None else environ), **quiet},
                **system.own_group(),
            )
        except OSError as error:
            raise BadInput(f"{command[0]} cannot be started: {error.strerror}", code="no-pwsh") from None
        self._incoming: queue.SimpleQueue[Element | ChildEnded] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        acknowledged = threading.Semaphore(0)
        self._complaints: deque[str] = deque(maxlen=5)
        self._ended: ChildEnded | None = None
        self._finalizer = weakref.finalize(self, system.kill_group, self._process)
        ends = self._process
        if ends.stdin is None or ends.stdout is None or ends.stderr is None:
            raise AssertionError("unreachable: all three are pipes")
        # The threads hold the streams, not this object: it can be collected, and ends its child then.
        _start("write", _write, ends.stdin, self._outgoing, acknowledged)
        _start("read", _read, ends.stdout, self._incoming, acknowledged)
        self._complaining = _start("complain", _drain, ends.stderr, self._complaints)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def complaint(self) -> str:
        """The last lines of its standard error, in one line; all of it once the child is gone. Show it only while it was told no
        secret.
        """
        if self._ended is not None:
            self._complaining.join(_LAST_WORDS)  # its output may end before what it complained of was read
        return " ".join(" ".join(self._complaints).split())[:500]

    def send(self, element: Element) -> None:
        """Hand it over; never waits. That the child is gone is told by :meth:`receive`."""
        self._outgoing.put(element.line())

    def receive(self, seconds: float) -> Element | None:
        """The next element, None when there was none in time. Raises ChildEnded, from then on always."""
        if self._ended is not None:
            raise self._ended
        try:
            found = self._incoming.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(found, ChildEnded):
            self._ended = found
            raise found
        return found

    def close(self, seconds: float = _END) -> None:
        """Close its input, give it ``seconds`` to end, then kill it; never raises."""
        self._outgoing.put(None)
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            log.debug("the child %d did not end by itself", self.pid)
        self.kill()

    def kill(self) -> None:
        """End it at once, and what it started; never raises."""
        self._outgoing.put(None)
        self._finalizer()


def _start(name: str, work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, name=f"pwsh-{name}", daemon=True)
    thread.start()
    return thread


def _write(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None], acknowledged: threading.Semaphore) -> None:
    try:
        with stream:
            while (line := lines.get()) is not None:
                stream.write(line)
                stream.flush()
                acknowledged.acquire()
    except (OSError, ValueError):
        log.debug("a child takes no more input")


def _read(
    stream: IO[bytes], elements: queue.SimpleQueue[Element | ChildEnded], acknowledged: threading.Semaphore
) -> None:
    why = "it ended"
    try:
        with stream:
            for line in stream:
                if not line.strip():
                    continue
                element = element_of(line)
                elements.put(element)
                if element.tag in _ACKS:
                    acknowledged.release()
    except ValueError:
        why = "it said something that is no PSRP"
    except OSError:
        why = "its output broke off"
    elements.put(ChildEnded(why))
    acknowledged.release(1000)  # the writer must find out too


def _drain(stream: IO[bytes], kept: deque[str]) -> None:
    with stream:
        for line in stream:
            kept.append(line.decode("utf-8", "replace"))
