"""Commands with a profile that names no road: one is chosen and said, the admin API only after a yes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exoscope
from exoscope.twin.exchange.call import CmdletError
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh
from twin_fixtures import shared_twin

__all__ = ["shared_twin"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")
MISSING = CmdletError("System.IO.FileNotFoundException", "The module was not loaded.", category="ResourceUnavailable")


class Desk:
    """A profile without a road, a pwsh that answers, and processes of exoscope."""

    def __init__(self, folder: Path, twin: Twin, fake: FakePwsh) -> None:
        self.folder, self.twin, self.fake = folder, twin, fake
        text = Path(twin.ready["profile"]).read_text(encoding="utf-8")
        road = re.compile(r"^\[transport\]\n(?:[^\[\n].*\n|\n)*", re.MULTILINE)
        assert road.search(text)
        # beside the one that the sandbox wrote: its paths are relative
        self.profile = Path(twin.ready["profile"]).with_name(f"{folder.name}.toml")
        self.profile.write_text(road.sub("", text), encoding="utf-8")
        self.environ = {
            **os.environ,
            "EXOSCOPE_PROFILE": str(self.profile),
            "EXOSCOPE_PWSH": str(fake.path),
            "EXOSCOPE_STATE": str(folder / "state"),
        }
        (folder / "scope.yaml").write_text(
            "version: 1\napps:\n  - app: Omniscope Email Connector (App-Only)\n    permissions: [Mail.Read]\n"
            "    mechanism: rbac\n    scope: {group: omniscope-mailboxes@contoso.com}\n",
            encoding="utf-8",
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "exoscope", *words],
            cwd=self.folder,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            **{"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options},
        )

    def run(self, *words: str) -> tuple[int, Any, str]:
        """Exit code, JSON answer, talk."""
        with self.start(*words, "--json") as process:
            out, talk = process.communicate(timeout=100)
        return process.returncode, json.loads(out) if out else None, talk


@pytest.fixture
def desk(tmp_path: Path, shared_twin: Twin) -> Iterator[Desk]:
    fake = FakePwsh(tmp_path, shared_twin)
    yield Desk(tmp_path, shared_twin, fake)
    fake.close()
    shared_twin.faults.clear()


def without_module(desk: Desk, times: int = 1) -> None:
    desk.twin.faults.fail("Import-Module", MISSING, times)


def test_a_pwsh_that_loads_the_module_is_taken_and_said(desk: Desk) -> None:
    code, answer, talk = desk.run("snapshot", "-o", "tenant.json")
    assert (code, answer["unread"]) == (0, []), talk
    assert 'Road to Exchange: "pwsh". The profile names none, and' in talk
    assert f"{desk.fake.path} (PowerShell 7.6.0) loads ExchangeOnlineManagement 3.9.2" in talk
    assert len(desk.fake.pids) == 2, "one was tried, one worked"


def test_a_yes_takes_the_admin_api(desk: Desk) -> None:
    without_module(desk)
    code, answer, talk = desk.run("plan", "scope.yaml", "-o", "plan.json", "--yes")
    assert (code, answer["hash"][:7]) == (0, "sha256:"), talk
    assert 'Road to Exchange: "admin-api"' in talk
    assert "The module was not loaded." in talk
    assert "Microsoft does not document it" in talk
    assert len(desk.fake.pids) == 1


SESSIONS = (
    ("snapshot", "-o", "tenant.json"),
    ("plan", "scope.yaml", "-o", "plan.json"),
    ("verify", "scope.yaml"),
    ("apply", "plan.json", "--hash", "sha256:00"),
    ("resume", "last"),
)


@pytest.mark.parametrize("words", SESSIONS, ids=lambda words: words[0])
def test_nobody_there_and_no_yes_is_no_road(desk: Desk, words: tuple[str, ...]) -> None:
    if words[0] == "apply":
        snapshot = exoscope.load_snapshot(Path(exoscope.__file__ or "").parent / "data" / "sample_tenant.json")
        (desk.folder / "plan.json").write_bytes(exoscope.dump_plan(exoscope.plan(snapshot, desk.folder / "scope.yaml")))
    without_module(desk)
    code, answer, talk = desk.run(*words)
    assert (code, answer["error"]["code"], answer["error"]["changed"]) == (2, "no-road", False), talk
    assert "--yes takes Exchange's admin API" in answer["error"]["next"]
    assert not (desk.folder / "tenant.json").exists()
    assert not (desk.folder / "state").exists()


def test_undo_asks_for_its_yes_first_and_it_is_for_the_road_too(desk: Desk) -> None:
    code, answer, _ = desk.run("undo", "last")
    assert (code, answer["error"]["code"]) == (2, "usage")
    without_module(desk)
    code, _, talk = desk.run("undo", "last", "--yes")
    assert 'Road to Exchange: "admin-api"' in talk
    assert code == 2, "there is no such run"


def test_a_pwsh_that_was_named_and_is_not_there_is_an_error(desk: Desk) -> None:
    desk.environ["EXOSCOPE_PWSH"] = "/nowhere/pwsh"
    code, answer, _ = desk.run("snapshot", "-o", "tenant.json", "--yes")
    assert (code, answer["error"]["code"]) == (2, "no-pwsh")


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("n\n", 4), ("\n", 4)], ids=["yes", "no", "enter"])
def test_a_terminal_is_asked(desk: Desk, said: str, code: int) -> None:
    import pty

    without_module(desk)
    ours, theirs = pty.openpty()
    with desk.start("snapshot", "-o", "tenant.json", "--json", stdin=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, said.encode())
        talk = read_all(ours)
        answer = json.loads(process.communicate(timeout=100)[0])
    os.close(ours)
    assert process.returncode == code, talk
    assert "Take Exchange's admin API? Microsoft does not document it" in talk
    if code:
        assert answer["error"]["code"] == "not-approved"
        assert 'Road to Exchange: "admin-api"' not in talk
    assert (desk.folder / "tenant.json").exists() is (code == 0)


def read_all(terminal: int) -> str:
    """Everything said to a terminal until the last who had it open ended."""
    said = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux tells the end of the other side so
            piece = b""
        if not piece:
            return said.decode()
        said += piece


def test_yes_is_not_said_where_there_is_no_road_to_take(desk: Desk) -> None:
    code, answer, _ = desk.run("plan", "scope.yaml", "--snapshot", "tenant.json", "-o", "plan.json", "--yes")
    assert (code, answer["error"]["code"]) == (2, "usage")


def test_the_python_api_says_yes_by_a_parameter(desk: Desk) -> None:
    without_module(desk, 2)
    told: list[str] = []
    with (
        exoscope.Tenant.connect(desk.profile, environ=desk.environ, progress=told.append) as tenant,
        pytest.raises(exoscope.BadInput) as refused,
    ):
        tenant.snapshot()
    assert refused.value.code == "no-road"
    assert "admin_api=True" in refused.value.next
    with exoscope.Tenant.connect(desk.profile, environ=desk.environ, progress=told.append, admin_api=True) as tenant:
        assert tenant.snapshot().unread == ()
        assert tenant.profile.transport is not None
        assert tenant.profile.transport.kind == "admin-api"
    assert sum(text.startswith("Road to Exchange") for text in told) == 1
    assert len(desk.fake.pids) == 2, "tried once a tenant"
