"""Hostile values over the road of exported scripts: planned, exported, run by a PowerShell against the twin, compared exactly."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import exoscope.twin
from exoscope.model import Plan, Step, Target
from exoscope.planning import operations, plan_hash
from exoscope.powershell import LiteralError, holes
from exoscope.scripting import ScriptData, bytes_of, explain, load_result, parts_of
from exoscope.twin.server import Twin
from fuzz.carriers import GROUPS, SCOPES, Stored, Values, filter_of
from fuzz.values import carried
from fuzz.written import Found
from scripting_plans import sample_plan
from twin_fixtures import load_sample, token

ROAD = "exported script"
MOST = 20  # problems, after which it ends: a script that fails arrives with nothing
PAIRS = 10
_TOKEN = "https://outlook.office365.com/.default"


def check(values: Iterator[str], count: int, program: str, pairs: int = PAIRS) -> Found:
    """Send at least ``count`` values: what a script cannot hold is not exported, the rest is unchanged in tenant and result."""
    with exoscope.twin.serve(load_sample(), propagation=0.1, token_lifetime=6 * 3600.0) as twin:
        return _Exported(twin, program, values).run(count, pairs)


class _Exported:
    def __init__(self, twin: Twin, program: str, values: Iterator[str]) -> None:
        self.found = Found()
        self._twin, self._program, self._raw = twin, program, values
        self._plan = sample_plan()

    def run(self, count: int, pairs: int) -> Found:
        values = Values(self._good())
        with tempfile.TemporaryDirectory(prefix="exoscope-fuzz-") as name:
            folder = Path(name)
            while self.found.count < count and len(self.found.problems) < MOST:
                self._script(folder, SCOPES.writes(values, pairs), GROUPS.writes(values, pairs))
        return self.found

    def _good(self) -> Iterator[str]:
        for value in self._raw:
            if carried(value) and not holes(value):
                yield value
            else:
                self._refused(value)

    def _refused(self, value: str) -> None:
        """There is no script with such a value: PowerShell cannot hold it, or it reads like a plan's placeholder."""
        fate = "refused"
        try:
            parts, left = self._exported([_scope_step(1, value, filter_of(1, ["x"]))])
            if parts or not left:
                self.found.problems.append(f"{value!r} was exported")
            fate = "refused as a plan's placeholder"
        except LiteralError:
            pass
        self.found.fates[fate] += 1

    def _exported(self, steps: list[Step]) -> tuple[Any, Any]:
        plan: Plan = msgspec.structs.replace(
            self._plan,
            stages=self._plan.stages[:1],
            steps=tuple(msgspec.structs.replace(step, id=f"step-{number}") for number, step in enumerate(steps, 1)),
        )
        return parts_of(plan, plan_hash(plan))

    def _script(self, folder: Path, scopes: list[Stored], groups: list[Stored]) -> None:
        steps = [_scope_step(1, *each.row) for each in scopes] + [_group_step(each) for each in groups]
        ((part,), left) = self._exported(steps)
        assert not left
        data: ScriptData = part.data
        content = bytes_of(data)
        read = explain(content)
        if read is None or read.data != data:
            self.found.problems.append(f"the guard reads another script: {data!r}")
        file = folder / data.script
        file.write_bytes(content)
        result = Path(f"{file}.result.json")
        result.unlink(missing_ok=True)
        done = self._run(folder, file)
        if done.returncode != 0:
            self.found.problems.append(f"exit {done.returncode}: {done.stdout[-600:]} {done.stderr[-600:]}")
            return
        seen = [step.seen for step in load_result(result.read_bytes(), file.name).steps]
        state = self._twin.tenant
        held_scopes = {(each.name, each.recipient_filter) for each in state.read("management_scopes")}
        extras = state.group_extras
        held_groups = {
            (more.name, each.display_name, more.notes)
            for each in state.read("groups")
            if (more := extras.get(each.guid.lower())) is not None
        }
        told_scopes = {(row["Name"], row["RecipientFilter"]) for each in seen for row in each.get("scope", ())}
        told_groups = {
            (row["Name"], row["DisplayName"], row["Notes"]) for each in seen for row in each.get("group", ())
        }
        for carrier, stored, held, told in (
            (SCOPES, scopes, held_scopes, told_scopes),
            (GROUPS, groups, held_groups, told_groups),
        ):
            for each in stored:
                if each.row in held and each.row in told:
                    self.found.fates["unchanged"] += carrier.places
                else:
                    self.found.problems.append(
                        f"in tenant {each.row in held}, in result {each.row in told}: {each.row!r}"
                    )

    def _run(self, folder: Path, file: Path) -> subprocess.CompletedProcess[str]:
        """What an operator does: connect, then run the script. The token comes by the environment."""
        wrapper = folder / "session.ps1"
        wrapper.write_text(
            f"Connect-ExchangeOnline -AccessToken $env:EXCHANGE_TOKEN -Organization '{self._plan.tenant.domain}'\n"
            f"& '{file}' -ReadBackSeconds 60\nexit $LASTEXITCODE\n",
            encoding="utf-8-sig",
        )
        environ = {**os.environ, "PSModulePath": self._twin.ready["module"], "SSL_CERT_FILE": self._twin.ready["ca"]}
        environ["EXCHANGE_TOKEN"] = token(self._twin, scope=_TOKEN)
        return subprocess.run(
            [self._program, "-NoProfile", "-File", str(wrapper)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=900,
            env=environ,
            check=False,
        )


def _scope_step(number: int, name: str, filter_: str) -> Step:
    after = {"recipient_filter": filter_, "recipient_root": None, "exclusive": False}
    return operations.step(f"step-{number}", "grant", Target("management_scope", {"name": name}), None, after, None)


def _group_step(stored: Stored) -> Step:
    name, _, _ = stored.row
    after = {
        **{each: stored.values[each] for each in ("alias", "display_name", "notes")},
        "hidden": False,
        "join_restriction": "Closed",
        "depart_restriction": "Closed",
        "type": "Security",
        "members": [],
        "owners": [],
    }
    return operations.step("step-1", "grant", Target("group", {"name": name}), None, after, None)
