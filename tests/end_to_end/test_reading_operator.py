"""An operator that Exchange lets read only: it snapshots, plans and verifies; what it applies is refused with nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample, serve

__all__ = ["serve"]


@pytest.mark.timeout(240)
def test_it_reads_plans_and_proves_and_changes_nothing(tmp_path: Path, serve: Callable[..., Twin]) -> None:
    sample = load_sample()
    assert isinstance(sample.recipients, tuple)
    twin = serve(replace(sample, recipients=sample.recipients[:14]), token_lifetime=60.0)
    twin.wsman._read_only = lambda app_id: app_id == twin.operator.app_id
    (tmp_path / "scope.yaml").write_text(
        f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
        f"    scope: {{group: {OMNISCOPE_GROUP}}}\n",
        encoding="utf-8",
    )

    def run(*words: str) -> tuple[int, Any, str]:
        done = subprocess.run(
            [sys.executable, "-m", "exoscope", *words, "--json"],
            cwd=tmp_path,
            env={**os.environ, "EXOSCOPE_PROFILE": twin.ready["profile"], "EXOSCOPE_STATE": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    code, read, talk = run("snapshot", "-o", "tenant.json", "--for", "scope.yaml")
    assert (code, read["unread"]) == (0, []), talk
    assert run("plan", "scope.yaml", "--snapshot", "tenant.json", "-o", "plan.json")[0] == 0
    code, proof, talk = run("verify", "plan.json")
    assert (code, proof["verdict"]) == (1, "violated"), talk  # the consent is still there
    asked = [check for app in proof["apps"] for each in app["permissions"].values() for check in each["checks"]]
    assert asked
    assert {check["exchange"] for check in asked} <= {"allowed", "denied"}, "Exchange's tests were answered"
    code, answer, talk = run("apply", "plan.json", "--yes")
    assert (code, answer["done"], answer["apps"][0]["code"]) == (6, 0, "access-denied"), talk
    assert twin.tenant.log == [], "nothing was changed"
