"""First contact as a condition: apply, resume and migrate --advance meet a tenant before they change it, or refuse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
from msgspec.structs import replace

import exoscope.twin
from exoscope.checking import passes as module
from exoscope.checking.contact import Contact, Met
from exoscope.checking.passes import Passes
from exoscope.cli import frame, program
from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.outcome import Refused
from exoscope.planning import dump_plan, plan_scope
from exoscope.profile import AdminApiRoad, Profile, Transport, load_profile
from exoscope.reading import Connection
from exoscope.twin.server import Twin
from schemas import schemas
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

FULL = load_sample()
SAMPLE = replace(FULL, recipients=tuple(FULL.recipients)[:20])  # type: ignore[arg-type]  # they are read
INTENT = (
    f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
    f"    scope: {{group: {OMNISCOPE_GROUP}}}\n"
)
TENANT = SAMPLE.tenant.id


class Run(NamedTuple):
    code: int
    answer: Any
    talk: str


class Desk:
    """Commands in this process, with a profile that says it leaves this machine (``away``)."""

    def __init__(self, twin: Twin, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.twin, self.folder, self.capsys = twin, folder, capsys
        self.state = folder / "state"
        text = Path(twin.ready["profile"]).read_text(encoding="utf-8")
        before, _, after = text.partition("[transport]")
        self.profile = Path(twin.ready["profile"]).with_name(f"{folder.name}.toml")
        road = '[transport]\nkind = "admin-api"\n\n[operator]'
        self.profile.write_text(before + road + after.partition("[operator]")[2], encoding="utf-8")

    def __call__(self, *words: str) -> Run:
        capsys = self.capsys
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "environ", {**os.environ, "EXOSCOPE_PROFILE": str(self.profile), "NO_COLOR": "1"})
            with pytest.raises(SystemExit) as ended:
                frame.run(program, [*words, "--state", str(self.state), "--json"])
        out, talk = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Run(ended.value.code, json.loads(out.splitlines()[-1]) if out else None, talk)

    @property
    def kept(self) -> list[Path]:
        return sorted((self.state / "contact").glob("*")) if (self.state / "contact").is_dir() else []


@pytest.fixture
def twin() -> Iterator[Twin]:
    with exoscope.twin.serve(SAMPLE, propagation=0.1, token_lifetime=600.0, operator_lifetime=600.0) as served:
        yield served


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """For first contact alone the endpoints are not this machine's."""
    monkeypatch.setattr(module, "on_loopback", lambda profile: False)


