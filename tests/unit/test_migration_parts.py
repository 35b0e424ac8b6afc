"""Parts of migrations beside the cases: identities, files, undo, the baseline, and the tenant that moves meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.model import Accepted, AcceptedLoss, Migration, Plan, Snapshot, Step
from exoscope.outcome import NotFound, Refused, Verdict
from exoscope.planning import DoneStep, dump_plan, effect, load_plan, plan_hash, undo_plan
from exoscope.planning.migration import plan_migration
from exoscope.planning.operations import fits
from exoscope.proving import baseline as baselines
from exoscope.proving import gate as gates
from exoscope.proving.baseline import baseline
from exoscope.reach import Reach
from exoscope.running.survey import compare
from planning_tenants import address, guid, tenant

BASE: dict[str, Any] = {
    "mailboxes": ["ada", "bob", "cid", "eve"],
    "groups": {"sales": ["ada", "inner"], "inner": ["bob"]},
    "apps": {"omni": {"consents": ["Mail.Read"]}},
    "policies": [{"app": "omni", "group": "sales"}],
}
OMNI = guid("omni app")
STALE = {"app": "omni", "object_id": "5ca1ab1e-0000-4000-8000-000000000001"}


def planned(given: dict[str, Any] | None = None, asked: Migration | None = None) -> tuple[Snapshot, Plan]:
    snapshot = tenant({**BASE, **(given or {})})
    return snapshot, plan_migration(snapshot, (), asked)


def run(snapshot: Snapshot, plan: Plan, last: str = "finish") -> tuple[Snapshot, list[DoneStep]]:
    """Run the stages through ``last``; no step of these plans yields anything that another uses."""
    stages = [each.id for each in plan.stages]
    done = []
    for step in plan.steps:
        if stages.index(step.stage) <= stages.index(last):
            snapshot = effect.after(snapshot, step.target, step.after)
            done.append(DoneStep(step.id, step.before, step.after))
    return snapshot, done


# -- what is derived ----------------------------------------------------------------------------------------------------


def test_a_mailbox_without_a_directory_id_is_named_by_its_guid() -> None:
    snapshot = tenant({**BASE, "policies": [{"app": "omni", "group": "ada"}]})
    assert isinstance(snapshot.recipients, tuple)
    assert isinstance(snapshot.access_policies, tuple)
    boxes = tuple(
        replace(each, external_directory_object_id=None) if each.display_name == "ada" else each
        for each in snapshot.recipients
    )
    (policy,) = snapshot.access_policies
    named = replace(policy, scope=replace(policy.scope, object_id=guid("ada")))
    plan = plan_migration(replace(snapshot, recipients=boxes, access_policies=(named,)))
    (made,) = [each.after for each in plan.steps if each.target.kind == "management_scope" and each.after]
    assert made["recipient_filter"] == f"Guid -eq '{guid('ada')}'"


def test_another_apps_acceptance_is_not_this_ones() -> None:
    given = {
        "apps": {"omni": {"consents": ["Mail.Read"]}, "other": {"consents": ["Mail.Read"]}},
        "policies": [
            {"app": "omni", "right": "DenyAccess", "group": "sales"},
            {"app": "other", "right": "DenyAccess", "group": "sales"},
        ],
    }
    _, plan = planned(given, Migration(accept=(Accepted("deny-fails-open", guid("other app")),)))
    assert [(each.app, each.code) for each in plan.refusals] == [(OMNI, "deny-fails-open")]
    assert [each.display_name for each in plan.apps] == ["other"]


def test_another_apps_loss_is_not_this_ones() -> None:
    given = {
        "apps": {"omni": {"consents": ["Mail.Read"]}, "other": {}},
        "groups": {"sales": ["ada", "team"], "team": {"members": ["bob"], "type": "GroupMailbox"}},
    }
    with pytest.raises(Refused) as caught:
        planned(given, Migration(accept_loss=(AcceptedLoss(guid("other app"), address("bob")),)))
    assert [each.code for each in caught.value.refusals] == ["membership-unread"]


def test_also_scope_names_what_is_lost_step_by_step() -> None:
    _, plan = planned(
        {"apps": {"omni": {"consents": ["MailboxItem.Read.All", "Mail.Read"]}}}, Migration(also_scope=True)
    )
    reach = plan.apps[0].permissions["MailboxItem.Read.All"]
    assert reach.lost.addresses == (address("cid"), address("eve"))
    assert isinstance(reach.steps, tuple)
    (change,) = reach.steps
    step = next(each for each in plan.steps if each.id == change.step)
    assert (step.stage, step.target.kind) == ("cutover", "consent")
    assert change.lost.addresses == (address("cid"), address("eve"))
    assert plan.apps[0].permissions["Mail.Read"].steps == ()


def test_a_moment_that_gains_a_mailbox_is_never_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the cut-over's wait forgotten, an old token would meet no policy: the proof finds it."""
    from exoscope.planning.migration import drafting

    whole = drafting._gates

    def without_tokens(*given: Any) -> Any:
        found = whole(*given)
        found["cutover"] = replace(found["cutover"], waits=("cache",))
        return found

    monkeypatch.setattr(drafting, "_gates", without_tokens)
    with pytest.raises(Refused) as caught:
        planned()
    (refusal,) = caught.value.refusals
    assert (refusal.code, "in stage finish Mail.Read could reach cid@contoso.com" in refusal.message) == (
        "unproven",
        True,
    )


