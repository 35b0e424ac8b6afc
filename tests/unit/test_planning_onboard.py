"""Onboarding planned: what is registered, handed over, scoped and consented, in which order; what is there already; refusals."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from exoscope.intent import loads_connector
from exoscope.model import Connector, Plan, Request, Snapshot
from exoscope.outcome import Refused, Unreadable
from exoscope.planning import dump_plan, effect, load_plan, plan_hash, plan_onboard, registration
from exoscope.planning.effect import apply_step, apply_steps
from exoscope.planning.gating import ungated
from exoscope.planning.registration import named_plan
from exoscope.planning.states import find_app
from exoscope.powershell import holes
from exoscope.reach import Reach
from exoscope.running.apply import refuse_misfits
from planning_tenants import guid, tenant

NAME = "Omniscope Email Connector (App-Only)"
BASE: dict[str, Any] = {"mailboxes": ["ada", "bob", "cid"], "groups": {"sales": ["ada"]}}
TAG = registration.tag_of(guid("tenant"), NAME)


def wish(mechanism: str = "rbac", scope: str = "{group: sales@contoso.com}", **more: str) -> Connector:
    lines = {
        "version": "1",
        "name": NAME,
        "permissions": "[Mail.Read, Mail.Send]",
        "mechanism": mechanism,
        "scope": scope,
        "credential": "{kind: secret, lifetime: 180d, file: /safe/omniscope.secret}",
        **more,
    }
    return loads_connector("".join(f"{key}: {value}\n" for key, value in lines.items()))


def planned(connector: Connector, **there: Any) -> Plan:
    plan = plan_onboard(tenant({**BASE, **there}), connector)
    refuse_misfits(load_plan(dump_plan(plan)))  # it runs as it is read back: fitting, and gated
    return plan


def kinds(plan: Plan) -> dict[str, list[str]]:
    return {
        stage.id: [
            f"{'+' if step.before is None else '-' if step.after is None else '~'}{step.target.kind}"
            for step in plan.steps
            if step.stage == stage.id
        ]
        for stage in plan.stages
    }


REGISTER = ["+application", "+service_principal", "+credential"]


def test_rbac_consents_to_nothing_on_mailboxes() -> None:
    plan = planned(wish())
    assert plan.purpose == "onboard"
    assert kinds(plan) == {
        "register": REGISTER,
        "grant": ["+pointer", "+management_scope", "+role_assignment", "+role_assignment"],
    }
    (app,) = plan.apps
    assert app.scoped
    assert app.permissions["Mail.Read"].after.addresses == ("ada@contoso.com",)
    assert [gate.evidence for stage in plan.stages for gate in stage.gates] == [("exchange", "graph")]
    assert any("Nobody should grant admin consent" in note for note in app.notes)
    assert any("/safe/omniscope.secret" in note for note in app.notes)


def test_the_registration_is_for_this_tenant_alone_and_says_whose_it_is() -> None:
    plan = planned(wish())
    assert plan.steps[0].request == Request(
        "POST", "/applications", {"displayName": NAME, "signInAudience": "AzureADMyOrg", "tags": [TAG]}
    )
    assert plan.steps[1].request == Request("POST", "/servicePrincipals", {"appId": "<step-1.app_id>"})
    made = {"displayName": "<step-3.name>", "endDateTime": "<step-3.end>"}
    path = "/applications/<step-1.application_object_id>/addPassword"
    assert plan.steps[2].request == Request("POST", path, {"passwordCredential": made})


def test_an_app_that_is_not_there_yet_is_called_by_holes_everywhere() -> None:
    snapshot = tenant(BASE)
    for connector in (wish(), wish("access-policy"), wish(scope="{mailboxes: [ada@contoso.com]}", consent="true")):
        plan = plan_onboard(snapshot, connector)
        simulated = {TAG.removeprefix(registration.TAG)}
        simulated |= {
            registration.simulated(what, next(iter(simulated))) for what in ("application", "service principal")
        }
        text = dump_plan(plan).decode()
        for nobody in simulated - {TAG.removeprefix(registration.TAG)}:
            assert nobody not in text, "an id that nobody has must not stand in a plan"
        # The key itself stands in the tag and in a managed group's note, never as an appId.
        assert f'"{TAG.removeprefix(registration.TAG)}"' not in text
        assert {step.app_id for step in plan.steps} == {"<step-1.app_id>"} == {app.app_id for app in plan.apps}
        assert {gate.app_id for stage in plan.stages for gate in stage.gates} == {"<step-1.app_id>"}
        assert plan.apps[0].object_id == "<step-2.object_id>"
        made = {f"<{step.id}." for step in plan.steps}
        assert all(hole.partition(".")[0] + "." in made for hole in holes([step.values for step in plan.steps]))


def test_an_access_policy_stands_before_anything_is_consented() -> None:
    plan = planned(wish("access-policy"))
    assert kinds(plan) == {
        "register": REGISTER,
        "restrict": ["+access_policy"],
        "consent": ["+consent", "+request", "+consent", "+request"],
    }
    gates = {stage.id: (gate.waits, gate.evidence) for stage in plan.stages for gate in stage.gates}
    assert gates == {"restrict": (("cache",), ("policy",)), "consent": (("cache",), ("policy", "graph"))}
    assert plan.apps[0].scoped


def test_a_policy_without_its_gate_is_not_run() -> None:
    plan = planned(wish("access-policy"))
    bare = replace(plan, stages=tuple(replace(stage, gates=()) for stage in plan.stages))
    assert any("before its access policy was tested" in each for each in ungated(bare))


def test_a_consent_beside_a_scope_is_said_to_leave_it_unscoped() -> None:
    plan = planned(wish(consent="true"))
    assert kinds(plan)["grant"][-4:] == ["+consent", "+request", "+consent", "+request"]
    (app,) = plan.apps
    assert not app.scoped
    assert app.not_scoped_because == ("leftover-consent",)
    assert app.permissions["Mail.Read"].after.all_but
    assert app.entries[0].keeps_consent
    # Graph as the app cannot tell what the scope does while the consent lets everything through.
    assert [gate.evidence for stage in plan.stages for gate in stage.gates] == [("exchange",)]
    assert any("NOT scoped" in note for note in app.notes)
    # A plan that does not say so may not consent without a policy.
    quiet = replace(plan, apps=(replace(app, scoped=True),))
    assert any("before its access policy was tested" in each for each in ungated(quiet))


def test_a_policy_without_a_consent_reaches_nothing() -> None:
    plan = planned(wish("access-policy", consent="false"))
    assert "+consent" not in kinds(plan)["consent"]
    assert plan.apps[0].permissions["Mail.Read"].after.addresses == ()
    assert [gate.evidence for stage in plan.stages for gate in stage.gates] == [("policy",)]
    assert any("reaches nothing until an admin consents" in note for note in plan.apps[0].notes)


def test_a_certificate_is_added_to_what_is_there() -> None:
    plan = planned(wish(credential="{kind: certificate, lifetime: 1w, file: /safe/omniscope.pem}"))
    path = "/applications/<step-1.application_object_id>"
    assert plan.steps[2].request == Request("PATCH", path, {"keyCredentials": "<step-3.key_credentials>"})
    assert plan.steps[2].target.key["days"] == "7"


@pytest.mark.parametrize("scope", ["{group: sales@contoso.com}", "{mailboxes: [ada@contoso.com, bob@contoso.com]}"])
@pytest.mark.parametrize("mechanism", ["rbac", "access-policy"])
def test_planned_again_it_finds_everything(mechanism: str, scope: str) -> None:
    snapshot = tenant(BASE)
    plan = plan_onboard(snapshot, wish(mechanism, scope))
    after = apply_steps(snapshot, plan.steps)
    again = plan_onboard(after, wish(mechanism, scope))
    # What is there stays; a managed group is looked at only where something else is to be done.
    assert again.steps == ()
    app = find_app(after, again.apps[0].app_id)
    assert app is not None
    assert app.object_id == again.apps[0].object_id
    assert any("It signs in already with the secret" in note for note in again.apps[0].notes)


def test_another_scope_moves_what_the_onboarding_made() -> None:
    snapshot = tenant({**BASE, "groups": {"sales": ["ada"], "others": ["bob"]}})
    first, *others = plan_onboard(snapshot, wish()).steps
    real = guid("the appId that Entra gave it")
    after = effect.after(snapshot, replace(first.target, key={**first.target.key, "app_id": real}), first.after)
    known = {"<step-1.app_id>": real}
    for step in others:
        after, known = apply_step(after, step, known)
    again = plan_onboard(after, wish(scope="{group: others@contoso.com}"))
    assert again.apps[0].app_id == real
    assert kinds(again) == {"grant": ["~management_scope"]}, "its names are found again, whatever its appId is"


def test_a_credential_is_made_where_there_is_none() -> None:
    there = {"omni": {"display_name": NAME, "tags": [TAG], "credentials": []}}
    plan = planned(wish(), apps=there)
    assert kinds(plan)["register"] == ["+credential"]
    assert plan.steps[0].app_id == guid("omni app")
    assert plan.steps[0].request is not None
    assert plan.steps[0].request.path == f"/applications/{guid('omni application')}/addPassword"
    held = {"omni": {"display_name": NAME.upper(), "tags": ["x", TAG], "credentials": ["by hand"]}}
    plan = planned(wish(), apps=held)
    assert "register" not in kinds(plan)
    assert any("by hand (until 2027-11-23T09:00:00Z)" in note for note in plan.apps[0].notes)


def test_an_app_that_is_taken_as_it_is_is_told_with_its_id() -> None:
    there = {"omni": {"display_name": NAME, "tags": [TAG], "credentials": []}}
    told = [note for note in planned(wish(), apps=there).apps[0].notes if "find out whose it is" in note]
    assert len(told) == 1 and guid("omni app") in told[0], "anybody who may register apps can set the mark"
    assert not any("find out whose it is" in note for note in planned(wish()).apps[0].notes)


def test_whose_credentials_were_not_read_gets_none() -> None:
    there = {"omni": {"display_name": NAME, "tags": [TAG], "absent": ["credentials"]}}
    with pytest.raises(Unreadable, match="signs in with was not read"):
        planned(wish(), apps=there)


@pytest.mark.parametrize(
    "there",
    [
        {"omni": {"display_name": NAME, "tags": []}},
        {"omni": {"display_name": NAME.lower(), "tags": ["exoscope:onboard:another"]}},
        {"omni": {"display_name": NAME, "foreign": True}},
        {"omni": {"display_name": NAME, "tags": [TAG]}, "other": {"display_name": NAME, "tags": []}},
        {"omni": {"display_name": NAME, "tags": [TAG]}, "other": {"display_name": NAME, "tags": [TAG]}},
    ],
    ids=["no tag", "another's tag", "of another tenant", "one of two is not ours", "two are ours"],
)
def test_a_name_that_somebody_else_has_is_refused_with_the_choices(there: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        planned(wish(), apps=there)
    (refusal,) = caught.value.refusals
    assert refusal.code == "name-clash"
    for choice in ("another name", "exoscope plan", "delete it"):
        assert choice in refusal.message


def test_tags_that_were_not_read_are_not_no_tags() -> None:
    with pytest.raises(Unreadable, match="tags of"):
        planned(wish(), apps={"omni": {"display_name": NAME}})
    with pytest.raises(Unreadable, match="apps were not read"):
        planned(wish(), absent=["apps"])


@pytest.mark.parametrize(
    ("connector", "code"),
    [
        (wish(permissions="[Mail.Reed]"), "unknown-permission"),
        (wish(permissions="[Application.ReadWrite.All]"), "self-widening"),
        (wish(permissions="[IMAP.AccessAsApp]"), "no-role"),
        (wish(scope="{group: nobody@contoso.com}"), "group-missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_scope_would_be_refused_for_is_refused(connector: Connector, code: str) -> None:
    with pytest.raises(Refused) as caught:
        planned(connector)
    assert [each.code for each in caught.value.refusals] == [code]


def test_a_permission_that_is_not_about_mailboxes_is_consented_and_said() -> None:
    plan = planned(wish(permissions="[Mail.Read, User.Read.All]"))
    assert kinds(plan)["grant"][-2:] == ["+consent", "+request"]
    assert plan.apps[0].tenant_wide == ("User.Read.All",)


def test_the_same_tenant_and_connector_give_the_same_plan() -> None:
    assert plan_hash(planned(wish())) == plan_hash(planned(wish()))
    assert plan_hash(planned(wish())) != plan_hash(planned(wish(credential="{lifetime: 9d, terminal: true}")))


def test_a_name_that_would_leave_its_place_stays_in_it() -> None:
    hostile = 'O\'Brien & "Söhne" $(x) %27)/../ <b>'
    plan = planned(wish(name=f"'{hostile.replace(chr(39), chr(39) * 2)}'"))
    assert plan.steps[0].request is not None
    assert plan.steps[0].request.body is not None
    assert plan.steps[0].request.body["displayName"] == hostile
    for name in ("'<step-1.app_id>'", "'<made x.guid>'"):
        with pytest.raises(Refused) as caught:
            planned(wish(name=name))
        assert caught.value.refusals[0].code == "name-clash"


def test_named_by_what_its_run_found_a_plan_has_no_holes_for_its_app() -> None:
    plan = planned(wish())
    found = {"<step-1.app_id>": guid("new app"), "<step-2.object_id>": guid("new object")}
    named = named_plan(plan, found)
    assert {step.app_id for step in named.steps} == {guid("new app")}
    assert {gate.app_id for stage in named.stages for gate in stage.gates} == {guid("new app")}
    assert (named.apps[0].app_id, named.apps[0].object_id) == (guid("new app"), guid("new object"))
    assert named_plan(plan, {}) == plan, "what is not known keeps its hole"


def test_the_reach_it_says_is_the_reach_it_makes() -> None:
    snapshot: Snapshot = tenant(BASE)
    for connector in (wish(), wish("access-policy"), wish(consent="true")):
        plan = plan_onboard(snapshot, connector)
        end = apply_steps(snapshot, plan.steps)
        app = next(each for each in end.apps if each.display_name == NAME)  # type: ignore[union-attr]  # the fixture has apps
        reached = Reach(end).sets(app, "Mail.Read")[0].addresses()
        expected = plan.apps[0].permissions["Mail.Read"].after
        assert set(reached) == (
            {"ada@contoso.com", "bob@contoso.com", "cid@contoso.com"} - set(expected.addresses)
            if expected.all_but
            else set(expected.addresses)
        )
        assert app.token_lifetime_minutes is UNSET
