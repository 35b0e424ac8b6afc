"""Asking the witnesses: Exchange's own evaluation of each scope, its test cmdlets, and Graph as the app."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from exoscope import catalog
from exoscope.entra import GraphClient, can_probe, probe
from exoscope.exchange import tests
from exoscope.exchange.parallel import Reading, reading_ahead
from exoscope.exchange.session import DEADLINE, ExchangeSession
from exoscope.model import (
    Answer,
    App,
    GroupScope,
    ManagementScopeScope,
    Noun,
    OrganizationScope,
    Recipient,
    RoleAssignment,
)
from exoscope.outcome import (
    AccessDenied,
    Deadline,
    ExoscopeError,
    GuardRefused,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.planning.states import find_group, find_scope, listed
from exoscope.reach import Mailboxes, Reach

Progress = Callable[[str], None]
_ENDS = (SignInFailed, WrongTenant, GuardRefused, LostSession, Deadline, Throttled, Transient)
"""What concerns the session or passes, and says nothing of what was asked."""


class Carrying(Protocol):
    """What a token of an app carries: application permissions, None where it could not be read."""

    @property
    def roles(self) -> tuple[str, ...] | None: ...


class AppTokens(Protocol):
    """As which apps Graph can be asked. ``missing``: why it cannot be asked as the others."""

    @property
    def missing(self) -> str: ...

    def has(self, app_id: str) -> bool: ...

    def app(self, app_id: str, *, fresh: bool = False) -> Carrying: ...


class Sources(Protocol):
    """Whom to ask: a connection to one tenant, already proven to be the one meant, or what scripts noted of it."""

    @property
    def exchange(self) -> ExchangeSession: ...

    @property
    def tokens(self) -> AppTokens: ...

    def as_app(self, app_id: str) -> GraphClient: ...


class Evaluated(Noun, frozen=True):
    """Exchange's own evaluation of what an app's assignments give for one permission, for all mailboxes at once.

    ``inside``: within some scope; of ``unknown`` Exchange cannot tell, or was not asked in a way that it can (``why``).
    """

    inside: Mailboxes
    unknown: Mailboxes
    why: tuple[str, ...]

    def answer(self, address: str) -> Answer:
        """What it says of one mailbox."""
        if address in self.inside:
            return "allowed"
        return "unknown" if address in self.unknown else "denied"


class Seen(Noun, frozen=True):
    """What Graph said as the app."""

    answer: Answer
    status: str
    request_id: str | None


class Exchange:
    """Exchange asked about one app. Each scope is evaluated once, however many permissions rest on it."""

    def __init__(
        self, session: ExchangeSession, reach: Reach, app: App, progress: Progress, *, lenient: bool = False
    ) -> None:
        """``lenient``: a test that Exchange refuses is an answer that could not be told (``problems`` says why), not an end."""
        self._session, self._reach, self._app, self._progress = session, reach, app, progress
        self._lenient = lenient
        self.problems: list[str] = []
        self._by_guid = {r.guid.casefold(): r for r in listed(reach.snapshot, "recipients")}
        self._scopes: dict[object, Mailboxes | str] = {}

    def evaluate(self, permission: str) -> Evaluated:
        """The union of the app's enabled assignments that give the permission, each scope as Exchange evaluates it now."""
        nobody = self._reach.addresses(())
        inside, unknown, why = nobody, nobody, []
        assignments = self._reach.assignments_of(self._app)
        if assignments is None:
            return Evaluated(nobody, self._reach.mailboxes, ("role assignments were not read",))
        for assignment, certain in assignments:
            if not assignment.enabled or not self._gives(assignment, permission):
                continue
            members = self._members(assignment)
            if isinstance(members, str) or not certain:
                why.append(members if isinstance(members, str) else f"whose {assignment.name} is cannot be told")
                unknown = unknown | self._reach.mailboxes
            else:
                inside = inside | members
        return Evaluated(inside, unknown - inside, tuple(why))

    def authorized(self, permission: str, mailboxes: Iterable[Recipient]) -> dict[str, Answer]:
        """Test-ServicePrincipalAuthorization per mailbox (by primary address): what assignments give, not cached."""

        def ask(mailbox: Recipient) -> bool:
            try:
                rows = tests.test_authorization(self._session, self._app.object_id, mailbox.guid)
            except ObjectNotFound:
                # No pointer, so no assignment gives it anything; a mailbox that went meanwhile is reached by nobody.
                rows = ()
            return any(
                row.in_scope and any(catalog.lets_through(held, permission) for held in row.permissions) for row in rows
            )

        return self._each(
            "Exchange's test", mailboxes, ask, lambda guid: tests.authorization_reading(self._app.object_id, guid)
        )

    def policies_leave(self, mailboxes: Iterable[Recipient]) -> dict[str, Answer]:
        """Test-ApplicationAccessPolicy per mailbox: what policies would leave to a consent."""
        return self._each(
            "Exchange's policy test",
            mailboxes,
            lambda mailbox: tests.test_policy(self._session, mailbox.guid, self._app.app_id) == "granted",
            lambda guid: tests.policy_reading(guid, self._app.app_id),
        )

    def _each(
        self,
        what: str,
        mailboxes: Iterable[Recipient],
        ask: Callable[[Recipient], bool],
        reading: Callable[[str], Reading],
    ) -> dict[str, Answer]:
        asked = list(mailboxes)
        with reading_ahead(self._session, (reading(mailbox.guid) for mailbox in asked), deadline=DEADLINE):
            return self._in_order(what, asked, ask)

    def _in_order(
        self, what: str, mailboxes: Iterable[Recipient], ask: Callable[[Recipient], bool]
    ) -> dict[str, Answer]:
        answers: dict[str, Answer] = {}
        forbidden = False
        for mailbox in mailboxes:
            self._progress(f"{what}: {mailbox.primary_smtp_address}")
            answers[mailbox.primary_smtp_address] = "unknown"
            if forbidden:
                continue  # it would be refused again, each time after a second or so
            try:
                answers[mailbox.primary_smtp_address] = "allowed" if ask(mailbox) else "denied"
            except _ENDS:
                raise
            except ServiceError as error:
                if not self._lenient:
                    raise
                forbidden = isinstance(error, AccessDenied)
                if error.message not in self.problems:
                    self.problems.append(error.message)
        return answers

    def _gives(self, assignment: RoleAssignment, permission: str) -> bool:
        given = catalog.granted_by(assignment.role, self._reach.snapshot.roles)
        return given is not None and any(catalog.lets_through(held, permission) for held in given)

    def _members(self, assignment: RoleAssignment) -> Mailboxes | str:
        if assignment.scope not in self._scopes:
            try:
                self._scopes[assignment.scope] = self._ask(assignment)
            except ExoscopeError as error:
                self._scopes[assignment.scope] = f"the scope of {assignment.name}: {error.message}"
        return self._scopes[assignment.scope]

    def _ask(self, assignment: RoleAssignment) -> Mailboxes | str:
        scope = assignment.scope
        self._progress(f"Exchange's own evaluation: {assignment.name}")
        if isinstance(scope, OrganizationScope):
            return self._reach.mailboxes
        if isinstance(scope, ManagementScopeScope):
            found = find_scope(self._reach.snapshot, scope.name)
            if found is None:
                return f"the scope {scope.name} was not read"
            if found.recipient_root is not None:
                return f"the scope {scope.name} has a root, which Get-Recipient -Filter does not show"
            selected = tests.preview_filter(self._session, found.recipient_filter)
            return self._those(row.guid for row in selected)
        if isinstance(scope, GroupScope):
            group = find_group(self._reach.snapshot, scope.id)
            if group is None:
                return f"the group {scope.id} was not read"
            return self._those(tests.group_members(self._session, group))
        # Exchange lists no unit's members; the test cmdlet speaks for it mailbox by mailbox.
        members = self._reach.scope_members(scope)
        return members.inside if members.problem is None else members.problem

    def _those(self, guids: Iterable[str]) -> Mailboxes:
        known = self._by_guid
        return self._reach.addresses(known[guid.casefold()] for guid in guids if guid.casefold() in known)


