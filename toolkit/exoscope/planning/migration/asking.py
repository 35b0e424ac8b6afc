"""How a migration is asked for: names of apps and addresses against the tenant, so that a plan says what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from exoscope.model import AcceptCode, Accepted, AcceptedLoss, Migration, Nested, Snapshot
from exoscope.outcome import BadInput
from exoscope.reach import Reach


def ask(
    snapshot: Snapshot,
    *,
    nested: str = "auto",
    compact: bool = False,
    also_scope: bool = False,
    drop_dead: bool = False,
    accept_customization: bool = False,
    accept: Iterable[str] = (),
    accept_loss: Iterable[str] = (),
) -> Migration:
    """The options, with apps by appId and mailboxes by primary address. ``accept``: ``CODE:APP``; ``accept_loss``: ``APP:ADDRESS``.

    Raises BadInput (NotFound, Ambiguous) naming what is not there.
    """
    reach = Reach(snapshot)
    kind: Nested | None = next((each for each in get_args(Nested) if each == nested), None)
    if kind is None:
        raise BadInput(f"nested {nested!r} is none of {', '.join(get_args(Nested))}")
    codes: tuple[AcceptCode, ...] = get_args(AcceptCode)
    accepted = set()
    for text in accept:
        given, colon, app = text.partition(":")
        code: AcceptCode | None = next((each for each in codes if each == given), None)
        if not colon or not app or code is None:
            raise BadInput(
                f"--accept {text}: this is no CODE:APP", next=f"CODE is one of {', '.join(codes)}; APP names one app."
            )
        accepted.add((code, reach.find_app(app).app_id.casefold()))
    losses = set()
    for text in accept_loss:
        app, colon, address = text.rpartition(":")
        if not colon or not app or not address:
            raise BadInput(f"--accept-loss {text}: this is no APP:ADDRESS", next="Name one app and one mailbox.")
        losses.add((reach.find_app(app).app_id.casefold(), reach.find_mailbox(address).primary_smtp_address))
    return Migration(
        nested=kind,
        compact=compact,
        also_scope=also_scope,
        drop_dead=drop_dead,
        accept_customization=accept_customization,
        accept=tuple(Accepted(code, app) for code, app in sorted(accepted)),
        accept_loss=tuple(AcceptedLoss(app, address) for app, address in sorted(losses)),
    )
