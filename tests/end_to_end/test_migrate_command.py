"""``exoscope migrate``: answers, files and exit codes; and whole migrations over the twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from exoscope import snapshot as snapshots
from exoscope.cli import frame, program
from exoscope.model import AccessPolicy, OrganizationScope, PolicyScope, RoleAssignment, ServicePrincipal, Snapshot
from exoscope.planning import load_plan
from exoscope.twin.behaviour import Behaviour
from exoscope.twin.server import Twin
from planning_tenants import address, guid, tenant
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample, serve

__all__ = ["serve"]

Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid"],
    "groups": {"sales": ["ada"], "team": {"members": ["bob"], "type": "GroupMailbox"}, "hr": ["cid", "team"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}, "bad": {"consents": ["Mail.Send"]}},
    "policies": [{"app": "omni", "group": "sales"}, {"app": "bad", "group": "hr"}, {"app": "ghost", "group": "hr"}],
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run(words…, code=0)`` in a folder of its own, beside tenant.json, without a profile."""
    snapshots.save(tenant(SMALL), tmp_path / "tenant.json")

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

    return start


def test_one_refused_the_others_planned(run: Run, tmp_path: Path) -> None:
    answer = json.loads(run("migrate", "--snapshot", "tenant.json", "--json", code=1).stdout)
    file = load_plan((tmp_path / "plan.json").read_bytes())
    assert set(answer) == {"hash", "apps", "stages", "steps", "refusals", "findings"}
    assert (answer["hash"], file.plan.purpose) == (file.hash, "migrate")
    assert [(each["code"], each["app"]) for each in answer["refusals"]] == [("membership-unread", guid("bad app"))]
    assert [set(each) for each in answer["findings"]] == [{"code", "app_id", "permission", "message"}]
    assert [each["code"] for each in answer["findings"]] == ["dead-policy"]
    (app,) = answer["apps"]
    assert app["permissions"]["Mail.Read"]["before"] == app["permissions"]["Mail.Read"]["after"] == [address("ada")]
    stages = [(each["id"], each["waits"], each["ready_after"]) for each in answer["stages"]]
    assert stages == [
        ("baseline", [], 0),
        ("overlap", ["cache"], 7200),
        ("cutover", ["cache", "long_token"], 100800),
        ("finish", [], 0),
    ]


def test_people_see_refusals_findings_and_what_show_says(run: Run) -> None:
    done = run("migrate", "--snapshot", "tenant.json", "-o", "p.json", code=1)
    for text in (
        "Stage baseline",
        "New-ManagementScope",
        "Remove-ApplicationAccessPolicy",
        "Findings",
        "dead-policy",
        "Refused",
    ):
        assert text in done.stdout
    assert "bad (" in done.stdout and "--accept-loss" in done.stdout
    shown = run("show", "p.json").stdout
    assert "dead-policy" in shown and "Stage finish" in shown
    assert [each["code"] for each in json.loads(run("show", "p.json", "--json").stdout)["findings"]] == ["dead-policy"]


def test_every_app_refused_writes_no_file(run: Run, tmp_path: Path) -> None:
    done = run("migrate", "--snapshot", "tenant.json", "--app", "bad", "--json", code=4)
    answer = json.loads(done.stdout)
    assert (answer["hash"], answer["apps"], [each["code"] for each in answer["refusals"]]) == (
        None,
        [],
        ["membership-unread"],
    )
    assert not (tmp_path / "plan.json").exists()


