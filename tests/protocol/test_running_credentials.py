"""Credentials made over the twin's Graph: handed over once, never dead, whatever breaks off."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

import exoscope.twin
from credentials_fixtures import Case, RememberingScreen, graph_of, maker
from exoscope.entra.certificates import read_certificate
from exoscope.entra.credentials import (
    add_certificate,
    credential_policy,
    find_application,
    list_applications,
    read_application,
    remove_credential,
)
from exoscope.model import Secret
from exoscope.outcome import (
    Ambiguous,
    BadInput,
    ExoscopeError,
    NotFound,
    Refused,
    ServiceError,
    SignInFailed,
    Transient,
    Unreadable,
)
from exoscope.running import credentials, placing
from exoscope.running.credentials import Maker, kept_in
from exoscope.running.handed import Ledger
from exoscope.running.placing import Place, file_place
from exoscope.twin.graph.app_management import AppManagement
from exoscope.twin.server import Twin
from twin_certificates import made_certificate
from twin_fixtures import OMNISCOPE, GraphCaller, TurnedClock, app_named, load_sample


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(load_sample(), clock=TurnedClock(), token_lifetime=3e7, operator_lifetime=3e7) as twin:
        yield twin


@pytest.fixture
def case(served: Twin, tmp_path: Path) -> Iterator[Case]:
    made = Case(served, tmp_path / "state")
    yield made
    made.lag(0)
    made.policy(AppManagement())
    assert isinstance(served.clock, TurnedClock)
    served.clock.ahead = timedelta(0)  # msal signs by the machine's clock


def ends(case: Case, days: int = 180) -> datetime:
    return case.clock.now() + timedelta(days=days)


def record(case: Case) -> list[dict[str, Any]]:
    (path,) = (case.state / "credentials").iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == (f"{case.app_id}.json", 0o600)
    return list(json.loads(path.read_text())["entries"])


def signs_in(case: Case, credential: Secret) -> bool:
    with graph_of(case.twin, case.clock) as (_, tokens):
        tokens.give(case.app_id, credential)
        try:
            tokens.app(case.app_id, fresh=True)
        except SignInFailed:
            return False
        return True


# -- finding --------------------------------------------------------------------------------------------------------------


def test_an_app_is_found_by_each_of_its_names(served: Twin) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    with graph_of(served, served.clock) as (graph, _):
        for name in (app.app_id, app.application_object_id, app.object_id, OMNISCOPE, app.app_id.upper()):
            found = find_application(graph, name)
            assert (found.app_id, found.object_id) == (app.app_id, app.application_object_id)
            assert found.credentials == app.credentials
        assert app.app_id in {each.app_id for each in list_applications(graph)}
        with pytest.raises(NotFound):
            find_application(graph, "Nobody's App")
        with pytest.raises(NotFound):
            find_application(graph, "00000000-0000-4000-8000-000000000000")
        for name in ("Fabrikam CRM Connector", app_named(load_sample(), "Fabrikam CRM Connector").app_id):
            with pytest.raises(Refused) as elsewhere:
                find_application(graph, name)
            assert elsewhere.value.code == "registered-elsewhere"
        GraphCaller(served)("POST", "/applications", {"displayName": OMNISCOPE})
        with pytest.raises(Ambiguous) as two:
            find_application(graph, OMNISCOPE)
        assert app.app_id in two.value.message


# -- secrets --------------------------------------------------------------------------------------------------------------


def test_a_secret_goes_into_its_file_and_nowhere_else(case: Case, tmp_path: Path) -> None:
    place = file_place(tmp_path / "omniscope.secret")
    with maker(case) as making:
        made = making.secret(place, ends=ends(case))
        making.seen(made)
        assert isinstance(made.credential, Secret)
        making.prove(made.credential)
    written = Path(place.where)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert signs_in(case, Secret(written.read_text()))
    (entry,) = record(case)
    (held,) = case.held("secret")
    assert (entry["stage"], entry["key_id"], entry["where"]) == ("handed-over", held.key_id, place.where)
    assert making.run in str(held.display_name)
    assert datetime.fromisoformat(entry["expires"]) - case.clock.now() > timedelta(days=179)
    everything = b"".join(path.read_bytes() for path in case.state.rglob("*") if path.is_file())
    assert written.read_bytes() not in everything
    assert written.read_text() not in repr(made)


def test_a_place_is_checked_before_anything_is_made(case: Case, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    cases = [
        (file_place(there), "exists"),
        (file_place(tmp_path / "link"), "exists"),
        (file_place(tmp_path / "no" / "folder"), "bad-input"),
        (Place("terminal"), "no-terminal"),
    ]
    for place, code in cases:
        with maker(case, screen=RememberingScreen(somebody=False)) as making, pytest.raises(BadInput) as refused:
            making.secret(place, ends=ends(case))
        assert refused.value.code == code
    assert case.held("secret") == []
    assert there.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_terminal_shows_it_and_output_only_where_it_was_asked_for(case: Case) -> None:
    screen = RememberingScreen()
    with maker(case, screen=screen) as making:
        making.secret(Place("terminal"), ends=ends(case))
    (shown,) = screen.shown
    assert signs_in(case, Secret(shown))
    with maker(case, screen=screen) as making:
        making.secret(Place("output"), ends=ends(case))
    assert (len(screen.shown), len(screen.revealed)) == (1, 1)


class Keyring:
    """A keyring that keeps what it is given, unless told otherwise."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.keeps = True

    def get_password(self, service: str, user: str) -> str | None:
        return self.held.get((service, user))

    def set_password(self, service: str, user: str, value: str) -> None:
        if self.keeps:
            self.held[service, user] = value

    def delete_password(self, service: str, user: str) -> None:
        del self.held[service, user]


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    made = Keyring()
    monkeypatch.setattr(placing.importlib, "import_module", lambda name: made)
    yield made


