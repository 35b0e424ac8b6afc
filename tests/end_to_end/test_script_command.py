"""``exoscope script`` and what ``exoscope guard`` says of its files: answers, files, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from exoscope import snapshot
from exoscope.intent import loads_intent
from exoscope.planning import dump_plan, load_plan, plan_scope
from exoscope.scripting import explain
from planning_tenants import tenant
from schemas import schemas
from scripting_paper import Paper
from scripting_plans import INTENT, sample_plan
from twin_fixtures import OMNISCOPE_GROUP, SAMPLE

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(words…, code=0)`` in a folder of its own with plan.json, without a profile."""
    (tmp_path / "plan.json").write_bytes(dump_plan(sample_plan()))

    def start(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("EXOSCOPE_")}
        environ["EXOSCOPE_STATE"] = str(tmp_path / "state")
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

    return start


def valid(name: str, document: Any) -> None:
    jsonschema.Draft202012Validator(schemas()[name]).validate(document)


def test_files_that_the_guard_takes(run: Run, tmp_path: Path) -> None:
    answer = json.loads(run("script", "plan.json", "-o", "change", "--json").stdout)
    valid("script", answer)
    assert answer["plan"] == load_plan((tmp_path / "plan.json").read_bytes()).hash
    names = [each["file"] for each in answer["files"]]
    assert names == sorted(path.name for path in (tmp_path / "change").iterdir())
    lines = run("guard", *(f"change/{name}" for name in names), "--json").stdout.splitlines()
    grant, cutover = (json.loads(each) for each in lines)
    for each in (grant, cutover):
        valid("guard", each)
    assert grant["requests"] == [] and grant["pipelines"][2][0]["cmdlet"] == "New-ServicePrincipal"
    assert [each["method"] for each in cutover["requests"]] == ["DELETE", "PATCH"]
    shown = run("guard", f"change/{names[1]}").stdout
    assert "DELETE" in shown and "requiredResourceAccess" in shown


def test_the_same_plan_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    run("script", "plan.json", "-o", "one")
    run("script", "plan.json", "-o", "other", "--stage", "cutover")
    (only,) = (tmp_path / "other").iterdir()
    assert only.read_bytes() == (tmp_path / "one" / only.name).read_bytes()
    said = run("script", "plan.json", "-o", "none", "--stage", "no-such", code=2)
    assert "grant, cutover" in said.stderr and not (tmp_path / "none").exists()


