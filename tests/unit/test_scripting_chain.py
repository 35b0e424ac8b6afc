"""From files to results to the next files, and back, with no connection: on paper, for many plans and interruptions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exoscope.intent import loads_intent
from exoscope.model import Plan, PlanFile, Snapshot
from exoscope.outcome import BadInput, NotFound, Refused
from exoscope.planning import plan_hash, plan_scope
from exoscope.planning.migration import plan_migration
from exoscope.powershell import fill
from exoscope.running import (
    Desk,
    Export,
    Opened,
    RunAnswer,
    Store,
    apply,
    export,
    exporting,
    plan_back,
    resume,
    status,
    take_result,
    undo,
)
from exoscope.running.journal import Journal
from exoscope.running.patience import Patience
from exoscope.running.records import AppStopped, StepTold
from exoscope.scripting import ScriptData, ScriptResult, bytes_of, explain, load_result
from exoscope.scripting.data import After
from planning_tenants import tenant
from running_fakes import WAITS, HandClock, SnapshotTenancy
from scripting_paper import Paper

BOXES = ["ada", "bob", "cid", "eve"]


def planned(mechanism: str, consents: list[str], apps: tuple[str, ...] = ("omni",)) -> tuple[Snapshot, Plan]:
    """Apps scoped to two listed mailboxes each: every one gets a managed group, so the plan has holes."""
    given = tenant({"mailboxes": BOXES, "apps": {name: {"consents": consents} for name in apps}})
    lines = ["version: 1", "apps:"]
    for number, name in enumerate(apps):
        mailboxes = ", ".join(f"{box}@contoso.com" for box in BOXES[number : number + 2])
        lines += [f"  - app: {name}", "    permissions: [Mail.Read]", f"    mechanism: {mechanism}"]
        lines += ["    scope:", f"      mailboxes: [{mailboxes}]"]
    return given, plan_scope(given, loads_intent("\n".join([*lines, ""])))


class Chain:
    """A plan's folder of files on paper, and a desk at which nothing can be opened."""

    def __init__(self, folder: Path, plan: Plan, tenant: Snapshot, paper: Paper | None = None) -> None:
        self.folder, self.tenant = folder, tenant
        self.file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
        self.paper = paper or Paper(tenant)
        self.store = Store(folder)
        self.desk = Desk(
            store=self.store,
            clock=HandClock(),
            progress=lambda event: None,
            open=self._never,
            operator="scripts",
            waits=dict(WAITS),  # type: ignore[arg-type]  # the keys are wait kinds
            lengthen=True,
        )

    @contextlib.contextmanager
    def _never(self, plan: Plan) -> Iterator[Opened]:
        raise AssertionError("a connection was opened")
        yield

    def write(self, stage: str | None = None) -> Export:
        return export(self.file, self.store, WAITS, lengthen=True, stage=stage)  # type: ignore[arg-type]  # wait kinds

    def datas(self) -> dict[str, ScriptData]:
        return {part.data.script: part.data for part in self.write().parts}

    def take(self, result: ScriptResult) -> RunAnswer:
        return take_result(result, self.desk, self.file, lambda: self.tenant)

    def through(self) -> None:
        """Run every file, taking each result, until all stand."""
        for _ in range(20):
            written = self.write()
            due = [part for part in written.parts if not written.stand(part)]
            if not due:
                assert written.left == ()
                return
            result = self.paper.run(due[0].data)
            assert result.outcome == "done"
            self.take(result)
        raise AssertionError("the files do not come to an end")

    def plan_back(self, given: Snapshot | None = None) -> Any:
        return plan_back(self.file, self.store, given, lambda: self.tenant, lengthen=True)

    def back(self) -> Chain:
        plan = self.plan_back()
        assert isinstance(plan, Plan)
        return Chain(self.folder, plan, self.tenant, self.paper)


PLANS = [
    ("rbac", [], ("omni",)),
    ("rbac", ["Mail.Read"], ("omni",)),
    ("rbac", ["Mail.Read"], ("omni", "other")),
    ("access-policy", [], ("omni",)),
    ("access-policy", [], ("omni", "other")),
    ("access-policy", ["Mail.Read"], ("omni",)),
]


