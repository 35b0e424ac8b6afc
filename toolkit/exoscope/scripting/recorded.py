"""A tenant as scripts read it, in the place of a connection: what asks Exchange or Graph is answered from their results.

What a script did not ask for is an error, never an empty answer: it lands in ``unread``, or makes a witness's answer unknown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from exoscope.clock import Clock
from exoscope.entra.errors import typed as graph_typed
from exoscope.entra.graph import DEADLINE as GRAPH_DEADLINE
from exoscope.entra.graph import Body, Call, GraphClient, Reply
from exoscope.entra.inventory import read_organization
from exoscope.exchange.errors import typed
from exoscope.exchange.selecting import select, selections
from exoscope.exchange.session import DEADLINE, Result, Row
from exoscope.model import Noun, Secret, Tenant
from exoscope.outcome import BadInput, Refused, ServiceError, SignInFailed, Throttled, Transient, WrongTenant
from exoscope.powershell import Operation, read
from exoscope.scripting.parts import VERSION
from exoscope.scripting.read_results import Answer, Asked, Got, Reading

NOT_ASKED = "not-in-result"
APART = timedelta(hours=4)
"""The longest time between the end of one script and the start of another for both to be one reading of a tenant."""

_SELECT = " | Select-Object -Property "


def not_asked(what: str) -> ServiceError:
    """The error for something that the scripts did not ask for."""
    return ServiceError(f"the scripts did not ask for {what}", code=NOT_ASKED)


class StoppedClock:
    """The time at which the scripts ran: what follows from their answers was so then."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """When the first of them began."""
        return self._at

    def sleep(self, seconds: float) -> None:
        """Nothing here is worth waiting for."""
        raise RuntimeError("results of scripts do not change by waiting")


class RecordedExchange:
    """See :class:`exoscope.exchange.session.ExchangeSession`."""

    road = "script"

    def __init__(self, reading: Reading) -> None:
        self._answers = reading.answers
        self.tenant_id = reading.header.tenant.casefold()

    def run(self, script: str, *, deadline: float = DEADLINE, batch: int | None = None) -> Result:
        """What the operation answered when the script ran it."""
        del deadline, batch
        key = script.strip()
        answer = self._answers.get(key)
        if answer is not None:
            return Result(_given(answer))
        for text, wider in self._answers.items():
            if text.partition(_SELECT)[0] == key.partition(_SELECT)[0] and _covers(text, key):
                return Result(select(_given(wider), selections(_operations(key)[1:])))
        raise not_asked(_line_of(key).partition(_SELECT)[0])

    def close(self) -> None:
        """There is nothing to end."""


def _given(answer: Answer) -> tuple[Row, ...]:
    if answer.failure is not None:
        error = typed(answer.failure)
        if isinstance(error, Throttled | Transient):
            # It was tried again when it was asked. Now nothing passes any more.
            raise ServiceError(error.message, code=error.code)
        raise error
    return tuple(dict(zip(answer.columns, row, strict=True)) for row in answer.rows)


def _operations(script: str) -> tuple[Operation, ...]:
    return read(script)[0]


def _covers(ran: str, wanted: str) -> bool:
    """Did what ran select every property that is wanted, of the same objects?"""
    one, other = _operations(ran), _operations(wanted)
    if len(one) != 2 or len(other) != 2 or one[0] != other[0]:
        return False
    given, asked = (each[1].parameters.get("Property") for each in (one, other))
    return isinstance(given, tuple) and isinstance(asked, tuple) and set(asked) <= set(given)


def _line_of(script: str) -> str:
    """The line that does something, without comments."""
    return next((line for line in script.splitlines() if line and not line.startswith("#")), script)


class RecordedGraph(GraphClient):
    """Graph as it answered the scripts. It sends nothing."""

    def __init__(self, readings: Sequence[Reading], clock: Clock) -> None:
        super().__init__(readings[0].header.graph.removesuffix(VERSION), _no_token, clock)
        self._gets: dict[str, Got] = {path: got for each in readings for path, got in each.gets.items()}

    def send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        deadline: float = GRAPH_DEADLINE,
        repeatable: bool | None = None,
    ) -> Reply:
        """What Graph answered. Raises the error of our family that it answered, or that the scripts did not ask."""
        del deadline, repeatable
        got = self._gets.get(path)
        if got is None or method != "GET" or body is not None:
            raise not_asked(f"{method} {path}")
        if got.status == 0:
            raise Transient(f"Graph did not answer GET {_bare(path)}: {got.text}")
        reply = _reply(got)
        if got.status >= 300:
            raise graph_typed(reply.status, reply.body, reply.request_id, _bare(path), {})
        return reply

    def batch(
        self,
        calls: Sequence[Call],
        *,
        deadline: float = GRAPH_DEADLINE,
        progress: Callable[[int], None] | None = None,
    ) -> list[Reply]:
        """What Graph answered to each; a call that the scripts did not make has the status 0."""
        del deadline, progress
        found = (self._gets.get(call.path) if call.method == "GET" else None for call in calls)
        return [_reply(got) if got is not None else _NOT_ASKED for got in found]

    def close(self) -> None:
        """There is nothing to close."""


_NOT_ASKED = Reply(0, {"error": {"code": NOT_ASKED}}, None, "")


def _reply(got: Got) -> Reply:
    body = got.body
    if body is None:
        body = _parsed(got.text)
    return Reply(got.status, body, got.request_id, "")


def _parsed(text: str) -> dict[str, Any]:
    """The body of an error as PowerShell keeps it: the text of the answer, or only words about it."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": {"code": "", "message": text}}


