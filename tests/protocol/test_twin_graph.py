"""The twin's Graph over real HTTP: answers by table, paging, batches, throttling, grants, faults, and what was not read."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import yaml
from msgspec import UNSET

from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.model import Snapshot
from exoscope.twin.registration import Delegated
from exoscope.twin.server import Twin
from twin_fixtures import (
    OMNISCOPE,
    GraphCaller,
    TurnedClock,
    app_named,
    decisions,
    load_sample,
    sample,
    serve,
    session,
    shared_twin,
)

__all__ = ["sample", "serve", "shared_twin"]

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "twin_graph.yaml").read_text(encoding="utf-8"))
MAIL_SEND = "b633e1c5-b582-4048-a93e-9f11b44c7e96"
INBOX = "/users/ada@contoso.com/messages?$top=1&$select=id"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def twin(serve: Callable[..., Twin], sample: Snapshot, clock: TurnedClock) -> Twin:
    """A twin to change, whose time we turn."""
    return serve(sample, token_lifetime=600.0, clock=clock)


def graph_principal(twin: Twin) -> str:
    return twin.graph.applications.resources.by_app_id[GRAPH].object_id


def names(twin: Twin) -> dict[str, str]:
    tenant = load_sample()
    omniscope = app_named(tenant, OMNISCOPE)
    group = next(g for g in tenant.groups if g.display_name == "Omniscope mailboxes")
    return {
        "ada": next(r for r in tenant.recipients if r.display_name == "Ada Lovelace").external_directory_object_id,
        "app": omniscope.application_object_id,
        "app_id": omniscope.app_id,
        "bot": app_named(tenant, "Helpdesk Bot").object_id,
        "consent": omniscope.consents[0].id,
        "crm_id": app_named(tenant, "Fabrikam CRM Connector").app_id,
        "graph": graph_principal(twin),
        "group": group.external_directory_object_id,
        "group_guid": group.guid,
        "operator_id": twin.operator.app_id,
        "sp": omniscope.object_id,
        "tenant": tenant.tenant.id,
        "unit": tenant.administrative_units[0].id,
    }


def filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, words) for inner in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace("{" + word + "}", text)
    return value


@pytest.fixture(scope="module")
def callers(shared_twin: Twin) -> Callable[[str], GraphCaller]:
    made: dict[str, GraphCaller] = {}

    def caller(name: str) -> GraphCaller:
        if name not in made:
            app_id = None if name == "operator" else app_named(load_sample(), name).app_id
            made[name] = GraphCaller(shared_twin, app_id)
        return made[name]

    return caller


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_calls(shared_twin: Twin, callers: Callable[[str], GraphCaller], case: dict[str, Any]) -> None:
    case = filled(case, names(shared_twin))
    answer = callers(case["as"])(case.get("method", "GET"), case["path"], case.get("body"))
    assert answer.status_code == case["status"], answer.text
    if "code" in case:
        assert answer.json()["error"]["code"] == case["code"]
        assert case.get("message", "") in answer.json()["error"]["message"]
    for key, value in case.get("answer", {}).items():
        assert answer.json().get(key) == value


def test_the_same_calls_in_batches(shared_twin: Twin, callers: Callable[[str], GraphCaller]) -> None:
    """A call answers the same in a batch, whose answers come in any order."""
    every = [filled(case, names(shared_twin)) for case in CASES]
    for name in {case["as"] for case in every}:
        mine = [case for case in every if case["as"] == name]
        for start in range(0, len(mine), 20):
            part = mine[start : start + 20]
            entries = [
                {
                    "id": str(number),
                    "method": case.get("method", "GET"),
                    "url": case["path"],
                    "headers": {"Content-Type": "application/json", "client-request-id": f"mine-{number}"},
                    **({"body": case["body"]} if "body" in case else {}),
                }
                for number, case in enumerate(part)
            ]
            answer = callers(name)("POST", "/$batch", {"requests": entries})
            assert answer.status_code == 200, answer.text
            found = {each["id"]: each for each in answer.json()["responses"]}
            assert len(found) == len(part)
            for number, case in enumerate(part):
                got = found[str(number)]
                assert got["status"] == case["status"], case["name"]
                assert got["headers"]["client-request-id"] == f"mine-{number}"
                if "code" in case:
                    assert got["body"]["error"]["code"] == case["code"]


@pytest.mark.parametrize(
    ("requests_", "status", "code"),
    [
        ([{"id": str(n), "method": "GET", "url": INBOX} for n in range(21)], 400, "MaximumValueExceeded"),
        ([{"id": "1", "method": "GET", "url": INBOX}] * 2, 400, "BadRequest"),
        ([{"method": "GET", "url": INBOX}], 400, "BadRequest"),
        ([{"id": "1", "method": "GET", "url": "https://evil.example/v1.0/users"}], 400, "BadRequest"),
        ([{"id": "1", "method": "POST", "url": "/users/x/sendMail", "body": {}}], 400, "BadRequest"),
        ([], 400, "BadRequest"),
        ("x", 400, "BadRequest"),
    ],
)
def test_bad_batches(callers: Callable[[str], GraphCaller], requests_: Any, status: int, code: str) -> None:
    answer = callers(OMNISCOPE)("POST", "/$batch", {"requests": requests_})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_failed_dependency(callers: Callable[[str], GraphCaller]) -> None:
    entries = [
        {"id": "1", "method": "GET", "url": "/users/nobody@contoso.com/messages"},
        {"id": "2", "method": "GET", "url": INBOX, "dependsOn": ["1"]},
        {"id": "3", "method": "GET", "url": INBOX},
        {"id": "4", "method": "GET", "url": INBOX, "dependsOn": ["3"]},
    ]
    answer = callers(OMNISCOPE)("POST", "/$batch", {"requests": entries}).json()
    assert {each["id"]: each["status"] for each in answer["responses"]} == {"1": 404, "2": 424, "3": 200, "4": 200}


def test_request_ids(callers: Callable[[str], GraphCaller]) -> None:
    good = callers(OMNISCOPE)("GET", INBOX, **{"client-request-id": "mine"})
    assert good.headers["client-request-id"] == "mine"
    assert len(good.headers["request-id"]) == 36
    bad = callers(OMNISCOPE)("GET", "/organization", **{"client-request-id": "mine"})
    inner = bad.json()["error"]["innerError"]
    assert (inner["client-request-id"], inner["request-id"]) == ("mine", bad.headers["request-id"])
    assert "date" in inner


def test_without_a_token(shared_twin: Twin) -> None:
    with session(shared_twin) as http:
        answer = http.get(f"{shared_twin.ready['graph']}/organization", timeout=20)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")


def test_beta_is_not_modelled(callers: Callable[[str], GraphCaller], shared_twin: Twin) -> None:
    url = shared_twin.ready["graph"].replace("/v1.0", "/beta") + "/organization"
    assert callers("operator")("GET", url).status_code == 501


# --- lists -----------------------------------------------------------------------------------------------------------


def test_paging(callers: Callable[[str], GraphCaller], shared_twin: Twin) -> None:
    operator = callers("operator")
    first = operator("GET", "/users?$select=id,mail&$count=true", ConsistencyLevel="eventual").json()
    assert first["@odata.count"] == len(load_sample().recipients) > len(first["value"])
    assert first["@odata.nextLink"].startswith(shared_twin.ready["graph"])
    rows = operator.every("/users?$select=id,mail")
    assert {row["mail"] for row in rows} == {r.primary_smtp_address for r in load_sample().recipients}
    assert len(rows) == len(load_sample().recipients)
    assert set(rows[0]) == {"id", "mail"}
    assert len(operator.every("/users?$top=7")) == len(rows)
    assert "@odata.nextLink" not in operator("GET", "/users?$top=999").json()


def test_a_filtered_list_pages_on_filtered(callers: Callable[[str], GraphCaller]) -> None:
    rows = callers("operator").every("/users?$filter=startswith(mail,'s')&$top=2")
    assert sorted(row["mail"] for row in rows) == sorted(
        r.primary_smtp_address for r in load_sample().recipients if r.primary_smtp_address.startswith("s")
    )


def test_members(callers: Callable[[str], GraphCaller], shared_twin: Twin) -> None:
    words = names(shared_twin)
    rows = callers("operator").every(f"/groups/{words['group']}/members")
    kinds = [row["@odata.type"] for row in rows]
    assert kinds.count("#microsoft.graph.user") == 8
    assert kinds.count("#microsoft.graph.group") == 1
    hands = next(g for g in load_sample().groups if g.display_name == "All hands")
    rows = callers("operator").every(f"/groups/{hands.external_directory_object_id}/members")
    assert len(rows) == len(hands.members), "a contact stands there too"
    ring = next(g for g in load_sample().groups if g.display_name == "Ring A")
    rows = callers("operator").every(f"/groups/{ring.external_directory_object_id}/transitiveMembers")
    assert {row["displayName"] for row in rows} == {"Ring A", "Ring B", "Fatima Zahra", "Viktor Novák"}, "a circle ends"
    rows = callers("operator").every(f"/directory/administrativeUnits/{words['unit']}/members?$select=id")
    assert {row["id"] for row in rows} == set(load_sample().administrative_units[0].members)


def test_service_principals_and_their_roles(callers: Callable[[str], GraphCaller]) -> None:
    rows = {row["appId"]: row for row in callers("operator").every("/servicePrincipals")}
    assert {app.app_id for app in load_sample().apps} | {GRAPH, EXCHANGE} == set(rows)
    values = {role["value"]: role["id"] for role in rows[GRAPH]["appRoles"]}
    assert values["Mail.Read"] == "810c84a8-4a9e-49e6-bf7d-12d183f40d01"
    assert {"MailTips.ReadBasic.All", "User.Read.All"} <= set(values), "ids that no source gives are the tenant's own"
    assert {"full_access_as_app", "Exchange.ManageAsApp", "SMTP.SendAsApp"} <= {
        role["value"] for role in rows[EXCHANGE]["appRoles"]
    }
    crm = next(app for app in load_sample().apps if app.application_object_id is None)
    assert rows[crm.app_id]["appOwnerOrganizationId"] != load_sample().tenant.id
    applications = {row["appId"] for row in callers("operator").every("/applications")}
    assert crm.app_id not in applications
    assert len(applications) == sum(app.application_object_id is not None for app in load_sample().apps)


def test_consents_from_both_sides(callers: Callable[[str], GraphCaller], shared_twin: Twin) -> None:
    operator = callers("operator")
    expected = {c.id for app in load_sample().apps for c in app.consents if c.resource == GRAPH}
    given = operator.every(f"/servicePrincipals/{graph_principal(shared_twin)}/appRoleAssignedTo?$top=3")
    assert {row["id"] for row in given} == expected
    app = app_named(load_sample(), "Contoso Backup Connector")
    held = operator.every(f"/servicePrincipals/{app.object_id}/appRoleAssignments")
    assert {row["id"] for row in held} == {c.id for c in app.consents}
    assert {row["resourceDisplayName"] for row in held} == {"Microsoft Graph", "Office 365 Exchange Online"}


def test_credentials_are_listed_without_secrets(callers: Callable[[str], GraphCaller], shared_twin: Twin) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    row = callers("operator")("GET", f"/applications/{app.application_object_id}").json()
    assert [c["keyId"] for c in row["passwordCredentials"]] == [app.credentials[0].key_id]
    assert [c["keyId"] for c in row["keyCredentials"]] == [app.credentials[1].key_id]
    text = callers("operator")("GET", "/applications").text + callers("operator")("GET", "/servicePrincipals").text
    for path in shared_twin.folder.secrets.iterdir():
        assert path.read_text() not in text
    assert shared_twin.operator.app_id not in text


def test_a_token_lifetime_policy(callers: Callable[[str], GraphCaller]) -> None:
    crm = app_named(load_sample(), "Fabrikam CRM Connector")
    (row,) = callers("operator").every(f"/servicePrincipals/{crm.object_id}/tokenLifetimePolicies")
    policy = msgspec.json.decode(row["definition"][0])["TokenLifetimePolicy"]
    assert policy == {"Version": 1, "AccessTokenLifetime": "02:00:00"}


def test_a_graph_client_we_did_not_write(shared_twin: Twin) -> None:
    """Microsoft's own msgraph-core lists the tenant, following its pages."""
    import httpx
    from azure.core.credentials import AccessToken
    from kiota_abstractions.method import Method
    from kiota_abstractions.request_information import RequestInformation
    from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
    from msgraph_core import BaseGraphRequestAdapter, GraphClientFactory

    from twin_fixtures import token

    class Credential:
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            return AccessToken(token(shared_twin), int(time.time()) + 60)

    async def listed() -> list[str]:
        provider = AzureIdentityAuthenticationProvider(Credential(), allowed_hosts=["127.0.0.1"])  # type: ignore[arg-type]  # a credential by its shape
        client = GraphClientFactory.create_with_default_middleware(
            client=httpx.AsyncClient(verify=ssl.create_default_context(cafile=shared_twin.ready["ca"]), trust_env=False)
        )
        adapter = BaseGraphRequestAdapter(provider, http_client=client)
        found: list[str] = []
        url: str | None = f"{shared_twin.ready['graph']}/users"
        while url:
            information = RequestInformation(Method.GET)
            information.url = url
            body = await adapter.send_primitive_async(information, "bytes", {})
            page = msgspec.json.decode(body)
            found += [row["mail"] for row in page["value"]]
            url = page.get("@odata.nextLink")
        await client.aclose()
        return found

    assert sorted(asyncio.run(listed())) == sorted(r.primary_smtp_address for r in load_sample().recipients)