@pytest.fixture
def desk(twin: Twin, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    (tmp_path / "plan.json").write_bytes(dump_plan(plan_scope(SAMPLE, loads_intent(INTENT, "scope.yaml"))))
    return Desk(twin, tmp_path, capsys)


@pytest.mark.long
def test_a_twin_is_not_met_and_leaves_no_pass(desk: Desk) -> None:
    desk.twin.faults.reshape("Get-ManagementScope", "RecipientRoot")
    code, answer, talk = desk("apply", str(desk.folder / "plan.json"), "--yes")
    assert (code, answer["outcome"]) == (3, "waiting"), talk
    assert desk.kept == []
    assert "was not met yet" not in talk


@pytest.mark.usefixtures("away")
def test_apply_meets_the_tenant_once_and_keeps_the_pass(desk: Desk) -> None:
    plan = str(desk.folder / "plan.json")
    code, answer, talk = desk("apply", plan, "--yes")
    assert (code, answer["outcome"]) == (3, "waiting"), talk
    assert "was not met yet" in talk
    (path,) = desk.kept
    assert path.name == f"{TENANT}.admin-api.json"
    assert path.stat().st_mode & 0o077 == 0 or os.name == "nt"
    kept = json.loads(path.read_bytes())
    jsonschema.validate(kept, schemas()["contact"])
    assert "role-assignment" in kept["agreed"] and "contoso" not in path.read_text(encoding="utf-8")
    # From now on the tenant counts as met, whatever it answers: doctor, or a new version, looks again.
    desk.twin.faults.reshape("Get-ManagementScope", "RecipientRoot")
    code, answer, talk = desk("migrate", "--advance")
    assert "was not met yet" not in talk
    assert "first-contact" not in talk + json.dumps(answer)


@pytest.mark.usefixtures("away")
def test_what_is_not_as_expected_is_refused_with_nothing_changed(desk: Desk) -> None:
    desk.twin.faults.reshape("Get-ManagementScope", "RecipientRoot")
    plan = str(desk.folder / "plan.json")
    code, answer, talk = desk("apply", plan, "--yes")
    assert (code, answer["error"]["code"], answer["error"]["changed"]) == (4, "first-contact", False), talk
    assert "management-scope is not as expected (RecipientRoot)" in talk
    assert "--unseen-ok" in answer["error"]["next"]
    assert (desk.twin.tenant.log, desk.kept) == ([], [])
    assert not (desk.state / "runs").exists(), "no run was begun"
    with exoscope.Tenant.connect(desk.profile, state=desk.state) as tenant, pytest.raises(Refused) as refused:
        tenant.apply(plan)
    assert refused.value.code == "first-contact"
    assert [each.code for each in refused.value.refusals] == ["first-contact"]
    code, answer, talk = desk("apply", plan, "--yes", "--unseen-ok")
    assert (code, answer["outcome"]) == (3, "waiting"), talk
    assert "First contact was not passed, and --unseen-ok goes on" in talk
    assert desk.kept == []
    # The run may not go on without saying so again; its way back is never barred.
    run = answer["run"]
    code, answer, talk = desk("resume", run, "--wait", "1h")  # so that it opens the tenant, whichever gate it rests at
    assert (code, answer["error"]["code"]) == (4, "first-contact"), talk
    code, answer, talk = desk("undo", run, "--yes")
    assert (code in (0, 3), answer["outcome"] in ("done", "waiting")) == (True, True), talk
    assert desk.twin.tenant.log, "something was changed, and is taken back"


@pytest.mark.usefixtures("away")
def test_a_nightly_migration_stops_before_it_plans(desk: Desk) -> None:
    desk.twin.faults.reshape("Get-ApplicationAccessPolicy", "AccessRight", "AllowAccess")
    code, answer, talk = desk("migrate", "--advance")
    assert (code, answer["error"]["code"]) == (4, "first-contact"), talk
    desk.twin.faults.clear()
    code, answer, talk = desk("migrate", "--advance")
    assert "was not met yet" in talk
    assert "first-contact" not in talk + json.dumps(answer), (
        "it went on to plan, and says what it makes of the policies"
    )
    assert len(desk.kept) == 1


def test_unseen_ok_is_about_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        frame.run(program, ["migrate", "--unseen-ok", "--json"])
    assert ended.value.code == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


# -- what a pass is good for -------------------------------------------------------------------------------------------


class Opened:
    """A connection that says where it is, and answers nothing."""

    def __init__(self, profile: Profile, road: str = "gateway", tenant: str = TENANT) -> None:
        self.profile = profile
        self.exchange = type("Session", (), {"road": road})()
        self._tenant = replace(SAMPLE.tenant, id=tenant)

    def prove_tenant(self) -> Any:
        return self._tenant


class Fixed(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 26, tzinfo=UTC)


PASSED = Contact(True, (Met("organization", "exchange", "agrees", 1), Met("access-policy", "exchange", "not-seen")))
FAILED = Contact(False, (Met("organization", "exchange", "differs", 1),))


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Any]:
    text = 'tenant = "contoso.onmicrosoft.com"\n'
    (tmp_path / "exoscope.toml").write_text(text, encoding="utf-8")
    loaded = replace(load_profile(tmp_path / "exoscope.toml", {}), transport=AdminApiRoad(kind="admin-api"))

    def make(**changes: Any) -> Any:
        ends = changes.pop("endpoints", loaded.endpoints)
        transport = changes.pop("transport", loaded.transport)
        return Opened(replace(loaded, endpoints=ends, transport=transport), **changes)

    return make


def test_a_pass_is_good_for_one_tenant_road_and_set_of_hosts_and_this_version(
    tmp_path: Path, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Passes(tmp_path / "state", Fixed())
    assert not held.holds(opened())
    held.keep(opened(), PASSED)
    assert held.holds(opened())
    assert held.holds(opened(tenant=TENANT.upper()))
    other = replace(opened().profile.endpoints, graph="https://graph.microsoft.us")
    for elsewhere in ({"road": "pwsh"}, {"tenant": "0" * 36}, {"endpoints": other}):
        assert not held.holds(opened(**elsewhere)), elsewhere
    held.keep(opened(transport=Transport("gateway", "https://one.contoso.com:5986/wsman")), PASSED)
    assert held.holds(opened(transport=Transport("gateway", "https://one.contoso.com:5986/wsman")))
    two = opened(transport=Transport("gateway", "https://two.contoso.com:5986/wsman"))
    assert not held.holds(two), "another gateway has another PowerShell, that nobody has met"
    held.keep(opened(), PASSED)
    monkeypatch.setattr(module, "__version__", "9.9.9")
    assert not held.holds(opened())


def test_a_contact_that_fails_takes_the_pass_away_and_a_damaged_file_is_none(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    held = Passes(tmp_path / "state", Fixed())
    held.keep(opened(), PASSED)
    held.keep(opened(), FAILED)
    assert not held.holds(opened())
    held.keep(opened(), PASSED)
    (path,) = (tmp_path / "state" / "contact").iterdir()
    path.write_text("{", encoding="utf-8")
    assert not held.holds(opened())


def test_where_every_endpoint_is_loopback_it_is_not_asked(tmp_path: Path, twin: Twin) -> None:
    here = load_profile(Path(twin.ready["profile"]), {})
    twin.faults.reshape("Get-ManagementScope", "RecipientRoot")
    told: list[str] = []
    with Connection(replace(here, transport=AdminApiRoad(kind="admin-api")), SystemClock()) as connection:
        Passes(tmp_path, SystemClock()).require(connection, told.append, told.append)
        Passes(tmp_path, SystemClock()).keep(connection, PASSED)
    assert (told, list(tmp_path.iterdir())) == ([], [])
