"""``exoscope credentials`` as a user types it, against a twin; and killed in the middle of it."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msal
import pytest
from msgspec.structs import replace

import exoscope.twin
from credentials_fixtures import Case
from exoscope.cli import frame, program, screens
from exoscope.clock import iso
from exoscope.entra.credentials import Application
from exoscope.model import Credential
from exoscope.running.credential_answers import AppCredentials, chosen_end, due, lines_of
from exoscope.running.handed import FORMAT, Handed
from exoscope.twin.graph.app_management import AppManagement
from exoscope.twin.server import Twin
from twin_certificates import made_certificate
from twin_fixtures import load_sample, session

SCOPE = "https://graph.microsoft.com/.default"
KILLER = Path(__file__).parents[1] / "credentials_killer.py"


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(load_sample(), token_lifetime=3600.0) as twin:
        yield twin


class Desk(Case):
    """An app and the commands of a user in front of it."""

    def __init__(self, twin: Twin, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(twin, folder / "state")
        self.folder, self._capsys = folder, capsys
        self.talk = ""

    def words(self, command: str, *words: object) -> list[str]:
        profile = ["--profile", self.twin.ready["profile"], "--state", str(self.state)]
        return ["credentials", command, *map(str, words), *profile]

    def run(self, command: str, *words: object, code: int = 0) -> Any:
        given = self.words(command, *words)
        ended = frame._outcome(program, given, as_json="--json" in given)
        said = self._capsys.readouterr()
        self.talk = said.err
        assert ended == code, f"exit {ended}\n{said.out}\n{said.err}"
        return json.loads(said.out) if "--json" in given else said.out

    def make(self, command: str, *words: object, code: int = 0) -> Any:
        return self.run(command, "--app", self.app_id, "--json", *words, code=code)

    def signs_in(self, credential: Any) -> bool:
        app = msal.ConfidentialClientApplication(
            self.app_id,
            client_credential=credential,
            authority=self.twin.ready["authority"],
            instance_discovery=False,
            http_client=session(self.twin),
        )
        return "access_token" in app.acquire_token_for_client([SCOPE])


@pytest.fixture
def desk(served: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    made = Desk(served, tmp_path, capsys)
    yield made
    made.lag(0)
    made.policy(AppManagement())


# -- add ------------------------------------------------------------------------------------------------------------------


def test_a_secret_is_added_to_a_file(desk: Desk) -> None:
    path = desk.folder / "omniscope.secret"
    answer = desk.make("add", "--file", path, "--lifetime", "90d")
    (held,) = desk.held("secret")
    assert (answer["key_id"], answer["where"], answer["kind"]) == (held.key_id, str(path), "secret")
    assert answer["run"] in str(held.display_name)
    left = datetime.fromisoformat(answer["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert desk.signs_in(path.read_text())
    assert path.read_text() not in json.dumps(answer) + desk.talk
    refused = desk.make("add", "--file", path, code=2)
    assert refused["error"]["code"] == "exists"
    assert len(desk.held("secret")) == 1


def test_the_default_lifetime_gives_way_to_the_tenant_s_policy(desk: Desk) -> None:
    desk.policy(AppManagement(enabled=True, secret_lifetime=timedelta(days=30)))
    answer = desk.make("add", "--file", desk.folder / "s")
    left = datetime.fromisoformat(answer["expires"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    refused = desk.make("add", "--file", desk.folder / "t", "--lifetime", "31d", code=4)
    assert (refused["error"]["code"], refused["error"]["changed"]) == ("lifetime-not-allowed", False)
    assert "30d" in refused["error"]["next"]
    desk.policy(AppManagement(enabled=True, secrets=False))
    assert desk.make("add", "--file", desk.folder / "t", code=4)["error"]["code"] == "secrets-not-allowed"
    assert len(desk.held("secret")) == 1
    assert not (desk.folder / "t").exists()


def test_a_secret_is_shown_once_on_a_terminal_after_a_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    monkeypatch.setattr(frame, "interactive", lambda: True)
    monkeypatch.setattr(screens.click, "getchar", lambda: keys.append("pressed"))
    out = desk.run("add", "--app", desk.app_id)
    assert len(keys) == 2
    shown = next(line for line in desk.talk.splitlines() if desk.signs_in(line.strip("\r")))
    assert shown not in out
    assert desk.talk.index("Press a key") < desk.talk.index(shown)
    assert f"\r{' ' * len(shown)}\r" in desk.talk, "taken from the screen"


def test_a_terminal_that_goes_away_before_the_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise EOFError

    monkeypatch.setattr(frame, "interactive", lambda: True)
    monkeypatch.setattr(screens.click, "getchar", gone)
    ended = desk.make("add", code=5)
    assert (ended["error"]["code"], ended["error"]["changed"]) == ("interrupted", True)
    (lost,) = desk.held("secret")
    answer = desk.make("add", "--file", desk.folder / "s")
    assert [each["stage"] for each in answer["settled"]] == ["lost"]
    assert [each.key_id for each in desk.held("secret")] == [answer["key_id"]] != [lost.key_id]


def test_without_a_terminal_it_is_revealed_only_on_demand(desk: Desk) -> None:
    desk.run("add", "--app", desk.app_id, code=2)
    assert desk.held("secret") == []
    out = desk.run("add", "--app", desk.app_id, "--reveal")
    assert desk.signs_in(out.strip())
    assert len(out.splitlines()) == 1, "the secret and nothing else"


@pytest.mark.parametrize(
    "words",
    [
        ("--file", "a", "--keyring", "s/u"),
        ("--reveal", "--json"),
        ("--kind", "certificate"),
        ("--file", "a", "--passphrase", "env:X"),
        ("--certificate", "c.pem", "--file", "a"),
        ("--file", "a", "--lifetime", "5m"),
        ("--keyring", "nothing"),
        ("--file", "a.pfx", "--kind", "certificate", "--passphrase", "hunter2"),
        ("--file", "a.pem", "--kind", "certificate", "--lifetime", "2000d"),
    ],
    ids=str,
)
def test_what_does_not_go_together_makes_nothing(desk: Desk, words: tuple[str, ...]) -> None:
    desk.run("add", "--app", desk.app_id, *words, code=2)
    assert desk.held("secret") == desk.held("certificate") == []
    assert "hunter2" not in desk.talk


def test_certificates_made_here_and_given(desk: Desk) -> None:
    path = desk.folder / "omniscope.pem"
    answer = desk.make("add", "--kind", "certificate", "--file", path)
    text = path.read_text()
    assert desk.signs_in({"private_key": text, "public_certificate": text})
    given = made_certificate(days=30)
    theirs = desk.folder / "theirs.cer"
    theirs.write_bytes(given.der)
    second = desk.make("add", "--certificate", theirs)
    assert (second["where"], second["proven"]) == (None, False)
    assert desk.signs_in(given.credential)
    assert {each.key_id for each in desk.held("certificate")} == {answer["key_id"], second["key_id"]}
    assert desk.make("add", "--certificate", theirs, code=2)["error"]["code"] == "certificate-there"


# -- rotate and remove ------------------------------------------------------------------------------------------------------


def test_rotation_overlaps_and_removes_what_was_named(desk: Desk) -> None:
    first = desk.make("add", "--file", desk.folder / "one")
    second = desk.make("rotate", "--file", desk.folder / "two")
    assert (second["proven"], second["removed"]) == (True, [])
    assert [each["key_id"] for each in second["others"]] == [first["key_id"]]
    assert desk.signs_in((desk.folder / "one").read_text()), "both act until somebody says otherwise"
    third = desk.make("rotate", "--file", desk.folder / "three", "--remove", first["key_id"], "--yes")
    assert third["removed"] == [first["key_id"]]
    assert not desk.signs_in((desk.folder / "one").read_text())
    assert desk.signs_in((desk.folder / "two").read_text())
    assert desk.signs_in((desk.folder / "three").read_text())


def test_what_a_stopped_rotation_has_handed_over_is_not_removed_as_an_old_one(desk: Desk) -> None:
    path = desk.folder / "one"
    made = desk.make("rotate", "--file", path)
    (ledger,) = (desk.state / "credentials").glob("*.json")
    # As a process leaves it that is killed between the file and the note of it.
    ledger.write_text(ledger.read_text().replace('"handed-over"', '"made"'))
    refused = desk.make("rotate", "--file", path, "--remove", made["key_id"], "--yes", code=2)
    assert "is the new credential" in refused["error"]["message"]
    assert desk.signs_in(path.read_text())


def test_old_ones_stay_where_the_new_one_does_not_sign_in(desk: Desk) -> None:
    first = desk.make("add", "--file", desk.folder / "one")
    desk.twin.sign_in_faults.refuse(53003, app_id=desk.app_id)
    failed = desk.make("rotate", "--file", desk.folder / "two", "--remove", first["key_id"], "--yes", code=5)
    assert (failed["error"]["code"], failed["error"]["changed"]) == ("not-proven", True)
    assert "53003" in failed["error"]["message"]
    assert len(desk.held("secret")) == 2
    theirs = desk.folder / "theirs.cer"
    theirs.write_bytes(made_certificate().der)
    desk.make("rotate", "--certificate", theirs, "--remove", first["key_id"], "--yes", code=2)
    assert desk.held("certificate") == []


def test_removing_asks_and_says_where_it_is_the_last(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made = desk.make("add", "--file", desk.folder / "one")
    desk.run("remove", "--app", desk.app_id, "--key-id", made["key_id"], code=2)
    asked: list[str] = []
    monkeypatch.setattr(frame, "interactive", lambda: True)
    monkeypatch.setattr("click.confirm", lambda text, **_: asked.append(text))
    desk.make("remove", "--key-id", made["key_id"], code=4)
    assert "It is the last" in asked[0]
    assert made["key_id"] in asked[0]
    assert len(desk.held("secret")) == 1
    nobody = desk.make("remove", "--key-id", "00000000-0000-4000-8000-000000000000", "--yes", code=2)
    assert nobody["error"]["code"] == "not-found"
    answer = desk.make("remove", "--key-id", made["key_id"], "--yes")
    assert (answer["removed"], answer["others"]) == ([made["key_id"]], [])
    assert not desk.signs_in((desk.folder / "one").read_text())


def test_what_goes_wrong_after_a_change_says_so(desk: Desk) -> None:
    desk.twin.graph_faults.fail(403, "Authorization_RequestDenied", method="GET", path=desk.object_id, times=1)
    early = desk.make("add", "--file", desk.folder / "one", code=6)
    assert early["error"]["changed"] is False
    one = f"/applications/{desk.object_id}/addPassword"
    desk.twin.graph_faults.drop(method="POST", path=one, after_acting=True, times=2)
    lost = desk.make("add", "--file", desk.folder / "one", code=5)
    assert (lost["error"]["code"], lost["error"]["changed"]) == ("transient", True)
    answer = desk.make("add", "--file", desk.folder / "one")
    assert [each["stage"] for each in answer["settled"]] == ["lost"]
    assert [each.key_id for each in desk.held("secret")] == [answer["key_id"]]


# -- list -----------------------------------------------------------------------------------------------------------------


def test_the_list_tells_days_and_places_and_a_monitor_s_exit(desk: Desk) -> None:
    short = desk.make("add", "--file", desk.folder / "short", "--lifetime", "20d")
    desk.make("add", "--file", desk.folder / "long", "--lifetime", "200d")
    answer = desk.run("list", "--app", desk.name, "--json")
    (app,) = answer["apps"]
    assert [(line["days_left"], line["where"], line["state"]) for line in app["credentials"]] == [
        (19, str(desk.folder / "short"), "live"),
        (199, str(desk.folder / "long"), "live"),
    ]
    assert answer["due"] is None
    due = desk.run("list", "--app", desk.app_id, "--expiring", "30d", "--json", code=1)["due"]
    assert [(each["key_id"], each["days_left"]) for each in due] == [(short["key_id"], 19)]
    assert desk.run("list", "--app", desk.app_id, "--expiring", "10d", "--json")["due"] == []
    text = desk.run("list", "--app", desk.app_id, "--expiring", "30d", code=1)
    assert "19 day(s) left" in text
    assert "Due:" in text


def test_every_app_of_the_tenant_is_listed(desk: Desk, served: Twin) -> None:
    answer = desk.run("list", "--json")
    assert {each["app_id"] for each in answer["apps"]} == {each.app_id for each in served.tenant.registered()}


NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def line_of(end: datetime | str | None) -> Credential:
    text = iso(end) if isinstance(end, datetime) else end
    return Credential("secret", f"key of {text}", None, None, text)


DUE: list[tuple[str, list[datetime | str | None], list[str]]] = [
    ("nothing at all", [], []),
    ("far away", [NOW + timedelta(days=31)], []),
    ("to the second", [NOW + timedelta(days=30)], ["the secret ends in 30 day(s)"]),
    ("soon", [NOW + timedelta(hours=1)], ["the secret ends in 0 day(s)"]),
    ("all have ended", [NOW, NOW - timedelta(days=3)], ["every credential of the app has ended"]),
    ("one has ended, one lives", [NOW - timedelta(days=3), NOW + timedelta(days=99)], []),
    ("no end", [None], ["Entra names no end of it"]),
    ("no time at all", ["soon", NOW + timedelta(days=99)], ["Entra names no end of it"]),
]


@pytest.mark.parametrize(("ends", "whys"), [case[1:] for case in DUE], ids=[case[0] for case in DUE])
def test_what_is_due(ends: list[datetime | str | None], whys: list[str]) -> None:
    app = Application("o", "a", "App", tuple(line_of(end) for end in ends))
    lines = lines_of(app, Handed(FORMAT, "t", "a", "App"), NOW)
    found = due([AppCredentials("a", "App", lines)], timedelta(days=30), NOW)
    assert [each.why for each in found] == whys


def test_a_new_one_ends_a_little_before_it_must() -> None:
    """It begins by Entra's clock: one that is behind ours would make it live longer than the policy lets it."""
    days = timedelta(days=1)
    for asked, longest, least in ((30, None, 30), (None, None, 180), (None, 20, 20), (None, 400, 180), (30, 20, 30)):
        found = chosen_end(
            NOW, None if asked is None else asked * days, 180 * days, None if longest is None else longest * days
        )
        assert NOW + least * days - timedelta(minutes=10) < found < NOW + least * days - timedelta(minutes=1)