# --- writes ----------------------------------------------------------------------------------------------------------


def test_granting_and_revoking(twin: Twin) -> None:
    operator, app = GraphCaller(twin), app_named(load_sample(), OMNISCOPE)
    graph = graph_principal(twin)
    body = {"principalId": app.object_id, "resourceId": graph, "appRoleId": MAIL_SEND}
    made = operator("POST", f"/servicePrincipals/{graph}/appRoleAssignedTo", body)
    assert made.status_code == 201
    assert made.json()["principalId"] == app.object_id
    assert {c.permission for c in app_named(twin.tenant.state, OMNISCOPE).consents} == {"Mail.Read", "Mail.Send"}
    assert operator("POST", f"/servicePrincipals/{app.object_id}/appRoleAssignments", body).status_code == 400
    one = f"/servicePrincipals/{graph}/appRoleAssignedTo/{made.json()['id']}"
    assert operator("GET", one).json()["appRoleId"] == MAIL_SEND
    assert operator("DELETE", one).status_code == 204
    assert operator("DELETE", one).status_code == 404
    assert {c.permission for c in app_named(twin.tenant.state, OMNISCOPE).consents} == {"Mail.Read"}


def test_what_is_requested(twin: Twin) -> None:
    """A PATCH replaces the collection; delegated entries are kept where the writer keeps them."""
    operator, app = GraphCaller(twin), app_named(load_sample(), OMNISCOPE)
    path = f"/applications/{app.application_object_id}"
    twin.tenant.set_requested(app.object_id, app.requested, (Delegated(resource=GRAPH, id="e1fe6dd8"),))
    (entry,) = operator("GET", path).json()["requiredResourceAccess"]
    assert {(a["id"], a["type"]) for a in entry["resourceAccess"]} == {
        (app.requested[0].app_role_id, "Role"),
        ("e1fe6dd8", "Scope"),
    }
    entry["resourceAccess"] = [a for a in entry["resourceAccess"] if a["type"] == "Scope"]
    entry["resourceAccess"].append({"id": MAIL_SEND, "type": "Role"})
    assert operator("PATCH", path, {"requiredResourceAccess": [entry]}).status_code == 204
    assert [r.permission for r in app_named(twin.tenant.state, OMNISCOPE).requested] == ["Mail.Send"]
    (after,) = operator("GET", path).json()["requiredResourceAccess"]
    assert {"id": "e1fe6dd8", "type": "Scope"} in after["resourceAccess"]


