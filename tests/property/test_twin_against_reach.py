"""Two implementations of SNAPSHOT.md, written apart: the twin's evaluator and reach must agree on every answer."""

from __future__ import annotations

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from exoscope.model import Snapshot
from exoscope.reach import Reach
from exoscope.twin.evaluator import evaluate
from exoscope.twin.filters import scope_holds
from exoscope.twin.view import View
from strategies.tenants import PERMISSIONS, filters, tenants

_SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@settings(max_examples=60, **_SETTINGS)  # type: ignore[arg-type]  # one dict for all
@given(tenants(), st.sampled_from(PERMISSIONS))
def test_the_evaluator_and_reach_agree(snapshot: Snapshot, other: str) -> None:
    reach, view = Reach(snapshot), View(snapshot)
    for app in snapshot.apps:  # type: ignore[union-attr]  # the strategy always reads apps and recipients
        for permission in ("Mail.Read", "Mail.Send", other):
            allowed, unknown = (set(these) for these in reach.sets(app, permission))
            for mailbox in snapshot.recipients:  # type: ignore[union-attr]
                address = mailbox.primary_smtp_address
                expected = "allowed" if address in allowed else "unknown" if address in unknown else "denied"
                got = evaluate(view, app, permission, mailbox)
                if got != expected:
                    note(f"{app.display_name} {permission} {address}: reach {expected}, evaluator {got}")
                assert got == expected


@settings(max_examples=80, **_SETTINGS)  # type: ignore[arg-type]
@given(tenants(), filters())
def test_filters_select_the_same_mailboxes(snapshot: Snapshot, text: str) -> None:
    members = Reach(snapshot).scope_members(text)
    view = View(snapshot)
    inside, unknown = set(members.inside), set(members.unknown)
    for mailbox in snapshot.recipients:  # type: ignore[union-attr]
        if mailbox.recipient_type.lower() != "usermailbox":
            continue
        address = mailbox.primary_smtp_address
        expected = True if address in inside else None if address in unknown else False
        assert scope_holds(view, text, mailbox) is expected
