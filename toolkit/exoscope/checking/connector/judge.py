"""From what was answered to lines and an outcome. Pure: the time it is comes in."""

from __future__ import annotations

from datetime import datetime, timedelta

from exoscope.checking.connector.mailboxes import inside_line, outside_line, roles_line, test_button_line
from exoscope.checking.connector.nouns import Answers, ConnectorCheck, Line, Operator, Outcome, View
from exoscope.checking.connector.sending import send_lines
from exoscope.checking.connector.sign_in import authority_lines, credential_line
from exoscope.clock import iso
from exoscope.outcome import Exit

EXITS: dict[Outcome, Exit] = {
    "ok": Exit.DONE,
    "failed": Exit.FINDINGS,
    "pending": Exit.PENDING,
    "unknown": Exit.UNKNOWN,
}
_ORDER: tuple[Outcome, ...] = ("failed", "unknown", "pending")


def judged(answers: Answers, *, now: datetime, cache: float) -> ConnectorCheck:
    """The answer. ``cache``: seconds for which the service may remember an older answer (what a pending line waits for)."""
    lines, stopped = _lines(answers)
    held = {line.result for line in lines}
    best: Outcome = "ok" if stopped is None else "unknown"  # what was not asked is not ok
    outcome: Outcome = next((each for each in _ORDER if each in held), best)
    return ConnectorCheck(
        tenant=answers.tenant,
        tenant_id=answers.authority.tenant_id,
        client_id=answers.client_id,
        permission=answers.permission,
        outcome=outcome,
        ready_at=iso(now + timedelta(seconds=cache)) if outcome == "pending" else None,
        stopped=stopped,
        lines=lines,
    )


def _lines(answers: Answers) -> tuple[tuple[Line, ...], str | None]:
    lines = list(authority_lines(answers))
    if lines[-1].result != "ok" or answers.sign_in is None:
        return tuple(lines), "Without the authority's word for the tenant no token is asked for."
    credential = credential_line(answers, answers.sign_in)
    lines.append(credential)
    if not answers.sign_in.issued:
        return tuple(lines), "Without a token no mailbox can be asked about."
    roles = answers.sign_in.roles
    lines.append(roles_line(answers, roles))
    if answers.operator is not None:
        lines.append(_exchange_line(answers, answers.operator))
    if answers.graph_problem is not None:
        lines.append(_no_graph(answers.graph_problem))
    views = {} if answers.operator is None else {view.mailbox: view for view in answers.operator.views}
    lines += [inside_line(answers, each, roles, _view(views, each.mailbox)) for each in answers.inside]
    any_read = any(each.status == 200 for each in answers.inside)
    lines += [
        outside_line(answers, each, roles, _view(views, each.mailbox), any_read=any_read) for each in answers.outside
    ]
    lines += [test_button_line(each) for each in answers.users]
    if answers.send:
        lines += send_lines(answers, roles)
    return tuple(lines), None


def _view(views: dict[str, View], mailbox: str) -> View | None:
    return views.get(mailbox)


def _no_graph(problem: str) -> Line:
    meaning = "Graph gave no answer at all, so nothing is said of any mailbox."
    remedy = "Look at this machine's network and proxy; run this where the connector runs."
    return Line("mailbox", None, "unknown", "Graph, as the app", problem, meaning, remedy, "no-answer")


def _exchange_line(answers: Answers, operator: Operator) -> Line:
    asked = "the tenant read anew, and Exchange's test cmdlets, as the operator of the profile"
    here = answers.authority.tenant_id
    if operator.problem is not None:
        meaning = "Exchange could not be asked, so a refusal stays one of several things."
        remedy = "exoscope snapshot with the same profile says more; mend that, or leave --profile out."
        return Line("exchange", None, "unknown", asked, operator.problem, meaning, remedy, "exchange-unasked")
    if operator.tenant_id and here and operator.tenant_id.casefold() != here.casefold():
        seen = f"the profile's tenant is {operator.tenant_id}"
        meaning = (
            f"The connector signs in to another tenant, {here}: what Exchange says in the profile's is not about it."
        )
        remedy = "Name the profile of the connector's tenant, or give the connector the profile's tenant id."
        return Line("exchange", None, "failed", asked, seen, meaning, remedy, "other-tenant")
    seen = f"the app {operator.display_name}" if operator.display_name else "an app"
    return Line("exchange", None, "note", asked, seen, "What Exchange says stands in each mailbox's line.")
