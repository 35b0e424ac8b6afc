"""The demo as a user runs it, and the Python API as a migration script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

import exoscope
from exoscope.model import Plan
from exoscope.twin import serve
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

INTENT = f"""\
version: 1
apps:
  - app: {OMNISCOPE}
    permissions: [Mail.Read]
    mechanism: rbac
    scope: {{group: {OMNISCOPE_GROUP}}}
"""


@pytest.mark.timeout(240)
def test_the_demo_proves_and_undoes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", "demo", "--json"], capture_output=True, text=True, timeout=230, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["verdict"] == "proven"
    assert (answer["before"], answer["after"], answer["steps"]) == (57, 8, 5)
    assert answer["undone"] is True
    page = Path(answer["evidence"])
    assert "holds Mail.Read for 8 of 57 mailboxes" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in page.parent.iterdir()) == ["evidence.html", "evidence.json"], "no secret stays"
    assert "New-ManagementRoleAssignment" in done.stderr


def test_every_public_name_is_there() -> None:
    for name in exoscope.__all__:
        assert getattr(exoscope, name) is not None
    assert set(exoscope.__all__) <= set(dir(exoscope))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        exoscope.nonsense  # noqa: B018 - reading it is the test


@pytest.mark.long
def test_a_migration_script_plans_applies_proves_and_undoes(tmp_path: Path) -> None:
    intent = tmp_path / "scope.yaml"
    intent.write_text(INTENT, encoding="utf-8")
    sample = load_sample()
    assert isinstance(sample.recipients, tuple)
    tenant_as_it_is = replace(sample, recipients=sample.recipients[:14])
    with serve(tenant_as_it_is, propagation=0.3, token_lifetime=5.0) as twin:
        lines: list[str] = []
        with exoscope.Tenant.connect(twin.ready["profile"], state=tmp_path / "state", progress=lines.append) as tenant:
            snapshot = tenant.snapshot(intent)
            before = exoscope.Reach(snapshot).of(OMNISCOPE, "Mail.Read").allowed.addresses()
            plan = exoscope.plan(snapshot, intent)
            assert isinstance(plan, Plan)
            assert plan.refusals == ()
            run = tenant.apply(plan, wait=60)
            assert run.outcome == "done"
            proof = tenant.verify(plan, wait=60)
            assert proof.verdict is exoscope.Verdict.PROVEN
            seen: list[Plan] = []
            back = tenant.undo(run.run, approve=seen.append, wait=60)
            assert back.outcome == "done"
            assert seen[0].purpose == "undo"
            after = exoscope.Reach(tenant.snapshot(intent)).of(OMNISCOPE, "Mail.Read").allowed.addresses()
        assert after == before
        assert lines, "progress is told"


def test_what_is_refused_raises_with_its_refusals(tmp_path: Path) -> None:
    intent = tmp_path / "scope.yaml"
    intent.write_text(INTENT.replace(OMNISCOPE_GROUP, "nobody@contoso.com"), encoding="utf-8")
    with pytest.raises(exoscope.Refused) as refused:
        exoscope.plan(load_sample(), intent)
    assert [each.code for each in refused.value.refusals] == ["group-missing"]
    assert refused.value.exit == exoscope.Exit.REFUSED


@pytest.mark.parametrize(
    ("words", "environ", "told"),
    [
        (("--pwsh",), {"PATH": "", "EXOSCOPE_PWSH": ""}, "there is no PowerShell"),
        (("--pwsh",), {"EXOSCOPE_PWSH": "/nowhere/pwsh"}, "EXOSCOPE_PWSH names /nowhere/pwsh"),
        (("--pwsh", "/nowhere/pwsh"), {}, "/nowhere/pwsh is no program"),
        (("--pwsh", sys.executable), {}, "cannot stand behind the gateway"),
    ],
    ids=["none", "named", "path", "other"],
)
def test_the_demo_without_the_powershell_it_was_told_of(
    words: tuple[str, ...], environ: dict[str, str], told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", "demo", *words, "--json"],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (2, "no-pwsh"), done.stderr
    assert told in error["message"]
    assert error["next"]