def test_decisions_are_written(twin: Twin) -> None:
    app = app_named(load_sample(), "Fabrikam CRM Connector")
    caller = GraphCaller(twin, app.app_id)
    caller("GET", "/users/li.wei@contoso.com/messages?$select=id")
    caller("GET", "/users/ada@contoso.com/messages?$select=id")
    caller("GET", "/users/nobody@contoso.com/messages?$select=id")
    lines = decisions(twin)
    assert [(line["app_id"], line["mailbox"], line["answer"]) for line in lines] == [
        (app.app_id, "li.wei@contoso.com", "allowed"),
        (app.app_id, "ada@contoso.com", "denied"),
    ]
    assert set(lines[0]) == {"at", "app_id", "permission", "mailbox", "answer", "because"}


def test_an_old_token_acts_until_it_ends(twin: Twin, clock: TurnedClock) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    caller = GraphCaller(twin, app.app_id)
    assert GraphCaller(twin)("DELETE", f"/servicePrincipals/{app.object_id}/appRoleAssignments/{app.consents[0].id}").ok
    clock.sleep(540)
    assert caller("GET", INBOX).status_code == 200
    assert GraphCaller(twin, app.app_id)("GET", INBOX).status_code == 403
    clock.sleep(61)
    assert caller("GET", INBOX).status_code == 401


