"""The twin's sign-in of a person: authorize page, codes with PKCE, refresh tokens, consent. It approves by itself.

The person is the sandbox's operator. Sources: Microsoft's page on the authorization code flow (parameters, ``form_post``, errors at
the redirect address, refresh tokens that are good for every resource) and on redirect addresses (``http://localhost`` with any port
for public clients).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from werkzeug.wrappers import Request, Response

from exoscope.catalog import GRAPH
from exoscope.model import Noun
from exoscope.twin import aadsts
from exoscope.twin.aadsts import AadSts

if TYPE_CHECKING:
    from exoscope.twin.entra import Entra

EXCHANGE_MODULE_CLIENT = "fb78d390-0c51-40cd-8e17-fdbfab77341b"  # Microsoft's own module's
GRAPH_MODULE_CLIENT = "14d82eec-204b-4c2f-b7e8-296a70dab67e"  # Graph PowerShell's
EXCHANGE_SCOPE = "Exchange.Manage"
CODE_SECONDS = 600.0
_ABOUT_THE_PERSON = frozenset({"openid", "profile", "email", "offline_access"})


class Asked(Noun, frozen=True):
    """What was asked for. ``names`` are permissions of ``resource``; empty: whatever was consented (``.default``). ``prefix``: how
    the resource was named.
    """

    client: str
    resource: str
    names: tuple[str, ...]
    prefix: str
    offline: bool
    nonce: str | None = None
    redirect: str | None = None
    challenge: str | None = None
    ends: float | None = None


class People:
    """Sign-in of people to one tenant. ``person``: who is at the browser, the sandbox's operator unless a test says otherwise."""

    def __init__(self, entra: Entra, resource_of: Callable[[str], str]) -> None:
        self._entra, self._resource_of = entra, resource_of
        self.person: str | None = None
        self.clients = {EXCHANGE_MODULE_CLIENT, GRAPH_MODULE_CLIENT}
        self._withheld: dict[str, set[str]] = {}
        self._codes: dict[str, Asked] = {}
        self._refresh: dict[str, tuple[str, str]] = {}  # token: client, person
        self._lock = threading.Lock()

    # -- switches ----------------------------------------------------------------------------------------------

    def withhold(self, client: str, *names: str) -> None:
        """Nobody has consented to these delegated permissions for the client."""
        self._withheld.setdefault(client.casefold(), set()).update(names)

    def end_refresh(self) -> None:
        """From now on every refresh token is one that was revoked."""
        with self._lock:
            self._refresh.clear()

    # -- the flows ---------------------------------------------------------------------------------------------

    def check(self, client: str) -> None:
        """Is it a public client of this tenant? Raises AadSts."""
        if client.casefold() not in {self._entra.operator.app_id.casefold(), *self.clients}:
            raise AadSts(700016, app=client)

    def asked(self, client: str, scope: str) -> Asked:
        """What a scope parameter asks for. Raises AadSts."""
        words = scope.split()
        wanted = [word for word in words if word not in _ABOUT_THE_PERSON]
        resources = {self._resource_of(word) for word in wanted}
        if len(resources) != 1:
            raise AadSts(70011, name=scope)
        names = tuple(word.rpartition("/")[2] for word in wanted)
        if ".default" in names and len(names) > 1:
            raise AadSts(70011, name=scope)
        return Asked(
            client=client,
            resource=resources.pop(),
            names=() if names == (".default",) else names,
            prefix=wanted[0].rpartition("/")[0],
            offline="offline_access" in words,
        )

    def authorize(self, request: Request) -> Response:
        """The page a browser is sent to: it comes back at once with a code. Raises AadSts where there is nowhere to go back to."""
        given = request.args
        client = given.get("client_id", "")
        self.check(client)
        back = given.get("redirect_uri", "")
        where = urlsplit(back)
        if where.scheme != "http" or where.hostname != "localhost" or where.path.strip("/"):
            raise AadSts(50011, name=back, app=client)
        try:
            answer = {"code": self._code(client, given)}
        except AadSts as error:
            _, body = aadsts.answer(
                error,
                tenant=self._entra.tenant.state.tenant.id,
                correlation_id=None,
                now=self._entra.tokens.clock.now(),
            )
            answer = {"error": body["error"], "error_description": body["error_description"]}
        answer["state"] = given.get("state", "")
        if given.get("response_mode") == "form_post":
            return _form(back, answer)
        return Response(status=302, headers={"Location": f"{back}?{urlencode(answer)}"})

    def _code(self, client: str, given: Mapping[str, str]) -> str:
        self._entra.faults.take(client)
        if given.get("response_type") != "code":
            raise AadSts(900144, name="response_type")
        if given.get("code_challenge_method") != "S256" or not given.get("code_challenge"):
            raise AadSts(9002325)
        asked = self.asked(client, given.get("scope", ""))
        self._granted(asked)
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._codes[code] = Asked(
                client=client,
                resource=asked.resource,
                names=asked.names,
                prefix=asked.prefix,
                offline=asked.offline,
                nonce=given.get("nonce"),
                redirect=given["redirect_uri"],
                challenge=given["code_challenge"],
                ends=self._entra.tokens.clock.now().timestamp() + CODE_SECONDS,
            )
        return code

    def redeem(self, client: str, form: Mapping[str, str]) -> dict[str, Any]:
        """A token for a code. Raises AadSts."""
        with self._lock:
            asked = self._codes.pop(form.get("code", ""), None)  # good for one try, whatever comes of it
        if asked is None or asked.ends is None or self._entra.tokens.clock.now().timestamp() >= asked.ends:
            raise AadSts(70008)
        self._no_credential(form)
        if asked.client.casefold() != client.casefold() or asked.redirect != form.get("redirect_uri"):
            raise AadSts(70000, name="The code was issued to another client or redirect address.")
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if not hmac.compare_digest(proof, asked.challenge or ""):
            raise AadSts(501481)
        return self.answer(asked)

    def refresh(self, client: str, form: Mapping[str, str]) -> dict[str, Any]:
        """A token for a refresh token, for any resource. Raises AadSts."""
        self._no_credential(form)
        with self._lock:
            held = self._refresh.get(form.get("refresh_token", ""))
        if held is None or held[0] != client.casefold():
            raise AadSts(50173)
        asked = self.asked(client, form.get("scope", ""))
        self._granted(asked)
        return self.answer(asked, person=held[1])

    def answer(self, asked: Asked, *, person: str | None = None) -> dict[str, Any]:
        """The token endpoint's answer for a person. Raises AadSts."""
        entra = self._entra
        operator = entra.operator
        name = person or self.person or operator.upn
        object_id = operator.object_id if name == operator.upn else _id_of(name)
        scopes = self._granted(asked)
        token = entra.tokens.issue(
            app_id=asked.client,
            object_id=object_id,
            resource=asked.resource,
            roles=scopes,
            operator=name == operator.upn,
            user=name,
        )
        seconds = int(entra.tokens.operator_lifetime)
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            # in full, and .default where it was asked for: clients find what they keep by the words they asked with
            "scope": " ".join(f"{asked.prefix}/{name}" for name in (*scopes, *(() if asked.names else (".default",)))),
            "expires_in": seconds,
            "ext_expires_in": seconds,
            "access_token": token,
            "id_token": entra.tokens.identify(client=asked.client, object_id=object_id, user=name, nonce=asked.nonce),
            "client_info": _encoded({"uid": object_id, "utid": entra.tokens.tenant_id}),
        }
        if asked.offline:
            answer["refresh_token"] = secrets.token_urlsafe(32)
            with self._lock:
                self._refresh[answer["refresh_token"]] = (asked.client.casefold(), name)
        return answer

    def _granted(self, asked: Asked) -> tuple[str, ...]:
        """The permissions a token would carry. Raises AadSts where nobody has consented."""
        withheld = self._withheld.get(asked.client.casefold(), set())
        every = self._entra.operator.graph_roles if asked.resource == GRAPH else (EXCHANGE_SCOPE,)
        if asked.names:
            if withheld & set(asked.names):
                raise AadSts(65001, app=asked.client)
            return asked.names
        left = tuple(name for name in every if name not in withheld)
        if not left:
            raise AadSts(65001, app=asked.client)
        return left

    def _no_credential(self, form: Mapping[str, str]) -> None:
        if form.get("client_secret") or form.get("client_assertion"):
            raise AadSts(700025)


def _form(back: str, answer: Mapping[str, str]) -> Response:
    fields = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in answer.items()
    )
    page = (
        '<html><head><title>Working...</title></head><body onload="document.forms[0].submit()">'
        f'<form method="post" action="{html.escape(back)}">{fields}<noscript><input type="submit" value="Continue"></noscript>'
        "</form></body></html>"
    )
    return Response(page, 200, content_type="text/html; charset=utf-8", headers={"Cache-Control": "no-store, no-cache"})


def _encoded(value: Mapping[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _id_of(name: str) -> str:
    digest = hashlib.sha256(name.casefold().encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
