"""Runs against the twin over the real roads: killed between any two records, faults of the services, canaries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from exoscope.catalog import GRAPH
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.intent import loads_intent
from exoscope.model import Plan, PlanFile, Snapshot
from exoscope.planning import content_hash, dump_plan, plan_hash, plan_scope
from exoscope.planning.effect import apply_steps
from exoscope.planning.states import agrees, shown
from exoscope.profile import load_profile
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, decisions, load_sample, serve, watching

__all__ = ["serve"]

KILLER = Path(__file__).resolve().parents[1] / "running_killer.py"
INSIDE, OUTSIDE = "ada@contoso.com", "ceo@contoso.com"
posix = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")


def small(*, consented: bool) -> Snapshot:
    """The sample tenant with few mailboxes; the connector with its tenant-wide consent, or with nothing yet."""
    tenant = load_sample()
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    assert isinstance(tenant.apps, tuple)
    inside = next(each for each in tenant.groups if each.primary_smtp_address == OMNISCOPE_GROUP).members or ()
    kept = [each for each in tenant.recipients if each.guid in inside][:3]
    named = {INSIDE, OUTSIDE, "admin@contoso.com"}
    kept += [each for each in tenant.recipients if each.primary_smtp_address in named and each not in kept]
    apps = tenant.apps
    if not consented:
        apps = tuple(
            replace(each, consents=(), requested=()) if each.display_name == OMNISCOPE else each for each in apps
        )
    return replace(tenant, recipients=tuple(kept), apps=apps)


def planned(tenant: Snapshot, mechanism: str = "rbac") -> PlanFile:
    text = (
        f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    mechanism: {mechanism}\n"
        f"    scope:\n      group: {OMNISCOPE_GROUP}\n"
    )
    plan = plan_scope(tenant, loads_intent(text, "scope.yaml"))
    return PlanFile("exoscope/plan@1", plan_hash(plan), plan)


class Work:
    """A served tenant, a plan on the disk, and processes of exoscope."""

    def __init__(self, folder: Path, twin: Twin, file: PlanFile) -> None:
        self.folder, self.twin, self.file = folder, twin, file
        self.plan = folder / "plan.json"
        self.plan.write_bytes(dump_plan(file.plan))
        self.output = ""
        self.environment = {
            **os.environ,
            "EXOSCOPE_PROFILE": twin.ready["profile"],
            "EXOSCOPE_STATE": str(folder / "state"),
        }

    def run(self, *words: str, kill: tuple[str, int] | None = None) -> tuple[int, Any]:
        """Exit code and JSON answer of one process."""
        start = ["-m", "exoscope"] if kill is None else [str(KILLER), kill[0], str(kill[1])]
        ended = subprocess.run(
            [sys.executable, *start, *words],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=self.environment,
        )
        self.output += ended.stdout + ended.stderr
        lines = ended.stdout.strip().splitlines()
        return ended.returncode, json.loads(lines[-1]) if lines else None

    def apply(self, *words: str, kill: tuple[str, int] | None = None) -> tuple[int, Any]:
        return self.run("apply", str(self.plan), "--yes", "--json", *words, kill=kill)

    def resume(self, *words: str, kill: tuple[str, int] | None = None) -> tuple[int, Any]:
        return self.run("resume", "last", "--yes", "--json", *words, kill=kill)

    def journal(self) -> list[dict[str, Any]]:
        # A run that was killed before its first record did nothing, and is none.
        paths = (self.folder / "state" / "runs").glob("[0-9]*/journal.jsonl")
        (path,) = [each for each in paths if each.stat().st_size]
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_as_planned(work: Work, start: Snapshot) -> None:
    """The twin's tenant stands as the plan says, and the journal says that each step landed once."""
    end = apply_steps(start, work.file.plan.steps)
    now = work.twin.tenant.snapshot()
    for step in work.file.plan.steps:
        assert agrees(step.target.kind, shown(now, step.target), shown(end, step.target)), step.title
    for name in ("service_principals", "management_scopes", "role_assignments", "access_policies"):
        assert len(getattr(now, name)) == len(getattr(end, name)), f"one too many or too few of {name}"
    done = [record["step"] for record in work.journal() if record["record"] == "step-done"]
    assert sorted(done) == sorted(step.id for step in work.file.plan.steps)
    assert not any(record["already"] for record in work.journal() if record["record"] == "step-done")