def test_an_edited_file_is_refused_with_its_place(run: Run, tmp_path: Path) -> None:
    run("script", "plan.json", "-o", "change")
    path = tmp_path / "change" / "01-grant-exchange.ps1"
    path.write_bytes(path.read_bytes().replace(b"exit $Code", b"exit 0", 1))
    said = run("guard", path, code=4).stdout
    assert "differs from what this version" in said
    other = tmp_path / "change" / "02-cutover-graph.ps1"
    other.write_bytes(other.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    lines = [json.loads(each) for each in run("guard", path, other, "--json", code=4).stdout.splitlines()]
    for each in lines:
        valid("guard", each)
        assert set(each) == {"file", "refused", "line", "column"}
    text = path.read_text(encoding="utf-8-sig")
    place = text[: text.index("    exit 0\n}")].count("\n") + 1
    assert [(each["line"], each["column"]) for each in lines] == [(place, 10), (1, 1)]


def test_an_edited_plan_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(path.read_bytes().replace(b"Application Mail.Read", b"Application Mail.ReadWrite"))
    run("script", "plan.json", "-o", "change", code=4)
    assert not (tmp_path / "change").exists()


def test_holes_leave_files_out(run: Run, tmp_path: Path) -> None:
    boxes = ["ada", "bob", "cid"]
    given = tenant({"mailboxes": boxes, "apps": {"omni": {"consents": ["Mail.Read"]}}})
    lines = ["version: 1", "apps:", "  - app: omni", "    permissions: [Mail.Read]", "    mechanism: rbac"]
    lines += ["    scope:", "      mailboxes: [ada@contoso.com, bob@contoso.com]", ""]
    plan = plan_scope(given, loads_intent("\n".join(lines)))
    (tmp_path / "plan.json").write_bytes(dump_plan(plan))
    done = run("script", "plan.json", "-o", "change", "--json", code=3)
    answer = json.loads(done.stdout)
    valid("script", answer)
    assert answer["left_out"] and all("has no value" in each["why"] for each in answer["left_out"])
    assert {each["file"] for each in answer["left_out"]} & {
        path.name for path in (tmp_path / "change").iterdir()
    } == set()
    assert "not written" in done.stderr
    said = run("script", "plan.json", "-o", "back", "--undo", code=3)
    assert "no result tells" in said.stderr and not (tmp_path / "back").exists()


def test_the_way_back_names_what_opens(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.snapshot.json").write_bytes(SAMPLE.read_bytes())
    done = run("script", "plan.json", "-o", "back", "--undo")
    assert "become reachable again" in done.stderr and "ceo@contoso.com" in done.stderr
    names = sorted(path.name for path in (tmp_path / "back").iterdir())
    assert names == ["undo-01-restore-graph.ps1", "undo-02-withdraw-exchange.ps1", "undo-plan.json"]
    run("guard", *(f"back/{name}" for name in names[:2]))
    # Their plan is shown like any other, and written again from it; apply leaves it to undo, which asks and reads first.
    assert "Stage restore" in run("show", "back/undo-plan.json").stdout
    before = {name: (tmp_path / "back" / name).read_bytes() for name in names[:2]}
    run("script", "back/undo-plan.json", "-o", "same")
    assert {path.name: path.read_bytes() for path in (tmp_path / "same").iterdir()} == before
    run("script", "back/undo-plan.json", "-o", "same", "--undo", "--snapshot", "plan.snapshot.json", code=4)
    said = run("script", "plan.json", "-o", "other", "--undo", "--snapshot", "other.json", code=2)
    assert "other.json" in said.stderr
    run("script", "plan.json", "-o", "other", "--snapshot", "plan.snapshot.json", code=2)
    other = tenant({"mailboxes": ["ada"], "apps": {"omni": {}}})
    snapshot.save(other, tmp_path / "other.json")
    said = run("script", "plan.json", "-o", "other", "--undo", "--snapshot", "other.json", code=4)
    assert "not the snapshot" in said.stderr and not (tmp_path / "other").exists()


def test_files_that_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "scope.yaml").write_text(INTENT, encoding="utf-8")
    answer = json.loads(run("script", "--read", "--for", "scope.yaml", "-o", "read", "--json").stdout)
    valid("script", answer)
    assert answer["plan"] is None
    names = [each["file"] for each in answer["files"]]
    assert names == ["01-read-exchange.ps1", "02-read-graph.ps1"]
    exchange, graph = (
        json.loads(each) for each in run("guard", *(f"read/{n}" for n in names), "--json").stdout.splitlines()
    )
    for each in (exchange, graph):
        valid("guard", each)
    assert all(op["cmdlet"].startswith(("Get-", "Select-")) for line in exchange["pipelines"] for op in line)
    assert graph["pipelines"] == [] and {each["method"] for each in graph["requests"]} == {"GET"}
    assert OMNISCOPE_GROUP in (tmp_path / "read" / names[0]).read_text(encoding="utf-8-sig")


def test_files_that_read_are_for_the_profiles_tenant_and_cloud(run: Run, tmp_path: Path) -> None:
    guid = "7A4F6B1E-2C3D-4E5F-8A9B-0C1D2E3F4A5B"
    (tmp_path / "exoscope.toml").write_text(f'tenant = "{guid}"\ncloud = "gcc-high"\n', encoding="utf-8")
    run("script", "--read", "-o", "read")
    for name in ("01-read-exchange.ps1", "02-read-graph.ps1"):
        text = (tmp_path / "read" / name).read_text(encoding="utf-8-sig")
        assert f"'tenant' = '{guid.lower()}'" in text and "'https://graph.microsoft.us/v1.0'" in text


def test_files_that_check(run: Run, tmp_path: Path) -> None:
    words = ("script", "plan.json", "--check", "-o", "check", "--sample", "5", "--seed", "3", "--limit-refusals", "2")
    answer = json.loads(run(*words, "--json").stdout)
    valid("script", answer)
    assert answer["plan"] == load_plan((tmp_path / "plan.json").read_bytes()).hash
    assert [(each["stage"], each["part"]) for each in answer["files"]] == [
        ("check", "exchange"),
        ("check", "graph"),
        ("check", "app"),
    ]
    names = [f"check/{each['file']}" for each in answer["files"]]
    for each in run("guard", *names, "--json").stdout.splitlines():
        valid("guard", json.loads(each))
    text = (tmp_path / names[0]).read_text(encoding="utf-8-sig")
    for told in ("'sample' = 5", "'seed' = 3", "'limit_refusals' = 2", "'whole' = $false"):
        assert told in text


@pytest.mark.parametrize(
    "words",
    [
        ("script", "--check", "-o", "x"),
        ("script", "plan.json", "--check", "--read", "-o", "x"),
        ("script", "plan.json", "--check", "--stage", "grant", "-o", "x"),
        ("script", "plan.json", "--check", "--sample", "1", "--all", "-o", "x"),
        ("script", "plan.json", "--sample", "1", "-o", "x"),
        ("script", "--read", "--seed", "1", "-o", "x"),
        ("script", "-o", "x"),
        ("script", "--read", "--state", "x", "-o", "x"),
        ("verify", "plan.json", "--snapshot", "x"),
        ("script", "plan.json", "--read", "-o", "x"),
        ("script", "--read", "--undo", "-o", "x"),
        ("script", "plan.json", "--for", "scope.yaml", "-o", "x"),
        ("snapshot", "a.jsonl", "-o", "x"),
        ("snapshot", "--from-script", "plan.json", "-o", "x"),
        ("snapshot", "--from-script", "plan.json", "--yes", "-o", "x"),
        ("snapshot", "--from-script", "missing.jsonl", "-o", "x"),
    ],
)
def test_what_does_not_go_together_is_usage(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    run(*words, code=2)
    assert not (tmp_path / "x").exists()


def test_the_whole_job_without_any_connection(run: Run, tmp_path: Path) -> None:
    """Files, results, the next files, and the way back: no profile, no session, no token, only files and a state folder."""
    given = tenant({"mailboxes": ["ada", "bob", "cid"], "apps": {"omni": {}}})
    lines = ["version: 1", "apps:", "  - app: omni", "    permissions: [Mail.Read]", "    mechanism: rbac"]
    lines += ["    scope:", "      mailboxes: [ada@contoso.com, bob@contoso.com]", ""]
    plan = plan_scope(given, loads_intent("\n".join(lines)))
    (tmp_path / "plan.json").write_bytes(dump_plan(plan))
    paper = Paper(given)

    def written(*words: str, code: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run("script", *words, "--json", code=code).stdout)
        valid("script", answer)
        return answer

    def ran(path: Path) -> Path:
        explained = explain(path.read_bytes())
        assert explained is not None
        result = path.with_suffix(".json")
        result.write_bytes(msgspec.json.encode(paper.run(explained.data)))
        return result

    first = written("plan.json", "-o", "change", code=3)
    assert (first["run"], [each["file"] for each in first["left_out"]]) == (None, ["02-grant-exchange.ps1"])
    result = ran(tmp_path / "change" / "01-grant-exchange.ps1")
    said = run("verify", "plan.json", "--from-script", result, code=2)
    assert "--snapshot" in said.stderr and not (tmp_path / "state" / "runs").exists()
    snapshot.save(given, tmp_path / "plan.snapshot.json")
    taken = json.loads(run("verify", "plan.json", "--from-script", result, "--json").stdout)
    valid("run", taken)

    second = written("plan.json", "-o", "change")
    assert (second["run"], second["left_out"]) == (taken["run"], [])
    assert [(each["stands"], set(each["fills"])) for each in second["files"]] == [
        (True, set()),
        (False, {"<step-2.guid>", "<step-2.distinguished_name>"}),
    ]
    run("verify", "--from-script", ran(tmp_path / "change" / "02-grant-exchange.ps1"))
    back = written("plan.json", "-o", "back", "--undo")
    assert (back["undo_plan"], [each["file"] for each in back["files"]]) == (
        "undo-plan.json",
        ["undo-01-withdraw-exchange.ps1"],
    )
    result = ran(tmp_path / "back" / "undo-01-withdraw-exchange.ps1")
    run("verify", "back/undo-plan.json", "--from-script", result)
    assert paper.snapshot.role_assignments == given.role_assignments and paper.snapshot.groups == given.groups
    runs = json.loads(run("runs", "--json").stdout)["runs"]
    assert [(each["purpose"], each["of_run"]) for each in runs] == [("scope", None), ("undo", taken["run"])]
    said = run("script", "plan.json", "-o", "back", "--undo", code=4)
    assert "taken back by the run" in said.stderr
