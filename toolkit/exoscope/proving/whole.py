"""The proof: every claim put to every witness that can be asked, and the verdicts that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from exoscope import catalog
from exoscope.clock import Clock, iso
from exoscope.model import Answer, App, AppProof, Check, Noun, PermissionProof, Proof
from exoscope.outcome import Verdict, overall
from exoscope.planning.states import listed
from exoscope.proving import witnesses
from exoscope.proving.causes import cause_of
from exoscope.proving.claims import AppClaim, Claim
from exoscope.proving.groups import named_groups
from exoscope.proving.judge import Circumstances, Expected, Witnessed, leak_bound, permission_verdict, to_check
from exoscope.proving.selection import Selection, select
from exoscope.proving.witnesses import Exchange, Progress, Seen, Sources
from exoscope.reach import Mailboxes, Reach
from exoscope.scripting.read_results import Asked

NOT_COVERED = (
    "delegated grants: what a signed-in user's app may do is that user's access, not the app's",
    "mailbox permissions (Full Access, Send As) given to the app's service principal or to users",
    "directory roles of the app's service principal, such as Exchange Administrator",
)
TEST_SECONDS = 1.0
"""A test cmdlet against a real tenant takes about a second (an estimate; no source states it)."""
PROBES_PER_SECOND = 40.0
"""Graph answers about this many probes a second in batches of which four run at a time (an estimate)."""
LOUD = 50
"""From this many expected refusals on, the security team should know beforehand."""


class Options(Noun, frozen=True):
    """How much is asked. ``sample`` None: 300 outside where the tenant is large. ``send``: Mail.Send may post a message
    without recipients. ``asked``: who was asked about already, by app id in lower case, where the answers are there and none
    can be added."""

    seed: int = 1
    sample: int | None = None
    everything: bool = False
    limit_refusals: int | None = None
    send: bool = False
    asked: dict[str, Asked] | None = None


class History(Noun, frozen=True):
    """What is known of an app's changes. ``settled_at``: no older answer is cached from then on; ``old_tokens_until``: tokens
    issued before a removal have ended then. None: not known, or nothing was changed."""

    settled_at: datetime | None = None
    old_tokens_until: datetime | None = None


class Estimate(Noun, frozen=True):
    """What a proof will ask. ``refusals``: calls as the app whose expected answer is no."""

    tests: int
    probes: int
    refusals: int
    seconds: float


def estimate(sources: Sources, reach: Reach, claims: Sequence[AppClaim], options: Options) -> Estimate:
    """How many calls a proof makes, and about how long they take."""
    asked = probes = refusals = 0
    for claimed in claims:
        for claim in claimed.claims:
            if claim.problem is not None and claim.doubtful == reach.mailboxes:
                continue
            chosen = choose(reach, claim, options, claimed.app.app_id)
            asked += len(chosen.test)
            if witnesses.unasked(sources, claimed.app, claim.permission, send=options.send) is None:
                probes += len(chosen.graph)
                refusals += len(chosen.graph) - len(claim.expected)
    return Estimate(asked, probes, refusals, round(asked * TEST_SECONDS + probes / PROBES_PER_SECOND, 1))


def choose(reach: Reach, claim: Claim, options: Options, app_id: str) -> Selection:
    """Whom one claim is put to. Whoever must be asked about is, whether there is an answer or not."""
    outside = (reach.mailboxes - claim.expected).addresses()
    if options.asked is not None:
        asked = options.asked.get(app_id.casefold(), Asked(frozenset(), frozenset()))
        guids = {each.primary_smtp_address: each.guid.casefold() for each in listed(reach.snapshot, "recipients")}
        inside = claim.expected.addresses()
        return Selection(
            (*inside, *(each for each in outside if each in claim.near or guids.get(each) in asked.tested)),
            (*inside, *(each for each in outside if guids.get(each) in asked.probed)),
            len(outside),
        )
    return select(
        claim.expected.addresses(),
        outside,
        claim.near,
        seed=options.seed,
        sample=options.sample,
        everything=options.everything,
        limit_refusals=options.limit_refusals,
    )


def prove(
    sources: Sources,
    reach: Reach,
    claims: Sequence[AppClaim],
    options: Options,
    histories: Mapping[str, History],
    clock: Clock,
    progress: Progress,
) -> Proof:
    """Put every claim to the witnesses. ``reach`` is over a snapshot read just now; ``histories`` are by app id in lower case.

    Raises the ServiceError family where a witness that answers for everything cannot be asked at all; single answers that
    fail are unknown.
    """
    known = [histories.get(claimed.app.app_id.casefold(), History()) for claimed in claims]
    apps = tuple(
        prove_app(sources, reach, claimed, options, history, clock, progress, lenient=True)
        for claimed, history in zip(claims, known, strict=True)
    )
    verdict = overall(_of_app(claimed, app) for claimed, app in zip(claims, apps, strict=True))
    return Proof(
        verdict=verdict,
        ready_at=_latest([each.settled_at for each in known], after=clock.now())
        if verdict is Verdict.PENDING
        else None,
        old_tokens_until=_latest([each.old_tokens_until for each in known], after=clock.now()),
        not_covered=_not_covered(claims, known),
        moved=tuple(one for claimed in claims for one in claimed.moved),
        apps=apps,
        findings=tuple(one for claimed in claims for one in named_groups(reach, claimed.app)),
    )


def _of_app(claimed: AppClaim, app: AppProof) -> Verdict:
    """The verdict over one app. Where nothing of it is about mailboxes no witness was asked: at most configured."""
    if app.permissions:
        return overall(proof.verdict for proof in app.permissions.values())
    if claimed.scoped is None or not claimed.tenant_wide:
        return Verdict.UNKNOWN
    return Verdict.CONFIGURED if claimed.scoped else Verdict.VIOLATED


def prove_app(
    sources: Sources,
    reach: Reach,
    claimed: AppClaim,
    options: Options,
    history: History,
    clock: Clock,
    progress: Progress,
    *,
    graph: bool = True,
    lenient: bool = False,
    lately: Mapping[str, Mailboxes] | None = None,
) -> AppProof:
    """One app. ``graph`` False: this is a gate at which Graph cannot speak yet. ``lenient``: a test that Exchange refuses makes
    the answer unknown, where otherwise it raises. ``lately``: by permission, who joined or left so lately that Graph may answer
    from before."""
    exchange = Exchange(sources.exchange, reach, claimed.app, progress, lenient=lenient)
    scoped = claimed.scoped
    proofs = {
        claim.permission: _prove_one(
            sources,
            reach,
            claimed,
            claim,
            exchange,
            options,
            history,
            clock,
            progress,
            graph,
            scoped,
            (lately or {}).get(claim.permission, reach.addresses(())),
        )
        for claim in claimed.claims
    }
    return AppProof(
        claimed.app.app_id, claimed.app.display_name, claimed.scoped is True, claimed.not_scoped_because, proofs
    )


def _prove_one(
    sources: Sources,
    reach: Reach,
    claimed: AppClaim,
    claim: Claim,
    exchange: Exchange,
    options: Options,
    history: History,
    clock: Clock,
    progress: Progress,
    graph: bool,
    scoped: bool | None,
    lately: Mailboxes,
) -> PermissionProof:
    app, name = claimed.app, claim.permission
    if claim.problem is not None and claim.doubtful == reach.mailboxes:
        # Nobody can say what to expect of any mailbox, so no answer would prove or disprove anything: none is asked.
        verdict = Verdict.VIOLATED if scoped is False else Verdict.UNKNOWN
        return PermissionProof(verdict, (), 0, len(reach.mailboxes), None, options.seed, claim.problem)
    chosen = choose(reach, claim, options, app.app_id)
    why_not = witnesses.unasked(sources, app, name, send=options.send) if graph else "Graph cannot speak at this gate"
    roles = witnesses.carried(sources, app, name) if why_not is None else ()
    seen_by_graph: Mapping[str, Seen] = {}
    if why_not is None:
        mailboxes = [reach.find_mailbox(address) for address in chosen.graph]
        seen_by_graph = witnesses.ask_graph(sources, app, name, mailboxes, send=options.send, progress=progress)
    scopes, tested = _exchange_answers(reach, app, claim, exchange, chosen)
    if catalog.canonical(name) == "Mail.Send" and "rbac" in claim.mechanisms and why_not is None:
        # A message without recipients tells what Graph checks first, which no document states: its answer stands in the row,
        # the verdict is at best configured.
        why_not = "that Graph checks Mail.Send before a message's recipients is not documented"
    about = Circumstances(
        now=clock.now(),
        graph_unasked=why_not,
        carried=roles,
        settled_at=history.settled_at,
        # where a policy entry intends the consent, the token is meant to carry the role
        rbac="access-policy" not in claim.mechanisms,
    )
    allowed, unknown = reach.sets(app, name)
    # A GET cannot tell ReadWrite from Read: where a narrower permission of the app explains the answer, it says nothing.
    least = catalog.least_probed(name)
    explained = reach.sets(app, least)[0] - allowed if least is not None else reach.addresses(())
    rows: list[tuple[Expected, Witnessed]] = []
    checks: list[Check] = []
    whole = len(reach.mailboxes) == len(chosen.graph) or len(reach.mailboxes) <= len(chosen.test) + len(chosen.graph)
    listed = set(chosen.test) | set(chosen.graph)
    for address in reach.mailboxes:
        expected: Expected = "allowed" if address in claim.expected else "denied"
        predicted: Answer = "allowed" if address in allowed else "unknown" if address in unknown else "denied"
        if address in claim.doubtful:
            predicted = "unknown"
        by_graph = seen_by_graph.get(address)
        if by_graph is not None and by_graph.answer == "allowed" and predicted == "denied" and address in explained:
            by_graph = replace(by_graph, answer="not-asked", status=f"{by_graph.status} (by {least})")
        seen = Witnessed(
            predicted=predicted,
            scope=scopes(address),
            test=tested.get(address, "not-asked"),
            graph=by_graph.answer if by_graph else "not-asked",
            request_id=by_graph.request_id if by_graph else None,
            status=by_graph.status if by_graph else None,
            lately=address in lately,
        )
        rows.append((expected, seen))
        cause = cause_of(reach, app, name, claim.mechanisms, claim.expected, address, expected, seen, about)
        if cause is not None or whole or address in listed:
            checks.append(to_check(address, expected, seen, *(cause or (None, None))))
    verdict, why = permission_verdict(rows, about, scoped=scoped)
    if verdict is Verdict.UNKNOWN and exchange.problems:
        why = f"{why}: {'; '.join(exchange.problems)}"
    if claim.problem is not None:
        verdict, why = overall([verdict, Verdict.UNKNOWN]), claim.problem
    asked_outside = sum(
        1 for check in checks if check.expected == "denied" and "not-asked" not in (check.graph, check.exchange)
    )
    if why_not is not None:
        asked_outside = sum(1 for check in checks if check.expected == "denied" and check.exchange_test != "not-asked")
    return PermissionProof(
        verdict=verdict,
        checks=tuple(checks),
        sampled=asked_outside,
        of=chosen.outside,
        upper_bound=leak_bound(asked_outside, chosen.outside),
        seed=options.seed,
        why=why,
    )


def _exchange_answers(
    reach: Reach, app: App, claim: Claim, exchange: Exchange, chosen: Selection
) -> tuple[Callable[[str], Answer], dict[str, Answer]]:
    """(Exchange's evaluation of each mailbox, its test's answers by address) for what the claim's mechanisms rest on."""
    mailboxes = [reach.find_mailbox(address) for address in chosen.test]
    evaluated = exchange.evaluate(claim.permission)
    by_rbac = bool(evaluated.inside or evaluated.unknown) or "rbac" in claim.mechanisms
    tested = exchange.authorized(claim.permission, mailboxes) if by_rbac else {}
    if "access-policy" not in claim.mechanisms:
        return evaluated.answer, tested
    known = catalog.permission(claim.permission)
    resource = catalog.GRAPH if known is None else known.resource
    consented = any(
        consent.resource.casefold() == resource and catalog.lets_through(consent.permission, claim.permission)
        for consent in app.consents
    )
    left = exchange.policies_leave(mailboxes)
    for address, answer in left.items():
        said = {answer if consented else "denied", tested.get(address, "denied")}
        tested[address] = "allowed" if "allowed" in said else "unknown" if "unknown" in said else "denied"
    return (lambda address: "not-asked"), tested


def _latest(moments: Sequence[datetime | None], *, after: datetime) -> str | None:
    known = [moment for moment in moments if moment is not None and moment > after]
    return iso(max(known)) if known else None


def _not_covered(claims: Sequence[AppClaim], histories: Sequence[History]) -> tuple[str, ...]:
    lines = list(NOT_COVERED)
    lines += [
        f"{claimed.app.display_name} also holds, not about mailboxes: {', '.join(claimed.tenant_wide)}"
        for claimed in claims
        if claimed.tenant_wide
    ]
    if any(each.settled_at is None for each in histories):
        lines.append(
            "tokens issued before a consent was removed, where no run in this state folder tells when that was"
        )
    return tuple(lines)
