"""An app that signs in with its platform's token: GitHub Actions, Azure Pipelines, any other; and how Entra refuses one."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from exoscope.clock import SystemClock
from exoscope.entra import Tokens, federation
from exoscope.model import Secret
from exoscope.outcome import BadInput, SignInFailed, Transient
from exoscope.profile import Federated, Operator, Profile, SecretRef, load_profile
from exoscope.twin.federation import AUDIENCE, Credential
from exoscope.twin.server import Twin
from twin_fixtures import shared_twin

__all__ = ["shared_twin"]

ISSUER = "https://token.actions.githubusercontent.com"
SUBJECT = "repo:contoso/exoscope:environment:production"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def platform_token(key: Any = KEY, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600, **changes}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "1"})


@pytest.fixture(scope="module")
def trusting(shared_twin: Twin) -> Twin:
    """The twin's operator trusts the job of one environment."""
    shared_twin.entra.federation.trust(ISSUER, KEY.public_key())
    shared_twin.entra.federation.add(shared_twin.operator.app_id, Credential(ISSUER, SUBJECT))
    return shared_twin


def profile_of(twin: Twin, federated: Federated) -> Profile:
    operator = Operator(client_id=twin.operator.app_id, federated=federated)
    return msgspec.structs.replace(load_profile(Path(twin.ready["profile"]), os.environ), operator=operator)


def test_the_token_is_read_each_time_and_kept_nowhere(
    trusting: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text(platform_token() + "\n")
    path.chmod(0o644)  # a platform chooses the mode of its token's file
    tokens = Tokens(profile_of(trusting, Federated("reference", SecretRef("file", "token", tmp_path))), SystemClock())
    token = tokens.operator("graph")
    assert token.object_id == trusting.operator.object_id
    assert token.user is None
    path.write_text("not.a.token")
    with pytest.raises(SignInFailed, match="AADSTS50027"):
        tokens.exchange()
    path.write_text(platform_token())
    assert tokens.exchange().roles == ("Exchange.ManageAsApp",)
    path.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        tokens.operator("graph", fresh=True)
    monkeypatch.setenv("PLATFORM", platform_token())
    by_name = profile_of(trusting, Federated("reference", SecretRef("env", "PLATFORM", tmp_path)))
    assert Tokens(by_name, SystemClock()).operator("graph")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": ISSUER + "/"}, 700211),
        ({"aud": "https://github.com/contoso"}, 700212),
        ({"sub": "repo:contoso/exoscope:pull_request"}, 700213),
        ({"sub": SUBJECT.upper()}, 700213),
        ({"key": OTHER_KEY}, 50013),
        ({"exp": 1, "nbf": 0, "iat": 0}, 700024),
        ({"nbf": int(time.time()) + 7200}, 700024),
    ],
)
def test_entra_takes_the_token_that_was_meant_and_no_other(
    trusting: Twin, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: int
) -> None:
    token = platform_token(**changes)
    monkeypatch.setenv("PLATFORM", token)
    profile = profile_of(trusting, Federated("reference", SecretRef("env", "PLATFORM", Path())))
    with pytest.raises(SignInFailed, match=f"AADSTS{code}") as failed:
        Tokens(profile, SystemClock()).operator("graph")
    assert token not in f"{failed.value} {failed.value.next}"


