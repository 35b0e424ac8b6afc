"""OData options of the twin's Graph: what is modelled does what it says, the rest is refused."""

from __future__ import annotations

import pytest

from exoscope.twin.graph.errors import GraphError
from exoscope.twin.graph.query import parse_filter

ROWS = [
    {"id": "1", "displayName": "Ada's app", "mail": "ada@contoso.com", "enabled": True, "none": None},
    {"id": "2", "displayName": "Bob", "mail": "bob@contoso.com", "enabled": False, "none": "x"},
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("displayName eq 'Ada''s app'", "1"),
        ("displayName eq 'ADA''S APP'", "1"),
        ("displayname eq 'Bob'", "2"),
        ("startswith(displayName,'a')", "1"),
        ("startswith( mail , 'bob@' )", "2"),
        ("id in ('1','2')", "12"),
        ("id in ('3')", ""),
        ("enabled eq true", "1"),
        ("none eq null", "1"),
        ("enabled eq false and mail eq 'bob@contoso.com'", "2"),
        ("id eq '1' and mail eq 'bob@contoso.com'", ""),
        ("id eq '1' or mail eq 'bob@contoso.com'", "12"),
        ("displayName eq 'x and y'", ""),
    ],
)
def test_filters(text: str, ids: str) -> None:
    matches = parse_filter(text)
    assert "".join(str(row["id"]) for row in ROWS if matches(row)) == ids


@pytest.mark.parametrize(
    "text",
    [
        "id ne '1'",
        "endswith(mail,'x')",
        "id eq '1' and mail eq '2' or id eq '3'",
        "id eq 1'",
        "id eq '1' xor id eq '2'",
        "",
    ],
)
def test_what_is_not_modelled(text: str) -> None:
    with pytest.raises(GraphError) as refused:
        parse_filter(text)
    assert refused.value.status == 501


def test_an_unknown_property_is_an_error() -> None:
    matches = parse_filter("surname eq 'x'")
    with pytest.raises(GraphError) as refused:
        matches(ROWS[0])
    assert refused.value.status == 400
