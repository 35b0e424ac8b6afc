"""The nouns of ``exoscope check``: what each side answered, and the lines that come of it."""

from __future__ import annotations

from typing import Literal

from exoscope.model import Answer, Noun

Outcome = Literal["ok", "failed", "pending", "unknown"]
Result = Literal["ok", "note", "failed", "pending", "unknown"]
What = Literal[
    "authority", "tenant", "credential", "roles", "exchange", "mailbox", "not-mailbox", "test-button", "send"
]
Expected = Literal["inside", "outside"]


class Line(Noun, frozen=True):
    """One thing that was asked. ``subject``: which mailbox (null: it is about no single one). ``seen`` is what the service
    said, ``meaning`` what that says of the connector, ``remedy`` what to do (null: nothing). ``result`` ``note``: information,
    which decides nothing. ``cause`` is a stable code where the result is not ok; ``request_id`` finds the call in Microsoft's logs.
    """

    what: What
    subject: str | None
    result: Result
    asked: str
    seen: str
    meaning: str
    remedy: str | None = None
    cause: str | None = None
    request_id: str | None = None


class ConnectorCheck(Noun, frozen=True):
    """The answer of ``exoscope check``. ``tenant`` as it was named, ``tenant_id`` as the authority knows it (null: it does not).

    ``outcome`` is the first that holds of failed, unknown, pending, ok. ``stopped``: why nothing more was asked (null: all
    was). ``ready_at``: pending: when to come back.
    """

    tenant: str
    tenant_id: str | None
    client_id: str
    permission: str
    outcome: Outcome
    ready_at: str | None
    stopped: str | None
    lines: tuple[Line, ...]


class Authority(Noun, frozen=True):
    """What the authority answered when it was asked for the tenant's OpenID configuration.

    ``problem``: no answer (``unreachable``), a certificate nobody here trusts (``untrusted``), or one that no authority
    gives (``strange``). ``code``: the number of its AADSTS error; ``said`` its words.
    """

    url: str
    problem: Literal["unreachable", "untrusted", "strange"] | None = None
    status: int | None = None
    code: int | None = None
    said: str = ""
    tenant_id: str | None = None


class SignIn(Noun, frozen=True):
    """What came of asking for a token. ``kind``: what was sent; ``looks_like_an_id``: the secret has the form of a Guid.

    ``issued``: there is a token; then ``roles`` (null: it could not be read), ``tenant_id`` and ``object_id`` are its claims.
    Else ``code`` is the number of the AADSTS error and ``said`` its words; ``passing``: the same may succeed later.
    """

    kind: Literal["secret", "certificate"]
    looks_like_an_id: bool = False
    issued: bool = False
    roles: tuple[str, ...] | None = None
    tenant_id: str | None = None
    object_id: str | None = None
    code: int | None = None
    said: str = ""
    passing: bool = False
    request_id: str | None = None


class Called(Noun, frozen=True):
    """One call on a mailbox as the app. ``status`` is HTTP's (null: no answer), ``code`` Graph's, ``said`` its words."""

    mailbox: str
    status: int | None
    code: str | None = None
    said: str = ""
    request_id: str | None = None


class View(Noun, frozen=True):
    """What the operator's side says of one mailbox and one permission, from the configuration as it stands.

    ``kind``: what the address is in Exchange (null: nothing has it, or the recipients could not be read; ``problem`` says
    which). ``predicted``: by the rules over a fresh reading; ``assigned``: Exchange's test of role assignments; ``policies``:
    its test of access policies, which counts where a ``consented`` permission lets the call through. ``elsewhere``: the app
    may do it on some other mailbox. ``because``: what the answer rests on.
    """

    mailbox: str
    kind: str | None = None
    problem: str | None = None
    predicted: Answer = "not-asked"
    assigned: Answer = "not-asked"
    consented: bool = False
    policies: Answer = "not-asked"
    elsewhere: bool | None = None
    because: tuple[str, ...] = ()


class Operator(Noun, frozen=True):
    """What asking as the operator gave. ``found``: what the client id is in the operator's tenant (``registration``: an app
    without a service principal).

    ``problem``: why it could not be asked (null: it was). ``settling``: a journal here tells of a change to the app that the
    service may not act on yet. ``views`` are for the permission checked, ``sending`` for Mail.Send.
    """

    tenant_id: str | None = None
    found: Literal["app", "registration", "object-id", "nothing", "not-asked"] = "not-asked"
    display_name: str | None = None
    app_id: str | None = None
    problem: str | None = None
    settling: bool = False
    views: tuple[View, ...] = ()
    sending: tuple[View, ...] = ()


class Answers(Noun, frozen=True):
    """Everything that was asked, and how. ``operator`` null: nobody else was to be asked. ``graph_problem``: why Graph gave
    no answer at all (null: it did, or was not asked).
    """

    tenant: str
    client_id: str
    permission: str
    authority: Authority
    sign_in: SignIn | None = None
    inside: tuple[Called, ...] = ()
    outside: tuple[Called, ...] = ()
    users: tuple[Called, ...] = ()
    graph_problem: str | None = None
    operator: Operator | None = None
    send: bool = False