@posix
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mechanism", "consented", "forbidden"),
    [
        ("rbac", True, (INSIDE, "denied")),
        pytest.param("access-policy", False, (OUTSIDE, "allowed"), marks=pytest.mark.long),
    ],
    ids=["no outage while scoping", "never wider while onboarding"],
)
def test_killed_between_any_two_records(
    tmp_path: Path, serve: Callable[..., Twin], mechanism: str, consented: bool, forbidden: tuple[str, str]
) -> None:
    start = small(consented=consented)
    twin = serve(start, token_lifetime=60.0)
    work = Work(tmp_path, twin, planned(start, mechanism))
    app = app_named(start, OMNISCOPE)
    kills = 0
    with watching(twin, app.app_id, INSIDE, OUTSIDE):
        code, answer = work.apply("--wait", "60s", kill=("after", 1))
        assert code == -signal.SIGKILL, work.output
        for turn in range(60):
            # Each process dies at its 2nd to 4th record, in turns before and after it is written: every boundary is met.
            code, answer = work.resume("--wait", "60s", kill=("after" if turn % 2 else "before", 2 + turn % 3))
            if code != -signal.SIGKILL:
                break
            kills += 1
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    assert kills >= len(work.file.plan.steps)
    assert_as_planned(work, start)
    seen = [(each["mailbox"], each["answer"]) for each in decisions(twin) if each["app_id"] == app.app_id]
    assert len(seen) > 20
    assert forbidden not in seen


