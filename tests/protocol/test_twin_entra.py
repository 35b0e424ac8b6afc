"""Signing in to the twin with the real msal, and every AADSTS error it knows, by table."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest
import requests
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exoscope.model import Snapshot
from exoscope.twin.authorize import EXCHANGE_MODULE_CLIENT
from exoscope.twin.entra import ASSERTION_TYPE
from exoscope.twin.server import Twin
from exoscope.twin.tokens import thumbprints
from twin_fixtures import (
    OMNISCOPE,
    TurnedClock,
    app_named,
    load_sample,
    sample,
    serve,
    session,
    shared_twin,
    token,
    twin,
)

__all__ = ["sample", "serve", "shared_twin", "twin"]

GRAPH_SCOPE = "https://graph.microsoft.com/.default"
EXCHANGE_SCOPE = "https://outlook.office365.com/.default"
CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "twin_sign_in.yaml").read_text(encoding="utf-8"))


def confidential(twin: Twin, app_id: str, credential: Any) -> msal.ConfidentialClientApplication:
    return msal.ConfidentialClientApplication(
        app_id,
        client_credential=credential,
        authority=twin.ready["authority"],
        instance_discovery=False,
        http_client=session(twin),
    )


def claims(access_token: str) -> dict[str, Any]:
    return dict(jwt.decode(access_token, options={"verify_signature": False}))


# --- real msal -------------------------------------------------------------------------------------------------------


def test_msal_by_secret(shared_twin: Twin) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    got = confidential(shared_twin, app.app_id, shared_twin.secret(app.app_id)).acquire_token_for_client([GRAPH_SCOPE])
    assert got["token_type"] == "Bearer"
    assert got["expires_in"] == 600
    held = claims(got["access_token"])
    assert held["aud"] == "https://graph.microsoft.com"
    assert held["appid"] == app.app_id
    assert held["oid"] == app.object_id
    assert held["tid"] == load_sample().tenant.id
    assert held["roles"] == ["Mail.Read"]
    assert held["idtyp"] == "app"


def test_msal_by_certificate(shared_twin: Twin) -> None:
    pem = shared_twin.folder.operator.read_text()
    credential = {"private_key": pem, "public_certificate": pem}
    got = confidential(shared_twin, shared_twin.operator.app_id, credential).acquire_token_for_client([EXCHANGE_SCOPE])
    assert claims(got["access_token"])["roles"] == ["Exchange.ManageAsApp"]


def test_msal_by_certificate_in_the_older_form(shared_twin: Twin) -> None:
    """RS256 and the SHA-1 thumbprint (x5t)."""
    certificate = shared_twin.folder.operator_certificate
    import hashlib

    credential = {
        "private_key": shared_twin.folder.operator.read_text(),
        "thumbprint": hashlib.sha1(certificate, usedforsecurity=False).hexdigest(),
    }
    got = confidential(shared_twin, shared_twin.operator.app_id, credential).acquire_token_for_client([GRAPH_SCOPE])
    assert "access_token" in got, got


def test_msal_by_device_code(shared_twin: Twin) -> None:
    app = msal.PublicClientApplication(
        EXCHANGE_MODULE_CLIENT,
        authority=shared_twin.ready["authority"],
        instance_discovery=False,
        http_client=session(shared_twin),
    )
    flow = app.initiate_device_flow(["https://outlook.office365.com/.default"])
    assert flow["user_code"] in flow["message"]
    got = app.acquire_token_by_device_flow(flow)
    held = claims(got["access_token"])
    assert (held["idtyp"], held["upn"]) == ("user", shared_twin.operator.upn)
    assert "roles" not in held
    assert shared_twin.entra.tokens.read(got["access_token"], "00000002-0000-0ff1-ce00-000000000000").operator


def test_msal_returns_the_error(shared_twin: Twin) -> None:
    app = app_named(load_sample(), OMNISCOPE)
    got = confidential(shared_twin, app.app_id, "wrong").acquire_token_for_client([GRAPH_SCOPE])
    assert got["error"] == "invalid_client"
    assert got["error_codes"] == [7000215]
    assert "access_token" not in got


def test_msal_is_told_of_a_wrong_tenant(shared_twin: Twin) -> None:
    authority = shared_twin.ready["authority"].rpartition("/")[0] + "/" + str(uuid.uuid4())
    with pytest.raises(ValueError, match="Unable to get authority configuration"):
        msal.ConfidentialClientApplication(
            shared_twin.operator.app_id,
            client_credential="x",
            authority=authority,
            instance_discovery=False,
            http_client=session(shared_twin),
        )


# --- what a token is -------------------------------------------------------------------------------------------------


def test_a_token_without_roles_has_no_roles_claim(shared_twin: Twin) -> None:
    app = app_named(load_sample(), "Room Display")
    assert "roles" not in claims(token(shared_twin, app.app_id))


def test_roles_are_those_of_the_tokens_time_and_resource(twin: Twin) -> None:
    backup = app_named(twin.tenant.state, "Contoso Backup Connector")
    before = token(twin, backup.app_id)
    assert claims(before)["roles"] == ["MailboxItem.Read.All"]
    assert claims(token(twin, backup.app_id, scope=EXCHANGE_SCOPE))["roles"] == ["full_access_as_app"]
    for consent in backup.consents:
        twin.tenant.remove_consent(backup.object_id, consent.id)
    assert twin.entra.tokens.read(before, "00000003-0000-0000-c000-000000000000").roles == ("MailboxItem.Read.All",)
    assert "roles" not in claims(token(twin, backup.app_id))


@pytest.mark.parametrize(
    "scope",
    [
        GRAPH_SCOPE,
        "00000003-0000-0000-c000-000000000000/.default",
        "https://graph.microsoft.us/.default",
        "https://graph.microsoft.com//.default",
    ],
)
def test_graphs_names(shared_twin: Twin, scope: str) -> None:
    assert claims(token(shared_twin, scope=scope))["aud"] == "https://graph.microsoft.com"


def test_the_twins_own_origins_name_their_services(shared_twin: Twin) -> None:
    graph = shared_twin.ready["graph"].removesuffix("/v1.0")
    exchange = shared_twin.ready["wsman"].removesuffix("/wsman")
    assert len({graph, exchange, shared_twin.ready["authority"].rpartition("/")[0]}) == 3
    assert claims(token(shared_twin, scope=f"{graph}/.default"))["aud"] == "https://graph.microsoft.com"
    assert claims(token(shared_twin, scope=f"{exchange}/.default"))["aud"] == "https://outlook.office365.com"


def graph_status(twin: Twin, access_token: str) -> tuple[int, str]:
    with session(twin) as http:
        answer = http.get(
            f"{twin.ready['graph']}/organization", headers={"Authorization": f"Bearer {access_token}"}, timeout=20
        )
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_tokens_for_exchange_and_other_tenants_are_refused_at_graph(shared_twin: Twin) -> None:
    assert graph_status(shared_twin, token(shared_twin))[0] == 200
    refused = (401, "InvalidAuthenticationToken")
    assert graph_status(shared_twin, token(shared_twin, scope=EXCHANGE_SCOPE)) == refused
    held = claims(token(shared_twin))
    forged = jwt.encode(held, "x" * 32, algorithm="HS256")
    assert graph_status(shared_twin, forged) == refused
    unsigned = jwt.encode(held, None, algorithm="none")
    assert graph_status(shared_twin, unsigned) == refused
    assert graph_status(shared_twin, "not.a.token") == refused


def test_a_token_ends_when_it_says(serve: Any, sample: Snapshot) -> None:
    clock = TurnedClock()
    twin = serve(sample, token_lifetime=600.0, clock=clock)
    access_token = token(twin)
    clock.sleep(540)
    assert graph_status(twin, access_token)[0] == 200
    clock.sleep(61)
    assert graph_status(twin, access_token) == (401, "InvalidAuthenticationToken")


# --- client assertions -----------------------------------------------------------------------------------------------


def assertion(twin: Twin, *, header: dict[str, Any] | None = None, algorithm: str = "PS256", **changed: Any) -> str:
    key = load_pem_private_key(twin.folder.operator.read_bytes(), None)
    now = datetime.now(UTC)
    body = {
        "aud": f"{twin.ready['authority']}/oauth2/v2.0/token",
        "iss": twin.operator.app_id,
        "sub": twin.operator.app_id,
        "jti": str(uuid.uuid4()),
        "exp": now + timedelta(minutes=5),
        "nbf": now,
        **changed,
    }
    named = {"x5t#S256": thumbprints(twin.folder.operator_certificate)["x5t#S256"]} if header is None else header
    return jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm=algorithm, headers=named)  # type: ignore[arg-type]  # an RSA key


def sign_in_by(twin: Twin, text: str) -> requests.Response:
    form = {
        "client_id": twin.operator.app_id,
        "grant_type": "client_credentials",
        "scope": GRAPH_SCOPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": text,
    }
    with session(twin) as http:
        return http.post(f"{twin.ready['authority']}/oauth2/v2.0/token", data=form, timeout=20)


def test_a_good_assertion(shared_twin: Twin) -> None:
    assert sign_in_by(shared_twin, assertion(shared_twin)).status_code == 200
    assert sign_in_by(shared_twin, assertion(shared_twin, algorithm="RS256")).status_code == 200


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"aud": "https://login.microsoftonline.com/common/oauth2/v2.0/token"}, 50012),
        ({"iss": str(uuid.uuid4())}, 50012),
        ({"sub": "somebody"}, 50012),
        ({"jti": None}, 50012),
        ({"exp": None}, 50012),
        ({"exp": datetime(2020, 1, 1, tzinfo=UTC), "nbf": datetime(2019, 1, 1, tzinfo=UTC)}, 700024),
        ({"nbf": datetime(2100, 1, 1, tzinfo=UTC), "exp": datetime(2101, 1, 1, tzinfo=UTC)}, 700024),
        ({"header": {"x5t#S256": "AAAA"}}, 700027),
        ({"header": {}}, 700027),
    ],
)
def test_a_bad_assertion(shared_twin: Twin, changed: dict[str, Any], code: int) -> None:
    answer = sign_in_by(shared_twin, assertion(shared_twin, **changed))
    assert (answer.status_code, answer.json()["error_codes"]) == (401, [code])


def test_an_assertion_signed_with_another_key(shared_twin: Twin) -> None:
    text = assertion(shared_twin)
    head, body, _ = text.split(".")
    answer = sign_in_by(shared_twin, f"{head}.{body}.{'A' * 342}")
    assert answer.json()["error_codes"] == [700027]
    assert sign_in_by(shared_twin, "rubbish").json()["error_codes"] == [700027]


# --- errors ----------------------------------------------------------------------------------------------------------


def request_for(twin: Twin, case: dict[str, Any]) -> tuple[str, dict[str, str]]:
    tenant = load_sample()
    name = case["app"]
    known = next((app for app in tenant.apps if app.display_name == name), None)
    app_id = twin.operator.app_id if name == "operator" else known.app_id if known else name
    secret = twin.secret(app_id) if known else (twin.folder.secrets / "operator").read_text()
    setup = case.get("setup")
    if setup == "secret-id":
        secret = known.credentials[0].key_id
    elif setup == "other-secret":
        secret = twin.secret(app_named(tenant, OMNISCOPE).app_id)
    elif setup == "expired":
        secret = twin.entra.add_secret(app_id, ends=datetime(2020, 1, 1, tzinfo=UTC))
    elif setup == "object-id":
        app_id = known.object_id
    form = {"client_id": app_id, "client_secret": secret, "grant_type": "client_credentials", "scope": GRAPH_SCOPE}
    form = {key: value for key, value in {**form, **case.get("form", {})}.items() if value is not None}
    base = twin.ready["authority"].rpartition("/")[0]
    return f"{base}/{case.get('path', tenant.tenant.id)}/oauth2/v2.0/token", form


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_errors(shared_twin: Twin, case: dict[str, Any]) -> None:
    url, form = request_for(shared_twin, case)
    for code in case.get("faults", ()):
        shared_twin.sign_in_faults.refuse(code, app_id=form["client_id"])
    asked = str(uuid.uuid4())
    with session(shared_twin) as http:
        answer = http.post(url, data=form, headers={"client-request-id": asked}, timeout=20)
    body = answer.json()
    assert (answer.status_code, body["error"], body["error_codes"]) == (case["status"], case["error"], [case["code"]])
    wanted = case["text"].format(app=form.get("client_id"), tenant=load_sample().tenant.id)
    assert body["error_description"].startswith(f"AADSTS{case['code']}: ")
    assert wanted in body["error_description"]
    for part in ("Trace ID: ", "Correlation ID: ", "Timestamp: "):
        assert part in body["error_description"]
    assert set(body) == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }
    assert body["correlation_id"] == asked
    assert str(case["code"]) in body["error_uri"]
    for word in {form.get("client_secret"), form.get("client_assertion")} - {None}:
        assert str(word) not in answer.text


def test_a_planned_fault_passes(shared_twin: Twin) -> None:
    with pytest.raises(KeyError):
        shared_twin.sign_in_faults.refuse(1)
    shared_twin.sign_in_faults.refuse(90033, app_id=shared_twin.operator.app_id)
    with pytest.raises(AssertionError, match="90033"):
        token(shared_twin)
    assert token(shared_twin)


def test_the_configuration_names_the_twin_only(shared_twin: Twin) -> None:
    with session(shared_twin) as http:
        found = http.get(f"{shared_twin.ready['authority']}/v2.0/.well-known/openid-configuration", timeout=20).json()
        origin = shared_twin.ready["authority"].rpartition("/")[0]
        for key in ("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri"):
            assert found[key].startswith(origin + "/"), key
        keys = http.get(found["jwks_uri"], timeout=20).json()["keys"]
        unknown = http.get(f"{shared_twin.ready['authority']}/saml2", timeout=20)
    assert unknown.status_code == 404
    key = jwt.PyJWK.from_json(json.dumps({**keys[0], "alg": "RS256"}))
    access_token = token(shared_twin)
    assert jwt.get_unverified_header(access_token)["kid"] == keys[0]["kid"]
    assert jwt.decode(access_token, key, algorithms=["RS256"], audience="https://graph.microsoft.com")
