"""What a script reads of a step's object: the same rendered templates that exoscope reads with, by the name the frame knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exoscope.scripting.data import Fill, ScriptStep

Read = tuple[str, str, dict[str, Any]]
"""The frame's name for the rows, the template, and its values."""


def reads_of(step: ScriptStep) -> tuple[Read, ...]:
    """The reads of a step on Exchange. Raises ValueError for an object that is not Exchange's."""
    key = step.key
    if step.kind == "organization":
        return (("organization", "inventory/organization", {}),)
    if step.kind == "pointer":
        return (("pointer", "inventory/service_principal", {"identity": key["object_id"]}),)
    if step.kind == "management_scope":
        return (("scope", "inventory/management_scope", {"identity": key["name"]}),)
    if step.kind == "role_assignment":
        return _assignment(step)
    if step.kind == "access_policy":
        # As a list: a policy's identity holds a SID that a plan does not know.
        return (("policies", "inventory/access_policies", {}), _group(key["group"]))
    if step.kind == "group":
        return (
            ("distribution_group", "inventory/distribution_group", {"identity": key["name"]}),
            _group(key["name"]),
            _members(key["name"]),
        )
    if step.kind == "group_member":
        return (_group(key["group"]), _members(key["group"]))
    raise ValueError(f"{step.kind} is no object of Exchange")


def read_of_fill(fill: Fill) -> Read:
    """How a script reads again what an earlier step made. Raises ValueError for a kind whose values no step of Exchange uses."""
    if fill.kind != "group":
        raise ValueError(f"what a {fill.kind} yields stands in no script")
    return "distribution_group", "inventory/distribution_group", {"identity": fill.key["name"]}


def _assignment(step: ScriptStep) -> tuple[Read, ...]:
    found: list[Read] = [
        ("assignment", "inventory/role_assignment", {"identity": step.key["name"]}),
        ("pointers", "inventory/service_principals", {}),
    ]
    scopes: list[Mapping[str, str]] = [state["scope"] for state in (step.before, step.after) if state is not None]
    if any(scope["kind"] == "administrative_unit" for scope in scopes):
        found.append(("units", "inventory/administrative_units", {}))
    # Of two groups the later one: it is what the assignment must read back as.
    groups = [scope["id"] for scope in scopes if scope["kind"] == "group"]
    return (*found, *([_group(groups[-1])] if groups else []))


def _group(identity: str) -> Read:
    return "group", "inventory/group", {"identity": identity}


def _members(group: str) -> Read:
    return "members", "inventory/distribution_group_members", {"group": group}
