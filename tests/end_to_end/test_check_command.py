"""``exoscope check`` as a user types it, against a twin: what a connector can meet, in both mechanisms. Nothing is ever sent."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

import exoscope.twin
from exoscope.catalog import GRAPH
from exoscope.checking.connector import asking, operating
from exoscope.cli import frame, program
from exoscope.model import OrganizationScope, RoleAssignment, Snapshot, Tenant
from exoscope.profile.given import is_guid
from exoscope.running import Store
from exoscope.twin.folder import toml
from exoscope.twin.server import Twin
from reading_results import few
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, decisions, load_sample, quick_profile

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "check.schema.json"
TENANT = load_sample().tenant
CRM, ROOMS = "Fabrikam CRM Connector", "Room Display"
UNKNOWN = "99999999-9999-4999-8999-999999999999"
INTENT = f"""\
version: 1
apps:
  - {{app: "{OMNISCOPE}", permissions: [Mail.Read], mechanism: rbac, scope: {{group: {OMNISCOPE_GROUP}}}}}
"""


class Connector:
    """Whoever owns a connector, in front of a terminal, with its secret in a variable."""

    def __init__(
        self, twin: Twin, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.twin, self.folder = twin, folder
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self.talk = ""

    def run(self, *words: object, code: int) -> str:
        given = [str(word) for word in words]
        ended = frame._outcome(program, given, as_json="--json" in given)
        said = self._capsys.readouterr()
        self.talk = said.err
        assert ended == code, f"exit {ended}\n{said.out}\n{said.err}"
        return said.out

    def check(
        self, app: str, *words: object, code: int = 0, secret: str | None = None, as_operator: bool = False
    ) -> Any:
        """The answer. ``app``: a name of the sample, or a client id; ``secret``: else the app's own."""
        client_id = app if is_guid(app) else app_named(load_sample(), app).app_id
        value = secret if secret is not None else self.twin.secret(client_id)
        self._monkeypatch.setenv("CONNECTOR_SECRET", value)
        given = list(words)
        for option, text in (("--tenant", TENANT.id), ("--secret-ref", "env:CONNECTOR_SECRET")):
            if option not in given and not (option == "--secret-ref" and "--certificate" in given):
                given += [option, text]
        road = "--profile" if as_operator else "--endpoints"
        if not {"--endpoints", "--profile"} & set(given):
            given += [road, str(quick_profile(self.twin))]
        out = self.run("check", "--client-id", client_id, "--json", *given, code=code)
        assert value not in out + self.talk
        answer = json.loads(out)
        if "error" not in answer:
            jsonschema.validate(answer, json.loads(SCHEMA.read_text(encoding="utf-8")))
        return answer


def lines(answer: Any, what: str) -> dict[str | None, Any]:
    return {line["subject"]: line for line in answer["lines"] if line["what"] == what}


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    """A twin of the sample in whose tenant nothing is changed."""
    tenant = load_sample()
    named = {f"{name}@contoso.com" for name in ("ada", "ceo", "li.wei", "room-wien", "sean.obrien")}
    kept = [
        each
        for each in tenant.recipients
        if each.primary_smtp_address in named or each.primary_smtp_address.startswith(("contractor", "auditor"))
    ]  # type: ignore[union-attr]  # the sample is wholly read
    with exoscope.twin.serve(replace(tenant, recipients=tuple(kept)), propagation=0.2, token_lifetime=600.0) as twin:
        yield twin


@pytest.fixture
def connector(
    served: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Connector:
    return Connector(served, tmp_path, capsys, monkeypatch)


@pytest.fixture
def connector_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Connector]]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(tenant: Snapshot, **options: Any) -> Connector:
            lives = {"propagation": 0.2, "token_lifetime": 2.0, "operator_lifetime": 600.0}
            twin = stack.enter_context(exoscope.twin.serve(tenant, **{**lives, **options}))
            return Connector(twin, tmp_path, capsys, monkeypatch)

        yield start


# -- signing in --------------------------------------------------------------------------------------------------------


