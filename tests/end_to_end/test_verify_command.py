"""``exoscope verify`` as a user types it, against a twin: every verdict, with its cause, its remedy and its evidence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import exoscope.twin
from exoscope.cli import frame, program
from exoscope.model import App, OrganizationScope, RoleAssignment, Snapshot
from exoscope.powershell import read
from exoscope.twin.exchange import CmdletError
from exoscope.twin.server import Twin
from reading_results import few
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample

INTENT = f"""\
version: 1
apps:
  - app: {OMNISCOPE}
    permissions: [Mail.Read]
    mechanism: MECHANISM
    scope:
      group: {OMNISCOPE_GROUP}
    prove:
      never: [ceo@contoso.com]
"""


class Desk:
    """A served tenant and the commands of a user in front of it."""

    def __init__(self, folder: Path, twin: Twin, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.twin, self._capsys = folder, twin, capsys
        self.talk = ""

    def run(self, *words: object, code: int = 0) -> Any:
        given = [str(word) for word in words]
        ended = frame._outcome(program, given, as_json="--json" in given)
        said = self._capsys.readouterr()
        self.talk = said.err
        assert ended == code, f"exit {ended}\n{said.out}\n{said.err}"
        return json.loads(said.out) if "--json" in given else said.out

    def intent(self, mechanism: str = "rbac", **changes: str) -> Path:
        text = INTENT.replace("MECHANISM", mechanism)
        for old, new in changes.items():
            text = text.replace(old.replace("_", "."), new)
        path = self.folder / "scope.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def plan(self, intent: Path) -> Path:
        path = self.folder / "plan.json"
        self.run("plan", intent, "-o", path)
        return path

    def verify(self, subject: Path, *words: object, code: int = 0) -> Any:
        return self.run("verify", subject, "--json", *words, code=code)


@pytest.fixture
def desk_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Desk]]:
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(tenant: Snapshot, **options: Any) -> Desk:
            twin = stack.enter_context(
                exoscope.twin.serve(tenant, **{"propagation": 0.3, "token_lifetime": 60.0, **options})
            )
            monkeypatch.setenv("EXOSCOPE_PROFILE", twin.ready["profile"])
            return Desk(tmp_path, twin, capsys)

        yield start


@pytest.fixture
def desk(desk_of: Callable[..., Desk]) -> Desk:
    return desk_of(few(load_sample()))


def apps_of(tenant: Snapshot) -> tuple[App, ...]:
    assert isinstance(tenant.apps, tuple)
    return tenant.apps


def rows(answer: Any, permission: str = "Mail.Read") -> dict[str, Any]:
    return {check["mailbox"]: check for check in answer["apps"][0]["permissions"][permission]["checks"]}


def test_from_violated_to_proven_and_what_the_auditor_gets(desk: Desk) -> None:
    intent = desk.intent()
    before = desk.verify(intent, code=1)
    assert before["verdict"] == "violated"
    assert before["apps"][0]["not_scoped_because"] == ["leftover-consent"]
    ceo = rows(before)["ceo@contoso.com"]
    assert (ceo["expected"], ceo["predicted"], ceo["exchange"], ceo["graph"]) == (
        "denied",
        "allowed",
        "denied",
        "allowed",
    )
    assert ceo["cause"] == "leftover-consent"
    consent = app_named(desk.twin.tenant.snapshot(), OMNISCOPE).consents[0].id
    assert ceo["remedy"].startswith("Invoke-MgGraphRequest -Method DELETE")
    assert consent in ceo["remedy"]

    told = desk.run("verify", intent, code=1)
    outside = [address for address, check in rows(before).items() if check["cause"] == "leftover-consent"]
    assert f"leftover-consent, {len(outside)} mailbox(es)" in told
    assert told.count(ceo["remedy"]) == 1, "the same command for many mailboxes is told once"
    assert all(f"{address}" in told for address in outside)

    plan = desk.plan(intent)
    run = desk.run("apply", plan, "--yes", "--wait", "1m", "--json")
    page = desk.folder / "evidence.html"
    after = desk.verify(plan, "--evidence", page)
    assert after["verdict"] == "proven"
    assert after["apps"][0]["scoped"] is True
    assert after["old_tokens_until"] is not None, (
        "tokens from before the removal still act, and the verdict says until when"
    )
    assert {check["cause"] for check in rows(after).values()} == {None}
    for address, check in rows(after).items():
        expected = "allowed" if address == "ada@contoso.com" else check["expected"]
        assert (check["expected"], check["predicted"], check["exchange"], check["graph"]) == (expected,) * 4
        assert re.fullmatch(r"[0-9a-f-]{36}", check["graph_request_id"])
    proof = after["apps"][0]["permissions"]["Mail.Read"]
    assert proof["sampled"] == proof["of"] > 0
    assert proof["upper_bound"] == 0.0

    evidence = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert evidence["run"] == run["run"]
    assert evidence["claims"][0]["before"] == len(rows(after))
    assert evidence["claims"][0]["inside"] == sum(check["expected"] == "allowed" for check in rows(after).values())
    assert json.loads(plan.read_text(encoding="utf-8"))["hash"] == evidence["plan_hash"]
    assert "ada@contoso.com" in page.read_text(encoding="utf-8")
    for repeat in evidence["repeat"]:
        lines = [line for line in repeat["command"].splitlines() if not line.startswith("Invoke-RestMethod")]
        assert read("\n".join(lines)), "what a second person is told to run is what the guard reads"

    desk.verify(plan, "--evidence", page, "--counts")
    for path in (page, page.with_suffix(".json")):
        assert "@contoso.com" not in path.read_text(encoding="utf-8")
        if os.name == "posix":
            assert path.stat().st_mode & 0o077 == 0
    assert desk.verify(intent)["verdict"] == "proven", "the intent alone proves the same"


@pytest.fixture
def scoped(desk: Desk) -> tuple[Desk, Path]:
    plan = desk.plan(desk.intent())
    desk.run("apply", plan, "--yes", "--wait", "1m", "--json")
    return desk, plan


def test_a_leak_by_another_assignment_is_named_with_the_command_that_mends_it(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    app = app_named(desk.twin.tenant.snapshot(), OMNISCOPE)
    wide = RoleAssignment("somebody's", "Application Mail.ReadWrite", app.object_id, True, OrganizationScope())
    now = desk.twin.tenant.state
    desk.twin.tenant.change("somebody else", role_assignments=(*now.role_assignments, wide))
    answer = desk.verify(plan, code=1)
    assert answer["verdict"] == "violated"
    assert "org-wide-assignment" in answer["apps"][0]["not_scoped_because"]
    ceo = rows(answer)["ceo@contoso.com"]
    assert ceo["cause"] == "other-assignment"
    ((remedy,),) = read(ceo["remedy"])
    assert remedy.cmdlet == "Remove-ManagementRoleAssignment"
    assert remedy.parameters["Identity"] == "somebody's"
    assert rows(answer)["ada@contoso.com"]["cause"] is None


@pytest.mark.long
def test_a_test_that_exchange_refuses_leaves_the_other_witnesses_their_say(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    refused = CmdletError("System.UnauthorizedAccessException", "no role for this", category="PermissionDenied")
    desk.twin.faults.fail("Test-ServicePrincipalAuthorization", refused, times=2)
    answer = desk.verify(plan, code=6)
    proof = answer["apps"][0]["permissions"]["Mail.Read"]
    assert answer["verdict"] == proof["verdict"] == "unknown"
    assert "no role for this" in proof["why"]
    assert {check["exchange_test"] for check in rows(answer).values()} == {"unknown"}
    ceo = rows(answer)["ceo@contoso.com"]
    assert (ceo["predicted"], ceo["exchange"], ceo["graph"]) == ("denied", "unknown", "denied")

    app = app_named(desk.twin.tenant.snapshot(), OMNISCOPE)
    wide = RoleAssignment("somebody's", "Application Mail.Read", app.object_id, True, OrganizationScope())
    now = desk.twin.tenant.state
    desk.twin.tenant.change("somebody else", role_assignments=(*now.role_assignments, wide))
    assert desk.verify(plan, code=1)["verdict"] == "violated", (
        "what is seen to be wrong is not hidden by what is not seen"
    )


@pytest.mark.long
def test_a_journal_that_cannot_be_read_is_among_what_is_not_covered(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    (run,) = desk.run("runs", "--json")["runs"]
    (journal,) = Path(desk.twin.ready["profile"]).parent.glob(f"state/runs/{run['run']}/journal.jsonl")
    assert not any("journals" in line for line in desk.verify(plan)["not_covered"])
    journal.write_bytes(journal.read_bytes().replace(b'"record":"step-done"', b'"record":"step-dome"', 1))
    answer = desk.verify(plan)
    assert any("journals cannot be read" in line and run["run"] in line for line in answer["not_covered"])


@pytest.mark.long
def test_an_app_of_which_nothing_is_asked_is_not_carried_by_another_that_is_proven(scoped: tuple[Desk, Path]) -> None:
    desk, _ = scoped
    both = desk.folder / "both.yaml"
    other = "  - app: Contoso Backup Connector\n    permissions: [User.Read.All]\n    mechanism: rbac\n    scope: {group: GROUP}\n"
    both.write_text(INTENT.replace("MECHANISM", "rbac") + other.replace("GROUP", OMNISCOPE_GROUP), encoding="utf-8")
    answer = desk.verify(both, code=1)
    (ours, theirs) = answer["apps"]
    assert ours["permissions"]["Mail.Read"]["verdict"] == "proven"
    assert (theirs["permissions"], theirs["scoped"]) == ({}, False)
    assert answer["verdict"] == "violated", "it reads every mailbox by what the intent does not name"


def test_who_joins_is_moved_and_no_violation(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    now = desk.twin.tenant.state
    zoe = next(each for each in now.recipients if each.primary_smtp_address == "zoe@contoso.com")
    groups = tuple(
        replace(each, members=(*(each.members or ()), zoe.guid))
        if each.primary_smtp_address == OMNISCOPE_GROUP
        else each
        for each in now.groups
    )
    desk.twin.tenant.change("somebody joins", groups=groups)
    answer = desk.verify(plan, "--wait", "1m")
    assert answer["verdict"] == "proven"
    app_id = answer["apps"][0]["app_id"]
    assert answer["moved"] == [
        {"app_id": app_id, "permission": "Mail.Read", "mailbox": "zoe@contoso.com", "change": "joined"}
    ]
    assert rows(answer)["zoe@contoso.com"]["expected"] == "allowed"


def test_without_the_apps_credential_it_is_configured_at_most(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    profile = Path(desk.twin.ready["profile"])
    without = profile.with_name("without.toml")
    kept, in_apps = [], False
    for line in profile.read_text(encoding="utf-8").splitlines():
        in_apps = line.startswith("[apps") or (in_apps and not line.startswith("["))
        kept += [] if in_apps else [line]
    without.write_text("\n".join(kept) + "\n", encoding="utf-8")
    answer = desk.verify(plan, "--profile", without, code=6)
    assert answer["verdict"] == "configured"
    assert "no credential" in answer["apps"][0]["permissions"]["Mail.Read"]["why"]
    assert {check["graph"] for check in rows(answer).values()} == {"not-asked"}
    assert desk.verify(plan, "--profile", without, "--accept", "configured", code=0)["verdict"] == "configured"


@pytest.mark.long
def test_a_sample_states_its_bound_and_asks_the_boundary(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    answer = desk.verify(plan, "--sample", "1", "--seed", "5")
    proof = answer["apps"][0]["permissions"]["Mail.Read"]
    asked = {
        address
        for address, check in rows(answer).items()
        if check["graph"] != "not-asked" and check["expected"] == "denied"
    }
    assert "ceo@contoso.com" in asked, "what must never be reached is always asked"
    assert proof["sampled"] == len(asked) < proof["of"]
    assert 0 < proof["upper_bound"] < 1
    assert proof["seed"] == 5
    again = rows(desk.verify(plan, "--sample", "1", "--seed", "5"))
    assert asked == {
        name for name, check in again.items() if check["graph"] != "not-asked" and check["expected"] == "denied"
    }


@pytest.mark.long
def test_refusals_can_be_limited(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    answer = desk.verify(plan, "--limit-refusals", "1")
    asked = [check for check in rows(answer).values() if check["graph"] == "denied"]
    assert [check["mailbox"] for check in asked] == ["ceo@contoso.com"]


def test_what_cannot_be_read_is_unknown_never_clean(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    desk.twin.faults.fail(
        "Get-ManagementRoleAssignment",
        CmdletError("System.UnauthorizedAccessException", "Access denied.", category="PermissionDenied"),
        times=50,
    )
    answer = desk.verify(plan, code=6)
    assert answer["verdict"] == "unknown"


def test_mail_send_is_configured_at_best(desk: Desk) -> None:
    intent = desk.intent()
    intent.write_text(
        intent.read_text(encoding="utf-8").replace("[Mail.Read]", "[Mail.Read, Mail.Send]"), encoding="utf-8"
    )
    plan = desk.plan(intent)
    desk.run("apply", plan, "--yes", "--wait", "1m", "--json")
    quiet = desk.verify(plan, code=6)
    assert quiet["verdict"] == "configured"
    assert {check["graph"] for check in rows(quiet, "Mail.Send").values()} == {"not-asked"}
    assert quiet["apps"][0]["permissions"]["Mail.Read"]["verdict"] == "proven"
    probed = desk.verify(plan, "--probe-send", code=6)
    assert probed["apps"][0]["permissions"]["Mail.Send"]["verdict"] == "configured"
    assert {check["graph"] for check in rows(probed, "Mail.Send").values()} == {"allowed", "denied"}


def test_access_policy_mode_is_proven_too(desk_of: Callable[..., Desk]) -> None:
    tenant = few(load_sample())
    assert isinstance(tenant.apps, tuple)
    bare = tuple(
        replace(each, consents=(), requested=()) if each.display_name == OMNISCOPE else each for each in tenant.apps
    )
    desk = desk_of(replace(tenant, apps=bare))
    plan = desk.plan(desk.intent("access-policy"))
    desk.run("apply", plan, "--yes", "--wait", "1m", "--json")
    answer = desk.verify(plan, "--wait", "1m")
    assert answer["verdict"] == "proven"
    app_id = answer["apps"][0]["app_id"].casefold()
    policies = tuple(each for each in desk.twin.tenant.state.access_policies if each.app_id.casefold() != app_id)
    desk.twin.tenant.change("somebody removes the policy", access_policies=policies)
    leak = desk.verify(plan, code=1)
    assert leak["verdict"] == "violated"
    assert rows(leak)["ceo@contoso.com"]["cause"] == "policy-missing"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.json",), "nowhere.json cannot be read"),
        (("SCOPE", "--sample", "3", "--all"), "exclude each other"),
        (("SCOPE", "--counts"), "--evidence"),
        (("SCOPE", "--evidence", "no/such/folder/e.html"), "cannot be written"),
        (("SCOPE", "--accept", "anything"), "configured"),
    ],
)
def test_bad_input_is_exit_2(desk: Desk, words: tuple[str, ...], says: str) -> None:
    scope = desk.intent()
    desk.run("verify", *(scope if word == "SCOPE" else word for word in words), code=2)
    assert says in desk.talk


@pytest.mark.parametrize("page", ["plan.html", "plan.json"])
def test_evidence_never_overwrites_the_plan(scoped: tuple[Desk, Path], page: str) -> None:
    desk, plan = scoped
    whole = plan.read_bytes()
    for subject in (plan, desk.intent()):
        desk.verify(subject, "--evidence", desk.folder / page, code=2)
        assert plan.read_bytes() == whole


def test_an_edited_plan_is_refused(scoped: tuple[Desk, Path]) -> None:
    desk, plan = scoped
    plan.write_text(plan.read_text(encoding="utf-8").replace("Mail.Read", "Mail.ReadWrite", 1), encoding="utf-8")
    desk.run("verify", plan, code=4)
    assert "edited" in desk.talk


@pytest.mark.parametrize(
    ("permission", "inside"), [pytest.param("Mail.ReadWrite", 2, marks=pytest.mark.long), ("Mail.Read", 6)]
)
def test_two_mechanisms_side_by_side_are_each_held_to_their_own(
    desk_of: Callable[..., Desk], permission: str, inside: int
) -> None:
    """RBAC over one group, a policy over another: neither gate waits for the other's consent, and a GET that a narrower
    permission explains is no evidence for the wider one."""
    tenant = few(load_sample())
    assert isinstance(tenant.apps, tuple)
    bare = tuple(
        replace(each, consents=(), requested=()) if each.display_name == OMNISCOPE else each for each in tenant.apps
    )
    desk = desk_of(replace(tenant, apps=bare))
    scope = desk.intent()
    scope.write_text(
        f"""\