def test_a_moment_that_loses_a_mailbox_is_never_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    from exoscope.planning.migration import drafting

    whole = drafting._gates

    def at_once(*given: Any) -> Any:
        found = whole(*given)
        found["overlap"] = replace(found["overlap"], waits=())
        return found

    monkeypatch.setattr(drafting, "_gates", at_once)
    with pytest.raises(Refused) as caught:
        planned()
    assert "Mail.Read could lose ada@contoso.com" in caught.value.refusals[0].message


# -- files ----------------------------------------------------------------------------------------------------------------


def test_plans_written_before_migrations_keep_their_hash() -> None:
    _, plan = planned()
    older = replace(plan, migration=UNSET, findings=UNSET)
    text = dump_plan(older)
    assert "migration" not in json.loads(text)["plan"]
    assert "findings" not in json.loads(text)["plan"]
    assert plan_hash(load_plan(text).plan) == load_plan(text).hash


def test_what_was_asked_for_is_part_of_the_hash() -> None:
    assert plan_hash(planned()[1]) != plan_hash(planned(asked=Migration(nested="filter"))[1])


def test_a_stale_pointer_of_the_app_may_go_and_none_may_come() -> None:
    _, plan = planned({"pointers": [STALE]})
    app = plan.apps[0]
    gone = next(each for each in plan.steps if each.target.kind == "pointer" and each.after is None)
    assert fits(gone, app)
    values = {"app_id": OMNI, "object_id": STALE["object_id"], "display_name": "omni"}
    forged = replace(
        gone,
        before=None,
        after={"display_name": "omni"},
        title="Make Exchange's pointer to omni",
        template="rbac/new_service_principal",
        values=values,
    )
    assert not fits(forged, app)
    other = replace(gone, target=replace(gone.target, key={**gone.target.key, "app_id": guid("other app")}))
    assert not fits(other, app)


def test_a_plan_without_its_gates_is_found_out() -> None:
    from exoscope.planning.gating import ungated

    _, plan = planned()
    assert list(ungated(plan)) == []
    bare = replace(plan, stages=tuple(replace(each, gates=()) for each in plan.stages))
    told = " ".join(ungated(bare))
    assert "comes before older tokens have ended" in told and "comes before anything was seen" in told
    short = tuple(
        replace(each, gates=tuple(replace(gate, waits=("cache",)) for gate in each.gates)) for each in plan.stages
    )
    assert [each for each in ungated(replace(plan, stages=short)) if "older tokens" in each]
    _, dead = planned({"policies": [{"app": "ghost", "group": "sales"}]}, Migration(drop_dead=True))
    assert list(ungated(dead)) == []


# -- undo -----------------------------------------------------------------------------------------------------------------


def shape(plan: Plan) -> dict[str, list[str]]:
    def label(step: Step) -> str:
        return f"{'+' if step.before is None else '-'}{step.target.kind}"

    return {each.id: [label(step) for step in plan.steps if step.stage == each.id] for each in plan.stages}


