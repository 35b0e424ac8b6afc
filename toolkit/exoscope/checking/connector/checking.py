"""The connector's check from end to end: asked as the app, then as the operator where there is one, then judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from exoscope.checking.connector import asking, operating
from exoscope.checking.connector.judge import judged
from exoscope.checking.connector.nouns import Answers, ConnectorCheck, Operator, SignIn
from exoscope.clock import Clock
from exoscope.entra import Tokens
from exoscope.model import Noun, WaitKind
from exoscope.profile import Profile
from exoscope.reading import Connection
from exoscope.running import Store


class Question(Noun, frozen=True):
    """What is to be checked. ``inside``: mailboxes that must be readable, ``outside``: those that must not be."""

    client_id: str
    permission: str
    inside: tuple[str, ...]
    outside: tuple[str, ...] = ()
    send: bool = False


class Side(NamedTuple):
    """The operator's side: a connection not opened yet, the journals, and the waits of the profile in seconds."""

    connection: Connection
    store: Store
    waits: dict[WaitKind, float]
    lengthen: bool


def check(
    question: Question,
    profile: Profile,
    clock: Clock,
    *,
    side: Side | None,
    cache: float,
    progress: Callable[[str], None],
) -> ConnectorCheck:
    """Ask and judge. ``profile`` holds the connector's credential and nobody else's.

    Raises BadInput where the credential cannot be read; what a service answers is in the lines, never an error.
    """
    sent = asking.check_credential(profile, question.client_id)
    progress("the authority")
    answers = Answers(profile.tenant, question.client_id, question.permission, asking.ask_authority(profile))
    if answers.authority.tenant_id is not None:
        answers = _signed_in(question, profile, clock, answers, sent, side, progress)
    return judged(answers, now=clock.now(), cache=cache)


def _signed_in(
    question: Question,
    profile: Profile,
    clock: Clock,
    answers: Answers,
    sent: SignIn,
    side: Side | None,
    progress: Callable[[str], None],
) -> Answers:
    progress("a token as the app")
    tokens = Tokens(profile, clock)
    got = asking.sign_in(tokens, question.client_id, sent)
    operator: Operator | None = None
    if not got.issued:
        if side is not None:
            operator = operating.identify(side.connection, question.client_id)
        return Answers(answers.tenant, answers.client_id, answers.permission, answers.authority, got, operator=operator)
    asked = asking.ask_graph(
        profile, tokens, clock, question.client_id, question.permission, question.inside, question.outside, progress
    )
    if side is not None:
        operator = operating.look(
            side.connection,
            side.store,
            answers.authority.tenant_id or "",
            question.client_id,
            question.permission,
            (*question.inside, *question.outside),
            send=question.send,
            waits=side.waits,
            lengthen=side.lengthen,
            progress=progress,
        )
    return Answers(
        answers.tenant,
        answers.client_id,
        answers.permission,
        answers.authority,
        got,
        inside=asked.inside,
        outside=asked.outside,
        users=asked.users,
        graph_problem=asked.problem,
        operator=operator,
        send=question.send,
    )
