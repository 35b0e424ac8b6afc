"""A pwsh for machines without one: a program that speaks ``pwsh -s`` and passes every line on to this process, where the
twin's runspace pools answer. So the twin's faults reach this road too, and the child can really be killed.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from psrpcore import ServerRunspacePool
from psrpcore.types import (
    ErrorCategoryInfo,
    ErrorRecord,
    NETException,
    PipelineState,
    PSInvocationState,
    PSRPMessageType,
)

from exoscope.powershell.child import POOL, Element, element_of
from exoscope.twin.exchange.session import Session
from exoscope.twin.psrp import Gone, Pool
from exoscope.twin.server import Twin

PROGRAM = """\
#!{python} -SE
import os, socket, sys, threading
link = socket.create_connection(("127.0.0.1", {port}))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
link.sendall(f"{{os.getpid()}} {{' '.join(sys.argv[1:])}}\\n".encode())
def answers():
    for line in link.makefile("rb"):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    os._exit(0)
threading.Thread(target=answers, daemon=True).start()
for line in sys.stdin.buffer:
    link.sendall(line)
os._exit(0)
"""


class FakePwsh:
    """The program, and what answers behind it. ``mood``: ``well``, or how its next children misbehave: ``silent`` (nothing is
    acknowledged), ``deaf`` (signals do nothing), ``refuse`` (the pool does not open), ``babble`` (no PSRP).
    """

    def __init__(self, folder: Path, twin: Twin | None = None) -> None:
        self.mood = "well"
        self.pids: list[int] = []
        self.arguments: list[str] = []
        self.twin = twin
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.path = folder / "pwsh"
        self.path.write_text(
            PROGRAM.format(python=sys.executable, port=self._socket.getsockname()[1]), encoding="utf-8"
        )
        self.path.chmod(0o755)
        threading.Thread(target=self._accept, name="fake-pwsh", daemon=True).start()

    def close(self) -> None:
        """No more children."""
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), name="fake-pwsh-child", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # lines are short, and the next waits for each
        lines = link.makefile("rb")
        pid, _, arguments = lines.readline().decode().strip().partition(" ")
        self.pids.append(int(pid))
        self.arguments.append(arguments)
        lock = threading.Lock()

        def tell(element: Element) -> None:
            with lock:
                link.sendall(element.line())

        def lost() -> None:
            link.shutdown(socket.SHUT_RDWR)

        twin = self.twin
        assert twin is not None
        pool = Pool(Session(twin.tenant, twin.wsman._validate, twin.faults), lost)
        try:
            if self.mood == "babble":
                link.sendall(b"Welcome to PowerShell\n")
            _pump(pool, None, POOL, tell)
            for line in lines:
                if self.mood == "silent":
                    continue
                self._handle(pool, element_of(line), tell)
        except OSError:
            pass
        finally:
            pool.close(dropped=True)
            link.close()

    def _handle(self, pool: Pool, element: Element, tell: Callable[[Element], None]) -> None:
        tag, pipeline = element.tag, element.id
        if tag == "Data":
            if self.mood == "refuse":
                tell(Element("Data", POOL, _refusal(element.data)))
            else:
                pool.feed(element.data, None if pipeline == POOL else pipeline)
        elif tag == "Command":
            pool.begin(pipeline)
            _pump(pool, pipeline, pipeline, tell)
        elif tag == "Signal" and self.mood != "deaf":
            pool.stop(pipeline)
        elif tag == "Close":
            if pipeline == POOL:
                pool.close()
            else:
                pool.end(pipeline)
        tell(Element(f"{tag}Ack", pipeline))


def _pump(pool: Pool, pipeline: uuid.UUID | None, name: uuid.UUID, tell: Callable[[Element], None]) -> None:
    box = pool.outbox(pipeline)
    assert box is not None

    def run() -> None:
        while True:
            try:
                chunk, last = box.get(0.5)
                if chunk is not None:
                    tell(Element("Data", name, chunk))
            except (Gone, OSError):
                return
            if last:
                return

    threading.Thread(target=run, name="fake-pwsh-output", daemon=True).start()


def _refusal(opening: bytes) -> bytes:
    """A failed pipeline state that names no pipeline: how PowerShell tells that a pool did not open."""
    core = ServerRunspacePool()
    core.runspace_pool_id = uuid.UUID(bytes_le=opening[29:45])
    record = ErrorRecord(
        Exception=NETException(Message="There is no room for another session."), CategoryInfo=ErrorCategoryInfo()
    )
    core.prepare_message(
        PipelineState(PipelineState=PSInvocationState.Failed, ExceptionAsErrorRecord=record),
        message_type=PSRPMessageType.PipelineState,
    )
    payload = core.data_to_send()
    assert payload is not None
    return payload.data


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ends in time (one that nobody has waited for yet counts as ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