@pytest.mark.parametrize(("mechanism", "consents", "apps"), PLANS)
def test_there_and_back(mechanism: str, consents: list[str], apps: tuple[str, ...], tmp_path: Path) -> None:
    given, plan = planned(mechanism, consents, apps)
    chain = Chain(tmp_path, plan, given)
    first = chain.write()
    assert first.run is None and first.left
    chain.through()
    assert chain.paper.sent == [step.id for step in plan.steps]
    back = chain.back()
    back.through()
    assert set(back.paper.sent[len(plan.steps) :]) == {step.id for step in back.file.plan.steps}
    now = chain.paper.snapshot
    for name in ("service_principals", "management_scopes", "role_assignments", "access_policies", "groups"):
        assert getattr(now, name) == getattr(given, name)
    for app, was in zip(now.apps, given.apps, strict=True):  # type: ignore[arg-type]  # made with apps
        assert {c.app_role_id for c in app.consents} == {c.app_role_id for c in was.consents}
        assert set(app.requested) == set(was.requested)
    run = next(folder for folder, _ in chain.store.runs_of(chain.file.hash))
    assert chain.store.undone_by(run.run).keys() == {app.app_id for app in plan.apps}
    with pytest.raises(Refused) as caught:
        chain.plan_back()
    assert caught.value.code == "undone"
    # What was taken back fills nothing any more.
    again = chain.write()
    assert again.run is None and again.left == first.left


def test_a_migration_there_and_back(tmp_path: Path) -> None:
    """Policies to roles: the first file follows evidence alone, the last ones remove the policies; and all of it back."""
    given = tenant(
        {
            "mailboxes": BOXES,
            "groups": {"sales": ["ada"], "hr": ["bob"]},
            "apps": {"omni": {"consents": ["Mail.Read"]}, "other": {"consents": ["Mail.Read"]}},
            "policies": [{"app": "omni", "group": "sales"}, {"app": "other", "group": "hr"}],
        }
    )
    chain = Chain(tmp_path, plan_migration(given), given)
    datas = list(chain.datas().values())
    assert datas[0].after == After("", "baseline", 0, ("baseline",))
    assert [data.stage for data in datas] == ["overlap", "cutover", "finish"]
    chain.through()
    assert chain.paper.snapshot.access_policies == ()
    back = chain.back()
    back.through()
    now = chain.paper.snapshot
    assert now.role_assignments == given.role_assignments
    for app, was in zip(now.apps, given.apps, strict=True):  # type: ignore[arg-type]  # made with apps
        assert {c.app_role_id for c in app.consents} == {c.app_role_id for c in was.consents}
    assert [(p.app_id, p.access_right, p.scope.object_id) for p in now.access_policies] == [  # type: ignore[union-attr]  # made with policies
        (p.app_id, p.access_right, p.scope.object_id)
        for p in given.access_policies  # type: ignore[union-attr]  # as above
    ]


