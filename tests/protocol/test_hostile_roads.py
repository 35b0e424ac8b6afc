"""Hostile values over the roads that need no PowerShell; ``tests/pwsh`` has the others, ``make fuzz`` ten thousand for each."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from exoscope.twin.exchange.call import Call
from fuzz import roads, values
from road_sessions import NEED_POWERSHELL, ROADS

WITHOUT = [road for road in ROADS if road not in NEED_POWERSHELL]


@pytest.mark.parametrize("road", WITHOUT)
def test_hostile_values_arrive_or_are_refused(road: str) -> None:
    found = roads.check(road, itertools.chain(values.NUMBERS, values.stream(20261126)), 250, None)
    assert not found.problems
    assert found.fates["unchanged"] > 200
    assert found.fates["refused"] > 1


def test_a_value_that_exchange_would_store_otherwise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Call.optional_text

    def trimmed(self: Call, name: str) -> Any:
        found = real(self, name)
        return found.strip() if found else found

    monkeypatch.setattr(Call, "optional_text", trimmed)
    found = roads.check(WITHOUT[0], values.stream(20261126), 120, None)
    assert any("did not arrive" in each for each in found.problems)
