"""``exoscope doctor`` against the twin: all well, and each failure that an operator meets; first contact with what differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

import exoscope.twin
from exoscope.checking.examining import examine
from exoscope.checking.passes import Passes
from exoscope.checking.seen import DoctorAnswer, Line
from exoscope.clock import SystemClock
from exoscope.exchange.roads import Tried
from exoscope.intent import loads_intent
from exoscope.model import PlanFile
from exoscope.outcome import Exit
from exoscope.planning import dump_plan, plan_hash, plan_scope
from exoscope.profile import AdminApiRoad, LocalPwsh, Profile, load_profile
from exoscope.twin.exchange import session as twin_session
from exoscope.twin.exchange.call import denied
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh
from schemas import schemas
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, TurnedClock, app_named, load_sample, serve

__all__ = ["serve"]
FULL = load_sample()
SAMPLE = replace(FULL, recipients=tuple(FULL.recipients)[:20])  # type: ignore[arg-type]  # they are read
APP = app_named(SAMPLE, OMNISCOPE)
INTENT = loads_intent(
    f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
    f"    scope: {{group: {OMNISCOPE_GROUP}}}\n",
    "scope.yaml",
)
PLAN = plan_scope(SAMPLE, INTENT)
FILE = PlanFile("exoscope/plan@1", plan_hash(PLAN), PLAN)
READER = "f2ef992c-3afb-46b9-b7cf-a126ee74c451"


@pytest.fixture(scope="module")
def shared() -> Iterator[Twin]:
    with exoscope.twin.serve(SAMPLE, propagation=0.2, token_lifetime=600.0) as served:
        yield served


@pytest.fixture
def twin(shared: Twin) -> Iterator[Twin]:
    operator, roles = shared.entra.operator, shared.entra.tokens.directory_roles
    yield shared
    shared.faults.clear()
    shared.entra.operator, shared.entra.tokens.directory_roles = operator, roles
    shared.graph.directory.eligible_roles = ()
    shared.admin_api._read_only = lambda app_id: False


def profile_of(twin: Twin) -> Profile:
    """The twin's profile, with the credential of one app."""
    loaded = load_profile(Path(twin.ready["profile"]), {})
    return replace(loaded, apps={APP.app_id: loaded.apps[APP.app_id]})


ADMIN_API = AdminApiRoad(kind="admin-api")


def look(twin: Twin, plan: PlanFile | None = FILE, *, road: str = "admin-api", **changes: Any) -> DoctorAnswer:
    """Over the admin API, which is the quickest, where nothing else is said."""
    loaded = profile_of(twin)
    if road == "admin-api":
        loaded = replace(loaded, transport=ADMIN_API)
    loaded = replace(loaded, **changes)
    assert loaded.state is not None
    return examine(loaded, clock=SystemClock(), passes=Passes(loaded.state, SystemClock()), plan=plan)


def bad(answer: DoctorAnswer) -> dict[tuple[str, str | None], Line]:
    """Lines that failed or could not be told, by code and subject."""
    return {(line.code, line.subject): line for line in answer.lines if line.state in ("failed", "unknown")}


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_of(each)


