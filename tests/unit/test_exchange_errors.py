"""Error records of Exchange, typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from exoscope import outcome
from exoscope.exchange.errors import Failure, typed

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "exchange_errors.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['is']}: {case.get('types', [case['message']])[0][-40:]}"
)
def test_what_a_record_is(case: dict[str, Any]) -> None:
    error = typed(
        Failure(
            message=case["message"],
            error_id=case.get("error_id", ""),
            category=case.get("category", ""),
            types=tuple(case.get("types", ())),
        )
    )
    assert type(error) is getattr(outcome, case["is"])
    assert error.code == case.get("code", error.code)
    assert error.retry_after == case.get("retry_after")
    assert error.message.strip()
    assert not error.changed


def test_the_text_names_the_cmdlet_and_stays_on_one_line() -> None:
    error = typed(Failure(message="first\r\n  second", activity="New-ManagementScope"))
    assert error.message == "New-ManagementScope: first second"


def test_a_cmdlet_that_the_roles_do_not_give_says_so() -> None:
    error = typed(Failure(message="The term 'X' is not recognized", error_id="CommandNotFoundException"))
    assert "only what its roles allow" in error.message
    assert "Organization Management" in error.next