def test_an_app_of_another_tenant_is_told_apart(desk: Desk) -> None:
    app = replace(desk.twin.tenant.registered()[0], app_id="11111111-2222-4333-8444-555555555555")
    desk.twin.tenant.put_app(
        replace(
            app, object_id="66666666-7777-4888-9999-aaaaaaaaaaaa", application_object_id=None, display_name="Theirs"
        )
    )
    refused = desk.run("list", "--app", "Theirs", "--json", code=4)
    assert refused["error"]["code"] == "registered-elsewhere"


# -- killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [2, pytest.param(1, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long), 4]
)
def test_killed_between_making_and_handing_over_then_again(desk: Desk, number: int) -> None:
    path = desk.folder / "s"
    words = desk.words("add", "--app", desk.app_id, "--file", path, "--json")
    killed = subprocess.run(
        [sys.executable, str(KILLER), str(number), *words], capture_output=True, text=True, timeout=100, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(desk.held("secret")) == (number > 1)
    answer = desk.make("add", "--file", path)
    (alive,) = desk.held("secret")
    assert answer["key_id"] == alive.key_id
    assert desk.signs_in(path.read_text())
    assert [each["stage"] for each in answer["settled"]] == ["handed-over" if number == 4 else "lost"]
    if number in (2, 3):
        assert "its value was lost, so it was removed" in desk.talk


def test_two_at_once_wait_for_each_other(desk: Desk) -> None:
    from exoscope.running import Store

    with Store(desk.state).lock(desk.twin.tenant.state.tenant.id):
        refused = desk.make("add", "--file", desk.folder / "s", code=4)
    assert refused["error"]["code"] == "locked"
    assert desk.held("secret") == []


def test_a_passphrase_keeps_the_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_TEST_WORD", "open sesame")
    path = desk.folder / "k.pem"
    desk.make("rotate", "--kind", "certificate", "--file", path, "--passphrase", "env:CREDENTIALS_TEST_WORD")
    assert "ENCRYPTED PRIVATE KEY" in path.read_text()
    assert "open sesame" not in "".join(p.read_text() for p in desk.state.rglob("*.json"))