def test_the_plan_runs_and_is_taken_back(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    start = small(consented=True)
    twin = serve(start, propagation=8.0, token_lifetime=6.0)  # a gate outlasts the session's token
    work = Work(tmp_path, twin, planned(start))
    assert work.apply()[0] == 3
    code, answer = work.run("status", "last", "--json")
    assert (code, answer["outcome"], answer["waiting_for"], answer["done"]) == (3, "waiting", "time", 3)
    code, answer = work.resume("--wait", "60s")
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    assert_as_planned(work, start)
    code, answer = work.run("undo", answer["run"], "--yes", "--json", "--wait", "60s")
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    assert "ceo@contoso.com" in work.output, "what becomes reachable again is named"
    now = twin.tenant.snapshot()
    for step in work.file.plan.steps:
        assert agrees(step.target.kind, shown(now, step.target), shown(start, step.target)), step.title
    code, listed = work.run("runs", "--json")
    assert (code, [each["purpose"] for each in listed["runs"]]) == (0, ["scope", "undo"])


def identity_team(work: Work) -> None:
    """Does in Entra what the page for it says, call by call, with a plain HTTP client."""
    code, page = work.run("show", str(work.plan), "--for", "entra", "--json")
    assert (code, len(page["steps"])) == (0, 2)
    profile = load_profile(Path(work.twin.ready["profile"]), {})
    token = Tokens(profile, SystemClock()).operator("graph").secret.reveal()
    with requests.Session() as http:
        http.trust_env, http.verify = False, str(profile.endpoints.ca)
        http.headers["Authorization"] = f"Bearer {token}"
        for step in page["steps"]:
            held: list[Any] = []
            for call in step["calls"]:
                body = call["body"]
                if body is not None and step["title"].startswith("Stop requesting"):
                    assert list(body.values()) == [f"<{step['id']}.required_resource_access>"]
                    body = {"requiredResourceAccess": [each for each in held if each["resourceAppId"] != GRAPH]}
                address = f"{profile.endpoints.graph}/v1.0{call['path']}"
                answer = http.request(call["method"], address, json=body, timeout=30)
                assert answer.ok, answer.text
                held = answer.json()["requiredResourceAccess"] if call["method"] == "GET" else held


@pytest.mark.parametrize("back", [False, pytest.param(True, marks=pytest.mark.long)], ids=["there", "and back"])
def test_exchange_and_entra_are_changed_by_two_teams(tmp_path: Path, serve: Callable[..., Twin], back: bool) -> None:
    start = small(consented=True)
    twin = serve(start)
    work = Work(tmp_path, twin, planned(start))
    code, answer = work.apply("--only", "exchange", "--wait", "60s")
    assert (code, answer["outcome"], answer["waiting_for"]) == (3, "waiting", "entra"), work.output
    assert shown(twin.tenant.snapshot(), work.file.plan.steps[-1].target) is not None
    identity_team(work)
    code, answer = work.resume("--only", "exchange", "--wait", "60s")
    assert (code, answer["outcome"]) == (0, "done"), work.output
    assert_as_planned(work, start)
    if not back:
        return
    code, answer = work.run("undo", "last", "--yes", "--json", "--only", "exchange", "--wait", "60s")
    assert (code, answer["waiting_for"]) == (3, "entra"), "the consent comes back first, and is not Exchange's to give"
    code, answer = work.resume("--only", "graph", "--wait", "60s")
    assert (code, answer["waiting_for"]) == (3, "exchange"), work.output
    code, answer = work.resume("--only", "exchange", "--wait", "60s")
    assert (code, answer["outcome"]) == (0, "done"), work.output
    now = twin.tenant.snapshot()
    for step in work.file.plan.steps:
        assert agrees(step.target.kind, shown(now, step.target), shown(start, step.target)), step.title


def test_applied_without_anybody_to_ask_it_needs_an_answer(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    start = small(consented=True)
    work = Work(tmp_path, serve(start), planned(start))
    code, answer = work.run("apply", str(work.plan), "--json")
    assert (code, answer["error"]["code"]) == (2, "usage")
    code, answer = work.run("apply", str(work.plan), "--json", "--hash", "0" * 64)
    assert (code, answer["error"]["code"]) == (4, "other-plan")
    edited = (
        work.plan.read_text(encoding="utf-8").replace("RestrictAccess", "DenyAccess").replace("Mail.Read", "Mail.Send")
    )
    work.plan.write_text(edited, encoding="utf-8")
    code, answer = work.apply()
    assert (code, answer["error"]["code"]) == (4, "plan-edited")
    assert work.run("runs", "--json") == (0, {"runs": []})
    assert content_hash(work.twin.tenant.snapshot()) == content_hash(start)


FAULTS: dict[str, Callable[[Twin], None]] = {
    "Graph 503 after acting": lambda twin: twin.graph_faults.fail(
        503, "ServiceUnavailable", method="DELETE", path="appRoleAssignments", after_acting=True
    ),
    "Graph 429": lambda twin: twin.graph_faults.fail(
        429, "TooManyRequests", times=2, path="/applications", retry_after=0.5
    ),
    "Graph cut off after acting": lambda twin: twin.graph_faults.drop(method="PATCH", path="/applications"),
    "stale reads": lambda twin: setattr(twin.faults, "stale_reads", 1.0),
}


OFTEN = ("Graph 503 after acting", "stale reads")
"""Those that `make test` tries."""


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.long) for name in FAULTS]
)
def test_faults_of_the_services_are_overcome(tmp_path: Path, serve: Callable[..., Twin], fault: str) -> None:
    start = small(consented=True)
    twin = serve(start, token_lifetime=60.0)
    work = Work(tmp_path, twin, planned(start))
    FAULTS[fault](twin)
    code, answer = work.apply("--wait", "60s")
    for _ in range(3):
        if code == 0:
            break
        code, answer = work.resume("--wait", "60s")
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    assert_as_planned(work, start)


