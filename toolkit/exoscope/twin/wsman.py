"""The WSMan SOAP layer over the twin's runspace pools: a WSGI application, to be mounted at ``/wsman`` behind TLS.

Handled: Create, Command, Send, Receive, Signal, Delete, and Get (a client asks it whether a shell lives). Anything else is
answered with a fault. Basic authentication, or a client certificate that the web side has verified.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from exoscope.twin.exchange.session import Session, Validate
from exoscope.twin.faults import Faults
from exoscope.twin.passthrough import ChildPool
from exoscope.twin.psrp import Gone, Pool
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.web import CLIENT_CERTIFICATE, cut_off

_NS = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "wsa": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "wsman": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    "pwsh": "http://schemas.microsoft.com/powershell",
}
_SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
_ENVELOPE = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
    'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" '
    'xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:Action>{action}</a:Action>'
    "<a:MessageID>uuid:{id}</a:MessageID><a:RelatesTo>{relates}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"
)
_FAULT_ACTION = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
_MUTUAL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
# Fault codes of MS-WSMV: a client knows a quiet Receive and a lost shell by exactly these numbers.
TIMED_OUT = 2150858793
NO_SHELL = 2150858843
NO_ROOM = 2150859173
_INTERNAL = 2150859193
_LIMIT = 64 * 1024 * 1024
_log = logging.getLogger("exoscope.twin.wsman")

Start = Callable[..., Any]
ShellPool = Pool | ChildPool


class _Fault(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class _Request:
    """What of an envelope is looked at."""

    def __init__(self, data: bytes) -> None:
        try:
            envelope = ElementTree.fromstring(data)  # noqa: S314 - from our own loopback client; expat limits entities
        except ElementTree.ParseError:
            raise _Fault(_INTERNAL, "the envelope is no XML") from None
        self.action = envelope.findtext("s:Header/wsa:Action", "", _NS).strip()
        self.message_id = envelope.findtext("s:Header/wsa:MessageID", "", _NS)
        self.shell_id = ""
        for selector in envelope.iterfind("s:Header/wsman:SelectorSet/wsman:Selector", _NS):
            if selector.get("Name") == "ShellId":
                self.shell_id = (selector.text or "").strip().upper()
        self.timeout = _seconds(envelope.findtext("s:Header/wsman:OperationTimeout", "PT20S", _NS))
        body = envelope.find("s:Body", _NS)
        self.body = body if body is not None else ElementTree.Element("none")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"PT(?:(\d+)M)?(?:([0-9.]+)S)?", text.strip())
    return float(found.group(1) or 0) * 60 + float(found.group(2) or 0) if found else 20.0


class Wsman:
    """The WSGI application. ``credentials``: user name to password for Basic; ``certificates``: DER of client certificates let in.

    ``validate`` reads an Exchange token (see :class:`~exoscope.twin.exchange.session.Validate`); ``read_only`` says of an app
    id that its operator may only read. ``open_pool`` makes the pool of a new shell, given what to call when it is lost
    (:class:`~exoscope.twin.passthrough.ChildPool`); without it the twin answers itself.
    """

    def __init__(
        self,
        tenant: TwinTenant,
        validate: Validate,
        *,
        credentials: dict[str, str] | None = None,
        certificates: Iterable[bytes] = (),
        faults: Faults | None = None,
        read_only: Callable[[str], bool] | None = None,
        open_pool: Callable[[Callable[[], None]], ShellPool] | None = None,
    ) -> None:
        self.tenant = tenant
        self.faults = faults or Faults()
        self._open_pool = open_pool
        self._validate = validate
        self._read_only = read_only
        self._credentials = dict(credentials or {})
        self._certificates = tuple(certificates)
        self._lock = threading.Lock()
        self._pools: dict[str, ShellPool] = {}
        self._born: dict[str, datetime] = {}

    def __repr__(self) -> str:
        return f"<Wsman shells={len(self._pools)}>"

    @property
    def shells(self) -> int:
        """How many shells are open."""
        with self._lock:
            return len(self._pools)

    def close(self) -> None:
        """End every shell."""
        self._forget_all()

    # --- WSGI ------------------------------------------------------------------------------------------------

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        status = self.faults.take_status()
        # the body is read in any case: the connection is kept for the next request
        length = int(environ.get("CONTENT_LENGTH") or 0)
        data = environ["wsgi.input"].read(length) if 0 < length <= _LIMIT else b""
        if self.faults.away(self.tenant.clock.now()):
            self._forget_all()
            raise cut_off(environ)
        if status is not None:
            start(f"{status} Planned", [("Content-Length", "0"), ("Retry-After", "1")])
            return [b""]
        if not self._admitted(environ):
            start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="WSMAN"'), ("Content-Length", "0")])
            return [b""]
        if environ.get("REQUEST_METHOD") != "POST":
            start("405 Method Not Allowed", [("Content-Length", "0")])
            return [b""]
        if self.faults.take_lost_shells():
            self._forget_all()
        relates = ""
        try:
            request = _Request(data)
            relates = request.message_id
            action, body = self._answer(request)
            return _send(start, "200 OK", action, relates, body)
        except Gone:
            raise cut_off(environ) from None
        except _Fault as fault:
            return _send(start, "500 Internal Server Error", _FAULT_ACTION, relates, _fault_body(fault))
        except (ValueError, binascii.Error, KeyError):
            _log.debug("a request that could not be read", exc_info=True)
            body = _fault_body(_Fault(_INTERNAL, "the request could not be read"))
            return _send(start, "500 Internal Server Error", _FAULT_ACTION, relates, body)

    def _admitted(self, environ: dict[str, Any]) -> bool:
        given = environ.get("HTTP_AUTHORIZATION", "")
        certificate = environ.get(CLIENT_CERTIFICATE)
        if given == _MUTUAL and certificate is not None:
            return any(hmac.compare_digest(certificate, known) for known in self._certificates)
        scheme, _, text = given.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
        except ValueError:
            return False
        # compared in constant time, and against something even for a user who is not there
        wanted = self._credentials.get(user, "")
        return hmac.compare_digest(password.encode(), wanted.encode()) and bool(wanted)

    # --- actions ---------------------------------------------------------------------------------------------

    def _answer(self, request: _Request) -> tuple[str, str]:
        name = request.action.rpartition("/")[2]
        handler = {
            "Create": self._create,
            "Command": self._command,
            "Send": self._send_input,
            "Receive": self._receive,
            "Signal": self._signal,
            "Delete": self._delete,
            "Get": self._get,
        }.get(name)
        if handler is None:
            raise _Fault(2150858752, f"the action {request.action} is not supported")
        return f"{request.action}Response", handler(request)

    def _create(self, request: _Request) -> str:
        found = request.body.find("rsp:Shell/pwsh:creationXml", _NS)
        if found is None or not found.text:
            raise _Fault(_INTERNAL, "a shell without creationXml")
        if self.faults.take_full():
            raise _Fault(
                NO_ROOM,
                "The WS-Management service cannot process the request. This user is allowed a maximum number of 30 concurrent "
                "shells, which has been exceeded. Close existing shells or raise the quota for this user.",
            )
        shell_id = str(uuid.uuid4()).upper()
        pool = self._new_pool(lambda: self._forget(shell_id, dropped=True))
        pool.feed(base64.b64decode(found.text))
        with self._lock:
            self._pools[shell_id] = pool
            self._born[shell_id] = self.tenant.clock.now()
        return (
            f"<x:ResourceCreated><a:ReferenceParameters><w:ResourceURI>{_NS['pwsh']}/Microsoft.PowerShell</w:ResourceURI>"
            f'<w:SelectorSet><w:Selector Name="ShellId">{shell_id}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f"</x:ResourceCreated>{_shell(shell_id)}"
        )

    def _new_pool(self, lost: Callable[[], None]) -> ShellPool:
        if self._open_pool is not None:
            return self._open_pool(lost)
        return Pool(Session(self.tenant, self._validate, self.faults, self._read_only), lost)

    def _command(self, request: _Request) -> str:
        pool = self._pool(request)
        line = request.body.find("rsp:CommandLine", _NS)
        if line is None:
            raise _Fault(_INTERNAL, "no command line")
        pipeline = uuid.UUID(line.get("CommandId") or str(uuid.uuid4()))
        # registered before its bytes are read: psrpcore asks for it then
        pool.begin(pipeline)
        pool.feed(base64.b64decode(line.findtext("rsp:Arguments", "", _NS)), pipeline)
        identifier = str(pipeline).upper()
        return f"<rsp:CommandResponse><rsp:CommandId>{identifier}</rsp:CommandId></rsp:CommandResponse>"

    def _send_input(self, request: _Request) -> str:
        pool = self._pool(request)
        for stream in request.body.iterfind("rsp:Send/rsp:Stream", _NS):
            command = stream.get("CommandId")
            pool.feed(base64.b64decode(stream.text or ""), uuid.UUID(command) if command else None)
        return "<rsp:SendResponse/>"

    def _receive(self, request: _Request) -> str:
        pool = self._pool(request)
        wanted = request.body.find("rsp:Receive/rsp:DesiredStream", _NS)
        command = wanted.get("CommandId") if wanted is not None else None
        box = pool.outbox(uuid.UUID(command) if command else None)
        if box is None:
            raise _Fault(NO_SHELL, "the command is not there")
        chunk, last = box.get(request.timeout)
        if chunk is None and not last:
            raise _Fault(
                TIMED_OUT, "The WS-Management service cannot complete the operation within the time specified."
            )
        attribute = f' CommandId="{command}"' if command else ""
        stream = (
            f'<rsp:Stream Name="stdout"{attribute}>{base64.b64encode(chunk).decode()}</rsp:Stream>' if chunk else ""
        )
        state = (
            f'<rsp:CommandState{attribute} State="{_SHELL}/CommandState/{"Done" if last else "Running"}"/>'
            if command
            else ""
        )
        return f"<rsp:ReceiveResponse>{stream}{state}</rsp:ReceiveResponse>"

    def _signal(self, request: _Request) -> str:
        pool = self._pool(request)
        signal = request.body.find("rsp:Signal", _NS)
        command = signal.get("CommandId") if signal is not None else None
        code = "" if signal is None else signal.findtext("rsp:Code", "", _NS).lower()
        if command:
            # PowerShell spells its own signal crtl_c
            if code.endswith(("ctrl_c", "crtl_c")):
                pool.stop(uuid.UUID(command))
            elif code.endswith("terminate"):
                pool.end(uuid.UUID(command))
        return "<rsp:SignalResponse/>"

    def _delete(self, request: _Request) -> str:
        self._pool(request)
        self._forget(request.shell_id, dropped=False)
        return ""

    def _get(self, request: _Request) -> str:
        self._pool(request)
        return _shell(request.shell_id)

    # --- shells ----------------------------------------------------------------------------------------------

    def _pool(self, request: _Request) -> ShellPool:
        life = self.faults.shell_life
        with self._lock:
            pool = self._pools.get(request.shell_id)
            born = self._born.get(request.shell_id)
        if life is not None and born is not None and self.tenant.clock.now() - born >= timedelta(seconds=life):
            self._forget(request.shell_id, dropped=True)
            pool = None
        if pool is None:
            raise _Fault(
                NO_SHELL,
                "The request for the Windows Remote Shell with ShellId "
                f"{request.shell_id} failed because the shell was not found on the server.",
            )
        return pool

    def _forget(self, shell_id: str, *, dropped: bool) -> None:
        with self._lock:
            pool = self._pools.pop(shell_id, None)
            self._born.pop(shell_id, None)
        if pool is not None:
            pool.close(dropped=dropped)

    def _forget_all(self) -> None:
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
            self._born.clear()
        for pool in pools:
            pool.close(dropped=True)


def _shell(shell_id: str) -> str:
    return f"<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId><rsp:State>Connected</rsp:State></rsp:Shell>"


def _fault_body(fault: _Fault) -> str:
    return (
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:Fault</s:Value></s:Subcode></s:Code><s:Reason>"
        f'<s:Text xml:lang="en-US">{escape(fault.text)}</s:Text></s:Reason><s:Detail>'
        f'<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="{fault.code}" Machine="twin">'
        f"<f:Message>{escape(fault.text)}</f:Message></f:WSManFault></s:Detail></s:Fault>"
    )


def _send(start: Start, status: str, action: str, relates: str, body: str) -> Iterable[bytes]:
    text = _ENVELOPE.format(action=escape(action), id=str(uuid.uuid4()).upper(), relates=escape(relates), body=body)
    data = text.encode()
    start(status, [("Content-Type", "application/soap+xml;charset=UTF-8"), ("Content-Length", str(len(data)))])
    return [data]