def test_which_files_there_are_does_not_depend_on_what_is_known(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"], ("omni", "other"))
    chain = Chain(tmp_path, plan, given)
    before = chain.write()
    names = sorted([part.data.script for part in before.parts] + [each.script for each in before.left])
    chain.through()
    after = chain.write()
    assert [part.data.script for part in after.parts] == names
    # What was written before is written the same: nobody has to review it twice.
    same = {part.data.script: bytes_of(part.data) for part in after.parts}
    assert all(same[part.data.script] == bytes_of(part.data) for part in before.parts)
    # No file holds both what yields a value and what rests on it.
    steps = {step.id: step for step in plan.steps}
    for part in after.parts:
        own = {step.id for step in part.data.steps}
        assert not own & {fill.step for fill in part.data.fills}
        assert all(fill.key == steps[fill.step].target.key for fill in part.data.fills)


def test_a_filled_file_is_the_planned_one_but_for_its_holes(tmp_path: Path) -> None:
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(chain.paper.run(chain.datas()["01-restrict-exchange.ps1"]))
    written = chain.write()
    (part,) = (part for part in written.parts if part.data.fills)
    (group,) = (each for each in chain.paper.snapshot.groups if each.display_name.startswith("exoscope"))  # type: ignore[union-attr]  # made with groups
    assert part.fills() == {
        "<step-1.guid>": group.guid,
        "<step-1.external_directory_object_id>": group.external_directory_object_id,
    }
    assert part.data.plan == chain.file.hash
    content = bytes_of(part.data)
    read = explain(content)
    assert read is not None and read.data == part.data
    assert b"<step-1." not in content
    made = [each[0] for each in read.pipelines if each[0].cmdlet == "New-ApplicationAccessPolicy"]
    assert [each.parameters["PolicyScopeGroupId"] for each in made] == [group.external_directory_object_id]
    # The object is read again, by the name that the plan gives it, before anything rests on the value.
    assert read.pipelines[1][0].cmdlet == "Get-DistributionGroup"
    assert read.pipelines[1][0].parameters["Identity"] == plan.steps[0].target.key["name"]


@pytest.mark.parametrize(
    ("dn", "carried"),
    [
        ("CN=O'Brien \u2018\u2019\u201a\u201b '; Remove-Everything #", True),
        ("CN=<step-2.guid> <step-9.guid>", False),
        ('CN=$(x) `n "q" --% #> <# \u202e', True),
        ("--%", True),
        ("CN=a\n}\n}", True),
        ("CN=\x00", False),
        ("CN=\ufffe", False),
    ],
)
def test_whatever_a_value_holds_it_arrives_unchanged_or_not_at_all(dn: str, carried: bool, tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    result = chain.paper.run(chain.datas()["01-grant-exchange.ps1"])

    def rename(entry: Any) -> None:
        entry["seen"]["distribution_group"][0]["DistinguishedName"] = dn

    chain.take(changed(result, "step-2", rename))
    written = chain.write()
    assert bool(written.left) is not carried
    if carried:
        (part,) = (part for part in written.parts if part.data.fills)
        read = explain(bytes_of(part.data))
        assert read is not None and read.data == part.data
        (made,) = (each[0] for each in read.pipelines if each[0].cmdlet == "New-ManagementScope")
        doubled = dn.replace("'", "''")
        assert made.parameters["RecipientRestrictionFilter"] == f"MemberOfGroup -eq '{doubled}'"


@pytest.mark.parametrize(("mechanism", "consents", "apps"), PLANS[1:5:2])
def test_interrupted_anywhere(mechanism: str, consents: list[str], apps: tuple[str, ...], tmp_path: Path) -> None:
    """Each file dies after each of its sends, its result is taken, and it is run again: nothing is sent twice."""
    given, plan = planned(mechanism, consents, apps)
    chain = Chain(tmp_path, plan, given)
    for _ in range(40):
        written = chain.write()
        due = [part for part in written.parts if not written.stand(part)]
        if not due:
            break
        died = chain.paper.run(due[0].data, die_after=1)
        chain.take(died)
        if died.outcome == "running":
            noted = {step.id: step.outcome for step in died.steps}
            again = chain.paper.run(due[0].data, at="2026-11-23T10:00:00Z")
            # The frame knows from its own result file what the earlier run did.
            chain.take(with_outcomes(again, {step: "done" for step, outcome in noted.items() if outcome == "done"}))
    assert chain.paper.sent == [step.id for step in plan.steps]
    back = chain.back()
    back.through()
    assert chain.paper.snapshot.groups == given.groups


def with_outcomes(result: ScriptResult, outcomes: dict[str, Any]) -> ScriptResult:
    steps = tuple(msgspec.structs.replace(each, outcome=outcomes.get(each.id, each.outcome)) for each in result.steps)
    return msgspec.structs.replace(result, steps=steps)


def test_who_is_in_a_managed_group_is_moved_by_files(tmp_path: Path) -> None:
    """The group is there from an earlier plan: one member in, one out, the file interrupted between them; and back."""
    given, plan = planned("rbac", [])
    first = Chain(tmp_path / "one", plan, given)
    first.through()
    now = first.paper.snapshot
    lines = ["version: 1", "apps:", "  - app: omni", "    permissions: [Mail.Read]", "    mechanism: rbac"]
    lines += ["    scope:", "      mailboxes: [ada@contoso.com, cid@contoso.com]", ""]
    moving = plan_scope(now, loads_intent("\n".join(lines)))
    assert [step.target.kind for step in moving.steps] == ["group", "group_member", "group_member"]
    chain = Chain(tmp_path / "two", moving, now, first.paper)
    (data,) = chain.datas().values()
    died = chain.paper.run(data, die_after=1)
    assert [step.outcome for step in died.steps] == ["already", "done", "open"]
    chain.take(died)
    again = chain.paper.run(data, at="2026-11-23T10:00:00Z")
    assert [step.outcome for step in again.steps] == ["already", "already", "done"]
    chain.take(with_outcomes(again, {"step-2": "done"}))
    (part,) = chain.write().parts
    assert chain.write().stand(part)
    chain.back().through()
    assert chain.paper.snapshot.groups == now.groups


# -- what a result may say ---------------------------------------------------------------------------------------------------


def changed(result: ScriptResult, step: str, change: Any) -> ScriptResult:
    """The result with one step's rows changed."""
    document = msgspec.to_builtins(result)
    entry = next(each for each in document["steps"] if each["id"] == step)
    change(entry)
    return load_result(msgspec.json.encode(document), "result.json")


def _other_name(entry: Any) -> None:
    entry["seen"]["distribution_group"][0]["Name"] = "All staff"


def _other_guid(entry: Any) -> None:
    entry["seen"]["distribution_group"][0]["Guid"] = "00000000-0000-0000-0000-0000000000aa"


def _members(entry: Any) -> None:
    entry["seen"]["members"].append({"Guid": "00000000-0000-0000-0000-0000000000aa"})


def _no_rows(entry: Any) -> None:
    entry["seen"] = None


def _other_tables(entry: Any) -> None:
    entry["seen"]["policies"] = []


def _no_table(entry: Any) -> None:
    entry["seen"]["members"] = "none"


@pytest.mark.parametrize("change", [_other_name, _members, _no_rows, _other_tables, _no_table])
def test_rows_that_speak_against_the_result_are_refused(change: Any, tmp_path: Path) -> None:
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    result = chain.paper.run(chain.datas()["01-restrict-exchange.ps1"])
    with pytest.raises(BadInput, match="step-1"):
        chain.take(changed(result, "step-1", change))
    assert chain.store.folders() == []


def _no_object_id(entry: Any) -> None:
    for table in ("distribution_group", "group"):
        entry["seen"][table][0]["ExternalDirectoryObjectId"] = ""


@pytest.mark.parametrize("change", [_no_object_id, _other_guid])
def test_a_value_that_was_not_seen_fills_nothing(change: Any, tmp_path: Path) -> None:
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    data = chain.datas()["01-restrict-exchange.ps1"]
    chain.take(changed(chain.paper.run(data), "step-1", change))
    written = chain.write()
    assert [each.script for each in written.left] == ["02-restrict-exchange.ps1"]
    assert not written.stand(written.parts[0])
    # Run again, it shows the whole object.
    chain.take(chain.paper.run(data, at="2026-11-23T10:00:00Z"))
    assert chain.write().left == ()


def test_a_group_made_anew_is_not_the_one_that_was_filled_in(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]))
    second = chain.datas()["02-grant-exchange.ps1"]
    chain.paper.snapshot = given
    chain.paper.run(chain.datas()["01-grant-exchange.ps1"])
    assert chain.paper.run(second).outcome == "refused"


