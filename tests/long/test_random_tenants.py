"""Outside CI (`make long`): the laws of the property tests over many more random tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from property import test_planning_laws, test_twin_against_reach

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
EXAMPLES = 2_000
LAWS: dict[str, Callable[..., Any]] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": law
    for module in (test_planning_laws, test_twin_against_reach)
    for name, law in vars(module).items()
    if name.startswith("test_") and hasattr(law, "hypothesis")
}


@pytest.mark.parametrize("name", LAWS)
def test_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    law = LAWS[name]
    # The law's own settings with more examples; hypothesis offers no public way to settle that from outside.
    kept = "_hypothesis_internal_use_settings"
    monkeypatch.setattr(law, kept, settings(getattr(law, kept), max_examples=EXAMPLES, deadline=None))
    law()
