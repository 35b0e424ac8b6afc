"""login, whoami and logout as a user types them: at a terminal with a browser, and where nobody is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fake_browser
from exoscope.twin.server import Twin
from twin_fixtures import shared_twin

__all__ = ["shared_twin"]

pty: Any = pytest.importorskip("pty", reason="a terminal is made with pty, which Windows has not")

PLAIN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.")
"""What every token of ours looks like."""


class Desk:
    """A profile whose operator is a person, and processes of exoscope."""

    def __init__(self, folder: Path, twin: Twin, operator: str) -> None:
        text = Path(twin.ready["profile"]).read_text(encoding="utf-8")
        table = re.compile(r"^\[operator\]\n(?:[^\[\n].*\n|\n)*", re.MULTILINE)
        assert table.search(text)
        # beside the one that the sandbox wrote: its paths are relative
        self.profile = Path(twin.ready["profile"]).with_name(f"{folder.name}.toml")
        self.profile.write_text(table.sub(f"{operator}\n", text), encoding="utf-8")
        browser = f"{sys.executable} {fake_browser.__file__} {twin.ready['ca']} %s &"  # not waited for
        self.environ = {
            **os.environ,
            "EXOSCOPE_PROFILE": str(self.profile),
            "XDG_STATE_HOME": str(folder / "state"),
            "BROWSER": browser,
        }

    def run(self, *words: str) -> tuple[int, Any, str]:
        """Without a terminal: exit code, the JSON answer (or text), stderr."""
        done = subprocess.run(
            [sys.executable, "-m", "exoscope", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert not PLAIN.search(done.stdout + done.stderr)
        return done.returncode, json.loads(done.stdout) if "--json" in words else done.stdout, done.stderr

    def at_terminal(self, *words: str) -> tuple[int, Any, str]:
        """At a terminal, but for stdout, which is a pipe: exit code, the JSON answer, what the terminal shows."""
        ours, theirs = pty.openpty()
        try:
            started = subprocess.Popen(
                [sys.executable, "-m", "exoscope", *words],
                env=self.environ,
                stdin=theirs,
                stderr=theirs,
                stdout=subprocess.PIPE,
                text=True,
            )
            os.close(theirs)
            out, _ = started.communicate(timeout=100)
            shown = b""
            while True:
                try:
                    read = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                if not read:
                    break
                shown += read
        finally:
            os.close(ours)
        told = shown.decode()
        assert not PLAIN.search(out + told)
        return started.returncode, json.loads(out) if "--json" in words else out, told


def person(twin: Twin, more: str = "") -> str:
    return f'[operator]\nkind = "interactive"\nclient_id = "{twin.operator.app_id}"\n{more}'


def test_a_sign_in_is_kept_and_removed(shared_twin: Twin, tmp_path: Path) -> None:
    desk = Desk(tmp_path, shared_twin, person(shared_twin, 'cache = "file"\n'))
    code, answer, _ = desk.run("whoami", "--json")
    assert code == 6
    assert [each["signed_in"] for each in answer["operators"]] == [False, False]
    assert answer["operators"][0]["next"] == "Sign in: exoscope login."
    code, answer, told = desk.at_terminal("login", "--json")
    assert code == 0, told
    assert "Sign in in the browser" in told
    assert {each["user"] for each in answer["operators"]} == {shared_twin.operator.upn}
    (kept,) = answer["kept"]
    assert Path(kept).is_relative_to(tmp_path / "state")
    code, answer, _ = desk.run("whoami", "--json")
    assert code == 0
    assert {each["source"] for each in answer["operators"]} == {"kept sign-in (file)"}
    assert answer["operators"][0]["scopes"] == ["Exchange.Manage"]
    assert answer["tenant"] == shared_twin.tenant.state.tenant.id
    code, text, _ = desk.run("whoami")
    assert code == 0
    assert f"Exchange: {shared_twin.operator.upn}, until 20" in text
    assert f"client {shared_twin.operator.app_id}, from kept sign-in (file)" in text
    # nobody is at a terminal, and no command needs anybody
    code, answer, told = desk.run("snapshot", "-o", str(tmp_path / "tenant.json"), "--json")
    assert code == 0, told
    assert answer["unread"] == []
    assert desk.run("logout", "--json")[:2] == (0, {"profile": str(desk.profile), "removed": [kept]})
    assert desk.run("logout")[:2] == (0, "Nothing was kept.\n")
    code, answer, _ = desk.run("snapshot", "-o", str(tmp_path / "again.json"), "--json")
    assert (code, answer["error"]["code"]) == (6, "no-terminal")


def test_without_operator_only_at_a_terminal(shared_twin: Twin, tmp_path: Path) -> None:
    desk = Desk(tmp_path, shared_twin, "")
    code, answer, _ = desk.run("login", "--json")
    assert (code, answer["error"]["code"]) == (2, "bad-input")
    code, answer, told = desk.at_terminal("login", "--json")
    assert code == 0, told
    assert "Nothing was kept" in told
    assert answer["kept"] == []
    assert [each["client_id"] for each in answer["operators"]] == [
        "fb78d390-0c51-40cd-8e17-fdbfab77341b",
        "14d82eec-204b-4c2f-b7e8-296a70dab67e",
    ]


def test_an_app_is_somebody_too(shared_twin: Twin, tmp_path: Path) -> None:
    profile = shared_twin.ready["profile"]
    desk = Desk(tmp_path, shared_twin, "")
    code, answer, told = desk.run("login", "--profile", profile, "--json")
    assert code == 0
    assert "Nothing is kept for secret: each command signs in by itself." in told
    exchange, graph = answer["operators"]
    assert (exchange["user"], exchange["roles"], exchange["source"]) == (
        None,
        ["Exchange.ManageAsApp"],
        "secret file:secrets/operator",
    )
    assert "Organization.Read.All" in graph["roles"]
    shared_twin.sign_in_faults.refuse(7000222, times=2)
    code, answer, _ = desk.run("whoami", "--profile", profile, "--json")
    assert code == 6
    assert "AADSTS7000222" in answer["operators"][0]["problem"]
    shared_twin.sign_in_faults.refuse(7000222)
    code, answer, _ = desk.run("login", "--profile", profile, "--json")
    assert (code, answer["error"]["code"]) == (6, "sign-in-failed")
    assert answer["error"]["changed"] is False
