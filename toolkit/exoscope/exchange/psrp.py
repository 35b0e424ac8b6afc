"""The road over a WinRM gateway: the only file that touches pypsrp.

One WSMan connection and one runspace pool, used by one call at a time (a pool shared by threads mixes up its answers).
pypsrp has no overall deadline and a silent server holds it for minutes, so every call runs on a thread of its own that is
left behind when its time is over.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from exoscope.exchange.errors import Failure
from exoscope.exchange.records import Output, Parameter, category, judge
from exoscope.model import Secret
from exoscope.outcome import Deadline, LostSession, ServiceError, SignInFailed, Throttled, Transient
from exoscope.powershell import BATCH
from exoscope.profile import Transport

log = logging.getLogger("exoscope.exchange")

Answer = TypeVar("Answer")

OPERATION_TIMEOUT = 20  # seconds the server may hold a Receive; the next one follows
READ_TIMEOUT = 30  # must exceed the former
# ERROR_WSMAN_QUOTA_…: MAX_SHELLS, MAX_OPERATIONS, USER, SYSTEM, MAX_SHELLUSERS, and those of an endpoint (_PPQ). Each is told
# before anything ran. Source: WSManDisp/wsmerror.h.
QUOTAS = frozenset({2150859173, 2150859174, 2150859175, 2150859176, 2150859179, *range(2150859236, 2150859241)})
GRACE = 10.0  # seconds a call may take beyond its deadline to stop its pipeline in good order


class PsrpPool:
    """A runspace pool on a gateway. ``broken``: it cannot be used any more; make another one."""

    def __init__(self, transport: Transport, password: Secret | None) -> None:
        self.transport = transport
        self.broken = False
        self._password = password
        self._wsman: Any = None
        self._pool: Any = None

    def open(self, *, deadline: float) -> None:
        """Connect and open the pool.

        Raises SignInFailed (the gateway refused the operator), ServiceError (code ``untrusted-gateway``), Throttled (it holds
        as many shells as it may), Transient, Deadline. Nothing has run then.
        """
        try:
            self._within(deadline, "opening a session on the gateway", self._open)
        except LostSession as error:
            raise Transient(f"the gateway {self._name} cannot be used: {error.message}", next=_REACH) from None

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
        return self._within(deadline, "the script", lambda: self._invoke(script, parameters or {}, deadline, batch))

    def close(self) -> None:
        """Close the pool and its connection; never raises."""
        pool, wsman, self._pool, self._wsman = self._pool, self._wsman, None, None
        if pool is not None and not self.broken:
            try:
                self._within(GRACE, "closing", pool.close)
            except ServiceError as error:
                log.debug("closing the pool: %s", type(error).__name__)
        if wsman is not None:
            try:
                wsman.close()
            except Exception as error:  # noqa: BLE001 - a connection that is gone fails in many ways, and closing must not
                log.debug("closing the connection: %s", type(error).__name__)
        self.broken = True

    def abandon(self) -> None:
        """Use it no more. The call under way is left to itself: its shell ends when the gateway finds it idle."""
        self.broken = True

    @property
    def _name(self) -> str:
        return urlsplit(self.transport.url).netloc

    # -- on the worker's thread --------------------------------------------------------------------------------

    def _open(self) -> None:
        from pypsrp.complex_objects import RunspacePoolState
        from pypsrp.powershell import RunspacePool
        from pypsrp.wsman import WSMan

        # At DEBUG pypsrp writes whole scripts and their parameters; at INFO some of them.
        logging.getLogger("pypsrp").setLevel(logging.WARNING)
        road, url = self.transport, urlsplit(self.transport.url)
        ssl = url.scheme == "https"
        certificate: dict[str, Any] = {}
        if road.certificate is not None:
            certificate = {"certificate_pem": str(road.certificate), "certificate_key_pem": str(road.key)}
        trusted: Any = str(road.ca) if road.ca is not None else True
        self._wsman = WSMan(
            url.hostname or "",
            port=url.port or (5986 if ssl else 5985),
            username=road.username,
            password=self._password.reveal() if self._password is not None else None,
            ssl=ssl,
            path=url.path.strip("/") or "wsman",
            auth=road.auth,
            cert_validation=trusted,
            operation_timeout=OPERATION_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            connection_timeout=READ_TIMEOUT,
            no_proxy=url.hostname in ("localhost", "127.0.0.1", "::1"),
            **certificate,
        )
        pool = RunspacePool(self._wsman, configuration_name=road.configuration, min_runspaces=1, max_runspaces=1)
        pool.open()
        if pool.state != RunspacePoolState.OPENED:
            raise LostSession("the gateway could not open a PowerShell session")
        # pypsrp took proxies and CAs from the environment when it made this session; requests would go through the
        # environment again for each request, three times an operation.
        self._wsman.transport.session.trust_env = False
        self._pool = pool

    def _invoke(self, script: str, parameters: Mapping[str, Parameter], deadline: float, batch: int | None) -> Output:
        from pypsrp.complex_objects import PSInvocationState
        from pypsrp.powershell import PowerShell

        end = time.monotonic() + deadline
        if self._pool is None:
            raise LostSession("the session is closed")
        shell = PowerShell(self._pool)
        shell.add_script(script)
        secrets = [value for value in parameters.values() if isinstance(value, Secret)]
        if secrets:
            self._pool.exchange_keys()
        for name, value in parameters.items():
            shell.add_parameter(name, _argument(value))
        if batch is not None:
            # A command of its own behind the script: no end of a script can swallow it.
            shell.add_cmdlet(BATCH)
            shell.add_parameter("Size", batch)
        try:
            shell.begin_invoke()
            while shell.state == PSInvocationState.RUNNING:
                left = end - time.monotonic()
                if left <= 0:
                    shell.stop()
                    raise Deadline(f"no answer within {deadline:g} s", next="Run the same command again later.")
                shell.poll_invoke(timeout=max(1, min(OPERATION_TIMEOUT, math.ceil(left))))
            completed = shell.state == PSInvocationState.COMPLETED
        finally:
            self._end(shell)
        judge((_failure(record) for record in shell.streams.error), secrets, completed=completed)
        warnings = tuple(str(record.message) for record in shell.streams.warning)
        return Output(objects=tuple(shell.output), warnings=warnings)

    def _end(self, shell: Any) -> None:
        """Release the pipeline on the server: some thousand that are left open exhaust the shell."""
        try:
            shell.close()
        except Exception as error:  # noqa: BLE001 - the answer is there already; the next call finds the session gone
            log.debug("closing a pipeline: %s", type(error).__name__)
            self.broken = True

    # -- on the caller's thread --------------------------------------------------------------------------------

    def _within(self, deadline: float, what: str, work: Callable[[], Answer]) -> Answer:
        answers: list[Answer] = []
        errors: list[BaseException] = []
        ended = threading.Event()

        def run() -> None:
            try:
                answers.append(work())
            except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread, which raises it typed
                errors.append(error)
            finally:
                ended.set()

        threading.Thread(target=run, name="exoscope-psrp", daemon=True).start()
        try:
            answered = ended.wait(deadline + GRACE)
        except BaseException:
            # Interrupted: the call may still be at work, so nothing else can use this pool.
            self.broken = True
            raise
        if not answered:
            self.broken = True
            raise Deadline(
                f"the gateway {self._name} did not answer: {what} took more than {deadline:g} s", next=_REACH
            )
        if errors:
            raise self._typed(errors[0]) from None
        return answers[0]

    def _typed(self, error: BaseException) -> BaseException:
        if isinstance(error, ServiceError) and not isinstance(error, LostSession):
            return error
        self.broken = True
        if isinstance(error, LostSession) or not isinstance(error, Exception):
            return error
        import requests
        from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError

        if isinstance(error, AuthenticationError):
            return SignInFailed(
                f"the gateway {self._name} refused the operator's sign-in",
                next="Check [transport] auth, username and password in the profile.",
            )
        if isinstance(error, requests.exceptions.SSLError):
            return ServiceError(
                f"the gateway {self._name} has a certificate that is not trusted",
                code="untrusted-gateway",
                next="Name the CA that signed it as [transport] ca.",
            )
        if isinstance(error, WSManFaultError) and error.code in QUOTAS:
            why = " ".join(str(error.reason or "").split()) or f"WSMan fault {error.code}"
            return Throttled(f"the gateway {self._name} takes no more for now: {why}", next=_ROOM)
        if isinstance(error, WSManFaultError):
            return LostSession(f"the session on the gateway is gone (WSMan fault {error.code})")
        if isinstance(error, WinRMTransportError):
            return LostSession(f"the gateway answered HTTP {error.code}")
        if isinstance(error, requests.exceptions.RequestException):
            return LostSession(
                f"the connection to the gateway {self._name} is lost ({type(error).__name__})", next=_REACH
            )
        if isinstance(error, ImportError):
            return ServiceError(
                f"auth = {self.transport.auth!r} needs a library that is not installed",
                code="not-installed",
                next="pip install exoscope[kerberos]",
            )
        # pypsrp answers a failed pool with KeyError(None) and broken XML with errors of the parser.
        return LostSession(f"the session on the gateway is unusable ({type(error).__name__})")


_REACH = "Check [transport] url, and that the gateway's WinRM service runs."
_ROOM = "Wait until other sessions have ended, or raise the gateway's WinRM quotas (MaxShellsPerUser)."


def _argument(value: Parameter) -> Any:
    from pypsrp.serializer import TaggedValue

    if isinstance(value, Secret):
        return TaggedValue("SS", value.reveal())
    if isinstance(value, tuple):
        return list(value)
    return value


def _failure(record: Any) -> Failure:
    exception = getattr(record, "exception", None)
    properties = {
        **(getattr(exception, "adapted_properties", None) or {}),
        **(getattr(exception, "extended_properties", None) or {}),
    }
    text = properties.get("Message") or str(record)
    return Failure(
        message=str(text),
        error_id=str(getattr(record, "fq_error", None) or ""),
        category=category(getattr(record, "category", None)),
        types=tuple(str(name) for name in getattr(exception, "types", None) or ()),
        activity=str(getattr(record, "activity", None) or ""),
    )