def test_options_reach_the_plan(run: Run, tmp_path: Path) -> None:
    words = [
        "--accept-loss",
        f"bad:{address('bob')}",
        "--accept",
        "no-role:omni",
        "--compact",
        "--also-scope",
        "--drop-dead",
        "--accept-customization",
    ]
    run("migrate", "--snapshot", "tenant.json", "--nested", "filter", *words)
    asked = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["plan"]["migration"]
    assert asked == {
        "nested": "filter",
        "compact": True,
        "also_scope": True,
        "drop_dead": True,
        "accept": [{"code": "no-role", "app": guid("omni app")}],
        "accept_loss": [{"app": guid("bad app"), "address": address("bob")}],
        "accept_customization": True,
    }
    steps = load_plan((tmp_path / "plan.json").read_bytes()).plan.steps
    assert sum(each.target.kind == "access_policy" for each in steps) == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--accept", "everything:omni"], "deny-fails-open, no-role, legacy-consent, reconsent"),
        (["--accept", "no-role"], "no CODE:APP"),
        (["--accept", "no-role:nobody"], "nobody"),
        (["--accept-loss", "omni"], "no APP:ADDRESS"),
        (["--accept-loss", "omni:nobody@contoso.com"], "nobody@contoso.com"),
        (["--app", "nobody"], "nobody"),
        (["--nested", "never"], "never"),
        (["-o", "tenant.json"], "tenant.json"),
        (["--advance"], "reads the tenant itself"),
        (["--hash", "x"], "for --advance"),
        (["--wait", "3h"], "only --advance"),
        (["--all"], "only --advance"),
        (["--yes"], "--snapshot"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_exit_2_and_says_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXOSCOPE_PROFILE", raising=False)
    snapshots.save(tenant(SMALL), tmp_path / "tenant.json")
    before = (tmp_path / "tenant.json").read_bytes()
    with pytest.raises(SystemExit) as ended:
        frame.run(program, ["migrate", "--snapshot", "tenant.json", *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()
    assert (tmp_path / "tenant.json").read_bytes() == before


def test_scripts_of_a_migration_begin_where_the_baseline_was_seen(run: Run, tmp_path: Path) -> None:
    """A script asks no baseline: the first file wants to be told that somebody saw it."""
    run("migrate", "--snapshot", "tenant.json", "--app", "omni")
    run("script", "plan.json", "-o", "scripts")
    files = sorted((tmp_path / "scripts").glob("*.ps1"))
    assert [path.name for path in files] == [
        "01-overlap-exchange.ps1",
        "02-cutover-graph.ps1",
        "03-finish-exchange.ps1",
    ]
    first = files[0].read_text(encoding="utf-8-sig")
    assert "New-ManagementScope" in first
    assert "'evidence' = @('baseline')" in first


# -- over the twin ------------------------------------------------------------------------------------------------------

INSIDE, NESTED, OUTSIDE = "alan@contoso.com", "levi@contoso.com", "ceo@contoso.com"


def governed() -> Snapshot:
    """The sample tenant with few mailboxes; the connector restricted to its group, in whose inner group one mailbox hangs."""
    whole = load_sample()
    assert isinstance(whole.groups, tuple) and isinstance(whole.recipients, tuple) and isinstance(whole.apps, tuple)
    by_address = {each.primary_smtp_address: each for each in whole.recipients}
    kept = [by_address[each] for each in (INSIDE, NESTED, OUTSIDE, "admin@contoso.com")]
    groups = []
    for each in whole.groups:
        if each.display_name == "Omniscope pilots":
            each = replace(each, members=(by_address[NESTED].guid,))
        groups.append(each)
    group = next(each for each in groups if each.primary_smtp_address == OMNISCOPE_GROUP)
    app = app_named(whole, OMNISCOPE)
    scope = PolicyScope(group.display_name, group.sid or "", group.external_directory_object_id or group.guid)
    policy = AccessPolicy(
        f"{whole.tenant.id}\\{app.app_id}:{scope.sid};{scope.object_id}",
        app.app_id,
        "RestrictAccess",
        scope,
        "legacy",
        True,
    )
    return replace(
        whole,
        recipients=tuple(kept),
        groups=tuple(groups),
        access_policies=(policy,),
        apps=tuple(each for each in whole.apps if each.display_name in (OMNISCOPE, "exoscope operator")),
        role_assignments=(),
        service_principals=(),
    )


def exoscope_on(twin: Twin, folder: Path) -> Callable[..., Any]:
    """``exoscope(words…, code=0)`` against a twin, answering with the JSON."""
    environment = {**os.environ, "EXOSCOPE_PROFILE": twin.ready["profile"], "EXOSCOPE_STATE": str(folder / "state")}

    def exoscope(*words: str, code: int = 0) -> Any:
        ended = subprocess.run(
            [sys.executable, "-m", "exoscope", *words, "--json"],
            capture_output=True,
            text=True,
            timeout=200,
            cwd=folder,
            env=environment,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    return exoscope


def test_where_exchange_does_not_count_nested_members_nothing_is_changed(
    tmp_path: Path, serve: Callable[..., Twin]
) -> None:
    """Users say so of nested groups, documents the opposite: the baseline finds out before the first step."""
    start = governed()
    exoscope = exoscope_on(serve(start, token_lifetime=20.0, behaviour=Behaviour(nested_members="ignored")), tmp_path)
    snapshots.save(start, tmp_path / "tenant.json")
    exoscope("migrate", "--snapshot", "tenant.json")
    answer = exoscope("apply", "plan.json", "--yes", code=4)
    assert (answer["outcome"], answer["done"], answer["apps"][0]["code"]) == ("refused", 0, "baseline-differs")
    assert NESTED in answer["why"] and "nesting" in answer["why"]


@pytest.mark.long
def test_a_policy_of_an_app_that_is_gone_is_dropped_beside_a_migration_and_the_plan_still_verified(
    tmp_path: Path, serve: Callable[..., Twin]
) -> None:
    start = governed()
    assert isinstance(start.access_policies, tuple)
    (policy,) = start.access_policies
    ghost = "0d0e0a0d-0000-4000-8000-000000000001"
    dead = replace(policy, app_id=ghost, identity=policy.identity.replace(policy.app_id, ghost))
    twin = serve(replace(start, access_policies=(policy, dead)), token_lifetime=5.0)
    exoscope = exoscope_on(twin, tmp_path)
    answer = exoscope("migrate", "--drop-dead")
    assert [each["code"] for each in answer["findings"]] == ["dead-policy"]
    assert exoscope("apply", "plan.json", "--yes", "--wait", "200s")["outcome"] == "done"
    assert twin.tenant.snapshot().access_policies == ()
    assert exoscope("verify", "plan.json", "--wait", "60s")["verdict"] == "proven"


def _policy(
    start: Snapshot, app_id: str, right: Literal["RestrictAccess", "DenyAccess"], scope: PolicyScope
) -> AccessPolicy:
    return AccessPolicy(
        f"{start.tenant.id}\\{app_id}:{scope.sid};{scope.object_id}", app_id, right, scope, "legacy", True
    )


def varied(kind: str) -> tuple[Snapshot, list[str]]:
    """The restricted connector in another situation, and what then has to be said."""
    start = governed()
    assert isinstance(start.access_policies, tuple) and isinstance(start.recipients, tuple)
    (policy,) = start.access_policies
    app = app_named(start, OMNISCOPE)

    def alone(who: str) -> PolicyScope:
        box = next(each for each in start.recipients if each.primary_smtp_address == who)  # type: ignore[union-attr]  # it was read
        return PolicyScope(box.display_name, "S-1-5-21-1-2-3-4", str(box.external_directory_object_id))

    stale = "5ca1ab1e-0000-4000-8000-000000000001"
    wide = RoleAssignment(
        "old", "Application Mail.Read", stale if kind == "stale" else app.object_id, True, OrganizationScope()
    )
    pointer = ServicePrincipal(app.app_id, stale if kind == "stale" else app.object_id, app.display_name)
    match kind:
        case "one mailbox":
            return replace(start, access_policies=(_policy(start, app.app_id, "RestrictAccess", alone(INSIDE)),)), []
        case "denied group":
            denied = replace(start, access_policies=(_policy(start, app.app_id, "DenyAccess", policy.scope),))
            return denied, ["--accept", f"deny-fails-open:{app.app_id}"]
        case "denied mailbox":
            less = _policy(start, app.app_id, "DenyAccess", alone(NESTED))
            return replace(start, access_policies=(policy, less)), []
        case "every app":
            return replace(start, access_policies=(_policy(start, "*", "RestrictAccess", policy.scope),)), []
        case "stale" | "organisation":
            pointer = replace(pointer, override_enforce_exo_app_rbac_permissions=None)
            return replace(start, service_principals=(pointer,), role_assignments=(wide,)), []
        case "copied":
            return start, ["--nested", "group"]
    return start, []


@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    ["nested", "copied", "one mailbox", "denied group", "denied mailbox", "every app", "stale", "organisation"],
)
def test_rehearsed_and_taken_back_nothing_is_gained_or_lost(run: Run, tmp_path: Path, kind: str) -> None:
    """The twin decides by an evaluator of its own, so a rule that planning has wrong does not agree with itself here."""
    start, words = varied(kind)
    snapshots.save(start, tmp_path / "tenant.json")
    run("migrate", "--snapshot", "tenant.json", *words)
    answer = json.loads(run("rehearse", "plan.json", "--snapshot", "tenant.json", "--json").stdout)
    assert (answer["verdict"], answer["gained"], answer["lost"], answer["undone"]) == ("proven", [], [], True), answer


@pytest.mark.long
def test_every_night_one_command(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    twin = serve(governed(), token_lifetime=5.0)
    exoscope = exoscope_on(twin, tmp_path)
    first = exoscope("migrate", "--advance", code=3)
    assert (first["run"], first["waiting_for"]) == (None, "approval")
    assert load_plan(Path(first["plan"]).read_bytes()).hash == first["hash"]
    again = exoscope("migrate", "--advance", code=3)
    assert again["hash"] == first["hash"]
    assert isinstance(twin.tenant.snapshot().role_assignments, tuple) and not twin.tenant.snapshot().role_assignments
    night = exoscope("migrate", "--advance", "--hash", first["hash"], code=3)
    assert night["run"] is not None
    for _ in range(40):
        if night["outcome"] == "done":
            break
        night = exoscope("resume", "last", "--yes", "--wait", "60s")
    assert night["outcome"] == "done"
    last = exoscope("migrate", "--advance")
    assert (last["run"], last["outcome"], last["steps"]) == (None, "done", 0)
    assert twin.tenant.snapshot().access_policies == ()


@pytest.mark.long
def test_a_copy_follows_who_joins_and_leaves_and_is_proven_and_taken_back(
    tmp_path: Path, serve: Callable[..., Twin]
) -> None:
    """The policy's members were copied; before the cut-over one has left the inner group and another joined it."""
    start = governed()
    assert isinstance(start.groups, tuple) and isinstance(start.recipients, tuple)
    twin = serve(
        start, token_lifetime=20.0, propagation=15.0
    )  # long beside what a slow machine takes to look at a gate
    exoscope = exoscope_on(twin, tmp_path)
    exoscope("migrate", "--nested", "group")
    first = exoscope("apply", "plan.json", "--yes", "--wait", "120s", "--until", "overlap", code=3)
    guids = {each.primary_smtp_address: each.guid for each in start.recipients}
    groups = twin.tenant.snapshot().groups
    assert isinstance(groups, tuple)
    moved = tuple(
        replace(each, members=(guids["admin@contoso.com"],)) if each.display_name == "Omniscope pilots" else each
        for each in groups
    )
    twin.tenant.change("somebody moves people", groups=moved)
    waiting = exoscope("resume", "last", "--yes", code=3)
    (app,) = waiting["apps"]
    assert app["stage"] == "overlap"
    assert any(f"{NESTED} left" in note for note in app["notes"])
    assert any("admin@contoso.com joined" in note for note in app["notes"])
    assert app_named(twin.tenant.snapshot(), OMNISCOPE).consents
    done = exoscope("resume", "last", "--yes", "--wait", "200s")
    assert (done["outcome"], done["steps"]) == ("done", first["steps"] + 2)
    proof = exoscope("verify", "plan.json", "--wait", "60s")
    assert proof["verdict"] == "proven"
    inside = {
        c["mailbox"] for c in proof["apps"][0]["permissions"]["Mail.Read"]["checks"] if c["expected"] == "allowed"
    }
    assert "admin@contoso.com" in inside and NESTED not in inside
    back = exoscope("undo", done["run"], "--yes", "--wait", "200s")
    assert back["outcome"] == "done"
    now = twin.tenant.snapshot().groups
    assert isinstance(now, tuple) and [each.guid for each in now] == [
        each.guid for each in groups if each.guid in {g.guid for g in start.groups}
    ]