def test_an_app_that_trusts_no_platform(shared_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM", platform_token())
    profile = profile_of(shared_twin, Federated("reference", SecretRef("env", "PLATFORM", Path())))
    app = next(iter(shared_twin.ready["secrets"]))
    profile = msgspec.structs.replace(profile, operator=msgspec.structs.replace(profile.operator, client_id=app))
    with pytest.raises(SignInFailed, match=r"AADSTS70021: .*Assertion Subject: 'repo:contoso") as failed:
        Tokens(profile, SystemClock()).operator("graph")
    assert "add a federated credential" in failed.value.next


class Platform:
    """Where a job's platform gives tokens, over TLS. ``answers``: (status, body) of the next requests."""

    def __init__(self, twin: Twin) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: list[tuple[int, Any]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, body = outer.answers.pop(0)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(twin.folder.server)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"https://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def platform(shared_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", shared_twin.ready["ca"])
    served = Platform(shared_twin)
    yield served
    served.server.shutdown()
    served.server.server_close()


def test_github_actions(trusting: Twin, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{platform.origin}/jobs/1/idtoken?api-version=2.0")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token")
    platform.answers = [(200, {"count": 1, "value": platform_token()})]
    assert Tokens(profile_of(trusting, Federated("github-actions")), SystemClock()).operator("graph")
    ((method, path, headers),) = platform.asked
    assert (method, path) == ("GET", "/jobs/1/idtoken?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange")
    assert headers["authorization"] == "Bearer request-token"


def test_azure_pipelines(trusting: Twin, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM_OIDCREQUESTURI", f"{platform.origin}/plans/1/oidctoken/")
    monkeypatch.setenv("SYSTEM_ACCESSTOKEN", "system-token")
    platform.answers = [(200, {"oidcToken": platform_token()})]
    connection = "44444444-4444-4444-4444-444444444444"
    federated = Federated("azure-pipelines", service_connection=connection)
    assert Tokens(profile_of(trusting, federated), SystemClock()).operator("graph")
    ((method, path, headers),) = platform.asked
    assert (method, path) == ("POST", f"/plans/1/oidctoken?api-version=7.1&serviceConnectionId={connection}")
    assert headers["authorization"] == "Bearer system-token"


GITHUB = Federated("github-actions")
PIPELINES = Federated("azure-pipelines", service_connection="44444444-4444-4444-4444-444444444444")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((403, {}), SignInFailed, "HTTP 403"),
        ((302, {}), SignInFailed, "HTTP 302"),
        ((200, {"value": ""}), SignInFailed, "something else than a token"),
        ((200, b"<html>"), SignInFailed, "something else than a token"),
        ((503, {}), Transient, "HTTP 503"),
        ((429, {}), Transient, "HTTP 429"),
    ],
)
def test_a_platform_that_gives_no_token(
    platform: Platform, answer: tuple[int, Any], kind: type[Exception], words: str
) -> None:
    around = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{platform.origin}/t?x=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2"}
    platform.answers = [answer]
    with pytest.raises(kind, match=words) as failed:
        federation.assertion(GITHUB, AUDIENCE, around)
    assert "hunter2" not in f"{failed.value}"


@pytest.mark.parametrize(
    ("federated", "around", "words"),
    [
        (GITHUB, {}, "no job of GitHub Actions"),
        (GITHUB, {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x"}, "no job of GitHub Actions"),
        (PIPELINES, {"SYSTEM_OIDCREQUESTURI": "https://x"}, "no step of Azure Pipelines"),
        (PIPELINES, {"SYSTEM_OIDCREQUESTURI": "http://x", "SYSTEM_ACCESSTOKEN": "t"}, "no https://"),
        (PIPELINES, {"SYSTEM_OIDCREQUESTURI": "https://a@x", "SYSTEM_ACCESSTOKEN": "t"}, "no https://"),
    ],
)
def test_where_there_is_no_platform(federated: Federated, around: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        federation.assertion(federated, AUDIENCE, around)


def test_a_platform_that_is_not_there(platform: Platform) -> None:
    around = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://127.0.0.1:1/t", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
    with pytest.raises(Transient, match="cannot be reached"):
        federation.assertion(GITHUB, AUDIENCE, around)


def test_the_token_is_a_secret(platform: Platform) -> None:
    around = {"ACTIONS_ID_TOKEN_REQUEST_URL": f"{platform.origin}/t", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}
    platform.answers = [(200, {"value": "canary"})]
    found = federation.assertion(GITHUB, AUDIENCE, around)
    assert isinstance(found, Secret)
    assert platform.asked[0][1] == "/t?audience=api%3A%2F%2FAzureADTokenExchange"
