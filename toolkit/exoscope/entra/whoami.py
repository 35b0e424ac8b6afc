"""Who the operator is, as the tokens say it. No token is in an answer."""

from __future__ import annotations

from typing import Literal

from exoscope.clock import iso
from exoscope.entra import clients, keeping
from exoscope.entra.clients import Resource
from exoscope.entra.tokens import Token, Tokens
from exoscope.model import Noun
from exoscope.outcome import Exit, ExoscopeError, SignInFailed, worst
from exoscope.profile import MICROSOFT, Kind, Operator, Profile

Use = Literal["exchange", "graph", "graph-writes"]


class Signed(Noun, frozen=True):
    """One token: what it is for, with which client it was asked for, and what it says of itself.

    ``signed_in`` false: there is none, and ``problem`` and ``next`` say why; what the token would say is null then. ``user``
    null: an application. ``roles`` are application permissions, ``scopes`` delegated ones, null: it cannot be read. ``source``:
    where it came from, in words. ``consent``: what the client needs.
    """

    use: Use
    kind: Kind
    client_id: str
    signed_in: bool
    source: str
    consent: str
    user: str | None = None
    object_id: str | None = None
    tenant_id: str | None = None
    roles: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: str | None = None
    problem: str | None = None
    next: str | None = None


class WhoAnswer(Noun, frozen=True):
    """The profile, the tenant and cloud it names, whether that is a customer's, and each token. ``kept``: files of sign-ins."""

    profile: str
    tenant: str
    cloud: str
    authority: str
    partner: bool
    operators: tuple[Signed, ...]
    kept: tuple[str, ...]

    @property
    def exit(self) -> Exit:
        """0 where every token could be had, else 6."""
        return worst(Exit.DONE if each.signed_in else Exit.UNKNOWN for each in self.operators)


class LogoutAnswer(Noun, frozen=True):
    """The files of kept sign-ins that were removed; none: nothing was kept."""

    profile: str
    removed: tuple[str, ...]


def who(profile: Profile, tokens: Tokens, *, ask: bool, writing: bool = True) -> WhoAnswer:
    """Who each token speaks for. ``ask``: a person may be asked to sign in (login); else only what can be had without is answered.

    ``writing``: the operator for Graph writes too, where the profile has one. Raises BadInput where it has no operator at all.
    """
    operator = tokens.signed_in_as()
    found = [_signed(tokens, "exchange", operator, ask=ask), _signed(tokens, "graph", operator, ask=ask)]
    if writing and tokens.second_writer:
        found.append(_signed(tokens, "graph-writes", tokens.signed_in_as(writing=True), ask=ask))
    kept = {each: None for each in operators(operator) if each.cache is not None}
    places = [keeping.place_of(profile, each) for each in kept]
    return WhoAnswer(
        profile=str(profile.path),
        tenant=profile.tenant,
        cloud=profile.cloud,
        authority=profile.endpoints.authority,
        partner=operator.partner,
        operators=tuple(found),
        kept=tuple(str(place) for place in places if place.exists()),
    )


def logout(profile: Profile) -> LogoutAnswer:
    """Remove every kept sign-in of the profile. Raises BadInput where one cannot be removed."""
    held = operators(profile.operator) if profile.operator is not None else ()
    removed = [place for place in (keeping.forget(profile, each) for each in held) if place is not None]
    return LogoutAnswer(profile=str(profile.path), removed=tuple(str(place) for place in removed))


def operators(operator: Operator) -> tuple[Operator, ...]:
    """The operator and, where there is one, the one for Graph writes."""
    return (operator,) if operator.graph_writes is None else (operator, operator.graph_writes)


def _signed(tokens: Tokens, use: Use, operator: Operator, *, ask: bool) -> Signed:
    resource: Resource = "exchange" if use == "exchange" else "graph"
    writing = use == "graph-writes"
    token: Token | None = None
    problem, after = None, None
    try:
        token = tokens.operator(resource, writing=writing, ask=ask)
    except SignInFailed as error:
        problem, after = error.message, error.next
    except ExoscopeError as error:
        if ask:
            raise
        problem, after = error.message, error.next
    if token is None and ask:
        raise SignInFailed(problem or "no token", next=after or "")
    return Signed(
        use=use,
        kind=operator.kind,
        client_id=clients.client_of(operator, resource),
        signed_in=token is not None,
        source=_source(operator, token),
        consent=clients.consent_of(operator, resource, writing=writing),
        user=None if token is None else token.user,
        object_id=None if token is None else token.object_id,
        tenant_id=None if token is None else token.tenant_id,
        roles=None if token is None else token.roles,
        scopes=None if token is None else token.scopes,
        expires_at=None if token is None else iso(token.expires_at),
        problem=problem,
        next=after,
    )


def _source(operator: Operator, token: Token | None) -> str:
    if operator.kind in ("interactive", "device-code"):
        if token is not None and token.kept and operator.cache is not None:
            return f"kept sign-in ({operator.cache})"
        return "browser" if operator.kind == "interactive" else "device code"
    if operator.federated is not None:
        reference = operator.federated.reference
        return f"token of {operator.federated.provider if reference is None else reference}"
    if operator.secret is not None:
        return f"secret {operator.secret}"
    if operator.certificate is not None:
        return f"certificate {operator.certificate}"
    return "managed identity"


def whose(operator: Operator) -> str:
    """The client in words: whose it is."""
    return (
        "Microsoft's own modules" if operator.client_id == MICROSOFT else operator.client_id or "the machine's identity"
    )
