"""A domain's tenant and cloud, by what authorities answer; and against the twin's own document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from exoscope import outcome
from exoscope.entra.discovery import asker, discover
from exoscope.outcome import BadInput, ExoscopeError, ServiceError, Transient
from exoscope.profile import load_profile
from exoscope.twin.server import Twin
from twin_fixtures import shared_twin

__all__ = ["shared_twin"]

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "discovery" / "cases.yaml").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_what_authorities_answer(case: dict[str, Any]) -> None:
    asked: list[str] = []

    def ask(url: str) -> Mapping[str, Any] | None:
        parts = urlsplit(url)
        asked.append(parts.netloc)
        assert parts.path == f"/{case['domain'].casefold()}/v2.0/.well-known/openid-configuration"
        answer = case["answers"][parts.netloc]
        if answer == "down":
            raise Transient(f"{parts.netloc} cannot be reached")
        return answer  # type: ignore[no-any-return]  # a case's own document

    if "found" in case:
        found = discover(case["domain"], ask)
        assert (found.tenant_id, list(found.clouds)) == (case["found"]["tenant_id"], case["found"]["clouds"])
    else:
        with pytest.raises(ExoscopeError) as error:
            discover(case["domain"], ask)
        assert type(error.value) is getattr(outcome, case["error"]["kind"])
        assert error.value.code == case["error"]["code"]
    assert asked == list(case["answers"])[: len(asked)]


def test_the_twins_tenant_by_its_domain_and_nobody_elses(shared_twin: Twin) -> None:
    ends = load_profile(Path(shared_twin.ready["profile"]), {}).endpoints
    tenant, here = shared_twin.tenant.state.tenant, {ends.authority: ("worldwide",)}
    ask = asker(here, ends.ca)
    assert discover(tenant.domain, ask, authorities=here).tenant_id == tenant.id  # type: ignore[arg-type]  # one cloud's name
    with pytest.raises(BadInput, match="no cloud knows"):
        discover("fabrikam.com", ask, authorities=here)  # type: ignore[arg-type]  # likewise
    with pytest.raises(ServiceError) as error:
        discover(tenant.domain, asker(here), authorities=here)  # type: ignore[arg-type]  # likewise
    assert error.value.code == "untrusted-endpoint"
