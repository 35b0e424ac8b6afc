"""Exchange's own tests: what it says an application may do, from the configuration as it stands, not from caches.

Sources: Test-ServicePrincipalAuthorization (application-rbac; role assignments only), Test-ApplicationAccessPolicy (policies
only), Get-Recipient -Filter (Exchange's own evaluation of a scope's filter).
"""

from __future__ import annotations

from typing import Literal

from exoscope.exchange.inventory import rows_of
from exoscope.exchange.parallel import Reading
from exoscope.exchange.recipients import plain_address, read_members
from exoscope.exchange.rows import Cells, parse_rows
from exoscope.exchange.session import DEADLINE, LONG, ExchangeSession
from exoscope.model import Group, Noun
from exoscope.outcome import ServiceError


class Authorization(Noun, frozen=True):
    """One row of Test-ServicePrincipalAuthorization. ``in_scope`` None: not run (no mailbox was asked about).

    ``scope_type``: CustomRecipientScope, AdministrativeUnit, Organization; of a group's scope no source tells the word.
    """

    role: str
    permissions: tuple[str, ...]
    scope: str
    scope_type: str
    in_scope: bool | None


def parse_authorization(cells: Cells) -> Authorization:
    """A row; GrantedPermissions is one text, "A, B"."""
    granted = cells.texts("GrantedPermissions") or ()
    return Authorization(
        role=cells.text("RoleName"),
        permissions=tuple(name.strip() for text in granted for name in text.split(",") if name.strip()),
        scope=cells.optional("AllowedResourceScope") or "",
        scope_type=cells.optional("ScopeType") or "",
        in_scope=_in_scope(cells),
    )


def _in_scope(cells: Cells) -> bool | None:
    word = str(cells.raw("InScope")).casefold()
    if word in ("true", "false"):
        return word == "true"
    if word == "not run":
        return None
    raise ServiceError(f"Exchange answered InScope as {word!r}", code="unexpected-answer")


def authorization_reading(app: str, resource: str) -> Reading:
    """The template, and its values, of :func:`test_authorization` on a mailbox."""
    return "verify/authorization", {"app": app, "resource": resource}


def test_authorization(
    session: ExchangeSession, app: str, resource: str | None = None, *, deadline: float = DEADLINE
) -> tuple[Authorization, ...]:
    """What role assignments give an application (its service principal's object id), on a mailbox (its Guid) or at all.

    No row: they give nothing. Raises ObjectNotFound for an app without a pointer, and the ServiceError family.
    """
    if resource is None:
        rows = rows_of(session, "verify/authorizations", {"app": app}, deadline=deadline)
    else:
        rows = rows_of(session, *authorization_reading(app, resource), deadline=deadline)
    found = parse_rows(rows, parse_authorization)
    if resource is not None and any(row.in_scope is None for row in found):
        raise ServiceError("Exchange did not run the test on the mailbox", code="unexpected-answer")
    return found


def policy_reading(mailbox: str, app_id: str) -> Reading:
    """The template, and its values, of :func:`test_policy`."""
    return "verify/access_policy", {"mailbox": mailbox, "app_id": app_id}


def test_policy(
    session: ExchangeSession, mailbox: str, app_id: str, *, deadline: float = DEADLINE
) -> Literal["granted", "denied"]:
    """Whether access policies leave an application on a mailbox (its Guid). Consent and assignments do not show here."""
    rows = rows_of(session, *policy_reading(mailbox, app_id), deadline=deadline)
    words = {str(Cells(row).raw("AccessCheckResult")).casefold() for row in rows}
    asked = {Cells(row).text("AppId").casefold() for row in rows}
    if asked != {app_id.casefold()} or len(words) != 1:
        raise ServiceError(
            "Exchange answered the policy test for something else than was asked", code="unexpected-answer"
        )
    word = words.pop()
    if word == "granted":
        return "granted"
    if word == "denied":
        return "denied"
    raise ServiceError(f"Exchange answered the policy test with {word!r}", code="unexpected-answer")


class Found(Noun, frozen=True):
    """A recipient that Exchange says is in a scope."""

    guid: str
    primary_smtp_address: str
    recipient_type: str


def preview_filter(session: ExchangeSession, filter: str, *, deadline: float = LONG) -> tuple[Found, ...]:
    """The recipients that Exchange itself says a filter selects now, of every kind (groups and contacts too)."""
    rows = rows_of(session, "verify/scope_preview", {"filter": filter}, deadline=deadline)
    return parse_rows(rows, _found)


def group_members(session: ExchangeSession, group: Group) -> tuple[str, ...]:
    """Guids of a group's direct members now. Raises ServiceError where Exchange has no way to tell."""
    found = read_members(session, group)
    if found is None:
        raise ServiceError(f"Exchange does not tell the members of a {group.recipient_type_details}", code="not-told")
    return found


def _found(cells: Cells) -> Found:
    return Found(
        cells.text("Guid"), plain_address(cells.optional("PrimarySmtpAddress") or ""), cells.text("RecipientType")
    )