def test_each_way_in_which_a_sign_in_fails(connector: Connector) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    ids = [each.key_id for each in app.credentials]
    expired = connector.twin.entra.add_secret(app.app_id, ends=datetime.now(UTC) - timedelta(days=1))
    table: list[tuple[str, str | None, tuple[object, ...], str, str]] = [
        (OMNISCOPE, ids[0], (), "credential", "secret-id"),
        (OMNISCOPE, "not-the-secret", (), "credential", "wrong-secret"),
        (OMNISCOPE, connector.twin.secret(app_named(load_sample(), CRM).app_id), (), "credential", "wrong-secret"),
        (OMNISCOPE, expired, (), "credential", "secret-expired"),
        (UNKNOWN, "no-such-secret", (), "credential", "app-unknown"),
        (app.object_id, "no-such-secret", (), "credential", "app-unknown"),
        ("Old Archiver „2019“", None, (), "credential", "app-disabled"),
        (OMNISCOPE, None, ("--tenant", UNKNOWN), "tenant", "tenant-unknown"),
        (OMNISCOPE, None, ("--tenant", "fabrikam.onmicrosoft.com"), "tenant", "tenant-unknown"),
    ]
    for name, secret, words, what, cause in table:
        found = connector.check(name, "--mailbox", "ada@contoso.com", *words, secret=secret, code=1)
        last = found["lines"][-1]
        assert (last["what"], last["cause"], last["result"]) == (what, cause, "failed"), (name, cause)
        assert last["seen"].startswith("AADSTS") or "AADSTS" in last["seen"]
        assert last["remedy"]
        assert found["outcome"] == "failed"
        assert found["stopped"]
    connector.twin.sign_in_faults.refuse(53003, app_id=app.app_id)
    assert connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", code=1)["lines"][-1]["cause"] == "blocked"


def test_the_operator_says_what_the_client_id_is(connector: Connector) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    for mistaken in (app.object_id, app.application_object_id):
        found = connector.check(
            mistaken, "--mailbox", "ada@contoso.com", secret="no-such-secret", code=1, as_operator=True
        )
        assert found["lines"][-1]["cause"] == "object-id"
        assert app.app_id in found["lines"][-1]["remedy"]
    found = connector.check(UNKNOWN, "--mailbox", "ada@contoso.com", secret="no-such-secret", code=1, as_operator=True)
    assert found["lines"][-1]["cause"] == "app-unknown"
    assert TENANT.id in found["lines"][-1]["meaning"]


def test_a_domain_names_the_tenant_as_well(connector: Connector) -> None:
    found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--tenant", TENANT.domain.upper())
    assert found["tenant_id"] == TENANT.id


def test_a_certificate(connector: Connector) -> None:
    app_id = app_named(load_sample(), OMNISCOPE).app_id
    words = ("--mailbox", "ada@contoso.com", "--certificate", connector.twin.folder.operator)
    refused = connector.check(OMNISCOPE, *words, code=1)
    assert refused["lines"][-1]["cause"] == "certificate-refused"
    connector.twin.entra.add_certificate(app_id, connector.twin.folder.operator_certificate)
    assert connector.check(OMNISCOPE, *words)["outcome"] == "ok"


def test_an_authority_that_is_not_there_and_one_that_is_not_trusted(connector: Connector) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        gone = _endpoints(connector, authority=f"https://127.0.0.1:{taken.getsockname()[1]}")
        found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--endpoints", gone, code=6)
    assert [line["cause"] for line in found["lines"]] == ["authority-unreachable"]
    untrusted = _endpoints(connector, ca=None)
    found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--endpoints", untrusted, code=1)
    assert [line["cause"] for line in found["lines"]] == ["authority-untrusted"]
    graph = connector.twin.ready["graph"].removesuffix("/v1.0")
    strange = _endpoints(connector, authority=graph)  # a service, and no authority
    found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--endpoints", strange, code=1)
    assert [line["cause"] for line in found["lines"]] == ["authority-strange"]


