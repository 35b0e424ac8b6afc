"""``exoscope sandbox serve`` as a process: its ready line, its folder, its end, and what it will not do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from exoscope import snapshot
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange.tests import test_policy as check_policy
from exoscope.profile import load_profile, resolve
from exoscope.reading import Connection
from twin_fixtures import OMNISCOPE, app_named, load_sample

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and modes of POSIX")


@contextlib.contextmanager
def sandbox(*options: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "exoscope", "sandbox", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environ},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=30)[1])
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exoscope", "sandbox", "serve", *options],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def sign_in(ready: dict[str, Any], app_id: str) -> requests.Response:
    form = {
        "client_id": app_id,
        "client_secret": Path(ready["secrets"][app_id]).read_text(),
        "grant_type": "client_credentials",
        "scope": "https://graph.microsoft.com/.default",
    }
    return requests.post(f"{ready['authority']}/oauth2/v2.0/token", data=form, verify=ready["ca"], timeout=20)


@posix
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_told_to_stop(ending: signal.Signals, tmp_path: Path) -> None:
    with sandbox(TMPDIR=str(tmp_path)) as (process, ready):
        assert set(ready) == {
            "wsman",
            "admin_api",
            "graph",
            "authority",
            "ca",
            "module",
            "profile",
            "decisions",
            "secrets",
        }
        assert urlsplit(ready["wsman"]).path == "/wsman"
        assert urlsplit(ready["graph"]).path == "/v1.0"
        profile = load_profile(Path(ready["profile"]), {})
        assert urlsplit(ready["authority"]).path == f"/{profile.tenant}"
        for key in ("wsman", "admin_api", "graph", "authority"):
            assert urlsplit(ready[key]).hostname == "127.0.0.1"
        for app_id in ready["secrets"]:
            assert sign_in(ready, app_id).status_code in (200, 401), "401: the sample's disabled app"
        folder = Path(ready["profile"]).parent
        assert folder.is_relative_to(tmp_path)
        process.send_signal(ending)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
        assert not folder.exists(), "the temporary folder is removed"


@posix
def test_everything_in_the_folder_is_its_owners(tmp_path: Path) -> None:
    with sandbox("--dir", str(tmp_path / "box")) as (process, ready):
        files = [path for path in (tmp_path / "box").rglob("*") if path.is_file()]
        assert {Path(p) for p in (ready["ca"], ready["profile"], ready["decisions"], *ready["secrets"].values())} <= {
            path.resolve() for path in files
        }
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
        assert stat.S_IMODE((tmp_path / "box").stat().st_mode) == 0o700
        told = process.stdout
        assert told is not None
        for path in ready["secrets"].values():
            assert Path(path).read_text() not in json.dumps(ready)
            assert Path(path).read_text() not in Path(ready["profile"]).read_text()


def test_the_profile_is_ready_to_use(tmp_path: Path) -> None:
    options = ("--dir", str(tmp_path / "box"), "--propagation", "1.5", "--token-lifetime", "4")
    options += ("--operator-lifetime", "600")
    with sandbox(*options) as (_, ready):
        profile = load_profile(Path(ready["profile"]), {})
        waits = profile.waits
        assert (waits.cache, waits.token, waits.managed_identity, waits.long_token) == (1.5, 4, 4, 4)
        assert profile.organization == "contoso.onmicrosoft.com"
        assert profile.state == (tmp_path / "box" / "state").resolve()
        assert profile.transport is not None
        assert (profile.transport.url, profile.transport.auth) == (ready["wsman"], "basic")
        assert profile.endpoints.graph + "/v1.0" == ready["graph"]
        assert f"{profile.endpoints.authority}/{profile.tenant}" == ready["authority"]
        assert set(profile.apps) == {app_id.casefold() for app_id in ready["secrets"]}
        for app_id, path in ready["secrets"].items():
            credential = profile.credential(app_id)
            assert credential is not None
            assert credential.secret is not None
            assert resolve(credential.secret, {}).reveal() == Path(path).read_text()
        assert profile.operator is not None
        assert profile.operator.client_id not in ready["secrets"]
        tokens = Tokens(profile, SystemClock())
        lives = [tokens.operator("graph"), tokens.app(next(iter(ready["secrets"])))]
        assert [(each.expires_at - each.issued_at).total_seconds() for each in lives] == [600, 4]


def test_another_tenant_is_brought_to_life(tmp_path: Path) -> None:
    whole = load_sample()
    other = msgspec.structs.replace(whole.tenant, id="bbbbbbbb-0000-4000-8000-cccccccccccc")
    tenant = msgspec.structs.replace(whole, apps=whole.apps[:1], tenant=other)
    file = tmp_path / "tenant.json"
    file.write_bytes(snapshot.dumps(tenant))
    with sandbox("--snapshot", str(file)) as (_, ready):
        assert list(ready["secrets"]) == [whole.apps[0].app_id]
        assert ready["authority"].endswith(other.id)


def test_one_port_for_everything(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with sandbox("--port", str(port), "--dir", str(tmp_path / "box")) as (_, ready):
        assert {urlsplit(ready[key]).port for key in ("wsman", "graph", "authority")} == {port}
        token = sign_in(ready, next(iter(ready["secrets"]))).json()["access_token"]
        answer = requests.get(
            f"{ready['graph']}/users/ada@contoso.com/messages?$select=id",
            headers={"Authorization": f"Bearer {token}"},
            verify=ready["ca"],
            timeout=20,
        )
        assert answer.status_code == 200
        assert requests.post(ready["wsman"], verify=ready["ca"], timeout=20).status_code == 401
        second = run("--port", str(port))
        assert second.returncode == 2
        assert str(port) in second.stderr


def test_one_sandbox_a_folder(tmp_path: Path) -> None:
    box = str(tmp_path / "box")
    with sandbox("--dir", box) as (_, first):
        second = run("--dir", box)
        assert second.returncode == 2
        assert "another sandbox serves from" in second.stderr
        assert sign_in(first, next(iter(first["secrets"]))).status_code == 200, "the first one is untouched"
    (tmp_path / "box" / "state" / "kept").write_text("a journal")
    with sandbox("--dir", box) as (_, again):
        assert sign_in(again, next(iter(again["secrets"]))).status_code == 200
        assert (tmp_path / "box" / "state" / "kept").exists()


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "exoscope.toml"
    own.write_text("tenant = 'contoso.com'")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "mine").write_text("x")
    ended = run("--dir", str(tmp_path))
    assert ended.returncode == 2
    assert "which no sandbox wrote" in ended.stderr
    assert own.read_text() == "tenant = 'contoso.com'"
    assert (tmp_path / "secrets" / "mine").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--snapshot", "{tmp}/none.json"), "cannot be read"),
        (("--snapshot", "{tmp}/bad.json"), "bad.json"),
        (("--port", "70000"), "--port"),
        (("--propagation", "-1"), "--propagation"),
        (("--token-lifetime", "0"), "--token-lifetime"),
        (("--throttle", "0"), "--throttle"),
        (("--dir", "{tmp}/bad.json"), "--dir"),
        (("--behaviour", "nested=ignored"), "nested=ignored"),
    ],
)
def test_bad_options_end_with_2(tmp_path: Path, options: tuple[str, str], told: str) -> None:
    (tmp_path / "bad.json").write_text('{"format": "exoscope/snapshot@1"}')
    ended = run(options[0], options[1].replace("{tmp}", str(tmp_path)))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert told in ended.stderr


@pytest.mark.parametrize(("words", "said"), [((), "denied"), (("--behaviour", "wildcard=ignored"), "granted")])
def test_it_behaves_as_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    sample = load_sample()
    assert isinstance(sample.access_policies, tuple)
    assert isinstance(sample.recipients, tuple)
    everybody = msgspec.structs.replace(sample.access_policies[1], app_id="*")
    snapshot.save(msgspec.structs.replace(sample, access_policies=(everybody,)), tmp_path / "tenant.json")
    ceo = next(each for each in sample.recipients if each.primary_smtp_address == "ceo@contoso.com")
    with sandbox("--snapshot", str(tmp_path / "tenant.json"), *words) as (_, ready):
        profile = load_profile(Path(ready["profile"]), os.environ)
        with Connection(profile, SystemClock()) as connection:
            assert check_policy(connection.exchange, ceo.guid, app_named(sample, OMNISCOPE).app_id) == said


def test_the_module_of_a_running_sandbox(tmp_path: Path) -> None:
    def module(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "exoscope", "sandbox", "module", *options],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    with sandbox("--dir", str(tmp_path / "box")) as (_, ready):
        done = module(str(tmp_path / "modules"), "--profile", ready["profile"], "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"module": str(tmp_path / "modules")}
        name = "ExchangeOnlineManagement/ExchangeOnlineManagement.psm1"
        written = (tmp_path / "modules" / name).read_text(encoding="utf-8-sig")
        assert written == (Path(ready["module"]) / name).read_text(encoding="utf-8-sig")
        assert ready["admin_api"].startswith(written.partition("Origin = '")[2].partition("'")[0])
        for secret in ready["secrets"].values():
            assert Path(secret).read_text() not in written
    elsewhere = tmp_path / "exoscope.toml"
    elsewhere.write_text('tenant = "contoso.onmicrosoft.com"\n', encoding="utf-8")
    refused = module(str(tmp_path / "other"), "--profile", str(elsewhere))
    assert refused.returncode == 2
    assert "is no sandbox's profile" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_a_powershell_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run("--pwsh", str(tmp_path / "pwsh"))
    assert done.returncode == 2
    assert "no program that can be run" in done.stderr
