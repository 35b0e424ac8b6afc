"""A runspace pool that is a real PowerShell: the WSMan shell's PSRP fragments pass unchanged through the standard streams of a
``pwsh -s`` child, which loads the sandbox's module. It has the interface of :class:`exoscope.twin.psrp.Pool`.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from exoscope.powershell.child import POOL, Child, ChildEnded, Element, command_of
from exoscope.twin.psrp import Outbox

_log = logging.getLogger("exoscope.twin.passthrough")

_HEADER = struct.Struct(">QQBI")  # [MS-PSRP] 2.2.4: object id, fragment id, flags (1 first, 2 last), length of the blob
_PIPELINE_STATE = 0x00041006  # [MS-PSRP] 2.2.1: the message that a pipeline's output ends with
_FOLDERS = "PSModulePath"
_RUNNING = b'N="PipelineState">2<'  # a state that ends nothing; PowerShell itself does not send it


class Ends:
    """Watches one pipeline's fragments for the end of its state message; nothing else of them is read."""

    def __init__(self) -> None:
        self._state_of: int | None = None

    def seen(self, data: bytes) -> bool:
        """Whether these fragments hold the last one of a state message."""
        at, ended = 0, False
        while at + _HEADER.size <= len(data):
            object_id, _, flags, length = _HEADER.unpack_from(data, at)
            begin = at + _HEADER.size
            if flags & 1 and length >= 8 and struct.unpack_from("<I", data, begin + 4)[0] == _PIPELINE_STATE:
                self._state_of = None if _RUNNING in data[begin : begin + length] else object_id
            if flags & 2 and object_id == self._state_of:
                ended = True
            at = begin + length
        return ended


class Shells:
    """How the gateway's children are started. ``others``: the module folders that come behind the sandbox's, as PSModulePath has
    them. A folder of PowerShell's own that is not among them PowerShell puts before all of them.
    """

    def __init__(self, program: str, modules: Path) -> None:
        self.program, self.modules = program, modules
        self.others = os.environ.get(_FOLDERS, "")

    def environ(self) -> dict[str, str]:
        """A child's environment."""
        # Windows ignores the case of names and spells them in capitals; the variable must not be there twice
        others = {name: value for name, value in os.environ.items() if name.upper() != _FOLDERS.upper()}
        return {**others, _FOLDERS: os.pathsep.join(filter(None, [str(self.modules), self.others]))}

    def open(self, lost: Callable[[], None]) -> ChildPool:
        """Start one. Raises BadInput (code ``no-pwsh``)."""
        return ChildPool(self.program, self.environ(), lost)


class ChildPool:
    """One child, one pool. ``lost`` is called when the child is gone by itself. Safe to use from many threads."""

    def __init__(self, program: str, environ: Mapping[str, str], lost: Callable[[], None]) -> None:
        """Start it. Raises BadInput (code ``no-pwsh``)."""
        self._child = Child(command_of(program), environ)
        self._lost = lost
        self._lock = threading.Lock()
        self._outboxes: dict[uuid.UUID | None, Outbox] = {None: Outbox()}
        self._ends: dict[uuid.UUID, Ends] = {}
        threading.Thread(target=self._pump, name="twin-child", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def feed(self, data: bytes, pipeline: uuid.UUID | None = None) -> None:
        """Bytes from the client."""
        self._child.send(Element("Data", pipeline or POOL, data))

    def begin(self, pipeline: uuid.UUID) -> None:
        """Register a pipeline; its bytes may come in several pieces after this."""
        with self._lock:
            self._outboxes[pipeline] = Outbox()
            self._ends[pipeline] = Ends()
        self._child.send(Element("Command", pipeline))

    def outbox(self, pipeline: uuid.UUID | None) -> Outbox | None:
        """Where the output of a pipeline (None: of the pool) waits; None for a pipeline that is not there."""
        with self._lock:
            return self._outboxes.get(pipeline)

    def stop(self, pipeline: uuid.UUID) -> None:
        """Stop a running pipeline; its work may be done already."""
        if self.outbox(pipeline) is not None:
            self._child.send(Element("Signal", pipeline))

    def end(self, pipeline: uuid.UUID) -> None:
        """Forget a pipeline (its client closed it)."""
        with self._lock:
            box = self._outboxes.pop(pipeline, None)
            self._ends.pop(pipeline, None)
        if box is not None:
            box.close()
            self._child.send(Element("Close", pipeline))

    def close(self, *, dropped: bool = False) -> None:
        """End everything, the child too."""
        with self._lock:
            boxes = list(self._outboxes.values())
        for box in boxes:
            box.close(dropped=dropped)
        self._child.kill()

    def _pump(self) -> None:
        while True:
            try:
                element = self._child.receive(60)
            except ChildEnded as reason:
                _log.debug("the child %d is gone: %s", self.pid, reason)
                self._lost()
                return
            if element is not None and element.tag == "Data":
                self._deliver(element)

    def _deliver(self, element: Element) -> None:
        pipeline = None if element.id == POOL else element.id
        with self._lock:
            box = self._outboxes.get(pipeline)
            ends = self._ends.get(pipeline) if pipeline is not None else None
        if box is None:
            return
        box.put(element.data)
        if ends is not None and ends.seen(element.data):
            box.close()
