"""From what the witnesses answered to verdicts. Pure: no I/O; the time it is comes in.

Proven needs positive and negative evidence, from the prediction, from Exchange, and from Graph as the app. What cannot be
asked lowers the verdict to *configured*; what could not be read makes it *unknown*; what is not as it must be makes it
*violated*, unless the service may still be answering from its cache: then it is *pending*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from exoscope.model import Answer, Check, Noun
from exoscope.outcome import Verdict, overall

Expected = Literal["allowed", "denied"]


class Witnessed(Noun, frozen=True):
    """What each witness answered for one mailbox.

    ``scope`` is Exchange's own evaluation of the scopes, ``test`` its test cmdlet, ``graph`` the call as the app. ``lately``:
    it joined or left since the plan, nobody knows when, so Graph may still answer from before that.
    """

    predicted: Answer
    scope: Answer = "not-asked"
    test: Answer = "not-asked"
    graph: Answer = "not-asked"
    request_id: str | None = None
    status: str | None = None
    lately: bool = False


class Circumstances(Noun, frozen=True):
    """What bears on all checks of one permission.

    ``graph_unasked`` says why Graph cannot answer for this permission (None: it can). ``carried`` are the roles of the
    token Graph was asked with that would give the answer whatever Exchange says. ``settled_at`` is when the service's cache
    can no longer hold an older answer; None: not known.
    """

    now: datetime
    graph_unasked: str | None
    carried: tuple[str, ...]
    settled_at: datetime | None
    rbac: bool

    @property
    def settling(self) -> bool:
        """May the service still answer from before the change?"""
        return self.settled_at is None or self.now < self.settled_at


def exchange_answer(scope: Answer, test: Answer) -> Answer:
    """Exchange's one answer. Where its evaluation and its test disagree, or one could not tell, that is unknown."""
    said = {answer for answer in (scope, test) if answer != "not-asked"}
    if not said:
        return "not-asked"
    return said.pop() if len(said) == 1 else "unknown"


def check_verdict(expected: Expected, seen: Witnessed, about: Circumstances) -> Verdict:
    """The verdict over one mailbox; PROVEN here means that nothing speaks against it."""
    exchange = exchange_answer(seen.scope, seen.test)
    configured = (seen.predicted, exchange)
    wrong: Answer = "denied" if expected == "allowed" else "allowed"
    if wrong in configured:
        return Verdict.VIOLATED
    if seen.graph == wrong:
        if about.carried and about.rbac:
            return Verdict.PENDING if expected == "denied" else Verdict.VIOLATED
        # A denial where access is expected may be a cached one however long nobody told us of the change; access where
        # denial is expected is excused only inside a window we know.
        known = about.settled_at is not None
        lately = seen.lately and set(configured) <= {expected, "not-asked"}
        excused = lately or (about.settling and (known or expected == "allowed"))
        return Verdict.PENDING if excused else Verdict.VIOLATED
    if "unknown" in (*configured, seen.graph):
        return Verdict.UNKNOWN
    return Verdict.PROVEN


def to_check(mailbox: str, expected: Expected, seen: Witnessed, cause: str | None, remedy: str | None) -> Check:
    """The row of the answer."""
    return Check(
        mailbox=mailbox,
        expected=expected,
        predicted=seen.predicted,
        exchange=exchange_answer(seen.scope, seen.test),
        graph=seen.graph,
        cause=cause,
        remedy=remedy,
        exchange_test=seen.test,
        graph_request_id=seen.request_id,
        graph_status=seen.status,
    )


def permission_verdict(
    rows: Iterable[tuple[Expected, Witnessed]], about: Circumstances, *, scoped: bool | None
) -> tuple[Verdict, str]:
    """The verdict over one permission, and why it is no better. No rows prove nothing: unknown.

    ``scoped``: may the app be called so as a whole? None: that cannot be told.
    """
    verdicts: list[Verdict] = []
    by_witness: Mapping[str, set[Expected]] = {"exchange": set(), "graph": set()}
    for expected, seen in rows:
        verdicts.append(check_verdict(expected, seen, about))
        if exchange_answer(seen.scope, seen.test) == expected:
            by_witness["exchange"].add(expected)
        if seen.graph == expected:
            by_witness["graph"].add(expected)
    if not verdicts:
        return Verdict.UNKNOWN, "nothing was checked"
    whole = {True: Verdict.PROVEN, False: Verdict.VIOLATED, None: Verdict.UNKNOWN}[scoped]
    verdict = overall([*verdicts, whole])
    if verdict is not Verdict.PROVEN:
        return verdict, _why(verdict, scoped=scoped)
    both: set[Expected] = {"allowed", "denied"}
    if about.carried and about.rbac:
        return Verdict.PENDING, (
            f"the app's token still carries {', '.join(about.carried)}, which lets the call through whatever the scope says"
        )
    if not by_witness["exchange"]:
        return Verdict.UNKNOWN, "Exchange was not asked"
    if about.graph_unasked is not None:
        return Verdict.CONFIGURED, about.graph_unasked
    for witness in ("exchange", "graph"):
        missing = both - by_witness[witness]
        if missing:
            side = "inside" if "allowed" in missing else "outside"
            return Verdict.CONFIGURED, f"{witness} has no evidence {side} the scope"
    return Verdict.PROVEN, ""


def _why(verdict: Verdict, *, scoped: bool | None) -> str:
    if verdict is Verdict.VIOLATED and scoped is False:
        return "the app is not scoped"
    if verdict is Verdict.VIOLATED:
        return "something reaches what it must not, or does not reach what it must"
    if verdict is Verdict.UNKNOWN and scoped is None:
        return "what else the app reaches cannot be told"
    if verdict is Verdict.PENDING:
        return "the service may still answer from before the change"
    return "a witness could not tell"


def leak_bound(asked: int, of: int) -> float | None:
    """The share of leaking mailboxes that 0 leaks in ``asked`` of ``of`` bound at 95 % confidence.

    0.0 when every mailbox was asked, None when none was. Sampling without replacement bounds tighter than this
    (1 - 0.05 ** (1 / n)), so the statement is on the safe side.
    """
    if of == asked:
        return 0.0
    if asked == 0:
        return None
    bound: float = 1 - 0.05 ** (1 / asked)
    return bound