def _bare(path: str) -> str:
    return path.partition("?")[0]


def _no_token(fresh: bool) -> _Token:
    raise SignInFailed("results of scripts sign nobody in")


class _Token(Noun, frozen=True):
    secret: Secret


class SeenToken(Noun, frozen=True):
    """A token as a script saw it."""

    roles: tuple[str, ...] | None


class RecordedTokens:
    """As whom scripts asked Graph."""

    missing = "no result of a script that asked Graph as the app was given"

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._tokens = {each.token.app_id.casefold(): each.token for each in readings if each.token is not None}

    def has(self, app_id: str) -> bool:
        """Did a script ask as this app?"""
        return app_id.casefold() in self._tokens

    def app(self, app_id: str, *, fresh: bool = False) -> SeenToken:
        """The token it asked with. ``fresh`` makes no difference: what it carried then stands in the result."""
        del fresh
        return SeenToken(tuple(self._tokens[app_id.casefold()].roles))


class Recorded:
    """All results of one reading together. Make it with :func:`recorded`."""

    def __init__(self, exchange: Reading, graph: Reading, apps: Mapping[str, Reading]) -> None:
        self._exchange, self._graph, self._apps = exchange, graph, apps
        every = (exchange, graph, *apps.values())
        self.started = min(each.header.started_at for each in every)
        self.finished = max(each.finished_at for each in every)
        self.clock: Clock = StoppedClock(self.started)
        self.exchange = RecordedExchange(exchange)
        self.graph: GraphClient = RecordedGraph([graph], self.clock)
        self.tokens = RecordedTokens(tuple(apps.values()))
        self.plan = exchange.header.plan
        self.seed = exchange.header.seed
        self.asked: Mapping[str, Asked] = exchange.asked

    @property
    def origin(self) -> str:
        """Graph's origin."""
        return self._graph.header.graph.removesuffix(VERSION)

    def as_app(self, app_id: str) -> GraphClient:
        """Graph as the app was answered."""
        return RecordedGraph([self._apps[app_id.casefold()]], self.clock)

    def prove_tenant(self, meant: Tenant | None = None) -> Tenant:
        """The tenant, as Graph named it. Raises WrongTenant where Graph, Exchange and ``meant`` do not agree, ServiceError."""
        named = read_organization(self.graph)
        header = self._exchange.header
        ids = {header.tenant.casefold(), self._graph.header.tenant.casefold(), named.id.casefold(), *self._own_ids()}
        if len(ids) != 1:
            raise WrongTenant(f"the results are of different tenants: {', '.join(sorted(ids))}")
        found = Tenant(named.id, named.initial_domain, header.cloud)
        if meant is not None and (found.id.casefold(), found.cloud) != (meant.id.casefold(), meant.cloud):
            raise WrongTenant(
                f"the results are of the tenant {found.id} ({found.domain}, {found.cloud}); "
                f"meant is {meant.id} ({meant.domain}, {meant.cloud})"
            )
        return found

    def domains(self) -> frozenset[str]:
        """The tenant's Guid and its domains, in lower case."""
        named = read_organization(self.graph)
        return frozenset({named.id.casefold(), *(each.casefold() for each in named.domains)})

    def _own_ids(self) -> Iterator[str]:
        """The tenant as the organisation's own row names it, where it was read."""
        for text, answer in self._exchange.answers.items():
            if _line_of(text).startswith("Get-OrganizationConfig"):
                rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
                yield from (
                    str(row["ExternalDirectoryOrganizationId"]).casefold()
                    for row in rows
                    if row.get("ExternalDirectoryOrganizationId")
                )


