"""Applications, service principals and credentials made through the twin's Graph: they sign in, and stop to, as real ones do."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msal
import pytest
import requests

import exoscope.twin
from exoscope.catalog import GRAPH
from exoscope.clock import iso
from exoscope.model import App
from exoscope.twin.entra import Operator
from exoscope.twin.graph.app_management import AppManagement
from exoscope.twin.graph.registrations import OWNED
from exoscope.twin.server import Twin
from twin_certificates import Made, made_certificate
from twin_exchange import Shell
from twin_fixtures import OMNISCOPE, GraphCaller, TurnedClock, app_named, load_sample, session

SCOPE = "https://graph.microsoft.com/.default"
MAIL_READ = "810c84a8-4a9e-49e6-bf7d-12d183f40d01"


def error(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    """One twin for all of these tests; each registers apps of its own."""
    with exoscope.twin.serve(load_sample(), clock=TurnedClock(), token_lifetime=3e7, operator_lifetime=3e7) as made:
        yield made


@pytest.fixture
def twin(served: Twin) -> Iterator[Twin]:
    operator = served.operator
    yield served
    served.tenant.spreading.lag = timedelta(0)
    served.graph.registrations.credentials.policy = AppManagement()
    served.entra.operator = operator
    assert isinstance(served.clock, TurnedClock)
    served.clock.ahead = timedelta(0)  # msal signs by the machine's clock


@pytest.fixture
def slow(twin: Twin) -> Twin:
    """The twin, but news takes a minute, by a clock that is turned by hand."""
    twin.tenant.spreading.lag = timedelta(minutes=1)
    return twin


def register(graph: GraphCaller, **more: Any) -> dict[str, Any]:
    name = f"Connector {uuid.uuid4()}"
    answer = graph("POST", "/applications", {"displayName": name, "signInAudience": "AzureADMyOrg", **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def onboarded(graph: GraphCaller) -> tuple[dict[str, Any], dict[str, Any]]:
    """An application and its service principal."""
    app = register(graph)
    answer = graph("POST", "/servicePrincipals", {"appId": app["appId"]})
    assert answer.status_code == 201, answer.text
    return app, answer.json()


def sign_in(twin: Twin, app_id: str, credential: Any) -> str:
    """``""`` where a token came, else the AADSTS code."""
    client = msal.ConfidentialClientApplication(
        app_id,
        client_credential=credential,
        authority=twin.ready["authority"],
        instance_discovery=False,
        http_client=session(twin),
    )
    got = client.acquire_token_for_client([SCOPE])
    return "" if "access_token" in got else str(got["error_codes"][0])


def add_password(graph: GraphCaller, app: dict[str, Any], **credential: Any) -> requests.Response:
    body = {"passwordCredential": credential} if credential else {}
    return graph("POST", f"/applications/{app['id']}/addPassword", body)


def keys(graph: GraphCaller, app: dict[str, Any]) -> list[dict[str, Any]]:
    return list(graph("GET", f"/applications/{app['id']}?$select=keyCredentials").json()["keyCredentials"])


def as_key(made: Made, **more: Any) -> dict[str, Any]:
    return {"type": "AsymmetricX509Cert", "usage": "Verify", "key": made.base64, **more}


# -- applications ---------------------------------------------------------------------------------------------------------


def test_an_application_is_as_it_was_asked_for(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app = register(graph, tags=["exoscope"], notes="by hand")
    assert (app["signInAudience"], app["tags"], app["notes"]) == ("AzureADMyOrg", ["exoscope"], "by hand")
    assert app["passwordCredentials"] == app["keyCredentials"] == app["requiredResourceAccess"] == []
    assert graph("GET", f"/applications(appId='{app['appId']}')").json()["id"] == app["id"]
    (found,) = graph.every(f"/applications?$filter=displayName eq '{app['displayName']}'")
    assert found["appId"] == app["appId"]
    wider = graph("POST", "/applications", {"displayName": "Wider"}).json()
    assert wider["signInAudience"] == "AzureADandPersonalMicrosoftAccount", "the default is wider than one tenant"


CANNOT_BEGIN: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({}, (400, "Request_BadRequest")),
    ({"displayName": ""}, (400, "Request_BadRequest")),
    ({"displayName": "x", "signInAudience": "Everybody"}, (400, "Request_BadRequest")),
    ({"displayName": "x", "tags": "one"}, (400, "Request_BadRequest")),
    ({"displayName": "x", "passwordCredentials": [{}]}, (400, "Request_BadRequest")),
    ({"displayName": "x", "keyCredentials": []}, (501, "NotModelled")),
    ({"displayName": "x", "web": {}}, (501, "NotModelled")),
]


def test_what_an_application_cannot_begin_as(twin: Twin) -> None:
    graph = GraphCaller(twin)
    before = len(graph.every("/applications"))
    for body, told in CANNOT_BEGIN:
        assert error(graph("POST", "/applications", body)) == told, body
    assert len(graph.every("/applications")) == before


def test_requested_permissions_stay_through_the_service_principal(twin: Twin) -> None:
    graph = GraphCaller(twin)
    wanted = [{"resourceAppId": GRAPH, "resourceAccess": [{"id": MAIL_READ, "type": "Role"}]}]
    app = register(graph, requiredResourceAccess=wanted)
    graph("POST", "/servicePrincipals", {"appId": app["appId"]})
    assert graph("GET", f"/applications/{app['id']}").json()["requiredResourceAccess"] == wanted
    held = twin.tenant.app(app["appId"])
    assert held is not None
    assert [each.permission for each in held.requested] == ["Mail.Read"]


def test_a_service_principal_needs_its_application_and_comes_once(twin: Twin) -> None:
    graph = GraphCaller(twin)
    nobody = graph("POST", "/servicePrincipals", {"appId": "00000000-0000-4000-8000-000000000000"})
    assert error(nobody) == (400, "Request_BadRequest")
    assert nobody.json()["error"]["details"][0]["code"] == "NoBackingApplicationObject"
    app, principal = onboarded(graph)
    assert (principal["servicePrincipalType"], principal["accountEnabled"]) == ("Application", True)
    assert error(graph("POST", "/servicePrincipals", {"appId": app["appId"]})) == (
        409,
        "Request_MultipleObjectsWithSameKeyValue",
    )
    assert error(graph("POST", "/servicePrincipals", {"appId": GRAPH})) == (
        409,
        "Request_MultipleObjectsWithSameKeyValue",
    )
    assert error(graph("POST", "/servicePrincipals", {})) == (400, "Request_BadRequest")


def test_a_deleted_principal_leaves_its_application(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app, principal = onboarded(graph)
    secret = add_password(graph, app).json()
    assert sign_in(twin, app["appId"], secret["secretText"]) == ""
    assert graph("DELETE", f"/servicePrincipals/{principal['id']}").status_code == 204
    assert graph("GET", f"/servicePrincipals/{principal['id']}").status_code == 404
    assert sign_in(twin, app["appId"], secret["secretText"]) == "7000229"
    (kept,) = graph("GET", f"/applications/{app['id']}").json()["passwordCredentials"]
    assert kept["keyId"] == secret["keyId"]
    assert graph("POST", "/servicePrincipals", {"appId": app["appId"]}).status_code == 201
    assert sign_in(twin, app["appId"], secret["secretText"]) == ""


def test_a_deleted_application_takes_its_principal_along(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app, principal = onboarded(graph)
    secret = add_password(graph, app).json()["secretText"]
    assert graph("DELETE", f"/applications/{app['id']}").status_code == 204
    for path in (f"/applications/{app['id']}", f"/servicePrincipals/{principal['id']}"):
        assert error(graph("GET", path)) == (404, "Request_ResourceNotFound")
    assert sign_in(twin, app["appId"], secret) == "700016"
    assert error(graph("DELETE", f"/applications/{app['id']}")) == (404, "Request_ResourceNotFound")


# -- secrets --------------------------------------------------------------------------------------------------------------


def test_a_secret_is_shown_once_and_signs_in_until_it_is_removed(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app, _ = onboarded(graph)
    made = add_password(graph, app, displayName="first").json()
    assert 16 <= len(made["secretText"]) <= 64
    assert made["hint"] == made["secretText"][:3]
    days = datetime.fromisoformat(made["endDateTime"]) - datetime.fromisoformat(made["startDateTime"])
    assert days == timedelta(days=730), "two years where no end is named"
    (listed,) = graph("GET", f"/applications/{app['id']}").json()["passwordCredentials"]
    assert (listed["secretText"], listed["hint"], listed["displayName"]) == (None, made["hint"], "first")
    assert made["secretText"] not in graph("GET", "/applications").text
    assert sign_in(twin, app["appId"], made["secretText"]) == ""
    other = add_password(graph, app).json()
    assert graph("POST", f"/applications/{app['id']}/removePassword", {"keyId": made["keyId"]}).status_code == 204
    assert sign_in(twin, app["appId"], made["secretText"]) == "7000215"
    assert sign_in(twin, app["appId"], other["secretText"]) == ""
    again = graph("POST", f"/applications/{app['id']}/removePassword", {"keyId": made["keyId"]})
    assert error(again) == (400, "Request_BadRequest")
    assert "No password credential found with keyId" in again.text


def test_a_secret_ends_when_it_was_told_to(twin: Twin) -> None:
    clock = twin.clock
    graph = GraphCaller(twin)
    app, _ = onboarded(graph)
    ends = iso(clock.now() + timedelta(days=1))
    made = add_password(graph, app, endDateTime=ends).json()
    assert sign_in(twin, app["appId"], made["secretText"]) == ""
    clock.sleep(86400 + 10)
    assert sign_in(twin, app["appId"], made["secretText"]) == "7000222"


NO_SECRETS: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"passwordCredential": {"endDateTime": "soon"}}, (400, "Request_BadRequest")),
    ({"passwordCredential": {"endDateTime": "2020-01-01T00:00:00Z"}}, (501, "NotModelled")),
    ({"passwordCredential": {"secretText": "mine"}}, (501, "NotModelled")),
    ({"displayName": "x"}, (501, "NotModelled")),
]


def test_secrets_that_are_not_made(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app = register(graph)
    for body, told in NO_SECRETS:
        assert error(graph("POST", f"/applications/{app['id']}/addPassword", body)) == told, body
    assert graph("GET", f"/applications/{app['id']}").json()["passwordCredentials"] == []


def test_credentials_of_the_file_are_listed_and_can_be_removed(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app = app_named(load_sample(), OMNISCOPE)
    path = f"/applications/{app.application_object_id}"
    row = graph("GET", path).json()
    (secret,) = row["passwordCredentials"]
    assert graph("POST", f"{path}/removePassword", {"keyId": secret["keyId"]}).status_code == 204
    after = graph("GET", path).json()
    assert (after["passwordCredentials"], after["keyCredentials"]) == ([], row["keyCredentials"])
    assert sign_in(twin, app.app_id, twin.secret(app.app_id)) == "", "the sandbox's own secret stands apart"


# -- certificates ---------------------------------------------------------------------------------------------------------


def test_certificates_replace_the_collection_and_sign_in(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app, _ = onboarded(graph)
    path = f"/applications/{app['id']}"
    first, second = made_certificate(), made_certificate(name="second")
    assert graph("PATCH", path, {"keyCredentials": [as_key(first, displayName="one")]}).status_code == 204
    (one,) = keys(graph, app)
    assert (one["displayName"], one["key"]) == ("one", first.base64)
    assert graph("GET", path).json()["keyCredentials"][0]["key"] is None, "the key comes where it is selected only"
    assert sign_in(twin, app["appId"], first.credential) == ""
    assert sign_in(twin, app["appId"], second.credential) == "700027"
    kept = {**one, "key": None}
    assert graph("PATCH", path, {"keyCredentials": [kept, as_key(second)]}).status_code == 204
    assert [each["displayName"] for each in keys(graph, app)] == ["one", "CN=second"]
    assert sign_in(twin, app["appId"], first.credential) == sign_in(twin, app["appId"], second.credential) == ""
    assert graph("PATCH", path, {"keyCredentials": [keys(graph, app)[1]]}).status_code == 204
    assert sign_in(twin, app["appId"], first.credential) == "700027", "what is left out of the collection is gone"
    assert sign_in(twin, app["appId"], second.credential) == ""


def test_a_certificate_that_is_there_cannot_be_changed(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app = register(graph)
    path = f"/applications/{app['id']}"
    graph("PATCH", path, {"keyCredentials": [as_key(made_certificate())]})
    (one,) = keys(graph, app)
    for change in (
        {"displayName": "other"},
        {"endDateTime": "2098-01-01T00:00:00Z"},
        {"key": made_certificate().base64},
    ):
        answer = graph("PATCH", path, {"keyCredentials": [{**one, **change}]})
        assert error(answer) == (400, "Request_BadRequest")
        assert "Update to existing credential with KeyId" in answer.text
    assert keys(graph, app) == [one]


def test_certificates_that_are_not_taken(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app = register(graph)
    made = made_certificate(days=30)
    late = iso(made.certificate.not_valid_after_utc + timedelta(hours=1))
    cases: list[tuple[Any, tuple[int, str]]] = [
        ([as_key(made, endDateTime=late)], (400, "KeyCredentialsInvalidEndDate")),
        ([as_key(made, usage="Sign")], (501, "NotModelled")),
        ([as_key(made, key="bm8=")], (501, "NotModelled")),
        ([{**as_key(made), "secret": "x"}], (501, "NotModelled")),
        ("none", (400, "Request_BadRequest")),
    ]
    for value, told in cases:
        assert error(graph("PATCH", f"/applications/{app['id']}", {"keyCredentials": value})) == told
    assert keys(graph, app) == []


# -- the tenant's policy --------------------------------------------------------------------------------------------------


def test_the_policy_is_off_until_somebody_turns_it_on(twin: Twin) -> None:
    policy = GraphCaller(twin)("GET", "/policies/defaultAppManagementPolicy").json()
    assert policy["isEnabled"] is False
    assert policy["applicationRestrictions"] == {"passwordCredentials": [], "keyCredentials": []}


def test_what_a_policy_refuses(twin: Twin) -> None:
    graph = GraphCaller(twin)
    app = register(graph)
    now = twin.clock.now()
    held = twin.graph.registrations.credentials
    held.policy = AppManagement(
        enabled=True, secret_lifetime=timedelta(days=30), certificate_lifetime=timedelta(days=60)
    )
    (told,) = graph("GET", "/policies/defaultAppManagementPolicy").json()["applicationRestrictions"][
        "passwordCredentials"
    ]
    assert (told["restrictionType"], told["maxLifetime"]) == ("passwordLifetime", "P30D")
    refused = add_password(graph, app, endDateTime=iso(now + timedelta(days=31)))
    assert error(refused) == (400, "CredentialInvalidLifetimeAsPerAppPolicy")
    assert refused.json()["error"]["details"][0]["target"] == "EndDate"
    assert add_password(graph, app, endDateTime=iso(now + timedelta(days=29))).status_code == 200
    path = f"/applications/{app['id']}"
    long = graph("PATCH", path, {"keyCredentials": [as_key(made_certificate(days=61))]})
    assert error(long) == (400, "CredentialInvalidLifetimeAsPerAppPolicy")
    held.policy = AppManagement(enabled=True, secrets=False)
    assert error(add_password(graph, app)) == (400, "CredentialTypeNotAllowedAsPerAppPolicy")
    held.policy = AppManagement(enabled=True, secrets=False, created_after=now + timedelta(days=1))
    assert add_password(graph, app).status_code == 200, "it is for applications made later"
    held.policy = AppManagement(enabled=False, secrets=False)
    assert add_password(graph, app).status_code == 200


# -- who may -------------------------------------------------------------------------------------------------------------


def test_owned_by_covers_what_the_caller_made(twin: Twin) -> None:
    everything = GraphCaller(twin)
    foreign = app_named(load_sample(), OMNISCOPE)
    held = twin.operator
    roles = (*(role for role in held.graph_roles if not role.startswith("Application.")), OWNED)
    twin.entra.operator = Operator(held.app_id, held.object_id, held.upn, roles, held.exchange_roles)
    graph = GraphCaller(twin)
    app, principal = onboarded(graph)
    made = add_password(graph, app)
    assert made.status_code == 200
    assert graph("GET", f"/applications/{app['id']}").status_code == 200
    assert (
        graph("PATCH", f"/applications/{app['id']}", {"keyCredentials": [as_key(made_certificate())]}).status_code
        == 204
    )
    for call in (
        ("POST", f"/applications/{foreign.application_object_id}/addPassword", {}),
        ("PATCH", f"/applications/{foreign.application_object_id}", {"keyCredentials": []}),
        ("DELETE", f"/applications/{foreign.application_object_id}", None),
        ("DELETE", f"/servicePrincipals/{foreign.object_id}", None),
        ("GET", "/applications", None),
    ):
        assert error(graph(*call)) == (403, "Authorization_RequestDenied"), call
    assert graph("DELETE", f"/servicePrincipals/{principal['id']}").status_code == 204
    assert everything("GET", f"/applications/{foreign.application_object_id}").status_code == 200


# -- what is new is not known everywhere ------------------------------------------------------------------------------------


def test_a_new_application_is_not_known_at_once(slow: Twin) -> None:
    graph = GraphCaller(slow)
    app = register(graph)
    path = f"/applications/{app['id']}"
    assert graph("GET", path).status_code == graph("GET", f"/applications(appId='{app['appId']}')").status_code == 404
    assert error(add_password(graph, app)) == (404, "Request_ResourceNotFound")
    early = graph("POST", "/servicePrincipals", {"appId": app["appId"]})
    assert early.json()["error"]["details"][0]["code"] == "NoBackingApplicationObject"
    assert graph.every(f"/applications?$filter=displayName eq '{app['displayName']}'") == []
    slow.clock.sleep(61)
    assert graph("GET", path).status_code == 200
    assert graph("POST", "/servicePrincipals", {"appId": app["appId"]}).status_code == 201


def test_a_new_principal_is_not_known_at_once(slow: Twin) -> None:
    graph = GraphCaller(slow)
    app = register(graph)
    slow.clock.sleep(61)
    secret = add_password(graph, app).json()["secretText"]
    slow.clock.sleep(61)
    principal = graph("POST", "/servicePrincipals", {"appId": app["appId"]}).json()
    assert sign_in(slow, app["appId"], secret) == "700016"
    assert graph("GET", f"/servicePrincipals/{principal['id']}").status_code == 404
    resource = graph("GET", f"/servicePrincipals(appId='{GRAPH}')").json()["id"]
    grant = {"principalId": principal["id"], "resourceId": resource, "appRoleId": MAIL_READ}
    refusals = [graph("POST", f"/servicePrincipals/{resource}/appRoleAssignedTo", grant) for _ in range(2)]
    assert {error(each) for each in refusals} == {(404, "Request_ResourceNotFound"), (400, "Request_BadRequest")}
    assert any("Not a valid reference update" in each.text for each in refusals)
    slow.clock.sleep(61)
    assert sign_in(slow, app["appId"], secret) == ""
    assert graph("POST", f"/servicePrincipals/{resource}/appRoleAssignedTo", grant).status_code == 201


def test_new_and_removed_credentials_are_not_known_at_once(slow: Twin) -> None:
    graph = GraphCaller(slow)
    app, _ = onboarded_slowly(slow, graph)
    path = f"/applications/{app['id']}"
    secret, certificate = add_password(graph, app).json(), made_certificate()
    assert graph("PATCH", path, {"keyCredentials": [as_key(certificate)]}).status_code == 204
    stale = graph("GET", path).json()
    assert stale["passwordCredentials"] == stale["keyCredentials"] == []
    assert sign_in(slow, app["appId"], secret["secretText"]) == "7000215"
    assert sign_in(slow, app["appId"], certificate.credential) == "700027"
    early = graph("POST", f"{path}/removePassword", {"keyId": secret["keyId"]})
    assert "No password credential found" in early.text
    slow.clock.sleep(61)
    assert (
        sign_in(slow, app["appId"], secret["secretText"]) == sign_in(slow, app["appId"], certificate.credential) == ""
    )
    assert graph("POST", f"{path}/removePassword", {"keyId": secret["keyId"]}).status_code == 204
    assert len(graph("GET", path).json()["passwordCredentials"]) == 1, "the list is older than the removal"
    assert sign_in(slow, app["appId"], secret["secretText"]) == ""
    slow.clock.sleep(61)
    assert graph("GET", path).json()["passwordCredentials"] == []
    assert sign_in(slow, app["appId"], secret["secretText"]) == "7000215"


def onboarded_slowly(twin: Twin, graph: GraphCaller) -> tuple[dict[str, Any], dict[str, Any]]:
    app = register(graph)
    twin.clock.sleep(61)
    principal = graph("POST", "/servicePrincipals", {"appId": app["appId"]}).json()
    twin.clock.sleep(61)
    return app, principal


def test_exchange_takes_a_new_principal_once_it_knows_it() -> None:
    shell = Shell(load_sample())
    app_id, object_id = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-9999-aaaaaaaaaaaa"
    shell.tenant.spreading.lag = timedelta(minutes=1)
    shell.tenant.put_registered(App(app_id, object_id, "bbbbbbbb-7777-4888-9999-aaaaaaaaaaaa", "New", (), ()))
    shell.tenant.spreading.began(object_id)
    make = f"New-ServicePrincipal -AppId '{app_id}' -ObjectId '{object_id}' -DisplayName 'New'"
    assert shell.run(make).errors
    shell.clock.sleep(61)
    made = shell.run(make)
    assert not made.errors, made.texts
    assert made.rows[0]["ObjectId"] == object_id
