"""Rows that a script noted, read as exoscope reads its own: of the object that the plan names, and of no other."""

from __future__ import annotations

from typing import Any

import pytest

from exoscope.model import App, Step, Target
from exoscope.planning.operations import step as make_step
from exoscope.scripting.seeing import NotSeen, seen_as, stands_as
from running_fakes import app

APP = app(1)
GROUP = "60000000-0000-0000-0000-00000000000A"
DIRECTORY = "60000000-0000-0000-0000-00000000000B"
UNIT = "60000000-0000-0000-0000-00000000000C"
MEMBER = "50000000-0000-0000-0000-000000000001"
POINTER = {"ObjectId": APP.object_id.upper(), "AppId": APP.app_id, "DisplayName": "Connector"}
GROUP_ROW = {
    "Guid": GROUP,
    "ExternalDirectoryObjectId": DIRECTORY,
    "Name": "sales",
    "DisplayName": "sales",
    "DistinguishedName": "CN=sales",
    "RecipientTypeDetails": "MailUniversalSecurityGroup",
}


def step(kind: Any, key: dict[str, str], after: dict[str, Any] | None, subject: App | None = APP) -> Step:
    before = None if after is not None else {}
    return make_step("step-1", "grant", Target(kind, key), before, after, subject)


def assignment(scope: dict[str, str]) -> Step:
    state = {"role": "Application Mail.Read", "assignee": APP.object_id, "enabled": True, "scope": scope}
    return step("role_assignment", {"name": "ours"}, state)


def row(**changed: Any) -> dict[str, Any]:
    return {
        "Name": "Ours",
        "Role": "Application Mail.Read",
        "RoleAssigneeType": "ServicePrincipal",
        "RoleAssigneeName": APP.object_id,
        "Enabled": True,
        "RecipientWriteScope": "Organization",
        "CustomResourceScope": None,
        "CustomRecipientWriteScope": None,
        **changed,
    }


CASES: dict[str, tuple[Step, Any, bool | None]] = {
    "organization": (
        step("organization", {}, {"is_dehydrated": False}, None),
        {"organization": [{"IsDehydrated": "False"}]},
        True,
    ),
    "organization not yet": (
        step("organization", {}, {"is_dehydrated": False}, None),
        {"organization": [{"IsDehydrated": True}]},
        False,
    ),
    "organization not told": (
        step("organization", {}, {"is_dehydrated": False}, None),
        {"organization": [{"IsDehydrated": None}]},
        None,
    ),
    "pointer of another object": (
        step("pointer", {"app_id": APP.app_id, "object_id": GROUP}, {"display_name": "Connector"}),
        {"pointer": [POINTER]},
        False,
    ),
    "assignment to the organisation": (
        assignment({"kind": "organization"}),
        {"assignment": [row(RoleAssigneeName="Connector")], "pointers": [POINTER]},
        True,
    ),
    "assignment of another name": (
        assignment({"kind": "organization"}),
        {"assignment": [row(Name="theirs")], "pointers": [POINTER]},
        False,
    ),
    "assignment to a unit": (
        assignment({"kind": "administrative_unit", "id": UNIT}),
        {
            "assignment": [row(RecipientWriteScope="AdministrativeUnit", CustomRecipientWriteScope="Berlin")],
            "pointers": [POINTER],
            "units": [{"Guid": GROUP, "ExternalDirectoryObjectId": UNIT, "Name": "u1", "DisplayName": "Berlin"}],
        },
        True,
    ),
    "assignment to a group by its directory id": (
        assignment({"kind": "group", "id": GROUP}),
        {
            "assignment": [row(RecipientWriteScope="Group", CustomResourceScope=f"sales_{DIRECTORY}")],
            "pointers": [POINTER],
            "group": [GROUP_ROW],
        },
        True,
    ),
    "assignment whose scope nobody understands": (
        assignment({"kind": "organization"}),
        {"assignment": [row(RecipientWriteScope="Odd")], "pointers": [POINTER]},
        False,
    ),
    "assignment that cannot be read": (
        assignment({"kind": "organization"}),
        {"assignment": [row(Enabled=None)], "pointers": [POINTER]},
        None,
    ),
    "member": (
        step("group_member", {"group": GROUP, "member": MEMBER}, {}),
        {"group": [GROUP_ROW], "members": [{"Guid": MEMBER.upper()}]},
        True,
    ),
    "member of another group": (
        step("group_member", {"group": UNIT, "member": MEMBER}, {}),
        {"group": [GROUP_ROW], "members": [{"Guid": MEMBER}]},
        False,
    ),
    "no member any more": (
        step("group_member", {"group": GROUP, "member": MEMBER}, None),
        {"group": [GROUP_ROW], "members": []},
        True,
    ),
    "scope in Exchange's own spelling": (
        step(
            "management_scope",
            {"name": "ours"},
            {"recipient_filter": "Department -eq 'x'", "recipient_root": None, "exclusive": False},
        ),
        {
            "scope": [
                {
                    "Name": "OURS",
                    "ScopeRestrictionType": "RecipientScope",
                    "RecipientFilter": "((department -eq 'X'))",
                    "RecipientRoot": "",
                    "Exclusive": False,
                }
            ]
        },
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_object_as_its_rows_show_it(name: str) -> None:
    subject, rows, expected = CASES[name]
    assert stands_as(subject, seen_as(subject, rows), subject.after) is expected


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        {},
        {"assignment": [row()]},
        {"assignment": [row()], "pointers": [], "units": []},
        {"assignment": row(), "pointers": []},
        {"assignment": ["x"], "pointers": []},
    ],
)
def test_other_rows_than_the_script_reads_are_none(rows: Any) -> None:
    with pytest.raises(NotSeen):
        seen_as(assignment({"kind": "organization"}), rows)


@pytest.mark.parametrize("rows", [{}, {"there": "yes"}, {"id": "x"}])
def test_graphs_rows_say_whether_it_is_there(rows: Any) -> None:
    key = {"app_id": APP.app_id, "resource": APP.consents[0].resource, "app_role_id": APP.consents[0].app_role_id}
    with pytest.raises(NotSeen):
        seen_as(step("consent", key, {"permission": "Mail.Read"}), rows)