def unasked(sources: Sources, app: App, permission: str, *, send: bool) -> str | None:
    """Why Graph cannot be asked for this permission; None: it can."""
    if not can_probe(permission, send=send):
        return f"Graph has no call that asks for {permission} and reads or sends nothing"
    if not sources.tokens.has(app.app_id):
        return sources.tokens.missing
    return None


def carried(sources: Sources, app: App, permission: str) -> tuple[str, ...]:
    """The roles of a fresh token of the app that let the call through whatever Exchange says.

    A token that cannot be read may carry anything; the permission itself is then named.
    """
    roles = sources.tokens.app(app.app_id, fresh=True).roles
    if roles is None:
        return (f"{permission} (the token cannot be read)",)
    return tuple(role for role in roles if catalog.lets_through(role, permission))


def ask_graph(
    sources: Sources, app: App, permission: str, mailboxes: Collection[Recipient], *, send: bool, progress: Progress
) -> Mapping[str, Seen]:
    """Graph as the app, per primary address."""
    order = list(mailboxes)
    answers = probe(
        sources.as_app(app.app_id),
        permission,
        order,
        send=send,
        progress=lambda done: progress(f"Graph as the app: {done} of {len(order)}"),
    )
    return {
        mailbox.primary_smtp_address: Seen(
            answer=said.answer,
            status=" ".join(str(each) for each in (said.status, said.code) if each is not None) or "not asked",
            request_id=said.request_id,
        )
        for mailbox, said in zip(order, answers, strict=True)
    }
