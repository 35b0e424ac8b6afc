"""Scripts run on paper: what the frame does with a data block, done to a snapshot, so that whole plans are tried in milliseconds.

It reads and compares with planning's own eyes; what PowerShell makes of the same files is for tests/pwsh. What is made gets
identities of its own, which no simulation guesses.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from exoscope.model import Snapshot, State, Step, Target
from exoscope.planning import effect, states
from exoscope.scripting import ScriptData, ScriptResult, ScriptStep, load_result

START = "2026-11-23T09:00:00Z"


class Paper:
    """A tenant on paper. ``made`` counts identities given, ``sent`` the steps that were sent, by script and id."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.unseen: dict[str, dict[str, Any]] = {}
        self.sent: list[str] = []
        self.made = 0

    def run(
        self, data: ScriptData, *, die_after: int | None = None, decline: bool = False, at: str = START
    ) -> ScriptResult:
        """Run a script. ``die_after``: the process ends after so many sends; ``decline``: the first question is answered no."""
        entries = [
            {"id": step.id, "outcome": "open", "at": None, "found": self.rows(step), "seen": None, "error": ""}
            for step in data.steps
        ]
        result: dict[str, Any] = {
            "format": "exoscope/script-result@1",
            "plan": data.plan,
            "tenant": data.tenant.id,
            "script": data.script,
            "stage": data.stage,
            "started_at": at,
            "finished_at": None,
            "outcome": "running",
            "why": "",
            "steps": entries,
        }
        ending = self._run(data, entries, die_after, decline)
        if ending != "running":
            result |= {"outcome": ending, "finished_at": at}
        return load_result(json.dumps(result).encode(), data.script)

    def _run(self, data: ScriptData, entries: list[dict[str, Any]], die_after: int | None, decline: bool) -> str:
        if not self._fills(data):
            return "refused"
        moved = {each.key["member"] for each in data.steps if each.kind == "group_member"}
        steps = [_but_for(step, moved) for step in data.steps]
        chained = {each for step in data.steps for each in step.later}
        if any(self.place(step) == "other" for step in steps if step.id not in chained):
            return "refused"
        sent = 0
        for step, entry in zip(steps, entries, strict=True):
            entry["found"] = self.rows(step)
            place = self.place(step)
            if place == "after":
                entry |= {"outcome": "already", "seen": entry["found"], "at": START}
                continue
            if place != "before" or decline:
                return "stopped" if sent else "refused"
            if sent == die_after:
                return "running"
            self.send(step)
            self.sent.append(step.id)
            sent += 1
            entry |= {"outcome": "done", "seen": self.rows(step), "at": START}
            assert self.place(step) == "after", step.title
        return "done"

    def _fills(self, data: ScriptData) -> bool:
        for fill in data.fills:
            group = states.find_group_named(self.snapshot, fill.key["name"])
            if group is None or any(getattr(group, name) != value for name, value in fill.values.items()):
                return False
        return True

    def place(self, step: ScriptStep) -> str:
        """Where the object stands: before the step, after it, or otherwise."""
        target = Target(step.kind, step.key)
        state = self.state(target)
        if states.agrees(step.kind, state, step.after):
            return "after"
        if not states.agrees(step.kind, state, step.before):
            return "other"
        return "before" if self._own(step, target) else "other"

    def _own(self, step: ScriptStep, target: Target) -> bool:
        if step.before is None:
            return True
        name = {"group": "group", "access_policy": "identity"}.get(step.kind)
        if name is not None and name in step.values:
            return bool(self._identity(target) == step.values[name])
        if step.kind == "consent" and step.request is not None and step.request.method == "DELETE":
            return step.request.path.rpartition("/")[2] == self._identity(target)
        return True

    def state(self, target: Target) -> State:
        """How the object reads, with what a snapshot does not hold of a group."""
        state = states.shown(self.snapshot, target)
        if target.kind == "group" and state is not None:
            return {**self.unseen.get(target.key["name"], {}), **state}
        return state

    def _identity(self, target: Target) -> str | None:
        if target.kind == "group":
            group = states.find_group_named(self.snapshot, target.key["name"])
            return None if group is None else group.guid
        if target.kind == "access_policy":
            policy = states.find_policy(self.snapshot, target.key)
            return None if policy is None else policy.identity
        app = states.find_app(self.snapshot, target.key["app_id"])
        assert app is not None
        return next((c.id for c in app.consents if c.app_role_id == target.key["app_role_id"]), None)

    def send(self, step: ScriptStep | Step) -> None:
        """Do one step's write."""
        target = step.target if isinstance(step, Step) else Target(step.kind, step.key)
        self.snapshot = effect.after(self.snapshot, target, step.after)
        if step.after is None:
            return
        if target.kind == "group":
            names = ("alias", "notes", "hidden", "type", "owners")
            self.unseen[target.key["name"]] = {name: step.after[name] for name in names}
        if step.before is None:
            self.snapshot = effect.named(self.snapshot, target, self._given(target))

    def _given(self, target: Target) -> dict[str, str]:
        self.made += 1
        guid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.made} {target}"))
        if target.kind == "group":
            return {
                "guid": guid,
                "external_directory_object_id": str(uuid.uuid5(uuid.NAMESPACE_OID, guid)),
                "distinguished_name": f"CN={target.key['name']} O'Neil,OU=made {self.made},DC=example",
                "primary_smtp_address": f"made-{self.made}@contoso.com",
            }
        if target.kind == "access_policy":
            return {"identity": f"t\\{target.key['app_id']}:S-1-5-21-{self.made};{target.key['group']}"}
        return {"id": f"made-{guid}"} if target.kind == "consent" else {}

    # -- rows as PowerShell notes them ---------------------------------------------------------------------------------

    def rows(self, step: ScriptStep | Step) -> Any:
        """What the script would note of the step's object."""
        target = step.target if isinstance(step, Step) else Target(step.kind, step.key)
        return _ROWS[target.kind](self, target.key)

    def _pointer(self, key: Mapping[str, str]) -> Any:
        found = states.find_pointers(self.snapshot, key["app_id"])
        return {"pointer": [_pointer(each) for each in found if each.object_id == key["object_id"]]}

    def _scope(self, key: Mapping[str, str]) -> Any:
        scope = states.find_scope(self.snapshot, key["name"])
        if scope is None:
            return {"scope": []}
        row = {
            "Name": scope.name,
            "ScopeRestrictionType": "RecipientScope",
            "RecipientFilter": f"(({scope.recipient_filter}))",
            "RecipientRoot": scope.recipient_root,
            "Exclusive": scope.exclusive,
        }
        return {"scope": [row]}

    def _assignment(self, key: Mapping[str, str]) -> Any:
        found = states.find_assignment(self.snapshot, key["name"])
        pointers = [_pointer(each) for each in states.listed(self.snapshot, "service_principals")]
        if found is None:
            return {"assignment": [], "pointers": pointers}
        scope = states.scope_state(found.scope)
        assert scope["kind"] in ("management_scope", "organization")
        row = {
            "Name": found.name,
            "Role": found.role,
            "RoleAssigneeName": found.assignee,
            "RoleAssigneeType": "ServicePrincipal",
            "Enabled": found.enabled,
            "RecipientWriteScope": "CustomRecipientScope" if "name" in scope else "Organization",
            "CustomResourceScope": scope.get("name"),
            "CustomRecipientWriteScope": None,
        }
        return {"assignment": [row], "pointers": pointers}

    def _policy(self, key: Mapping[str, str]) -> Any:
        rows = [
            {
                "Identity": each.identity,
                "AppId": each.app_id,
                "AccessRight": each.access_right,
                "ScopeName": each.scope.name,
                "ScopeIdentityRaw": f"S-1-5-21-7;{each.scope.object_id}",
                "Description": each.description,
                "IsValid": True,
            }
            for each in states.listed(self.snapshot, "access_policies")
        ]
        group = states.find_group(self.snapshot, key["group"])
        return {"policies": rows, "group": [] if group is None else [_group(group)]}

    def _named_group(self, key: Mapping[str, str]) -> Any:
        group = states.find_group_named(self.snapshot, key["name"])
        if group is None:
            return {"distribution_group": [], "group": [], "members": []}
        unseen = self.unseen[key["name"]]
        row = {
            "Guid": group.guid,
            "ExternalDirectoryObjectId": group.external_directory_object_id,
            "Name": key["name"],
            "Alias": unseen["alias"],
            "DisplayName": group.display_name,
            "PrimarySmtpAddress": group.primary_smtp_address,
            "DistinguishedName": group.distinguished_name,
            "ManagedBy": ["Organization Management"],
            "MemberJoinRestriction": group.join_restriction,
            "MemberDepartRestriction": group.depart_restriction,
            "HiddenFromAddressListsEnabled": unseen["hidden"],
        }
        detail = {**_group(group), "Notes": f"{unseen['notes']}\r\n"}
        return {"distribution_group": [row], "group": [detail], "members": [{"Guid": m} for m in group.members or ()]}

    def _member(self, key: Mapping[str, str]) -> Any:
        group = states.find_group(self.snapshot, key["group"])
        assert group is not None
        return {"group": [_group(group)], "members": [{"Guid": each} for each in group.members or ()]}

    def _consent(self, key: Mapping[str, str]) -> Any:
        there = self.state(Target("consent", dict(key))) is not None
        given = self._identity(Target("consent", dict(key))) if there else ""
        return {"there": there, "id": given, "resource_id": "70000000-0000-0000-0000-000000000001"}

    def _request(self, key: Mapping[str, str]) -> Any:
        return {"there": self.state(Target("request", dict(key))) is not None, "required": []}


def _but_for(step: ScriptStep, moved: set[str]) -> ScriptStep:
    """A group's step in a script that moves members: those it moves are not compared, and here then none."""
    if step.kind != "group" or not moved:
        return step

    def less(state: State) -> State:
        return None if state is None else {name: value for name, value in state.items() if name != "members"}

    return msgspec.structs.replace(step, before=less(step.before), after=less(step.after))


def _pointer(each: Any) -> dict[str, Any]:
    return {"ObjectId": each.object_id, "AppId": each.app_id, "DisplayName": each.display_name}


def _group(group: Any) -> dict[str, Any]:
    return {
        "Guid": group.guid,
        "ExternalDirectoryObjectId": group.external_directory_object_id,
        "Name": group.display_name,
        "DisplayName": group.display_name,
        "DistinguishedName": group.distinguished_name,
        "RecipientTypeDetails": group.recipient_type_details,
    }


_ROWS: Any = {
    "pointer": Paper._pointer,
    "management_scope": Paper._scope,
    "role_assignment": Paper._assignment,
    "access_policy": Paper._policy,
    "group": Paper._named_group,
    "group_member": Paper._member,
    "consent": Paper._consent,
    "request": Paper._request,
}
