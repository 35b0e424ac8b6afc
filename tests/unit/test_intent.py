"""scope.yaml: what it says, and that every error names its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from exoscope.intent import load_intent, loads_intent
from exoscope.model import IntentScope, Prove
from exoscope.outcome import BadInput

DATA = Path(__file__).parents[1] / "data" / "intent" / "errors.yaml"
CASES = yaml.safe_load(DATA.read_text(encoding="utf-8"))
ISSUE = """\
version: 1
apps:
  - app: Omniscope Email Connector (App-Only)     # display name, appId or object id
    permissions: [Mail.Read, Mail.Send]
    mechanism: rbac
    scope:
      group: omniscope-mailboxes@contoso.com
    on-leftover-consent: remove
    also-holds: [User.Read.All]
    prove:
      reach: [ada@contoso.com]
      never: [ceo@contoso.com]
"""


def test_the_documented_example() -> None:
    (entry,) = loads_intent(ISSUE).apps
    assert entry.app == "Omniscope Email Connector (App-Only)"
    assert entry.permissions == ("Mail.Read", "Mail.Send")
    assert entry.mechanism == "rbac"
    assert entry.scope == IntentScope("group", "omniscope-mailboxes@contoso.com")
    assert entry.on_leftover_consent == "remove"
    assert entry.also_holds == ("User.Read.All",)
    assert entry.no_cae is False
    assert entry.prove == Prove(("ada@contoso.com",), ("ceo@contoso.com",))
    assert entry.line == 3


@pytest.mark.parametrize(
    ("scope", "read"),
    [
        ("filter: \"Department -eq 'Sales'\"", IntentScope("filter", "Department -eq 'Sales'")),
        ("administrative-unit: Berlin", IntentScope("administrative-unit", "Berlin")),
        ("group-scope: g@contoso.com", IntentScope("group-scope", "g@contoso.com")),
        ("mailboxes: [a@b.c, d@e.f]", IntentScope("mailboxes", mailboxes=("a@b.c", "d@e.f"))),
        ("organization: true", IntentScope("organization")),
        ("group: yes", IntentScope("group", "yes")),
        ("group: 2026-11-23", IntentScope("group", "2026-11-23")),
    ],
)
def test_every_kind_of_scope(scope: str, read: IntentScope) -> None:
    text = f"version: 1\napps:\n- app: x\n  permissions: [Mail.Read]\n  mechanism: rbac\n  scope:\n    {scope}\n"
    assert loads_intent(text).apps[0].scope == read


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['says']} ({case['line']})")
def test_errors_name_their_line(case: dict[str, Any]) -> None:
    text = case.get("text", f"version: 1\napps:\n- {case.get('entry')}\n")
    with pytest.raises(BadInput) as caught:
        loads_intent(text, "my.yaml")
    assert caught.value.message.startswith(f"my.yaml:{case['line']}: "), caught.value.message
    assert case["says"] in caught.value.message


def test_a_policy_may_name_the_default_of_on_leftover_consent() -> None:
    text = ISSUE.replace("mechanism: rbac", "mechanism: access-policy")
    assert loads_intent(text).apps[0].mechanism == "access-policy"


def test_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_intent(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="not UTF-8"):
        load_intent(tmp_path / "latin.yaml")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + ISSUE.encode())
    assert load_intent(tmp_path / "bom.yaml") == loads_intent(ISSUE)


def test_hostile_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(BadInput):
        loads_intent("[" * 5000)
