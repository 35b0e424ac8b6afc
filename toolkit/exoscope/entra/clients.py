"""Which client an operator signs in with, which permissions that client is asked for, and the consent it needs. Pure.

Microsoft's own modules sign in with public clients that every tenant of the worldwide and the US government clouds knows:
Exchange's module with :data:`EXCHANGE_CLIENT` ("Microsoft Exchange REST API Based PowerShell"), Graph PowerShell with
:data:`GRAPH_CLIENT` ("Microsoft Graph Command Line Tools"). Sources: Microsoft's page on first-party applications in sign-in
reports, and Graph PowerShell's on authentication, whose advice is an app registration of one's own; that others may sign in with
them is documented nowhere, though public tools do (ExoHelper's Get-ExoDefaultClientId, PingCastle). So a profile must say so
(``client_id = "microsoft"``), or have no [operator] at all.
"""

from __future__ import annotations

from typing import Final, Literal

from exoscope.profile import MICROSOFT, Operator

Resource = Literal["graph", "exchange"]

EXCHANGE_CLIENT: Final = "fb78d390-0c51-40cd-8e17-fdbfab77341b"
GRAPH_CLIENT: Final = "14d82eec-204b-4c2f-b7e8-296a70dab67e"

READING: Final = (
    "AdministrativeUnit.Read.All",
    "Application.Read.All",
    "GroupMember.Read.All",
    "Organization.Read.All",
    "Policy.Read.All",
    "User.Read.All",
)
"""Delegated Graph permissions that reading a tenant needs; the same names as docs/operator.md has for an app."""
WRITING: Final = ("AppRoleAssignment.ReadWrite.All", "Application.ReadWrite.All")
"""What writing to Graph needs beside them."""


def client_of(operator: Operator, resource: Resource) -> str:
    """The client id that is used for a resource; empty for a system-assigned identity."""
    if operator.client_id == MICROSOFT:
        return EXCHANGE_CLIENT if resource == "exchange" else GRAPH_CLIENT
    return operator.client_id or ""


def scopes_of(operator: Operator, resource: Resource, audience: str, *, writing: bool = False) -> list[str]:
    """What to ask for. A client of one's own: what its registration lists and an admin consented to (``.default``).

    Graph PowerShell's client has no such list, so permissions are named, those for writing only once something is written.
    Exchange's client is consented by Microsoft.
    """
    if operator.client_id != MICROSOFT or resource == "exchange":
        return [f"{audience}/.default"]
    return [f"{audience}/{name}" for name in (*READING, *(WRITING if writing else ()))]


def consent_of(operator: Operator, resource: Resource, *, writing: bool = False) -> str:
    """The consent that this client needs, as a sentence for an admin."""
    client = client_of(operator, resource)
    if operator.kind in ("interactive", "device-code"):
        if operator.client_id == MICROSOFT and resource == "exchange":
            return "none: Microsoft has consented for its own module; what you may do there are your Exchange roles"
        names = (*READING, *(WRITING if writing else ())) if resource == "graph" else ("Exchange.Manage",)
        return f"delegated {', '.join(names)}, consented by an admin for the client {client}"
    if resource == "exchange":
        return f"the application permission Exchange.ManageAsApp for {client or 'the managed identity'}, and its Exchange roles"
    names = tuple(name for name in READING) + (WRITING if writing else ())
    return f"the application permissions {', '.join(names)} for {client or 'the managed identity'}"