version: 1
apps:
  - {{app: {OMNISCOPE}, permissions: [Mail.Read], mechanism: rbac, scope: {{group: {OMNISCOPE_GROUP}}}}}
  - {{app: {OMNISCOPE}, permissions: [{permission}], mechanism: access-policy, scope: {{group: executives@contoso.com}}}}
""",
        encoding="utf-8",
    )
    plan = desk.plan(scope)
    desk.run("apply", plan, "--yes", "--wait", "1m", "--json")
    answer = desk.verify(plan, "--wait", "1m")
    assert answer["verdict"] == "proven"
    proof = answer["apps"][0]["permissions"][permission]
    assert sum(check["expected"] == "allowed" for check in proof["checks"]) == inside
    ada = rows(answer, permission)["ada@contoso.com"]
    assert ada["graph"] == ("allowed" if permission == "Mail.Read" else "not-asked")


def test_where_the_intents_group_is_missing_nothing_is_asked_and_what_is_known_is_said(desk: Desk) -> None:
    scope = desk.intent()
    scope.write_text(scope.read_text(encoding="utf-8").replace(OMNISCOPE_GROUP, "gone@contoso.com"), encoding="utf-8")
    answer = desk.verify(scope, code=1)
    (app,) = answer["apps"]
    proof = app["permissions"]["Mail.Read"]
    # Whom it should reach nobody can say; that a consent reaches everybody is known all the same.
    assert (app["not_scoped_because"], answer["verdict"], proof["checks"]) == (["leftover-consent"], "violated", [])
    assert "gone@contoso.com" in proof["why"]
    assert "0 times" in desk.talk


def test_where_the_intents_group_is_missing_and_nothing_else_is_held_it_is_unknown(
    desk_of: Callable[..., Desk],
) -> None:
    tenant = few(load_sample())
    bare = [replace(each, consents=()) if each.display_name == OMNISCOPE else each for each in apps_of(tenant)]
    desk = desk_of(replace(tenant, apps=tuple(bare)))
    scope = desk.intent()
    scope.write_text(scope.read_text(encoding="utf-8").replace(OMNISCOPE_GROUP, "gone@contoso.com"), encoding="utf-8")
    answer = desk.verify(scope, code=6)
    assert (answer["verdict"], answer["apps"][0]["permissions"]["Mail.Read"]["checks"]) == ("unknown", [])
