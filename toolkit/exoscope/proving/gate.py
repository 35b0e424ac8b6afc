"""What a gate's witnesses say: may the next stage rest on what the last one did?

``baseline``: what access policies leave today, by Exchange's test, before a migration changes anything.
``exchange``: what the assignments give, by Exchange's own evaluation and test, consents left aside (they may still stand).
``policy``: what access policies would leave to a consent, by Exchange's test. ``graph``: everything, as the app.
Where Graph cannot be asked, Exchange's evidence and the full waits open the gate, and the verdict is *configured*.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from exoscope.clock import Clock
from exoscope.model import Answer, App, AppPlan, Gate, Mechanism, Noun, PermissionProof
from exoscope.outcome import Verdict, overall
from exoscope.planning.drafts import listing
from exoscope.planning.states import listed
from exoscope.proving.baseline import baseline
from exoscope.proving.claims import AppClaim, Claim, of_plan
from exoscope.proving.judge import exchange_answer
from exoscope.proving.whole import History, Options, choose, prove_app
from exoscope.proving.witnesses import Exchange, Progress, Sources
from exoscope.reach import Mailboxes, Reach


class GateProof(Noun, frozen=True):
    """``summary`` are sentences for people and the journal; ``code`` names the cause where the verdict is violated."""

    verdict: Verdict
    why: str
    summary: tuple[str, ...] = ()
    code: str | None = None
    ready_at: datetime | None = None


def gate_proof(
    sources: Sources,
    planned: AppPlan,
    gate: Gate,
    reach: Reach,
    history: History,
    clock: Clock,
    progress: Progress,
    options: Options | None = None,
    *,
    last: bool = True,
) -> GateProof:
    """Ask the witnesses of one app's gate. ``reach`` is over a snapshot read just now. Raises the ServiceError family.

    ``last``: no later gate of the plan asks about this app, so whatever else it reaches must be as the plan says by now.
    """
    options = options or Options()
    asked = set(gate.evidence)
    proofs: list[GateProof] = []
    # What rests on a policy is consented in the last stage: until then each mechanism is asked about by itself.
    by_rbac, by_policy = _only(planned, "rbac"), _only(planned, "access-policy")
    if "baseline" in asked:
        proofs.append(_baseline(sources, planned, reach, options, progress))
    if "policy" in asked and "graph" not in asked:
        proofs.append(_policies(sources, of_plan(by_policy, reach), planned, reach, options, progress))
    if "graph" in asked or "exchange" in asked:
        graph = "graph" in asked
        seen = reach if graph else _without_consents(reach, planned)
        claimed = of_plan(planned if "policy" in asked else by_rbac, seen)
        claimed = replace(claimed, not_scoped_because=_unplanned(planned, seen, last=last))
        proof = prove_app(
            sources,
            seen,
            claimed,
            options,
            history,
            clock,
            progress,
            graph=graph,
            lately={claim.permission: _lately(planned, claim, reach) for claim in claimed.claims},
        )
        proofs += [
            GateProof(
                one.verdict,
                f"{name}: {one.why}{_waiting(one)}" if one.why else "",
                (f"{name}: {one.verdict}, {len(one.checks)} mailboxes asked, {one.sampled} of {one.of} outside",),
                next((check.cause for check in one.checks if check.cause), None),
                history.settled_at if one.verdict is Verdict.PENDING else None,
            )
            for name, one in proof.permissions.items()
        ]
    if not proofs and planned.tenant_wide:
        return GateProof(Verdict.CONFIGURED, "the app's permissions here are not about mailboxes")
    verdict = overall(each.verdict for each in proofs)
    worst = [each for each in proofs if each.verdict is verdict]
    return GateProof(
        verdict,
        "; ".join(each.why for each in worst if each.why),
        tuple(line for each in proofs for line in each.summary),
        next((each.code for each in worst if each.code), None) if verdict is Verdict.VIOLATED else None,
        next((each.ready_at for each in worst if each.ready_at), None),
    )


def _lately(planned: AppPlan, claim: Claim, reach: Reach) -> Mailboxes:
    """Who is intended now and was not when the plan was made, or the other way round. When they joined or left nobody knows."""
    then = planned.permissions.get(claim.permission)
    if then is None:
        return reach.addresses(())
    named = {each.casefold() for each in then.after.addresses}
    before = reach.addresses(
        each
        for each in listed(reach.snapshot, "recipients")
        if (each.primary_smtp_address.casefold() in named) != then.after.all_but
    )
    return (claim.expected - before) | ((before & reach.mailboxes) - claim.expected)


def _waiting(proof: PermissionProof) -> str:
    """Whom a proof waits for."""
    those = [each.mailbox for each in proof.checks if each.graph not in (each.expected, "not-asked")]
    if proof.verdict is not Verdict.PENDING or not those:
        return ""
    return f": {listing(those, 5)}"


AT_ONCE = frozenset({"self-widening", "complement-open"})
"""Codes that no later stage of a plan takes away."""


def _unplanned(planned: AppPlan, seen: Reach, *, last: bool) -> tuple[str, ...]:
    """Why the app may not be called scoped, beyond what the plan says of it. Before its last gate a later stage may take a
    reason away; none takes away that the app can widen itself."""
    codes = of_plan(planned, seen).not_scoped_because
    return tuple(code for code in codes if code not in planned.not_scoped_because and (last or code in AT_ONCE))


def _without_consents(reach: Reach, planned: AppPlan) -> Reach:
    """The tenant as if the app held no consent: what its assignments alone give."""

    def bare(app: App) -> App:
        return replace(app, consents=()) if app.app_id.casefold() == planned.app_id.casefold() else app

    return reach.with_(apps=tuple(bare(app) for app in listed(reach.snapshot, "apps")))


def _only(planned: AppPlan, mechanism: Mechanism) -> AppPlan:
    return replace(planned, entries=tuple(entry for entry in planned.entries if entry.mechanism == mechanism))


def _baseline(sources: Sources, planned: AppPlan, reach: Reach, options: Options, progress: Progress) -> GateProof:
    """Whether Exchange's own test of the policies agrees with what the rules predict, before a migration changes anything."""
    answers = None if options.asked is None else options.asked.get(planned.app_id.casefold())
    tested_by = None if answers is None else answers.tested
    chosen = baseline(reach, planned.app_id, seed=options.seed, tested=tested_by, everything=options.everything)
    exchange = Exchange(sources.exchange, reach, reach.find_app(planned.app_id), progress)
    tested = exchange.policies_leave([reach.find_mailbox(address) for address in chosen.ask])
    wrong = [address for address, said in tested.items() if (said == "allowed") != (address in chosen.allowed)]
    if wrong:
        told = "; ".join(f"{each}: {tested[each]}{chosen.why(each)}" for each in wrong[:5])
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        why = f"Exchange's test of the policies answers otherwise than the rules predict for {told}{more}"
        return GateProof(Verdict.VIOLATED, why, (), "baseline-differs")
    if not tested:
        return GateProof(Verdict.UNKNOWN, "no mailbox could be asked about: what policies leave of each is unknown")
    rest = "the rest" if options.everything else "a sample of the rest"
    counts = f"{len(chosen.nested)} by nesting, {len(chosen.wildcard)} by policies for every app, {rest}"
    summary = f"Exchange's test of the policies agrees on {len(tested)} mailboxes ({counts})"
    return GateProof(Verdict.CONFIGURED, summary, (summary,))


