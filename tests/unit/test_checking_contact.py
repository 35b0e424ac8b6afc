"""First contact: answers beside their shapes, and a shared result that holds nothing of a tenant's."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exoscope.checking import shapes
from exoscope.checking.contact import SEEN, Column, Met, Shape, compare, contact_of, unread
from exoscope.checking.seen import CODES, DoctorAnswer, Line
from exoscope.checking.sharing import OTHER, shared
from exoscope.model import Tenant

GUID = "11111111-2222-3333-4444-555555555555"
RECIPIENT: dict[str, Any] = {
    "Guid": GUID,
    "ExternalDirectoryObjectId": GUID,
    "Name": "ada",
    "DisplayName": "Ada",
    "PrimarySmtpAddress": "ada@contoso.com",
    "EmailAddresses": ["SMTP:ada@contoso.com"],
    "DistinguishedName": "CN=ada,OU=contoso",
    "RecipientType": "UserMailbox",
    "RecipientTypeDetails": "UserMailbox",
}
ASSIGNMENT: dict[str, Any] = {
    "Name": "a",
    "Role": "Application Mail.Read",
    "RoleAssignee": GUID,
    "RoleAssigneeName": GUID,
    "RoleAssigneeType": "ServicePrincipal",
    "RoleAssignmentDelegationType": "Regular",
    "Enabled": True,
    "RecipientWriteScope": "CustomRecipientScope",
    "CustomRecipientWriteScope": "",
    "CustomResourceScope": "Omniscope",
}
POLICY: dict[str, Any] = {
    "Identity": f"{GUID}\\{GUID}:S-1-5-21-1-2-3-4;{GUID}",
    "AppId": GUID,
    "AccessRight": "RestrictAccess",
    "ScopeName": "group",
    "ScopeIdentity": "group",
    "ScopeIdentityRaw": f"S-1-5-21-1-2-3-4;{GUID}",
    "Description": None,
    "IsValid": True,
}
TEST: dict[str, Any] = {
    "RoleName": "Application Mail.Read",
    "GrantedPermissions": "Mail.Read",
    "AllowedResourceScope": "Omniscope",
    "ScopeType": "CustomRecipientScope",
    "InScope": True,
}
ROWS = {
    "recipient": RECIPIENT,
    "role-assignment": ASSIGNMENT,
    "access-policy": POLICY,
    "test-authorization": TEST,
}
BY_NAME = {shape.name: shape for shape in shapes.EVERY}


@pytest.mark.parametrize("name", ROWS)
def test_an_answer_as_expected_agrees_whatever_the_case_of_its_columns(name: str) -> None:
    lower = {key.lower(): value for key, value in ROWS[name].items()}
    for row in (ROWS[name], lower):
        assert compare(BY_NAME[name], [row]) == Met(name, "exchange", "agrees", 1)


@pytest.mark.parametrize(
    ("name", "column", "value", "seen"),
    [
        ("recipient", "Guid", None, "null"),
        ("recipient", "Guid", "not one", "another-text"),
        ("recipient", "EmailAddresses", {"a": 1}, "object"),
        ("recipient", "EmailAddresses", 5, "number"),
        ("recipient", "RecipientType", "HoloMailbox", "another-word"),
        ("recipient", "RecipientTypeDetails", "HoloMailbox", "another-word"),
        ("recipient", "DistinguishedName", "ada", "another-text"),
        ("role-assignment", "RoleAssigneeType", "Application", "another-word"),
        ("role-assignment", "RecipientWriteScope", "SomeOtherScope", "another-word"),
        ("role-assignment", "Enabled", "perhaps", "another-word"),
        ("role-assignment", "Enabled", 1, "number"),
        ("access-policy", "AccessRight", "AllowAccess", "another-word"),
        ("access-policy", "ScopeIdentityRaw", "group", "another-text"),
        ("test-authorization", "InScope", "Maybe", "another-word"),
        ("test-authorization", "InScope", "Not Run", "another-word"),
        ("test-authorization", "ScopeType", "Group", "another-word"),
    ],
)
def test_what_differs_is_told_with_its_column(name: str, column: str, value: Any, seen: str) -> None:
    met = compare(BY_NAME[name], [ROWS[name], {**ROWS[name], column: value}])
    assert (met.status, met.examples) == ("differs", 2)
    assert (column, seen) in {(each.column, each.seen) for each in met.differences}
    assert {each.seen for each in met.differences} <= set(SEEN)
    assert not contact_of([met]).passed


def test_a_test_that_was_not_run_says_so_in_its_own_word() -> None:
    assert compare(shapes.AUTHORIZATIONS, [{**TEST, "InScope": "Not Run"}]).status == "agrees"
    assert compare(shapes.AUTHORIZATIONS, [TEST]).status == "differs"


@pytest.mark.parametrize("name", ROWS)
def test_a_column_that_is_gone_is_told_on_every_road(name: str) -> None:
    for column in BY_NAME[name].columns:
        row = {key: value for key, value in ROWS[name].items() if key != column.name}
        rest = compare(BY_NAME[name], [row])
        # Where PowerShell writes null for it, the names of the object's own columns tell.
        nulled = compare(BY_NAME[name], [{**row, column.name: None}], names=row)
        for met in (rest, nulled):
            missing = [each.column for each in met.differences if each.seen == "missing"]
            assert missing == ([] if column.absent else [column.name])


def test_a_scope_that_is_not_understood_is_a_difference_of_the_whole() -> None:
    met = compare(shapes.ROLE_ASSIGNMENT, [{**ASSIGNMENT, "CustomResourceScope": ""}])
    assert [(each.column, each.seen) for each in met.differences] == [("", "not-understood")]


def test_nothing_there_is_not_seen_and_not_passed() -> None:
    nothing = [compare(shape, ()) for shape in shapes.EVERY]
    assert {each.status for each in nothing} == {"not-seen"}
    assert not contact_of(nothing).passed, "an empty list of agreements proves nothing"
    some = [compare(shapes.RECIPIENT, [RECIPIENT]), *nothing]
    assert contact_of(some).passed


def test_what_a_plan_decides_from_must_be_readable() -> None:
    good = compare(shapes.RECIPIENT, [RECIPIENT])
    assert not contact_of([good, unread(shapes.ACCESS_POLICY, "access denied")]).passed
    assert contact_of([good, unread(shapes.USER, "access denied")]).passed


def test_of_many_differences_a_few_are_told() -> None:
    rows = [{**RECIPIENT, "RecipientType": f"Kind{number}"} for number in range(50)]
    assert len(compare(shapes.RECIPIENT, rows).differences) == 3


def test_the_table_is_whole() -> None:
    names = [shape.name for shape in shapes.EVERY]
    assert len(names) == len(set(names))
    assert set(shapes.KINDS) <= set(shapes.DETAILS)
    for shape in shapes.EVERY:
        columns = [column.name.casefold() for column in shape.columns]
        assert len(columns) == len(set(columns)), shape.name
        assert all((column.kind == "word") == bool(column.words) for column in shape.columns), shape.name


# -- sharing -----------------------------------------------------------------------------------------------------------

CANARY = "Zq\u00fcxcanary"
ANSWER = DoctorAnswer(
    profile="/home/x/exoscope.toml",
    tool_version="0.1.0",
    road="gateway",
    tenant=Tenant(id=GUID, domain="contoso.onmicrosoft.com", cloud="worldwide"),
    plan=None,
    engine="7.6.0",
    module="3.9.2",
    lines=(),
    contact=None,
)
texts = st.text(max_size=12).map(lambda text: f"{CANARY}{text}")
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)


@st.composite
def met(draw: st.DrawFn) -> Met:
    """A shape beside rows that hold whatever a tenant may hold, in its columns and in others, or that could not be read."""
    shape: Shape = draw(st.sampled_from(shapes.EVERY))
    if draw(st.booleans()):
        return unread(shape, draw(texts))
    names = st.sampled_from([column.name for column in shape.columns])
    return compare(shape, draw(st.lists(st.dictionaries(st.one_of(names, texts), values), max_size=3)))


@given(
    found=st.lists(met(), max_size=4),
    said=st.lists(st.tuples(st.one_of(st.sampled_from(CODES), texts), texts, texts, texts), max_size=3),
    others=st.tuples(texts, texts, texts, texts),
)
def test_nothing_of_a_tenants_text_is_shared(
    found: list[Met], said: list[tuple[str, str, str, str]], others: tuple[str, str, str, str]
) -> None:
    profile, road, engine, module = others
    answer = replace(
        ANSWER,
        profile=profile,
        road=road,
        engine=engine,
        module=f"3.9.2-{module}",
        tenant=Tenant(id=profile, domain=road, cloud="worldwide"),
        lines=tuple(Line(code, "failed", text, remedy, subject) for code, text, remedy, subject in said),
        contact=contact_of(found),
    )
    text = msgspec.json.encode(shared(answer)).decode()
    assert CANARY not in text
    assert "canary" not in text
    document = json.loads(text)
    assert document["module"] == "3.9.2"
    assert {line["code"] for line in document["lines"]} <= {*CODES, OTHER}
    assert [each["name"] for each in document["contact"]] == [each.name for each in found]
    assert [each["status"] for each in document["contact"]] == [each.status for each in found]


def test_what_is_shared_says_what_differs() -> None:
    differing = compare(shapes.RECIPIENT, [{**RECIPIENT, "RecipientTypeDetails": "HoloMailbox", "Guid": None}])
    document = json.loads(msgspec.json.encode(shared(replace(ANSWER, contact=contact_of([differing])))))
    told = {(each["column"], each["seen"]) for each in document["contact"][0]["differences"]}
    assert told == {("Guid", "null"), ("RecipientTypeDetails", "another-word")}
    assert (document["road"], document["engine"], document["module"]) == ("gateway", "7.6.0", "3.9.2")
    assert "HoloMailbox" not in json.dumps(document)


def test_a_list_of_one_text_is_read_as_that_text() -> None:
    shape = Shape("x", "exchange", (Column("A"), Column("B", "list")))
    assert compare(shape, [{"A": ["a"], "B": ["b"]}]).status == "agrees"
    assert compare(shape, [{"A": ["a", "b"], "B": []}]).status == "differs"
