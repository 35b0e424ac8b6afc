"""``exoscope reach`` and ``exoscope explain``: answers, exit codes, what people see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec import UNSET

from exoscope import snapshot
from reach_cases import APP_ID, OBJECT_ID, address, build

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
CASE: dict[str, Any] = {
    "consents": ["Mail.Read", "exchange:Mail.Send"],
    "policies": [{"right": "restrict", "scope": "mixed"}],
    "assignments": [{"role": "Application EWS.AccessAsApp", "scope": {"group": "sales"}}],
    "app": {"display_name": "Omni's „Connector“"},
}


@pytest.fixture
def tenant(tmp_path: Path) -> Path:
    path = tmp_path / "tenant.json"
    snapshot.save(build(CASE), path)
    return path


def run(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def answer(*words: str | Path, code: int = 0, schema: str | None = None) -> Any:
    found = json.loads(run(*words, "--json", code=code).stdout)
    if schema is not None:
        jsonschema.validate(found, json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8")))
    return found


def test_an_app_and_a_permission(tenant: Path) -> None:
    found = answer("reach", tenant, "--app", APP_ID.upper(), "--permission", "mail.read", code=6, schema="reach")
    assert set(found) == {"app_id", "permission", "mailboxes", "unknown", "because", "findings"}
    assert (found["app_id"], found["permission"]) == (APP_ID, "Mail.Read")
    assert found["mailboxes"] == [address("dan")]
    assert found["unknown"] == [address("rom")]
    assert [(r["kind"], r["effect"]) for r in found["because"]] == [("consent", "allows"), ("policy", "unknown")]
    assert {f["code"] for f in found["findings"]} >= {"legacy-consent", "ews-access", "members-unread"}
    assert all(set(f) == {"code", "app_id", "permission", "message"} for f in found["findings"])


def test_findings_do_not_change_the_exit_code(tenant: Path) -> None:
    found = answer("reach", tenant, "--app", OBJECT_ID, "--permission", "EWS.AccessAsApp", schema="reach")
    assert found["mailboxes"] == [address("ada"), address("bob")]
    assert found["findings"]


def test_a_mailbox(tenant: Path) -> None:
    found = answer("reach", tenant, "--mailbox", address("rom").upper(), code=6, schema="reach-mailbox")
    assert found["mailbox"] == address("rom")
    [entry] = found["apps"]
    assert (entry["permission"], entry["answer"]) == ("Mail.Read", "unknown")
    assert {f["code"] for f in found["findings"]} >= {"legacy-consent"}
    known = answer("reach", tenant, "--mailbox", address("ada"), schema="reach-mailbox")
    assert [(e["permission"], e["answer"]) for e in known["apps"]] == [("EWS.AccessAsApp", "allowed")]
    assert known["apps"][0]["via"][0]["kind"] == "assignment"


def test_what_people_see(tenant: Path) -> None:
    text = run("reach", tenant, "--app", "OMNI'S „connector“", "--permission", "Mail.Read", code=6).stdout
    assert "reaches 1 of 5 mailboxes" in text
    assert (
        text.index("dan@contoso.com") < text.index("rom@contoso.com") < text.index("Because") < text.index("Findings")
    )
    text = run("reach", tenant, "--mailbox", address("ada")).stdout
    assert "EWS.AccessAsApp: allowed" in text
    assert text.index("EWS.AccessAsApp: allowed") < text.index("Findings")
    story = run("explain", tenant, "--app", APP_ID, "--permission", "Mail.Read", "--mailbox", address("bob")).stdout
    assert "bob@contoso.com: denied" in story
    assert "policy policy-0" in story
    assert "the mailbox is not in it" in story


def test_explain_as_json(tenant: Path) -> None:
    words = ("explain", tenant, "--app", APP_ID, "--permission", "Mail.Read", "--mailbox")
    found = answer(*words, address("dan"), schema="explain")
    assert found["answer"] == "allowed"
    assert [told["rule"] for told in found["told"]] == [
        "consent",
        "policy",
        "policy",
        "enforcement",
        "assignment",
        "union",
    ]
    assert answer(*words, address("rom"), code=6, schema="explain")["answer"] == "unknown"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--app", "Nobody", "--permission", "Mail.Read"), "not-found", "Nobody"),
        (("--app", "Omni", "--permission", "Mail.Read"), "not-found", APP_ID),
        (("--app", APP_ID, "--permission", "Mail.Raed"), "not-found", "Mail.Read"),
        (("--app", APP_ID, "--permission", "User.Read.All"), "bad-input", "not about mailboxes"),
        (("--mailbox", "ada@fabrikam.com"), "not-found", "ada@contoso.com"),
        (("--mailbox", "eve@contoso.com"), "not-found", "MailUser"),
        (("--app", APP_ID), "usage", "--permission"),
        (("--mailbox", "ada@contoso.com", "--app", APP_ID), "usage", "alone"),
        (("--mailbox", "ada@contoso.com", "--app", APP_ID, "--permission", "Mail.Read"), "usage", "alone"),
        ((), "usage", "--mailbox"),
    ],
)
def test_what_is_not_there(tenant: Path, words: tuple[str, ...], code: str, says: str) -> None:
    found = answer("reach", tenant, *words, code=2)
    assert found["error"]["code"] == code
    assert says in found["error"]["message"]
    assert found["error"]["changed"] is False


def test_ambiguous_names_name_the_candidates(tmp_path: Path) -> None:
    path = tmp_path / "tenant.json"
    snapshot.save(build({"others": 1, "aliases": {"ada": ["info"], "bob": ["info"]}}), path)
    found = answer("reach", path, "--app", "connector", "--permission", "Mail.Read", code=2)["error"]
    assert found["code"] == "ambiguous"
    assert APP_ID in found["message"]
    assert "aaaaaaaa-0000-4000-8000-100000000000" in found["message"]
    found = answer("reach", path, "--mailbox", "info@contoso.com", code=2)["error"]
    assert found["code"] == "ambiguous"
    assert "ada@contoso.com, bob@contoso.com" in found["message"]


@pytest.mark.parametrize("unread", ["apps", "recipients"])
def test_what_was_not_read_is_not_absent(tmp_path: Path, unread: str) -> None:
    path = tmp_path / "tenant.json"
    snapshot.save(msgspec.structs.replace(build({}), **{unread: UNSET}), path)
    for words in (("--app", APP_ID, "--permission", "Mail.Read"), ("--mailbox", address("ada"))):
        found = answer("reach", path, *words, code=6)["error"]
        assert found["code"] == "unreadable"
        assert f"{unread} were not read" in found["message"]


def test_assignments_that_were_not_read_are_said_so(tmp_path: Path) -> None:
    path = tmp_path / "tenant.json"
    snapshot.save(msgspec.structs.replace(build({}), role_assignments=UNSET), path)
    found = answer("reach", path, "--mailbox", address("ada"), code=6, schema="reach-mailbox")
    assert found["apps"] == []
    assert found["unread"] == ["role_assignments"]


def test_a_bad_file_is_named_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "tenant.json"
    path.write_text('{"format": "exoscope/snapshot@9"}', encoding="utf-8")
    error = answer("reach", path, "--mailbox", "a@b", code=2)["error"]
    assert "$.format" in error["message"]
    assert answer("reach", tmp_path / "none.json", "--mailbox", "a@b", code=2)["error"]["code"] == "bad-input"


def test_names_cannot_draw_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "tenant.json"
    snapshot.save(build({"consents": ["Mail.Read"], "app": {"display_name": "x\u001b[2J\nallowed\u202e"}}), path)
    text = run("reach", path, "--app", APP_ID, "--permission", "Mail.Read").stdout
    assert "\u001b" not in text
    assert "\u202e" not in text
    assert text.splitlines()[0].startswith("x\\x1b[2J\\nallowed")