def test_what_needs_a_value_that_is_not_known_cannot_have_been_sent(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path / "one", plan, given)
    chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]))
    result = chain.paper.run(chain.datas()["02-grant-exchange.ps1"])
    other = Chain(tmp_path / "other", plan, given)
    with pytest.raises(BadInput, match="before an earlier step"):
        other.take(result)
    assert other.store.folders() == []


def test_an_older_result_changes_nothing_and_our_own_work_stays_ours(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    data = chain.datas()["01-grant-exchange.ps1"]
    declined = chain.paper.run(data, decline=True, at="2026-11-23T07:00:00Z")
    done = chain.paper.run(data, at="2026-11-23T08:00:00Z")
    found = chain.paper.run(data, at="2026-11-23T09:00:00Z")
    assert {step.outcome for step in found.steps} == {"already"}
    for result in (done, declined, found):
        chain.take(result)
        (folder, state) = next(chain.store.runs_of(chain.file.hash))
        assert {step: each.outcome for step, each in state.told.items()} == {"step-1": "done", "step-2": "done"}
    assert [record.began for record in folder.records() if isinstance(record, StepTold)] == ["2026-11-23T08:00:00Z"] * 2


def test_what_stood_before_the_scripts_is_not_taken_back(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    first = chain.datas()["01-grant-exchange.ps1"]
    chain.take(with_outcomes(chain.paper.run(first), {"step-1": "already"}))
    chain.through()
    kinds = [step.target.kind for step in chain.back().file.plan.steps]
    assert "pointer" not in kinds and "group" in kinds


def test_the_run_says_what_scripts_told(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    answer = chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]))
    assert (answer.done, answer.steps) == (0, len(plan.steps))
    told = status(answer.run, chain.store, HandClock())
    assert "2 of 7 step(s) stand, as results of scripts say" in told.why


