"""What a proof saw: checks, and verdicts over them (the answer of ``verify``)."""

from __future__ import annotations

from typing import Literal

from exoscope.model.tenant import Noun
from exoscope.outcome import Finding, Verdict

Answer = Literal["allowed", "denied", "unknown", "not-asked"]


class Check(Noun, frozen=True):
    """One (permission, mailbox): what was expected, predicted, and what each witness answered.

    ``cause`` is a stable code when an answer differs from the expectation, ``remedy`` the command that mends it.
    ``graph_request_id`` is Graph's request-id of the probe, ``graph_status`` its HTTP status and error code.
    """

    mailbox: str
    expected: Literal["allowed", "denied"]
    predicted: Answer
    exchange: Answer
    graph: Answer
    cause: str | None = None
    remedy: str | None = None
    exchange_test: Answer = "not-asked"
    graph_request_id: str | None = None
    graph_status: str | None = None


class PermissionProof(Noun, frozen=True):
    """The proof of one permission. ``sampled`` of ``of`` outside mailboxes were asked; ``upper_bound`` is the leak rate
    the sample bounds at 95 % (0.0 when all were asked, null when none were); ``seed`` repeats the sample.
    """

    verdict: Verdict
    checks: tuple[Check, ...]
    sampled: int
    of: int
    upper_bound: float | None
    seed: int
    why: str = ""


class AppProof(Noun, frozen=True):
    """The proof of one app."""

    app_id: str
    display_name: str
    scoped: bool
    not_scoped_because: tuple[str, ...]
    permissions: dict[str, PermissionProof]


class Moved(Noun, frozen=True):
    """A mailbox that joined or left the intent's scope since the plan; no violation."""

    app_id: str
    permission: str
    mailbox: str
    change: Literal["joined", "left"]


class Proof(Noun, frozen=True):
    """The answer of ``verify``. Times are ISO 8601 UTC; ``old_tokens_until`` is when tokens issued before a removal end.

    ``findings``: DNs in the filters of the apps' scopes that no group in the tenant has. ``notes``: sentences for whoever watches
    the tenant: what was done in it for the proof.
    """

    verdict: Verdict
    ready_at: str | None
    old_tokens_until: str | None
    not_covered: tuple[str, ...]
    moved: tuple[Moved, ...]
    apps: tuple[AppProof, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
