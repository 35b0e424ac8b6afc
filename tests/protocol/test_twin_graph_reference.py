"""The twin's Graph against Microsoft's published description of the same endpoints: paths, methods, statuses, names.

``tests/data/graph_reference.json`` holds facts of those pages with their addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exoscope.model import Snapshot
from exoscope.twin.graph.registrations import OWNED
from exoscope.twin.server import Twin
from twin_certificates import made_certificate
from twin_fixtures import OMNISCOPE, GraphCaller, app_named, load_sample, sample, serve, shared_twin, twin

__all__ = ["sample", "serve", "shared_twin", "twin"]

FACTS = json.loads((Path(__file__).parents[1] / "data" / "graph_reference.json").read_text(encoding="utf-8"))
DESCRIBED = {(each["method"], each["path"]): each for each in FACTS["endpoints"]}
AREAS = ("/applications", "/servicePrincipals", "/policies/defaultAppManagementPolicy")
NAVIGATED = {
    ("GET", "/servicePrincipals/{id}/tokenLifetimePolicies"),  # described on the token-lifetime pages
    ("GET", "/servicePrincipals/{id}/appRoleAssignments/{id}"),  # OData: one of a collection
    ("GET", "/servicePrincipals/{id}/appRoleAssignedTo/{id}"),
}


def served(twin: Twin) -> set[tuple[str, str]]:
    """Method and path of every call of these areas that the twin answers."""
    found = set()
    for rule in twin.graph._routes.iter_rules():
        path = re.sub(r"<[^>]+>", "{id}", rule.rule)
        if path.startswith(AREAS):
            found |= {(method, path) for method in (rule.methods or set()) - {"HEAD"}}
    return found


def strangers(name: str, value: Any) -> Iterator[str]:
    """Properties and values in an answer that Microsoft's pages do not know."""
    known = FACTS["types"][name]["properties"]
    for key, held in value.items():
        if key.startswith("@odata."):
            continue
        if key not in known:
            yield f"{name}.{key}"
        listed = FACTS["values"].get(f"{name}.{key}")
        if listed is not None and held is not None and held not in listed:
            yield f"{name}.{key} = {held}"
        inner = FACTS["nested"].get(f"{name}.{key}")
        for each in (held if isinstance(held, list) else [held]) if inner else ():
            yield from strangers(inner, each)


def test_the_twin_serves_what_is_described_and_nothing_else(shared_twin: Twin) -> None:
    assert served(shared_twin) - NAVIGATED == set(DESCRIBED)


def test_every_fact_has_its_source() -> None:
    sources = [each["source"] for each in (*FACTS["endpoints"], *FACTS["types"].values())]
    assert all(source.startswith("https://learn.microsoft.com/graph/api/") for source in sources)
    assert {each["answers"] for each in FACTS["endpoints"]} | {each["body"] for each in FACTS["endpoints"]} <= {
        None,
        *FACTS["types"],
    }


def test_answers_hold_described_properties_only(twin: Twin) -> None:
    """Every endpoint is called once, with every property that the twin takes; what comes back is looked at by name."""
    graph = GraphCaller(twin)
    called: set[tuple[str, str]] = set()

    def call(method: str, pattern: str, path: str, body: Any = None, query: str = "") -> Any:
        fact = DESCRIBED[method, pattern]
        if body is not None:
            assert not list(strangers(fact["body"], body)), "the test itself says what the pages know"
        answer = graph(method, path + query, body)
        assert answer.status_code == fact["status"], answer.text
        called.add((method, pattern))
        if answer.status_code == 204:
            assert not answer.content
            return None
        told = answer.json()
        rows = told.get("value", [told])
        if fact["answers"] is not None:
            assert rows
            assert not [each for row in rows for each in strangers(fact["answers"], row)]
        return told

    graph_sp = graph("GET", "/servicePrincipals(appId='00000003-0000-0000-c000-000000000000')").json()["id"]
    wanted = {"resourceAppId": "00000003-0000-0000-c000-000000000000", "resourceAccess": [{"id": MAIL, "type": "Role"}]}
    body = {"displayName": "A", "signInAudience": "AzureADMyOrg", "tags": ["t"], "notes": "n"}
    app = call("POST", "/applications", "/applications", {**body, "requiredResourceAccess": [wanted]})
    one = f"/applications/{app['id']}"
    password = {"passwordCredential": {"displayName": "s", "endDateTime": "2099-01-01T00:00:00Z"}}
    secret = call("POST", "/applications/{id}/addPassword", f"{one}/addPassword", password)
    key = {"type": "AsymmetricX509Cert", "usage": "Verify", "key": made_certificate().base64, "displayName": "c"}
    call("PATCH", "/applications/{id}", one, {"keyCredentials": [key], "tags": ["u"]})
    call("GET", "/applications/{id}", one)
    call("GET", "/applications/{id}", one, query="?$select=keyCredentials")
    call("GET", "/applications", "/applications")
    call("GET", "/applications/{id}/tokenLifetimePolicies", f"{one}/tokenLifetimePolicies")
    call("POST", "/applications/{id}/removePassword", f"{one}/removePassword", {"keyId": secret["keyId"]})
    principal = call("POST", "/servicePrincipals", "/servicePrincipals", {"appId": app["appId"], "tags": ["t"]})
    mine = f"/servicePrincipals/{principal['id']}"
    call("GET", "/servicePrincipals/{id}", mine)
    call("GET", "/servicePrincipals", "/servicePrincipals")
    for side, path in (("appRoleAssignments", mine), ("appRoleAssignedTo", f"/servicePrincipals/{graph_sp}")):
        grant = {"principalId": principal["id"], "resourceId": graph_sp, "appRoleId": MAIL}
        made = call("POST", f"/servicePrincipals/{{id}}/{side}", f"{path}/{side}", grant)
        call("GET", f"/servicePrincipals/{{id}}/{side}", f"{path}/{side}")
        call("DELETE", f"/servicePrincipals/{{id}}/{side}/{{id}}", f"{path}/{side}/{made['id']}")
    call("GET", "/policies/defaultAppManagementPolicy", "/policies/defaultAppManagementPolicy")
    call("DELETE", "/servicePrincipals/{id}", mine)
    call("DELETE", "/applications/{id}", one)
    assert called == set(DESCRIBED)


MAIL = "810c84a8-4a9e-49e6-bf7d-12d183f40d01"


@pytest.mark.parametrize("fact", [each for each in FACTS["endpoints"] if each["method"] != "GET"], ids=str)
def test_writes_need_a_permission_that_the_page_names(
    shared_twin: Twin, sample: Snapshot, fact: dict[str, Any]
) -> None:
    """An app without it is refused; the operator's own, which the call is let through with, stands on the page."""
    app = app_named(sample, OMNISCOPE)
    path = fact["path"].replace("{id}", app.object_id if "servicePrincipals" in fact["path"] else "none", 1)
    refused = GraphCaller(shared_twin, app.app_id)(fact["method"], path.replace("{id}", "none"), {})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "Authorization_RequestDenied")
    assert set(fact["permissions"]) & {*shared_twin.operator.graph_roles, OWNED}


def test_the_sample_s_own_answers_hold_described_properties_only(shared_twin: Twin) -> None:
    graph = GraphCaller(shared_twin)
    assert load_sample().apps
    for row in graph.every("/servicePrincipals"):
        assert not list(strangers("servicePrincipal", row))
        for held in graph.every(f"/servicePrincipals/{row['id']}/appRoleAssignments"):
            assert not list(strangers("appRoleAssignment", held))
    for row in graph.every("/applications"):
        assert not list(strangers("application", row))
