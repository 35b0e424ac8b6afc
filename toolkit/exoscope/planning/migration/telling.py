"""What a migration says of an app beside its steps: sentences in the plan, and findings with stable codes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from exoscope.catalog import EWS_CONSENT, canonical
from exoscope.model import AccessPolicy, App, Migration
from exoscope.outcome import Finding
from exoscope.planning.migration.consents import Held
from exoscope.planning.migration.deriving import Derived
from exoscope.planning.migration.tenant import TenantView


def notes_of(held: Held, derived: Derived | None) -> list[str]:
    """The sentences that an admin must read."""
    notes = list(derived.notes) if derived is not None and held.moving else []
    if any(canonical(known.name) == EWS_CONSENT for _, known in held.moving):
        notes.append(
            "EWS: the role Application EWS.AccessAsApp takes over from full_access_as_app. Autodiscover is not reached by roles, "
            "so the app must know its address. Exchange Online's EWS ends: blocked tenant by tenant from October 2026, off in "
            "April 2027 (as reported). Exchange's test of policies is not documented for EWS, so the baseline says nothing of it."
        )
    if held.moving:
        notes.append(
            "Tokens that the app has when a consent is removed go on acting until they end, under the policies."
        )
    return notes


def findings_of(
    view: TenantView,
    app: App,
    held: Held,
    own: Sequence[AccessPolicy],
    stay: str | None,
    reconsent: str | None,
    asked: Migration,
    doubted: Collection[str],
) -> list[Finding]:
    """What an admin should know of the app. ``stay``: why its policies stay; ``reconsent``: why a consent click would widen it."""
    found: list[Finding] = []
    if own and stay is not None:
        found.append(Finding("policies-kept", app.app_id, None, f"Its {len(own)} policies stay: {stay}."))
    if reconsent is not None and stay is None and own:
        found.append(Finding("reconsent", app.app_id, None, f"Accepted: {reconsent}, and no policy is left then."))
    if view.wildcards:
        found.append(
            Finding(
                "wildcard-policy",
                app.app_id,
                None,
                f"{len(view.wildcards)} policies for every app count for it, and stay: they restrain apps consented later, "
                "never roles.",
            )
        )
    for loss in asked.accept_loss:
        if loss.app.casefold() == app.app_id.casefold() and loss.address not in doubted:
            message = f"{loss.address} was accepted as lost, and is not lost."
            found.append(Finding("loss-unneeded", app.app_id, None, message))
    for _, known in held.beside:
        found.append(
            Finding(
                "not-governed",
                app.app_id,
                known.name,
                f"{known.name} is not governed by policies, so it is tenant-wide today and stays so"
                + (
                    "."
                    if asked.also_scope
                    else "; --also-scope narrows it to the same mailboxes where a role gives it."
                ),
            )
        )
    return found