def test_a_newer_result_that_read_the_object_gone_takes_the_values_away(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    data = chain.datas()["01-grant-exchange.ps1"]
    chain.take(chain.paper.run(data))
    assert chain.write().left == ()
    chain.paper.snapshot = given
    chain.take(chain.paper.run(data, decline=True, at="2026-11-23T10:00:00Z"))
    assert [each.script for each in chain.write().left] == ["02-grant-exchange.ps1"]


def test_a_filled_step_that_is_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]))
    monkeypatch.setattr(exporting, "fill", lambda values, known: {**fill(values, known), "hidden": False})
    with pytest.raises(Refused, match="would not do what the plan says"):
        chain.write()


def test_the_files_wait_as_the_run_does(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    chain.desk = msgspec.structs.replace(chain.desk, waits={**chain.desk.waits, "cache": 9000.0})
    result = chain.paper.run(chain.datas()["01-grant-exchange.ps1"])
    assert chain.datas()["03-cutover-graph.ps1"].after == After("02-grant-exchange.ps1", "grant", 7200, ("exchange",))
    chain.take(result)
    assert chain.datas()["03-cutover-graph.ps1"].after == After("02-grant-exchange.ps1", "grant", 9000, ("exchange",))


def test_a_twins_run_fills_no_files_for_the_tenant(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.desk = msgspec.structs.replace(chain.desk, lengthen=False)
    chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]))
    for write in (chain.write, chain.plan_back):
        with pytest.raises(Refused) as caught:
            write()
        assert caught.value.code == "other-endpoints"


# -- the way back where not everything is known ------------------------------------------------------------------------------


def test_a_file_whose_result_is_missing_is_looked_for_on_the_way_back(tmp_path: Path) -> None:
    """The consent may have been given all the same: the way back stops where it is there, before the policy goes."""
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    for _ in range(2):
        written = chain.write()
        due = next(part for part in written.parts if not written.stand(part))
        chain.take(chain.paper.run(due.data))
    consent = next(part.data for part in chain.write().parts if part.data.part == "graph")
    back = chain.back()
    names = list(back.datas())
    assert [name.split("-")[2] for name in names] == ["revoke", "reopen"]
    assert any("no result tells whether it was done" in note for app in back.file.plan.apps for note in app.notes)
    before = chain.paper.snapshot
    # Never done: the file finds nothing, and the policy may go after the wait.
    assert back.paper.run(back.datas()[names[0]]).outcome == "done"
    # Done all the same: it stops before anything, so what follows it never runs.
    chain.paper.snapshot = before
    result = chain.paper.run(consent)
    assert result.outcome == "done"
    sent = list(chain.paper.sent)
    assert back.paper.run(back.datas()[names[0]]).outcome == "refused" and chain.paper.sent == sent
    after = back.datas()[names[1]].after
    assert after is not None and after.script == names[0] and after.seconds == WAITS["long_token"]
    # With its result the way back knows it.
    chain.take(result)
    whole = chain.back()
    assert whole.file.plan.apps[0].notes == tuple(n for n in back.file.plan.apps[0].notes if "no result" not in n)
    whole.through()
    assert chain.paper.snapshot.access_policies == given.access_policies


def test_a_declined_file_tells_that_its_steps_are_not_done(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]))
    second = chain.datas()["02-grant-exchange.ps1"]
    chain.take(chain.paper.run(second, decline=True))
    chain.back().through()
    assert chain.paper.snapshot.groups == given.groups