def recorded(readings: Sequence[Reading]) -> Recorded:
    """Results that were read together. Raises BadInput where one is missing or stands twice, Refused (``other-plan``,
    ``not-together``), WrongTenant.
    """
    first = readings[0].header
    for each in readings:
        header = each.header
        if (header.purpose, header.plan) != (first.purpose, first.plan):
            raise Refused(
                f"{each.name} is a {_told(each)}, {readings[0].name} a {_told(readings[0])}: they do not go together",
                code="other-plan",
            )
        if (header.tenant.casefold(), header.cloud, header.graph) != (
            first.tenant.casefold(),
            first.cloud,
            first.graph,
        ):
            raise WrongTenant(
                f"{each.name} is of the tenant {header.tenant} ({header.cloud}), "
                f"{readings[0].name} of {first.tenant} ({first.cloud})"
            )
    parts: dict[str, list[Reading]] = {"exchange": [], "graph": [], "app": []}
    for each in readings:
        parts[each.header.part].append(each)
    for part, words in (("exchange", "an Exchange"), ("graph", "a Graph")):
        if len(parts[part]) != 1:
            raise BadInput(
                f"{len(parts[part])} results of {words} script were given; it takes one",
                next="Give the results of the files that were written together, each once.",
            )
    apps = {str(each.header.app_id).casefold(): each for each in parts["app"]}
    if len(apps) != len(parts["app"]):
        raise BadInput("two results ask Graph as one app", next="Give the later one alone.")
    _refuse_apart(readings)
    return Recorded(parts["exchange"][0], parts["graph"][0], apps)


def _told(reading: Reading) -> str:
    plan = reading.header.plan
    return f"check of the plan {plan}" if plan else "reading"


def _refuse_apart(readings: Sequence[Reading]) -> None:
    """Two readings of different times are no reading of one."""
    order = sorted(readings, key=lambda each: each.header.started_at)
    end, last = order[0].finished_at, order[0]
    for each in order[1:]:
        if each.header.started_at - end > APART:
            raise Refused(
                f"{last.name} ended at {end:%Y-%m-%dT%H:%M:%SZ}, {each.name} began at "
                f"{each.header.started_at:%Y-%m-%dT%H:%M:%SZ}: that is no reading of one time",
                code="not-together",
                next=f"Run the scripts one after the other, within {APART.total_seconds() / 3600:.0f} hours.",
            )
        if each.finished_at > end:
            end, last = each.finished_at, each