def test_graph_that_is_not_there(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "DEADLINE", 1.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = _endpoints(connector, graph=f"https://127.0.0.1:{taken.getsockname()[1]}")
        connector.twin.entra.name_resource(f"https://127.0.0.1:{taken.getsockname()[1]}", GRAPH)
        found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--endpoints", gone, code=6)
    assert found["lines"][-1]["cause"] == "no-answer"
    assert found["outcome"] == "unknown"


def _endpoints(connector: Connector, **changes: str | None) -> Path:
    ready = connector.twin.ready
    ends = {
        "authority": ready["authority"].rpartition("/")[0],
        "graph": ready["graph"].removesuffix("/v1.0"),
        "exchange": ready["wsman"].removesuffix("/wsman"),
        "ca": ready["ca"],
        **changes,
    }
    path = connector.folder / "endpoints.toml"
    table = {"tenant": TENANT.id, "endpoints": {key: value for key, value in ends.items() if value is not None}}
    path.write_text(toml(table), encoding="utf-8")
    return path


# -- mailboxes ---------------------------------------------------------------------------------------------------------


def test_by_a_policy(connector: Connector) -> None:
    found = connector.check(CRM, "--mailbox", "li.wei@contoso.com", "--not-mailbox", "ada@contoso.com")
    assert found["outcome"] == "ok"
    assert "[RAOP]" in lines(found, "not-mailbox")["ada@contoso.com"]["seen"]
    alone = connector.check(CRM, "--mailbox", "ada@contoso.com", code=1)
    assert lines(alone, "mailbox")["ada@contoso.com"]["cause"] == "policy-likely"
    words = ("--mailbox", "li.wei@contoso.com", "--mailbox", "ada@contoso.com", "--not-mailbox", "ceo@contoso.com")
    told = connector.check(CRM, *words, code=1, as_operator=True)
    assert "Exchange says it may" in lines(told, "mailbox")["li.wei@contoso.com"]["meaning"]
    assert lines(told, "mailbox")["ada@contoso.com"]["cause"] == "access-policy"
    assert "Exchange says it must be" in lines(told, "not-mailbox")["ceo@contoso.com"]["meaning"]


def test_by_role_assignments(connector: Connector) -> None:
    words = ("--permission", "calendars.read", "--mailbox", "room-wien@contoso.com")
    found = connector.check(ROOMS, *words, "--not-mailbox", "ada@contoso.com")
    assert found["permission"] == "Calendars.Read"
    assert lines(found, "roles")[None]["seen"] == "none"
    assert "no sign that something is missing" in lines(found, "roles")[None]["meaning"]
    wrong = connector.check(ROOMS, *words[:2], "--mailbox", "ada@contoso.com", code=1)
    assert lines(wrong, "mailbox")["ada@contoso.com"]["cause"] == "refused"
    words = (*words, "--mailbox", "ada@contoso.com", "--not-mailbox", "ceo@contoso.com")
    told = connector.check(ROOMS, *words, code=1, as_operator=True)
    assert lines(told, "mailbox")["room-wien@contoso.com"]["result"] == "ok"
    assert lines(told, "mailbox")["ada@contoso.com"]["cause"] == "out-of-scope"
    assert lines(told, "not-mailbox")["ceo@contoso.com"]["result"] == "ok"
    none = connector.check(ROOMS, "--mailbox", "room-wien@contoso.com", code=1, as_operator=True)
    assert lines(none, "mailbox")["room-wien@contoso.com"]["cause"] == "no-grant"


def test_mailboxes_that_no_permission_opens(connector: Connector) -> None:
    contractor, group = f"contractor@{TENANT.domain}", OMNISCOPE_GROUP
    found = connector.check(OMNISCOPE, "--mailbox", contractor, "--mailbox", group, code=1, as_operator=True)
    assert lines(found, "mailbox")[contractor]["cause"] == "mailbox-unusable"
    assert "a MailUser" in lines(found, "mailbox")[contractor]["meaning"]
    assert lines(found, "mailbox")[group]["cause"] == "address-unknown"
    assert "MailUniversalSecurityGroup" in lines(found, "mailbox")[group]["meaning"]
    guest = f"auditor_fabrikam.com#EXT#@{TENANT.domain}"  # what follows a # would be no part of the path
    outside = connector.check(
        OMNISCOPE, "--mailbox", "ada@contoso.com", "--not-mailbox", contractor, "--not-mailbox", guest, code=6
    )
    assert lines(outside, "not-mailbox")[guest]["cause"] == "mailbox-unusable"
    assert lines(outside, "not-mailbox")[contractor]["result"] == "unknown"


def test_a_consent_reads_what_it_must_not(connector: Connector) -> None:
    found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--not-mailbox", "ceo@contoso.com", code=1)
    assert lines(found, "not-mailbox")["ceo@contoso.com"]["cause"] == "tenant-wide-consent"
    button = lines(found, "test-button")["ada@contoso.com"]
    assert (button["result"], button["cause"]) == ("note", "user-read")
    assert "Authorization_RequestDenied" in button["seen"]
    reader = connector.check("Sales Insight", "--mailbox", "ada@contoso.com", code=1)
    assert lines(reader, "test-button")["ada@contoso.com"]["seen"] == "HTTP 200"


def test_a_directory_id_and_awkward_names(connector: Connector) -> None:
    tenant = load_sample()
    ada = next(each for each in tenant.recipients if each.primary_smtp_address == "ada@contoso.com")  # type: ignore[union-attr]  # the sample is wholly read
    odd = "sean.o'brien@contoso.com"  # an alias, which the twin does not take; the quote must arrive as it is
    found = connector.check(
        OMNISCOPE, "--mailbox", ada.external_directory_object_id, "--mailbox", odd, "--mailbox", odd.upper(), code=6
    )
    asked = lines(found, "mailbox")
    assert asked[ada.external_directory_object_id]["result"] == "ok"
    assert set(asked) == {ada.external_directory_object_id, odd}, "each once, as it was named first"
    assert "NotModelled" in asked[odd]["seen"]


def test_throttled_while_it_asks(connector: Connector) -> None:
    connector.twin.graph_faults.fail(429, code="TooManyRequests", path="/users/", retry_after=0.01)
    assert connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com")["outcome"] == "ok"


# -- sending -----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_whatever_is_asked_of_sending(connector: Connector) -> None:
    name = "Signature Service’s App"
    app_id = app_named(load_sample(), name).app_id
    seen = len(decisions(connector.twin))
    alone = connector.check(name, "--permission", "Mail.Read", "--mailbox", "ada@contoso.com", "--send", code=1)
    assert lines(alone, "send")[None]["cause"] == "send-untold"
    words = ("--mailbox", "ada@contoso.com", "--not-mailbox", "ceo@contoso.com", "--send")
    told = connector.check(name, *words, code=1, as_operator=True)
    assert set(lines(told, "send")) == {"ada@contoso.com", "ceo@contoso.com"}
    assert connector.twin.graph.mailboxes.sent == []
    asked = [each for each in decisions(connector.twin)[seen:] if each["app_id"] == app_id]
    assert asked
    assert {each["permission"] for each in asked} == {"Mail.ReadBasic"}, "no call that needs Mail.Send was made"


# -- changes that do not act yet ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_scoped_by_a_plan_and_checked_by_its_owner(connector_of: Callable[..., Connector]) -> None:
    connector = connector_of(few(load_sample()))
    intent, plan = connector.folder / "scope.yaml", connector.folder / "plan.json"
    intent.write_text(INTENT, encoding="utf-8")
    profile = ("--profile", connector.twin.ready["profile"])
    words = ("--mailbox", "ada@contoso.com", "--not-mailbox", "ceo@contoso.com")
    connector.check(OMNISCOPE, *words, code=1)
    connector.run("plan", intent, "-o", plan, *profile, code=0)
    connector.run("apply", plan, "--yes", "--wait", "1m", *profile, code=0)
    found = connector.check(OMNISCOPE, *words)
    assert found["outcome"] == "ok"
    assert lines(found, "roles")[None]["seen"] == "none", "nothing is left in the token"
    told = connector.check(OMNISCOPE, *words, as_operator=True)
    assert told["outcome"] == "ok"
    text = connector.run(
        "check",
        "--tenant",
        TENANT.id,
        "--client-id",
        found["client_id"],
        "--secret-ref",
        f"file:{connector.twin.ready['secrets'][found['client_id']]}",
        *words,
        "--endpoints",
        connector.twin.ready["profile"],
        code=0,
    )
    assert "ok       mailbox ada@contoso.com: The connector can read this mailbox." in text
    assert text.rstrip().endswith("Outcome: ok")


def test_a_grant_that_does_not_act_yet_and_one_that_still_does(connector_of: Callable[..., Connector]) -> None:
    connector = connector_of(few(load_sample()), propagation=600.0)
    now = connector.twin.tenant.snapshot()
    assert isinstance(now.role_assignments, tuple)
    rooms = app_named(now, ROOMS)
    wide = RoleAssignment("wide", "Application Calendars.Read", rooms.object_id, True, OrganizationScope())
    connector.twin.tenant.change("somebody else", role_assignments=(*now.role_assignments, wide))
    words = ("--permission", "Calendars.Read", "--mailbox", "ada@contoso.com")
    alone = connector.check(ROOMS, *words, code=1)
    assert lines(alone, "mailbox")["ada@contoso.com"]["cause"] == "refused"
    told = connector.check(ROOMS, *words, code=3, as_operator=True)
    assert lines(told, "mailbox")["ada@contoso.com"]["cause"] == "cached-denial"
    ready = datetime.fromisoformat(told["ready_at"])
    assert timedelta(seconds=500) < ready - datetime.now(UTC) <= timedelta(seconds=601)
    opens = connector.check(
        ROOMS, *words[:2], "--mailbox", "ceo@contoso.com", "--not-mailbox", "ada@contoso.com", code=1, as_operator=True
    )
    assert lines(opens, "not-mailbox")["ada@contoso.com"]["cause"] == "will-open"


@pytest.mark.long
def test_what_a_journal_tells_of_a_change_excuses_what_it_took_away(connector_of: Callable[..., Connector]) -> None:
    connector = connector_of(few(load_sample()), propagation=600.0)
    intent, plan = connector.folder / "scope.yaml", connector.folder / "plan.json"
    rooms = app_named(load_sample(), ROOMS)
    intent.write_text(
        f"version: 1\napps:\n  - {{app: {rooms.app_id}, permissions: [Mail.ReadBasic], mechanism: rbac, "
        f"scope: {{group: {OMNISCOPE_GROUP}}}}}\n",
        encoding="utf-8",
    )
    profile = ("--profile", connector.twin.ready["profile"])
    connector.run("plan", intent, "-o", plan, *profile, code=0)
    connector.run("apply", plan, "--yes", *profile, code=3)
    words = ("--permission", "Mail.ReadBasic", "--mailbox", "ada@contoso.com")
    told = connector.check(ROOMS, *words, code=3, as_operator=True)
    assert lines(told, "mailbox")["ada@contoso.com"]["cause"] == "cached-denial"


def test_the_operators_side_refuses(connector_of: Callable[..., Connector]) -> None:
    connector = connector_of(few(load_sample()))
    connector.twin.sign_in_faults.refuse(53003, app_id=connector.twin.operator.app_id, times=9)
    found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", code=6, as_operator=True)
    assert lines(found, "exchange")[None]["cause"] == "exchange-unasked"
    assert "AADSTS53003" in lines(found, "exchange")[None]["seen"]
    assert lines(found, "mailbox")["ada@contoso.com"]["result"] == "ok"


def test_nothing_is_read_of_a_tenant_that_is_not_the_connectors(tmp_path: Path) -> None:
    class Elsewhere:
        def prove_tenant(self) -> Tenant:
            return replace(TENANT, id=UNKNOWN)

    found = operating.look(
        Elsewhere(),  # type: ignore[arg-type]  # anything else of it would be missed
        Store(tmp_path),
        TENANT.id,
        UNKNOWN,
        "Mail.Read",
        ["ada@contoso.com"],
        send=False,
        waits={},
        lengthen=False,
        progress=lambda text: None,
    )
    assert (found.tenant_id, found.views, found.problem) == (UNKNOWN, (), None)


# -- what is refused before anything is asked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "--mailbox"),
        (("--mailbox", "ada"), "is no mailbox"),
        (("--mailbox", "ada@contoso.com/../x"), "is no mailbox"),
        (("--mailbox", "a@b.c", "--not-mailbox", "A@B.C"), "stands under --mailbox and --not-mailbox"),
        (("--mailbox", "a@b.c", "--permission", "Mail.Send"), "no call that asks for Mail.Send"),
        (("--mailbox", "a@b.c", "--permission", "Nothing.OfTheKind"), "no call that asks for"),
        (("--mailbox", "a@b.c", "--tenant", "common"), "--tenant must be"),
        (("--mailbox", "a@b.c", "--tenant", "a.b/c"), "--tenant must be"),
        (("--mailbox", "a@b.c", "--secret-ref", "hunter2-my-secret"), "--secret-ref must be a reference"),
        (("--mailbox", "a@b.c", "--secret-ref", "keyring:hunter2"), "keyring:SERVICE/USER"),
        (("--mailbox", "a@b.c", "--secret-ref", "env:NOT_SET_ANYWHERE"), "is not set"),
        (
            ("--mailbox", "a@b.c", "--certificate", "none.pem", "--passphrase-ref", "hunter2"),
            "--passphrase-ref must be",
        ),
        (("--mailbox", "a@b.c", "--passphrase-ref", "env:X"), "goes with --certificate"),
        (("--mailbox", "a@b.c", "--cloud", "germany"), "closed"),
        (("--mailbox", "a@b.c", "--yes"), "about --profile"),
    ],
)
def test_what_is_wrong_with_the_question(connector: Connector, words: tuple[str, ...], says: str) -> None:
    given = list(words)
    if "--secret-ref" not in given and "--certificate" not in given:
        given += ["--secret-ref", "env:PATH"]
    if "--tenant" not in given:
        given += ["--tenant", TENANT.id]
    connector.run("check", "--client-id", UNKNOWN, *given, code=2)
    assert says in connector.talk
    assert "hunter2" not in connector.talk


