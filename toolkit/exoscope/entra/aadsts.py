"""What an AADSTS error code asks the admin to do. Source: Microsoft's reference-error-codes page, whose advice is to go by code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from exoscope.outcome import ServiceError, SignInFailed, Transient

TRANSIENT = frozenset({90033, 90006, 90012, 90024, 90090})

_WRONG_TENANT = "Check tenant and client_id in the profile; a new app can take minutes to be known everywhere."

NEXT: Mapping[int, str] = {
    7000215: "Put the secret's value into the profile's reference, not its id; if it was never noted, make a new secret.",
    7000222: "The secret has expired: make a new one and put its value behind the profile's reference.",
    700027: "Register the certificate's public part with the app, and check that it has not expired and fits the private key.",
    7000218: 'Name a secret or a certificate for this app in the profile. Where a person signs in: set "Allow public client flows" '
    "to Yes in the app's registration (Authentication).",
    700025: 'This app is a public client: take kind = "interactive", or register a confidential one.',
    700016: _WRONG_TENANT,
    700011: _WRONG_TENANT,
    7000229: "The app has no service principal in this tenant: make one (its enterprise application), or wait if it is new.",
    7000112: "Enable the app's enterprise application in Entra.",
    70001: "The app is unknown or disabled: check client_id, and that its enterprise application is enabled.",
    90002: "Check tenant and cloud in the profile: this cloud has no such tenant.",
    900023: "Write tenant as a Guid or as a domain of the tenant.",
    1002012: "Report this: exoscope asked for a scope that the client credentials flow does not take.",
    70011: "Report this: exoscope asked for a scope that is not valid.",
    500011: "The tenant has no such resource: check cloud in the profile, and that the tenant has Exchange Online.",
    9001023: "Name the tenant in the profile, never common or organizations.",
    65001: "Have an admin consent to the app's permissions.",
    65004: "The consent was declined: an admin must consent to the app's permissions.",
    90094: "Have an admin consent to the app's permissions.",
    90008: "The app's registration lacks the permission: add it and have an admin consent.",
    650056: "The app's registration lacks the permission or the consent: add it and have an admin consent.",
    650057: "The resource is not among the app's requested permissions: add it and have an admin consent.",
    53003: "A Conditional Access policy blocks this sign-in (they apply to workload identities too): ask whoever keeps them.",
    500133: "Set this machine's clock: the assertion's times are out of range.",
    700024: "Set this machine's clock: the assertion's times are out of range.",
    50012: "Check the certificate, and this machine's clock.",
    50011: 'Add http://localhost to the app\'s registration, as a redirect address of "Mobile and desktop applications".',
    50013: "Check that the platform's token is whole, and that its issuer is the one the federated credential names.",
    50020: "This account is of another tenant and not known here: sign in with one of this tenant, or, as a partner, have a GDAP "
    "relationship with an Exchange role and partner = true in the profile.",
    50027: "What the reference gives is no token of a platform: check [operator] federated.",
    50058: "Nobody is signed in any more: sign in again (exoscope login).",
    50076: 'This sign-in needs multi-factor authentication: take kind = "interactive".',
    50079: "This account has still to register for multi-factor authentication: sign in to the portal with it once.",
    50105: "Assign the account to the app's enterprise application in Entra (Users and groups).",
    50173: "The kept sign-in was revoked, or the password was changed: sign in again (exoscope login).",
    53000: "A Conditional Access policy asks for a compliant device: sign in from one.",
    53001: "A Conditional Access policy asks for a joined device: sign in from one.",
    530003: "A Conditional Access policy asks for a managed device: sign in from one.",
    70000: "Sign in again (exoscope login).",
    70008: "Sign in again (exoscope login): what was kept has expired.",
    70021: "The app trusts no such token: add a federated credential to its registration with exactly this issuer, subject "
    "and audience.",
    700211: "The app trusts no token of this issuer: make the issuer of its federated credential exactly this, its last slash "
    "or none included.",
    700212: "The token is meant for another audience: make the audience of the federated credential exactly this, or have the "
    "platform ask for the one that the credential names.",
    700213: "The app trusts this platform, but not for this subject: make the subject of its federated credential exactly "
    "this (a job of another branch, environment or pull request has another one).",
    700223: "The tenant does not allow sign-in by a platform's token: ask whoever keeps its policies.",
    700082: "The kept sign-in was not used for too long: sign in again (exoscope login).",
    9002325: "Report this: exoscope signed in without a proof key.",
    50034: "The user does not exist in this tenant: sign in with an account of it.",
    70020: "The code has expired: run the command again and sign in sooner.",
}

_CODE = re.compile(r"AADSTS(\d+)")


CONSENT = frozenset({65001, 65004, 90094, 90008, 650056, 650057})
CONDITIONAL_ACCESS = frozenset({53003, 53000, 53001, 530003, 50076})
NO_DEVICE_CODE = (
    "The tenant does not take a device code (Conditional Access; many block them, since they are phished for): use "
    'kind = "interactive" in [operator], at a terminal with a browser.'
)


def error_of(result: Mapping[str, Any], who: str, *, kind: str = "", consent: str = "") -> ServiceError:
    """The error for what msal answered instead of a token. ``who`` names the identity in words, ``kind`` how it signs in,
    ``consent`` what its client needs.
    """
    text = str(result.get("error_description") or result.get("error") or "no reason given")
    codes = _codes(result.get("error_codes"), text)
    code = codes[0] if codes else None
    said = re.split(r"\s*(?:Trace ID|Correlation ID|Timestamp):", text)[0].strip()
    request_id = result.get("correlation_id")
    request_id = str(request_id) if request_id else None
    if code in TRANSIENT:
        return Transient(
            f"sign-in of {who}: {said}",
            next="Run the same command again.",
            request_id=request_id,
            service_code=str(code),
        )
    advice = NEXT.get(code or 0, "Look the code up at https://login.microsoftonline.com/error")
    if code is None and result.get("error") == "access_denied":
        advice = "The sign-in was cancelled: run the same command again."
    if kind == "device-code" and code in CONDITIONAL_ACCESS:
        advice = NO_DEVICE_CODE
    if consent and code in CONSENT:
        advice = f"{advice} Needed: {consent}."
    return SignInFailed(
        f"sign-in of {who} failed: {said}",
        next=advice,
        request_id=request_id,
        service_code=None if code is None else str(code),
    )


def _codes(given: Any, text: str) -> Sequence[int]:
    if isinstance(given, list) and given:
        return [int(code) for code in given if str(code).isdecimal()]
    return [int(code) for code in _CODE.findall(text)]
