"""connector.yaml and recipes: what they say, and that every error names its line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from exoscope import catalog, recipes
from exoscope.intent import load_connector, loads_connector
from exoscope.model import CredentialWish, IntentScope, Prove
from exoscope.outcome import BadInput

DATA = Path(__file__).parents[1] / "data" / "connector" / "errors.yaml"
CASES = yaml.safe_load(DATA.read_text(encoding="utf-8"))
GOOD = {
    "version": "version: 1",
    "name": "name: Omniscope Email Connector (App-Only)",
    "recipe": "recipe: omniscope                     # optional: fills permissions and notes",
    "permissions": "permissions: [Mail.Read, Mail.Send]",
    "mechanism": "mechanism: rbac                       # or access-policy",
    "scope": "scope: {group: omniscope-mailboxes@contoso.com}",
    "prove": "prove: {reach: [ada@contoso.com], never: [ceo@contoso.com]}",
    "credential": "credential: {kind: secret, lifetime: 180d, file: omniscope.secret}",
    "consent": "consent: false",
}


def text(**changes: str | None) -> str:
    return "\n".join(each for each in {**GOOD, **changes}.values() if each is not None) + "\n"


def test_the_documented_example(tmp_path: Path) -> None:
    path = tmp_path / "connector.yaml"
    path.write_text(text(), encoding="utf-8")
    found = load_connector(path)
    assert found.name == "Omniscope Email Connector (App-Only)"
    assert found.permissions == ("Mail.Read", "Mail.Send")
    assert found.mechanism == "rbac"
    assert found.scope == IntentScope("group", "omniscope-mailboxes@contoso.com")
    assert found.prove == Prove(("ada@contoso.com",), ("ceo@contoso.com",))
    # A file stands beside the connector.yaml that names it, wherever the command is typed.
    assert found.credential == CredentialWish("secret", 180, "file", str(tmp_path / "omniscope.secret"))
    assert found.consent is False
    assert found.recipe == "omniscope"
    assert any("help.visokio.com" in note for note in found.notes)
    assert found.line == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("{lifetime: 2w, terminal: true}", CredentialWish("secret", 14, "terminal")),
        ("{lifetime: 730d, keyring: exoscope/omni}", CredentialWish("secret", 730, "keyring", "exoscope/omni")),
        ("{kind: certificate, lifetime: 1d, file: /x/y.pem}", CredentialWish("certificate", 1, "file", "/x/y.pem")),
    ],
)
def test_every_place(written: str, read: CredentialWish) -> None:
    assert loads_connector(text(credential=f"credential: {written}")).credential == read


def test_what_the_mechanism_and_the_recipe_fill() -> None:
    plain = loads_connector(text(recipe=None, consent=None))
    assert (plain.consent, plain.recipe, plain.notes) == (False, None, ())
    assert loads_connector(text(mechanism="mechanism: access-policy", consent=None)).consent is True
    assert loads_connector(text(mechanism="mechanism: access-policy", consent="consent: false")).consent is False
    assert loads_connector(text(consent="consent: true")).consent is True
    assert loads_connector(text(permissions=None)).permissions == ("Mail.Read", "Mail.Send")
    assert loads_connector(text(recipe="recipe: OmniScope")).recipe == "omniscope"
    with pytest.raises(BadInput, match=r"connector\.yaml:1: permissions is missing, and no recipe"):
        loads_connector(text(recipe=None, permissions=None))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["says"])
def test_each_error_names_its_line(case: dict[str, Any]) -> None:
    written = case["file"] if "file" in case else text(**{case["key"]: case["value"]}, **case.get("also", {}))
    with pytest.raises(BadInput) as caught:
        loads_connector(written, "connector.yaml")
    assert caught.value.message.startswith(f"connector.yaml:{case['line']}: "), caught.value.message
    assert case["says"] in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_connector(tmp_path / "none.yaml")


@pytest.mark.parametrize("recipe", recipes.every(), ids=lambda recipe: recipe.name)
def test_a_recipe_says_what_can_be_done(recipe: recipes.Recipe) -> None:
    assert recipe.name == recipe.name.casefold().strip()
    assert recipe.permissions
    assert all(catalog.permission(name) is not None for name in recipe.permissions)
    assert recipe.guide.startswith("https://")
    for mechanism in ("rbac", "access-policy"):
        told = recipe.told(mechanism)  # type: ignore[arg-type]  # one of the two words
        assert any(recipe.guide in each for each in told)
        assert (recipe.mechanisms.get(mechanism) in told) is (mechanism in recipe.mechanisms)  # type: ignore[call-overload]  # as above


def test_recipes_have_a_name_each() -> None:
    assert len({each.name for each in recipes.every()}) == len(recipes.every()) > 0
    assert recipes.recipe("nothing-of-the-kind") is None
