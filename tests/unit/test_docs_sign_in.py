"""docs/sign-in.md: its snippets are profiles, its tables are the code's."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from docs_pages import fenced, text_of
from exoscope.catalog import CLOUDS
from exoscope.entra import clients
from exoscope.profile import Cache, Kind, loads_profile

PAGE = text_of("docs/sign-in.md")
SNIPPETS = [block.text for block in fenced(PAGE) if block.kind == "toml"]


@pytest.mark.parametrize("text", SNIPPETS)
def test_every_snippet_is_one_of_a_profile(text: str, tmp_path: Path) -> None:
    whole = text if "tenant =" in text else f'tenant = "contoso.onmicrosoft.com"\n{text}'
    assert loads_profile(whole.encode(), tmp_path / "exoscope.toml").operator is not None


def test_every_way_of_signing_in_has_its_snippet(tmp_path: Path) -> None:
    shown = set()
    for text in SNIPPETS:
        whole = text if "tenant =" in text else f'tenant = "contoso.onmicrosoft.com"\n{text}'
        operator = loads_profile(whole.encode(), tmp_path / "exoscope.toml").operator
        shown |= {operator.kind} if operator is not None else set()
    assert shown == set(get_args(Kind))
    assert all(f"| [`{kind}`]" in PAGE for kind in get_args(Kind))
    assert all(f"| `{cache}` |" in PAGE for cache in get_args(Cache))


def test_clients_permissions_and_clouds_are_the_codes() -> None:
    for word in (clients.EXCHANGE_CLIENT, clients.GRAPH_CLIENT, *clients.READING, *clients.WRITING):
        assert word in PAGE
    for name, cloud in CLOUDS.items():
        assert f"`{name}`" in PAGE
        for host in (cloud.authority, cloud.graph, cloud.exchange):
            assert f"`{host.removeprefix('https://')}`" in PAGE
        assert f"`{cloud.exchange_environment}`" in PAGE
        assert f"`{cloud.federation_audience}`" in PAGE
