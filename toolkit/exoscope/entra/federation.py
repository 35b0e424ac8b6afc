"""The token that the platform of a job gives it, presented to Entra in place of a credential: read fresh each time, kept nowhere.

Sources: GitHub's page on OpenID Connect in Actions (GET ``ACTIONS_ID_TOKEN_REQUEST_URL`` with ``&audience=``, answered as
``{"value": …}``); Azure SDK's AzurePipelinesCredential (POST ``SYSTEM_OIDCREQUESTURI`` with the service connection's id, answered
as ``{"oidcToken": …}``, ``SYSTEM_ACCESSTOKEN`` mapped into the step's environment); Entra's page on workload identity federation
for the audience of each cloud.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from exoscope.model import Secret
from exoscope.origins import OriginSession, origin_of
from exoscope.outcome import BadInput, SignInFailed, Transient
from exoscope.profile import Federated, resolve_open

PIPELINES_API = "7.1"


def assertion(federated: Federated, audience: str, environ: Mapping[str, str] | None = None) -> Secret:
    """The platform's token, asked for now. ``audience`` is Entra's, of the profile's cloud.

    Raises BadInput (this is no such job), SignInFailed (the platform refused, or answered no token), Transient.
    """
    around = os.environ if environ is None else environ
    if federated.provider == "github-actions":
        return _github(around, audience)
    if federated.provider == "azure-pipelines":
        return _pipelines(around, federated.service_connection or "")
    if federated.reference is None:
        raise BadInput("federated names no reference")
    return resolve_open(federated.reference, around)


def _github(environ: Mapping[str, str], audience: str) -> Secret:
    url, token = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"), environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    if not url or not token:
        raise BadInput(
            'federated = "github-actions": this is no job of GitHub Actions that may ask for a token',
            next="Run it in a workflow, and give the job permissions: id-token: write.",
        )
    asked = f"{url}{'&' if urlsplit(url).query else '?'}audience={quote(audience, safe='')}"
    return _text(_ask("GET", asked, token, "GitHub Actions"), "value", "GitHub Actions")


def _pipelines(environ: Mapping[str, str], connection: str) -> Secret:
    url, token = environ.get("SYSTEM_OIDCREQUESTURI"), environ.get("SYSTEM_ACCESSTOKEN")
    if not url or not token:
        raise BadInput(
            'federated = "azure-pipelines": this is no step of Azure Pipelines that may ask for a token',
            next="Map the variable in the step: env: SYSTEM_ACCESSTOKEN: $(System.AccessToken).",
        )
    asked = f"{url.rstrip('/')}?api-version={PIPELINES_API}&serviceConnectionId={quote(connection, safe='')}"
    return _text(_ask("POST", asked, token, "Azure Pipelines"), "oidcToken", "Azure Pipelines")


def _ask(method: str, url: str, token: str, who: str) -> Any:
    import requests

    parts = urlsplit(url)
    try:
        good = parts.scheme == "https" and bool(parts.hostname)
        origin = origin_of(url) if good else ""
    except ValueError:
        good, origin = False, ""
    if not good:
        raise BadInput(f"the address at which {who} gives tokens is no https:// URL")
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "X-TFS-FedAuthRedirect": "Suppress",  # else Azure DevOps answers a refusal with a page to sign in at
    }
    try:
        with OriginSession([origin], None) as session:
            answer = session.request(method, url, headers=headers)
    except requests.exceptions.SSLError:
        raise SignInFailed(f"the certificate of {origin} ({who}) is not trusted") from None
    except requests.exceptions.RequestException as error:
        raise Transient(
            f"{origin} ({who}) cannot be reached ({type(error).__name__})", next="Run the same command again."
        ) from None
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Transient(
            f"{who} answered HTTP {answer.status_code} instead of a token", next="Run the same command again."
        )
    if answer.status_code != 200:
        raise SignInFailed(
            f"{who} gave no token: HTTP {answer.status_code}",
            next="Check that the job may ask for one (GitHub: permissions: id-token: write; Azure Pipelines: the service "
            "connection's id, and that this pipeline may use it).",
        )
    try:
        return json.loads(answer.content)
    except ValueError:
        return None


def _text(body: Any, key: str, who: str) -> Secret:
    found = body.get(key) if isinstance(body, dict) else None
    if not isinstance(found, str) or not found:
        raise SignInFailed(f"{who} answered something else than a token")
    return Secret(found, who)