def _policies(
    sources: Sources, claimed: AppClaim, planned: AppPlan, reach: Reach, options: Options, progress: Progress
) -> GateProof:
    """Whether the policies leave a consent just the intended mailboxes, by Exchange's own test."""
    exchange = Exchange(sources.exchange, reach, claimed.app, progress)
    summary: list[str] = []
    for claim in claimed.claims:
        if "access-policy" not in claim.mechanisms:
            continue
        chosen = choose(reach, claim, options, planned.app_id)
        left, unknown = reach.policy_allows(planned.app_id, claim.permission)
        tested = exchange.policies_leave([reach.find_mailbox(address) for address in chosen.test])
        for address, said in tested.items():
            expected = "allowed" if address in claim.expected else "denied"
            predicted: Answer = "allowed" if address in left else "unknown" if address in unknown else "denied"
            answer = exchange_answer(predicted, said)
            if answer == "unknown":
                why = f"{claim.permission}: for {address} Exchange answers {said} where {predicted} was predicted"
                code = "baseline-differs" if predicted != "unknown" else "unread"
                return GateProof(Verdict.VIOLATED if code == "baseline-differs" else Verdict.UNKNOWN, why, (), code)
            if answer != expected:
                why = f"{claim.permission}: policies leave {address} {answer}, and the intent is {expected}"
                return GateProof(Verdict.VIOLATED, why, (), "policy-missing" if answer == "allowed" else "not-granted")
        if claim.problem is not None or not tested:
            return GateProof(Verdict.UNKNOWN, claim.problem or "nothing was asked")
        summary.append(f"{claim.permission}: Exchange's policy test agrees on {len(tested)} mailboxes")
    return (
        GateProof(Verdict.CONFIGURED, "Graph cannot speak before there is a consent", tuple(summary))
        if summary
        else GateProof(Verdict.UNKNOWN, "nothing was asked")
    )
