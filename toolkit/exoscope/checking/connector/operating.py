"""Asking as the operator of a profile: what the client id is, what Exchange's tests and the rules say of each mailbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from exoscope import catalog
from exoscope.checking.connector.nouns import Operator, View
from exoscope.checking.history import past
from exoscope.entra import GraphClient
from exoscope.model import Answer, App, Recipient, Snapshot, Unset, WaitKind
from exoscope.outcome import BadInput, ExoscopeError, ObjectNotFound
from exoscope.proving.witnesses import Exchange
from exoscope.reach import Reach
from exoscope.reading import Connection, Wanted, read_snapshot
from exoscope.running import Store

Progress = Callable[[str], None]
SEND = "Mail.Send"
_TELLS = frozenset({"allows", "denies", "restricts", "unknown"})


def identify(connection: Connection, client_id: str) -> Operator:
    """What the client id is in the operator's tenant, by Graph alone. What cannot be asked is a problem, not an error."""
    try:
        tenant = connection.prove_tenant()
        return _identified(connection.graph, tenant.id, client_id)
    except ExoscopeError as error:
        return Operator(problem=error.message)


def _identified(graph: GraphClient, tenant: str, client_id: str) -> Operator:
    tried = (
        ("app", f"/servicePrincipals(appId='{client_id}')"),
        ("registration", f"/applications(appId='{client_id}')"),
        ("object-id", f"/servicePrincipals/{client_id}"),
        ("object-id", f"/applications/{client_id}"),
    )
    for found, path in tried:
        try:
            row = graph.get(f"{path}?$select=id,appId,displayName")
        except ObjectNotFound:
            continue
        return Operator(
            tenant_id=tenant,
            found=found,  # type: ignore[arg-type]  # one of the words of Operator.found
            display_name=str(row.get("displayName") or row.get("appId")),
            app_id=str(row.get("appId")),
        )
    return Operator(tenant_id=tenant, found="nothing")


def look(
    connection: Connection,
    store: Store,
    connectors_tenant: str,
    client_id: str,
    permission: str,
    mailboxes: Sequence[str],
    *,
    send: bool,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    progress: Progress,
) -> Operator:
    """The whole of the operator's side, over a fresh reading. What cannot be asked is a problem, not an error.

    Where the operator's tenant is another than the connector's, nothing of it is read.
    """
    try:
        tenant = connection.prove_tenant()
        if tenant.id.casefold() != connectors_tenant.casefold():
            return Operator(tenant_id=tenant.id)
        snapshot = read_snapshot(connection, wanted=Wanted(apps=(client_id,)), progress=progress)
        reach = Reach(snapshot)
        app = reach.find_app(client_id)
        history = past(store, tenant.id, None, waits, lengthen=lengthen).histories.get(app.app_id.casefold())
        settled_at = history.settled_at if history is not None else None
        exchange = Exchange(connection.exchange, reach, app, progress, lenient=True)
        return Operator(
            tenant_id=tenant.id,
            found="app",
            display_name=app.display_name,
            app_id=app.app_id,
            settling=settled_at is not None and connection.clock.now() < settled_at,
            views=_views(exchange, reach, app, permission, mailboxes),
            sending=_views(exchange, reach, app, SEND, mailboxes) if send else (),
        )
    except ExoscopeError as error:
        return Operator(problem=error.message)


def _views(exchange: Exchange, reach: Reach, app: App, permission: str, mailboxes: Sequence[str]) -> tuple[View, ...]:
    found: dict[str, Recipient] = {}
    problems: dict[str, str] = {}
    for address in mailboxes:
        try:
            found[address] = reach.find_mailbox(address)
        except BadInput as error:
            problems[address] = error.message
    recipients = list({each.guid: each for each in found.values()}.values())
    assigned = exchange.authorized(permission, recipients)
    consented, policies = _by_consent(exchange, app, permission, recipients)
    allowed, unknown = reach.sets(app, permission)
    elsewhere = True if allowed else None if unknown else False
    views = []
    for address in mailboxes:
        if address in problems:
            views.append(View(address, _kind(reach.snapshot, address), problems[address]))
            continue
        recipient = found[address]
        primary = recipient.primary_smtp_address
        story = reach.explain(app, permission, primary)
        untold = "unknown" in (assigned[primary], policies.get(primary)) and exchange.problems
        views.append(
            View(
                mailbox=address,
                kind=recipient.recipient_type_details,
                problem="; ".join(exchange.problems) if untold else None,
                predicted=story.answer,
                assigned=assigned[primary],
                consented=consented,
                policies=policies.get(primary, "not-asked"),
                elsewhere=elsewhere,
                because=tuple(told.text for told in story.told if told.rule != "union" and told.outcome in _TELLS),
            )
        )
    return tuple(views)


def _by_consent(
    exchange: Exchange, app: App, permission: str, recipients: Sequence[Recipient]
) -> tuple[bool, Mapping[str, Answer]]:
    """Does a consent let the call through, and to which mailboxes do policies leave it?"""
    held = [
        consent.permission
        for consent in app.consents
        if consent.resource.casefold() == catalog.GRAPH and catalog.lets_through(consent.permission, permission)
    ]
    if not held:
        return False, {}
    if all(catalog.governed(name, catalog.GRAPH) for name in held):
        return True, exchange.policies_leave(recipients)
    return True, {each.primary_smtp_address: "allowed" for each in recipients}


def _kind(snapshot: Snapshot, address: str) -> str | None:
    """What has this address, where it is no mailbox: a mail user, a guest, a group."""
    folded = address.casefold()
    if not isinstance(snapshot.recipients, Unset):
        for each in snapshot.recipients:
            if folded in {name.casefold() for name in (each.primary_smtp_address, *each.email_addresses)}:
                return each.recipient_type_details
    if not isinstance(snapshot.groups, Unset):
        for group in snapshot.groups:
            if (group.primary_smtp_address or "").casefold() == folded:
                return group.recipient_type_details
    return None
