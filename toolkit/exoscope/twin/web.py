"""The twin's web side: WSGI applications over TLS on 127.0.0.1, nowhere else. The only file that touches cheroot.

Two things differ from cheroot's own: the TLS handshake leaves the accept thread (a client that stalls it holds up nobody),
and a thread is started whenever none is free (a hundred long polls do not keep the hundred-and-first call waiting).
"""

from __future__ import annotations

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cheroot import wsgi
from cheroot.server import HTTPConnection
from cheroot.ssl import Adapter
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.workers import threadpool

LOOPBACK = "127.0.0.1"
HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 120
CONNECTION = "exoscope.connection"  # the environ key under which a handler finds its connection, to cut it off
CLIENT_CERTIFICATE = (
    "exoscope.client_certificate"  # the environ key of the verified client certificate (DER), or absent
)

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
# cheroot keeps the word by which a worker is told to end to itself, and our workers are cheroot's
_END = threadpool._SHUTDOWNREQUEST  # type: ignore[attr-defined]  # in the module, not in its stub
_log = logging.getLogger("exoscope.twin.web")


class CutOff(Exception):
    """Raised by a handler that has cut its connection: no answer reaches the client."""


def cut_off(environ: dict[str, Any]) -> CutOff:
    """Close the connection of this request without an answer, as a failing network would; raise what is returned."""
    connection = environ.get(CONNECTION)
    if connection is not None:
        try:
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            _log.debug("the connection was gone already")
    return CutOff("cut off")


class _Adapter(BuiltinSSLAdapter):
    """TLS whose handshake is left to the connection's own thread."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path) -> None:
        # not cheroot's own constructor: its context trusts every CA of the machine, ours a single one
        Adapter.__init__(self, str(certificate), str(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cafile=client_ca)
        self.context = context

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}


class _Connection(HTTPConnection):
    """A connection that shakes hands on its worker's thread, before its first request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shaken = False

    def communicate(self) -> bool:
        if not self.shaken:
            try:
                self.socket.settimeout(HANDSHAKE_SECONDS)
                self.socket.do_handshake()
                self.socket.settimeout(self.server.timeout)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                _log.debug("handshake failed: %s", type(error).__name__)
                return False
            self.shaken = True
            self.ssl_env = {"wsgi.url_scheme": "https", "HTTPS": "on", CONNECTION: self}
            certificate = self.socket.getpeercert(binary_form=True)
            if certificate:
                self.ssl_env[CLIENT_CERTIFICATE] = certificate
        return bool(super().communicate())  # type: ignore[no-untyped-call]  # cheroot's stub has no types here


class _Workers:
    """Threads on demand, in place of cheroot's fixed pool (same interface: start, put, get, stop, idle, qsize)."""

    min = 0

    def __init__(self, server: wsgi.Server) -> None:
        self.server = server
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0  # threads waiting in get(), less the connections already put for them
        self._threads: list[threadpool.WorkerThread] = []

    def start(self) -> None:
        """Nothing to do: the first connection starts the first thread."""

    def put(self, connection: Any) -> None:
        with self._lock:
            self._free -= 1
            if self._free < 0:
                thread = threadpool.WorkerThread(self.server)  # type: ignore[no-untyped-call]  # nor here
                thread.daemon = True  # a handler that never ends must not keep the process
                self._threads = [old for old in self._threads if old.is_alive()]
                self._threads.append(thread)
                thread.start()
        self._queue.put(connection)

    def get(self) -> Any:
        with self._lock:
            self._free += 1
        return self._queue.get()

    @property
    def idle(self) -> int:
        return max(self._free, 0)

    @property
    def qsize(self) -> int:
        return self._queue.qsize()

    def stop(self, timeout: float | None = None) -> None:
        """End the idle threads and cut off the others; wait for them at most ``timeout`` seconds."""
        ends = time.monotonic() + (timeout or 0)
        threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in threads:
            self._queue.put(_END)
        for thread in threads:
            connection = thread.conn
            if connection is not None:
                try:
                    connection.socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    _log.debug("a connection was closed already")
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))


class _Server(wsgi.Server):
    ConnectionClass = _Connection
    keep_alive_conn_limit = None  # type: ignore[assignment]  # documented: None is no limit
    expiration_interval = 0.1  # also how long stop() may take
    nodelay = True

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        # What goes wrong in a handler is answered and logged by the handler; here are broken connections only.
        _log.debug("%s", msg, exc_info=traceback)


class WebServer:
    """One WSGI application on one port of 127.0.0.1. ``port`` 0 takes a free one. Raises OSError when the port is taken."""

    def __init__(self, app: App, *, certificate: Path, key: Path, client_ca: Path, port: int = 0) -> None:
        self._server = _Server(
            (LOOPBACK, port),
            app,
            server_name="exoscope-twin",
            request_queue_size=128,
            shutdown_timeout=1,
            timeout=IDLE_SECONDS,
        )
        self._server.requests = _Workers(self._server)
        self._server.ssl_adapter = _Adapter(certificate, key, client_ca)
        self._server.prepare()
        self.port: int = self._server.bind_addr[1]
        self._thread = threading.Thread(target=self._server.serve, name=f"twin-{self.port}", daemon=True)

    @property
    def origin(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return f"https://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, cut off what is open."""
        self._server.stop()
        if self._thread.ident is not None:
            self._thread.join(2)
