"""The admin API's client against answers made of data: errors, odd answers, pages, redirects, Select-Object, plain values."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import requests

from adminapi_wire import (
    ERRORS,
    FRONT,
    GET,
    HERE,
    MODULE,
    ORGANIZATION,
    PROFILE,
    REMOVE,
    ROOT,
    THERE,
    Answer,
    Open,
    Wire,
    connect,
    rows,
)
from exoscope import outcome
from exoscope.exchange.adminapi import envelope
from exoscope.exchange.adminapi_http import AdminApi
from exoscope.exchange.selecting import needed, plain_rows, select, selections
from exoscope.model import Secret
from exoscope.outcome import (
    BadInput,
    Deadline,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.powershell import read
from exoscope.profile import loads_profile

__all__ = ["connect"]


def test_what_is_sent(connect: Open) -> None:
    session, wire, _ = connect((204, {}, None))
    session.run("Set-ManagementRoleAssignment -Identity 'x' -Enabled $false -Confirm:$false -Force")
    method, url, headers, body = wire.sent[-1]
    assert (method, url) == ("POST", ROOT)
    parameters = {"Identity": "x", "Enabled": False, "Confirm": False, "Force": True}
    assert body == {"CmdletInput": {"CmdletName": "Set-ManagementRoleAssignment", "Parameters": parameters}}
    assert headers["Authorization"] == "Bearer the-token"
    assert headers["X-AnchorMailbox"] == f"APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{HERE}"
    assert headers["X-CmdletName"] == "Set-ManagementRoleAssignment"
    assert headers["Prefer"] == "odata.maxpagesize=1000"
    assert headers["X-ResponseFormat"] == "json"
    assert headers["client-request-id"] != wire.sent[-2][2]["client-request-id"]
    assert headers["connection-id"] == wire.sent[-2][2]["connection-id"]
    session, wire, _ = connect(user="ada@contoso.com")
    assert wire.sent[-1][2]["X-AnchorMailbox"] == "UPN:ada@contoso.com"


def test_values_in_the_envelope() -> None:
    operation = read("New-DistributionGroup -Name 'a' -Members @('b', 'c') -IgnoreNamingPolicy -Notes $null")[0][0]
    given = envelope(operation)["CmdletInput"]["Parameters"]  # type: ignore[index]  # an object of JSON
    assert given == {"Name": "a", "Members": ["b", "c"], "IgnoreNamingPolicy": True, "Notes": None}
    table = type(operation)("Set-X", {"Values": {"Add": ("a", "b")}})
    assert envelope(table)["CmdletInput"]["Parameters"] == {  # type: ignore[index]  # likewise
        "Values": {"@odata.type": "#Exchange.GenericHashTable", "Add": ["a", "b"]}
    }
    with pytest.raises(BadInput):
        envelope(type(operation)("Set-X", {"Values": {"@odata.type": "#Other"}}))


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: str(case["name"]))
def test_errors_are_typed(connect: Open, case: dict[str, Any]) -> None:
    content = case["raw"].encode() if "raw" in case else case.get("body")
    answer = (case["status"], {"request-id": "the-request", **case.get("headers", {})}, content)
    session, wire, _ = connect(answer)
    with pytest.raises(ServiceError) as error:
        session.run(REMOVE)
    assert type(error.value) is getattr(outcome, case["kind"])
    assert case.get("words", "") in error.value.message
    assert case.get("next", "") in error.value.next
    assert case.get("code", error.value.code) == error.value.code
    assert error.value.retry_after == case.get("after")
    assert error.value.request_id == "the-request"
    assert not wire.answers
    assert len(wire.sent) == 3, "a write is sent once"


LINK = f"{ROOT}?$skiptoken=2"


def test_pages_are_posted_for_with_the_same_body(connect: Open) -> None:
    session, wire, _ = connect(rows({"Name": "a"}, link=LINK), rows({"Name": "b"}))
    assert [row["Name"] for row in session.run(GET).rows] == ["a", "b"]
    first, second = wire.sent[-2:]
    assert (second[0], second[1]) == ("POST", LINK)
    assert second[3] == first[3]
    assert {k: v for k, v in second[2].items() if k != "client-request-id"} == {
        k: v for k, v in first[2].items() if k != "client-request-id"
    }


def test_a_later_page_that_is_busy_is_asked_for_again_by_itself(connect: Open) -> None:
    busy = (503, {"Retry-After": "3"}, None)
    session, wire, clock = connect(rows({"Name": "a"}, link=LINK), busy, rows({"Name": "b"}))
    assert len(session.run(GET).rows) == 2
    assert clock.slept == [3.0]
    assert [url for _, url, _, _ in wire.sent[-3:]] == [ROOT, LINK, LINK]


@pytest.mark.parametrize("failing", [(400, {}, {"error": {"message": "x couldn't be found"}}), (403, {}, None)])
def test_a_later_page_that_fails_is_an_error_and_never_a_short_list(connect: Open, failing: Answer) -> None:
    begun = rows({"Name": "a"}, link=LINK)
    session, _, _ = connect(*([begun, failing] * 4))
    with pytest.raises(Transient, match="a later page failed"):
        session.run(GET)
    session, wire, _ = connect(begun, failing, begun, rows({"Name": "b"}))
    assert len(session.run(GET).rows) == 2, "the read begins anew"
    assert not wire.answers


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/adminapi/beta/x/InvokeCommand",
        "https://outlook.office365.com.evil.example/",
        f"https://user:pw@outlook.office365.com/adminapi/beta/{HERE}/InvokeCommand",
        f"http://outlook.office365.com/adminapi/beta/{HERE}/InvokeCommand",
        f"https://outlook.office365.com:444/adminapi/beta/{HERE}/InvokeCommand",
        f"https://outlook.office365.com/adminapi/beta/{THERE}/InvokeCommand?$skiptoken=1",
        f"https://x.outlook.office365.com/adminapi/beta/{HERE}/InvokeCommand?$skiptoken=1",
        "https://[broken",
        "/relative",
    ],
)
def test_the_token_follows_no_link_elsewhere(connect: Open, link: str) -> None:
    session, wire, _ = connect(rows({"Name": "a"}, link=link), rows({"Name": "b"}))
    with pytest.raises(ServiceError):
        session.run(GET)
    assert len(wire.answers) == 1
    assert all(url.startswith(FRONT) for _, url, _, _ in wire.sent)


def test_the_same_page_again_and_again_ends(connect: Open) -> None:
    session, _, _ = connect(*[rows({"Name": "a"}, link=LINK)] * 3)
    with pytest.raises(ServiceError, match="same page"):
        session.run(GET)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, {}, None), ServiceError),
        ((204, {}, None), ServiceError),
        ((200, {}, {}), ServiceError),
        ((200, {}, {"value": {"Name": "a"}}), ServiceError),
        ((200, {}, {"value": ["a"]}), ServiceError),
        ((200, {}, {"value": [], "@odata.nextLink": 7}), ServiceError),
        ((200, {}, {"value": [{"Name": {"a": 1}}]}), ServiceError),
        ((200, {}, {"value": [{"Name": [["a"]]}]}), ServiceError),
        ((200, {}, b"<html>"), Transient),
        ((200, {}, {"value": [], "error": {"message": "odd"}}), Transient),
    ],
)
def test_an_odd_answer_to_a_read_is_never_an_empty_list(
    connect: Open, answer: Answer, kind: type[ServiceError]
) -> None:
    session, _, _ = connect(*[answer] * 4)
    with pytest.raises(kind) as error:
        session.run(GET)
    assert type(error.value) is kind
    session, _, _ = connect(rows())
    assert session.run(GET).rows == ()


def test_errors_beside_rows_are_errors(connect: Open) -> None:
    """The answer is a success; its rows are not all there are."""
    text = "|Microsoft.Exchange.Data.Directory.ADTransientException|Der Dienst ist nicht da."
    partly = (200, {}, {"value": [{"Name": "a"}], "@adminapi.errors": [text]})
    session, _, _ = connect(partly, rows({"Name": "a"}, {"Name": "b"}))
    assert [row["Name"] for row in session.run(GET).rows] == ["a", "b"], (
        "asked again, as a read is that fails in passing"
    )
    gone = "Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException|x"
    session, _, _ = connect((200, {}, {"@adminapi.errors": [gone], "value": []}))
    with pytest.raises(ObjectNotFound):
        session.run(REMOVE)


def test_a_write_may_answer_nothing_but_nothing_odd(connect: Open) -> None:
    for good in (
        (204, {}, None),
        (200, {}, None),
        (200, {}, b"\0\0\0"),
        (200, {}, {"@odata.context": "x"}),
        rows({"A": 1}),
    ):
        session, _, _ = connect(good)
        assert session.run(REMOVE).rows == ()
    for odd in ((200, {}, b"<html>"), (200, {}, {"error": {"message": "odd"}})):
        session, wire, _ = connect(odd)
        with pytest.raises(Transient):
            session.run(REMOVE)
        assert len(wire.sent) == 3
    session, _, _ = connect((200, {}, {"@adminapi.warnings": ["mind"]}))
    assert session.run(REMOVE).warnings == ("mind",)


def test_a_tenant_of_another_region_is_followed_within_the_cloud_only(connect: Open) -> None:
    moved = (302, {"Location": "https://nam10.outlook.office365.com/AdminApi/v1.0/x"}, None)
    session, wire, _ = connect(rows(), opening=(moved, MODULE, ORGANIZATION))
    session.run(GET)
    hosts = [url.split("/")[2] for _, url, _, _ in wire.sent]
    assert hosts == ["outlook.office365.com", *["nam10.outlook.office365.com"] * 3]
    for place in (
        "https://evil.example/",
        "https://evil-outlook.office365.com/",
        "https://outlook.office365.com.evil.example/",
        "http://nam10.outlook.office365.com/",
        "https://nam10.outlook.office365.com:8443/",
        "https://a@nam10.outlook.office365.com/",
        "https://nam10.outlook.office365.us/",
    ):
        with pytest.raises(ServiceError) as error:
            connect(opening=((302, {"Location": place}, None), MODULE, ORGANIZATION))
        assert error.value.code == "foreign-origin", place
    with pytest.raises(ServiceError, match="host to host"):
        connect(opening=tuple([(307, {"Location": "/again"}, None)] * 3))


def test_with_endpoints_of_its_own_the_profile_alone_says_where(connect: Open) -> None:
    own = '\n[endpoints]\nauthority = "https://login.test"\ngraph = "https://graph.test"\nexchange = "https://exchange.test:8443"\n'
    _, wire, _ = connect(more=own)
    assert wire.sent[-1][1] == f"https://exchange.test:8443/adminapi/beta/{HERE}/InvokeCommand"
    for place in ("https://nam.exchange.test/", "https://exchange.test/", FRONT):
        with pytest.raises(ServiceError) as error:
            connect(more=own, opening=((302, {"Location": place}, None), MODULE, ORGANIZATION))
        assert error.value.code == "foreign-origin", place


def test_the_tenant_is_proven_or_nothing_runs(connect: Open) -> None:
    domain = connect(tenant="contoso.com")[0]
    assert domain.tenant_id == HERE
    for found in (rows(), rows({"Name": "x"}), rows({"ExternalDirectoryOrganizationId": THERE})):
        with pytest.raises(WrongTenant):
            connect(opening=(MODULE, found))
    two = rows({"ExternalDirectoryOrganizationId": HERE}, {"ExternalDirectoryOrganizationId": THERE})
    with pytest.raises(WrongTenant):
        connect(opening=(MODULE, two))
    for issuer in (None, THERE, "contoso"):
        with pytest.raises(WrongTenant):
            connect(tenant_id=issuer)
    with pytest.raises(WrongTenant):
        connect(tenant="contoso.com", tenant_id="contoso")


def test_opening_waits_for_a_busy_service_and_tells_a_refused_token(connect: Open) -> None:
    _, _, clock = connect(opening=((503, {"Retry-After": "4"}, None), MODULE, ORGANIZATION))
    assert clock.slept == [4.0]
    for opening in (((401, {}, None),) * 2, (MODULE, (401, {}, None)) * 2):
        with pytest.raises(SignInFailed, match="refused the operator's token") as refused:
            connect(opening=opening)
        assert "Exchange.ManageAsApp" in refused.value.next
    for refused_once in ((401, {}, None), MODULE), (MODULE, (401, {}, None), MODULE):
        _, wire, _ = connect(opening=(*refused_once, ORGANIZATION))
        assert {headers["Authorization"] for _, _, headers, _ in wire.sent} == {
            "Bearer the-token",
            "Bearer a-new-token",
        }
        assert wire.sent[-1][2]["Authorization"] == "Bearer a-new-token"
    with pytest.raises(Transient, match="no session"):
        connect(opening=(MODULE, requests.exceptions.ConnectionError("gone")))
    with pytest.raises(Throttled):
        connect(opening=tuple([(429, {}, None)] * 4))


def test_a_refused_token_and_a_cut_connection_open_the_session_anew_for_a_read(connect: Open) -> None:
    for lost in ((401, {}, None), requests.exceptions.ConnectionError("gone"), (302, {}, None)):
        session, wire, _ = connect(lost, MODULE, ORGANIZATION, rows({"Name": "a"}))
        assert session.run(GET).rows
        assert not wire.answers
        session, wire, _ = connect(lost)
        with pytest.raises(LostSession):
            session.run(REMOVE)


def test_a_body_that_cannot_be_decompressed_is_asked_for_as_it_is(connect: Open) -> None:
    broken = requests.exceptions.ContentDecodingError("incorrect header check")
    api = AdminApi(
        loads_profile(f'tenant = "{HERE}"{PROFILE}'.encode(), Path("exoscope.toml")), HERE, Secret("t"), None
    )
    wire = Wire([broken, rows()])
    api._http.mount("https://", wire)
    with pytest.raises(LostSession):
        api.post("Get-X", {}, size=1, deadline=5)
    api.post("Get-X", {}, size=1, deadline=5)
    assert [headers["Accept-Encoding"] for _, _, headers, _ in wire.sent] == ["gzip, deflate", "identity"]


class Drip:
    """A body that never ends and is never silent for long."""

    def read(self, size: int) -> bytes:
        time.sleep(0.05)
        return b" "

    def close(self) -> None:
        pass


def test_an_answer_that_drips_ends_at_the_deadline(connect: Open) -> None:
    session, _, _ = connect((200, {}, Drip()))
    began = time.monotonic()
    with pytest.raises(Deadline):
        session.run(REMOVE, deadline=0.3)
    assert time.monotonic() - began < 3


def test_batches(connect: Open) -> None:
    good = {"id": "0", "status": 200, "headers": {}, "body": {"value": [{"Name": "a"}]}}
    absent = {"id": "1", "status": 400, "body": {"error": {"message": "x couldn't be found"}}}
    session, wire, _ = connect((200, {}, {"responses": [absent, good]}))
    found = session.run_each([GET, GET])
    assert found[0].rows[0]["Name"] == "a"
    assert isinstance(found[1], ObjectNotFound)
    _, url, headers, body = wire.sent[-1]
    assert url.endswith(f"/adminapi/beta/{HERE}/$batch")
    assert "X-AnchorMailbox" in headers
    assert "Authorization" not in body["requests"][0]["headers"]
    # an answer that is missing, double or foreign says nothing: each is asked for by itself
    for responses in ([good], [good, good], [good, {**absent, "id": "7"}], "odd"):
        session, wire, _ = connect((200, {}, {"responses": responses}), rows({"Name": "a"}), rows({"Name": "b"}))
        assert [each.rows[0]["Name"] for each in session.run_each([GET, GET])] == ["a", "b"]
        assert not wire.answers
    assert session.run_each([]) == ()


def test_select_object_as_powershell_does_it() -> None:
    def chosen(script: str, *found: dict[str, Any]) -> tuple[Any, ...]:
        return select(found, selections(read(script)[0][1:]))

    a, b = {"Name": "a", "Guid": 1}, {"Name": "b", "Guid": 2}
    assert chosen("Get-ManagementScope", a) == (a,)
    assert chosen("Get-ManagementScope | Select-Object -Property 'name'", a) == ({"Name": "a"},)
    assert chosen("Get-ManagementScope | Select-Object -Property @('Guid', 'Name')", a) == ({"Guid": 1, "Name": "a"},)
    assert chosen("Get-ManagementScope | Select-Object -First 1", a, b) == (a,)
    assert chosen("Get-ManagementScope | Select-Object -First 0", a, b) == ()
    two = "Get-ManagementScope | Select-Object -Property 'NAME' -First 2 | Select-Object -Property 'name' -First 1"
    assert chosen(two, a, b) == ({"Name": "a"},)
    # not sent is not null
    assert chosen("Get-ManagementScope | Select-Object -Property @('Name', 'Absent')", a) == ({"Name": "a"},)


def test_values_are_as_plain_as_in_batches() -> None:
    (row,) = plain_rows(
        [
            {
                "@odata.etag": "x",
                "WhenCreated@data.type": "System.DateTime",
                "WhenCreated": "2026-11-23T10:00:00.5+01:00",
                "Later": "2026-11-23T10:00:00Z",
                "Later@odata.type": "#DateTimeOffset",
                "Local": "2026-11-23T10:00:00",
                "Local@data.type": "System.DateTime",
                "Text": "2026-11-23T10:00:00Z",
                "List@odata.type": "#Collection(String)",
                "List": ["a", None, True, 7],
                "Null": None,
                "Flag": False,
                "Number": 7,
            }
        ]
    )
    assert row == {
        "WhenCreated": "2026-11-23T09:00:00.5000000Z",
        "Later": "2026-11-23T10:00:00.0000000Z",
        "Local": "2026-11-23T10:00:00",
        "Text": "2026-11-23T10:00:00Z",
        "List": ["a", "True", "7"],
        "Null": None,
        "Flag": False,
        "Number": 7,
    }


def test_columns_that_nobody_asked_for_are_not_looked_at() -> None:
    rows = [{"Name": "a", "Odd": {"an": "object"}}, {"name": "b", "More": [{}], "Guid": "g"}, {}]
    chain = selections(read("Get-ManagementScope | Select-Object -Property @('NAME', 'guid')")[0][1:])
    assert select(plain_rows(rows, needed(chain)), chain) == ({"Name": "a"}, {"name": "b", "Guid": "g"}, {})
    assert needed(selections(())) is None
    for odd in rows[:2]:
        with pytest.raises(ServiceError, match="object"):
            plain_rows([odd])


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_a_session_that_was_ended_asks_nothing_more(connect: Open, end: str) -> None:
    session, wire, _ = connect()
    getattr(session, end)()
    sent = len(wire.sent)
    with pytest.raises(LostSession, match="closed"):
        session.run(GET)
    assert len(wire.sent) == sent
