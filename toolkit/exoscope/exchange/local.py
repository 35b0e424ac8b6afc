"""The road over a PowerShell of this machine: the client's end of PSRP on the standard streams of ``pwsh -s``.

The only file here that touches psrpcore. One child, one runspace, one call at a time. Each wait has its deadline; a child that
does not keep it is stopped, and killed when it does not even stop.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from psrpcore import (
    ClientPowerShell,
    ClientRunspacePool,
    EncryptedSessionKeyEvent,
    ErrorRecordEvent,
    PipelineOutputEvent,
    PipelineStateEvent,
    ProgressRecordEvent,
    PSRPPayload,
    StreamType,
    WarningRecordEvent,
)
from psrpcore.types import PSInvocationState, PSSecureString, RunspacePoolState

from exoscope.exchange.errors import Failure
from exoscope.exchange.records import Output, Parameter, category, judge
from exoscope.model import Secret
from exoscope.outcome import Deadline, LostSession, ServiceError, Transient
from exoscope.powershell import BATCH
from exoscope.powershell.child import FRAGMENT, POOL, Child, ChildEnded, Element, command_of

log = logging.getLogger("exoscope.exchange")

GRACE = 5.0  # seconds a stopped pipeline has to end in good order
_ENDED = (PSInvocationState.Completed, PSInvocationState.Failed, PSInvocationState.Stopped)
_NEXT = "Try: pwsh -NoProfile -Command 'Import-Module ExchangeOnlineManagement'"


class _Late(Exception):
    """The deadline of a wait has passed."""


class _Client(ClientRunspacePool):
    """psrpcore's client, which fails on the state of a pipeline that it does not know: a pool that could not be opened is told
    in a message without a pipeline's id (seen on the engine 7.6.9), and a closed pipeline may have a last word.
    """

    refused: PipelineStateEvent | None = None

    def _process_PipelineState(self, event: PipelineStateEvent) -> None:  # noqa: N802 - psrpcore looks it up by this name
        if event.pipeline_id in self.pipeline_table:
            super()._process_PipelineState(event)
        elif event.pipeline_id is None:
            self.refused = event


class _Running:
    """What one pipeline has given so far."""

    def __init__(self, pipeline: uuid.UUID) -> None:
        self.id = pipeline
        self.state: PSInvocationState | None = None
        self.objects: list[Any] = []
        self.failures: list[Failure] = []
        self.warnings: list[str] = []

    def take(self, event: Any) -> None:
        if isinstance(event, PipelineOutputEvent):
            self.objects.append(_plain(event.data))
        elif isinstance(event, ErrorRecordEvent):
            self.failures.append(_failure(event.record))
        elif isinstance(event, WarningRecordEvent):
            self.warnings.append(_text(event.record.Message))
        elif isinstance(event, ProgressRecordEvent):
            log.debug("%s: %s %%", _text(event.record.Activity), event.record.PercentComplete)
        elif isinstance(event, PipelineStateEvent):
            # A terminating error stands in the state's own message and nowhere else.
            self.state = event.state
            if event.reason is not None and event.state == PSInvocationState.Failed:
                self.failures.append(_failure(event.reason))


class PwshPool:
    """A runspace in a child. ``broken``: it cannot be used any more; make another one.

    ``program`` is what :func:`exoscope.powershell.child.find_program` answers; ``environ`` the child's, else this process's.
    """

    def __init__(self, program: str, environ: Mapping[str, str] | None = None) -> None:
        self.program = program
        self.broken = False
        self._environ = environ
        self._child: Child | None = None
        self._client = _Client()
        self._running: _Running | None = None
        self._acknowledged: set[tuple[str, uuid.UUID]] = set()
        self._keyed = False

    @property
    def pid(self) -> int | None:
        """The child's process id while there is a child."""
        return self._child.pid if self._child is not None else None

    def open(self, *, deadline: float) -> None:
        """Start the child and open the runspace.

        Raises BadInput (no such program), ServiceError (code ``pwsh-refused``: it started and could not serve), Transient.
        """
        # At DEBUG psrpcore writes every message, scripts and plain parameters among them.
        logging.getLogger("psrpcore").setLevel(logging.WARNING)
        client = self._client
        self._child = child = Child(command_of(self.program), self._environ)

        def opened() -> bool:
            return client.refused is not None or client.state in (RunspacePoolState.Opened, RunspacePoolState.Broken)

        try:
            client.open()
            self._until(opened, time.monotonic() + deadline)
        except (_Late, LostSession) as error:
            told = error.message if isinstance(error, LostSession) else f"no answer within {deadline:g} s"
            if complaint := child.complaint:
                told = f"{told} ({complaint})"
            self._kill()
            raise Transient(f"{self.program} does not serve a session: {told}", next=_NEXT) from None
        except BaseException:
            self._kill()
            raise
        if client.state != RunspacePoolState.Opened:
            reason = client.refused.reason if client.refused is not None else None
            told = _failure(reason).message if reason is not None else child.complaint or "it does not say why"
            self._kill()
            raise ServiceError(
                f"{self.program} could not open a session: {told}", code="pwsh-refused", next=_NEXT
            ) from None

    def invoke(
        self,
        script: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        deadline: float,
        batch: int | None = None,
    ) -> Output:
        """Run a script to its end; ``batch``: its rows come back in batches of so many (:mod:`exoscope.powershell.batches`).

        Raises the ServiceError family; a secret parameter never stands in an error.
        """
        if self.broken or self._child is None:
            raise LostSession("the session is closed")
        end = time.monotonic() + deadline
        try:
            return self._invoke(script, parameters or {}, end, batch)
        except _Late:
            raise Deadline(f"no answer within {deadline:g} s", next="Run the same command again later.") from None
        except ServiceError as error:
            if isinstance(error, LostSession):
                self._kill()
            raise
        except BaseException:
            # Interrupted: what runs in the child must not go on behind the caller's back.
            self._kill()
            raise

    def close(self) -> None:
        """Close the runspace and end the child; never raises."""
        child = self._child
        if child is None:
            return
        if not self.broken:
            self.broken = True
            try:
                child.send(Element("Close"))
                self._until(lambda: ("CloseAck", POOL) in self._acknowledged, time.monotonic() + GRACE)
            except (LostSession, _Late):
                log.debug("a child was gone before it was closed")
        child.close()

    def abandon(self) -> None:
        """End the child at once, whatever another thread waits for; never raises."""
        self._kill()

    # -- one call ----------------------------------------------------------------------------------------------

    def _invoke(self, script: str, parameters: Mapping[str, Parameter], end: float, batch: int | None) -> Output:
        secrets = [value for value in parameters.values() if isinstance(value, Secret)]
        if secrets and not self._keyed:
            self._client.exchange_key()
            self._until(lambda: self._keyed, end)
        shell = ClientPowerShell(self._client)
        shell.add_script(script)
        for name, value in parameters.items():
            shell.add_parameter(name, _argument(value))
        if batch is not None:
            # A command of its own behind the script: no end of a script can swallow it.
            shell.add_command(BATCH)
            shell.add_parameter("Size", batch)
        self._running = running = _Running(shell.pipeline_id)
        try:
            self._send(Element("Command", running.id))
            shell.start()
            self._until(lambda: running.state in _ENDED, end)
        except _Late:
            self._stop(running)
            raise
        finally:
            self._end(shell, running)
        judge(running.failures, secrets, completed=running.state == PSInvocationState.Completed)
        return Output(objects=tuple(running.objects), warnings=tuple(running.warnings))

    def _stop(self, running: _Running) -> None:
        """Stop a pipeline whose time is over; a child that does not obey is killed."""
        try:
            self._send(Element("Signal", running.id))
            self._until(lambda: running.state in _ENDED, time.monotonic() + GRACE)
        except (_Late, LostSession):
            log.debug("a pipeline did not stop")
            self._kill()

    def _end(self, shell: Any, running: _Running) -> None:
        """Release the pipeline on both sides."""
        self._running = None
        self._client.pipeline_table.pop(shell.pipeline_id, None)
        if self.broken or running.state not in _ENDED:
            return
        try:
            self._send(Element("Close", running.id))
            closed = ("CloseAck", running.id)
            self._until(lambda: closed in self._acknowledged, time.monotonic() + GRACE)
            self._acknowledged.clear()
        except (_Late, LostSession):
            # The answer is there already; the next call finds the session gone.
            self._kill()

    # -- the wire ----------------------------------------------------------------------------------------------

    def _until(self, done: Callable[[], bool], end: float) -> None:
        """Take what comes until it is done. Raises _Late, LostSession."""
        self._flush()
        while not done():
            try:
                element = self._live().receive(end - time.monotonic())
            except ChildEnded as reason:
                raise LostSession(f"the PowerShell child is gone: {reason}") from None
            if element is None:
                raise _Late
            self._take(element)
            self._flush()

    def _take(self, element: Element) -> None:
        if element.tag != "Data":
            self._acknowledged.add((element.tag, element.id))
            return
        try:
            self._client.receive_data(PSRPPayload(element.data, StreamType.default, None))
            while (event := self._client.next_event()) is not None:
                if isinstance(event, EncryptedSessionKeyEvent):
                    self._keyed = True
                elif self._running is not None and event.pipeline_id == self._running.id:
                    self._running.take(event)
        except Exception as error:  # noqa: BLE001 - broken fragments and XML show in psrpcore as errors of many kinds
            raise LostSession(f"the PowerShell child is unusable ({type(error).__name__})") from None

    def _flush(self) -> None:
        while (payload := self._client.data_to_send(FRAGMENT)) is not None:
            stream = "PromptResponse" if payload.stream_type == StreamType.prompt_response else "Default"
            self._send(Element("Data", payload.pipeline_id or POOL, payload.data, stream))

    def _send(self, element: Element) -> None:
        self._live().send(element)

    def _live(self) -> Child:
        if self._child is None:
            raise LostSession("the session is closed")
        return self._child

    def _kill(self) -> None:
        self.broken = True
        if self._child is not None:
            self._child.kill()


def _text(value: Any) -> str:
    """Python's own text: psrpcore's subclass makes an object of every character that is looked at."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def _plain(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else value


def _argument(value: Parameter) -> Any:
    if isinstance(value, Secret):
        return PSSecureString(value.reveal())
    return list(value) if isinstance(value, tuple) else value


def _failure(record: Any) -> Failure:
    exception = getattr(record, "Exception", None)
    info = getattr(record, "CategoryInfo", None)
    about = getattr(exception, "PSObject", None)
    return Failure(
        message=_text(getattr(exception, "Message", None) or record),
        error_id=_text(getattr(record, "FullyQualifiedErrorId", None) or ""),
        category=category(int(getattr(info, "Category", None) or 0)),
        types=tuple(_text(name) for name in getattr(about, "type_names", None) or ()),
        activity=_text(getattr(info, "Activity", None) or ""),
    )
