"""A plan proven by what scripts noted: as over a connection, and never better than what they saw."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import msgspec
import pytest

import exoscope.twin
import planning_tenants
from exoscope import checking
from exoscope.checking.history import Past
from exoscope.checking.recorded import _refuse_outdated
from exoscope.cli import frame, program
from exoscope.clock import SystemClock
from exoscope.intent import loads_intent
from exoscope.model import PlanFile, Proof, Snapshot
from exoscope.outcome import Refused
from exoscope.planning import dump_plan, plan_hash, plan_scope
from exoscope.planning.effect import apply_steps
from exoscope.planning.migration import plan_migration
from exoscope.profile import load_profile
from exoscope.proving import History, Options, of_plan, prove
from exoscope.reach import Reach
from exoscope.reading import Connection, read_snapshot
from exoscope.running import Store
from exoscope.running.tenancy import wanted_by
from exoscope.scripting import Recorded, load_reading, recorded
from reading_results import Noted, few, result_bytes
from schemas import schemas
from scripting_plans import INTENT
from twin_fixtures import load_sample

STARTED = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SOON = STARTED + timedelta(minutes=30)
WAITS: Any = {"cache": 7200.0, "token": 5400.0, "managed_identity": 86400.0, "long_token": 100800.0}


class Checked(NamedTuple):
    """A plan, a live proof of it, and everything that the proof asked."""

    file: PlanFile
    live: Proof
    stages: dict[str, checking.StageAnswer]
    noting: Noted
    tenant: Snapshot

    def results(self, without: str = "") -> list[bytes]:
        """As the files of a check note it, about every mailbox."""
        people = [(r.guid, r.external_directory_object_id) for r in self.tenant.recipients]  # type: ignore[union-attr]  # the sample was read
        asked = {
            "kind": "asked",
            "app_id": self.file.plan.apps[0].app_id.upper(),
            "tested": [guid for guid, _ in people],
            "probed": [{"guid": guid, "id": entra} for guid, entra in people],
        }
        header = {"purpose": "check", "plan": self.file.hash}
        return self.noting.results(without=without, header=header, asked=[asked])


STAGES = {"scoped": ("grant", "cutover"), "granted": ("grant",)}


@pytest.fixture(scope="module", params=list(STAGES))
def checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    """The connector's plan, over the tenant as the plan leaves it, or as its first stage does."""
    tenant = few(load_sample())
    plan = plan_scope(tenant, loads_intent(INTENT, "scope.yaml"))
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    now = apply_steps(tenant, [step for step in plan.steps if step.stage in STAGES[request.param]])
    store = Store(tmp_path_factory.mktemp("state"))
    with exoscope.twin.serve(now, propagation=0.1, token_lifetime=600.0) as twin:
        profile = load_profile(Path(twin.ready["profile"]), os.environ)
        with Connection(profile, SystemClock()) as connection:
            noting = Noted(connection)
            reach = Reach(read_snapshot(noting, wanted=wanted_by(plan)))
            claims = [of_plan(app, reach) for app in plan.apps]
            live = prove(noting, reach, claims, Options(), {}, SystemClock(), lambda text: None)
            options: Any = {"options": Options(), "waits": WAITS, "lengthen": True, "progress": lambda text: None}
            connected: Any = noting
            stages = {
                each.id: checking.verify_stage(file, each.id, connected, store, **options) for each in plan.stages
            }
            yield Checked(file, live, stages, noting, now)


def together(results: list[bytes]) -> Recorded:
    return recorded([load_reading(data, f"result {at}") for at, data in enumerate(results)])


def proven(checked: Checked, results: list[bytes], folder: Path) -> Proof:
    return checking.verify_recorded(
        checked.file,
        together(results),
        Store(folder),
        waits=WAITS,
        lengthen=True,
        operator="somebody",
        now=SOON,
        progress=lambda text: None,
    ).proof


def told(proof: Proof) -> Any:
    """A proof without the ids of the calls, and without what follows from when it was asked."""
    built = msgspec.to_builtins(proof)
    for app in built["apps"]:
        for permission in app["permissions"].values():
            for check in permission["checks"]:
                check.pop("graph_request_id")
    built.pop("ready_at")
    return built


def test_the_verdict_is_that_of_a_connection(checked: Checked, tmp_path: Path) -> None:
    assert checked.live.verdict in ("proven", "violated")
    found = proven(checked, checked.results(), tmp_path)
    assert told(found) == told(checked.live)


