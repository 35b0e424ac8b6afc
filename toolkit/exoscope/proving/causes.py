"""Why an answer is not the expected one, as a stable code, and the exact command that mends it. Pure.

Codes: leftover-consent, other-assignment, policy-missing, other-policy, token-carries-role, not-predicted, not-granted,
cached-denial, graph-denied, unread, exchange-disagrees, mailbox-kind, graph-unknown.
"""

from __future__ import annotations

from typing import NamedTuple

from exoscope.model import App, Mechanism
from exoscope.powershell import render_guarded
from exoscope.proving.judge import Circumstances, Expected, Witnessed, exchange_answer
from exoscope.reach import Reach, Story


class Cause(NamedTuple):
    """``remedy`` null: nothing to run, only to wait or to look."""

    code: str
    remedy: str | None


PLAN_AGAIN = "exoscope plan SCOPE_YAML -o NEW_PLAN && exoscope apply NEW_PLAN"
"""With the names of the intent at hand and of a new file: which ones is not known here."""


def cause_of(
    reach: Reach,
    app: App,
    permission: str,
    mechanisms: frozenset[Mechanism],
    mailbox: str,
    expected: Expected,
    seen: Witnessed,
    about: Circumstances,
) -> Cause | None:
    """The cause of a row that is not as it must be; None where every witness agrees with the expectation."""
    exchange = exchange_answer(seen.scope, seen.test)
    said = (seen.predicted, exchange, seen.graph)
    wrong = "denied" if expected == "allowed" else "allowed"
    if wrong in said:
        if expected == "allowed":
            return _missing(seen, exchange, about)
        if seen.predicted == "allowed":
            return _leak(reach.explain(app, permission, mailbox), app, mechanisms)
        if seen.graph == "allowed" and about.carried:
            return Cause("token-carries-role", None)
        return Cause("not-predicted", "exoscope snapshot -o now.json")
    if seen.predicted == "unknown":
        return Cause("unread", None)
    if exchange == "unknown":
        return Cause("exchange-disagrees", None)
    if seen.graph == "unknown":
        return Cause("mailbox-kind" if (seen.status or "").startswith("404") else "graph-unknown", None)
    return None


def _missing(seen: Witnessed, exchange: str, about: Circumstances) -> Cause:
    if "denied" in (seen.predicted, exchange):
        return Cause("not-granted", PLAN_AGAIN)
    return Cause("cached-denial" if about.settling else "graph-denied", None)


def _leak(story: Story, app: App, mechanisms: frozenset[Mechanism]) -> Cause:
    """What opens a mailbox that must stay closed: an assignment, a consent that no policy keeps from it, another policy."""
    opening = [told for told in story.told if told.outcome == "allows"]
    together = next((told.outcome for told in story.told if told.rule == "policy" and told.id is None), "allows")
    consent = next((told.id for told in opening if told.rule == "consent"), None) if together != "denies" else None
    if consent is not None and "access-policy" not in mechanisms:
        return Cause(
            "leftover-consent",
            f"Invoke-MgGraphRequest -Method DELETE -Uri '/v1.0/servicePrincipals/{app.object_id}/appRoleAssignments/{consent}'",
        )
    if consent is not None:
        policy = next((told.id for told in opening if told.rule == "policy" and told.id), None)
        if policy is not None:
            return Cause(
                "other-policy", _one_line(render_guarded("access_policy/remove_policy", {"identity": policy}).text)
            )
        return Cause("policy-missing", PLAN_AGAIN)
    assignment = next((told.id for told in opening if told.rule == "assignment" and told.id), None)
    if assignment is not None:
        return Cause(
            "other-assignment", _one_line(render_guarded("rbac/remove_role_assignment", {"name": assignment}).text)
        )
    return Cause("not-predicted", None)


def _one_line(script: str) -> str:
    return " ".join(line for line in script.splitlines() if line.strip() and not line.lstrip().startswith("#")).strip()
