"""``exoscope onboard`` over the twin: a connector as a vendor would write it signs in with what was handed over, and at no moment
reaches more than was meant; killed at the worst moments; taken back.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msal
import pytest
import requests
from msgspec.structs import replace

from exoscope.model import App, Snapshot
from exoscope.planning import content_hash
from exoscope.reach import Reach
from exoscope.twin.graph.app_management import AppManagement
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE_GROUP, decisions, load_sample, serve, session

__all__ = ["serve"]

NAME = "Omniscope Reader"
INSIDE, OUTSIDE = "ada@contoso.com", "ceo@contoso.com"
KILLED = """
import os, signal, sys
import exoscope.running.credentials as making
from exoscope.cli import program
from exoscope.cli.frame import run

where, words = sys.argv[1], sys.argv[2:]
name = "put" if where.endswith("put") else "add_secret"
real = getattr(making, name)

def killing(*given, **named):
    if where == "before put":
        os.kill(os.getpid(), signal.SIGKILL)
    real(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(making, name, killing)
run(program, words)
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")


def small() -> Snapshot:
    """The sample tenant with few mailboxes."""
    tenant = load_sample()
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    inside = next(each for each in tenant.groups if each.primary_smtp_address == OMNISCOPE_GROUP).members or ()
    kept = [each for each in tenant.recipients if each.guid in inside][:3]
    kept += [each for each in tenant.recipients if each.primary_smtp_address in (INSIDE, OUTSIDE) and each not in kept]
    return replace(tenant, recipients=tuple(kept))


class VendorConnector:
    """A mail connector as its vendor would write it: msal and requests, the client credentials flow, and nothing of exoscope."""

    def __init__(self, twin: Twin, client_id: str, credential: Any) -> None:
        self.http = session(twin)
        self.graph = twin.ready["graph"]
        self.app = msal.ConfidentialClientApplication(
            client_id,
            client_credential=credential,
            authority=twin.ready["authority"],
            instance_discovery=False,
            http_client=session(twin),
        )

    def token(self) -> dict[str, Any]:
        found: dict[str, Any] = self.app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
        return found

    def read(self, mailbox: str) -> requests.Response:
        token = self.token()
        assert "access_token" in token, token
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        return self.http.get(f"{self.graph}/users/{mailbox}/messages?$top=1", headers=headers, timeout=20)


class Desk:
    """A folder with a connector.yaml, and processes of exoscope in it."""

    def __init__(self, folder: Path, twin: Twin) -> None:
        self.folder, self.twin = folder, twin
        self.secret = folder / "omniscope.secret"
        self.output = ""
        self.environment = {
            **os.environ,
            "EXOSCOPE_PROFILE": twin.ready["profile"],
            "EXOSCOPE_STATE": str(folder / "state"),
        }

    def write(self, mechanism: str = "rbac", **lines: str) -> None:
        keys = {
            "version": "1",
            "name": NAME,
            "permissions": "[Mail.Read]",
            "mechanism": mechanism,
            "scope": f"{{group: {OMNISCOPE_GROUP}}}",
            "prove": f"{{reach: [{INSIDE}], never: [{OUTSIDE}]}}",
            "credential": "{kind: secret, lifetime: 180d, file: omniscope.secret}",
            **lines,
        }
        text = "".join(f"{key}: {value}\n" for key, value in keys.items())
        (self.folder / "connector.yaml").write_text(text, encoding="utf-8")

    def run(self, *words: str, code: int = 0, kill: str | None = None) -> Any:
        """The JSON answer of one process."""
        start = ["-m", "exoscope"] if kill is None else ["-c", KILLED, kill]
        done = subprocess.run(
            [sys.executable, *start, *words, "--json"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=self.folder,
            env=self.environment,
        )
        self.output += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    def onboard(self, code: int = 0) -> Any:
        return self.run("onboard", "connector.yaml", "-o", "plan.json", code=code)

    def apply(self, *words: str, code: int = 0, kill: str | None = None) -> Any:
        return self.run("apply", "plan.json", "--yes", *words, code=code, kill=kill)

    def resume(self, *words: str, code: int = 0) -> Any:
        return self.run("resume", "last", "--yes", *words, code=code)

    def app(self) -> App:
        (app,) = [each for each in self.twin.tenant.registered() if each.display_name == NAME]
        return app

    def connector(self) -> VendorConnector:
        return VendorConnector(self.twin, self.app().app_id, self.secret.read_text(encoding="utf-8"))

    def everything_written(self) -> str:
        """What exoscope said and wrote, but for the file that is the secret's place."""
        files = [each for each in self.folder.rglob("*") if each.is_file() and each != self.secret]
        return self.output + "".join(each.read_text(encoding="utf-8", errors="replace") for each in files)


@pytest.fixture
def desk(tmp_path: Path, serve: Callable[..., Twin]) -> Desk:
    return Desk(tmp_path, serve(small(), token_lifetime=2.0, operator_lifetime=600.0))


@contextmanager
def trying(desk: Desk) -> Iterator[None]:
    """A connector that tries all the time, from the moment its secret is there."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            time.sleep(0.05)
            if not desk.secret.exists():
                continue
            connector = desk.connector()
            if "access_token" not in connector.token():
                continue  # not known everywhere yet
            for mailbox in (INSIDE, OUTSIDE):
                connector.read(mailbox)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def assert_never_wider(desk: Desk) -> None:
    """By what the connector met, and by the rules over every state that the tenant had."""
    app_id = desk.app().app_id
    met = [(each["mailbox"], each["answer"]) for each in decisions(desk.twin) if each["app_id"] == app_id]
    assert (OUTSIDE, "denied") in met
    assert (OUTSIDE, "allowed") not in met
    for version in desk.twin.tenant.history():
        snapshot = version.view.snapshot
        here = [each for each in snapshot.apps if each.app_id == app_id]  # type: ignore[union-attr]  # the twin has them
        for app in here:
            allowed, unknown = Reach(snapshot).sets(app, "Mail.Read")
            assert OUTSIDE not in allowed, version.made
            assert OUTSIDE not in unknown, version.made


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mechanism", ["rbac", pytest.param("access-policy", marks=pytest.mark.long)])
def test_a_connector_is_handed_over_scoped_and_taken_back(desk: Desk, mechanism: str) -> None:
    start = desk.twin.tenant.snapshot()
    desk.write(mechanism)
    answer = desk.onboard()
    assert answer["apps"][0]["scoped"] is True
    with trying(desk):
        if mechanism == "access-policy":
            desk.apply("--until", "restrict", code=3)
            assert desk.app().consents == (), "nothing is consented before the policy acts and was tested"
            desk.resume("--wait", "60s")
        else:
            desk.apply("--wait", "60s")
    app = desk.app()
    assert [each.permission for each in app.consents] == ([] if mechanism == "rbac" else ["Mail.Read"])
    assert desk.twin.tenant.registrations.of(app.app_id).audience == "AzureADMyOrg"
    connector = desk.connector()
    assert connector.read(INSIDE).status_code == 200
    assert connector.read(OUTSIDE).status_code == 403
    assert_never_wider(desk)
    proof = desk.run("verify", "plan.json", "--wait", "60s")
    assert proof["verdict"] == "proven", "Graph was asked as the app, with what was handed over"
    if mechanism == "access-policy":
        assert desk.onboard()["steps"] == []
    secret = desk.secret.read_text(encoding="utf-8")
    assert secret not in desk.everything_written()
    assert os.name == "nt" or stat.S_IMODE(desk.secret.stat().st_mode) == 0o600
    desk.run("undo", "last", "--yes", "--wait", "60s")
    assert content_hash(desk.twin.tenant.snapshot()) == content_hash(start)
    assert not [each for each in desk.twin.tenant.registered() if each.display_name == NAME]
    assert "access_token" not in VendorConnector(desk.twin, app.app_id, secret).token()


@posix
@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("where", ["after add", "before put", "after put"])
def test_killed_between_making_and_handing_over(desk: Desk, where: str) -> None:
    desk.write()
    desk.onboard()
    desk.apply("--wait", "60s", code=-signal.SIGKILL, kill=where)
    assert len(desk.app().credentials) == 1  # type: ignore[arg-type]  # the twin knows them
    dead = desk.app().credentials[0].key_id  # type: ignore[index]  # as above
    answer = desk.resume("--wait", "60s")
    assert answer["outcome"] == "done"
    (live,) = desk.app().credentials  # type: ignore[misc]  # as above
    assert desk.connector().read(INSIDE).status_code == 200, "what was handed over is what lives"
    assert answer["run"] in (live.display_name or "")
    if where == "after put":
        assert live.key_id == dead, "it lay in its place, and works"
    else:
        assert live.key_id != dead
        assert "another one is made" in desk.output
    assert desk.secret.read_text(encoding="utf-8") not in desk.everything_written()


@pytest.mark.long
@pytest.mark.timeout(240)
def test_the_place_is_checked_before_anything_is_made(desk: Desk) -> None:
    desk.write()
    desk.onboard()
    desk.secret.write_text("somebody's", encoding="utf-8")
    answer = desk.apply(code=2)
    assert answer["error"]["code"] == "exists"
    assert "Nothing was made" in answer["error"]["message"]
    assert not [each for each in desk.twin.tenant.registered() if each.display_name == NAME]
    assert desk.secret.read_text(encoding="utf-8") == "somebody's"
    # Nobody is at a terminal here.
    desk.write(credential="{lifetime: 9d, terminal: true}")
    desk.onboard()
    assert desk.apply(code=2)["error"]["code"] == "no-terminal"


@pytest.mark.long
@pytest.mark.timeout(240)
def test_the_tenants_policy_is_looked_at_before_anything_is_made(desk: Desk) -> None:
    desk.twin.graph.registrations.credentials.policy = AppManagement(enabled=True, secret_lifetime=timedelta(days=90))
    desk.write()
    desk.onboard()
    answer = desk.apply(code=4)
    assert (answer["outcome"], answer["apps"][0]["code"]) == ("refused", "lifetime-not-allowed")
    assert not [each for each in desk.twin.tenant.registered() if each.display_name == NAME]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_news_that_spreads_slowly_is_waited_for(desk: Desk) -> None:
    desk.twin.tenant.spreading.lag = timedelta(seconds=3)
    desk.write("access-policy", credential="{kind: certificate, lifetime: 90d, file: omniscope.secret}")
    desk.onboard()
    desk.apply("--wait", "120s")
    pem = desk.secret.read_text(encoding="utf-8")
    connector = VendorConnector(desk.twin, desk.app().app_id, {"private_key": pem, "public_certificate": pem})
    assert connector.read(INSIDE).status_code == 200
    assert connector.read(OUTSIDE).status_code == 403


@pytest.mark.long
@pytest.mark.timeout(240)
def test_an_app_of_that_name_is_not_taken_over(desk: Desk) -> None:
    theirs = App("11111111-2222-3333-4444-555555555555", "", "66666666-2222-3333-4444-555555555555", NAME, (), ())
    desk.twin.tenant.put_registered(replace(theirs, credentials=(), tags=()))
    desk.write()
    desk.onboard()  # a snapshot shows service principals: this app has none
    answer = desk.apply(code=4)
    assert (answer["outcome"], answer["apps"][0]["code"]) == ("refused", "name-clash")
    assert len([each for each in desk.twin.tenant.registered() if each.display_name == NAME]) == 1


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mechanism", ["rbac", "access-policy"])
def test_a_plan_that_makes_a_secret_is_in_no_script_until_that_is_done(desk: Desk, mechanism: str) -> None:
    desk.write(mechanism)
    desk.onboard()
    assert desk.run("script", "plan.json", "-o", "scripts", code=4)["error"]["code"] == "makes-secret"
    assert desk.run("script", "plan.json", "-o", "scripts", "--check", code=4)["error"]["code"] == "not-registered"
    assert desk.run("verify", "plan.json", code=4)["error"]["code"] == "not-registered"
    shown = desk.run("show", "plan.json")
    assert shown["purpose"] == "onboard"
    desk.apply("--until", "register", code=3)
    written = desk.run("script", "plan.json", "-o", "scripts")
    assert len(written["files"]) == (1 if mechanism == "rbac" else 2)
    for file in written["files"]:
        text = (desk.folder / "scripts" / file["file"]).read_text(encoding="utf-8-sig")
        assert desk.app().app_id in text
        assert not any(f"<step-{number}." in text for number in (1, 2, 3)), "what is known stands there"
        desk.run("guard", f"scripts/{file['file']}")
    assert desk.run("script", "plan.json", "-o", "scripts", "--undo", code=4)["error"]["code"] == "makes-secret"


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mechanism", ["rbac", "access-policy"])
def test_it_is_rehearsed_like_any_other_plan(desk: Desk, mechanism: str) -> None:
    desk.write(mechanism)
    desk.onboard()
    answer = desk.run("rehearse", "plan.json", "--snapshot", "plan.snapshot.json")
    assert (answer["verdict"], answer["undone"], answer["why"]) == ("proven", True, [])
    assert not desk.secret.exists(), "a rehearsal hands nothing over"


KILLER = Path(__file__).resolve().parents[1] / "running_killer.py"


def assert_one_of_each(desk: Desk) -> None:
    """One app, one pointer to it, one secret, which is the one that was handed over."""
    app = desk.app()
    (secret,) = app.credentials  # type: ignore[misc]  # the twin knows them
    now = desk.twin.tenant.snapshot()
    assert [each.app_id for each in now.service_principals if each.app_id == app.app_id] == [app.app_id]  # type: ignore[union-attr]  # as above
    assert (secret.display_name or "").startswith("exoscope ")
    assert desk.connector().read(INSIDE).status_code == 200
    assert desk.connector().read(OUTSIDE).status_code == 403


@posix
@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_between_any_two_records(desk: Desk) -> None:
    desk.write()
    desk.onboard()
    desk.environment["PYTHONPATH"] = str(KILLER.parent)

    def process(how: str, number: int, *words: str) -> int:
        done = subprocess.run(
            [sys.executable, str(KILLER), how, str(number), *words, "--yes", "--json", "--wait", "60s"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=desk.folder,
            env=desk.environment,
        )
        desk.output += done.stdout + done.stderr
        return done.returncode

    assert process("after", 1, "apply", "plan.json") == -signal.SIGKILL
    kills = 0
    for turn in range(60):
        # Each process dies at its 2nd to 4th record, in turns before and after it is written: every boundary is met.
        code = process("after" if turn % 2 else "before", 2 + turn % 3, "resume", "last")
        if code != -signal.SIGKILL:
            break
        kills += 1
    assert code == 0, desk.output
    assert kills >= 6
    assert_one_of_each(desk)
    assert_never_wider(desk)
    assert desk.secret.read_text(encoding="utf-8") not in desk.everything_written()


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", ["/applications", "/servicePrincipals", "/addPassword"])
@pytest.mark.parametrize("arrived", [True, False], ids=["it arrived", "it did not"])
def test_an_answer_that_is_lost_leaves_one_of_each(desk: Desk, path: str, arrived: bool) -> None:
    desk.write()
    desk.onboard()
    desk.twin.graph_faults.drop(method="POST", path=path, after_acting=arrived)
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", "apply", "plan.json", "--yes", "--json", "--wait", "60s"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=desk.folder,
        env=desk.environment,
    )
    desk.output += done.stdout + done.stderr
    if done.returncode == 5:
        desk.resume("--wait", "60s")
    else:
        assert done.returncode == 0, desk.output
    assert_one_of_each(desk)