def test_undo_brings_policies_back_first_and_waits_for_them_to_act() -> None:
    snapshot, plan = planned()
    end, done = run(snapshot, plan)
    undo = undo_plan(plan, done, end, before=snapshot)
    assert shape(undo) == {
        "restrain": ["+access_policy"],
        "restore": ["+request", "+consent"],
        "withdraw": ["-role_assignment", "-management_scope", "-pointer"],
    }
    waits = {each.id: [gate.waits for gate in each.gates] for each in undo.stages}
    assert waits == {"restrain": [("cache",)], "restore": [("cache", "long_token")], "withdraw": []}
    policy = next(each for each in undo.steps if each.target.kind == "access_policy")
    assert policy.values["description"] == "by hand"


@pytest.mark.parametrize(
    ("last", "stages"), [("overlap", ["withdraw"]), ("cutover", ["restore", "withdraw"])], ids=["overlap", "cutover"]
)
def test_undo_from_an_earlier_stage(last: str, stages: list[str]) -> None:
    snapshot, plan = planned()
    end, done = run(snapshot, plan, last)
    undo = undo_plan(plan, done, end, before=snapshot)
    assert [each.id for each in undo.stages] == stages
    back = Reach(effect.apply_steps(end, undo.steps))
    assert set(back.sets("omni", "Mail.Read")[0]) == set(Reach(snapshot).sets("omni", "Mail.Read")[0])


def test_undo_keeps_the_policies_gone_when_asked_to_keep_the_last_stage() -> None:
    snapshot, plan = planned()
    end, done = run(snapshot, plan)
    assert undo_plan(plan, done, end, before=snapshot, to="finish").steps == ()


def test_undo_of_a_policy_on_one_mailbox() -> None:
    snapshot, plan = planned({"policies": [{"app": "omni", "group": "ada"}]})
    end, done = run(snapshot, plan)
    undo = undo_plan(plan, done, end, before=snapshot)
    back = effect.apply_steps(end, undo.steps)
    assert set(Reach(back).sets("omni", "Mail.Read")[0]) == {address("ada")}
    policy = next(each for each in undo.steps if each.target.kind == "access_policy")
    assert policy.values["group"] == guid("ada external")


def test_undo_makes_no_stale_pointer_again() -> None:
    given = {
        "pointers": [STALE],
        "assignments": [
            {
                "name": "wide",
                "role": "Application Mail.Read",
                "app": "omni",
                "assignee": STALE["object_id"],
                "scope": "organization",
            },
            {
                "name": "same",
                "role": "Application Mail.Read",
                "app": "omni",
                "assignee": STALE["object_id"],
                "scope": "group:inner",
            },
        ],
    }
    snapshot, plan = planned(given)
    end, done = run(snapshot, plan)
    undo = undo_plan(plan, done, end, before=snapshot)
    made = [each.target.kind for each in undo.steps if each.before is None]
    assert "pointer" not in made and "role_assignment" not in made
    assert sum("Not made again" in note for note in undo.apps[0].notes) == 3


# -- the baseline ----------------------------------------------------------------------------------------------------------


def test_the_baseline_asks_about_everyone_whose_answer_rests_on_a_disputed_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "SAMPLE", 0)
    given = {
        "groups": {**BASE["groups"], "all": ["cid"]},
        "policies": [*BASE["policies"], {"app": "*", "group": "all"}],
    }
    found = baseline(Reach(tenant({**BASE, **given})), OMNI, seed=1)
    assert found.nested.addresses() == (address("bob"),)
    assert found.wildcard.addresses() == (address("cid"),)
    assert found.ask == (address("bob"), address("cid"))
    assert "nesting" in found.why(address("bob")) and "every app" in found.why(address("cid"))
    assert found.why(address("ada")) == ""


def test_with_a_policy_for_every_app_alone_everybody_rests_on_it() -> None:
    found = baseline(Reach(tenant({**BASE, "policies": [{"app": "*", "group": "sales"}]})), OMNI, seed=1)
    assert set(found.wildcard) == {address("cid"), address("eve")}  # who would be reached, were it ignored
    assert set(found.ask) == {address(name) for name in BASE["mailboxes"]}


