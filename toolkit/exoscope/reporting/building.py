"""A verification as evidence for an auditor."""

from __future__ import annotations

from collections.abc import Iterable

from exoscope import catalog
from exoscope.checking import Verification
from exoscope.clock import iso
from exoscope.model import Addresses, AppPlan, Recipient
from exoscope.powershell import render_guarded
from exoscope.proving import AppClaim
from exoscope.proving import Claim as Claimed
from exoscope.reach import Reach
from exoscope.reporting.evidence import Claim, Evidence, Repeat

SHOWN = 3
"""Mailboxes of each side for which the commands to repeat are spelled out."""


def evidence_of(done: Verification) -> Evidence:
    """What the page says of a verification."""
    everyone = len(Reach(done.snapshot).mailboxes)
    return Evidence(
        format="exoscope/evidence@1",
        verdict=done.proof.verdict,
        tenant=done.snapshot.tenant,
        operator=done.operator,
        started_at=iso(done.started),
        finished_at=iso(done.finished),
        tool_version=done.tool_version,
        snapshot_hash=done.snapshot_hash,
        plan_hash=done.plan_hash,
        run=done.run,
        claims=tuple(_claims(done, everyone)),
        proof=done.proof,
        repeat=tuple(_repeat(done)),
    )


def _claims(done: Verification, everyone: int) -> Iterable[Claim]:
    planned = {app.app_id.casefold(): app for app in done.plan.apps} if done.plan else {}
    for claimed, proof in zip(done.claims, done.proof.apps, strict=True):
        for claim in claimed.claims:
            seen = proof.permissions[claim.permission]
            before = _before(planned.get(claimed.app.app_id.casefold()), claim.permission)
            yield Claim(
                app_id=claimed.app.app_id,
                object_id=claimed.app.object_id,
                display_name=claimed.app.display_name,
                permission=claim.permission,
                inside=len(claim.expected),
                of=everyone,
                verdict=seen.verdict,
                why=seen.why,
                before=_count(before, everyone),
                before_addresses=before.addresses if before and not before.all_but else None,
                before_all_but=before.addresses if before and before.all_but else None,
            )


def _before(planned: AppPlan | None, permission: str) -> Addresses | None:
    reach = planned.permissions.get(permission) if planned else None
    return reach.before if reach else None


def _count(before: Addresses | None, everyone: int) -> int | None:
    if before is None:
        return None
    return everyone - len(before.addresses) if before.all_but else len(before.addresses)


def _repeat(done: Verification) -> Iterable[Repeat]:
    reach = Reach(done.snapshot)
    for claimed, proof in zip(done.claims, done.proof.apps, strict=True):
        yield Repeat(
            f"What Exchange's assignments give {claimed.app.display_name} (in a session of Connect-ExchangeOnline)",
            _script("verify/authorizations", {"app": claimed.app.object_id}),
        )
        for claim in claimed.claims:
            checks = proof.permissions[claim.permission].checks
            for expected in ("allowed", "denied"):
                some = [each for each in checks if each.expected == expected][:SHOWN]
                for check in some:
                    mailbox = reach.find_mailbox(check.mailbox)
                    yield Repeat(
                        f"{claim.permission}, {check.mailbox}: expected {expected}",
                        "\n".join(_commands(claimed, claim, mailbox, done.graph)),
                    )


def _commands(claimed: AppClaim, claim: Claimed, mailbox: Recipient, graph: str) -> Iterable[str]:
    if "rbac" in claim.mechanisms:
        yield _script("verify/authorization", {"app": claimed.app.object_id, "resource": mailbox.guid})
    if "access-policy" in claim.mechanisms:
        yield _script("verify/access_policy", {"mailbox": mailbox.guid, "app_id": claimed.app.app_id})
    probe = catalog.probe_for(claim.permission)
    if probe is not None and mailbox.external_directory_object_id:
        path = probe[1].replace("{id}", mailbox.external_directory_object_id)
        # $token: an access token of the app itself, fetched after the change
        yield f"Invoke-RestMethod -Headers @{{ Authorization = \"Bearer $token\" }} -Uri '{graph}/v1.0{path}'"


def _script(template: str, values: dict[str, object]) -> str:
    text = render_guarded(template, values).text
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