# --- throttling ------------------------------------------------------------------------------------------------------


def test_throttling(serve: Callable[..., Twin], sample: Snapshot, clock: TurnedClock) -> None:
    twin = serve(sample, throttle=0.01, clock=clock, token_lifetime=6000.0)
    caller = GraphCaller(twin, app_named(sample, OMNISCOPE).app_id)
    answers = [caller("GET", INBOX) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused[0].json()["error"]["code"] == "TooManyRequests"
    wait = refused[0].headers["Retry-After"]
    assert "." in wait, "a decimal one"
    assert 60 < float(wait) <= 100
    clock.sleep(float(wait))
    assert caller("GET", INBOX).status_code == 200
    batch = caller("POST", "/$batch", {"requests": [{"id": str(n), "method": "GET", "url": INBOX} for n in range(9)]})
    assert batch.status_code == 200
    found = {each["status"]: each for each in batch.json()["responses"]}
    assert 429 in found
    assert float(found[429]["headers"]["Retry-After"]) > 0
    assert set(found) == {429}, "the one before took the allowance"
    other = GraphCaller(twin)
    assert other("GET", "/organization").status_code == 200, "each app has its own allowance"


def test_four_at_a_time_on_one_mailbox(twin: Twin) -> None:
    twin.graph_faults.latency = 0.6
    app_id = app_named(load_sample(), OMNISCOPE).app_id
    callers = [GraphCaller(twin, app_id) for _ in range(7)]
    barrier = threading.Barrier(len(callers))

    def call(caller: GraphCaller) -> requests.Response:
        barrier.wait(20)
        return caller("GET", INBOX)

    with ThreadPoolExecutor(len(callers)) as workers:
        answers = list(workers.map(call, callers))
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) >= 4
    assert codes.count(429) == len(codes) - codes.count(200) > 0
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["code"] == "ApplicationThrottled"
    assert refused.json()["error"]["message"] == "Application is over its MailboxConcurrency limit."


