"""``exoscope rehearse`` as a user types it, and what it says of a run whose gates do not wait."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope import snapshot
from exoscope.cli import frame, program
from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.model import PlanFile, Snapshot
from exoscope.planning import dump_plan, load_plan, plan_scope
from exoscope.rehearsing import rehearse as rehearsing
from exoscope.rehearsing.watching import Delays
from exoscope.running import tenancy
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

INTENT = f"""\
version: 1
apps:
  - app: {OMNISCOPE}
    permissions: [Mail.Read]
    mechanism: rbac
    scope: {{group: {OMNISCOPE_GROUP}}}
"""


@pytest.fixture
def tenant(tmp_path: Path) -> Path:
    """A small tenant's snapshot, with plan.json beside it."""
    sample = load_sample()
    assert isinstance(sample.recipients, tuple)
    few = replace(sample, recipients=sample.recipients[:14])
    snapshot.save(few, tmp_path / "tenant.json")
    (tmp_path / "plan.json").write_bytes(dump_plan(plan_scope(few, loads_intent(INTENT, "the intent"))))
    return tmp_path / "tenant.json"


def loaded(tenant: Path) -> tuple[PlanFile, Snapshot]:
    return load_plan((tenant.parent / "plan.json").read_bytes()), snapshot.load(tenant)


def test_a_plan_is_rehearsed_and_taken_back(tenant: Path) -> None:
    plan = tenant.parent / "plan.json"
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", "rehearse", plan, "--snapshot", tenant, "--json"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=tenant.parent,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["gained"], answer["lost"], answer["undone"]) == ("proven", [], [], True)
    assert (answer["steps"], answer["asked"]) == (5, 1)
    assert answer["plan"] == json.loads(plan.read_text(encoding="utf-8"))["hash"]
    assert answer["moments"] > 10
    assert answer["decisions"] > answer["moments"]
    assert "It is taken back" in done.stderr
    assert sorted(path.name for path in tenant.parent.iterdir()) == ["plan.json", "tenant.json"], (
        "nothing is left behind"
    )


def test_gates_that_do_not_wait_are_found_out(tenant: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rehearsing.desk_for

    def hasty(*given: Any, **options: Any) -> Any:
        desk = real(*given, **options)
        return replace(desk, waits=dict.fromkeys(desk.waits, 0.0))

    monkeypatch.setattr(rehearsing, "desk_for", hasty)
    monkeypatch.setattr(rehearsing, "ASKED", 0)
    monkeypatch.setattr(tenancy, "gate_proof", None)  # whoever asks a witness fails
    file, tenant_read = loaded(tenant)
    told: list[str] = []
    # No client calls while the consent goes, so only the states themselves can tell that it went too early.
    answer = rehearsing.rehearse(file, tenant_read, SystemClock(), told.append, delays=Delays(60.0, 600.0))
    assert answer.verdict == "violated"
    assert answer.lost
    assert {each.permission for each in answer.lost} >= {"Mail.Read"}
    assert answer.gained == ()
    assert answer.asked == 0


def refused(words: list[object], capsys: pytest.CaptureFixture[str], code: int) -> Any:
    assert frame._outcome(program, [str(word) for word in words], as_json=True) == code
    return json.loads(capsys.readouterr().out)["error"]


def test_what_cannot_be_rehearsed(tenant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, read = loaded(tenant)
    plan = tenant.parent / "plan.json"
    plan.write_bytes(dump_plan(replace(file.plan, steps=())))
    assert refused(["rehearse", plan, "--snapshot", tenant, "--json"], capsys, 4)["code"] == "empty-plan"
    plan.write_bytes(dump_plan(replace(file.plan, purpose="undo")))
    assert refused(["rehearse", plan, "--snapshot", tenant, "--json"], capsys, 4)["code"] == "undo-plan"
    plan.write_bytes(dump_plan(file.plan))
    snapshot.save(replace(read, tenant=replace(read.tenant, id="00000000-0000-0000-0000-00000000beef")), tenant)
    assert refused(["rehearse", plan, "--snapshot", tenant, "--json"], capsys, 4)["code"] == "wrong-tenant"
