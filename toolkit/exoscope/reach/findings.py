"""What an admin should know beside an answer. Codes are stable; docs/reach.md says what each means."""

from __future__ import annotations

from collections.abc import Iterator

from exoscope import catalog
from exoscope.model import App, Unset
from exoscope.outcome import Finding
from exoscope.reach.rules import Given, Rules
from exoscope.reach.scopes import Inside

APP_CODES = frozenset(
    {
        "account-disabled",
        "consent-mismatch",
        "ews-access",
        "imap-pop-smtp",
        "legacy-consent",
        "mailbox-migration",
        "manage-as-app",
        "self-widening",
        "stale-pointer",
        "unknown-permission",
        "unread-pointers",
    }
)
"""Codes of findings about an app, whatever is asked of it."""
ANSWER_CODES = frozenset(
    {
        "ambiguous-assignee",
        "assignment-disabled",
        "dangling-assignee",
        "dangling-scope",
        "enforcement",
        "filter-flagged",
        "filter-undecided",
        "filter-unreadable",
        "members-unread",
        "policy-invalid",
        "recipient-root",
        "unknown-role",
        "unread-assignments",
        "unread-policies",
        "wildcard-policy",
    }
)
"""Codes of findings about one answer."""


def of_app(rules: Rules, app: App) -> tuple[Finding, ...]:
    """Findings about the app, whatever is asked of it."""
    found = list(_account(app))
    for consent in app.consents:
        found += _consent(app, consent.resource, consent.permission, consent.app_role_id)
    found += _pointers(rules, app)
    if ews := _ews_roles(rules, app):
        found.append(
            _finding("ews-access", app, catalog.EWS_ROLE_PERMISSION, f"{ews} gives EWS, which opens whole mailboxes")
        )
    return _distinct(found)


def of_answer(rules: Rules, app: App, permission: str) -> tuple[Finding, ...]:
    """Findings about one answer: what its consents, policies and assignments rest on."""
    found: list[Finding] = []
    held = rules.held(app, permission)
    if held and (doubt := rules.enforcement(app)):
        found.append(_finding("enforcement", app, permission, f"answers that rest on a consent are unknown: {doubt}"))
    if any(catalog.governed(each.permission, each.consent.resource) for each in held):
        found += _policies(rules, app, permission)
    found += _assignments(rules, app, permission)
    return _distinct(found)


def _account(app: App) -> Iterator[Finding]:
    if app.account_enabled is False:
        yield _finding(
            "account-disabled",
            app,
            None,
            "the service principal is disabled: it gets no tokens until it is enabled again",
        )


def _consent(app: App, resource: str, name: str, app_role_id: str) -> Iterator[Finding]:
    known = catalog.permission(name, resource)
    by_id = catalog.by_id(resource, app_role_id)
    if by_id is not None and catalog.canonical(by_id.name) != catalog.canonical(name):
        text = f"the consent named {name} has the app role id of {by_id.name}"
        yield _finding("consent-mismatch", app, name, text)
    if known is None:
        if resource.casefold() in (catalog.GRAPH, catalog.EXCHANGE):
            text = f"{name} is not in the catalogue: whether it opens mailboxes is not known"
            yield _finding("unknown-permission", app, name, text)
        return
    if known.resource == catalog.EXCHANGE:
        yield from _on_exchange(app, known)
    if known.self_widening:
        yield _finding("self-widening", app, known.name, f"with {known.name} the app can give itself more")


def _on_exchange(app: App, known: catalog.Permission) -> Iterator[Finding]:
    if known.name in catalog.PROTOCOLS:
        text = (
            f"{known.name} opens the mailboxes on which the app has mailbox permissions; a snapshot does not hold those"
        )
        yield _finding("imap-pop-smtp", app, known.name, text)
    elif known.name == catalog.MANAGE_AS_APP:
        text = "with a directory role this lets the app run Exchange Online PowerShell, and widen its own access"
        yield _finding("manage-as-app", app, known.name, text)
    elif known.name == catalog.MAILBOX_MIGRATION:
        yield _finding("mailbox-migration", app, known.name, "lets the app move mailboxes, contents included")
    elif known.name == catalog.EWS_CONSENT:
        yield _finding("ews-access", app, known.name, "this consent gives EWS, which opens whole mailboxes")
    elif known.about == "mailbox":
        text = (
            f"{known.name} on the legacy resource Office 365 Exchange Online is not Graph's permission of that name:"
            " it is reported, never counted"
        )
        yield _finding("legacy-consent", app, known.name, text)


