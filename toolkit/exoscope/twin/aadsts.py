"""AADSTS errors: codes, HTTP status, OAuth error, texts and the JSON they come in.

Sources: Microsoft's reference-error-codes page, which warns not to depend on the texts; for federated credentials the
troubleshooting pages of Azure workload identity, Azure DevOps and GitLab.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# code: (HTTP status, OAuth error, text). {app}, {tenant}, {name}, {issuer}, {subject} and {audience} are filled in.
ERRORS: Mapping[int, tuple[int, str, str]] = {
    7000215: (
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the "
        "client secret ID, for a secret added to app '{app}'.",
    ),
    7000222: (
        401,
        "invalid_client",
        "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for your "
        "app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security.",
    ),
    700027: (
        401,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - "
        "{name}]",
    ),
    700024: (401, "invalid_client", "Client assertion is not within its valid time range."),
    50012: (401, "invalid_client", "Authentication failed: {name}"),
    7000218: (
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    700025: (
        401,
        "invalid_client",
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
    ),
    700016: (
        400,
        "unauthorized_client",
        "Application with identifier '{app}' was not found in the directory '{tenant}'. This can happen if the application "
        "has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may "
        "have sent your authentication request to the wrong tenant.",
    ),
    7000229: (
        401,
        "invalid_client",
        "The client application {app} is missing service principal in the tenant {tenant}. See instructions here: "
        "https://go.microsoft.com/fwlink/?linkid=2225119",
    ),
    7000112: (401, "unauthorized_client", "Application '{app}'({name}) is disabled."),
    90002: (
        400,
        "invalid_request",
        "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct "
        "cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the "
        "tenant.",
    ),
    900023: (
        400,
        "invalid_request",
        "Specified tenant identifier '{name}' is neither a valid DNS name, nor a valid external domain.",
    ),
    9001023: (
        400,
        "invalid_request",
        "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or "
        "tenant-specific endpoint.",
    ),
    1002012: (
        400,
        "invalid_scope",
        "The provided value for scope {name} is not valid. Client credential flows must have a scope value with /.default "
        "suffixed to the resource identifier (application ID URI).",
    ),
    70011: (
        400,
        "invalid_scope",
        "The provided value for the input parameter 'scope' is not valid. The scope {name} is not valid.",
    ),
    500011: (
        400,
        "invalid_resource",
        "The resource principal named {name} was not found in the tenant named {tenant}. This can happen if the application "
        "has not been installed by the administrator of the tenant or consented to by any user in the tenant.",
    ),
    53003: (
        400,
        "invalid_grant",
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    700011: (400, "unauthorized_client", "Application with identifier {app} was not found in the directory."),
    70001: (400, "unauthorized_client", "The application named {app} is disabled in the tenant named {tenant}."),
    65001: (
        400,
        "invalid_grant",
        "The user or administrator has not consented to use the application with ID '{app}'. Send an interactive "
        "authorization request for this user and resource.",
    ),
    65004: (400, "access_denied", "User declined to consent to access the app."),
    90094: (
        400,
        "access_denied",
        "An administrator of {tenant} has set a policy that prevents you from granting the application with ID '{app}' the "
        "permissions it is requesting. Contact an administrator of {tenant}, who can grant permissions to this "
        "application on your behalf.",
    ),
    650056: (
        400,
        "unauthorized_client",
        "Misconfigured application. This could be due to one of the following: the client has not listed any permissions for "
        "'{name}' in the requested permissions in the client's application registration. Or, the admin has not consented "
        "in the tenant.",
    ),
    650057: (
        400,
        "invalid_resource",
        "Invalid resource. The client has requested access to a resource which is not listed in the requested permissions in "
        "the client's application registration. Client app ID: {app}.",
    ),
    500133: (400, "invalid_grant", "Assertion is not within its valid time range."),
    50034: (400, "invalid_grant", "The user account {name} does not exist in the {tenant} directory."),
    50011: (
        400,
        "invalid_request",
        "The redirect URI '{name}' specified in the request does not match the redirect URIs configured for the application "
        "'{app}'.",
    ),
    50013: (
        400,
        "invalid_grant",
        "Assertion failed signature validation. [Reason - The provided signature value did not match the expected signature "
        "value.]",
    ),
    50020: (
        400,
        "interaction_required",
        "User account '{name}' from identity provider does not exist in tenant '{tenant}' and cannot access the application "
        "'{app}' in that tenant.",
    ),
    50027: (400, "invalid_request", "Invalid JWT token."),
    50076: (
        400,
        "interaction_required",
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must use "
        "multi-factor authentication to access '{name}'.",
    ),
    50105: (400, "access_denied", "The signed in user is not assigned to a role for the application '{app}'."),
    50173: (
        400,
        "invalid_grant",
        "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
    ),
    530003: (400, "interaction_required", "Your device is required to be managed to access this resource."),
    70000: (400, "invalid_grant", "Provided grant is invalid or malformed. {name}"),
    70008: (400, "invalid_grant", "The provided authorization code or refresh token has expired due to inactivity."),
    700082: (400, "invalid_grant", "The refresh token has expired due to inactivity."),
    501481: (
        400,
        "invalid_grant",
        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    ),
    9002325: (
        400,
        "invalid_request",
        "Proof Key for Code Exchange is required for cross-origin authorization code redemption.",
    ),
    70021: (
        400,
        "invalid_request",
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion Subject: "
        "'{subject}'. Assertion Audience: '{audience}'.",
    ),
    700211: (
        400,
        "invalid_request",
        "No matching federated identity record found for presented assertion issuer '{name}'. Please ensure the issuer matches "
        "the federated identity credential.",
    ),
    700212: (
        400,
        "invalid_request",
        "No matching federated identity record found for presented assertion audience '{name}'.",
    ),
    700213: (
        400,
        "invalid_request",
        "No matching federated identity record found for presented assertion subject '{name}'. Please check your federated "
        "identity credential Subject, Audience and Issuer against the presented assertion.",
    ),
    70003: (400, "unsupported_grant_type", "The app requested an unsupported grant type '{name}'."),
    900144: (400, "invalid_request", "The request body must contain the following parameter: '{name}'."),
    70016: (
        400,
        "authorization_pending",
        "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
    ),
    70019: (400, "bad_verification_code", "Verification code expired or unknown."),
    70020: (
        400,
        "expired_token",
        "The provided value for the input parameter 'device_code' is not valid: it has expired.",
    ),
    90033: (503, "temporarily_unavailable", "A transient error has occurred. Please try again."),
    90006: (503, "temporarily_unavailable", "The service is temporarily unavailable. Please retry later."),
    90012: (503, "temporarily_unavailable", "The request has timed out."),
    90024: (503, "temporarily_unavailable", "A transient error has occurred. Please try again."),
    90090: (503, "temporarily_unavailable", "The service encountered a transient internal error."),
}


class AadSts(Exception):
    """An AADSTS error to be answered."""

    def __init__(self, code: int, **values: str) -> None:
        super().__init__(f"AADSTS{code}")
        self.code = code
        self.values = values


def answer(error: AadSts, *, tenant: str, correlation_id: str | None, now: datetime) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of an error."""
    status, name, text = ERRORS[error.code]
    blank = dict.fromkeys(("app", "name", "issuer", "subject", "audience"), "")
    values = {**blank, "tenant": tenant, **error.values}
    trace, correlation = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
    moment = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    told = text.format_map(values)
    return status, {
        "error": name,
        "error_description": f"AADSTS{error.code}: {told} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {moment}",
        "error_codes": [error.code],
        "timestamp": moment,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={error.code}",
    }
