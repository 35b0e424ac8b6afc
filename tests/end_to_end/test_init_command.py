"""`exoscope init`, asked and answered on a terminal, and told by options, against the twin."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exoscope.profile import AdminApiRoad, load_profile
from exoscope.twin.server import Twin
from twin_fixtures import shared_twin

__all__ = ["shared_twin"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is POSIX")


class Admin:
    """Somebody who types in an empty folder, on a machine without PowerShell."""

    def __init__(self, here: Path, twin: Twin) -> None:
        self.here, self.twin = here, twin
        self.sandbox = Path(twin.ready["profile"])
        operator = load_profile(self.sandbox, {}).operator
        assert operator is not None
        assert operator.secret is not None
        self.client_id = str(operator.client_id)
        self.secret = f"file:{self.sandbox.parent / operator.secret.text}"
        nothing = here / "bin"
        nothing.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "EXOSCOPE_PWSH"},
            "PATH": str(nothing),
            "EXOSCOPE_STATE": str(here / "state"),
        }

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "exoscope", "init", "--endpoints", str(self.sandbox), *words]

    def type(self, *words: str) -> tuple[int, Any, str]:
        """Exit code, JSON answer and talk, where nobody can be asked."""
        done = subprocess.run(
            [*self.words(*words), "--json"],
            cwd=self.here,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        lines = done.stdout.strip().splitlines()
        return done.returncode, json.loads(lines[-1]) if lines else None, done.stderr

    def converse(self, answers: dict[str, str], *words: str) -> tuple[int, str]:
        """Exit code and all that was on the screen: each question is answered when it stands there."""
        import pty

        ours, theirs = pty.openpty()
        with subprocess.Popen(
            self.words(*words), cwd=self.here, env=self.environment, stdin=theirs, stdout=theirs, stderr=theirs
        ) as child:
            os.close(theirs)
            screen, left, until = "", dict(answers), time.monotonic() + 90
            for text in _shown(ours, until):
                screen += text
                for question in [each for each in left if each in screen]:
                    os.write(ours, f"{left.pop(question)}\n".encode())
            os.close(ours)
            code = child.wait(timeout=30)
        assert not left, f"never asked: {left}\n{screen}"
        return code, screen


def _shown(terminal: int, until: float) -> Iterator[str]:
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError:  # Linux: the other side is closed
            return
        if not data:
            return
        yield data.decode("utf-8", "replace")
    raise AssertionError("the conversation came to no end")


@pytest.fixture
def admin(tmp_path: Path, shared_twin: Twin) -> Admin:
    return Admin(tmp_path, shared_twin)


@posix
def test_what_cannot_be_right_is_asked_again_and_not_shown(admin: Admin) -> None:
    answers = {
        "A domain of your tenant": admin.twin.tenant.state.tenant.domain,
        "Take Exchange's admin API?": "y",
        "How do you sign in": "password",
        "it must be one of interactive, device-code": "secret",
        "Client id of the operator": "exoscope operator",
        "it must be an application (client) id": admin.client_id,
        "Where its secret is": "nosuchref",
        "it must be a reference (env:NAME": admin.secret,
    }
    code, screen = admin.converse(answers)
    assert code == 0, screen
    assert screen.count("nosuchref") == 1, "what the terminal echoed as it was typed, and no more"
    assert load_profile(admin.here / "exoscope.toml", {}).tenant == admin.twin.tenant.state.tenant.id


@posix
def test_a_conversation_ends_with_a_profile_that_works(admin: Admin) -> None:
    domain = admin.twin.tenant.state.tenant.domain
    answers = {
        "A domain of your tenant": "contoso.com",
        "Take Exchange's admin API?": "y",
        "How do you sign in": "secret",
        "Client id": admin.client_id,
        "Where its secret is": admin.secret,
    }
    code, screen = admin.converse(answers)
    assert code == 0, screen
    assert "no PowerShell of this machine loads ExchangeOnlineManagement" in screen, "the road is said with its reason"
    made = load_profile(admin.here / "exoscope.toml", {})
    assert made.tenant == admin.twin.tenant.state.tenant.id
    assert made.organization == domain
    assert isinstance(made.transport, AdminApiRoad)
    assert (admin.here / "exoscope.toml").stat().st_mode & 0o077 == 0
    secret = Path(admin.secret.removeprefix("file:")).read_text("utf-8")
    assert secret not in screen
    assert secret not in (admin.here / "exoscope.toml").read_text("utf-8")


def test_options_say_everything_where_nobody_can_be_asked(admin: Admin) -> None:
    domain = admin.twin.tenant.state.tenant.domain
    told = ("--tenant", domain, "--sign-in", "secret", "--client-id", admin.client_id, "--secret", admin.secret)
    code, _, talk = admin.type("--yes", *told[:-2])
    assert (code, "give --secret" in talk) == (2, True), talk
    code, error, _ = admin.type(*told)
    assert (code, error["error"]["code"]) == (2, "no-road")
    code, error, _ = admin.type("--yes", "--tenant", "fabrikam.com", *told[2:])
    assert (code, error["error"]["code"]) == (2, "tenant-unknown")
    code, error, _ = admin.type("--yes", *told[:-2], "--secret", f"file:{_wrong(admin)}")
    assert code == 6
    assert "Invalid client secret" in error["error"]["message"]
    assert not (admin.here / "exoscope.toml").exists(), "nothing is left of an attempt that could not sign in"
    code, answer, talk = admin.type("--yes", *told)
    assert code == 0, talk
    assert {each["state"] for each in answer["lines"]} <= {"ok", "note"}
    before = (admin.here / "exoscope.toml").read_bytes()
    code, error, _ = admin.type("--yes", *told)
    assert (code, error["error"]["message"]) == (2, "exoscope.toml is there already")
    assert (admin.here / "exoscope.toml").read_bytes() == before


def _wrong(admin: Admin) -> Path:
    path = admin.here / "wrong"
    path.write_text("not-the-secret", "utf-8")
    path.chmod(0o600)
    return path