def test_the_rest_is_sampled_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "SAMPLE", 3)
    snapshot = tenant(
        {
            "crowd": 40,
            "groups": {"sales": ["crowd0", "crowd1", "crowd2", "crowd3", "crowd4"]},
            **{key: BASE[key] for key in ("apps", "policies")},
        }
    )
    found = baseline(Reach(snapshot), OMNI, seed=1)
    assert len(found.ask) == 6
    assert sum(each in found.allowed for each in found.ask) == 3
    assert baseline(Reach(snapshot), OMNI, seed=1).ask == found.ask
    assert baseline(Reach(snapshot), OMNI, seed=2).ask != found.ask
    assert len(baseline(Reach(snapshot), OMNI, seed=1, everything=True).ask) == 40


class _Exchange:
    """Stands for Exchange's test of policies. ``says``: answers that differ from the prediction."""

    def __init__(self, allowed: set[str], says: dict[str, str]) -> None:
        self.allowed, self.says = allowed, says

    def __call__(self, *_: Any) -> _Exchange:
        return self

    def policies_leave(self, mailboxes: list[Any]) -> dict[str, str]:
        names = [each.primary_smtp_address for each in mailboxes]
        return {each: self.says.get(each, "allowed" if each in self.allowed else "denied") for each in names}


class _Sources:
    exchange: Any = None


def judged(
    monkeypatch: pytest.MonkeyPatch,
    says: dict[str, str],
    given: dict[str, Any] | None = None,
    options: gates.Options | None = None,
) -> gates.GateProof:
    snapshot, plan = planned(given)
    reach = Reach(snapshot)
    exchange = _Exchange(set(reach.policy_allows(OMNI, "Mail.Read")[0]), says)
    monkeypatch.setattr(gates, "Exchange", exchange)
    gate = plan.stages[0].gates[0]
    assert (plan.stages[0].id, gate.evidence) == ("baseline", ("baseline",))
    return gates.gate_proof(_Sources(), plan.apps[0], gate, reach, gates.History(), None, lambda text: None, options)  # type: ignore[arg-type]  # a baseline asks Exchange's policy test alone


def test_where_exchange_agrees_the_baseline_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    proof = judged(monkeypatch, {})
    assert proof.verdict is Verdict.CONFIGURED
    assert "1 by nesting" in proof.why


@pytest.mark.parametrize(("who", "said", "why"), [("bob", "denied", "nesting"), ("eve", "allowed", "eve@contoso.com")])
def test_where_exchange_differs_the_app_is_refused(
    monkeypatch: pytest.MonkeyPatch, who: str, said: str, why: str
) -> None:
    proof = judged(monkeypatch, {address(who): said})
    assert (proof.verdict, proof.code) == (Verdict.VIOLATED, "baseline-differs")
    assert why in proof.why


def test_with_all_the_baseline_asks_about_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "SAMPLE", 1)
    eve = {address("eve"): "allowed", address("cid"): "allowed"}
    proof = judged(monkeypatch, eve, options=gates.Options(everything=True))
    assert "cid@contoso.com" in proof.why and "eve@contoso.com" in proof.why
    assert len([each for each in eve if each in judged(monkeypatch, eve).why]) == 1


@pytest.mark.parametrize(
    ("done", "left_alone", "gone"),
    [
        (lambda step: False, False, False),
        (lambda step: step.stage == "overlap", True, False),
        (
            lambda step: step.stage == "overlap" or step.title.startswith("Remove the tenant-wide consent Mail.Send"),
            True,
            True,
        ),
        (lambda step: step.stage in ("overlap", "cutover"), True, True),
    ],
    ids=["nothing yet", "overlap", "half of cut-over", "cut-over"],
)
def test_a_plan_made_without_the_journal_says_what_cannot_be_undone(done: Any, left_alone: bool, gone: bool) -> None:
    given = {"apps": {"omni": {"consents": ["Mail.Read", "Mail.Send"]}}}
    snapshot, plan = planned(given)
    half = effect.apply_steps(snapshot, [each for each in plan.steps if done(each)])
    notes = " ".join(plan_migration(half, ["omni"]).apps[0].notes)
    assert ("undo of this plan leaves them" in notes) is left_alone
    assert ("cannot bring them back" in notes) is gone
    assert ("Mail.Send is given by roles alone" in notes or "Mail.Read, Mail.Send is given" in notes) is gone


