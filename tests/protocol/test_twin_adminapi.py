"""The twin's admin API by plain requests: envelope, pages, errors, refusals, batches, faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from exoscope.catalog import EXCHANGE
from exoscope.model import Snapshot
from exoscope.twin.adminapi import ANCHOR, LINK_SECONDS
from exoscope.twin.exchange.call import not_found
from exoscope.twin.server import Twin
from twin_fixtures import TurnedClock, sample, serve, session, shared_twin, token, twin

__all__ = ["sample", "serve", "shared_twin", "twin"]

SCOPE = "https://outlook.office365.com/.default"


class Caller:
    """InvokeCommand as a plain client sends it."""

    def __init__(self, twin: Twin, app_id: str | None = None) -> None:
        self.twin = twin
        self.base = twin.ready["admin_api"]
        self.http = session(twin)
        self.headers = {
            "Authorization": f"Bearer {token(twin, app_id, scope=SCOPE)}",
            "X-AnchorMailbox": f"APP:{ANCHOR}@{twin.tenant.state.tenant.id}",
            "X-ResponseFormat": "json",
        }

    def post(self, path: str, body: Any, **headers: Any) -> requests.Response:
        url = path if path.startswith("https://") else self.base + path
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer: requests.Response = self.http.post(url, json=body, headers=sent, timeout=20)
        return answer

    def __call__(self, cmdlet: str, parameters: dict[str, Any] | None = None, **headers: Any) -> requests.Response:
        return self.post("/InvokeCommand", envelope(cmdlet, parameters), **headers)


def envelope(cmdlet: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"CmdletInput": {"CmdletName": cmdlet, "Parameters": parameters or {}}}


def names(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["Name"] for row in answer.json()["value"]]


def three_parts(answer: requests.Response) -> list[str]:
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["details"][0]["message"]).split("|", 2)


def test_rows_have_companions_and_switches_are_booleans(shared_twin: Twin) -> None:
    caller = Caller(shared_twin)
    answer = caller("get-recipient", {"resultsize": "Unlimited"})
    row = answer.json()["value"][0]
    assert row["EmailAddresses@odata.type"] == "#Collection(String)"
    assert isinstance(row["EmailAddresses"], list)
    assert (row["Guid@data.type"], row["Guid@odata.type"]) == ("System.Guid", "#Guid")
    assert not any(name.startswith("ExternalDirectoryObjectId@") for name in row), "an id that is a text there"
    assert "@odata.nextLink" not in answer.json()
    assert (answer.json()["adminapi.warnings@odata.type"], answer.json()["@adminapi.warnings"]) == (
        "#Collection(String)",
        [],
    )
    found = caller("Get-OrganizationConfig").json()["value"][0]
    assert found["ExternalDirectoryOrganizationId"] == shared_twin.tenant.state.tenant.id
    assert found["EnforceExoAppRbacPermissions"] is False


def test_a_write_changes_the_same_tenant_and_answers_without_rows(twin: Twin) -> None:
    caller = Caller(twin)
    made = caller(
        "New-ManagementScope", {"Name": "Fresh", "RecipientRestrictionFilter": "Department -eq 'Sales'", "Force": True}
    )
    assert made.status_code in (200, 204), made.text
    assert "Fresh" in names(caller("Get-ManagementScope"))
    assert any(change.what == "New-ManagementScope: Fresh" for change in twin.tenant.log)
    removed = caller("Remove-ManagementScope", {"Identity": "Fresh", "Confirm": False})
    assert (removed.status_code, removed.content) == (204, b"")
    assert "Fresh" not in names(caller("Get-ManagementScope"))


def test_errors_stand_in_three_parts(shared_twin: Twin) -> None:
    caller = Caller(shared_twin)
    answer = caller("Remove-ManagementScope", {"Identity": "Absent", "Confirm": False})
    code, kind, text = three_parts(answer)
    assert code == "Ex6F9304"
    assert answer.json()["error"]["code"] == "NotFound"
    assert kind == "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException"
    assert "couldn't be found" in text
    assert answer.headers["X-ExceptionType"] == "ManagementObjectNotFoundException"
    assert answer.json()["error"]["innererror"]["internalexception"]["message"] == text


@pytest.mark.parametrize(
    ("cmdlet", "parameters", "kind"),
    [
        ("Get-Process", {}, "CommandNotFoundException"),
        ("Get-ConnectionInformation", {}, "CommandNotFoundException"),
        ("Get-ManagementScope; Get-Recipient", {}, "ParameterBindingException"),
        ("Get-ManagementScope", {"Nonsense": 1}, "ParameterBindingException"),
        ("Get-ManagementScope", {"Identity -Exclusive": "x"}, "ParameterBindingException"),
        ("Get-ManagementScope", {"Exclusive": "yes"}, "ParameterBindingException"),
        ("New-ManagementScope", {"Name": "x"}, "ParameterBindingException"),
        ("Get-ManagementScope", {"Identity": {"a": "b"}}, "ParameterBindingException"),
    ],
)
def test_the_envelope_is_held_to_what_the_cmdlet_takes(
    shared_twin: Twin, cmdlet: str, parameters: dict[str, Any], kind: str
) -> None:
    assert three_parts(Caller(shared_twin)(cmdlet, parameters))[1].endswith(kind)


def test_values_are_data(twin: Twin) -> None:
    caller = Caller(twin)
    hostile = "a’; Remove-ManagementScope -Identity 'b' #\n--%"
    made = caller("New-ManagementScope", {"Name": hostile, "RecipientRestrictionFilter": "City -eq 'x'"})
    assert made.ok, made.text
    assert hostile in names(caller("Get-ManagementScope"))


def many(sample: Snapshot, count: int) -> Snapshot:
    """The sample with so many further management scopes."""
    scopes = sample.management_scopes
    assert isinstance(scopes, tuple)
    further = tuple(msgspec.structs.replace(scopes[0], name=f"scope {number:05}") for number in range(count))
    return msgspec.structs.replace(sample, management_scopes=(*scopes, *further))


def test_pages_are_posted_for_with_the_same_body(serve: Callable[..., Twin], sample: Snapshot) -> None:
    clock = TurnedClock()
    twin = serve(many(sample, 2100), clock=clock, token_lifetime=36000.0)
    caller, body = Caller(twin), envelope("Get-ManagementScope")
    pages = [caller.post("/InvokeCommand", body)]
    while link := pages[-1].json().get("@odata.nextLink"):
        pages.append(caller.post(link, body))
        assert caller.post(link, body).json() == pages[-1].json(), "a page can be asked for again"
    sizes = [len(page.json()["value"]) for page in pages]
    assert sizes[:2] == [1000, 1000]
    found = [row["Name"] for page in pages for row in page.json()["value"]]
    assert len(found) == len(set(found)) == sum(sizes)

    link = pages[0].json()["@odata.nextLink"]
    assert link.startswith(twin.ready["admin_api"])
    assert caller.post(link, envelope("Get-ManagementRole")).status_code == 400
    assert caller.post(link.replace("skiptoken=", "skiptoken=0"), body).status_code == 400
    assert caller.http.get(link, headers=caller.headers, timeout=20).status_code == 405
    clock.sleep(LINK_SECONDS + 1)
    late = caller.post(link, body)
    assert late.status_code == 400
    told = late.json()["error"]["innererror"]["internalexception"]["message"]
    assert told == "Expired or Invalid pagination request. Default Expiry time is 00:30:00"
    small = caller.post("/InvokeCommand", body, Prefer="odata.maxpagesize=7")
    assert len(small.json()["value"]) == 7
    large = caller.post("/InvokeCommand", body, Prefer="odata.maxpagesize=5000")
    assert len(large.json()["value"]) == 1000


def test_warnings_stand_beside_the_rows(serve: Callable[..., Twin], sample: Snapshot) -> None:
    assert isinstance(sample.recipients, tuple)
    extra = tuple(
        msgspec.structs.replace(
            sample.recipients[0],
            guid=f"00000000-0000-0000-0000-{number:012}",
            external_directory_object_id=f"00000000-0000-0000-0001-{number:012}",
            primary_smtp_address=f"u{number}@contoso.com",
            email_addresses=(f"u{number}@contoso.com",),
            distinguished_name=f"CN=u{number},DC=x",
        )
        for number in range(1001)
    )
    twin = serve(msgspec.structs.replace(sample, recipients=(*sample.recipients, *extra)))
    answer = Caller(twin)("Get-Recipient").json()
    assert len(answer["value"]) == 1000
    assert "@odata.nextLink" not in answer
    assert "increase the value for the ResultSize" in answer["@adminapi.warnings"][0]


def test_tokens_and_roles(twin: Twin) -> None:
    caller = Caller(twin)
    for value in ("", "Bearer nonsense", "Basic " + token(twin, scope=SCOPE), f"Bearer {token(twin)}"):
        refused = caller("Get-ManagementScope", Authorization=value)
        assert (refused.status_code, refused.content) == (401, b"")
    apps = twin.tenant.state.apps
    assert isinstance(apps, tuple)
    with_secret = next(app.app_id for app in apps if app.app_id in twin.ready["secrets"])
    other = Caller(twin, with_secret)("Get-ManagementScope")
    assert (other.status_code, other.content) == (403, b"")
    assert "x-ms-diagnostics" not in other.headers
    elsewhere = caller.base.replace(twin.tenant.state.tenant.id, "00000000-0000-0000-0000-00000000beef")
    assert caller.post(elsewhere + "/InvokeCommand", envelope("Get-ManagementScope")).status_code == 403


def test_a_timeout_comes_behind_the_work_or_before_it(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(sample)
    caller = Caller(twin)
    new = {"Name": "Slow", "RecipientRestrictionFilter": "Department -eq 'S'"}
    twin.faults.time_out("New-ManagementScope", act=False)
    twin.faults.time_out("New-ManagementScope")
    for done in (0, 1):
        late = caller("New-ManagementScope", new)
        assert (late.status_code, late.content) == (504, b"")
        assert len([change for change in twin.tenant.log if "Slow" in change.what]) == done
    twin.entra.tokens.end_all(EXCHANGE)
    assert caller("Get-ManagementScope").status_code == 401
    assert Caller(twin)("Get-ManagementScope").status_code == 200


def test_an_error_after_rows_stands_beside_them_in_a_success(twin: Twin) -> None:
    twin.faults.fail_after_rows("Get-ManagementScope", not_found("a scope"))
    answer = Caller(twin)("Get-ManagementScope")
    assert len(names(answer)) == 4
    (text,) = answer.json()["@adminapi.errors"]
    assert text.startswith("Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException|")


def test_times_say_that_they_are(serve: Callable[..., Twin], sample: Snapshot) -> None:
    assert isinstance(sample.recipients, tuple)
    first = msgspec.structs.replace(sample.recipients[0], attributes={"WhenCreated": "2025-03-01T10:30:00Z"})
    twin = serve(msgspec.structs.replace(sample, recipients=(first,), attributes_read=("WhenCreated",)))
    row = Caller(twin)("Get-Mailbox").json()["value"][0]
    assert (row["WhenCreated"], row["WhenCreated@data.type"]) == ("2025-03-01T10:30:00.0000000Z", "System.DateTime")


def test_what_was_not_read_is_a_403_whose_reason_is_a_header(serve: Callable[..., Twin], sample: Snapshot) -> None:
    twin = serve(msgspec.structs.replace(sample, access_policies=msgspec.UNSET))
    refused = Caller(twin)("Get-ApplicationAccessPolicy")
    assert refused.status_code == 403
    assert set(refused.content) == {0}
    assert "access_policies" in refused.headers["x-ms-diagnostics"]


def test_the_anchor_mailbox_and_the_format_are_checked(shared_twin: Twin) -> None:
    caller = Caller(shared_twin)
    by_upn = f"UPN:{ANCHOR}@{shared_twin.tenant.state.tenant.domain}"
    assert caller("Get-ManagementScope", X_AnchorMailbox=by_upn).status_code == 200
    for anchor in (None, "UPN:someone@contoso.com", f"APP:{ANCHOR}@00000000-0000-0000-0000-00000000beef"):
        assert caller("Get-ManagementScope", X_AnchorMailbox=anchor).status_code == 400
    assert caller("Get-ManagementScope", X_CmdletName="Get-Recipient").status_code == 400
    refused = three_parts(caller("Get-ManagementScope", X_ResponseFormat="xml"))
    assert refused[1] == "System.NotImplementedException"
    assert caller.post("/InvokeCommand?$filter=x", envelope("Get-ManagementScope")).status_code == 400
    assert caller.post("/InvokeCommand", ["no envelope"]).status_code == 400
    assert caller.post("/Elsewhere", {}).status_code == 404
    plain = caller.http.post(
        caller.base + "/InvokeCommand", data="{}", headers={**caller.headers, "Content-Type": "text/plain"}, timeout=20
    )
    assert plain.status_code == 415


def test_a_batch_answers_each_of_up_to_ten(shared_twin: Twin) -> None:
    caller = Caller(shared_twin)
    path = caller.base.partition("/adminapi")[2]

    def entry(number: int, cmdlet: str, **headers: str) -> dict[str, Any]:
        return {
            "id": str(number),
            "method": "POST",
            "url": f"/adminapi{path}/InvokeCommand",
            "headers": {"Content-Type": "application/json", **headers},
            "body": envelope(cmdlet),
        }

    asked = [
        entry(1, "Get-ManagementRole"),
        entry(2, "Get-Nonsense"),
        entry(3, "Get-Recipient", Prefer="odata.maxpagesize=3"),
    ]
    answer = caller.post("/$batch", {"requests": asked})
    assert answer.status_code == 200, answer.text
    by_id = {each["id"]: each for each in answer.json()["responses"]}
    assert {key: each["status"] for key, each in by_id.items()} == {"1": 200, "2": 400, "3": 200}
    assert len(by_id["3"]["body"]["value"]) == 3
    following = caller.post(by_id["3"]["body"]["@odata.nextLink"], envelope("Get-Recipient"))
    assert following.json()["value"]
    assert caller.post("/$batch", {"requests": [entry(n, "Get-ManagementRole") for n in range(11)]}).status_code == 400
    twice = [entry(1, "Get-ManagementRole"), entry(1, "Get-ManagementRole")]
    assert caller.post("/$batch", {"requests": twice}).status_code == 400


def test_the_module_file_names_the_cmdlets_of_the_caller(shared_twin: Twin) -> None:
    caller = Caller(shared_twin)
    url = caller.base.replace("/adminapi/beta/", "/AdminApi/v1.0/") + "/EXOModuleFile"
    answer = caller.http.get(url, params={"Version": "3.9.2"}, headers=caller.headers, timeout=20)
    exported = answer.json()["value"][0]["exportedCmdlets"].split(",")
    assert {"Get-Recipient", "New-ManagementScope"} <= set(exported)
    assert "Get-ConnectionInformation" not in exported
    shared_twin.admin_api._read_only = lambda app_id: True
    try:
        reads = caller.http.get(url, params={"Version": "3.9.2"}, headers=caller.headers, timeout=20).json()
        assert {name[:4] for name in reads["value"][0]["exportedCmdlets"].split(",")} == {"Get-", "Test"}
        refused = caller("Remove-ManagementScope", {"Identity": "x"})
        assert three_parts(refused)[1].endswith("CommandNotFoundException")
    finally:
        shared_twin.admin_api._read_only = lambda app_id: False
    assert caller.http.get(url, headers=caller.headers, timeout=20).status_code == 400


def test_faults_on_this_road(twin: Twin) -> None:
    caller = Caller(twin)
    twin.faults.throttle("Get-ManagementScope")
    throttled = caller("Get-ManagementScope")
    assert (throttled.status_code, throttled.headers["Retry-After"]) == (429, "1")
    twin.faults.http_status(503)
    busy = caller("Get-ManagementScope")
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    before = len(twin.tenant.log)
    twin.faults.drop("New-ManagementScope", act=True)
    with pytest.raises(requests.exceptions.ConnectionError):
        caller("New-ManagementScope", {"Name": "Fresh", "RecipientRestrictionFilter": "City -eq 'x'"})
    assert len(twin.tenant.log) == before + 1
    assert "Fresh" in names(caller("Get-ManagementScope"))


def test_one_port_for_all_services_serves_it_too(serve: Callable[..., Twin], sample: Snapshot, tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    twin = serve(sample, port=port)
    assert f":{port}/adminapi/beta/" in twin.ready["admin_api"]
    http = session(twin)
    refused = http.post(twin.ready["admin_api"] + "/InvokeCommand", json={}, timeout=20)
    assert refused.status_code == 401


def test_recipients_by_property_name(shared_twin: Twin) -> None:
    caller = Caller(shared_twin)
    body = envelope("Get-Recipient", {"ResultSize": "Unlimited"})
    whole = caller.post("/InvokeCommand", body).json()["value"]
    few = caller.post("/InvokeCommand?$select=guid,EmailAddresses", body).json()["value"]
    names = ("Guid@data.type", "Guid@odata.type", "Guid", "EmailAddresses@odata.type", "EmailAddresses")
    assert few == [{name: row[name] for name in names} for row in whole]
    assert caller.post("/InvokeCommand?$select=Guid,NoSuchThing", body).status_code >= 400
    assert caller.post("/InvokeCommand?$select=Name", envelope("Get-ManagementScope")).status_code >= 400
