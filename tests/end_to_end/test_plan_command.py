"""``exoscope plan`` and ``exoscope show``: answers, files, exit codes, what people see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exoscope import snapshot
from exoscope.planning import load_plan
from exoscope.powershell import holes
from planning_tenants import guid, tenant
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, SAMPLE, load_sample, shared_twin

__all__ = ["shared_twin"]

INTENT = f"""\
version: 1
apps:
  - app: {OMNISCOPE}
    permissions: [Mail.Read]
    mechanism: rbac
    scope:
      group: {OMNISCOPE_GROUP}
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(words…, code=0)`` in a folder of its own, without a profile."""

    def start(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE_")}
        done = subprocess.run(
            [sys.executable, "-m", "exoscope", *map(str, words)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=90,
            cwd=tmp_path,
            env=environ,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    (tmp_path / "scope.yaml").write_text(INTENT, encoding="utf-8")
    return start


def small(tmp_path: Path, apps: dict[str, Any]) -> Path:
    path = tmp_path / "tenant.json"
    boxes = ["ada", "bob", "cid"]
    snapshot.save(tenant({"mailboxes": boxes, "groups": {"sales": ["ada"]}, "apps": apps}), path)
    return path


def test_the_answer_has_the_shape_that_others_script_against(run: Run, tmp_path: Path) -> None:
    answer = json.loads(run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", "plan.json", "--json").stdout)
    file = load_plan((tmp_path / "plan.json").read_bytes())
    assert answer["hash"] == file.hash
    assert answer["refusals"] == []
    (app,) = answer["apps"]
    assert {"app_id", "scoped", "not_scoped_because", "permissions"} <= set(app)
    reach = app["permissions"]["Mail.Read"]
    assert set(reach) == {"before", "after", "gained", "lost", "unknown"}
    assert app["scoped"] is True
    assert len(reach["before"]) == 57 and len(reach["after"]) == 8
    assert reach["gained"] == [] and sorted(reach["lost"] + reach["after"]) == sorted(reach["before"])
    assert reach["after"] == sorted(reach["after"], key=str.casefold)
    stages = [(s["id"], s["waits"], s["ready_after"], s["earliest"]) for s in answer["stages"]]
    assert stages == [("grant", ["cache"], 7200, 7200), ("cutover", ["cache"], 7200, 14400)]
    for step in answer["steps"]:
        assert {"id", "stage", "title", "kind", "needs", "script", "request"} <= set(step)
        assert (step["script"] is None) != (step["request"] is None)
        assert step["kind"] == ("exchange" if step["script"] else "graph")


def test_the_same_tenant_and_intent_give_the_same_file(run: Run, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_people_see_stages_reach_and_exact_powershell(run: Run, tmp_path: Path) -> None:
    done = run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", "plan.json")
    assert "Stage grant" in done.stdout and "Stage cutover" in done.stdout
    assert "reaches 57 mailboxes before, 8 after" in done.stdout
    assert "New-ManagementScope -Name" in done.stdout
    assert "plan.json" in done.stderr
    shown = run("show", "plan.json")
    assert "New-ManagementScope -Name" in shown.stdout and "needs Role Management" in shown.stdout
    assert "waits 2h (cache), not before 2" in shown.stdout
    assert "Mail.Read: reaches every mailbox before, 8 mailbox(es) (ada@contoso.com, " in shown.stdout
    assert "lost: every mailbox but ada@contoso.com, " in shown.stdout
    assert "gained:" not in shown.stdout and "unknown:" not in shown.stdout
    answer = json.loads(run("show", "plan.json", "--json").stdout)
    assert answer["hash"] == load_plan((tmp_path / "plan.json").read_bytes()).hash
    assert [stage["id"] for stage in answer["stages"]] == ["grant", "cutover"]
    assert all(stage["ready_at"] > answer["started_at"] for stage in answer["stages"])
    assert all(set(step) >= {"id", "script", "request", "needs"} for step in answer["steps"])
    told = {hole: meaning for step in answer["steps"] for hole, meaning in step["holes"].items()}
    assert list(told) == ["<step-5.required_resource_access>"]
    (meaning,) = told.values()
    assert "without the application permission 810c84a8-4a9e-49e6-bf7d-12d183f40d01" in meaning
    assert "delegated" in meaning and f"<step-5.required_resource_access>: {meaning}" in shown.stdout


def test_every_hole_in_a_plan_is_explained(run: Run, tmp_path: Path) -> None:
    text = (tmp_path / "scope.yaml").read_text(encoding="utf-8").replace("rbac", "access-policy")
    text = text.replace("group: omniscope-mailboxes@contoso.com", "mailboxes: [ada@contoso.com]")
    (tmp_path / "scope.yaml").write_text(text.replace("Mail.Read", "Mail.Read, Contacts.Read"), encoding="utf-8")
    answer = json.loads(run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", "plan.json", "--json").stdout)
    written = load_plan((tmp_path / "plan.json").read_bytes()).plan.steps
    told: dict[str, str] = {}
    for step, answered in zip(written, answer["steps"], strict=True):
        body = None if step.request is None else step.request.body
        assert set(answered["holes"]) == set(holes([step.script or "", body or ""]))
        told |= answered["holes"]
    assert told["<step-1.external_directory_object_id>"] == "the external directory object id that step-1 reads back"
    assert any("service principal of the resource 00000003-" in meaning for meaning in told.values())
    assert any("with the application permission" in meaning for meaning in told.values())


def test_an_edited_plan_is_not_shown(run: Run, tmp_path: Path) -> None:
    run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", "plan.json")
    path = tmp_path / "plan.json"
    path.write_text(path.read_text(encoding="utf-8").replace("Mail.Read", "Mail.Send"), encoding="utf-8")
    error = json.loads(run("show", "plan.json", "--json", code=4).stdout)["error"]
    assert (error["code"], error["changed"]) == ("plan-edited", False)


def test_some_apps_refused_is_exit_1_and_the_plan_is_for_the_others(run: Run, tmp_path: Path) -> None:
    path = small(tmp_path, {"omni": {"consents": ["Mail.Read"]}, "bad": {"consents": ["Calendars.Read"]}})
    entry = "  - {app: %s, permissions: [Mail.Read], mechanism: rbac, scope: {group: sales}}\n"
    (tmp_path / "scope.yaml").write_text("version: 1\napps:\n" + entry % "omni" + entry % "bad", encoding="utf-8")
    answer = json.loads(run("plan", "scope.yaml", "--snapshot", path, "-o", "plan.json", "--json", code=1).stdout)
    assert [app["app_id"] for app in answer["apps"]] == [guid("omni app")]
    assert [(each["code"], each["app"]) for each in answer["refusals"]] == [("extra-permission", guid("bad app"))]
    assert load_plan((tmp_path / "plan.json").read_bytes()).hash == answer["hash"]


def test_all_refused_is_exit_4_the_same_json_and_no_file(run: Run, tmp_path: Path) -> None:
    path = small(tmp_path, {OMNISCOPE: {"consents": ["Mail.Read"]}})
    words = ("plan", "scope.yaml", "--snapshot", path, "-o", "plan.json")
    answer = json.loads(run(*words, "--json", code=4).stdout)
    assert set(answer) == {"hash", "apps", "stages", "steps", "refusals"}
    assert answer["hash"] is None and answer["steps"] == [] and answer["stages"] == [] and answer["apps"] == []
    assert [each["code"] for each in answer["refusals"]] == ["group-missing"]
    assert not (tmp_path / "plan.json").exists()
    done = run(*words, code=4)
    assert f"group-missing: {OMNISCOPE} (" in done.stdout and "No plan was written" in done.stderr


@pytest.mark.parametrize("output", ["scope.yaml", "tenant.json"])
def test_a_plan_never_overwrites_what_it_is_made_from(run: Run, tmp_path: Path, output: str) -> None:
    small(tmp_path, {})
    whole = (tmp_path / output).read_bytes()
    done = run("plan", "scope.yaml", "--snapshot", "tenant.json", "-o", tmp_path / output, "--json", code=2)
    assert "would overwrite" in json.loads(done.stdout)["error"]["message"]
    assert (tmp_path / output).read_bytes() == whole


def test_bad_input_is_exit_2_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "scope.yaml").write_text(INTENT.replace("mechanism: rbac", "mechanism: magic"), encoding="utf-8")
    done = run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", "plan.json", "--json", code=2)
    assert "scope.yaml:5" in json.loads(done.stdout)["error"]["message"]
    (tmp_path / "scope.yaml").write_text(INTENT.replace(OMNISCOPE, "Omniscop"), encoding="utf-8")
    done = run("plan", "scope.yaml", "--snapshot", SAMPLE, "-o", "plan.json", "--json", code=2)
    assert json.loads(done.stdout)["error"]["code"] == "not-found"
    assert OMNISCOPE in json.loads(done.stdout)["error"]["message"]
    assert "scope.yaml: line 3: " in json.loads(done.stdout)["error"]["message"]
    run("plan", "scope.yaml", "--snapshot", "none.json", "-o", "plan.json", code=2)
    run("show", "none.json", code=2)


def test_without_a_profile_and_a_snapshot_there_is_nothing_to_read(run: Run) -> None:
    run("plan", "scope.yaml", "-o", "plan.json", code=2)


def test_without_a_snapshot_the_tenant_is_read_into_a_file(run: Run, tmp_path: Path, shared_twin: Any) -> None:
    words = ("plan", "scope.yaml", "--profile", shared_twin.ready["profile"], "-o", "plan.json", "--json")
    done = run(*words)
    answer = json.loads(done.stdout)
    assert "plan.snapshot.json" in done.stderr
    read = snapshot.load(tmp_path / "plan.snapshot.json")
    assert read.tenant == load_sample().tenant
    assert len(answer["apps"][0]["permissions"]["Mail.Read"]["after"]) == 8
    # The sandbox's own waits, not the documented ones.
    assert answer["stages"][0]["ready_after"] < 10
    offline = run("plan", "scope.yaml", "--snapshot", "plan.snapshot.json", "-o", "again.json", "--json")
    assert json.loads(offline.stdout)["hash"] == answer["hash"]
