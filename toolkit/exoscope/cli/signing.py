"""What login, logout and whoami print. No token is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exoscope.cli import frame
from exoscope.cli.printing import line

if TYPE_CHECKING:
    from exoscope.entra.whoami import Signed, WhoAnswer

USES = {"exchange": "Exchange", "graph": "Graph", "graph-writes": "Graph, for writes"}


def show(answer: WhoAnswer, *, as_json: bool) -> None:
    """Print the answer, and end with its exit code where that is not 0."""
    if as_json:
        frame.answer(answer)
    else:
        whose = ", a customer's" if answer.partner else ""
        line(f"Tenant {answer.tenant}{whose}, cloud {answer.cloud}, {answer.authority} ({answer.profile})")
        for each in answer.operators:
            _show(each)
        for place in answer.kept:
            line(f"Kept: {place}")
    if answer.exit:
        frame.finish(answer.exit)


def _show(each: Signed) -> None:
    client = each.client_id or "none (the machine's own identity)"
    if not each.signed_in:
        line(f"{USES[each.use]}: not signed in. {each.problem or ''}")
        line(f"  as: {each.kind}, client {client}")
        if each.next:
            line(f"  {each.next}")
    else:
        line(f"{USES[each.use]}: {each.user or 'an application'}, until {each.expires_at}")
        line(f"  as: {each.kind}, client {client}, from {each.source}")
        line(
            f"  tenant: {each.tenant_id or 'the token does not say'}, object: {each.object_id or 'the token does not say'}"
        )
        held = [("roles", each.roles), ("scopes", each.scopes)]
        for name, values in held:
            if values:
                line(f"  {name}: {', '.join(values)}")
        if each.roles is None:
            line("  roles and scopes: the token cannot be read")
        elif not each.roles and not each.scopes:
            line("  roles and scopes: none")
    line(f"  consent: {each.consent}")
