"""Where runs lie: ``<state>/runs/<run>/`` with plan.json, snapshot.json and journal.jsonl, and ``<state>/locks/``. Owner-only."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from exoscope import snapshot as snapshots
from exoscope import system
from exoscope.model import PlanFile, Snapshot
from exoscope.outcome import Ambiguous, BadInput, ExoscopeError, NotFound, Refused
from exoscope.planning.hashing import dump_plan, load_plan
from exoscope.running.journal import read_journal
from exoscope.running.records import AnyRecord, RunStarted
from exoscope.running.state import RunState

PLAN, SNAPSHOT, JOURNAL = "plan.json", "snapshot.json", "journal.jsonl"


class Folder(msgspec.Struct, frozen=True):
    """One run's folder; its name is the run's id."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.path / JOURNAL

    def begun(self) -> bool:
        """Did the run come as far as its first record?"""
        try:
            with self.journal.open("rb") as file:
                return file.readline().endswith(b"\n")
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it cannot be told, so it is shown, and says so when it is opened

    def plan(self) -> PlanFile:
        """The run's plan. Raises Refused ``plan-edited``, BadInput when it is missing or malformed."""
        path = self.path / PLAN
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
        return load_plan(data, str(path))

    def is_of(self, plan_hash: str) -> bool:
        """Is it a run of this plan? A run whose plan cannot be read is of none."""
        try:
            return self.plan().hash == plan_hash
        except (BadInput, Refused):
            return False

    def snapshot(self) -> Snapshot | None:
        """The tenant as the run found it; None: it was not kept. Raises BadInput where the file is not what was written."""
        path = self.path / SNAPSHOT
        return snapshots.load(path) if path.exists() else None

    def records(self) -> list[AnyRecord]:
        """What the journal says so far. Raises Unreadable."""
        return read_journal(self.journal)


class Store:
    """All runs under one state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.runs = state / "runs"

    def create(self, file: PlanFile, snapshot: Snapshot | None, now: datetime) -> Folder:
        """A folder for a new run, with its plan and the tenant as it read just before (None: it was not read as a whole)."""
        system.make_private_dir(self.state)
        system.make_private_dir(self.runs)
        # The id sorts by time, and what follows it is short enough to type: `resume` takes any unique beginning or ending.
        at = now.astimezone(UTC)
        run = f"{at:%Y%m%d-%H%M%S}{at.microsecond // 1000:03d}-{secrets.token_hex(2)}"
        partial = system.make_private_dir(self.runs / f".{run}")
        system.write_private(partial / PLAN, dump_plan(file.plan))
        if snapshot is not None:
            system.write_private(partial / SNAPSHOT, snapshots.dumps(snapshot))
        whole = partial.rename(self.runs / run)
        system.sync_directory(self.runs)
        return Folder(whole)

    def folders(self) -> list[Folder]:
        """Every run's folder, oldest first. A run that ended before its first record did nothing, and is none."""
        if not self.runs.is_dir():
            return []
        found = [Folder(path) for path in sorted(self.runs.iterdir()) if not path.name.startswith(".")]
        return [folder for folder in found if folder.begun()]

    def find(self, text: str) -> Folder:
        """A run by its id, a unique beginning or ending of it, or ``last``. Raises NotFound, Ambiguous naming candidates."""
        folders = self.folders()
        if text == "last" and folders:
            return folders[-1]
        exact = [folder for folder in folders if folder.run == text]
        close = exact or [
            folder for folder in folders if text and (folder.run.startswith(text) or folder.run.endswith(text))
        ]
        if len(close) == 1:
            return close[0]
        if close:
            raise Ambiguous(f"{text} is more than one run: {', '.join(folder.run for folder in close)}")
        known = ", ".join(folder.run for folder in folders[-5:]) or "none"
        raise NotFound(f"there is no run {text} in {self.runs} (the latest: {known})", next="See exoscope runs.")

    def open(self, folder: Folder) -> tuple[PlanFile, RunState]:
        """A run's plan and where it stands. Raises Refused ``plan-edited``, Unreadable for a damaged journal, BadInput."""
        file = folder.plan()
        state = RunState(file.plan, folder.records(), self.undone_by(folder.run))
        if state.started.plan_hash != file.hash or state.started.run != folder.run:
            raise Refused(
                f"{folder.path} does not hold the plan that its journal began with",
                code="plan-edited",
                next="Plan again from a fresh snapshot.",
            )
        return file, state

    def runs_of(self, plan_hash: str) -> Iterator[tuple[Folder, RunState]]:
        """Every run of this plan, the latest first, and where it stands. Raises Unreadable for a damaged journal of one."""
        for folder in reversed(self.folders()):
            if folder.is_of(plan_hash):
                yield folder, self.open(folder)[1]

    def undone_by(self, run: str) -> dict[str, str]:
        """The apps of a run that later runs have begun to take back, and the run that does.

        A run whose files cannot be read is passed over here; it says so itself in the list of runs.
        """
        found: dict[str, str] = {}
        for folder in self.folders():
            try:
                records = folder.records()
                if not records or not isinstance(records[0], RunStarted) or records[0].of_run != run:
                    continue
                state = RunState(folder.plan().plan, records)
            except ExoscopeError:
                continue
            found |= {app.app_id: folder.run for app in state.plan.apps if state.changed(app.app_id)}
        return found

    @contextmanager
    def lock(self, tenant: str) -> Iterator[None]:
        """Hold the tenant's lock. Raises Refused ``locked`` while another process holds it."""
        system.make_private_dir(self.state)
        locks = system.make_private_dir(self.state / "locks")
        name = "".join(letter for letter in tenant.casefold() if letter.isalnum() or letter == "-")
        with system.lock(locks / f"{name}.lock", f"the tenant {tenant}"):
            yield