def test_ids_and_profiles_that_do_not_fit(connector: Connector) -> None:
    base = ("--tenant", TENANT.id, "--secret-ref", "env:PATH", "--mailbox", "a@b.c")
    connector.run("check", "--client-id", "omniscope", *base, code=2)
    assert "--client-id must be" in connector.talk
    profile = connector.twin.ready["profile"]
    connector.run("check", "--client-id", UNKNOWN, *base, "--cloud", "dod", "--profile", profile, code=2)
    connector.run("check", "--client-id", UNKNOWN, *base, "--endpoints", profile, "--profile", profile, code=2)
    alone = _endpoints(connector)
    alone.write_text(alone.read_text(encoding="utf-8") + '\n[transport]\nkind = "admin-api"\n', encoding="utf-8")
    connector.run("check", "--client-id", UNKNOWN, *base, "--profile", alone, code=2)
    assert "has no [operator]" in connector.talk


def test_the_profile_at_hand_is_not_taken_by_itself(connector: Connector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector's owner who happens to stand beside an exoscope.toml signs nobody else in."""
    monkeypatch.setenv("EXOSCOPE_PROFILE", connector.twin.ready["profile"])
    found = connector.check(OMNISCOPE, "--mailbox", "ada@contoso.com", "--endpoints", _endpoints(connector))
    assert lines(found, "exchange") == {}
