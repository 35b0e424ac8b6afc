"""One identity at msal each: an app with a secret, a certificate or a platform's token, a machine's identity, a person.

The only file that touches msal. Its constructors go to the network, so nothing here is made before it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from exoscope import system
from exoscope.outcome import BadInput, ExoscopeError, SignInFailed, Transient
from exoscope.profile import Operator, SecretRef, resolve

Answer = Mapping[str, Any]

SIGN_IN_SECONDS = 300
_DONE = (
    "<html><head><title>exoscope</title></head><body><p>Signed in. Close this tab and go back to the terminal.</p>"
    "</body></html>"
)
_FAILED = (
    "<html><head><title>exoscope</title></head><body><p>Not signed in: $error. $error_description</p>"
    "<p>Close this tab; the terminal says what to do.</p></body></html>"
)


class Identity(Protocol):
    """One identity at msal."""

    def acquire(self, scopes: Sequence[str], *, fresh: bool, ask: bool) -> Answer:
        """msal's answer: a token or an error. ``fresh``: issued now; ``ask``: whoever it is may be asked to sign in."""
        ...


class Confidential:
    """An app of its own credential: ``credential`` in msal's form."""

    def __init__(self, client_id: str, credential: Any, common: Mapping[str, Any]) -> None:
        import msal

        self._app = msal.ConfidentialClientApplication(client_id, client_credential=credential, **common)

    def acquire(self, scopes: Sequence[str], *, fresh: bool, ask: bool) -> Answer:
        if fresh:
            self._app.remove_tokens_for_client()
        result: Answer = self._app.acquire_token_for_client(list(scopes))
        return result


class ManagedIdentity:
    """The identity that Azure gives the machine; a system-assigned one where no client id is named."""

    def __init__(self, client_id: str | None) -> None:
        import msal
        import requests

        identity = (
            msal.UserAssignedManagedIdentity(client_id=client_id) if client_id else msal.SystemAssignedManagedIdentity()
        )
        session = requests.Session()
        session.trust_env = False  # the machine's own metadata service is asked directly, never through a proxy
        self._app = msal.ManagedIdentityClient(identity, http_client=session)

    def acquire(self, scopes: Sequence[str], *, fresh: bool, ask: bool) -> Answer:
        (scope,) = scopes
        result: Answer = self._app.acquire_token_for_client(resource=scope.removesuffix("/.default"))
        return result


class Person:
    """Somebody who signs in: in the system's browser, or with a code on another device. ``cache`` is msal's.

    ``say`` gets the sentences that tell the person what to do; ``hint`` is the name of who signed in before.
    """

    def __init__(
        self,
        client_id: str,
        operator: Operator,
        common: Mapping[str, Any],
        *,
        cache: Any,
        say: Callable[[str], None],
        at_terminal: bool,
        hint: Callable[[], str | None],
    ) -> None:
        import msal

        self._app = msal.PublicClientApplication(client_id, token_cache=cache, **common)
        self._client_id, self._operator = client_id, operator
        self._say, self._at_terminal, self._hint = say, at_terminal, hint

    def acquire(self, scopes: Sequence[str], *, fresh: bool, ask: bool) -> Answer:
        wanted = self._operator.account
        failed: Answer | None = None
        for account in self._app.get_accounts():
            if wanted is not None and str(account.get("username", "")).casefold() != wanted.casefold():
                continue
            found = self._app.acquire_token_silent_with_error(list(scopes), account, force_refresh=fresh)
            if found and "access_token" in found:
                return found  # type: ignore[no-any-return]  # msal has no types
            failed = found or failed
        if not ask:
            if failed is not None:
                return failed
            raise SignInFailed("nobody is signed in", code="sign-in-needed", next="Sign in: exoscope login.")
        return self._by_code(scopes) if self._operator.device_code else self._in_browser(scopes)

    def forget_all_but(self, name: str) -> None:
        """Drop from the cache whoever is not this account."""
        for account in self._app.get_accounts():
            if str(account.get("username", "")).casefold() != name.casefold():
                self._app.remove_account(account)

    def _by_code(self, scopes: Sequence[str]) -> Answer:
        flow = self._app.initiate_device_flow(scopes=list(scopes))
        if "user_code" not in flow:
            return dict(flow)
        self._say(f"{flow['message']} The client is {self._client_id}.")
        result: Answer = self._app.acquire_token_by_device_flow(flow)
        return result

    def _no_browser(self, address: str) -> None:
        self._say(f"No browser could be opened. Open this address in one on this machine: {address}")

    def _in_browser(self, scopes: Sequence[str]) -> Answer:
        if not self._at_terminal:
            raise SignInFailed(
                "somebody must sign in in a browser, and nobody is at a terminal here",
                code="no-terminal",
                next="Sign in at a terminal with exoscope login and [operator] cache, or give [operator] a certificate, a "
                "platform's token (federated) or a managed identity for work that nobody watches.",
            )
        from msal.oauth2cli.oauth2 import BrowserInteractionTimeoutError

        hint = self._operator.account or self._hint()
        self._say(
            f"Sign in{f' as {hint}' if hint else ''} in the browser, within {SIGN_IN_SECONDS // 60} minutes. "
            f"The client is {self._client_id}."
        )
        try:
            result: Answer = self._app.acquire_token_interactive(
                list(scopes),
                login_hint=hint,
                # Without a name the browser would take whoever is signed in there.
                prompt=None if hint else "select_account",
                timeout=SIGN_IN_SECONDS,
                auth_uri_callback=self._no_browser,
                success_template=_DONE,
                error_template=_FAILED,
            )
        except BrowserInteractionTimeoutError:
            raise SignInFailed(
                f"nobody signed in within {SIGN_IN_SECONDS // 60} minutes", next="Run the same command again."
            ) from None
        return result


