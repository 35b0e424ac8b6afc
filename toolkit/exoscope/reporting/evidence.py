"""The evidence of a proof for an auditor: one self-contained HTML page, and its JSON."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal

import msgspec

from exoscope.model import Check, Noun, Proof, Tenant
from exoscope.outcome import Verdict

FORMAT = "exoscope/evidence@1"


class Claim(Noun, frozen=True):
    """What is claimed of one app and permission. ``before``: how many mailboxes it reached before the run; null: not known.

    ``before_addresses`` are those mailboxes where the run's plan names them (null: every mailbox but those in
    ``before_all_but``).
    """

    app_id: str
    object_id: str
    display_name: str
    permission: str
    inside: int
    of: int
    verdict: Verdict
    why: str
    before: int | None
    before_addresses: tuple[str, ...] | None = None
    before_all_but: tuple[str, ...] | None = None

    @property
    def words(self) -> str:
        """The claim as a sentence an auditor can quote."""
        return f"{self.display_name} holds {self.permission} for {self.inside:,} of {self.of:,} mailboxes"


class Repeat(Noun, frozen=True):
    """A command with which a second person repeats a part of the proof without exoscope."""

    what: str
    command: str


class Evidence(Noun, frozen=True):
    """Everything the page says. Times are ISO 8601 UTC; hashes are ``sha256:…``."""

    format: Literal["exoscope/evidence@1"]
    verdict: Verdict
    tenant: Tenant
    operator: str
    started_at: str
    finished_at: str
    tool_version: str
    snapshot_hash: str
    plan_hash: str | None
    run: str | None
    claims: tuple[Claim, ...]
    proof: Proof
    repeat: tuple[Repeat, ...]
    counts_only: bool = False


def without_addresses(evidence: Evidence) -> Evidence:
    """The same evidence with every mailbox address left out: counts and verdicts stay."""
    apps = tuple(
        msgspec.structs.replace(
            app,
            permissions={name: msgspec.structs.replace(proof, checks=()) for name, proof in app.permissions.items()},
        )
        for app in evidence.proof.apps
    )
    return msgspec.structs.replace(
        evidence,
        counts_only=True,
        repeat=(),
        claims=tuple(
            msgspec.structs.replace(claim, before_addresses=None, before_all_but=None) for claim in evidence.claims
        ),
        proof=msgspec.structs.replace(evidence.proof, apps=apps, moved=()),
    )


def tally(checks: tuple[Check, ...]) -> dict[str, dict[str, int]]:
    """Per witness, how many answered what."""
    witnesses = ("expected", "predicted", "exchange", "graph")
    counts: dict[str, dict[str, int]] = {witness: {} for witness in witnesses}
    for check in checks:
        for witness in witnesses:
            said = str(getattr(check, witness))
            counts[witness][said] = counts[witness].get(said, 0) + 1
    return counts


def to_json(evidence: Evidence) -> bytes:
    """The evidence as indented UTF-8 JSON."""
    return msgspec.json.format(msgspec.json.encode(evidence), indent=1) + b"\n"


def to_html(evidence: Evidence, *, tallies: dict[tuple[str, str], dict[str, dict[str, int]]] | None = None) -> str:
    """The evidence as one page without any outside reference. ``tallies`` by (app id, permission) survive ``--counts``."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("exoscope").joinpath("data", "evidence.html.j2").read_text(encoding="utf-8")
    if tallies is None:
        tallies = {
            (app.app_id, name): tally(proof.checks)
            for app in evidence.proof.apps
            for name, proof in app.permissions.items()
        }
    return environment.from_string(source).render(
        evidence=evidence, tallies=tallies, data=msgspec.to_builtins(evidence), words=VERDICT_WORDS
    )


VERDICT_WORDS = {
    "proven": "Every witness was asked, inside and outside the scope, and all agree.",
    "configured": "The configuration is as intended; not every witness could be asked.",
    "pending": "The change is made; the service may still answer from before it.",
    "violated": "Something reaches what it must not, or does not reach what it must.",
    "unknown": "A witness could not tell, so nothing is claimed.",
}