# -- the tenant moves --------------------------------------------------------------------------------------------------------


def surveyed(given: dict[str, Any], change: dict[str, Any], asked: Migration | None = None) -> tuple[str, str]:
    """(what is noted, what moved) when the tenant reads as changed before the first step."""
    _, plan = planned(given, asked)
    now = tenant({**BASE, **given, **change})
    survey = compare(plan.apps[0], plan.steps, {}, now, migration=plan)
    return "; ".join(survey.notes), "; ".join(survey.moved)


def test_who_joined_and_left_the_groups_is_carried_on_and_named() -> None:
    notes, moved = surveyed({}, {"groups": {"sales": ["ada", "cid", "inner"], "inner": []}})
    assert moved == ""
    assert "cid@contoso.com joined" in notes and "bob@contoso.com left" in notes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"groups": {"sales": ["ada", "inner", "new"], "inner": ["bob"], "new": ["cid"]}},
            "let cid@contoso.com through now",
        ),
        (
            {"policies": [{"app": "omni", "group": "sales"}, {"app": "omni", "right": "DenyAccess", "group": "inner"}]},
            "would hold bob",
        ),
        (
            {"policies": [{"app": "omni", "group": "sales"}, {"app": "omni", "group": "cid"}]},
            "let cid@contoso.com through now",
        ),
        ({"policies": []}, "let cid@contoso.com, eve@contoso.com through now"),
        ({"groups": {"sales": ["ada", "inner"], "inner": {"members": None}}}, "cannot be told"),
        (
            {
                "pointers": ["omni"],
                "assignments": [
                    {"name": "new", "role": "Application Mail.Read", "app": "omni", "scope": "organization"}
                ],
            },
            "does not name",
        ),
    ],
    ids=["nested anew", "denied since", "restricted otherwise", "policies gone", "unreadable since", "assigned since"],
)
def test_anything_else_stops_the_app(change: dict[str, Any], says: str) -> None:
    _, moved = surveyed({}, change)
    assert says in moved


def test_a_copy_that_is_not_made_yet_is_made_of_todays_members() -> None:
    _, plan = planned({}, Migration(nested="group"))
    now = tenant({**BASE, "groups": {"sales": ["ada", "cid", "inner"], "inner": ["bob"]}})
    survey = compare(plan.apps[0], plan.steps, {}, now, migration=plan)
    assert survey.moved == () and survey.level is not None
    assert (survey.level.joined, survey.level.left) == (("cid@contoso.com",), ())
    made = [each for each in survey.level.steps if each.before is None]
    assert [sorted(each.after["members"]) for each in made if each.after] == [
        sorted(guid(name) for name in ("ada", "bob", "cid"))
    ]
    assert {each.id for each in survey.level.steps} <= {each.id for each in plan.steps}


def test_what_stays_under_the_policies_follows_them() -> None:
    given = {
        "apps": {"omni": {"consents": ["Mail.Read", "Mail.Send"]}},
        "roles": {"Application Mail.Read": ["Mail.Read"]},
    }
    asked = Migration(accept=(Accepted("no-role", OMNI),))
    _, moved = surveyed(given, {"groups": {"sales": ["ada", "cid", "inner"], "inner": ["bob"]}}, asked)
    assert moved == ""


def test_a_dead_policys_app_that_is_back_stops_its_removal() -> None:
    given = {"policies": [{"app": "ghost", "group": "sales"}]}
    _, plan = planned(given, Migration(drop_dead=True))
    gone = compare(plan.apps[0], plan.steps, {}, tenant({**BASE, **given}), migration=plan)
    assert gone.moved == ()
    back = tenant({**BASE, **given, "apps": {"ghost": {}}})
    assert "is in the tenant now" in compare(plan.apps[0], plan.steps, {}, back, migration=plan).moved[0]


def test_an_app_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound):
        plan_migration(tenant(BASE), ["nobody"])
