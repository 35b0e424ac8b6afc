"""Single objects through every transition a plan may make, read back from the twin; and Exchange's own tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exoscope import exchange
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession, Ids, read_object
from exoscope.exchange.tests import group_members, preview_filter, test_authorization, test_policy
from exoscope.model import Group, Observed, Recipient, Target
from exoscope.outcome import ObjectNotFound
from exoscope.powershell import render_guarded
from exoscope.profile import load_profile
from exoscope.twin.server import Twin
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, shared_twin

__all__ = ["shared_twin"]

# Exchange's test cmdlets, not tests of ours.
test_authorization.__test__ = False  # type: ignore[attr-defined]  # pytest's mark on a function
test_policy.__test__ = False  # type: ignore[attr-defined]  # pytest's mark on a function

NOBODY = "00000000-0000-0000-0000-00000000dead"


@pytest.fixture(scope="module")
def session(shared_twin: Twin) -> Iterator[ExchangeSession]:
    profile = load_profile(Path(shared_twin.ready["profile"]), os.environ)
    clock = SystemClock()
    opened = exchange.connect(profile, Tokens(profile, clock), clock=clock)
    yield opened
    opened.close()


def do(session: ExchangeSession, template: str, **values: Any) -> None:
    session.run(render_guarded(template, values).text)


def group_named(twin: Twin, address: str) -> Group:
    groups = twin.tenant.state.groups
    assert isinstance(groups, tuple)
    return next(group for group in groups if group.primary_smtp_address == address)


def mailbox(twin: Twin, address: str) -> Recipient:
    recipients = twin.tenant.state.recipients
    assert isinstance(recipients, tuple)
    return next(each for each in recipients if each.primary_smtp_address == address)


def state(session: ExchangeSession, kind: Any, **key: str) -> Any:
    found = read_object(session, Target(kind, key))
    return None if found is None else found.state


def test_a_pointer_a_scope_and_an_assignment(session: ExchangeSession, shared_twin: Twin) -> None:
    app = app_named(shared_twin.tenant.state, OMNISCOPE)
    ids = {"app_id": app.app_id, "object_id": app.object_id}
    assert state(session, "pointer", **ids) is None
    do(session, "rbac/new_service_principal", **ids, display_name="Omniscope")
    assert state(session, "pointer", **ids) == {"display_name": "Omniscope"}
    assert state(session, "pointer", app_id=NOBODY, object_id=app.object_id) is None

    name = "Ада’s „scope“ --%"
    assert state(session, "management_scope", name=name) is None
    do(session, "rbac/new_management_scope", name=name, filter="Department -eq 'O''Brien'")
    found = state(session, "management_scope", name=name)
    assert found["recipient_root"] is None
    assert found["exclusive"] is False
    assert "Department" in found["recipient_filter"]

    assert state(session, "role_assignment", name="one") is None
    do(
        session,
        "rbac/new_role_assignment_management_scope",
        name="one",
        role="Application Mail.Read",
        app=app.object_id,
        scope=name,
    )
    expected = {
        "role": "Application Mail.Read",
        "assignee": app.object_id,
        "enabled": True,
        "scope": {"kind": "management_scope", "name": name},
    }
    assert state(session, "role_assignment", name="one") == expected

    group = group_named(shared_twin, OMNISCOPE_GROUP)
    for identity in (group.guid, group.external_directory_object_id):
        do(session, "rbac/set_role_assignment_group", name="one", group=identity)
        assert state(session, "role_assignment", name="ONE")["scope"] == {"kind": "group", "id": group.guid}

    units = shared_twin.tenant.state.administrative_units
    assert isinstance(units, tuple)
    do(session, "rbac/set_role_assignment_administrative_unit", name="one", unit=units[0].id)
    assert state(session, "role_assignment", name="one")["scope"] == {"kind": "administrative_unit", "id": units[0].id}
    do(session, "rbac/set_role_assignment_enabled", name="one", enabled=False)
    assert state(session, "role_assignment", name="one")["enabled"] is False

    do(session, "rbac/remove_role_assignment", name="one")
    do(session, "rbac/remove_management_scope", name=name)
    do(session, "rbac/remove_service_principal", object_id=app.object_id)
    assert state(session, "role_assignment", name="one") is None
    assert state(session, "management_scope", name=name) is None
    assert state(session, "pointer", **ids) is None


class Counted:
    """A session that notes which cmdlets it was given."""

    def __init__(self, session: ExchangeSession) -> None:
        self.session, self.sent = session, list[str]()

    def run(self, script: str, **options: Any) -> Any:
        self.sent += [line.split(" ")[0] for line in script.splitlines() if line.startswith(("Get-", "New-"))]
        return self.session.run(script, **options)


def test_ids_that_were_read_are_not_read_again(session: ExchangeSession, shared_twin: Twin) -> None:
    app = app_named(shared_twin.tenant.state, OMNISCOPE)
    group = group_named(shared_twin, OMNISCOPE_GROUP)
    do(session, "rbac/new_service_principal", app_id=app.app_id, object_id=app.object_id, display_name="Omniscope")
    policy = {"app_id": app.app_id, "access_right": "DenyAccess", "group": str(group.external_directory_object_id)}
    do(session, "access_policy/new_policy", **{**policy, "description": "one"})
    do(
        session,
        "rbac/new_role_assignment_group",
        name="ids",
        role="Application Mail.Read",
        app=app.object_id,
        group=group.guid,
    )
    counted, ids = Counted(session), Ids()
    targets = [Target("role_assignment", {"name": "ids"}), Target("access_policy", policy)]
    first = [read_object(counted, each, ids) for each in targets]  # type: ignore[arg-type]  # of a session it has what is used
    assert counted.sent == [
        "Get-ManagementRoleAssignment",
        "Get-ServicePrincipal",
        "Get-Group",
        "Get-ApplicationAccessPolicy",
    ]
    counted.sent.clear()
    assert [read_object(counted, each, ids) for each in targets] == first  # type: ignore[arg-type]
    assert counted.sent == ["Get-ManagementRoleAssignment", "Get-ApplicationAccessPolicy"]
    assert [read_object(session, each) for each in targets] == first
    assert isinstance(first[1], Observed)
    do(session, "access_policy/remove_policy", identity=first[1].yields["identity"])
    do(session, "rbac/remove_role_assignment", name="ids")
    do(session, "rbac/remove_service_principal", object_id=app.object_id)
    assert [read_object(session, each, ids) for each in targets] == [None, None]


def test_an_access_policy_by_either_guid_of_its_group(session: ExchangeSession, shared_twin: Twin) -> None:
    app = app_named(shared_twin.tenant.state, OMNISCOPE)
    group = group_named(shared_twin, OMNISCOPE_GROUP)
    key = {"app_id": app.app_id, "access_right": "RestrictAccess", "group": str(group.external_directory_object_id)}
    assert state(session, "access_policy", **key) is None
    do(session, "access_policy/new_policy", **{**key, "description": " "})
    for identity in (group.guid, str(group.external_directory_object_id)):
        found = read_object(session, Target("access_policy", {**key, "group": identity}))
        assert isinstance(found, Observed)
        assert found.state == {"description": " "}
    assert state(session, "access_policy", **{**key, "access_right": "DenyAccess"}) is None
    inside = mailbox(shared_twin, "ada@contoso.com")
    outside = mailbox(shared_twin, "ceo@contoso.com")
    assert test_policy(session, inside.guid, app.app_id) == "granted"
    assert test_policy(session, outside.guid, app.app_id) == "denied"
    assert isinstance(found, Observed)
    do(session, "access_policy/remove_policy", identity=found.yields["identity"])
    assert state(session, "access_policy", **key) is None
    assert test_policy(session, outside.guid, app.app_id) == "granted"


def test_a_managed_group_and_its_members(session: ExchangeSession, shared_twin: Twin) -> None:
    ada, ceo = mailbox(shared_twin, "ada@contoso.com"), mailbox(shared_twin, "ceo@contoso.com")
    values = {"alias": "exoscope-x", "display_name": "exoscope x", "notes": "exoscope: managed ’„“"}
    assert state(session, "group", name="exoscope x") is None
    do(session, "groups/new_group_with_members", name="exoscope x", **values, members=[ada.guid])
    found = read_object(session, Target("group", {"name": "exoscope x"}))
    assert isinstance(found, Observed)
    expected = {
        **values,
        "hidden": False,
        "join_restriction": "Closed",
        "depart_restriction": "Closed",
        "owners": [],
        "members": [ada.guid],
        "type": "Security",
    }
    assert found.state == expected
    assert set(found.yields) == {"distinguished_name", "guid", "external_directory_object_id", "primary_smtp_address"}
    guid = found.yields["guid"]
    do(session, "groups/set_group", group=guid, hidden=True, join_restriction="Closed", depart_restriction="Closed")
    assert state(session, "group", name="exoscope x")["hidden"] is True
    assert state(session, "group_member", group=guid, member=ceo.guid) is None
    do(session, "groups/add_member", group=guid, member=ceo.guid)
    assert state(session, "group_member", group=guid, member=ceo.guid.upper()) == {}
    group = group_named(shared_twin, found.yields["primary_smtp_address"])
    assert set(group_members(session, group)) == {ada.guid, ceo.guid}
    do(session, "groups/remove_member", group=guid, member=ceo.guid)
    assert state(session, "group_member", group=guid, member=ceo.guid) is None
    do(session, "groups/remove_group", group=guid)
    assert state(session, "group", name="exoscope x") is None
    assert state(session, "group_member", group=guid, member=ceo.guid) is None


def test_the_organisation(session: ExchangeSession) -> None:
    assert state(session, "organization") == {"is_dehydrated": False}
    with pytest.raises(ValueError, match="no object of Exchange"):
        state(session, "consent")


def test_exchanges_own_evaluation(session: ExchangeSession, shared_twin: Twin) -> None:
    app = app_named(shared_twin.tenant.state, "Sales Insight")
    rows = test_authorization(session, app.object_id)
    assert rows
    assert all(row.in_scope is None for row in rows)
    inside = {
        each.guid
        for each in preview_filter(session, "(Department -eq 'Sales') -and (RecipientTypeDetails -eq 'UserMailbox')")
    }
    recipients = shared_twin.tenant.state.recipients
    assert isinstance(recipients, tuple)
    assert inside == {
        each.guid
        for each in recipients
        if each.attributes.get("Department") == "Sales" and each.recipient_type_details == "UserMailbox"
    }
    for each in recipients[:12]:
        if each.recipient_type == "UserMailbox":
            found = test_authorization(session, app.object_id, each.guid)
            assert {row.in_scope for row in found if row.scope == "Sales people"} == {each.guid in inside}
    with pytest.raises(ObjectNotFound):
        test_authorization(session, NOBODY)
