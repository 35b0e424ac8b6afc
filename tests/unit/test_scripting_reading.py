"""Scripts that only read: what stands in them, what the guard takes, and results read whole or not at all."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exoscope import opath
from exoscope.catalog import EXCHANGE, GRAPH
from exoscope.entra.paths import PATHS
from exoscope.exchange import recipients
from exoscope.model import Addresses, Gate, IntentScope, Plan, Prove, Stage
from exoscope.outcome import BadInput, GuardRefused, ObjectNotFound, Refused, ServiceError, WrongTenant
from exoscope.powershell import render_guarded, template_dir
from exoscope.proving import selection
from exoscope.reading.wanted import MANAGED_PREFIX
from exoscope.scripting import (
    Asking,
    CheckedApp,
    ReadData,
    check_parts,
    explain,
    graph_root,
    load_reading,
    load_result,
    read_bytes_of,
    read_parts,
    recorded,
    root_in,
)
from exoscope.scripting.data import read_data, write_data
from exoscope.scripting.read_frames import COLUMNS, filterable, operations_of
from reading_results import GRAPH_HEADER, HEADER, TENANT, read_lines, result_bytes
from scripting_plans import sample_plan

HOSTILE = "O'Brien \u2018\u2019\u201a\u201b '; Remove-Everything #\n} \u00d2 --% \U0001f600\u202e"


def parts(**changes: Any) -> tuple[ReadData, ReadData]:
    options: dict[str, Any] = {"tenant": None, "groups": (), "attributes": (), **changes}
    exchange, graph = read_parts("worldwide", root_in("worldwide"), **options)
    return exchange, graph


# -- the files ---------------------------------------------------------------------------------------------------------


def test_the_guard_explains_what_they_read() -> None:
    exchange, graph = (explain(read_bytes_of(each)) for each in parts())
    assert exchange is not None and graph is not None
    assert {op.cmdlet.partition("-")[0] for line in exchange.pipelines for op in line} == {"Get", "Select"}
    assert exchange.requests == () and graph.pipelines == ()
    assert [each["path"] for each in graph.requests] == list(PATHS.values())
    assert {each["method"] for each in graph.requests} == {"GET"}


def test_what_was_asked_for_stands_in_the_data_block() -> None:
    exchange, graph = parts(tenant=TENANT.upper(), groups=(HOSTILE,), attributes=("Title",))
    assert exchange.tenant == TENANT and exchange.groups == (HOSTILE,) and exchange.columns == (*COLUMNS, "Title")
    assert (graph.after, graph.resources) == (exchange.script, (GRAPH, EXCHANGE))
    for each in (exchange, graph):
        assert read_data(write_data(each), 0, ReadData) == each
        found = explain(read_bytes_of(each))
        assert found is not None and found.data == each


def test_they_are_ascii_before_their_first_statement_and_hold_no_secret() -> None:
    for each in parts():
        content = read_bytes_of(each)
        assert content.startswith(b"\xef\xbb\xbf") and b"\r" not in content
        assert content.removeprefix(b"\xef\xbb\xbf").split(b"if ('", 1)[0].isascii()


@pytest.mark.parametrize("number", range(24))
def test_the_guard_takes_nothing_near_them(number: int) -> None:
    chosen = random.Random(number)  # noqa: S311 - a test that can be repeated
    content = read_bytes_of(parts(groups=(HOSTILE,))[number % 2])
    body = bytearray(content)
    at = chosen.randrange(3, len(body))
    if number % 3 == 0:
        del body[at]
    elif number % 3 == 1:
        body[at] = body[at] ^ 1
    else:
        body[at:at] = chosen.choice([b" ", b"'", b"\n", b"#", b"0"])
    try:
        found = explain(bytes(body))
    except GuardRefused:
        return
    # Nothing but another value of the data block may be left, and that is what it then says.
    assert found is None or found.data != parts(groups=(HOSTILE,))[number % 2]
    assert found is None or read_bytes_of(found.data) == bytes(body)  # type: ignore[arg-type]  # a reading's data


def test_a_file_without_its_mark_is_refused() -> None:
    with pytest.raises(GuardRefused, match="byte order mark"):
        explain(read_bytes_of(parts()[0]).removeprefix(b"\xef\xbb\xbf"))


def test_another_place_than_graph_is_refused() -> None:
    with pytest.raises(GuardRefused, match="origin"):
        explain(read_bytes_of(replace(parts()[1], graph="https://graph.example/v1.0")))


def test_every_filterable_property_can_be_read() -> None:
    fixed = {name.casefold() for name in COLUMNS} | recipients.OWN
    for name in filterable():
        assert opath.lookup(name) is not None and name.casefold() not in fixed
    assert {"Title", "UserPrincipalName", "CustomAttribute15", "WhenCreated"} <= set(filterable())
    one, every = (operations_of(parts()[0])[name] for name in ("recipients", "recipients_all"))
    assert "'Department'" in one and "'UserPrincipalName'" not in one and "'UserPrincipalName'" in every


def test_the_frame_knows_what_the_readers_know() -> None:
    frame = "".join(
        (template_dir() / "read" / f"{name}.ps1").read_text() for name in ("exchange", "exchange_main", "check")
    )
    assert f"StartsWith('{MANAGED_PREFIX}'" in frame
    kinds = re.search(r"@\(([^)]*)\) -contains \$group\['kind'\]", frame)
    assert kinds and set(re.findall(r"'(\w+)'", kinds[1])) == recipients.DISTRIBUTION
    assert f"'{recipients.M365}'" in frame and f"'{recipients.DYNAMIC}'" in frame
    for name in recipients._GROUPS:
        assert name.endswith("group")
    assert set(re.findall(r"<[a-z]+\.[a-z_]+>", frame)) == {
        hole
        for text in operations_of(replace(parts()[0], purpose="check")).values()
        for hole in re.findall(r"<[a-z.\_]+>", text)
    }


def test_the_frame_asks_as_many_as_verify_does() -> None:
    frame = (template_dir() / "read" / "check.ps1").read_text()
    assert f"$mailboxes.Count -le {selection.ALL_UP_TO}" in frame


# -- the files of a check ------------------------------------------------------------------------------------------------


def checked(plan: Plan, **asking: Any) -> tuple[ReadData, ...]:
    options: dict[str, Any] = {"sample": 300, **asking}
    root = graph_root(plan.tenant)
    return check_parts(plan, "sha256:1", root, groups=("a",), attributes=("Title",), asking=Asking(**options))


def test_a_check_reads_asks_exchange_and_asks_graph_as_the_app() -> None:
    plan = sample_plan()
    exchange, graph, app = checked(plan, seed=7, limit_refusals=3)
    subject = plan.apps[0]
    assert [each.script for each in (exchange, graph, app)] == [
        "01-check-exchange.ps1",
        "02-check-graph.ps1",
        f"03-check-as-{subject.app_id}.ps1",
    ]
    assert (exchange.tenant, exchange.plan, exchange.seed, exchange.limit_refusals) == (
        plan.tenant.id,
        "sha256:1",
        7,
        3,
    )
    assert graph.after == app.after == exchange.script
    (asked,) = exchange.apps
    entry = subject.entries[0]
    assert (asked.filters, asked.groups) == ((entry.filter,), ())
    assert asked.inside == entry.expected.addresses and not asked.everyone and not asked.policies
    # Whom to ask about is Exchange's script to find out.
    assert app.apps[0].inside == graph.apps[0].inside == ()
    found = [explain(read_bytes_of(each)) for each in (exchange, graph, app)]
    assert [each.data for each in found if each is not None] == [exchange, graph, app]
    cmdlets = {op.cmdlet for line in found[0].pipelines for op in line}  # type: ignore[union-attr]  # it was explained
    assert {"Test-ServicePrincipalAuthorization", "Test-ApplicationAccessPolicy"} <= cmdlets
    assert all(each.partition("-")[0] in ("Get", "Test", "Select") for each in cmdlets)
    assert [each["path"] for each in found[2].requests] == ["/users/{id}/messages?$top=1&$select=id"]  # type: ignore[union-attr]  # as above


def test_what_a_check_asks_about_follows_from_the_plan() -> None:
    plan = sample_plan()
    (subject,) = plan.apps
    (entry,) = subject.entries

    def asked(**changes: Any) -> tuple[CheckedApp, int]:
        changed = replace(entry, **changes)
        parts = checked(replace(plan, apps=(replace(subject, entries=(changed,)),)))
        return parts[0].apps[0], len(parts)

    named, _ = asked(prove=Prove(reach=("in@x",), never=("out@x",)))
    assert named.inside == ("in@x", *entry.expected.addresses) and named.outside == ("out@x",)
    most, _ = asked(expected=Addresses(("left@x",), all_but=True))
    assert (most.inside, most.outside, most.everyone) == ((), ("left@x",), False)
    whole, _ = asked(scope=IntentScope("organization"), expected=Addresses((), all_but=True), filter=None, group=None)
    assert whole.everyone
    unit, _ = asked(scope=IntentScope("administrative-unit", "u"), group="u", filter=None)
    assert unit.groups == () and unit.inside == entry.expected.addresses
    policy, _ = asked(mechanism="access-policy", filter=None, group="g")
    assert policy.policies and policy.groups == ("g",)
    # A migration's baseline rests on Exchange's test of the policies.
    gate = Gate(subject.app_id, (), ("baseline",))
    first = checked(replace(plan, stages=(Stage("baseline", "", (gate,)), *plan.stages)))[0]
    assert first.apps[0].policies and not checked(plan)[0].apps[0].policies
    # What only running the plan gives is not known here; nobody can be asked for Mail.Send.
    holed, files = asked(
        filter="MemberOfGroup -eq '<step-1.distinguished_name>'", group="<step-1.guid>", permissions=("Mail.Send",)
    )
    assert (holed.filters, holed.groups, holed.permissions, files) == ((), (), (), 2)


# -- results -----------------------------------------------------------------------------------------------------------

SCOPES = render_guarded("inventory/management_scopes", {}).text
ROWS = [{"Name": "Caf\u00e9", "Exclusive": False, "RecipientFilter": "x", "Many": ["a", "b"], "Number": 3, "No": None}]
LINES = [
    *read_lines(1, SCOPES, ROWS),
    {"kind": "groups", "ids": []},
]


def graph_lines(tenant: str = TENANT) -> list[dict[str, Any]]:
    row = {"id": tenant, "verifiedDomains": [{"name": "contoso.onmicrosoft.com", "isInitial": True}]}
    return [
        {
            "kind": "get",
            "path": PATHS["organization"],
            "status": 200,
            "body": {"value": [row]},
            "text": "",
            "request_id": None,
        }
    ]


def both(**changes: Any) -> list[Any]:
    exchange = load_reading(result_bytes({**HEADER, **changes.get("exchange", {})}, LINES), "exchange")
    graph = load_reading(result_bytes({**GRAPH_HEADER, **changes.get("graph", {})}, graph_lines()), "graph")
    return [exchange, graph]


def test_what_was_noted_is_answered() -> None:
    found = recorded(both())
    assert found.exchange.run(SCOPES).rows == tuple(ROWS)
    assert found.prove_tenant().domain == "contoso.onmicrosoft.com"
    with pytest.raises(ServiceError, match="did not ask for Get-ManagementRole"):
        found.exchange.run(render_guarded("inventory/roles", {}).text)
    with pytest.raises(ServiceError, match="did not ask for GET /applications"):
        found.graph.get("/applications")
    with pytest.raises(ServiceError, match="did not ask for POST"):
        found.graph.send("POST", PATHS["organization"], {})


def test_more_properties_than_were_wanted_will_do_and_fewer_will_not() -> None:
    def recipients_with(*properties: str) -> str:
        return render_guarded("inventory/recipients", {"properties": list(properties)}).text

    row = {name: name for name in (*COLUMNS, "Title", "Office")}
    lines = read_lines(1, recipients_with("Title", "Office"), [row])
    found = recorded([load_reading(result_bytes(HEADER, lines), "e"), both()[1]])
    assert found.exchange.run(recipients_with("Office")).rows == ({name: name for name in (*COLUMNS, "Office")},)
    with pytest.raises(ServiceError, match="did not ask"):
        found.exchange.run(recipients_with("Office", "City"))


def test_errors_are_what_they_would_be_in_a_session() -> None:
    name = "Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException"
    failed = {"kind": "failed", "n": 1, "message": "not here", "error_id": name, "category": "InvalidData"}
    lines = [{"kind": "read", "n": 1, "script": SCOPES}, {**failed, "types": [], "activity": "Get-It"}]
    lines += read_lines(2, render_guarded("inventory/roles", {}).text, [])
    found = recorded([load_reading(result_bytes(HEADER, lines), "e"), both()[1]])
    with pytest.raises(ObjectNotFound, match="Get-It: not here"):
        found.exchange.run(SCOPES)
    assert found.exchange.run(render_guarded("inventory/roles", {}).text).rows == ()


def test_the_last_try_counts() -> None:
    failed = {"kind": "failed", "n": 1, "message": "busy", "error_id": "", "category": "", "types": [], "activity": ""}
    first = [
        {"kind": "read", "n": 1, "script": SCOPES},
        {"kind": "rows", "n": 1, "columns": ["Name"], "rows": [["half"]]},
    ]
    found = load_reading(result_bytes(HEADER, [*first, failed, *read_lines(2, SCOPES, ROWS)]), "e")
    assert recorded([found, both()[1]]).exchange.run(SCOPES).rows == tuple(ROWS)


WHOLE = result_bytes(HEADER, LINES)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_result_that_was_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BadInput):
        load_reading(WHOLE[:length], "result")


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_result_that_was_changed_is_refused(at: int, value: int) -> None:
    changed = WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    if changed == WHOLE:
        return
    try:
        found = load_reading(changed, "result")
    except BadInput:
        return
    # Of the last line only blanks are free; what was read stands in the others.
    assert found == load_reading(WHOLE, "result")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([{"kind": "read", "n": 1, "script": "x"}], "a read did not end"),
        ([{"kind": "read-end", "n": 1, "count": 0}], "did not begin"),
        ([{"kind": "rows", "n": 4, "columns": [], "rows": []}], "did not begin"),
        ([*LINES[:2], {"kind": "read-end", "n": 1, "count": 2}], "counts 2 rows where 1 stand"),
        ([LINES[0], {**LINES[1], "rows": [["x"]]}, LINES[2]], "not of its columns"),
        ([LINES[0], {**LINES[1], "rows": [[{}, 1, 1, 1, 1, 1]]}, LINES[2]], "not of its columns"),
        ([LINES[0], LINES[1], {**LINES[1], "columns": ["Name"]}], "columns are not those"),
        ([{"kind": "other"}], "other"),
        ([{**LINES[0], "more": 1}], "more"),
        ([{"kind": "token", "app_id": "x", "roles": [], "expires_at": None}], "as whom"),
        ([{"kind": "end", "lines": 1, "sha256": ""}], "does not belong"),
        ([{"kind": "finished", "at": "2026-11-23T09:00:00Z"}], "does not belong"),
    ],
)
def test_what_no_script_writes_is_refused(lines: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        load_reading(result_bytes(HEADER, lines), "result")


@pytest.mark.parametrize(
    "changes",
    [{"format": "exoscope/script-reading@2"}, {"part": "other"}, {"tenant": None}, {"more": 1}, {"app_id": "x"}],
)
def test_another_header_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        load_reading(result_bytes({**HEADER, **changes}, LINES), "result")


def test_results_that_do_not_go_together_are_refused() -> None:
    other = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(WrongTenant, match="of the tenant"):
        recorded(both(graph={"tenant": other}))
    with pytest.raises(WrongTenant, match="different tenants"):
        recorded(both(exchange={"tenant": other}, graph={"tenant": other})).prove_tenant()
    with pytest.raises(Refused) as told:
        recorded(both(graph={"purpose": "check", "plan": "sha256:1"}))
    assert told.value.code == "other-plan"
    with pytest.raises(BadInput, match="0 results of a Graph script"):
        recorded(both()[:1])
    with pytest.raises(BadInput, match="2 results of an Exchange script"):
        recorded([both()[0], *both()])


def test_two_times_are_no_reading_of_one() -> None:
    recorded(both(graph={"started_at": "2026-11-23T13:04:59Z"}))
    with pytest.raises(Refused) as told:
        recorded(both(graph={"started_at": "2026-11-23T13:05:01Z"}))
    assert told.value.code == "not-together" and "exchange ended" in told.value.message


def test_exchange_says_itself_which_tenant_it_is() -> None:
    row = {"ExternalDirectoryOrganizationId": "00000000-0000-4000-8000-000000000000"}
    lines = read_lines(1, render_guarded("inventory/organization", {}).text, [row])
    found = recorded([load_reading(result_bytes(HEADER, lines), "e"), both()[1]])
    with pytest.raises(WrongTenant):
        found.prove_tenant()


def test_bytes_that_are_no_text_are_refused() -> None:
    for load in (load_reading, load_result):
        with pytest.raises(BadInput):
            load(WHOLE[:10] + b"\x80" + WHOLE[10:], "result")