def test_a_keyring_takes_it_once(case: Case, keyring: Keyring) -> None:
    place = placing.keyring_place("omniscope/secret")
    with maker(case) as making:
        making.secret(place, ends=ends(case))
    assert set(keyring.held) == {("omniscope", "secret")}, "the trial is gone"
    assert signs_in(case, Secret(keyring.held["omniscope", "secret"]))
    with maker(case) as making, pytest.raises(BadInput) as refused:
        making.secret(place, ends=ends(case))
    assert refused.value.code == "exists"
    keyring.keeps = False
    with maker(case) as making, pytest.raises(BadInput):
        making.secret(placing.keyring_place("other/secret"), ends=ends(case))
    assert len(case.held("secret")) == 1
    with pytest.raises(BadInput):
        placing.keyring_place("omniscope")


def test_what_cannot_be_handed_over_is_removed_again(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise BadInput("the disk is full")

    monkeypatch.setattr(credentials, "put", broken)
    with maker(case) as making, pytest.raises(ExoscopeError) as failed:
        making.secret(file_place(tmp_path / "s"), ends=ends(case))
    assert (failed.value.code, failed.value.changed) == ("not-handed-over", True)
    assert case.held("secret") == []
    assert [entry["stage"] for entry in record(case)] == ["lost"]


def test_what_is_not_listed_yet_is_removed_all_the_same(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is behind says that nothing is there: that is no removal."""
    case.lag(20)
    monkeypatch.setattr(credentials, "put", lambda *_: (_ for _ in ()).throw(BadInput("the disk is full")))
    with maker(case) as making, pytest.raises(ExoscopeError) as failed:
        making.secret(file_place(tmp_path / "s"), ends=ends(case))
    assert failed.value.code == "not-handed-over"
    assert case.held("secret") == []


def test_a_new_credential_is_proven_once_it_is_known(case: Case, tmp_path: Path) -> None:
    case.lag(20)
    with maker(case) as making:
        made = making.secret(file_place(tmp_path / "s"), ends=ends(case))
        assert isinstance(made.credential, Secret)
        assert not signs_in(case, made.credential)
        making.prove(made.credential)
        with pytest.raises(SignInFailed):
            making.prove(Secret("wrong"))


def test_a_secret_is_removed_although_the_service_does_not_know_it_yet(case: Case, tmp_path: Path) -> None:
    """Listed, and yet "No password credential found": the list is older or newer than whoever removes."""
    with maker(case) as making:
        made = making.secret(file_place(tmp_path / "s"), ends=ends(case))
        text = "No password credential found with keyId"
        case.twin.graph_faults.fail(400, "Request_BadRequest", text, times=2, path=f"{case.object_id}/removePassword")
        assert made.entry.key_id is not None
        making.remove(made.entry.key_id)
    assert case.held("secret") == []


def test_a_folder_that_takes_no_file_is_found_out_before(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise BadInput(f"{path} cannot be written: the disk is full")

    monkeypatch.setattr(placing.system, "write_private", full)
    with pytest.raises(BadInput):
        placing.check_place(file_place(tmp_path / "s"), RememberingScreen())


# -- the tenant's policy --------------------------------------------------------------------------------------------------


def test_a_policy_s_refusal_tells_the_longest_lifetime(case: Case, tmp_path: Path) -> None:
    case.policy(AppManagement(enabled=True, secret_lifetime=timedelta(days=30)))
    with maker(case) as making, pytest.raises(Refused) as refused:
        making.secret(file_place(tmp_path / "s"), ends=ends(case))
    assert refused.value.code == "lifetime-not-allowed"
    assert "30d" in refused.value.message
    assert "--lifetime" in refused.value.next
    case.policy(AppManagement(enabled=True, secrets=False))
    with maker(case) as making, pytest.raises(Refused) as refused:
        making.secret(file_place(tmp_path / "s"), ends=ends(case))
    assert refused.value.code == "secrets-not-allowed"
    assert "certificate" in refused.value.next
    case.policy(AppManagement(enabled=True, certificate_lifetime=timedelta(days=30)))
    with maker(case) as making, pytest.raises(Refused) as refused:
        making.certificate(file_place(tmp_path / "c.pem"), ends=ends(case))
    assert refused.value.code == "lifetime-not-allowed"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert case.held("secret") == case.held("certificate") == []
    assert {entry["stage"] for entry in record(case)} == {"lost"}, "nothing is left to be settled"


def test_a_policy_is_read_as_far_as_it_is_on(case: Case) -> None:
    with graph_of(case.twin, case.clock) as (graph, _):
        case.policy(AppManagement(secrets=False))
        off = credential_policy(graph)
        assert off is not None
        assert (off.secrets, off.secret_lifetime, off.certificate_lifetime) == (True, None, None)
        case.policy(
            AppManagement(
                enabled=True,
                secrets=False,
                secret_lifetime=timedelta(days=1, hours=2),
                certificate_lifetime=timedelta(days=9),
            )
        )
        on = credential_policy(graph)
        assert on is not None
        assert (on.secrets, on.secret_lifetime) == (False, timedelta(days=1, hours=2))
        assert on.certificate_lifetime == timedelta(days=9)
        case.twin.graph_faults.fail(403, "Authorization_RequestDenied", path="/policies/")
        assert credential_policy(graph) is None


# -- certificates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pfx", "passphrase"), [(False, None), (True, Secret("open sesame"))])
def test_a_certificate_is_made_here_and_added_to_the_others(
    case: Case, tmp_path: Path, pfx: bool, passphrase: Secret | None
) -> None:
    before = case.held("certificate")
    place = file_place(tmp_path / ("c.pfx" if pfx else "c.pem"))
    with maker(case) as making:
        made = making.certificate(place, ends=ends(case), pfx=pfx, passphrase=passphrase)
        assert made.credential is not None
        making.prove(made.credential)
    data = Path(place.where).read_bytes()
    assert stat.S_IMODE(Path(place.where).stat().st_mode) == 0o600
    word = None if passphrase is None else passphrase.reveal().encode()
    if pfx:
        key, certificate, _ = pkcs12.load_key_and_certificates(data, word)
        assert key is not None
        assert certificate is not None
    else:
        assert (b"ENCRYPTED" in data) == (passphrase is not None)
        assert read_certificate(data, "c.pem").thumbprint == made.entry.thumbprint
    assert [*before, *case.held("certificate")[len(before) :]] == case.held("certificate")
    assert case.held("certificate")[-1].key_id == made.entry.key_id
    assert made.entry.file_sha256 == hashlib.sha256(data).hexdigest()


NEW = "11111111-2222-4333-8444-555555555555"


def test_a_given_certificate_goes_up_without_its_key(case: Case) -> None:
    made = made_certificate(days=30)
    public = read_certificate(made.pem.encode(), "a file with its key")
    assert public == read_certificate(made.der, "the same in DER")
    with maker(case) as making:
        done = making.given(public)
        assert (done.credential, done.entry.stage, done.entry.place) == (None, "handed-over", None)
    with maker(case) as making, pytest.raises(BadInput) as there:
        making.given(public)
    assert there.value.code == "certificate-there"
    with pytest.raises(BadInput):
        read_certificate(b"no certificate", "x.cer")
    ended = read_certificate(made_certificate(days=1, starts=datetime(2020, 1, 1, tzinfo=UTC)).der, "old.cer")
    with maker(case) as making, pytest.raises(BadInput):
        making.given(ended)
    # longer than a year: the end is Entra's own
    long = read_certificate(made_certificate(days=900).der, "long.cer")
    with maker(case) as making:
        expires = making.given(long).entry.expires
    assert expires is not None
    assert datetime.fromisoformat(expires) < long.ends


def test_a_list_that_lacks_what_is_there_is_not_written_back(case: Case) -> None:
    """PATCH replaces the collection, so a stale list would drop the certificate that was added a moment ago."""
    case.lag(20)
    first, second = (read_certificate(made_certificate(name=name).der, name) for name in "ab")
    with maker(case) as making:
        one = making.given(first)
        making.application = read_application(making._graph, making.application.object_id)
        two = making.given(second)
    assert {each.key_id for each in case.held("certificate")} == {one.entry.key_id, two.entry.key_id}
    with graph_of(case.twin, case.clock) as (graph, _):
        app = find_application(graph, case.app_id)
        third = read_certificate(made_certificate(name="c").der, "c")
        with pytest.raises(Unreadable) as stale:
            add_certificate(graph, app, third, display_name="c", clock=case.clock, expected=[NEW])
        assert (stale.value.code, stale.value.changed) == ("stale-list", False)


# -- removing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, 20])
def test_credentials_are_removed_and_read_as_gone(case: Case, tmp_path: Path, lag: int) -> None:
    case.lag(lag)
    with maker(case) as making:
        secret = making.secret(file_place(tmp_path / "s"), ends=ends(case))
        certificate = making.certificate(file_place(tmp_path / "c.pem"), ends=ends(case))
        making.seen(secret)
        for made in (secret, certificate):
            assert made.entry.key_id is not None
            making.remove(made.entry.key_id)
            making.remove(made.entry.key_id)  # gone already is success
    assert case.held("secret") == case.held("certificate") == []
    assert {entry["stage"] for entry in record(case)} == {"removed"}
    assert not signs_in(case, Secret((tmp_path / "s").read_text()))


# -- what breaks off ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here and now."""


def killing(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[int]:
    """Kill at the N-th of the moments between which something lasting happens."""
    count = itertools.count(1)

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            if next(count) == number:
                raise Killed
            done = real(*given, **named)
            if next(count) == number:
                raise Killed
            return done

        return wrapped

    monkeypatch.setattr(Ledger, "put", wrap(Ledger.put))
    monkeypatch.setattr(credentials, "put", wrap(credentials.put))
    monkeypatch.setattr(credentials, "add_secret", wrap(credentials.add_secret))
    monkeypatch.setattr(credentials, "add_certificate", wrap(credentials.add_certificate))
    yield number


def again(making: Maker, kind: str, place: Place, until: datetime) -> None:
    """What every command does: settle what is left, and make what is not there."""
    if kept_in(making.settle(), kind, place) is not None:
        return
    if kind == "secret":
        making.secret(place, ends=until)
    else:
        making.certificate(place, ends=until, pfx=place.where.endswith(".pfx"))


@pytest.mark.parametrize(
    ("what", "lag", "numbers"),
    [
        ("secret", 0, (4, 7, 8)),
        pytest.param("secret", 0, range(1, 40), marks=pytest.mark.long),
        pytest.param("secret", 20, range(1, 40), marks=pytest.mark.long),
        pytest.param("certificate", 0, range(1, 40), marks=pytest.mark.long),
        pytest.param("certificate", 20, range(1, 40), marks=pytest.mark.long),
    ],
)
def test_killed_anywhere_then_again_one_is_alive_and_handed_over(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, lag: int, numbers: Sequence[int]
) -> None:
    """Moments 4, 7 and 8: Entra has made it; it is about to be put into its place; it lies there."""
    case.lag(lag)
    moments = 0
    for number in numbers:
        place = file_place(tmp_path / (f"{number}.secret" if what == "secret" else f"{number}.pfx"))
        before = {each.key_id for each in case.held(what)}
        with monkeypatch.context() as patched:
            list(killing(patched, number))
            try:
                with maker(case) as making:
                    again(making, what, place, ends(case))
            except Killed:
                moments += 1
            else:
                break
        with maker(case) as making:
            try:
                again(making, what, place, ends(case))
            except BadInput as there:
                assert (number, there.code) == (10, "exists"), "all was done but the last word"
        new = [each for each in case.held(what) if each.key_id not in before]
        assert len(new) == 1, f"killed at moment {number}: {new}"
        entry = next(e for e in reversed(record(case)) if e["where"] == place.where and e["stage"] == "handed-over")
        assert entry["key_id"] == new[0].key_id
        case.clock.sleep(30)
        if what == "secret":
            assert signs_in(case, Secret(Path(place.where).read_text()))
        else:
            assert hashlib.sha256(Path(place.where).read_bytes()).hexdigest() == entry["file_sha256"]
    assert moments == min(len(numbers), 10), "before and after each of five things"
    assert not [entry for entry in record(case) if entry["stage"] in ("making", "made")]


@pytest.mark.parametrize("lag", [0, 20])
def test_an_answer_that_was_lost_on_the_way(case: Case, tmp_path: Path, lag: int) -> None:
    """The secret was made and nobody knows its value: it is removed, and another is made."""
    case.lag(lag)
    case.twin.graph_faults.drop(method="POST", path="/addPassword", after_acting=True)
    said: list[str] = []
    place = file_place(tmp_path / "s")
    with maker(case, said=said) as making:
        made = making.secret(place, ends=ends(case))
    (held,) = case.held("secret")
    assert held.key_id == made.entry.key_id
    assert any("did not answer" in each for each in said)
    case.clock.sleep(30)
    assert signs_in(case, Secret(Path(place.where).read_text()))


def test_two_lost_answers_are_an_error_and_the_next_command_settles_it(case: Case, tmp_path: Path) -> None:
    case.twin.graph_faults.drop(method="POST", path="/addPassword", after_acting=True, times=2)
    with maker(case) as making, pytest.raises(Transient):
        making.secret(file_place(tmp_path / "s"), ends=ends(case))
    assert len(case.held("secret")) == 1
    with maker(case) as making:
        again(making, "secret", file_place(tmp_path / "s"), ends(case))
    assert len(case.held("secret")) == 1


def test_a_second_one_that_graph_made_for_one_call_is_removed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = credentials.add_secret

    def twice(*args: Any, **named: Any) -> Any:
        real(*args, **named)  # made, and answered 503: it is sent again under the same name
        return real(*args, **named)

    monkeypatch.setattr(credentials, "add_secret", twice)
    said: list[str] = []
    place = file_place(tmp_path / "s")
    with maker(case, said=said) as making:
        made = making.secret(place, ends=ends(case))
        assert len(case.held("secret")) == 2
        making.seen(made)
    assert [each.key_id for each in case.held("secret")] == [made.entry.key_id]
    assert any("nobody has the value" in each for each in said)
    assert signs_in(case, Secret(Path(place.where).read_text()))


def test_one_that_shows_up_late_is_removed_then(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case.lag(300)
    with monkeypatch.context() as patched:
        list(killing(patched, 4))  # after addPassword, before anything says so
        with maker(case) as making, pytest.raises(Killed):
            making.secret(file_place(tmp_path / "s"), ends=ends(case))
    with maker(case) as making:
        assert [entry.stage for entry in making.settle()] == ["lost"]
    assert len(case.held("secret")) == 1, "no list shows it yet"
    case.clock.sleep(301)
    case.lag(0)
    said: list[str] = []
    with maker(case, said=said) as making:
        making.settle()
    assert case.held("secret") == []
    assert any("has shown up" in each for each in said)


def test_a_terminal_s_secret_is_lost_with_its_process(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, said = RememberingScreen(), list[str]()
    with monkeypatch.context() as patched:
        list(killing(patched, 7))  # before it is shown
        with maker(case, screen=screen) as making, pytest.raises(Killed):
            making.secret(Place("terminal"), ends=ends(case))
    assert not screen.shown
    with maker(case, screen=screen, said=said) as making:
        again(making, "secret", Place("terminal"), ends(case))
    assert len(case.held("secret")) == 1
    assert any("its value was lost, so it was removed" in each for each in said)
    assert signs_in(case, Secret(screen.shown[0]))


def test_somebody_else_s_file_is_not_taken_for_ours(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = file_place(tmp_path / "s")
    with monkeypatch.context() as patched:
        list(killing(patched, 7))
        with maker(case) as making, pytest.raises(Killed):
            making.secret(place, ends=ends(case))
    handle = os.open(place.where, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, b"another secret")
    os.close(handle)
    with maker(case) as making:
        assert [entry.stage for entry in making.settle()] == ["lost"]
        with pytest.raises(BadInput):
            making.secret(place, ends=ends(case))
    assert case.held("secret") == []
    assert Path(place.where).read_text() == "another secret"


# -- the record -----------------------------------------------------------------------------------------------------------


def test_the_record_tells_what_was_handed_over_last(case: Case, tmp_path: Path) -> None:
    with maker(case) as making:
        first = making.secret(file_place(tmp_path / "one"), ends=ends(case))
    with maker(case) as making:
        second = making.secret(file_place(tmp_path / "two"), ends=ends(case))
        latest = making.held.latest()
        assert latest is not None
        assert latest.key_id == second.entry.key_id
        assert second.entry.key_id is not None
        making.remove(second.entry.key_id)
        latest = making.held.latest()
        assert latest is not None
        assert latest.key_id == first.entry.key_id


def test_a_record_that_is_damaged_is_no_empty_one(case: Case, tmp_path: Path) -> None:
    with maker(case) as making:
        making.secret(file_place(tmp_path / "one"), ends=ends(case))
    (path,) = (case.state / "credentials").iterdir()
    for text in ('{"format": "exoscope/credentials@9"}', path.read_text().replace("making", "x")[:-40]):
        path.write_text(text)
        with pytest.raises(Unreadable) as damaged, maker(case):
            pass
        assert damaged.value.code == "record-damaged"
    path.chmod(0o644)
    with pytest.raises(BadInput), maker(case):
        pass


def test_a_refusal_says_what_the_operator_needs(case: Case, tmp_path: Path) -> None:
    case.twin.graph_faults.fail(403, "Authorization_RequestDenied", path="/addPassword")
    with maker(case) as making, pytest.raises(ServiceError) as denied:
        making.secret(file_place(tmp_path / "s"), ends=ends(case))
    assert "Application.ReadWrite.All" in denied.value.next
    with graph_of(case.twin, case.clock) as (graph, _):
        remove_credential(graph, find_application(graph, case.app_id), NEW, case.clock)