# --- faults ----------------------------------------------------------------------------------------------------------


def test_planned_faults(twin: Twin) -> None:
    operator, app = GraphCaller(twin), app_named(load_sample(), OMNISCOPE)
    one = f"/servicePrincipals/{app.object_id}/appRoleAssignments/{app.consents[0].id}"
    twin.graph_faults.fail(503, "serviceNotAvailable", times=2, method="GET", path="/organization", retry_after=0.5)
    assert operator("GET", "/users?$top=1").status_code == 200
    answer = operator("GET", "/organization")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "0.500")
    assert operator("GET", "/organization").status_code == 503
    assert operator("GET", "/organization").status_code == 200
    twin.graph_faults.fail(504, "gatewayTimeout", method="DELETE", after_acting=True)
    assert operator("DELETE", one).status_code == 504
    assert operator("DELETE", one).status_code == 404, "it had happened"


def test_a_dropped_connection_after_acting(twin: Twin) -> None:
    operator, app = GraphCaller(twin), app_named(load_sample(), OMNISCOPE)
    twin.graph_faults.drop(method="DELETE")
    with pytest.raises(requests.exceptions.ConnectionError):
        operator("DELETE", f"/servicePrincipals/{app.object_id}/appRoleAssignments/{app.consents[0].id}")
    assert not app_named(twin.tenant.state, OMNISCOPE).consents
    twin.graph_faults.drop(method="GET", after_acting=False)
    with pytest.raises(requests.exceptions.ConnectionError):
        operator("GET", "/organization")
    assert operator("GET", "/organization").status_code == 200


