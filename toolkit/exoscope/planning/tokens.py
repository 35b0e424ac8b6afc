"""How long tokens that an app already has go on acting."""

from __future__ import annotations

from msgspec import UnsetType

from exoscope.model import App, WaitKind
from exoscope.planning.timing import WAITS


def token_wait(app: App, no_cae: bool) -> WaitKind:
    """The kind of wait after which tokens issued before have ended.

    ``token`` for an app registered elsewhere, and for one of this tenant where the intent says it does without continuous
    access evaluation (whose tokens live 24-28 hours: configurable-token-lifetimes); ``managed_identity`` for one; and the
    longest where kind or token lifetime were not read: unknown is not short.
    """
    if isinstance(app.kind, UnsetType) or isinstance(app.token_lifetime_minutes, UnsetType):
        return "long_token"
    if app.kind.casefold() == "managedidentity":
        return "managed_identity"
    if app.kind.casefold() != "application":
        return "long_token"
    return "token" if app.application_object_id is None or no_cae else "long_token"


def token_wait_now(app: App, planned: WaitKind) -> WaitKind:
    """The kind of wait for an app that a plan decided about before: what is known of it now may only lengthen it."""
    return max(planned, token_wait(app, planned == "token"), key=lambda kind: WAITS[kind])


def token_minutes(app: App, kind: WaitKind) -> int | None:
    """The lifetime a token-lifetime policy gives the app, where that is longer than the wait's own."""
    minutes = app.token_lifetime_minutes
    if isinstance(minutes, UnsetType) or minutes is None or minutes * 60 <= WAITS[kind]:
        return None
    return minutes
