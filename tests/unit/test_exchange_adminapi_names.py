"""Recipients by property name over the admin API: what is believed, and what is asked for as a whole; pages ahead."""

from __future__ import annotations

import time
from typing import Any

import pytest

from adminapi_wire import ERRORS, GET, ROOT, Answer, Open, Wire, connect, rows
from exoscope.exchange import adminapi
from exoscope.outcome import (
    ObjectNotFound,
    ServiceError,
)

__all__ = ["connect"]

LIST = "Get-Recipient -ResultSize Unlimited | Select-Object -Property @('Guid', 'Department')"
NARROW = f"{ROOT}?$select=Guid,Department"
REFUSED: Answer = (
    400,
    {},
    {"error": {"code": "BadRequest", "message": "Could not find a property named 'Department'."}},
)


def asked(wire: Wire) -> list[str]:
    return [url for _, url, _, _ in wire.sent[2:]]


def test_recipients_are_asked_for_by_property_name(connect: Open) -> None:
    more = f"{ROOT}?$skiptoken=2"
    session, wire, _ = connect(
        rows({"Guid@odata.type": "#Guid", "Guid": "1", "Department": None}, link=more),
        rows({"Guid": "2", "Department": "x"}),
    )
    assert session.run(LIST).rows == ({"Guid": "1", "Department": None}, {"Guid": "2", "Department": "x"})
    assert asked(wire) == [NARROW, more]
    session, wire, _ = connect(rows({"Name": "a"}), rows())
    session.run(GET)
    session.run("Get-Recipient -ResultSize Unlimited")
    assert asked(wire) == [ROOT, ROOT], "short lists, and what is wanted as a whole, are asked for as ever"


@pytest.mark.parametrize(
    "odd",
    [REFUSED, rows({"Guid": "1", "Department": "x"}, {"Guid": "2"}), rows({"guid": "1"}), rows()],
    ids=["refused", "a row without one", "none has one", "no rows"],
)
def test_a_service_that_does_not_answer_by_name_is_asked_for_the_whole(connect: Open, odd: Answer) -> None:
    whole = rows({"Guid": "1", "Department": "x", "City": "y"}, {"Guid": "2", "Department": None})
    session, wire, _ = connect(odd, whole, whole)
    for _ in range(2):
        assert session.run(LIST).rows == ({"Guid": "1", "Department": "x"}, {"Guid": "2", "Department": None})
    assert asked(wire) == [NARROW, ROOT, ROOT], "and not tried by name again"
    assert not wire.answers


def test_a_property_that_nobody_has_is_believed_of_the_whole_read_alone(connect: Open) -> None:
    silent = rows({"Guid": "1", "Department": None}, {"Guid": "2", "Department": ""})
    whole = rows({"Guid": "1", "Department": "x", "City": "y"}, {"Guid": "2", "Department": None})
    session, wire, _ = connect(silent, whole, whole)
    assert session.run(LIST).rows[0]["Department"] == "x", "null for what it cannot select is no value"
    session.run(LIST)
    assert asked(wire) == [NARROW, ROOT, ROOT]
    session, wire, _ = connect(silent, silent, silent, silent)
    assert session.run(LIST).rows == session.run(LIST).rows
    assert asked(wire) == [NARROW, ROOT, NARROW, ROOT], "really nobody has it: asked by name again"


def test_one_recipient_is_asked_for_as_a_whole(connect: Open) -> None:
    session, wire, _ = connect(rows({"Guid": "1", "Department": None}))
    session.run("Get-Recipient -Identity 'a' -ResultSize Unlimited | Select-Object -Property @('Guid', 'Department')")
    assert asked(wire) == [ROOT]


def test_where_there_is_nothing_as_a_whole_either_names_are_tried_again(connect: Open) -> None:
    session, wire, _ = connect(rows(), rows(), rows({"Guid": "1", "Department": "x"}))
    assert session.run(LIST).rows == ()
    assert len(session.run(LIST).rows) == 1
    assert asked(wire) == [NARROW, ROOT, NARROW]


def test_what_fails_as_a_whole_too_says_nothing_of_names(connect: Open) -> None:
    found = rows({"Guid": "1", "Department": "x"})
    session, wire, _ = connect(REFUSED, REFUSED, found)
    with pytest.raises(ServiceError, match="Could not find"):
        session.run(LIST)
    assert len(session.run(LIST).rows) == 1
    assert asked(wire) == [NARROW, ROOT, NARROW]


def test_an_error_with_a_meaning_of_its_own_is_not_asked_about_again(connect: Open) -> None:
    missing = next(case for case in ERRORS if case["kind"] == "ObjectNotFound")
    session, wire, _ = connect((missing["status"], missing.get("headers", {}), missing["body"]))
    with pytest.raises(ObjectNotFound):
        session.run(LIST)
    assert asked(wire) == [NARROW]


def test_the_next_page_is_under_way_while_one_is_worked_on(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    link = f"{ROOT}?$skiptoken=2"
    session, wire, _ = connect(rows({"Name": "a"}, link=link), rows({"Name": "b"}))
    real = adminapi.plain_rows

    def slowly(entries: Any, wanted: Any) -> Any:
        until = time.monotonic() + 30
        while len(asked(wire)) < 2 and time.monotonic() < until:
            time.sleep(0.001)
        assert len(asked(wire)) == 2
        return real(entries, wanted)

    monkeypatch.setattr(adminapi, "plain_rows", slowly)
    assert len(session.run(GET).rows) == 2


def test_where_a_few_rows_are_wanted_no_page_is_asked_for_in_vain(connect: Open) -> None:
    session, wire, _ = connect(rows({"Name": "a"}, {"Name": "b"}, link=f"{ROOT}?$skiptoken=2"))
    assert len(session.run("Get-ManagementScope | Select-Object -First 2").rows) == 2
    assert asked(wire) == [ROOT]