def _pointers(rules: Rules, app: App) -> Iterator[Finding]:
    if isinstance(rules.snapshot.service_principals, Unset):
        yield _finding(
            "unread-pointers", app, None, "Exchange's pointers were not read: every assignment may be this app's"
        )
    for pointer in rules.pointers().get(app.app_id.casefold(), ()):
        same_app = pointer.app_id.casefold() == app.app_id.casefold()
        if same_app and pointer.object_id.casefold() != app.object_id.casefold():
            text = (
                f"Exchange's pointer {pointer.display_name} has the object id {pointer.object_id}, the app's service principal"
                f" is {app.object_id}: assignments to it give nothing"
            )
            yield _finding("stale-pointer", app, None, text)


def _ews_roles(rules: Rules, app: App) -> str | None:
    given = rules.given(app, catalog.EWS_ROLE_PERMISSION)
    names = [each.assignment.name for each in given or () if rules.gives(each.assignment.role) is not None]
    return f"the role assignment {', '.join(names)}" if names else None


def _policies(rules: Rules, app: App, permission: str) -> Iterator[Finding]:
    judged = rules.policies(app.app_id)
    if judged is None:
        yield _finding("unread-policies", app, permission, "access policies were not read")
    for policy, inside in judged or ():
        if policy.app_id == "*":
            text = (
                f"the policy {policy.identity} is for every app; that it counts for this one is likely, not documented"
            )
            yield _finding("wildcard-policy", app, permission, text)
        yield from _problem(app, permission, f"the policy {policy.identity}", inside)


def _assignments(rules: Rules, app: App, permission: str) -> Iterator[Finding]:
    given = rules.given(app, permission)
    if given is None:
        yield _finding("unread-assignments", app, permission, "role assignments were not read")
    for each in given or ():
        yield from _assignment(rules, app, permission, each)
    wanted = {name.casefold() for name in catalog.implied_by(permission)}
    for assignment, _ in rules.assigned(app) or ():
        gives = rules.gives(assignment.role)
        if not assignment.enabled and (gives is None or not wanted.isdisjoint(name.casefold() for name in gives)):
            text = f"the role assignment {assignment.name} is disabled: it gives nothing until somebody enables it"
            yield _finding("assignment-disabled", app, permission, text)
    yield from _dangling(rules, app, permission)


def _assignment(rules: Rules, app: App, permission: str, given: Given) -> Iterator[Finding]:
    name = given.assignment.name
    if rules.gives(given.assignment.role) is None:
        text = f"which permissions the role {given.assignment.role} of the assignment {name} gives is not known"
        yield _finding("unknown-role", app, permission, text)
    elif given.doubt and not isinstance(rules.snapshot.service_principals, Unset):
        yield _finding("ambiguous-assignee", app, permission, f"the role assignment {name}: {given.doubt}")
    yield from _problem(app, permission, f"the role assignment {name}", given.inside)
    for flag in given.inside.flags:
        yield _finding("filter-flagged", app, permission, f"the filter behind the role assignment {name}: {flag}")


def _dangling(rules: Rules, app: App, permission: str) -> Iterator[Finding]:
    if isinstance(rules.snapshot.service_principals, Unset):
        return
    for name in sorted({app.object_id.casefold(), app.app_id.casefold(), app.display_name.casefold()}):
        for assignment in rules.by_assignee(name) if name not in rules.pointers() else ():
            text = f"the role assignment {assignment.name} names this app, but Exchange has no such pointer: it gives nothing"
            yield _finding("dangling-assignee", app, permission, text)


def _problem(app: App, permission: str, subject: str, inside: Inside) -> Iterator[Finding]:
    if inside.problem is not None and inside.code is not None:
        yield _finding(inside.code, app, permission, f"{subject}: {inside.problem}")


def _finding(code: str, app: App, permission: str | None, message: str) -> Finding:
    return Finding(code=code, app_id=app.app_id, permission=permission, message=message)


def _distinct(found: list[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(found))
