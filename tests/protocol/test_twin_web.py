"""The twin's web side: loopback only, TLS shaken off the accept thread, a thread for whoever comes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import requests
import trustme

from exoscope.twin.web import CLIENT_CERTIFICATE, WebServer, cut_off


class Served:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        self.polling = threading.Semaphore(0)
        self.release = threading.Event()
        self.server = WebServer(
            self.app, certificate=folder / "server.pem", key=folder / "server.pem", client_ca=folder / "ca.pem"
        )
        self.server.start()

    def app(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = b"here"
        if environ["PATH_INFO"] == "/poll":
            self.polling.release()
            self.release.wait(20)
        elif environ["PATH_INFO"] == "/cut":
            raise cut_off(environ)
        elif environ["PATH_INFO"] == "/who":
            body = str(len(environ.get(CLIENT_CERTIFICATE, b""))).encode()
        elif environ["PATH_INFO"] == "/port":
            body = str(environ["REMOTE_PORT"]).encode()
        elif environ["PATH_INFO"] == "/echo":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def get(self, path: str, session: requests.Session | None = None, **options: Any) -> requests.Response:
        return (session or requests).get(
            self.server.origin + path, verify=str(self.folder / "ca.pem"), timeout=20, **options
        )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.release.set()
    made.server.stop()


def test_stalled_handshakes_hold_up_nobody(served: Served) -> None:
    stalled = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(40)]
    for connection in stalled[:20]:
        connection.sendall(b"\x16\x03\x01")  # the beginning of a ClientHello, and no more
    try:
        began = time.monotonic()
        assert served.get("/").text == "here"
        assert time.monotonic() - began < 5
    finally:
        for connection in stalled:
            connection.close()


def test_long_polls_do_not_use_up_the_threads(served: Served) -> None:
    polls = [threading.Thread(target=served.get, args=("/poll",)) for _ in range(60)]
    for poll in polls:
        poll.start()
    for _ in polls:
        assert served.polling.acquire(timeout=20), "a poll waits for a thread"
    assert served.get("/").text == "here"
    served.release.set()
    for poll in polls:
        poll.join(20)
        assert not poll.is_alive()


def test_connections_are_kept(served: Served) -> None:
    with requests.Session() as session:
        session.trust_env = False
        assert len({served.get("/port", session).text for _ in range(5)}) == 1


def test_nagle_is_off_on_accepted_connections(served: Served) -> None:
    """136 ms a call instead of a few, were it on: small answers in two writes would wait for each other's ACK."""
    with requests.Session() as session:
        served.get("/", session)
        taken = []
        for _ in range(50):
            began = time.monotonic()
            served.get("/", session)
            taken.append(time.monotonic() - began)
    assert median(taken) < 0.035


def test_a_big_body_goes_both_ways(served: Served) -> None:
    body = bytes(range(256)) * 8192
    answer = requests.post(served.server.origin + "/echo", data=body, verify=str(served.folder / "ca.pem"), timeout=20)
    assert answer.content == body


def test_it_listens_on_loopback_only(served: Served) -> None:
    assert served.server._server.socket.getsockname()[0] == "127.0.0.1"
    outside = [
        address[4][0]
        for address in socket.getaddrinfo(None, served.server.port, socket.AF_INET, socket.SOCK_STREAM)
        if not str(address[4][0]).startswith("127.")
    ]
    for host in (*outside, "127.0.0.2"):
        with pytest.raises(OSError), socket.create_connection((host, served.server.port), timeout=1):
            pass


def test_plain_http_and_old_tls_are_refused(served: Served) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://127.0.0.1:{served.server.port}/", timeout=10)
    context = ssl.create_default_context(cafile=str(served.folder / "ca.pem"))
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", served.server.port), timeout=5) as raw,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(raw, server_hostname="127.0.0.1"),
    ):
        pass


def test_a_client_certificate_is_verified_and_handed_on(served: Served) -> None:
    client = served.folder / "client.pem"
    served.authority.issue_cert(common_name="client").private_key_and_cert_chain_pem.write_to_path(client)
    assert int(served.get("/who", cert=str(client)).text) > 100
    assert served.get("/who").text == "0"
    foreign = served.folder / "foreign.pem"
    trustme.CA().issue_cert(common_name="client").private_key_and_cert_chain_pem.write_to_path(foreign)
    with pytest.raises(requests.exceptions.ConnectionError):
        served.get("/who", cert=str(foreign))


def test_a_cut_connection_answers_nothing(served: Served) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        served.get("/cut")
    assert served.get("/").text == "here"


def test_a_taken_port_is_an_error(served: Served) -> None:
    pem = served.folder / "server.pem"
    with pytest.raises(OSError, match=r"\d"):
        WebServer(served.app, certificate=pem, key=pem, client_ca=served.folder / "ca.pem", port=served.server.port)


def test_stopping_ends_open_polls(served: Served) -> None:
    failed: list[Exception] = []

    def poll() -> None:
        try:
            served.get("/poll")
        except requests.exceptions.RequestException as error:
            failed.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    assert served.polling.acquire(timeout=10)
    began = time.monotonic()
    served.server.stop()
    assert time.monotonic() - began < 5
    served.release.set()
    thread.join(10)
    assert failed