def memory() -> Any:
    """A cache that ends with the process."""
    import msal

    return msal.TokenCache()


def failure_of(error: Exception, name: str, authority: str) -> ExoscopeError:
    """What msal raised (what requests raises, a ValueError for a bad authority) as one of our errors; ``name``: who signs in."""
    import requests
    from msal.exceptions import MsalServiceError

    if isinstance(error, MsalServiceError):
        # msal raises for 5xx and keeps nothing of the answer but its status.
        found = re.search(r"HTTP Error: (\d+)", str(error))
        what = f"HTTP {found.group(1)}" if found else "a server error"
        return Transient(f"sign-in of {name}: {authority} answered {what}", next="Run the same command again.")
    if isinstance(error, requests.exceptions.SSLError):
        return SignInFailed(
            f"sign-in of {name} failed: the certificate of {authority} is not trusted",
            next="Name the CA that signed it as [endpoints] ca, or in REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, requests.exceptions.RequestException):
        return Transient(f"{authority} cannot be reached ({type(error).__name__})", next="Check the network and proxy.")
    # The text of these may repeat what was handed in, so only their kind is told.
    return SignInFailed(
        f"sign-in of {name} failed: {type(error).__name__} from the sign-in library",
        next="Check tenant, cloud and [endpoints] authority in the profile, and that the certificate file is whole.",
    )


def credential(secret: SecretRef | None, certificate: Path | None, passphrase: SecretRef | None) -> Any:
    """A credential in msal's form. Raises BadInput for a file that cannot be read, or whose open key others can read."""
    if secret is not None:
        return resolve(secret).reveal()
    if certificate is None:
        raise BadInput("neither a secret nor a certificate is named")
    phrase = resolve(passphrase).reveal() if passphrase is not None else None
    try:
        data = certificate.read_bytes()
    except OSError as error:
        raise BadInput(f"{certificate} cannot be read: {error.strerror}") from None
    if b"-----BEGIN" not in data:
        _opens(certificate, data, phrase)
        return {"private_key_pfx_path": str(certificate), "passphrase": phrase, "public_certificate": True}
    if b"ENCRYPTED" not in data:
        data = system.read_private(certificate)
    text = data.decode("ascii", "replace")
    keys, certificates = _pem(text, "PRIVATE KEY"), _pem(text, "CERTIFICATE")
    if len(keys) != 1 or not certificates:
        raise BadInput(f"{certificate} must hold one private key and its certificate, in PEM")
    found = {"private_key": keys[0], "public_certificate": "".join(certificates)}
    return {**found, "passphrase": phrase} if phrase is not None else found


def _opens(path: Path, data: bytes, phrase: str | None) -> None:
    """Raises BadInput where this is no PFX with a key that the passphrase opens: msal would say as little as ValueError."""
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(data, None if phrase is None else phrase.encode())
    except ValueError:
        key = certificate = None
    if key is None or certificate is None:
        raise BadInput(
            f"{path} is neither PEM nor a PFX that opens {'with this' if phrase else 'without a'} passphrase",
            next="Name the file with key and certificate, and its passphrase if it has one.",
        )


def _pem(text: str, kind: str) -> list[str]:
    blocks = re.findall(r"-----BEGIN ([A-Z ]+)-----(.*?)-----END \1-----", text, re.DOTALL)
    return [f"-----BEGIN {name}-----{body}-----END {name}-----\n" for name, body in blocks if name.endswith(kind)]
