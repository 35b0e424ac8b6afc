"""What a proof about an app rests on, as one reading of the tenant has it. Pure: two readings tell whether something moved."""

from __future__ import annotations

from contextlib import suppress

from exoscope.model import AppPlan
from exoscope.outcome import ExoscopeError
from exoscope.proving import scope_now
from exoscope.reach import Mailboxes, Reach


def moved_between(app: AppPlan, before: Reach, after: Reach) -> bool:
    """Did somebody join or leave what the app's proof rests on, from one reading to the next?

    A proof compares answers with a reading that is older than they are. Where it fails and this is so, it proves nothing.
    """
    return _rests_on(app, before) != _rests_on(app, after)


def _rests_on(app: AppPlan, reach: Reach) -> dict[str, list[list[str]]]:
    """Whom policies let through, what each permission reaches, whom each scope holds; what cannot be told is not in it."""
    found: dict[str, list[list[str]]] = {}
    with suppress(ExoscopeError):
        found["policies"] = _told(*reach.policy_allows(app.app_id, "Mail.Read"))
    for name in app.permissions:
        with suppress(ExoscopeError):
            found[f"reach {name}"] = _told(*reach.sets(app.app_id, name))
    for number, entry in enumerate(app.entries):
        with suppress(ExoscopeError):
            found[f"scope {number}"] = _told(*scope_now(entry, reach)[:2])
    return found


def _told(*these: Mailboxes) -> list[list[str]]:
    return [list(each.addresses()) for each in these]