def test_an_unfinished_file_tells_nothing_of_what_it_has_not_sent(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(chain.paper.run(chain.datas()["01-grant-exchange.ps1"], die_after=1))
    (_, state) = next(chain.store.runs_of(chain.file.hash))
    assert set(state.told) == {"step-1"}


def test_without_results_a_plan_that_makes_things_cannot_be_taken_back(tmp_path: Path) -> None:
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    left = chain.plan_back()
    assert isinstance(left, tuple) and {each.script for each in left} == {"undo-step-1", "undo-step-3", "undo-step-4"}


def test_the_way_back_is_bound_by_the_snapshot_of_the_plan(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    other, _ = planned("rbac", [])
    result = chain.paper.run(chain.datas()["01-grant-exchange.ps1"])
    for snapshot in (None, lambda: other):
        with pytest.raises((BadInput, Refused), match="snapshot"):
            take_result(result, chain.desk, chain.file, snapshot)
    assert chain.store.folders() == []
    chain.take(result)
    assert next(chain.store.runs_of(chain.file.hash))[0].snapshot() == given
    with pytest.raises(Refused, match="not the snapshot"):
        chain.plan_back(other)


def test_a_way_back_is_a_run_of_its_own_and_only_one(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    chain.through()
    back, again = chain.back(), chain.back()
    assert again.file.hash == back.file.hash
    result = back.paper.run(next(iter(back.datas().values())))
    with pytest.raises(NotFound, match="no open run"):
        take_result(result, back.desk)
    answer = back.take(result)
    run = next(chain.store.runs_of(chain.file.hash))[0]
    folder, state = next(chain.store.runs_of(back.file.hash))
    assert (folder.run, state.started.of_run, state.started.purpose) == (answer.run, run.run, "undo")
    # A late result of the plan itself begins nothing.
    late = Chain(tmp_path / "late", plan, given)
    with pytest.raises(Refused) as caught:
        chain.take(late.paper.run(late.datas()["01-grant-exchange.ps1"]))
    assert caught.value.code == "old-result"


def test_a_way_back_of_a_run_that_is_not_here_is_not_taken(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path / "one", plan, given)
    chain.through()
    back = chain.back()
    elsewhere = Chain(tmp_path / "other", back.file.plan, given, back.paper)
    with pytest.raises(NotFound, match="there is no run"):
        elsewhere.take(back.paper.run(next(iter(back.datas().values()))))
    assert elsewhere.store.folders() == []


def test_a_second_way_back_is_refused_while_one_is_open(tmp_path: Path) -> None:
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(chain.paper.run(chain.datas()["01-restrict-exchange.ps1"]))
    early = chain.back()
    chain.through()
    late = chain.back()
    assert late.file.hash != early.file.hash
    result = early.paper.run(next(iter(early.datas().values())))
    late.take(late.paper.run(next(iter(late.datas().values()))))
    with pytest.raises(Refused) as caught:
        early.take(result)
    assert caught.value.code == "run-open"


def test_what_is_taken_back_already_is_left_to_that_run(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"], ("omni", "other"))
    chain = Chain(tmp_path, plan, given)
    chain.through()
    whole = chain.back().file.plan
    (first, second) = whole.apps
    steps = tuple(step for step in whole.steps if step.app_id == first.app_id)
    gates = [tuple(gate for gate in stage.gates if gate.app_id == first.app_id) for stage in whole.stages]
    stages = tuple(msgspec.structs.replace(stage, gates=own) for stage, own in zip(whole.stages, gates, strict=True))
    one = Chain(tmp_path, msgspec.structs.replace(whole, apps=(first,), steps=steps, stages=stages), given, chain.paper)
    one.through()
    # What a session with a connection would note at its end.
    folder = next(one.store.runs_of(one.file.hash))[0]
    ended = AppStopped(app=first.app_id, stage=None, outcome="stopped", code="x", why="", step_back=None)
    Journal(folder.journal, one.desk.clock).append(ended)
    rest = chain.back()
    assert {app.app_id for app in rest.file.plan.apps} == {second.app_id}
    assert {step.app_id for step in rest.file.plan.steps} == {second.app_id}
    rest.through()
    assert chain.paper.snapshot.groups == given.groups


def test_a_way_back_by_scripts_is_not_applied(tmp_path: Path) -> None:
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.through()
    with pytest.raises(Refused) as caught:
        apply(chain.back().file, chain.desk)
    assert caught.value.code == "undo-plan"


# -- files first, a connection later -----------------------------------------------------------------------------------------


def connected(chain: Chain) -> tuple[Desk, SnapshotTenancy]:
    """The same desk, with a connection to the tenant as the scripts left it."""
    tenancy = SnapshotTenancy(chain.file.plan, chain.paper.snapshot)
    tenancy.unseen = dict(chain.paper.unseen)

    @contextlib.contextmanager
    def opened(plan: Plan) -> Iterator[Opened]:
        yield Opened(tenancy, tenancy.snapshot)

    return msgspec.structs.replace(chain.desk, open=opened, patience=Patience(settle=5.0, landing=30.0)), tenancy


@pytest.mark.parametrize("files", [1, 2, 3])
@pytest.mark.parametrize(("mechanism", "consents"), [("rbac", ["Mail.Read"]), ("access-policy", [])])
def test_resume_goes_on_where_files_left_off(mechanism: str, consents: list[str], files: int, tmp_path: Path) -> None:
    """What files did is read and not repeated; undo then takes all of it back, bound by the plan's snapshot."""
    given, plan = planned(mechanism, consents)
    chain = Chain(tmp_path, plan, given)
    for _ in range(files):
        written = chain.write()
        due = next(part for part in written.parts if not written.stand(part))
        chain.take(chain.paper.run(due.data))
    desk, tenancy = connected(chain)
    run = next(chain.store.runs_of(chain.file.hash))[0].run
    answer = resume(run, desk, wait=60 * 86400.0)
    assert (answer.outcome, answer.done) == ("done", len(plan.steps)), answer.why
    assert sorted([*chain.paper.sent, *tenancy.landed]) == sorted(step.id for step in plan.steps)
    back = undo(run, desk, approve=lambda plan: None, wait=60 * 86400.0)
    assert back.outcome == "done", back.why
    assert tenancy.snapshot.groups == given.groups and tenancy.snapshot.access_policies == given.access_policies


def test_resume_goes_on_with_a_way_back(tmp_path: Path) -> None:
    given, plan = planned("rbac", ["Mail.Read"])
    chain = Chain(tmp_path, plan, given)
    chain.through()
    back = chain.back()
    answer = back.take(back.paper.run(next(iter(back.datas().values()))))
    desk, tenancy = connected(back)
    done = resume(answer.run, desk, wait=60 * 86400.0)
    assert (done.outcome, done.done) == ("done", len(back.file.plan.steps)), done.why
    assert "step-1" not in tenancy.landed and tenancy.snapshot.role_assignments == given.role_assignments


def test_undo_reads_what_files_did_before_it_takes_it_back(tmp_path: Path) -> None:
    """Nothing was resumed: what was sent is settled by reading; what stood before stays, and gives the value others rest on."""
    given, plan = planned("rbac", [])
    chain = Chain(tmp_path, plan, given)
    chain.take(with_outcomes(chain.paper.run(chain.datas()["01-grant-exchange.ps1"]), {"step-2": "already"}))
    chain.take(chain.paper.run(chain.datas()["02-grant-exchange.ps1"]))
    desk, tenancy = connected(chain)
    run = next(chain.store.runs_of(chain.file.hash))[0].run
    back = undo(run, desk, approve=lambda plan: None, wait=60 * 86400.0)
    assert back.outcome == "done", back.why
    now = tenancy.snapshot
    assert (now.role_assignments, now.service_principals) == (given.role_assignments, given.service_principals)
    assert now.groups != given.groups


def test_a_way_back_that_would_open_what_was_closed_before_is_refused(tmp_path: Path) -> None:
    """Somebody else consented since the plan: without the policy that consent would reach everybody."""
    given, plan = planned("access-policy", [])
    chain = Chain(tmp_path, plan, given)
    for _ in range(3):
        written = chain.write()
        due = next(part for part in written.parts if not written.stand(part))
        result = chain.paper.run(due.data)
        consents = {step.id: "already" for step in due.data.steps if step.kind == "consent"}
        chain.take(with_outcomes(result, consents))
    with pytest.raises(Refused) as caught:
        chain.plan_back()
    assert caught.value.code == "unproven"
