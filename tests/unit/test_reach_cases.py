"""Reach, rule by rule: the tables of tests/data/reach."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exoscope import snapshot as files
from exoscope.reach import Reach
from exoscope.reach.findings import ANSWER_CODES, APP_CODES
from reach_cases import APP_ID, MAILBOXES, address, build

DATA = Path(__file__).resolve().parents[1] / "data" / "reach"
KEYS = {
    "rule", "ask", "filter", "allowed", "unknown", "because", "findings", "consents", "policies", "assignments", "scopes",
    "pointers", "groups", "kinds", "roles", "organization", "not_read", "attributes", "attributes_read", "app", "aliases",
}  # fmt: skip


def _cases() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted(DATA.glob("*.yaml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            assert set(case) <= KEYS, f"{path.name}: {case['rule']}: {set(case) - KEYS}"
            if "filter" in case:
                case = {
                    **case,
                    "scopes": {"s": case["filter"]},
                    "assignments": [{"role": "Application Mail.Read", "scope": {"scope": "s"}}],
                    "ask": "Mail.Read",
                }
            found.append((f"{path.stem}: {case['rule']}", case))
    return found


CASES = _cases()


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_reach(case: dict[str, Any]) -> None:
    # Through the file, as an admin would ask: what is built by hand must load too.
    reach = Reach(files.loads(files.dumps(build(case))))
    answer = reach.of("connector", case["ask"])
    assert answer.app_id == APP_ID
    assert list(answer.allowed) == [address(name) for name in case["allowed"]]
    assert list(answer.unknown) == [address(name) for name in case.get("unknown", [])]
    if "because" in case:
        assert [[r.kind, r.id, r.effect] for r in answer.because] == case["because"]
    assert sorted({finding.code for finding in answer.findings}) == sorted(set(case.get("findings", _ignored(answer))))
    for reason in answer.because:
        assert reason.text
    for name in MAILBOXES:
        story = reach.explain(APP_ID, case["ask"], address(name))
        assert story.answer == answer.word(address(name))
        last = {"allowed": "allows", "denied": "denies", "unknown": "unknown"}[story.answer]
        assert (story.told[-1].rule, story.told[-1].outcome) == ("union", last)


def _ignored(answer: Any) -> list[str]:
    """Only cases that name findings test them; an unknown always has one that says why."""
    codes = [finding.code for finding in answer.findings]
    assert codes or not answer.unknown
    return codes


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_the_view_from_the_mailbox_agrees(case: dict[str, Any]) -> None:
    reach = Reach(build(case))
    app = reach.find_app(APP_ID)
    for name in MAILBOXES:
        seen = {entry.permission: entry.answer for entry in reach.on(address(name)).apps}
        assert set(seen) <= set(reach.held(app))
        for permission in reach.held(app):
            assert seen.get(permission, "denied") == reach.of(app, permission).word(address(name))


def test_every_finding_has_a_case_and_stands_in_the_documentation() -> None:
    """Each finding code, those that explain an unknown among them, is seen by some case."""
    seen = {code for _, case in CASES for code in case.get("findings", [])}
    assert seen == APP_CODES | ANSWER_CODES
    page = (Path(__file__).resolve().parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")
    section = page.split("### Findings of reach", 1)[1].split("###", 1)[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == seen