def test_the_evidence_of_a_gate_is_that_of_a_connection(checked: Checked, tmp_path: Path) -> None:
    """Exchange alone opens the first gate, whatever the consent that is still there gives."""
    results, options = checked.results(), {"waits": WAITS, "lengthen": True, "progress": lambda text: None}
    found = {
        stage: checking.verify_stage_recorded(
            checked.file,
            stage,
            together(results),
            Store(tmp_path),
            now=SOON,
            **options,  # type: ignore[arg-type]  # options
        )
        for stage in checked.stages
    }
    verdicts = {stage: answer.verdict for stage, answer in found.items()}
    assert verdicts == {stage: answer.verdict for stage, answer in checked.stages.items()}
    for stage, answer in found.items():
        live = checked.stages[stage]
        assert [(a.why, a.summary, a.code) for a in answer.apps] == [(a.why, a.summary, a.code) for a in live.apps]
    assert (
        verdicts
        == {
            "proven": {"grant": "configured", "cutover": "proven"},
            "violated": {"grant": verdicts["grant"], "cutover": "violated"},
        }[str(checked.live.verdict)]
    )


def test_the_baseline_of_a_migration_is_seen_too(tmp_path: Path) -> None:
    """Whoever's answer rests on nesting must have been asked; of the others those count who were."""
    tenant = planning_tenants.tenant(
        {
            "mailboxes": ["ada", "bob", "cid", "eve"],
            "groups": {"sales": ["ada", "inner"], "inner": ["bob"]},
            "apps": {"omni": {"consents": ["Mail.Read"]}},
            "policies": [{"app": "omni", "group": "sales"}],
        }
    )
    plan = plan_migration(tenant)
    file = PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    (stage,) = [each for each in plan.stages if any("baseline" in gate.evidence for gate in each.gates)]
    options: dict[str, Any] = {"waits": WAITS, "lengthen": True, "progress": lambda text: None}
    with ExitStack() as stack:
        twin = stack.enter_context(exoscope.twin.serve(tenant, propagation=0.1, token_lifetime=600.0))
        profile = load_profile(Path(twin.ready["profile"]), os.environ)
        noting: Any = Noted(stack.enter_context(Connection(profile, SystemClock())))
        live = checking.verify_stage(file, stage.id, noting, Store(tmp_path), options=Options(), **options)
    assert live.apps and {each.verdict for each in live.apps} == {"configured"}
    tests = [key for key in noting.exchange.noted if "Test-ApplicationAccessPolicy" in key]
    people = [each.guid for each in tenant.recipients if each.recipient_type == "UserMailbox"]  # type: ignore[union-attr]  # the sample was read
    asked = [
        {"kind": "asked", "app_id": app.app_id, "tested": people, "probed": []} for app in plan.apps if app.object_id
    ]
    header = {"purpose": "check", "plan": file.hash, "tenant": tenant.tenant.id}

    def seen(without: str = "") -> checking.StageAnswer:
        results = together(noting.results(without=without, header=header, asked=asked))
        return checking.verify_stage_recorded(file, stage.id, results, Store(tmp_path), now=SOON, **options)

    assert seen() == live
    assert seen(tests[0]).verdict == "unknown"


@pytest.mark.parametrize("checked", ["scoped"], indirect=True)
def test_what_was_not_asked_proves_nothing(checked: Checked, tmp_path: Path) -> None:
    app = next(iter(checked.noting.apps.values()))
    asked = [key for key in checked.noting.exchange.noted if "Test-" in key or "Get-Recipient -Filter" in key]
    assert len(asked) > 5 and app.noted
    for missing in (*asked, *app.noted):
        found = proven(checked, checked.results(missing), tmp_path)
        assert found.verdict == "unknown", missing
    # Without Graph as the app, Exchange alone makes it configured, as it does over a connection.
    (alone,) = proven(checked, checked.results()[:2], tmp_path).apps
    (permission,) = alone.permissions.values()
    assert (permission.verdict, permission.why) == (
        "configured",
        "no result of a script that asked Graph as the app was given",
    )


@pytest.mark.parametrize("checked", ["scoped"], indirect=True)
def test_a_token_that_carries_the_role_is_pending(checked: Checked, tmp_path: Path) -> None:
    exchange, graph, app = checked.results()
    lines = app.splitlines()
    head, token, rest = json.loads(lines[0]), json.loads(lines[1]), [json.loads(line) for line in lines[2:-2]]
    carried = result_bytes(head, [{**token, "roles": ["Mail.ReadWrite"]}, *rest])
    found = proven(checked, [exchange, graph, carried], tmp_path)
    assert found.verdict == "pending"
    assert found.ready_at == "2026-11-23T11:00:00Z", "a whole cache time after the scripts began"


