"""One command for a nightly job: go on with the run there is, else plan, have it approved, and begin.

It keeps nothing of its own but the plan that waits for approval: ``<state>/pending/<tenant>/plan.json``. Whoever approves names
its hash. With the state lost, what is still to be done is planned anew from the tenant itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import asdict, replace

from exoscope import system
from exoscope.model import Plan, PlanFile
from exoscope.outcome import ExoscopeError, Refused
from exoscope.planning.hashing import dump_plan, load_plan
from exoscope.running.answer import AdvanceAnswer, AppAnswer, Outcome, RunAnswer
from exoscope.running.apply import apply, resume
from exoscope.running.desk import Desk
from exoscope.running.store import Store

PENDING = "pending"


class Approval(NamedTuple):
    """What stands for the answer: the hash of one plan, or a yes to whatever is planned."""

    hash: str | None = None
    yes: bool = False


def advance(
    desk: Desk,
    tenant: str,
    purpose: str,
    make: Callable[[], PlanFile],
    approval: Approval,
    *,
    wait: float = 0.0,
) -> AdvanceAnswer:
    """The next thing that is due, once: called again it goes on from there, however often.

    ``tenant``: its id or domain, as the profile names it; ``make`` reads the tenant and plans. Raises what it raises, and as
    :func:`~exoscope.running.apply` and :func:`~exoscope.running.resume` do; Refused ``other-plan`` where the plan with the approved
    hash is not the one at hand: the new one then waits for approval.
    """
    waiting = _Pending(desk.store, tenant)
    run = _open_run(desk.store, tenant, purpose)
    if run is not None:
        return _gone_on(run, desk, waiting, wait)
    file = waiting.approved(approval.hash) or make()
    # The profile may name the tenant by another of its domains than runs do; the plan holds the id that was proven.
    run = _open_run(desk.store, file.plan.tenant.id, purpose)
    if run is not None:
        return _gone_on(run, desk, waiting, wait)
    if not file.plan.steps:
        waiting.drop()
        return _unbegun(file.plan, "done", "Nothing is left to do.")
    if approval.hash is not None and approval.hash != file.hash:
        path = waiting.keep(file)
        raise Refused(
            f"the plan is now {file.hash}, not {approval.hash}: the tenant or the options are others",
            code="other-plan",
            next=f"Review {path}, and approve its hash.",
        )
    if approval.hash is None and not approval.yes:
        path = waiting.keep(file)
        why = f"The plan waits for approval: review {path} (exoscope show), then name its hash."
        return _unbegun(file.plan, "waiting", why, path=path, hash=file.hash)
    answer = apply(file, desk, wait=wait, expected_hash=file.hash)
    waiting.drop()
    return _of_run(answer, file.plan)


def _gone_on(run: str, desk: Desk, waiting: _Pending, wait: float) -> AdvanceAnswer:
    waiting.drop()
    return _of_run(resume(run, desk, wait=wait), desk.store.find(run).plan().plan)


def _of_run(answer: RunAnswer, plan: Plan) -> AdvanceAnswer:
    """A run's answer; the apps that its plan refused stand in it too: they are not migrated, whatever the others are."""
    whole = AdvanceAnswer(**asdict(answer))
    return replace(whole, apps=(*whole.apps, *_refused(plan)))


def _refused(plan: Plan) -> Iterator[AppAnswer]:
    for each in plan.refusals:
        yield AppAnswer(each.app or "", None, "refused", each.code, None)


def _open_run(store: Store, tenant: str, purpose: str) -> str | None:
    """The oldest run of this purpose in the tenant that is not over. Raises Refused where a run's files cannot be read."""
    for folder in store.folders():
        try:
            _, state = store.open(folder)
        except ExoscopeError as error:
            # Perhaps it is the one: beginning another beside it could do twice what was done.
            raise Refused(
                f"the run {folder.run} cannot be read ({error.message}), so whether it is open cannot be told",
                code="journal-damaged",
                next="Move its folder away once you know how the tenant stands.",
            ) from None
        of = state.started
        here = tenant.casefold() in (of.tenant.id.casefold(), of.tenant.domain.casefold())
        if of.purpose == purpose and here and state.final() is None:
            return folder.run
    return None


def _unbegun(
    plan: Plan, outcome: Outcome, why: str, *, path: Path | None = None, hash: str | None = None
) -> AdvanceAnswer:
    """The answer while there is no run: refused apps stand in it too."""
    first = plan.stages[0].id if plan.stages else None
    apps = [AppAnswer(app.app_id, first if outcome == "waiting" else None, outcome, None, None) for app in plan.apps]
    apps += _refused(plan)
    return AdvanceAnswer(
        run=None,
        outcome=outcome,
        done=0,
        steps=len(plan.steps),
        ready_at=None,
        waiting_for="approval" if outcome == "waiting" else None,
        why=why,
        apps=tuple(apps),
        plan=None if path is None else str(path),
        hash=hash,
    )


class _Pending:
    """The plan that waits for approval, of which there is one for a tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        name = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in tenant.casefold())
        self._folder = store.state / PENDING
        self._path = self._folder / f"{name}.plan.json"

    def approved(self, hash: str | None) -> PlanFile | None:
        """The plan that waits, if this is its hash. Raises Refused ``plan-edited``."""
        if hash is None or not self._path.exists():
            return None
        file = load_plan(self._path.read_bytes(), str(self._path))
        return file if file.hash == hash else None

    def keep(self, file: PlanFile) -> Path:
        """Put a plan there; the one before it is gone."""
        system.make_private_dir(self._store.state)
        system.make_private_dir(self._folder)
        system.write_private(self._path, dump_plan(file.plan), replace=True)
        return self._path

    def drop(self) -> None:
        """Nothing waits any more."""
        self._path.unlink(missing_ok=True)
