"""What can be said of sending without a message being sent. Pure.

Graph has no call for Mail.Send that sends nothing (its only one is POST sendMail; that Graph checks the permission before
the recipients is not documented), so as the app nothing is asked.
"""

from __future__ import annotations

from exoscope.checking.connector.configured import configured, says, why_denied
from exoscope.checking.connector.mailboxes import carrying
from exoscope.checking.connector.nouns import Answers, Expected, Line, View

SEND = "Mail.Send"
_SENT_NOTHING = "nothing as the app: Graph has no call for Mail.Send that sends nothing"
_TESTS = "Exchange's tests of Mail.Send, as the operator; nothing as the app, and no message"
_LATER = (
    "No message was sent, so whether the service acts on it already is not shown: after a change it may take two hours."
)


def send_lines(answers: Answers, roles: tuple[str, ...] | None) -> tuple[Line, ...]:
    """A line for each mailbox where the operator's side could be asked, else one that says what cannot be known."""
    operator = answers.operator
    if operator is None or not operator.sending:
        return (_unknowable(answers, roles),)
    expected: dict[str, Expected] = {called.mailbox: "inside" for called in answers.inside}
    return tuple(_judged(view, expected.get(view.mailbox, "outside")) for view in operator.sending)


def _unknowable(answers: Answers, roles: tuple[str, ...] | None) -> Line:
    carried = carrying(SEND, roles)
    seen = f"the token carries {SEND}" if carried else f"the token carries no {SEND}"
    meaning = (
        "It is consented for the whole tenant: the app can send as every mailbox that no access policy keeps from it; which "
        "those are cannot be known from here."
        if carried
        else "Whether a role assignment gives it, and on which mailboxes, cannot be known from here."
    )
    remedy = "Ask Exchange: --profile with an operator. Or let the connector send one message to yourself."
    asked = _SENT_NOTHING if answers.operator is None else f"{_SENT_NOTHING}; Exchange could not be asked either"
    return Line("send", None, "unknown", asked, seen, meaning, remedy, "send-untold")


def _judged(view: View, expected: Expected) -> Line:
    stands = configured(view)
    seen = says(view)
    if stands == "unknown":
        remedy = "exoscope verify tells more."
        meaning = "Whether the app may send as this mailbox cannot be told."
        return Line("send", view.mailbox, "unknown", _TESTS, seen, meaning, remedy, "exchange-untold")
    if expected == "inside" and stands == "allowed":
        meaning = f"The app may send as this mailbox. {_LATER}"
        return Line("send", view.mailbox, "ok", _TESTS, seen, meaning)
    if expected == "inside":
        cause, meaning, remedy = why_denied(view, SEND)
        return Line("send", view.mailbox, "failed", _TESTS, seen, meaning, remedy, cause)
    if stands == "denied":
        meaning = f"The app may not send as this mailbox. {_LATER}"
        return Line("send", view.mailbox, "ok", _TESTS, seen, meaning)
    meaning = "The app may send as a mailbox that it must keep out of."
    remedy = "Narrow the scope, or remove the consent: exoscope plan does it in the safe order."
    return Line("send", view.mailbox, "failed", _TESTS, seen, meaning, remedy, "send-too-wide")
