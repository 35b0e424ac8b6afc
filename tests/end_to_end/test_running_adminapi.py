"""The whole main job without any PowerShell: snapshot, plan, apply, verify, undo over the admin API against the twin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.model import Snapshot
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample, serve

__all__ = ["serve"]


def small() -> Snapshot:
    """The sample tenant with few mailboxes."""
    tenant = load_sample()
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    inside = next(each for each in tenant.groups if each.primary_smtp_address == OMNISCOPE_GROUP).members or ()
    named = {"ada@contoso.com", "ceo@contoso.com", "admin@contoso.com"}
    kept = [each for each in tenant.recipients if each.guid in inside or each.primary_smtp_address in named]
    return replace(tenant, recipients=tuple(kept))


class Work:
    """A served tenant, a profile whose road is the admin API, and processes of exoscope in a folder."""

    def __init__(self, folder: Path, twin: Twin, mechanism: str) -> None:
        self.folder, self.twin = folder, twin
        profile = Path(twin.ready["profile"])
        text = profile.read_text(encoding="utf-8")
        road = re.compile(r"^\[transport\]\n(?:[^\[\n].*\n|\n)*", re.MULTILINE)
        assert road.search(text)
        profile.write_text(road.sub('[transport]\nkind = "admin-api"\n\n', text), encoding="utf-8")
        (folder / "scope.yaml").write_text(
            f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    mechanism: {mechanism}\n"
            f"    scope:\n      group: {OMNISCOPE_GROUP}\n",
            encoding="utf-8",
        )
        self.output = ""

    def run(self, *words: str) -> tuple[int, Any]:
        """Exit code and JSON answer of one process."""
        ended = subprocess.run(
            [sys.executable, "-m", "exoscope", *words, "--json"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=self.folder,
            env={
                **os.environ,
                "EXOSCOPE_PROFILE": self.twin.ready["profile"],
                "EXOSCOPE_STATE": str(self.folder / "s"),
            },
        )
        self.output += ended.stdout + ended.stderr
        lines = ended.stdout.strip().splitlines()
        return ended.returncode, json.loads(lines[-1]) if lines else None

    def planned(self) -> None:
        assert self.run("snapshot", "-o", "tenant.json", "--for", "scope.yaml")[0] == 0, self.output
        assert self.run("plan", "scope.yaml", "--snapshot", "tenant.json", "-o", "plan.json")[0] in (0, 1), self.output


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mechanism", ["rbac", pytest.param("access-policy", marks=pytest.mark.long)])
def test_a_tenant_is_read_scoped_proven_and_put_back(
    tmp_path: Path, serve: Callable[..., Twin], mechanism: str
) -> None:
    tenant = small()
    work = Work(tmp_path, serve(tenant, propagation=0.4, token_lifetime=2.0), mechanism)
    work.planned()
    code, answer = work.run("apply", "plan.json", "--yes", "--wait", "60s")
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    now = work.twin.tenant.snapshot()
    lists = ("management_scopes", "role_assignments", "access_policies")
    assert any(len(getattr(now, name)) > len(getattr(tenant, name)) for name in lists)
    assert work.run("verify", "plan.json")[0] == 0, work.output
    code, answer = work.run("undo", answer["run"], "--yes", "--wait", "60s")
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    now = work.twin.tenant.snapshot()
    for name in lists:
        assert getattr(now, name) == getattr(tenant, name)
    assert work.twin.wsman.shells == 0, "no PowerShell was asked for"


@pytest.mark.timeout(240)
def test_a_write_whose_answer_is_lost_is_looked_up_and_not_repeated(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    work = Work(tmp_path, serve(small(), propagation=0.4, token_lifetime=2.0), "rbac")
    work.planned()
    work.twin.faults.drop("New-ManagementScope", act=True)
    work.twin.faults.throttle("New-ManagementRoleAssignment")
    code, answer = work.run("apply", "plan.json", "--yes", "--wait", "60s")
    assert (code, answer.get("outcome")) == (0, "done"), work.output
    made = [change.what for change in work.twin.tenant.log if change.what.startswith("New-ManagementScope")]
    assert len(made) == 1
