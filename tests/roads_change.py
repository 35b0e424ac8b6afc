"""A plan that uses every operation template once at least, as one script would run it: one step after another, none with a hole."""

from __future__ import annotations

from typing import Any

import msgspec

from exoscope.model import AppPlan, Group, Plan, Snapshot, Stage, Step, Target
from exoscope.planning import content_hash
from exoscope.planning.operations import step
from roads_cases import APP, GROUP, OUTSIDER, POLICY, SAMPLE, UNIT, one

PILOTS: Group = one(SAMPLE.groups, display_name="Omniscope pilots")
EMPTY: Group = one(SAMPLE.groups, display_name="Nobody yet")
BACKUP = one(SAMPLE.apps, display_name="Contoso Backup Connector")
CRM = one(SAMPLE.apps, app_id=POLICY.app_id)


def start() -> Snapshot:
    """The sample tenant before it was customised, with a pointer that nothing uses."""
    pointer = msgspec.structs.replace(
        SAMPLE.service_principals[0], app_id=BACKUP.app_id, object_id=BACKUP.object_id, display_name=BACKUP.display_name
    )
    found: Snapshot = msgspec.structs.replace(
        SAMPLE,
        organization=msgspec.structs.replace(SAMPLE.organization, is_dehydrated=True),
        service_principals=(*SAMPLE.service_principals, pointer),
        groups=tuple(
            msgspec.structs.replace(each, owners=()) if each in (PILOTS, EMPTY) else each for each in SAMPLE.groups
        ),
    )
    return found


def plan() -> Plan:
    """The plan."""
    apps = tuple(
        AppPlan(app.app_id, app.object_id, app.display_name, False, (), (), {}, "token") for app in (APP, BACKUP, CRM)
    )
    stages = (Stage("roads", "Every operation", ()),)
    return Plan("scope", SAMPLE.tenant, content_hash(start()), apps, stages, steps())


def steps() -> tuple[Step, ...]:
    """Every kind of transition."""
    found: list[Step] = []

    def add(
        kind: Any, key: dict[str, str], before: Any, after: Any, app: Any = APP, identity: str | None = None
    ) -> None:
        number = f"step-{len(found) + 1}"
        found.append(step(number, "roads", Target(kind, key), before, after, app, identity, label="somebody"))

    add("organization", {}, {"is_dehydrated": True}, {"is_dehydrated": False}, None)
    add("pointer", _ids(APP), None, {"display_name": APP.display_name})
    _scopes_and_assignments(add)
    _policies_and_groups(add)
    add("pointer", _ids(BACKUP), {"display_name": BACKUP.display_name}, None, BACKUP)
    return tuple(found)


def _ids(app: Any) -> dict[str, str]:
    return {"app_id": app.app_id, "object_id": app.object_id}


def _scopes_and_assignments(add: Any) -> None:
    sales, all_of_it = _filter("Department -eq 'Sales'"), _filter("Department -ne $null")
    add("management_scope", {"name": "Roads’ scope"}, None, sales)
    kinds = [
        {"kind": "management_scope", "name": "Roads’ scope"},
        {"kind": "group", "id": GROUP.guid},
        {"kind": "administrative_unit", "id": UNIT.id},
        {"kind": "organization"},
    ]
    for number, scope in enumerate(kinds):
        add("role_assignment", {"name": f"Roads {number}"}, None, _assignment(scope))
    # and one of them from scope to scope, and off
    rooms = {"kind": "management_scope", "name": "Rooms"}
    for before, after in ((kinds[0], kinds[1]), (kinds[1], kinds[2]), (kinds[2], rooms)):
        add("role_assignment", {"name": "Roads 0"}, _assignment(before), _assignment(after))
    add("role_assignment", {"name": "Roads 0"}, _assignment(rooms), {**_assignment(rooms), "enabled": False})
    add("management_scope", {"name": "Roads’ scope"}, sales, all_of_it)
    # What goes was there before: a step back to how an object stood would be taken for one that was done already.
    old = one(SAMPLE.role_assignments, name="Insight O'Brien (off)")
    scope = {"kind": "management_scope", "name": old.scope.name}
    state = {"role": old.role, "assignee": old.assignee, "enabled": False, "scope": scope}
    add("role_assignment", {"name": old.name}, state, None)
    unused = one(SAMPLE.management_scopes, name="Unused since 2023")
    add("management_scope", {"name": unused.name}, _filter(unused.recipient_filter), None)


def _filter(text: str) -> dict[str, Any]:
    return {"recipient_filter": text, "recipient_root": None, "exclusive": False}


def _assignment(scope: dict[str, str]) -> dict[str, Any]:
    return {"role": "Application Mail.Read", "assignee": APP.object_id, "enabled": True, "scope": scope}


def _policies_and_groups(add: Any) -> None:
    key = {"app_id": APP.app_id, "access_right": "RestrictAccess", "group": str(GROUP.external_directory_object_id)}
    add("access_policy", key, None, {"description": "Roads’ “policy”"})
    old = {"app_id": POLICY.app_id, "access_right": POLICY.access_right, "group": POLICY.scope.object_id}
    add("access_policy", old, {"description": POLICY.description}, None, CRM, POLICY.identity)
    for name, members in (("exoscope-roads", []), ("exoscope-roads-full", sorted([OUTSIDER.guid, *GROUP.members[:2]]))):
        made = {**_group(EMPTY), "alias": name, "display_name": name, "notes": "Managed’s", "members": members}
        add("group", {"name": name}, None, {**made, "join_restriction": "Closed", "depart_restriction": "Closed"})
    shown = _group(PILOTS)
    hidden = {**shown, "hidden": True, "join_restriction": "Closed", "depart_restriction": "Closed"}
    add("group", {"name": PILOTS.display_name}, shown, hidden, APP, PILOTS.guid)
    add("group_member", {"group": PILOTS.guid, "member": OUTSIDER.guid}, None, {})
    add("group_member", {"group": GROUP.guid, "member": GROUP.members[0]}, {}, None)
    add("group", {"name": EMPTY.display_name}, _group(EMPTY), None, APP, EMPTY.guid)


def _group(group: Group) -> dict[str, Any]:
    security = group.recipient_type_details == "MailUniversalSecurityGroup"
    return {
        "alias": str(group.primary_smtp_address).partition("@")[0],
        "display_name": group.display_name,
        "notes": "",
        "hidden": False,
        "join_restriction": group.join_restriction,
        "depart_restriction": group.depart_restriction,
        "owners": [],
        "members": sorted(group.members or ()),
        "type": "Security" if security else "Distribution",
    }
