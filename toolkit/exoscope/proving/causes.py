"""Why an answer is not the expected one, as a stable code, and the exact command that mends it. Pure.

Codes: leftover-consent, extra-member, other-assignment, policy-missing, other-policy, token-carries-role, not-predicted,
not-granted, cached-denial, graph-denied, unread, exchange-disagrees, mailbox-kind, graph-unknown.

A remedy takes away what opens the mailbox and nothing that the intent rests on: what also serves a mailbox that must be
reached, or is the only policy that holds a consent back, is never removed by one.
"""

from __future__ import annotations

from typing import NamedTuple

from exoscope import opath
from exoscope.model import App, Group, GroupScope, ManagementScopeScope, Mechanism, Recipient, Scope
from exoscope.planning.states import find_group, find_scope, listed, same_filter
from exoscope.powershell import render_guarded
from exoscope.proving.judge import Circumstances, Expected, Witnessed, exchange_answer
from exoscope.reach import Mailboxes, Reach, Story

_EXCHANGE_GROUPS = frozenset({"mailuniversalsecuritygroup", "mailuniversaldistributiongroup"})
"""Groups whose members Remove-DistributionGroupMember takes out; others have cmdlets of their own."""


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
    meant: Mailboxes,
    mailbox: str,
    expected: Expected,
    seen: Witnessed,
    about: Circumstances,
) -> Cause | None:
    """The cause of a row that is not as it must be; None where every witness agrees with the expectation. ``meant`` are all
    mailboxes that must be reached."""
    exchange = exchange_answer(seen.scope, seen.test)
    said = (seen.predicted, exchange, seen.graph)
    wrong = "denied" if expected == "allowed" else "allowed"
    if wrong in said:
        if expected == "allowed":
            return _missing(seen, exchange, about)
        if seen.predicted == "allowed":
            return _leak(reach, reach.explain(app, permission, mailbox), app, mechanisms, meant)
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


def _leak(reach: Reach, story: Story, app: App, mechanisms: frozenset[Mechanism], meant: Mailboxes) -> Cause:
    """What opens a mailbox that must stay closed: an assignment, a consent that no policy keeps from it, another policy, or a
    membership in what the intent itself rests on."""
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
        return Cause("policy-missing", PLAN_AGAIN) if policy is None else _policy(reach, app, policy, story, meant)
    assignment = next((told.id for told in opening if told.rule == "assignment" and told.id), None)
    return Cause("not-predicted", None) if assignment is None else _assignment(reach, app, assignment, story, meant)


def _policy(reach: Reach, app: App, identity: str, story: Story, meant: Mailboxes) -> Cause:
    policies = listed(reach.snapshot, "access_policies")
    found = next(each for each in policies if each.identity == identity)
    without = reach.with_(access_policies=tuple(each for each in policies if each is not found))
    if _only_closes(reach, without, app, story.permission, meant):
        return Cause(
            "other-policy", _one_line(render_guarded("access_policy/remove_policy", {"identity": identity}).text)
        )
    if reach.policy_members(found).inside & meant:
        return _member(find_group(reach.snapshot, found.scope.object_id), reach.find_mailbox(story.mailbox))
    return Cause("other-policy", PLAN_AGAIN)


def _assignment(reach: Reach, app: App, name: str, story: Story, meant: Mailboxes) -> Cause:
    assignments = listed(reach.snapshot, "role_assignments")
    found = next(each for each in assignments if each.name == name)
    without = reach.with_(role_assignments=tuple(each for each in assignments if each is not found))
    if _only_closes(reach, without, app, story.permission, meant):
        return Cause("other-assignment", _one_line(render_guarded("rbac/remove_role_assignment", {"name": name}).text))
    group = _group_of(reach, found.scope)
    if group is None:
        return Cause("other-assignment", PLAN_AGAIN)
    return _member(group, reach.find_mailbox(story.mailbox))


def _only_closes(now: Reach, then: Reach, app: App, permission: str, meant: Mailboxes) -> bool:
    """Would the app lose nothing that it must reach, and gain nothing at all?"""
    before, unsure = now.sets(app, permission)
    after, doubtful = then.sets(app, permission)
    return not (before & meant) - after and not (after | doubtful) - (before | unsure)


def _group_of(reach: Reach, scope: Scope) -> Group | None:
    """The group whose members are a scope, where it is one group's."""
    if isinstance(scope, GroupScope):
        return find_group(reach.snapshot, scope.id)
    if not isinstance(scope, ManagementScopeScope):
        return None
    found = find_scope(reach.snapshot, scope.name)
    groups = listed(reach.snapshot, "groups")
    return next(
        (
            each
            for each in groups
            if found is not None
            and same_filter(found.recipient_filter, str(opath.member_of(each.distinguished_name))) is True
        ),
        None,
    )


def _member(group: Group | None, mailbox: Recipient) -> Cause:
    """A mailbox in a group that must not hold it: taking it out is enough where it is a direct member."""
    direct = group is not None and mailbox.guid.casefold() in {each.casefold() for each in group.members or ()}
    if group is None or not direct or group.recipient_type_details.casefold() not in _EXCHANGE_GROUPS:
        return Cause("extra-member", None)
    values = {"group": group.guid, "member": mailbox.guid}
    return Cause("extra-member", _one_line(render_guarded("groups/remove_member", values).text))


def _one_line(script: str) -> str:
    return " ".join(line for line in script.splitlines() if line.strip() and not line.lstrip().startswith("#")).strip()
