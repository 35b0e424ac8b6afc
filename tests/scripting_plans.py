"""Plans for the tests of scripts: the sample tenant's connector, scoped to its group, and hostile values put into it."""

from __future__ import annotations

from typing import Any

import msgspec

from exoscope.intent import loads_intent
from exoscope.model import Plan, Step
from exoscope.planning import plan_hash, plan_scope
from exoscope.powershell import render_guarded
from exoscope.scripting import ScriptData, parts_of
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

INTENT = f"""\
version: 1
apps:
  - app: {OMNISCOPE}
    permissions: [Mail.Read]
    mechanism: rbac
    scope:
      group: {OMNISCOPE_GROUP}
"""


def sample_plan() -> Plan:
    """The connector scoped to its group: a grant in Exchange, then two Graph steps."""
    return plan_scope(load_sample(), loads_intent(INTENT, "scope.yaml"))


def datas(plan: Plan, waits: Any = None, **options: Any) -> dict[str, ScriptData]:
    """Script name -> its data."""
    given = () if waits is None else (waits,)
    return {part.data.script: part.data for part in parts_of(plan, plan_hash(plan), *given, **options)[0]}


def renamed(data: ScriptData, name: str) -> ScriptData:
    """An Exchange script's data with this text wherever a name of the tenant can stand."""

    def step(each: Any) -> Any:
        if each.kind != "pointer":
            return each
        return msgspec.structs.replace(
            each,
            title=f"Make Exchange's pointer to {name}",
            after={"display_name": name},
            values={**each.values, "display_name": name},
        )

    apps = tuple(msgspec.structs.replace(app, name=name) for app in data.apps)
    return msgspec.structs.replace(data, apps=apps, notes=(name,), steps=tuple(step(each) for each in data.steps))


def with_values(step: Step, **values: Any) -> Step:
    """A step whose operation has other values."""
    given = {**step.values, **values}
    return msgspec.structs.replace(step, values=given, script=render_guarded(str(step.template), given).text)
