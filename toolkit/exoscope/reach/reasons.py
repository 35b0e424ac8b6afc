"""Why: one reason for each consent, policy and assignment that an answer rests on, and the story of one answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from exoscope import catalog
from exoscope.model import (
    AdministrativeUnitScope,
    App,
    GroupScope,
    ManagementScopeScope,
    RoleAssignment,
)
from exoscope.reach.answers import Effect, Reason, Told
from exoscope.reach.rules import NO_REACH, Given, Held, Judged, Rules
from exoscope.reach.sets import Span


def reasons(rules: Rules, app: App, permission: str, place: int | None = None) -> Iterator[Reason]:
    """The reasons of an answer; with ``place``, only those that bear on that mailbox."""
    held = [each for each in rules.held(app, permission) if each.permission not in NO_REACH]
    for each in held:
        span = rules.consent_span(app, each)
        if place is None or place in span.possible:
            yield Reason("consent", each.consent.id, _consent_effect(rules, app, each), _consent_text(rules, app, each))
    # A policy is a reason where it says something of the mailbox: why it is open, or why that is not known.
    governed = [each for each in held if catalog.governed(each.permission, each.consent.resource)]
    if governed and any(place is None or place in rules.consent_span(app, each).possible for each in governed):
        yield from _policy_reasons(rules, app, place)
    yield from _assignment_reasons(rules, app, permission, place)


def _consent_effect(rules: Rules, app: App, held: Held) -> Effect:
    name = held.permission
    if held.doubt or name in catalog.PROTOCOLS or rules.enforcement(app):
        return "unknown"
    span = rules.consent_span(app, held)
    return "unknown" if span.possible and not span.sure else "allows"


def _consent_text(rules: Rules, app: App, held: Held) -> str:
    name, resource = held.permission, held.consent.resource
    if held.doubt:
        return f"consent {name}: {held.doubt}"
    if name in catalog.PROTOCOLS:
        return f"consent {name} opens the mailboxes on which the app has mailbox permissions, which are not in the snapshot"
    if name in NO_REACH:
        return f"consent {name} opens no mailbox here; see the findings"
    if doubt := rules.enforcement(app):
        return f"consent {name}: {doubt}"
    if not catalog.governed(name, resource):
        return f"consent {name} is tenant-wide: access policies do not govern it"
    judged = rules.policies(app.app_id)
    if judged is None:
        return f"consent {name} is tenant-wide, but for access policies, which were not read"
    return f"consent {name} is tenant-wide" + (", but for the access policies of the app" if judged else "")


def _policy_reasons(rules: Rules, app: App, place: int | None) -> Iterator[Reason]:
    judged = rules.policies(app.app_id)
    if judged is None:
        yield Reason("policy", "access_policies", "unknown", "access policies were not read")
    for each in judged or ():
        inside = each.inside.span
        effect: Effect = "denies" if each.policy.access_right == "DenyAccess" else "restricts"
        if place is None:
            if inside.unknown:
                effect = "unknown"
        elif place in inside.unknown:
            effect = "unknown"
        elif place not in inside.sure:
            continue
        yield Reason("policy", each.policy.identity, effect, policy_text(each))


def policy_text(judged: Judged) -> str:
    """A policy in words."""
    policy, inside = judged
    verb = "denies" if policy.access_right == "DenyAccess" else "restricts the app to"
    whom = f"{len(inside.span.sure)} mailboxes of {policy.scope.name}"
    every = " (a policy for every app)" if policy.app_id == "*" else ""
    doubt = f"; {inside.problem}" if inside.problem else ""
    return f"{policy.access_right} {verb} {whom}{every}{doubt}"


def _assignment_reasons(rules: Rules, app: App, permission: str, place: int | None) -> Iterator[Reason]:
    given = rules.given(app, permission)
    if given is None:
        yield Reason("assignment", "role_assignments", "unknown", "role assignments were not read")
    for each in given or ():
        if place is not None and place not in each.span.possible:
            continue
        if place is None:
            effect: Effect = "unknown" if each.span.possible and not each.span.sure else "allows"
        else:
            effect = "allows" if place in each.span.sure else "unknown"
        yield Reason("assignment", each.assignment.name, effect, given_text(each))


def given_text(given: Given) -> str:
    """An assignment in words: role, scope, how many mailboxes, what is not known."""
    parts = [f"role {given.assignment.role} over {scope_text(given.assignment)}: {len(given.span.sure)} mailboxes"]
    if given.span.unknown:
        parts.append(f"{len(given.span.unknown)} unknown")
    text = ", ".join(parts)
    for doubt in (given.doubt, given.inside.problem):
        if doubt:
            text += f"; {doubt}"
    return text


def scope_text(assignment: RoleAssignment) -> str:
    """The scope of an assignment in words."""
    scope = assignment.scope
    if isinstance(scope, ManagementScopeScope):
        return f"the management scope {scope.name}"
    if isinstance(scope, AdministrativeUnitScope):
        return f"the administrative unit {scope.id}"
    if isinstance(scope, GroupScope):
        return f"the direct members of the group {scope.id}"
    return "the whole organisation"


# -- the story of one answer --------------------------------------------------------------------------------------------


def story(rules: Rules, app: App, permission: str, place: int) -> Iterator[Told]:
    """Every rule in its order, and what came of it for the mailbox at ``place``."""
    held = rules.held(app, permission)
    others = ", ".join(catalog.implied_by(permission))
    if not held:
        yield Told(
            "consent", None, "nothing", f"the app holds no consent that lets a call for {permission} through ({others})"
        )
    for each in held:
        yield Told("consent", each.consent.id, _consent_effect_word(each), _consent_text(rules, app, each))
    if any(catalog.governed(each.permission, each.consent.resource) for each in held):
        yield from _policies_told(rules, app, place)
    if held:
        doubt = rules.enforcement(app)
        text = doubt or "neither the organisation nor the pointer enforces RBAC, so consents act as documented"
        yield Told("enforcement", None, "unknown" if doubt else "nothing", text)
    yield from _assignments_told(rules, app, permission, place)
    yield _union_told(rules, app, permission, place)


def _consent_effect_word(held: Held) -> Literal["allows", "unknown", "nothing"]:
    if held.permission in NO_REACH:
        return "nothing"
    return "unknown" if held.doubt or held.permission in catalog.PROTOCOLS else "allows"


def _membership(span: Span, place: int) -> Literal["inside", "outside", "unknown"]:
    if place in span.sure:
        return "inside"
    return "unknown" if place in span.possible else "outside"


def _policies_told(rules: Rules, app: App, place: int) -> Iterator[Told]:
    judged = rules.policies(app.app_id)
    if judged is None:
        yield Told("policy", None, "unknown", "access policies were not read")
        return
    if not judged:
        yield Told("policy", None, "allows", "no access policy is for this app, so its consent opens every mailbox")
        return
    for each in judged:
        where = _membership(each.inside.span, place)
        acts: Literal["denies", "restricts"] = "denies" if each.policy.access_right == "DenyAccess" else "restricts"
        outcome: Literal["denies", "restricts", "allows", "unknown", "nothing"]
        if where == "unknown":
            outcome = "unknown"
        elif where == "inside":
            outcome = "denies" if acts == "denies" else "allows"
        else:
            outcome = "nothing" if acts == "denies" else "restricts"
        place_text = {
            "inside": "the mailbox is in it",
            "outside": "the mailbox is not in it",
            "unknown": "unknown whether",
        }
        yield Told("policy", each.policy.identity, outcome, f"{policy_text(each)}: {place_text[where]}")
    span = rules.policy_span(app.app_id)
    where = _membership(span, place)
    verdicts: dict[str, tuple[Literal["allows", "denies", "unknown"], str]] = {
        "inside": ("allows", "taken together, policies let the consent reach the mailbox"),
        "outside": ("denies", "taken together, policies keep the consent from the mailbox"),
        "unknown": ("unknown", "whether policies let the consent reach the mailbox is not known"),
    }
    yield Told("policy", None, *verdicts[where])


def _assignments_told(rules: Rules, app: App, permission: str, place: int) -> Iterator[Told]:
    assigned = rules.assigned(app)
    if assigned is None:
        yield Told("assignment", None, "unknown", "role assignments were not read")
        return
    giving = {each.assignment.name: each for each in rules.given(app, permission) or ()}
    if not assigned:
        yield Told("assignment", None, "nothing", "no role assignment is the app's")
    for assignment, _ in assigned:
        name = assignment.name
        if name in giving:
            where = _membership(giving[name].span, place)
            outcome: Literal["allows", "nothing", "unknown"] = (
                "allows" if where == "inside" else "nothing" if where == "outside" else "unknown"
            )
            words = {
                "inside": "the mailbox is in it",
                "outside": "the mailbox is not in it",
                "unknown": "unknown whether",
            }
            yield Told("assignment", name, outcome, f"{given_text(giving[name])}: {words[where]}")
        elif not assignment.enabled:
            yield Told("assignment", name, "nothing", f"role {assignment.role}: the assignment is disabled")
        else:
            yield Told("assignment", name, "nothing", f"role {assignment.role} does not give {permission}")


def _union_told(rules: Rules, app: App, permission: str, place: int) -> Told:
    where = _membership(rules.total(app, permission), place)
    if where == "inside":
        return Told("union", None, "allows", "reach is the union: at least one rule opens the mailbox")
    if where == "unknown":
        return Told(
            "union", None, "unknown", "reach is the union: nothing opens the mailbox for certain, something may"
        )
    return Told("union", None, "denies", "reach is the union: nothing opens the mailbox")
