"""Recipes: each says where it is from, and what it says of mechanisms is what the catalogue says of its permissions."""

from __future__ import annotations

import datetime
import json

import pytest

from exoscope import catalog, recipes
from exoscope.cli import frame, program
from exoscope.intent import loads_connector
from exoscope.model import Mechanism
from exoscope.outcome import Refused
from exoscope.planning.onboard import plan_onboard
from exoscope.recipes import Recipe
from twin_fixtures import OMNISCOPE_GROUP, load_sample

EVERY = recipes.every()


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_where_it_is_from(recipe: Recipe) -> None:
    assert all(address.startswith("https://") and " " not in address for address in (recipe.guide, *recipe.also))
    assert datetime.date.fromisoformat(recipe.read) >= datetime.date(2026, 1, 1)
    assert recipe.asks
    assert all(text.endswith((".", "”")) for text in (*recipe.notes, *recipe.wrong, *recipe.mechanisms.values()))


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_what_is_needed_is_asked_for_or_said(recipe: Recipe) -> None:
    said = " ".join((*recipe.notes, *recipe.wrong))
    for name in recipe.permissions:
        known = catalog.permission(name)
        assert known is not None
        assert known.name == name, "in its own spelling"
        assert not known.self_widening
        assert name in recipe.asks or name in said
    left_out = [name for name in recipe.asks if name not in recipe.permissions]
    for name in left_out:
        about = catalog.permission(name)
        assert name in said or about is None or about.about == "directory", (
            f"{name} is asked for, and nothing is said of it"
        )


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_what_limits_it_is_what_the_catalogue_says(recipe: Recipe) -> None:
    known = [found for name in recipe.permissions if (found := catalog.permission(name)) is not None]
    mailbox = [each for each in known if each.about in ("mailbox", "protocol")]
    assert mailbox
    rbac = all(catalog.role_for(each.name, None) is not None for each in mailbox)
    policy = all(each.governed for each in mailbox)
    assert ("rbac" in recipe.limited_by) == rbac
    assert ("access-policy" in recipe.limited_by) == policy
    if not rbac:
        assert "rbac" in recipe.mechanisms, "whoever takes it with rbac is told why not"
    if not policy:
        assert "access-policy" in recipe.mechanisms
    over = {"protocol": "imap-smtp"}.get(mailbox[0].about) or (
        "ews" if mailbox[0].name == catalog.EWS_CONSENT else "graph"
    )
    assert recipe.over == over


@pytest.mark.parametrize("mechanism", ["rbac", "access-policy"])
def test_onboarding_plans_what_can_be_limited_and_refuses_the_rest(mechanism: Mechanism) -> None:
    tenant = load_sample()
    for each in EVERY:
        text = (
            f"version: 1\nname: The connector {each.name}\nrecipe: {each.name}\nmechanism: {mechanism}\n"
            f"scope: {{group: {OMNISCOPE_GROUP}}}\ncredential: {{lifetime: 90d, file: connector.secret}}\n"
        )
        connector = loads_connector(text)
        if mechanism in each.limited_by:
            assert plan_onboard(tenant, connector).steps, each.name
            continue
        with pytest.raises(Refused) as caught:
            plan_onboard(tenant, connector)
        assert [refusal.code for refusal in caught.value.refusals] == [
            "no-role" if mechanism == "rbac" else "not-governed"
        ], each.name


def test_there_are_enough_and_each_once() -> None:
    names = [recipe.name for recipe in EVERY]
    assert names == sorted(set(names))
    assert "omniscope" in names
    assert len(names) >= 9
    assert len({recipe.guide for recipe in EVERY}) == len(names)
    assert {recipe.over for recipe in EVERY} == {"graph", "ews", "imap-smtp"}


def test_the_list_and_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame._outcome(program, ["recipes"], as_json=False) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(EVERY)
    assert "omniscope " in out
    assert frame._outcome(program, ["recipes", "OMNISCOPE"], as_json=False) == 0
    out = capsys.readouterr().out
    found = recipes.named("omniscope")
    for text in (found.title, found.guide, *found.notes, *found.wrong, *found.mechanisms.values(), found.read):
        assert text in out
    assert frame._outcome(program, ["recipes", "nxlink"], as_json=False) == 0
    assert "neither role assignments nor access policies" in capsys.readouterr().out


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame._outcome(program, ["recipes", "--json"], as_json=True) == 0
    every = json.loads(capsys.readouterr().out)["recipes"]
    assert [each["name"] for each in every] == [recipe.name for recipe in EVERY]
    assert frame._outcome(program, ["recipes", "gitlab", "--json"], as_json=True) == 0
    one = json.loads(capsys.readouterr().out)
    assert one == next(each for each in every if each["name"] == "gitlab")


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame._outcome(program, ["recipes", "omniscop", "--json"], as_json=True) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "not-found"
    assert "omniscope" in error["message"]


def test_what_is_told_names_the_mechanism_and_the_guide() -> None:
    found = recipes.named("nxlink")
    assert found.mechanisms["rbac"] in found.told("rbac")
    assert found.mechanisms["rbac"] not in found.told("access-policy")
    assert any(found.guide in each for each in found.told(None))
    assert any("SMTP.SendAsApp" in each for each in found.told(None))
