"""``verify --from-script``: what the scripts of a check noted, put to the same judge as a connection's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from exoscope.checking.history import Past, as_run, past
from exoscope.checking.verify import Verification, claims_of, conclusion
from exoscope.model import Noun, PlanFile, Snapshot, WaitKind
from exoscope.outcome import Refused
from exoscope.proving import Options, prove
from exoscope.reach import Reach
from exoscope.reading import read_snapshot
from exoscope.running import Store
from exoscope.running.tenancy import wanted_by
from exoscope.scripting import Recorded

OLDEST = timedelta(hours=24)
"""Results that are older say nothing of today. A tenant may be asked anew at any time."""
AHEAD = timedelta(minutes=10)
"""By how much the clock of the machine where the scripts ran may be ahead."""

_AGAIN = "Run the files of exoscope script --check again."


class Seen(Noun, frozen=True):
    """What results hold for a proof: the tenant read, what the journals say, and whom the scripts asked about."""

    snapshot: Snapshot
    known: Past
    options: Options


def see(
    file: PlanFile,
    results: Recorded,
    store: Store,
    *,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    now: datetime,
    progress: Callable[[str], None],
) -> Seen:
    """Results of a check of this plan. Raises Refused (``other-plan``; ``outdated``: too old, of the future, or of before a
    change that a journal tells of), WrongTenant, and the ServiceError family.
    """
    if results.plan != file.hash:
        about = "of no plan" if results.plan is None else f"of the plan {results.plan}"
        raise Refused(
            f"the results are {about}, not of {file.hash}",
            code="other-plan",
            next="Prove a plan with the results of exoscope script --check PLAN_JSON.",
        )
    tenant = results.prove_tenant(file.plan.tenant)
    known = past(store, tenant.id, file.hash, waits, lengthen=lengthen)
    _refuse_outdated(results, known, waits, now)
    fresh = read_snapshot(results, wanted=wanted_by(file.plan), progress=progress)
    return Seen(fresh, known, Options(seed=results.seed, asked=dict(results.asked)))


def verify_recorded(
    file: PlanFile,
    results: Recorded,
    store: Store,
    *,
    waits: Mapping[WaitKind, float],
    lengthen: bool,
    operator: str,
    now: datetime,
    progress: Callable[[str], None],
) -> Verification:
    """Prove a plan over what scripts noted, as it was when they ran. Nothing is asked; what they did not ask is unknown.

    Raises as :func:`see`, and Unreadable.
    """
    seen = see(file, results, store, waits=waits, lengthen=lengthen, now=now, progress=progress)
    reach = Reach(seen.snapshot)
    claims = claims_of(as_run(file, seen.known, seen.snapshot), reach)
    proof = prove(results, reach, claims, seen.options, seen.known.histories, results.clock, progress)
    return conclusion(
        proof,
        seen.snapshot,
        claims,
        seen.known,
        waits,
        subject=file,
        started=results.started,
        finished=results.finished,
        clock=results.clock,
        operator=operator,
        graph=results.origin,
    )


def _refuse_outdated(results: Recorded, known: Past, waits: Mapping[WaitKind, float], now: datetime) -> None:
    at = f"the scripts ran at {results.started:%Y-%m-%dT%H:%M:%SZ}"
    if now - results.started > OLDEST:
        raise Refused(
            f"{at}, more than {OLDEST.total_seconds() / 3600:.0f} hours ago: that proves nothing of now",
            code="outdated",
            next=_AGAIN,
        )
    if results.finished - now > AHEAD:
        raise Refused(f"{at}, which is not yet: one of the two clocks is wrong", code="outdated", next=_AGAIN)
    cache = timedelta(seconds=waits["cache"])
    changes = [each.settled_at - cache for each in known.histories.values() if each.settled_at is not None]
    later = max((change for change in changes if change > results.started), default=None)
    if later is not None:
        raise Refused(
            f"{at}, and a run changed the app after that ({later:%Y-%m-%dT%H:%M:%SZ})", code="outdated", next=_AGAIN
        )
