"""``exoscope handover`` as a user types it; and a connector as a vendor writes one (msal, requests), which gets nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msal
import pytest
from msgspec.structs import replace

import exoscope.twin
from exoscope.cli import frame, program
from exoscope.model import AccessPolicy, PolicyScope, Snapshot
from exoscope.twin.server import Twin
from reading_results import few
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample, quick_profile, session

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "handover.schema.json"
ROOMS, INSIGHT = "Room Display", "Sales Insight"


def restricted(tenant: Snapshot) -> Snapshot:
    """The Omniscope app's consent held back by a policy on its group."""
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.access_policies, tuple)
    group = next(each for each in tenant.groups if each.primary_smtp_address == OMNISCOPE_GROUP)
    app = app_named(tenant, OMNISCOPE)
    scope = PolicyScope(group.display_name, str(group.sid), str(group.external_directory_object_id))
    identity = f"{tenant.tenant.id}\\{app.app_id}:{scope.sid};{scope.object_id}"
    policy = AccessPolicy(identity, app.app_id, "RestrictAccess", scope, None, True)
    return replace(tenant, access_policies=(*tenant.access_policies, policy))


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    tenant = load_sample()
    rooms = [each for each in tenant.recipients if each.primary_smtp_address.startswith("room-")]  # type: ignore[union-attr]  # the sample is wholly read
    small = few(tenant)
    with exoscope.twin.serve(
        restricted(replace(small, recipients=(*small.recipients, *rooms))),  # type: ignore[misc]  # as above
        propagation=0.2,
        token_lifetime=600.0,
    ) as twin:
        yield twin


class Admin:
    """An admin with a profile and a state folder of its own."""

    def __init__(self, twin: Twin, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.twin, self.folder, self._capsys = twin, folder, capsys
        self.talk = ""

    def run(self, *words: object, code: int = 0) -> str:
        given = [str(word) for word in words]
        given += ["--profile", str(quick_profile(self.twin)), "--state", str(self.folder / "state")]
        ended = frame._outcome(program, given, as_json="--json" in given)
        said = self._capsys.readouterr()
        self.talk = said.err
        assert ended == code, f"exit {ended}\n{said.out}\n{said.err}"
        return said.out

    def handover(self, app: str, *words: object, code: int = 0) -> Any:
        answer = json.loads(self.run("handover", "--app", app, "--json", *words, code=code))
        jsonschema.validate(answer, json.loads(SCHEMA.read_text(encoding="utf-8")))
        return answer


@pytest.fixture
def admin(served: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Admin:
    return Admin(served, tmp_path, capsys)


def variables(text: str) -> dict[str, str]:
    """What a shell makes of it."""
    found = {}
    for each in text.splitlines():
        [word] = shlex.split(each)
        name, _, value = word.partition("=")
        found[name] = value
    return found


class VendorsConnector:
    """As a vendor writes one: it knows its variables, the sign-in service and Graph, and nothing of exoscope."""

    def __init__(self, twin: Twin, given: dict[str, str]) -> None:
        self.http = session(twin)
        self.graph = twin.ready["graph"]
        authority = f"{twin.ready['authority'].rpartition('/')[0]}/{given['TENANT_ID']}"
        app = msal.ConfidentialClientApplication(
            given["CLIENT_ID"],
            client_credential=Path(given["CLIENT_SECRET_FILE"]).read_text(encoding="utf-8").rstrip("\n"),
            authority=authority,
            instance_discovery=False,
            http_client=session(twin),
        )
        got = app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
        self.http.headers["Authorization"] = f"Bearer {got['access_token']}"

    def reads(self, mailbox: str, what: str) -> int:
        return self.http.get(f"{self.graph}/users/{mailbox}/{what}?$top=1&$select=id", timeout=20).status_code


@pytest.mark.parametrize(
    ("app", "mechanism", "what", "outside"),
    [(OMNISCOPE, "access-policy", "messages", "ceo@contoso.com"), (ROOMS, "rbac", "calendars", "ada@contoso.com")],
)
def test_a_vendors_connector_works_with_what_was_handed_over(
    admin: Admin, app: str, mechanism: str, what: str, outside: str
) -> None:
    secret = admin.folder / "a place, with spaces" / "connector's.secret"
    secret.parent.mkdir(mode=0o700)
    admin.run("credentials", "add", "--app", app, "--file", secret)
    value = secret.read_text(encoding="utf-8").strip()
    answer = admin.handover(app)
    assert answer["mechanism"] == mechanism
    assert answer["credential"]["kind"] == "secret"
    assert answer["credential"]["where"] == f"file:{secret}"
    assert answer["credential"]["expires"]
    assert answer["findings"] == []
    text = admin.run("handover", "--app", app, "--format", "env")
    given = variables(text)
    assert given == {
        "TENANT_ID": answer["tenant_id"],
        "CLIENT_ID": app_named(load_sample(), app).app_id,
        "CLIENT_SECRET_FILE": str(secret),
    }
    connector = VendorsConnector(admin.twin, given)
    assert answer["mailboxes"]
    assert {connector.reads(mailbox, what) for mailbox in answer["mailboxes"]} == {200}
    assert outside not in answer["mailboxes"]
    assert connector.reads(outside, what) == 403
    page = admin.run("handover", "--app", app, "--recipe", "omniscope")
    for shown in (answer["tenant_id"], answer["client_id"], f"file:{secret}", *answer["mailboxes"], "help.visokio.com"):
        assert shown in page
    assert value not in json.dumps(answer) + text + page + admin.talk, "in no format is the secret itself"


def test_a_certificate_that_was_made_here(admin: Admin) -> None:
    pem = admin.folder / "connector.pem"
    admin.run("credentials", "add", "--app", INSIGHT, "--kind", "certificate", "--file", pem)
    given = variables(admin.run("handover", "--app", INSIGHT, "--format", "env"))
    assert given["CLIENT_CERTIFICATE_FILE"] == str(pem)
    assert "CLIENT_SECRET_FILE" not in given
    answer = admin.handover(INSIGHT)
    assert answer["credential"]["kind"] == "certificate"
    assert "PRIVATE KEY" not in json.dumps(answer)


def test_what_is_not_known_here_is_said(admin: Admin) -> None:
    answer = admin.handover("Helpdesk Bot")
    assert answer["credential"]["where"] is None
    assert [each["code"] for each in answer["findings"]] == ["place-unknown"]
    given = variables(admin.run("handover", "--app", "Helpdesk Bot", "--format", "env"))
    assert set(given) == {"TENANT_ID", "CLIENT_ID"}
    assert "place-unknown" in admin.talk
    wide = admin.handover("Contoso Backup Connector")
    assert wide["mechanism"] == "consent"
    assert "tenant-wide" in [each["code"] for each in wide["findings"]]


def test_what_is_wrong_with_the_question(admin: Admin) -> None:
    admin.run("handover", "--app", "Nobody", code=2)
    assert "no app of the snapshot" in admin.talk
    admin.run("handover", "--app", ROOMS, "--recipe", "omniscop", code=2)
    assert "omniscope" in admin.talk
    admin.run("handover", "--app", ROOMS, "--json", "--format", "env", code=2)
