"""Proofs printed for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exoscope.cli import frame
from exoscope.cli.printing import line, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exoscope.checking import StageAnswer
    from exoscope.model import Check, Proof


def print_proof(proof: Proof, limit: int = 20) -> None:
    """Verdict, apps, what is not as expected, and what is not covered."""
    line(f"Verdict: {proof.verdict}")
    for app in proof.apps:
        line()
        scoped = "scoped" if app.scoped else f"NOT scoped ({', '.join(app.not_scoped_because)})"
        line(f"{app.display_name} ({app.app_id}): {scoped}")
        for name, seen in app.permissions.items():
            inside = sum(1 for check in seen.checks if check.expected == "allowed")
            line(f"  {name}: {seen.verdict}{': ' + seen.why if seen.why else ''}")
            line(f"    {inside} mailboxes inside; {seen.sampled} of {seen.of} outside were asked")
            if seen.upper_bound:
                line(
                    f"    0 leaks in {seen.sampled} of {seen.of}: below {seen.upper_bound:.2%} at 95 % (seed {seen.seed})"
                )
            _print_odd(seen.checks, limit)
    for finding in proof.findings:
        line(plain(f"  {finding.code}: {finding.message}"))
    for moved in proof.moved[:limit]:
        line(f"  {moved.mailbox} {moved.change} the scope since the plan ({moved.permission})")
    if len(proof.moved) > limit:
        line(f"  and {len(proof.moved) - limit} more joined or left")
    line()
    if proof.ready_at:
        line(f"Come back at {proof.ready_at}.")
    if proof.old_tokens_until:
        line(f"Tokens issued before the removal may act until {proof.old_tokens_until}.")
    if proof.verdict == "configured":
        frame.say("Only configured, which --accept configured counts as success: no witness could show more.")
    for note in proof.notes:
        line(note)
    line("Not covered:")
    for each in proof.not_covered:
        line(f"  {each}")


def _print_odd(checks: Sequence[Check], limit: int) -> None:
    """What is not as expected: once for all mailboxes of which the witnesses say the same, with the one command that mends it."""
    alike: dict[tuple[str | None, ...], list[str]] = {}
    for check in checks:
        if check.cause:
            told = (check.expected, check.predicted, check.exchange, check.graph, check.cause, check.remedy)
            alike.setdefault(told, []).append(check.mailbox)
    for (expected, predicted, exchange, graph, cause, remedy), mailboxes in alike.items():
        more = f" and {len(mailboxes) - limit} more (--json has all)" if len(mailboxes) > limit else ""
        line(
            f"    {cause}, {len(mailboxes)} mailbox(es): expected {expected}, predicted {predicted}, "
            f"Exchange {exchange}, Graph {graph}"
        )
        line(f"      {', '.join(mailboxes[:limit])}{more}")
        if remedy:
            line(f"      mend: {remedy}")


def print_stage(answer: StageAnswer) -> None:
    """Whether a gate opens, and why not."""
    opens = "the gate opens" if answer.verdict in ("proven", "configured") else "the gate stays closed"
    line(f"Stage {plain(answer.stage)}: {answer.verdict}, {opens}")
    for app in answer.apps:
        line(plain(f"  {app.display_name} ({app.app_id}): {app.verdict}{': ' + app.why if app.why else ''}"))
        for each in app.summary:
            line(plain(f"    {each}"))
    if answer.ready_at:
        line(f"Come back at {answer.ready_at}.")
