"""Roads agree: every operation and every read over every road does to the twin what the twin's Exchange does when asked without
one, and tells the same rows, warnings and errors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import exoscope.twin
import roads_change
from exoscope import exchange
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession
from exoscope.planning import plan_hash
from exoscope.profile import AdminApiRoad, LocalPwsh, load_profile
from exoscope.scripting import bytes_of, explain, parts_of
from exoscope.scripting.reads import reads_of
from exoscope.twin.server import Twin
from powershell_oracles import pwsh as named
from roads_cases import SAMPLE, WRITES, cases, operations
from roads_script import Script, run_connected
from roads_walk import QuickClock, differences, named_anew, over, set_back, standing
from twin_exchange import Shell

CASES = cases()


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(SAMPLE, propagation=0.0, token_lifetime=3600.0) as twin:
        yield twin


def session(twin: Twin, transport: Any = None) -> ExchangeSession:
    profile = load_profile(Path(twin.ready["profile"]), os.environ)
    if transport is not None:
        profile = msgspec.structs.replace(profile, transport=transport)
    clock = QuickClock()
    return exchange.connect(profile, Tokens(profile, clock), clock=clock)


def walk(twin: Twin, road: str, opened: ExchangeSession) -> list[str]:
    """Every case over one session; what differs."""

    def ask(script: str) -> Any:
        result = opened.run(script)
        return result.rows, result.warnings

    found: list[str] = []
    try:
        for case in CASES:
            if road in case.roads:
                found += differences(case, road, over(case, twin, ask))
    finally:
        opened.close()
    return found


def told(found: list[str]) -> str:
    return "\n" + "\n".join(found)


def test_the_gateway(served: Twin) -> None:
    found = walk(served, "gateway", session(served))
    assert not found, told(found)


def test_the_admin_api(served: Twin) -> None:
    found = walk(served, "admin-api", session(served, AdminApiRoad(kind="admin-api")))
    assert not found, told(found)


# --- real PowerShell ---------------------------------------------------------------------------------------------

needs_pwsh = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]


@pytest.fixture(scope="module")
def real() -> Iterator[Twin]:
    """A twin whose gateway is real PowerShell; its module is the one that children of this process find."""
    with (
        exoscope.twin.serve(SAMPLE, propagation=0.0, token_lifetime=3600.0, pwsh=named()) as twin,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PSModulePath", twin.ready["module"])
        yield twin


@pytest.mark.timeout(300)
class TestRealPowerShell:
    pytestmark = needs_pwsh

    def test_behind_the_gateway(self, real: Twin) -> None:
        found = walk(real, "gateway-pwsh", session(real))
        assert not found, told(found)

    def test_on_this_machine(self, real: Twin) -> None:
        found = walk(real, "pwsh", session(real, LocalPwsh(kind="pwsh", path=Path(str(named())))))
        assert not found, told(found)

    def test_in_the_frame_of_a_script(self, real: Twin, tmp_path: Path) -> None:
        chosen = [case for case in CASES if "script" in case.roads]
        script = Script(str(named()), tmp_path, real, chosen)
        try:
            found = [each for case in chosen for each in differences(case, "script", over(case, real, script.ask))]
        finally:
            script.close()
        assert not found, told(found)

    @pytest.mark.long
    def test_a_whole_script(self, real: Twin, tmp_path: Path) -> None:
        """Every operation as a step of one exported file: what it does, and what it reads back after each step."""
        plan, start = roads_change.plan(), roads_change.start()
        assert {step.template for step in plan.steps} == set(operations(*WRITES))
        set_back(real, start)
        ((part,), left) = parts_of(plan, plan_hash(plan))
        path = tmp_path / part.data.script
        path.write_bytes(bytes_of(part.data))
        assert not left
        assert explain(path.read_bytes()) is not None
        done = run_connected(str(named()), real, tmp_path, f"& '{path}' -ReadBackSeconds 60")
        assert done.returncode == 0, done.stdout + done.stderr

        shell = Shell(start)
        for step, entry in zip(
            part.data.steps, json.loads(Path(f"{path}.result.json").read_text())["steps"], strict=True
        ):
            assert entry["outcome"] == "done"
            assert not shell(str(step.template), **step.values).errors
            read = {name: shell(template, **values).rows for name, template, values in reads_of(step)}
            assert named_anew(start, real.tenant.state, entry["seen"]) == named_anew(start, shell.tenant.state, read), (
                step
            )
        assert standing(start, real.tenant) == standing(start, shell.tenant)