def test_results_of_another_time_or_plan_are_refused(checked: Checked, tmp_path: Path) -> None:
    results = together(checked.results())
    nothing = Past({}, None, None, ())

    def refused(now: datetime, known: Past = nothing) -> str:
        with pytest.raises(Refused) as told:
            _refuse_outdated(results, known, WAITS, now)
        assert told.value.code == "outdated"
        return told.value.message

    _refuse_outdated(results, nothing, WAITS, STARTED + timedelta(hours=24))
    assert "24 hours ago" in refused(STARTED + timedelta(hours=24, seconds=1))
    assert "clocks" in refused(STARTED - timedelta(minutes=30))
    changed = STARTED + timedelta(seconds=1)
    later = Past({"an app": History(settled_at=changed + timedelta(hours=2))}, None, None, ())
    assert "after that (2026-11-23T09:00:01Z)" in refused(SOON, later)
    before = Past({"an app": History(settled_at=STARTED + timedelta(hours=1))}, None, None, ())
    _refuse_outdated(results, before, WAITS, SOON)

    other = msgspec.structs.replace(checked.file, hash="sha256:other")
    with pytest.raises(Refused) as told:
        proven(checked._replace(file=other), checked.noting.results(header={"purpose": "check"}), tmp_path)
    assert told.value.code == "other-plan" and "of no plan" in told.value.message


def test_on_the_command_line(checked: Checked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan first or last, each result after --from-script or all after one; evidence, and what does not go with it."""
    (tmp_path / "plan.json").write_bytes(dump_plan(checked.file.plan))
    now = f"{SystemClock().now():%Y-%m-%dT%H:%M:%SZ}"
    times = {"started_at": now}
    paths = []
    for at, data in enumerate(checked.results()):
        header, *lines = [json.loads(line) for line in data.splitlines()[:-2]]
        paths.append(tmp_path / f"result{at}.jsonl")
        paths[-1].write_bytes(result_bytes({**header, **times}, lines, now))
    code = {"proven": 0, "violated": 1}[checked.live.verdict]

    def run(*words: object, code: int) -> Any:
        given = [*map(str, words), "--state", str(tmp_path / "state"), "--json"]
        ended = frame._outcome(program, ["verify", *given], as_json=True)
        said = capsys.readouterr()
        assert ended == code, said.out + said.err
        return json.loads(said.out)

    page = tmp_path / "evidence.html"
    first = run(tmp_path / "plan.json", "--from-script", *paths, "--evidence", page, code=code)
    assert first["verdict"] == checked.live.verdict
    evidence = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert (evidence["started_at"], evidence["plan_hash"]) == (now, checked.file.hash)
    again = run("--from-script", paths[2], "--from-script", paths[1], paths[0], tmp_path / "plan.json", code=code)
    assert again == first
    plain = [tmp_path / "plan.json", "--from-script", *paths]
    for more in (
        ["--sample", 3],
        ["--all"],
        ["--seed", 1],
        ["--limit-refusals", 1],
        ["--wait", "1m"],
        ["--probe-send"],
    ):
        assert "asks nobody" in run(*plain, *more, code=2)["error"]["message"]
    run("--from-script", *paths, code=2)
    run(tmp_path / "plan.json", "--from-script", paths[0], tmp_path / "plan.json", code=2)
    (tmp_path / "scope.yaml").write_text(INTENT, encoding="utf-8")
    assert "prove a plan" in run(tmp_path / "scope.yaml", "--from-script", *paths, code=2)["error"]["message"]
    answer = run(*plain, "--stage", "grant", code=0)
    jsonschema.Draft202012Validator(schemas()["verify-stage"]).validate(answer)
    assert (answer["stage"], answer["verdict"]) == ("grant", "configured")
    run(*plain, "--stage", "cutover", code=code)
    assert "grant, cutover" in run(*plain, "--stage", "other", code=2)["error"]["message"]
    assert "one gate" in run(*plain, "--stage", "grant", "--accept", "configured", code=2)["error"]["message"]
    change = tmp_path / "change.json"
    change.write_text(json.dumps({"format": "exoscope/script-result@1"}), encoding="utf-8")
    assert "taken alone" in run(*plain, change, code=2)["error"]["message"]
