"""``verify --temporary-credential``: Graph as a witness where no credential is at hand, and nothing left behind."""

from __future__ import annotations

import importlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exoscope.twin
from exoscope.cli import frame, program
from exoscope.running.credentials import Maker
from exoscope.twin.server import Twin
from reading_results import few
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample

CRM = "Fabrikam CRM Connector"
VERIFY = importlib.import_module("exoscope.checking.verify")  # the room's own name is the function
KILLER = Path(__file__).parents[1] / "credentials_killer.py"


class Desk:
    """A served tenant, a profile that names no credential of any app, and the command."""

    def __init__(self, twin: Twin, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.twin, self.folder, self._capsys = twin, folder, capsys
        self.profile = twin.folder.path / "nobody.toml"
        whole = Path(twin.ready["profile"]).read_text(encoding="utf-8")
        self.profile.write_text(re.sub(r"\n\[apps\.[^\n]*\n[^\[]*", "\n", whole), encoding="utf-8")
        self.talk = ""

    def words(self, *words: object, app: str = OMNISCOPE) -> list[str]:
        intent = self.folder / "scope.yaml"
        intent.write_text(
            f"version: 1\napps:\n  - app: {app}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
            f"    scope: {{group: {OMNISCOPE_GROUP}}}\n"
        )
        state = ["--state", str(self.folder / "state")]
        return [
            "verify",
            str(intent),
            "--profile",
            str(self.profile),
            *state,
            "--sample",
            "3",
            "--json",
            *map(str, words),
        ]

    def verify(self, *words: object, code: int | None = None, app: str = OMNISCOPE) -> Any:
        ended = frame._outcome(program, self.words(*words, app=app), as_json=True)
        said = self._capsys.readouterr()
        self.talk = said.err
        assert code is None or ended == code, f"exit {ended}\n{said.out}\n{said.err}"
        return json.loads(said.out)

    def certificates(self, app: str = OMNISCOPE) -> list[str]:
        held = app_named(self.twin.tenant.state, app).credentials
        return [str(each.display_name) for each in held if each.kind == "certificate"]

    def entries(self) -> list[dict[str, Any]]:
        files = list((self.folder / "state" / "credentials").glob("*.json"))
        return [entry for each in files for entry in json.loads(each.read_text())["entries"]]


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(few(load_sample()), propagation=0.2, token_lifetime=3600.0) as twin:
        yield twin


@pytest.fixture
def desk(served: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(served, tmp_path, capsys)


def graph_answers(proof: Any) -> set[str]:
    return {check["graph"] for app in proof["apps"] for seen in app["permissions"].values() for check in seen["checks"]}


def test_graph_is_a_witness_and_nothing_is_left(desk: Desk) -> None:
    before = desk.certificates()
    page = desk.folder / "evidence.html"
    proof = desk.verify("--temporary-credential", "--evidence", page)
    assert "allowed" in graph_answers(proof)
    assert desk.certificates() == before
    (note,) = proof["notes"]
    assert note.startswith("For the security team: ")
    (entry,) = desk.entries()
    assert (entry["stage"], entry["temporary"], entry["place"]) == ("removed", True, None)
    assert entry["key_id"] in note
    assert entry["thumbprint"] in note
    assert note in page.read_text(encoding="utf-8").replace("&#34;", '"').replace("&#39;", "'")
    assert json.loads(page.with_suffix(".json").read_text())["proof"]["notes"] == [note]
    everything = b"".join(path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in everything


@pytest.mark.long
def test_none_is_added_where_it_is_of_no_use(desk: Desk) -> None:
    desk.profile = Path(desk.twin.ready["profile"])
    proof = desk.verify("--temporary-credential")
    assert (proof["notes"], desk.entries()) == ([], [])
    assert "No temporary certificate is needed" in desk.talk


@pytest.mark.long
def test_an_app_of_another_tenant_gets_none(desk: Desk) -> None:
    proof = desk.verify("--temporary-credential", app=CRM)
    assert (proof["notes"], desk.entries()) == ([], [])
    assert "registered in another tenant" in desk.talk


@pytest.mark.parametrize("how", [ValueError, pytest.param(KeyboardInterrupt, marks=pytest.mark.long)])
def test_it_is_removed_whatever_ends_the_proof(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: type[BaseException]
) -> None:
    before = desk.certificates()
    during: list[list[str]] = []

    def broken(*_: object, **__: object) -> None:
        during.append(desk.certificates())
        raise how

    monkeypatch.setattr(VERIFY, "prove", broken)
    capsys.readouterr()
    frame._outcome(program, desk.words("--temporary-credential"), as_json=True)
    assert len(during[0]) == len(before) + 1
    assert "For the security team: " in capsys.readouterr().err, "told although there is no answer to hold it"
    assert desk.certificates() == before
    assert [entry["stage"] for entry in desk.entries()] == ["removed"]


@pytest.mark.long
def test_one_that_does_not_sign_in_is_removed_and_graph_is_not_asked(desk: Desk) -> None:
    before = desk.certificates()
    desk.twin.sign_in_faults.refuse(53003, app_id=app_named(load_sample(), OMNISCOPE).app_id)
    proof = desk.verify("--temporary-credential")
    assert graph_answers(proof) == {"not-asked"}
    assert "it did not sign in" in proof["notes"][0]
    assert desk.certificates() == before


class Killed(BaseException):
    """The process ends here and now."""


def test_what_a_killed_proof_left_the_next_one_removes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.certificates()

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Maker, "remove", killed)
        patched.setattr(VERIFY, "prove", killed)
        frame._outcome(program, desk.words("--temporary-credential"), as_json=True)
    assert len(desk.certificates()) == len(before) + 1
    desk.verify("--temporary-credential")
    assert desk.certificates() == before
    assert "its key was in memory only, so it was removed" in desk.talk
    assert [entry["stage"] for entry in desk.entries()] == ["removed", "removed"]


@pytest.mark.long
def test_a_proof_killed_by_the_system(desk: Desk) -> None:
    before = desk.certificates()
    words = [sys.executable, str(KILLER), "5", *desk.words("--temporary-credential")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(desk.certificates()) == len(before) + 1
    desk.verify("--temporary-credential")
    assert desk.certificates() == before


@pytest.mark.long
def test_one_that_cannot_be_removed_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.certificates()
    real = VERIFY.prove

    def then_denied(*given: Any, **named: Any) -> Any:
        desk.twin.graph_faults.fail(403, "Authorization_RequestDenied", method="PATCH", path="/applications/")
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(VERIFY, "prove", then_denied)
        left = desk.verify("--temporary-credential", code=5)
    assert (left["error"]["code"], left["error"]["changed"]) == ("temporary-left", True)
    assert len(desk.certificates()) == len(before) + 1
    desk.verify("--temporary-credential")
    assert desk.certificates() == before


def test_it_goes_with_no_asking_of_one_gate(desk: Desk) -> None:
    assert desk.verify("--temporary-credential", "--stage", "x", code=2)["error"]["code"] == "usage"
    assert desk.entries() == []