@pytest.mark.timeout(240)
def test_all_is_well_as_a_user_types_it(twin: Twin, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(dump_plan(PLAN))
    words = ["doctor", "--for", "plan.json", "--share", "share.json", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", *words],
        cwd=tmp_path,
        env={**os.environ, "EXOSCOPE_PROFILE": twin.ready["profile"], "EXOSCOPE_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert answer["plan"] == FILE.hash
    assert {line["state"] for line in answer["lines"]} == {"ok", "note"}
    assert answer["contact"]["passed"] is True
    assert (answer["engine"], answer["module"], answer["road"]) == ("7.6.0", "3.9.2", "gateway")
    jsonschema.validate(answer, schemas()["doctor"])
    assert not (tmp_path / "state").exists(), "a twin bears the tenant's id: what it answered is no pass"
    told = (tmp_path / "share.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(told), schemas()["doctor-shared"])
    snapshot = json.loads(Path(exoscope.__file__ or "").parent.joinpath("data/sample_tenant.json").read_bytes())
    ours = json.dumps(schemas()["snapshot"]) + " Mail.Read UserMailbox"
    names = {text for text in texts_of(snapshot) if len(text) > 4 and text not in ours}
    assert len(names) > 300
    assert not [name for name in names if f'"{name}"' in told or ("@" in name and name in told)]
    for secret in (str(tmp_path), "127.0.0.1", "contoso", APP.app_id, twin.operator.app_id):
        assert secret not in told
    assert twin.tenant.log == [], "it reads only"


def test_an_operator_who_only_reads_is_told_which_role_a_plan_needs(twin: Twin) -> None:
    twin.admin_api._read_only = lambda app_id: app_id == twin.operator.app_id
    twin.entra.tokens.directory_roles = (READER,)
    answer = look(twin)
    failed = bad(answer)
    assert answer.exit is Exit.FINDINGS
    assert set(failed) == {("cmdlets", "Role Management"), ("delegating", "Application Mail.Read")}
    line = failed["cmdlets", "Role Management"]
    assert "New-ManagementScope is in Role Management here" in line.remedy
    assert "New-ManagementScope" in line.said
    # Without a plan that is a reader as docs/operator.md makes one: told, and nothing is wrong with it.
    assert bad(look(twin, None)) == {}


@pytest.mark.parametrize("road", [pytest.param("gateway", marks=pytest.mark.long), "admin-api"])
def test_cmdlets_that_read_and_test_are_always_needed(twin: Twin, road: str) -> None:
    twin.faults.withheld = frozenset({"get-managementscope", "test-serviceprincipalauthorization"})
    answer = look(twin, None, road=road)
    failed = bad(answer)
    assert failed["cmdlets", "View-Only Configuration"].state == "failed"
    assert failed["cmdlets", "Role Management"].state == "failed"
    assert "management-scope" in failed["first-contact", None].said
    assert answer.contact is not None and not answer.contact.passed


def test_missing_graph_permissions_are_told_with_what_they_are_for(twin: Twin) -> None:
    few = ("Application.Read.All", "Organization.Read.All", "AdministrativeUnit.Read.All")
    twin.entra.operator = replace(twin.entra.operator, graph_roles=few)
    failed = bad(look(twin))
    missing = {subject for code, subject in failed if code == "graph-permissions"}
    assert missing == {
        "User.Read.All",
        "GroupMember.Read.All",
        "Policy.Read.All",
        "AppRoleAssignment.ReadWrite.All",
    } | (
        {each for step in PLAN.steps if step.script is None for each in step.needs}
        - {"AppRoleAssignment.ReadWrite.All"}
    )
    assert "token-lifetime" in failed["graph-permissions", "Policy.Read.All"].said


def test_a_token_that_exchange_does_not_take(twin: Twin) -> None:
    twin.entra.operator = replace(twin.entra.operator, exchange_roles=())
    answer = look(twin)
    failed = bad(answer)
    assert "Exchange.ManageAsApp" in failed["road", None].remedy
    assert failed["first-contact", None].state == "unknown"
    assert answer.exit is Exit.FINDINGS
    assert answer.tenant is not None, "Graph has proven it"


def test_an_operator_who_cannot_sign_in(twin: Twin) -> None:
    twin.sign_in_faults.refuse(7000222, times=20, app_id=twin.operator.app_id)
    try:
        failed = bad(look(twin))
    finally:
        while twin.sign_in_faults._planned:
            twin.sign_in_faults._planned.pop()
    assert "expired" in failed["sign-in", None].said
    assert failed["tenant", None].state == "unknown"
    assert failed["road", None].state == "failed"


def test_a_clock_that_is_wrong(serve: Callable[..., Twin]) -> None:
    clock = TurnedClock()
    clock.ahead = timedelta(minutes=10)
    twin = serve(SAMPLE, clock=clock, token_lifetime=3600.0)
    failed = bad(look(twin))
    lines = [line for (code, _), line in failed.items() if code == "clock"]
    assert len(lines) == 2
    assert all(line.state == "failed" and "ahead of this machine" in line.said for line in lines)


def test_a_dehydrated_organisation(serve: Callable[..., Twin]) -> None:
    tenant = replace(SAMPLE, organization=replace(SAMPLE.organization, is_dehydrated=True))  # type: ignore[type-var]
    twin = serve(tenant, token_lifetime=600.0)
    assert set(bad(look(twin))) == {("dehydrated", None)}, "the plan was made for a customised one"
    assert bad(look(twin, None)) == {}
    twin.faults.withheld = frozenset({"enable-organizationcustomization"})
    assert ("dehydrated", None) in bad(look(twin, None))


CHANGES = [
    ("Get-ManagementScope", "RecipientRoot", None, "management-scope", "RecipientRoot", "missing"),
    ("Get-OrganizationConfig", "IsDehydrated", None, "organization", "IsDehydrated", "missing"),
    ("Get-Recipient", "RecipientTypeDetails", "HoloMailbox", "recipient", "RecipientTypeDetails", "another-word"),
    ("Get-Recipient", "EmailAddresses", None, "recipient", "EmailAddresses", "missing"),
    ("Test-ServicePrincipalAuthorization", "InScope", "Yes", "test-authorization", "InScope", "another-word"),
]


@pytest.mark.parametrize("road", ["gateway", "admin-api"])
def test_first_contact_finds_what_is_not_as_expected(twin: Twin, road: str) -> None:
    for cmdlet, column, value, *_ in CHANGES:
        twin.faults.reshape(cmdlet, column, *(() if value is None else (value,)))
    answer = look(twin, road=road)
    assert answer.contact is not None
    found = {(met.name, each.column, each.seen) for met in answer.contact.met for each in met.differences}
    assert {(name, column, seen) for *_, name, column, seen in CHANGES} <= found
    line = bad(answer)["first-contact", None]
    assert line.state == "failed"
    assert "--share" in line.remedy
    assert answer.exit is Exit.FINDINGS


def test_what_may_not_be_read_at_first_contact_is_told_as_not_read(twin: Twin) -> None:
    twin.faults.fail("Get-ApplicationAccessPolicy", denied("policies"), times=10)
    answer = look(twin)
    assert answer.contact is not None
    assert {met.name for met in answer.contact.met if met.status == "unread"} == {"access-policy"}
    assert bad(answer)["first-contact", None].state == "unknown"


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")
def test_a_module_that_will_not_do(twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, module = "7.4.1", "3.10.1"
    monkeypatch.setattr(twin_session, "POWERSHELL", engine)
    monkeypatch.setattr(twin_session, "VERSION", module)
    fake = FakePwsh(tmp_path, twin)
    try:
        answer = look(twin, transport=LocalPwsh(kind="pwsh", path=fake.path))
    finally:
        fake.close()
    assert set(bad(answer)) == {("powershell", None)}
    assert (answer.engine, answer.module, answer.road) == (engine, module, "pwsh")


def test_where_no_road_is_named_none_is_taken_without_a_yes(twin: Twin) -> None:
    loaded = replace(profile_of(twin), transport=None)
    useless = Tried("/usr/bin/pwsh", why="its language mode is ConstrainedLanguage, and connecting needs FullLanguage")

    def asked(*, admin_api: bool) -> DoctorAnswer:
        passes = Passes(Path("nowhere"), SystemClock())
        return examine(
            loaded, clock=SystemClock(), passes=passes, plan=FILE, look=lambda: (useless,), admin_api=admin_api
        )

    failed = bad(asked(admin_api=False))
    assert failed["road", None].state == "failed"
    assert failed["language-mode", None].state == "failed"
    answer = asked(admin_api=True)
    assert (answer.road, bad(answer)) == ("admin-api", {})


def test_a_person_whose_entra_role_is_not_active(twin: Twin) -> None:
    operator = load_profile(Path(twin.ready["profile"]), {}).operator
    assert operator is not None
    person = replace(operator, secret=None, device_code=True)
    twin.admin_api._read_only = lambda app_id: True
    twin.entra.tokens.directory_roles = ()
    twin.entra.operator = replace(
        twin.entra.operator,
        graph_roles=(*twin.entra.operator.graph_roles, "RoleEligibilitySchedule.Read.Directory"),
    )
    twin.graph.directory.eligible_roles = ("29232cdf-9323-42fd-ade2-1d097af3e4de",)
    failed = bad(look(twin, operator=person))
    line = failed["entra-role", None]
    assert line.said == "Exchange Administrator: eligible, and not active"
    assert "sign in anew" in line.remedy
