"""Each cloud through the whole path: authority, scopes, Graph, Exchange over each road, scripts, platforms' tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msal
import pytest
import yaml

from exoscope import exchange, powershell
from exoscope.catalog import CLOUDS
from exoscope.clock import SystemClock
from exoscope.entra import Tokens, federation
from exoscope.exchange.adminapi_http import AdminApi
from exoscope.exchange.psrp import Output
from exoscope.model import Secret, Tenant
from exoscope.outcome import BadInput, ServiceError
from exoscope.powershell import pack
from exoscope.profile import Profile, loads_profile
from exoscope.scripting import graph_root

HERE = "7a4f6b1e-2c3d-4e5f-8a9b-0c1d2e3f4a5b"
APP = "11111111-1111-1111-1111-111111111111"
CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "clouds.yaml").read_text(encoding="utf-8"))
every_cloud = pytest.mark.parametrize("case", CASES, ids=lambda case: case["cloud"])
OWN = """
[endpoints]
authority = "https://login.example"
graph = "https://graph.example"
exchange = "https://exchange.example"
"""


def profile_in(cloud: str, more: str = 'secret = "env:CLOUD_SECRET"', ends: str = "") -> Profile:
    text = f'tenant = "{HERE}"\norganization = "contoso.example"\ncloud = "{cloud}"\n'
    return loads_profile(f'{text}[operator]\nclient_id = "{APP}"\n{more}\n{ends}'.encode(), Path("exoscope.toml"))


class Spy:
    """msal's client, which notes how it is made and what it is asked for."""

    made: dict[str, Any]

    def __init__(self, client_id: str, **options: Any) -> None:
        Spy.made = {"client_id": client_id, "scopes": [], **options}

    def acquire_token_for_client(self, scopes: list[str]) -> dict[str, Any]:
        Spy.made["scopes"] += scopes
        credential = Spy.made["client_credential"]
        if isinstance(credential, dict):
            Spy.made["assertion"] = credential["client_assertion"]()
        return {"access_token": "x", "expires_in": 3600}


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    monkeypatch.setenv("CLOUD_SECRET", "s")
    monkeypatch.setattr(msal, "ConfidentialClientApplication", Spy)
    return Spy


def test_there_is_a_case_for_each_cloud() -> None:
    assert [case["cloud"] for case in CASES] == list(CLOUDS)


@every_cloud
def test_authority_and_scopes(case: dict[str, Any], spy: type[Spy]) -> None:
    tokens = Tokens(profile_in(case["cloud"]), SystemClock())
    tokens.operator("graph")
    assert spy.made["authority"] == f"{case['authority']}/{HERE}"
    assert spy.made["instance_discovery"] is None
    assert case["authority"] in spy.made["http_client"].origins
    tokens.exchange()
    assert spy.made["scopes"] == [f"{case['graph']}/.default", f"{case['exchange']}/.default"]


@every_cloud
def test_hosts_of_the_profiles_own(case: dict[str, Any], spy: type[Spy]) -> None:
    profile = profile_in(case["cloud"], ends=OWN)
    tokens = Tokens(profile, SystemClock())
    tokens.operator("graph")
    tokens.exchange()
    assert spy.made["authority"] == f"https://login.example/{HERE}"
    assert spy.made["http_client"].origins == frozenset(["https://login.example"])
    # other hosts serve the same services, whose names tokens are asked for by
    assert spy.made["scopes"] == [f"{case['graph']}/.default", f"{case['exchange']}/.default"]
    api = AdminApi(profile, HERE, Secret("t"), None)
    assert api._root == f"https://exchange.example/adminapi/beta/{HERE}"
    with pytest.raises(ServiceError, match="refused"):
        api._admitted("https://x.exchange.example/")
    renamed = profile_in(case["cloud"], ends=OWN + 'exchange_resource = "https://exchange.example"')
    Tokens(renamed, SystemClock()).exchange()
    assert spy.made["scopes"] == ["https://exchange.example/.default"]


@every_cloud
def test_the_admin_api(case: dict[str, Any]) -> None:
    api = AdminApi(profile_in(case["cloud"]), HERE, Secret("t"), None)
    assert api._root == f"{case['exchange']}/adminapi/beta/{HERE}"
    assert api._http.origins == frozenset([case["exchange"]])
    assert api._admitted(f"{case['regional']}/adminapi") == case["regional"]
    with pytest.raises(ServiceError) as refused:
        api._admitted(f"{case['foreign']}/adminapi")
    assert refused.value.code == "foreign-origin"


class Pool:
    """A PowerShell that notes how it is connected."""

    broken = False

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def open(self, *, deadline: float) -> None:
        pass

    def invoke(self, script: str, parameters: Any = None, *, deadline: float, batch: int | None = None) -> Output:
        if powershell.known_prelude(script):
            self.given = parameters
            return Output((), ())
        rows = [{"TenantID": HERE, "State": "Connected", "ExternalDirectoryOrganizationId": HERE}]
        return Output((pack(rows),) if batch else (), ())

    def close(self) -> None:
        pass

    abandon = close


class Source:
    """A token for Exchange."""

    secret = Secret("t")
    tenant_id = HERE
    user = None
    expires_at = datetime.now(UTC) + timedelta(hours=1)

    def exchange(self, *, valid_for: float, fresh: bool = False) -> Source:
        return self


@every_cloud
def test_the_module_is_told_the_environment(case: dict[str, Any]) -> None:
    pool = Pool()
    exchange.connect(profile_in(case["cloud"]), Source(), clock=SystemClock(), open_pool=lambda: pool)
    assert pool.given["ExchangeEnvironmentName"] == case["environment"]
    # the token is there already: the module has no sign-in of its own to do, and needs no authority
    assert "AzureADAuthorizationEndpointUri" not in pool.given


@every_cloud
def test_scripts(case: dict[str, Any]) -> None:
    tenant = Tenant(id=HERE, domain="contoso.example", cloud=case["cloud"])
    assert graph_root(tenant) == f"{case['graph']}/v1.0"
    with pytest.raises(BadInput):
        graph_root(tenant, "https://graph.example")


@every_cloud
def test_a_platforms_token_is_meant_for_this_cloud(
    case: dict[str, Any], spy: type[Spy], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def assertion(federated: object, audience: str) -> Secret:
        asked.append(audience)
        return Secret("a.b.c")

    monkeypatch.setattr(federation, "assertion", assertion)
    Tokens(profile_in(case["cloud"], 'federated = "github-actions"'), SystemClock()).operator("graph")
    assert asked == [case["audience"]]
    assert spy.made["assertion"] == "a.b.c"


@every_cloud
def test_microsofts_own_clients(case: dict[str, Any]) -> None:
    text = f'tenant = "{HERE}"\ncloud = "{case["cloud"]}"\n[operator]\nkind = "interactive"\nclient_id = "microsoft"\n'
    if case["microsoft"]:
        assert loads_profile(text.encode(), Path("exoscope.toml")).operator is not None
    else:
        with pytest.raises(BadInput, match=r"line 5: operator\.client_id"):
            loads_profile(text.encode(), Path("exoscope.toml"))


@pytest.mark.parametrize("name", ["germany", "de", "O365GermanyCloud"])
def test_the_closed_cloud_is_refused_with_words(name: str) -> None:
    with pytest.raises(BadInput, match=r"line 3: cloud .* was closed in October 2021"):
        profile_in(name)
