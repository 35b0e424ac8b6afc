"""The server side of PSRP: one runspace pool over psrpcore (the only file of the twin that touches it), without any transport.

Accepted as a pipeline: the preludes, known by their hash, with their typed parameters; a script that the guard can read,
perhaps piped into the prelude's batching function. Nothing else runs. This is a test double for our own client: it does not
validate the protocol as Windows does.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from typing import Any, NamedTuple

from psrpcore import (
    CreatePipelineEvent,
    GetAvailableRunspacesEvent,
    PSRPPayload,
    ResetRunspaceStateEvent,
    ServerPipeline,
    ServerRunspacePool,
    SetMaxRunspacesEvent,
    SetMinRunspacesEvent,
    StreamType,
)
from psrpcore.types import (
    ErrorCategory,
    ErrorCategoryInfo,
    ErrorRecord,
    NETException,
    PSCustomObject,
    PSInvocationState,
    PSSecureString,
)

from exoscope.outcome import GuardRefused
from exoscope.powershell import BATCH, BATCH_SIZE, CMDLETS, CONNECT, MODULE, Pipeline, known_prelude, pack, read
from exoscope.twin.exchange.call import CmdletError, Row
from exoscope.twin.exchange.session import Dropped, Session, Stopped

# Bytes of PSRP in one answer: base64 makes 4/3 of it, and an envelope is 500 KiB.
CHUNK = 360_000
_PROGRESS_SECONDS = 1.0
_log = logging.getLogger("exoscope.twin.psrp")

_NO_LANGUAGE = "The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode."


class Gone(Exception):
    """The pool was dropped while somebody waited for its output."""


class Outbox:
    """What waits to be fetched for one pipeline, or for the pool itself."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self.done = False
        self.dropped = False

    def put(self, chunk: bytes) -> None:
        """Add a piece and wake who waits."""
        with self._ready:
            self._chunks.append(chunk)
            self._ready.notify_all()

    def close(self, *, dropped: bool = False) -> None:
        """No more comes."""
        with self._ready:
            self.done = True
            self.dropped = self.dropped or dropped
            self._ready.notify_all()

    def get(self, seconds: float) -> tuple[bytes | None, bool]:
        """The next piece (None when none came in time) and whether it was the last. Raises Gone."""
        ends = time.monotonic() + seconds
        with self._ready:
            while not self._chunks:
                if self.dropped:
                    raise Gone
                left = ends - time.monotonic()
                if self.done or left <= 0:
                    return None, self.done
                self._ready.wait(left)
            chunk = self._chunks.popleft()
            # PSRP's fragments say their own length, so pieces can travel together
            while self._chunks and len(chunk) + len(self._chunks[0]) <= CHUNK:
                chunk += self._chunks.popleft()
            return chunk, self.done and not self._chunks


class _Ended(NamedTuple):
    """The error that ended a pipeline, and the cmdlet that it came from."""

    error: CmdletError
    cmdlet: str