def test_lists_that_lag(twin: Twin, clock: TurnedClock) -> None:
    operator, app = GraphCaller(twin), app_named(load_sample(), OMNISCOPE)
    graph = graph_principal(twin)
    twin.graph_faults.replication = timedelta(seconds=60)
    body = {"principalId": app.object_id, "resourceId": graph, "appRoleId": MAIL_SEND}
    path = f"/servicePrincipals/{app.object_id}/appRoleAssignments"
    assert operator("POST", f"/servicePrincipals/{graph}/appRoleAssignedTo", body).status_code == 201
    assert operator("DELETE", f"{path}/{app.consents[0].id}").status_code == 204
    assert [row["id"] for row in operator.every(path)] == [app.consents[0].id]
    clock.sleep(61)
    assert [row["appRoleId"] for row in operator.every(path)] == [MAIL_SEND]


# --- what was not read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (
            {"apps": UNSET},
            ["/applications", "/servicePrincipals", "/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')"],
        ),
        ({"recipients": UNSET}, ["/users", "/users/ada@contoso.com"]),
        ({"groups": UNSET}, ["/groups", "/groups/{group}", "/groups/{group}/members"]),
        ({"administrative_units": UNSET}, ["/directory/administrativeUnits", "/directory/administrativeUnits/{unit}"]),
    ],
)
def test_unread_lists_are_refused(
    serve: Callable[..., Twin], sample: Snapshot, change: dict[str, Any], paths: list[str]
) -> None:
    twin = serve(msgspec.structs.replace(sample, **change))
    operator = GraphCaller(twin)
    for path in paths:
        answer = operator("GET", filled(path, names(twin)))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "Authorization_RequestDenied"), path


def test_unread_details_are_absent_or_refused(serve: Callable[..., Twin], sample: Snapshot) -> None:
    omniscope = app_named(sample, OMNISCOPE)
    blind = msgspec.structs.replace(
        omniscope, kind=UNSET, account_enabled=UNSET, credentials=UNSET, token_lifetime_minutes=UNSET
    )
    apps = tuple(blind if app is omniscope else app for app in sample.apps)
    groups = tuple(msgspec.structs.replace(group, members=None) for group in sample.groups)
    twin = serve(msgspec.structs.replace(sample, apps=apps, groups=groups))
    operator, words = GraphCaller(twin), names(twin)
    row = operator("GET", f"/servicePrincipals/{words['sp']}").json()
    assert not {"servicePrincipalType", "accountEnabled"} & set(row)
    row = operator("GET", f"/applications/{words['app']}").json()
    assert not {"passwordCredentials", "keyCredentials"} & set(row)
    assert operator("GET", f"/servicePrincipals/{words['sp']}/tokenLifetimePolicies").status_code == 403
    assert operator("GET", f"/groups/{words['group']}/members").status_code == 403
    # the app signs in all the same: its secret is the sandbox's own
    assert GraphCaller(twin, omniscope.app_id)("GET", INBOX).status_code == 200


def test_what_is_undocumented_is_refused(serve: Callable[..., Twin], sample: Snapshot) -> None:
    organization = msgspec.structs.replace(sample.organization, enforce_exo_app_rbac_permissions=True)
    twin = serve(msgspec.structs.replace(sample, organization=organization))
    answer = GraphCaller(twin, app_named(sample, OMNISCOPE).app_id)("GET", INBOX)
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotModelled")
    assert decisions(twin)[-1]["answer"] == "not-modelled"