def test_a_duplicate_made_by_somebody_else_is_read_and_compared(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    start = small(consented=True)
    file = planned(start)
    scope = file.plan.steps[1]
    assert scope.target.kind == "management_scope"
    taken = apply_steps(start, file.plan.steps[:2])
    assert isinstance(taken.management_scopes, tuple)
    other = replace(
        taken,
        service_principals=start.service_principals,
        management_scopes=tuple(
            replace(each, recipient_filter="Department -eq 'Else'") if each.name == scope.target.key["name"] else each
            for each in taken.management_scopes
        ),
    )
    work = Work(tmp_path, serve(other, token_lifetime=60.0), file)
    code, answer = work.apply()
    assert (code, answer["outcome"], answer["apps"][0]["code"]) == (4, "refused", "moved")
    assert "Else" in answer["why"]
    assert work.twin.tenant.snapshot().role_assignments == start.role_assignments


def test_a_wrong_password_changes_nothing_and_no_secret_is_seen_anywhere(
    tmp_path: Path, serve: Callable[..., Twin]
) -> None:
    start = small(consented=True)
    twin = serve(start, token_lifetime=60.0)
    work = Work(tmp_path, twin, planned(start))
    canary = "canary-5d0c6c7e-secret"
    secret = twin.folder.secrets / "operator"
    good = secret.read_text(encoding="utf-8")
    secret.write_text(canary, encoding="utf-8")
    code, answer = work.apply("-vv", "--log", str(tmp_path / "log"))
    assert (code, answer["error"]["code"]) == (6, "sign-in-failed")
    assert not answer["error"]["changed"]
    secret.write_text(good, encoding="utf-8")
    code, answer = work.apply("--wait", "60s", "-vv", "--log", str(tmp_path / "log"))
    assert code == 0, work.output
    said = work.output + (tmp_path / "log").read_text(encoding="utf-8")
    said += "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "state").rglob("*") if path.is_file())
    for hidden in (canary, good, twin.gateway_password, *(twin.secret(app_id) for app_id in twin.ready["secrets"])):
        assert hidden not in said
    assert "exoscope." in said
    assert "eyJ" not in said, "no token either"


def test_two_processes_do_not_work_on_one_tenant(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    start = small(consented=True)
    work = Work(tmp_path, serve(start), planned(start))
    from exoscope.running import Store

    with Store(tmp_path / "state").lock(start.tenant.id):
        code, answer = work.apply()
    assert (code, answer["error"]["code"]) == (4, "locked")


def test_another_tenant_than_the_plans_is_refused(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    start = small(consented=True)
    file = planned(start)
    plan: Plan = replace(file.plan, tenant=replace(file.plan.tenant, id="99999999-0000-0000-0000-000000000000"))
    work = Work(tmp_path, serve(start), PlanFile("exoscope/plan@1", plan_hash(plan), plan))
    code, answer = work.apply()
    assert (code, answer["error"]["code"]) == (4, "wrong-tenant")
    assert content_hash(work.twin.tenant.snapshot()) == content_hash(start)


@posix
def test_ctrl_c_at_a_gate_leaves_a_run_that_resume_finishes(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    start = small(consented=True)
    twin = serve(start, propagation=12.0, token_lifetime=60.0)
    work = Work(tmp_path, twin, planned(start))
    process = subprocess.Popen(
        [sys.executable, "-m", "exoscope", "apply", str(work.plan), "--yes", "--json", "--wait", "10m"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=work.environment,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if any((tmp_path / "state").glob("runs/2*/journal.jsonl")) and work.journal()[-1]["record"] == "gate-waiting":
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    answer = json.loads(out.strip().splitlines()[-1])
    assert (process.returncode, answer["outcome"]) == (5, "stopped"), err
    assert f"exoscope resume {answer['run']}" in answer["why"]
    assert "Traceback" not in err
    code, answer = work.run("status", "last", "--json")
    assert (code, answer["waiting_for"]) == (3, "time")
    code, answer = work.resume("--wait", "60s")
    assert (code, answer["outcome"]) == (0, "done"), work.output
    assert_as_planned(work, start)