class _Running:
    """A pipeline and its thread."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.stopped = threading.Event()


class Pool:
    """One runspace pool. ``lost`` is called when a fault drops it. Safe to use from many threads."""

    def __init__(self, session: Session, lost: Callable[[], None]) -> None:
        self._session = session
        self._lost = lost
        self._core = ServerRunspacePool()
        self._lock = threading.RLock()
        self._outboxes: dict[uuid.UUID | None, Outbox] = {None: Outbox()}
        self._running: dict[uuid.UUID, _Running] = {}
        self._one_at_a_time = threading.Lock()  # one runspace: its pipelines queue

    # --- what the transport calls ----------------------------------------------------------------------------

    def feed(self, data: bytes, pipeline: uuid.UUID | None = None) -> None:
        """Bytes from the client."""
        with self._lock:
            self._core.receive_data(PSRPPayload(data, StreamType.default, pipeline))
            while (event := self._core.next_event()) is not None:
                self._handle(event)
            self._drain()

    def begin(self, pipeline: uuid.UUID) -> None:
        """Register a pipeline; its bytes may come in several pieces after this."""
        with self._lock:
            self._running[pipeline] = _Running(ServerPipeline(self._core, pipeline))
            self._outboxes[pipeline] = Outbox()

    def outbox(self, pipeline: uuid.UUID | None) -> Outbox | None:
        """Where the output of a pipeline (None: of the pool) waits; None for a pipeline that is not there."""
        with self._lock:
            return self._outboxes.get(pipeline)

    def stop(self, pipeline: uuid.UUID) -> None:
        """Stop a running pipeline; its work may be done already."""
        with self._lock:
            running = self._running.get(pipeline)
            if running is None:
                return
            running.stopped.set()
            if running.pipeline.state == PSInvocationState.Running:
                running.pipeline.begin_stop()
                running.pipeline.stop()
                self._drain()
                self._outboxes[pipeline].close()

    def end(self, pipeline: uuid.UUID) -> None:
        """Forget a pipeline (its client closed it)."""
        with self._lock:
            self.stop(pipeline)
            running = self._running.pop(pipeline, None)
            box = self._outboxes.pop(pipeline, None)
            if box is not None:
                box.close()
            if running is not None:
                self._core.pipeline_table.pop(pipeline, None)

    def close(self, *, dropped: bool = False) -> None:
        """End everything."""
        with self._lock:
            for running in self._running.values():
                running.stopped.set()
            for box in self._outboxes.values():
                box.close(dropped=dropped)

    # --- events ----------------------------------------------------------------------------------------------

    def _handle(self, event: Any) -> None:
        if isinstance(event, CreatePipelineEvent):
            running = self._running[event.pipeline_id]
            running.pipeline.start()
            threading.Thread(
                target=self._run, args=(running, event.pipeline.commands), name="twin-pipeline", daemon=True
            ).start()
        elif isinstance(event, GetAvailableRunspacesEvent):
            self._core.runspace_availability_response(event.ci, 1)
        elif isinstance(event, SetMaxRunspacesEvent | SetMinRunspacesEvent | ResetRunspaceStateEvent):
            self._core.runspace_availability_response(event.ci, True)

    def _drain(self) -> None:
        """Move what psrpcore has to send into the outboxes: it has one buffer for all pipelines."""
        while (payload := self._core.data_to_send(CHUNK)) is not None:
            box = self._outboxes.get(payload.pipeline_id)
            if box is not None:
                box.put(payload.data)

    # --- a pipeline's thread ---------------------------------------------------------------------------------

    def _run(self, running: _Running, commands: list[Any]) -> None:
        try:
            with self._one_at_a_time:
                if running.stopped.is_set():
                    return
                ended = self._execute(running, commands)
        except Stopped:
            return
        except Dropped:
            self._lost()
            return
        except Exception as problem:  # noqa: BLE001 - a pipeline's thread must always answer
            _log.exception("the twin's own error")
            ended = _Ended(CmdletError("System.Exception", f"the twin failed: {type(problem).__name__}"), "")
        with self._lock:
            if running.pipeline.state != PSInvocationState.Running:
                return
            if ended is None:
                running.pipeline.complete()
            else:
                # psrpcore has no fail(); this is what its stop() and complete() do
                record = _record(ended.error, ended.cmdlet)
                running.pipeline._change_state(PSInvocationState.Failed, error=record)
            self._drain()
            self._outboxes[running.pipeline.pipeline_id].close()

    def _execute(self, running: _Running, commands: list[Any]) -> _Ended | None:
        """Run it; what is returned ended the pipeline."""
        scripts = [command for command in commands if command.is_script]
        parameters = {_text(name or ""): value for name, value in commands[0].parameters}
        known = known_prelude(_text(commands[0].command_text)) if len(commands) == 1 and scripts else None
        if known is not None:
            try:
                given = {name: _plain(value) for name, value in parameters.items()}
                if known == CONNECT:
                    self._session.connect(given)
                for text in self._answered(known, given):
                    self._object(running, {"": text})
            except CmdletError as error:
                return _Ended(error, "Connect-ExchangeOnline")
            return None
        batch = _batch_size(commands)
        if not commands[0].is_script or parameters or (len(commands) > 1 and batch is None):
            kind = "System.Management.Automation.PSNotSupportedException"
            return _Ended(CmdletError(kind, _NO_LANGUAGE, category="ParserError"), "")
        try:
            pipelines = read(_text(commands[0].command_text))
        except GuardRefused as refusal:
            kind = "System.Management.Automation.ParseException"
            return _Ended(CmdletError(kind, f"{_NO_LANGUAGE} {refusal.message}", category="ParserError"), "")
        if batch is not None and not self._session.prepared:
            kind = "System.Management.Automation.CommandNotFoundException"
            missing = CmdletError(
                kind, f"The term '{BATCH}' is not recognized as a name of a cmdlet.", category="ObjectNotFound"
            )
            self._error(running, missing, BATCH)
            return None
        return self._pipelines(running, pipelines, batch)

    def _answered(self, known: str, given: Mapping[str, Any]) -> Sequence[str]:
        """What a prelude answers. Raises CmdletError."""
        if known == MODULE:
            return self._session.module()
        return self._session.offered(given["CommandName"]) if known == CMDLETS else ()

    def _pipelines(self, running: _Running, pipelines: tuple[Pipeline, ...], batch: int | None) -> _Ended | None:
        pending: list[Row] = []
        written, told = 0, time.monotonic()

        def warn(text: str) -> None:
            self._write(running, lambda pipe: pipe.write_warning(text))

        for pipeline in pipelines:
            action = str(pipeline[0].parameters.get("ErrorAction", "Continue")).lower()
            try:
                for row in self._session.run(pipeline, running.stopped, warn):
                    if batch is None:
                        self._object(running, row)
                        continue
                    pending.append(row)
                    if len(pending) >= batch:
                        self._batch(running, pending)
                        written += len(pending)
                        pending = []
                        if time.monotonic() - told >= _PROGRESS_SECONDS:
                            told = time.monotonic()
                            self._progress(running, pipeline[0].cmdlet, written)
            except CmdletError as error:
                if action == "stop":
                    return _Ended(error, pipeline[0].cmdlet)
                if action not in ("silentlycontinue", "ignore"):
                    self._error(running, error, pipeline[0].cmdlet)
        if batch is not None and pending:
            self._batch(running, pending)
        return None

    def _write(self, running: _Running, write: Callable[[Any], None]) -> None:
        with self._lock:
            if running.pipeline.state != PSInvocationState.Running:
                raise Stopped
            write(running.pipeline)
            self._drain()

    def _object(self, running: _Running, row: Row) -> None:
        value = row[""] if list(row) == [""] else PSCustomObject(**row)
        self._write(running, lambda pipe: pipe.write_output(value))

    def _batch(self, running: _Running, rows: list[Row]) -> None:
        text = pack(rows)
        self._write(running, lambda pipe: pipe.write_output(text))

    def _progress(self, running: _Running, cmdlet: str, written: int) -> None:
        self._write(running, lambda pipe: pipe.write_progress(cmdlet, 1, f"{written} results"))

    def _error(self, running: _Running, error: CmdletError, cmdlet: str) -> None:
        record = _record(error, cmdlet)
        self._write(
            running,
            lambda pipe: pipe.write_error(
                record.Exception,
                category_info=record.CategoryInfo,
                fully_qualified_error_id=record.FullyQualifiedErrorId,
            ),
        )


def _text(value: str) -> str:
    """Python's own text: psrpcore's subclass makes an object of every character that is looked at."""
    return str.__str__(value)


def _plain(value: Any) -> Any:
    """A parameter's value as Python's own: a SecureString in clear, for the session alone."""
    if isinstance(value, PSSecureString):
        return _text(value.decrypt())
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _batch_size(commands: list[Any]) -> int | None:
    """The -Size of the batching function when the pipeline is a script and that function, else None."""
    if len(commands) != 2 or commands[1].is_script or commands[1].command_text.lower() != BATCH.lower():
        return None
    parameters = {str(name or "").lower(): value for name, value in commands[1].parameters}
    if set(parameters) - {"size"}:
        return None
    return int(parameters.get("size", BATCH_SIZE))


def _record(error: CmdletError, cmdlet: str) -> Any:
    """The error record that Exchange's module 3 writes for its REST cmdlets: all it says of the type stands in text and reason.

    Source: records that its users showed (Microsoft Q&A 1023619, timmcmic/DLConversionV2 issue 129).
    """
    exception = NETException(Message=error.record_text, HResult=-2146233087)
    category, identifier = error.category, f"{error.short},{cmdlet}"
    if error.is_exchanges:
        category, when = "NotSpecified", formatdate(usegmt=True)
        identifier = f"[Server=TWIN,RequestId={uuid.uuid4()},TimeStamp={when}],Write-ErrorMessage"
    else:
        exception.PSObject.type_names = [error.kind, *(t for t in exception.PSObject.type_names if t != error.kind)]
    return ErrorRecord(
        Exception=exception,
        CategoryInfo=ErrorCategoryInfo(
            Category=getattr(ErrorCategory, category),
            Activity=cmdlet,
            Reason=error.short,
            TargetName="" if error.is_exchanges else error.target,
        ),
        FullyQualifiedErrorId=identifier,
    )


__all__ = ["CHUNK", "Gone", "Outbox", "Pool"]
