"""Asking as the connector: the authority, a token, Graph on each mailbox. No content is read, and nothing is ever sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from exoscope import catalog
from exoscope.checking.connector.nouns import Authority, Called, SignIn
from exoscope.clock import Clock
from exoscope.entra import GraphClient, Tokens
from exoscope.entra.graph import Call, Reply
from exoscope.outcome import BadInput, ExoscopeError, ServiceError, Transient
from exoscope.profile import Profile, resolve
from exoscope.profile.given import is_guid

DEADLINE = 60.0
_AADSTS = re.compile(r"AADSTS(\d+)")
_TENANT = re.compile(r"/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:/|$)")


def ask_authority(profile: Profile) -> Authority:
    """What the authority says of the tenant, before anybody signs in."""
    import requests

    from exoscope.origins import OriginSession

    url = profile.endpoints.authority
    with OriginSession([url], profile.endpoints.ca) as session:
        try:
            answer = session.get(f"{url}/{profile.tenant}/v2.0/.well-known/openid-configuration")
        except requests.exceptions.SSLError:
            return Authority(url, problem="untrusted", said="its certificate is not trusted here")
        except requests.exceptions.RequestException as error:
            return Authority(url, problem="unreachable", said=f"no answer ({type(error).__name__})")
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Authority(url, problem="strange", status=answer.status_code)
    return _authority(url, answer.status_code, body)


def _authority(url: str, status: int, body: dict[str, Any]) -> Authority:
    said = str(body.get("error_description") or body.get("error") or "")
    if status == 200:
        tenant = _TENANT.search(str(body.get("issuer") or ""))
        if tenant is None or not body.get("token_endpoint"):
            return Authority(url, problem="strange", status=status)
        return Authority(url, status=status, tenant_id=tenant[1].lower())
    code = _AADSTS.search(said)
    if code is None and status < 500:
        return Authority(url, problem="strange", status=status)
    return Authority(url, status=status, code=int(code[1]) if code else None, said=bare(said))


def bare(said: str) -> str:
    """Entra's words without the ids and times that follow them."""
    return " ".join(re.split(r"\s*(?:Trace ID|Correlation ID|Timestamp):", said)[0].split())


def check_credential(profile: Profile, client_id: str) -> SignIn:
    """What will be sent, looked at before anything is. Raises BadInput where the secret cannot be read."""
    held = profile.credential(client_id)
    if held is None:
        raise BadInput("neither a secret nor a certificate is named")
    if held.secret is None:
        if held.passphrase is not None:
            resolve(held.passphrase)
        return SignIn("certificate")
    return SignIn("secret", looks_like_an_id=is_guid(resolve(held.secret).reveal()))


def sign_in(tokens: Tokens, client_id: str, sent: SignIn) -> SignIn:
    """A fresh token as the app. Raises BadInput for a certificate file that cannot be used."""
    try:
        token = tokens.app(client_id, fresh=True)
    except BadInput:
        raise
    except ExoscopeError as error:
        code = error.service_code if isinstance(error, ServiceError) else None
        return SignIn(
            sent.kind,
            looks_like_an_id=sent.looks_like_an_id,
            code=int(code) if code is not None and code.isdecimal() else None,
            said=error.message,
            passing=isinstance(error, Transient),
            request_id=error.request_id if isinstance(error, ServiceError) else None,
        )
    return SignIn(
        sent.kind,
        looks_like_an_id=sent.looks_like_an_id,
        issued=True,
        roles=token.roles,
        tenant_id=token.tenant_id,
        object_id=token.object_id,
    )


class Asked:
    """What Graph answered as the app. ``problem``: why it gave no answer at all."""

    def __init__(self) -> None:
        self.inside: tuple[Called, ...] = ()
        self.outside: tuple[Called, ...] = ()
        self.users: tuple[Called, ...] = ()
        self.problem: str | None = None


def ask_graph(
    profile: Profile,
    tokens: Tokens,
    clock: Clock,
    client_id: str,
    permission: str,
    inside: Sequence[str],
    outside: Sequence[str],
    progress: Callable[[str], None],
) -> Asked:
    """The probe of ``permission`` on each mailbox, and each user inside as a vendor's Test button reads it."""
    found = catalog.probe_for(permission)
    if found is None:
        raise BadInput(f"Graph has no call that asks for {permission} and reads nothing")
    method, path = found
    calls = [Call(method, path.replace("{id}", _name(each))) for each in (*inside, *outside)]
    calls += [Call("GET", f"/users/{_name(each)}?$select=id") for each in inside]
    ends = profile.endpoints
    graph = GraphClient(ends.graph, lambda fresh: tokens.app(client_id, fresh=fresh), clock, ca=ends.ca)
    asked = Asked()
    try:
        replies = graph.batch(
            calls, deadline=DEADLINE, progress=lambda done: progress(f"Graph as the app: {done} of {len(calls)}")
        )
    except ServiceError as error:
        asked.problem = error.message
        return asked
    finally:
        graph.close()
    answers = [_called(name, reply) for name, reply in zip((*inside, *outside, *inside), replies, strict=True)]
    first, second = len(inside), len(inside) + len(outside)
    asked.inside, asked.outside = tuple(answers[:first]), tuple(answers[first:second])
    asked.users = tuple(answers[second:])
    return asked


def _name(mailbox: str) -> str:
    return quote(mailbox, safe="@")


def _called(mailbox: str, reply: Reply) -> Called:
    error = reply.body.get("error")
    said = " ".join(str(error.get("message") or "").split()) if isinstance(error, dict) else ""
    return Called(mailbox, reply.status, reply.code, said, reply.request_id or reply.client_request_id)
