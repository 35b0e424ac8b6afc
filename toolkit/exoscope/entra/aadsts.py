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
    7000218: "Name a secret or a certificate for this app in the profile.",
    700025: "This app is a public client: use device_code, or register a confidential one.",
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
    90094: "Have an admin consent to the app's permissions.",
    650056: "The app's registration lacks the permission or the consent: add it and have an admin consent.",
    650057: "The resource is not among the app's requested permissions: add it and have an admin consent.",
    53003: "A Conditional Access policy blocks this sign-in (they apply to workload identities too): ask whoever keeps them.",
    500133: "Set this machine's clock: the assertion's times are out of range.",
    700024: "Set this machine's clock: the assertion's times are out of range.",
    50012: "Check the certificate, and this machine's clock.",
    50034: "The user does not exist in this tenant: sign in with an account of it.",
    70020: "The code has expired: run the command again and sign in sooner.",
}

_CODE = re.compile(r"AADSTS(\d+)")


def error_of(result: Mapping[str, Any], who: str) -> ServiceError:
    """The error for what msal answered instead of a token. ``who`` names the identity in words."""
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
