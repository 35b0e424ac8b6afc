"""Rows as PowerShell's serialiser writes them, read back by psrpcore's, which we did not write."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from psrpcore.types import deserialize_clixml

from exoscope.twin.clixml import dumps


def loads(text: str) -> list[Any]:
    return list(deserialize_clixml(text, cipher=None))  # no SecureString in it


def test_values_come_back_as_what_they_are() -> None:
    row = {
        "Name": 'it\'s <b> & "‘so’"',
        "Guid": "BCCBC41D-8a1e-57b3-9279-483f6a92849d",
        "ObjectId": "bccbc41d-8a1e-57b3-9279-483f6a92849d",
        "WhenCreated": "2025-03-01T10:30:00.0000000Z",
        "DisplayName": "2025-03-01T10:30:00.0000000Z",
        "On": True,
        "Off": False,
        "Count": 7,
        "Nothing": None,
        "List": ["a", "b"],
        "Empty": [],
    }
    found, other = loads(dumps([row, {"Name": "second", "List": ["c"]}]))
    assert found.Name == row["Name"]
    assert uuid.UUID(str(found.Guid)) == uuid.UUID(row["Guid"])
    assert isinstance(found.ObjectId, str)
    assert found.WhenCreated == datetime.datetime(2025, 3, 1, 10, 30, tzinfo=datetime.UTC)
    assert found.DisplayName == row["DisplayName"], "a name that looks like a time is a name"
    assert (found.On, found.Off, found.Count, found.Nothing) == (True, False, 7, None)
    assert (list(found.List), list(found.Empty)) == (["a", "b"], [])
    assert (other.Name, list(other.List)) == ("second", ["c"])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
@example("_x0041_ _x000A_ _X0041_ __x0041__ _x004 _x00g1_")
@example("\x00\x01\t\r\n\x1f\x7f\x9f\ufffe\uffff 😀 ]]> &amp;")
def test_every_text_comes_back(text: str) -> None:
    (found,) = loads(dumps([{"Name": text, "List": [text]}]))
    assert (found.Name, list(found.List)) == (text, [text])


def test_no_rows_are_no_objects() -> None:
    assert loads(dumps([])) == []
