"""Tokens by the real msal against the twin: every way of signing in, every AADSTS code in words, no secret told."""

from __future__ import annotations

import http.server
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificate

from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.entra.aadsts import NEXT, TRANSIENT, error_of
from exoscope.model import Snapshot
from exoscope.outcome import BadInput, SignInFailed, Transient
from exoscope.profile import Federated, Profile, SecretRef, load_profile
from exoscope.twin.aadsts import ERRORS
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, app_named, sample, serve, shared_twin, twin

__all__ = ["sample", "serve", "shared_twin", "twin"]


class QuickClock(SystemClock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def profile_of(twin: Twin, **operator: Any) -> Profile:
    profile = load_profile(Path(twin.ready["profile"]), os.environ)
    if not operator:
        return profile
    none = {"secret": None, "certificate": None, "passphrase": None}
    assert profile.operator is not None
    return msgspec.structs.replace(profile, operator=msgspec.structs.replace(profile.operator, **{**none, **operator}))


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Token requests that were sent."""
    sent: list[str] = []
    real = requests.Session.request

    def noted(self: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        if method.upper() == "POST":
            sent.append(url)
        return real(self, method, url, *arguments, **options)

    monkeypatch.setattr(requests.Session, "request", noted)
    return sent


def test_nothing_is_asked_before_it_is_needed_and_then_once(shared_twin: Twin, posts: list[str]) -> None:
    tokens = Tokens(profile_of(shared_twin), QuickClock())
    assert posts == []
    first = tokens.operator("graph")
    assert tokens.operator("graph") is first
    assert len(posts) == 1
    other = tokens.exchange()
    assert other.secret.reveal() != first.secret.reveal()
    assert len(posts) == 2
    assert first.tenant_id == shared_twin.tenant.state.tenant.id
    assert first.object_id == shared_twin.operator.object_id
    assert "AppRoleAssignment.ReadWrite.All" in (first.roles or ())


def test_a_fresh_token_is_issued_now_and_carries_the_roles_of_now(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(sample, token_lifetime=3600.0)  # long enough for msal to keep it
    app = app_named(twin.tenant.state, OMNISCOPE)
    tokens = Tokens(profile_of(twin), QuickClock())
    before = tokens.app(app.app_id)
    assert before.roles == ("Mail.Read",)
    twin.tenant.remove_consent(app.object_id, app.consents[0].id)
    assert tokens.app(app.app_id).secret == before.secret
    assert tokens.app(app.app_id.upper(), fresh=True).roles == ()
    assert tokens.app(app.app_id).roles == ()


def test_a_token_near_its_end_is_replaced(serve: Callable[..., Twin], sample: Snapshot, posts: list[str]) -> None:
    tokens = Tokens(profile_of(serve(sample, token_lifetime=2.0)), QuickClock())
    first = tokens.operator("graph")  # two seconds of life: half of it is good for a call
    SystemClock().sleep(1.2)
    second = tokens.operator("graph")
    assert second.expires_at > first.expires_at
    assert len(posts) == 2


def as_pfx(twin: Twin, path: Path, passphrase: str | None) -> Path:
    text = (twin.folder.operator).read_bytes()
    key = serialization.load_pem_private_key(text, None)
    certificate = load_pem_x509_certificate(text)
    how = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"operator", key, certificate, None, how))  # type: ignore[arg-type]  # an EC or RSA key
    return path


def encrypted_pem(twin: Twin, path: Path, passphrase: str) -> Path:
    text = twin.folder.operator.read_bytes()
    key = serialization.load_pem_private_key(text, None)
    body = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    path.write_bytes(body + text[text.index(b"-----BEGIN CERTIFICATE") :])
    return path


def test_certificates_in_every_form(shared_twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASE", "hunter2")
    phrase = SecretRef("env", "PHRASE", tmp_path)
    for operator in (
        {"certificate": shared_twin.folder.operator},
        {"certificate": encrypted_pem(shared_twin, tmp_path / "e.pem", "hunter2"), "passphrase": phrase},
        {"certificate": as_pfx(shared_twin, tmp_path / "p.pfx", "hunter2"), "passphrase": phrase},
        {"certificate": as_pfx(shared_twin, tmp_path / "n.pfx", None)},
    ):
        token = Tokens(profile_of(shared_twin, **operator), QuickClock()).operator("graph")
        assert token.object_id == shared_twin.operator.object_id


def test_a_key_that_others_can_read_is_refused(shared_twin: Twin, tmp_path: Path) -> None:
    path = tmp_path / "open.pem"
    path.write_bytes(shared_twin.folder.operator.read_bytes())
    path.chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others"):
        Tokens(profile_of(shared_twin, certificate=path), QuickClock()).operator("graph")


@pytest.mark.parametrize(
    "content", [b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", b"-----BEGIN nothing"]
)
def test_a_certificate_file_that_lacks_a_part_is_said(shared_twin: Twin, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "half.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadInput, match="must hold one private key"):
        Tokens(profile_of(shared_twin, certificate=path), QuickClock()).operator("graph")


def test_a_wrong_passphrase_is_said_before_anybody_is_asked(
    shared_twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHRASE", "wrong-hunter2")
    pfx = as_pfx(shared_twin, tmp_path / "p.pfx", "hunter2")
    operator = {"certificate": pfx, "passphrase": SecretRef("env", "PHRASE", tmp_path)}
    with pytest.raises(BadInput) as failed:
        Tokens(profile_of(shared_twin, **operator), QuickClock()).operator("graph")
    assert "wrong-hunter2" not in f"{failed.value} {failed.value.next}"


def test_device_code_tells_where_to_sign_in(shared_twin: Twin) -> None:
    said: list[str] = []
    token = Tokens(profile_of(shared_twin, device_code=True), QuickClock(), said.append).operator("graph")
    assert token.object_id == shared_twin.operator.object_id
    assert len(said) == 1
    assert "enter the code" in said[0]


def test_managed_identity_is_asked_for_a_resource(shared_twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Imds(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(
                {"access_token": "x.e30.y", "expires_in": "3600", "resource": "r", "token_type": "Bearer"}
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Imds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{server.server_port}")
    try:
        for client_id in ("11111111-1111-1111-1111-111111111111", None):
            tokens = Tokens(profile_of(shared_twin, managed_identity=True, client_id=client_id), QuickClock())
            token = tokens.exchange()
            assert token.secret.reveal() == "x.e30.y"
            assert token.tenant_id is None
    finally:
        server.shutdown()
        server.server_close()
    assert all("resource=https%3A%2F%2Foutlook.office365.com" in path for path in asked)
    assert "client_id=11111111" in asked[0]
    assert "client_id" not in asked[1]


# -- refusals -----------------------------------------------------------------------------------------------------------

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "aadsts.yaml").read_text(encoding="utf-8"))
OF_THE_PROTOCOL = {70003, 70016, 70019, 900144, 501481, 9002325}
"""Codes that only a client with a mistake of its own meets, or that go by while one waits."""
PLATFORM = Federated("reference", SecretRef("env", "PLATFORM_TOKEN", Path()))
WAYS: dict[str, dict[str, Any]] = {
    "device-code": {"device_code": True},
    "federated": {"federated": PLATFORM},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['code']}-{case.get('as', 'secret')}")
def test_every_code_says_what_the_admin_should_do(
    shared_twin: Twin, monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    monkeypatch.setenv("PLATFORM_TOKEN", "a.b.c")
    shared_twin.sign_in_faults.refuse(case["code"])
    profile = profile_of(shared_twin, **WAYS.get(case.get("as", ""), {}))
    with pytest.raises(SignInFailed, match=f"AADSTS{case['code']}") as failed:
        Tokens(profile, QuickClock()).operator("graph")
    assert case["says"] in failed.value.message
    assert case["next"] in failed.value.next
    assert "Trace ID" not in failed.value.message
    assert failed.value.request_id


def test_no_code_is_without_words() -> None:
    assert {case["code"] for case in CASES} == set(ERRORS) - TRANSIENT - OF_THE_PROTOCOL
    assert set(ERRORS) - TRANSIENT - OF_THE_PROTOCOL <= set(NEXT)


def test_fix_and_retry_in_one_process_sees_the_new_answer(twin: Twin) -> None:
    tokens = Tokens(profile_of(twin), QuickClock())
    twin.sign_in_faults.refuse(700016)
    with pytest.raises(SignInFailed):
        tokens.operator("graph")
    assert tokens.operator("graph")  # msal would repeat a 400 from its memory for a minute


def test_a_passing_fault_is_tried_again_and_a_lasting_one_told(twin: Twin) -> None:
    clock = QuickClock()
    twin.sign_in_faults.refuse(90033, times=2)
    assert Tokens(profile_of(twin), clock).operator("graph")
    assert clock.slept == [2.0, 4.0]
    twin.sign_in_faults.refuse(90006, times=3)
    with pytest.raises(Transient, match="answered HTTP 503"):
        Tokens(profile_of(twin), clock).operator("graph")


def test_an_unknown_code_still_leads_somewhere() -> None:
    error = error_of(
        {"error": "x", "error_description": "AADSTS99999999: odd. Trace ID: t Timestamp: s"}, "the operator"
    )
    assert isinstance(error, SignInFailed)
    assert error.message.endswith("AADSTS99999999: odd.")
    assert "login.microsoftonline.com/error" in error.next
    assert isinstance(error_of({"error": "server_error"}, "x"), SignInFailed)


def test_wrong_secret_wrong_tenant_unknown_app(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRONG", "hunter2-canary")
    with pytest.raises(SignInFailed, match="AADSTS7000215") as failed:
        Tokens(profile_of(twin, secret=SecretRef("env", "WRONG", Path())), QuickClock()).operator("graph")
    assert (
        "hunter2-canary"
        not in f"{failed.value!r} {failed.value.next} {failed.value.__context__!r} {failed.value.__cause__!r}"
    )
    elsewhere = msgspec.structs.replace(profile_of(twin), tenant="fabrikam.com")
    with pytest.raises(SignInFailed):
        Tokens(elsewhere, QuickClock()).operator("graph")
    with pytest.raises(SignInFailed) as unknown:
        Tokens(profile_of(twin), QuickClock()).app("33333333-3333-3333-3333-333333333333")
    assert unknown.value.code == "no-credential"
    assert not Tokens(profile_of(twin), QuickClock()).has("33333333-3333-3333-3333-333333333333")
    with pytest.raises(BadInput, match="no \\[operator\\]"):
        Tokens(msgspec.structs.replace(profile_of(twin), operator=None), QuickClock()).operator("graph")


def test_an_authority_that_is_not_there_or_not_trusted(twin: Twin) -> None:
    profile = profile_of(twin)
    ends = msgspec.structs.replace(profile.endpoints, authority="https://127.0.0.1:1")
    with pytest.raises(Transient, match="cannot be reached"):
        Tokens(msgspec.structs.replace(profile, endpoints=ends), QuickClock()).operator("graph")
    ends = msgspec.structs.replace(profile.endpoints, ca=None)
    with pytest.raises(SignInFailed, match="not trusted"):
        Tokens(msgspec.structs.replace(profile, endpoints=ends), QuickClock()).operator("graph")


def test_an_authority_cannot_send_the_secret_elsewhere(
    twin: Twin, monkeypatch: pytest.MonkeyPatch, posts: list[str]
) -> None:
    real = twin.entra.configuration

    def lying() -> dict[str, Any]:
        return {**real(), "token_endpoint": "https://localhost:1/collect"}

    monkeypatch.setattr(twin.entra, "configuration", lying)
    with pytest.raises(Exception, match="refused to send anything") as refused:
        Tokens(profile_of(twin), QuickClock()).operator("graph")
    assert getattr(refused.value, "code", "") == "foreign-origin"


def test_msal_asks_microsoft_about_an_authority_only_without_own_endpoints(
    monkeypatch: pytest.MonkeyPatch, twin: Twin
) -> None:
    import msal

    seen: list[Any] = []

    class Spy:
        def __init__(self, client_id: str, **options: Any) -> None:
            seen.append(options)

        def acquire_token_for_client(self, scopes: list[str]) -> dict[str, Any]:
            return {"access_token": "x", "expires_in": 60}

    monkeypatch.setattr(msal, "ConfidentialClientApplication", Spy)
    profile = profile_of(twin)
    Tokens(profile, QuickClock()).operator("graph")
    known = profile.cloud_endpoints
    ends = msgspec.structs.replace(profile.endpoints, own=False, authority=known.authority)
    Tokens(msgspec.structs.replace(profile, endpoints=ends), QuickClock()).operator("graph")
    assert [options["instance_discovery"] for options in seen] == [False, None]
    assert seen[1]["authority"] == f"https://login.microsoftonline.com/{profile.tenant}"


def test_no_secret_in_logs_or_reprs(
    serve: Callable[..., Twin], sample: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    twin = serve(sample)
    caplog.set_level(logging.DEBUG)
    tokens = Tokens(profile_of(twin), QuickClock())
    token = tokens.operator("graph")
    secret = (twin.folder.secrets / "operator").read_text()
    assert token.secret.reveal() not in caplog.text + repr(token) + repr(vars(tokens))
    assert secret not in caplog.text + repr(vars(tokens))


@pytest.fixture(autouse=True)
def no_other_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    yield
