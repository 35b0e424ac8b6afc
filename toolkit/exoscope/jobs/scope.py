"""One app scoped from end to end: intent, snapshot, plan, run and proof in one folder, gone on with until it is proven."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from exoscope import snapshot as snapshots
from exoscope import system
from exoscope.checking import Verification, verify
from exoscope.clock import Clock
from exoscope.intent import load_intent, loads_intent
from exoscope.model import Noun, PlanFile, Snapshot
from exoscope.outcome import BadInput, Exit, Verdict, verdict_exit
from exoscope.planning import dump_plan, load_plan, plan_scope
from exoscope.profile import Profile
from exoscope.proving import Options
from exoscope.reading import Connection, read_snapshot, wanted_for
from exoscope.reporting import write_evidence
from exoscope.running import Desk, RunAnswer, Service, apply, exit_of, resume
from exoscope.running.answer import Outcome
from exoscope.running.handing import lent
from exoscope.running.records import WaitingFor

SCOPE, TENANT, PLAN, RUN, JOURNAL, EVIDENCE = (
    "scope.yaml",
    "tenant.json",
    "plan.json",
    "run.json",
    "journal.jsonl",
    "evidence.html",
)
PREFIX = "scope-"


class Asked(Noun, frozen=True):
    """What was asked for. Exactly one of ``mailboxes`` (addresses), ``group`` and ``filter`` is given."""

    app: str
    permissions: tuple[str, ...]
    mailboxes: tuple[str, ...] = ()
    group: str | None = None
    filter: str | None = None
    never: tuple[str, ...] = ()


class Place(Noun, frozen=True):
    """The folder of a job."""

    folder: Path

    @classmethod
    def of(cls, app: str) -> Place:
        """Where a job of this app goes when nobody says: a folder here, named after it."""
        slug = re.sub(r"[^a-z0-9]+", "-", app.casefold()).strip("-")[:40] or "app"
        return cls(Path(f"{PREFIX}{slug}"))

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def make(self) -> None:
        """Make the folder, owner-only. Raises BadInput where something is in it that is not what a job leaves that could not be
        planned: another job's files are not written over.
        """
        folder = self.folder
        if folder.exists() and (not folder.is_dir() or {each.name for each in folder.iterdir()} - {SCOPE, TENANT}):
            raise BadInput(
                f"{self.folder} is there already, and not empty",
                next=f"Go on with it: exoscope scope --continue --folder {self.folder}. Or name another with --folder.",
            )
        system.make_private_dir(self.folder)

    def need(self) -> None:
        """Raises BadInput where no job with a plan lies there."""
        if not (self / PLAN).is_file():
            raise BadInput(
                f"{self.folder} holds no plan of exoscope scope", next="Name the folder of a job with --folder."
            )


class ScopeAnswer(Noun, frozen=True):
    """What ``exoscope scope`` answers. ``outcome`` and ``verdict`` are null before the run, and before the proof; ``next`` is the
    command that goes on (null: there is nothing more to do).
    """

    folder: str
    hash: str
    run: str | None
    outcome: Outcome | None
    ready_at: str | None
    waiting_for: WaitingFor | None
    verdict: Verdict | None
    why: str
    evidence: str | None
    next: str | None


def intent_text(asked: Asked) -> str:
    """scope.yaml with just what was asked for. Raises BadInput."""
    if asked.group is not None:
        scope: dict[str, object] = {"group": asked.group}
    elif asked.filter is not None:
        scope = {"filter": asked.filter}
    else:
        scope = {"mailboxes": list(asked.mailboxes)}
    entry: dict[str, object] = {
        "app": asked.app,
        "permissions": list(asked.permissions),
        "mechanism": "rbac",
        "scope": scope,
    }
    if asked.never:
        entry["prove"] = {"never": list(asked.never)}
    text: str = yaml.safe_dump({"version": 1, "apps": [entry]}, sort_keys=False, allow_unicode=True, width=1000)
    try:
        loads_intent(text, "options")
    except BadInput as error:
        raise _of_options(error, "Correct the options; nothing was tried.") from None
    return text


def _of_options(error: BadInput, then: str) -> BadInput:
    """The error without its line: that is one of a file which nobody wrote, and maybe nobody has seen yet."""
    what = re.sub(r"^(options:\d+|line \d+): ", "", error.message)
    return type(error)(what, code=error.code, next=then)


def pending(here: Path) -> tuple[Place, ...]:
    """The jobs in this folder that have no proof yet; where each of them has, all."""
    jobs = tuple(Place(path.parent) for path in sorted(here.glob(f"{PREFIX}*/{PLAN}")))
    return tuple(each for each in jobs if not (each / EVIDENCE).exists()) or jobs


class ScopeJob:
    """A job with its folder, its profile and its desk. ``say`` and ``progress`` get lines of talk."""

    def __init__(
        self,
        place: Place,
        profile: Profile,
        desk: Desk,
        clock: Clock,
        *,
        say: Callable[[str], None],
        progress: Callable[[str], None],
    ) -> None:
        self.place, self.profile, self.desk, self.clock = place, profile, desk, clock
        self.say, self.progress = say, progress

    def plan(self, asked: Asked, *, accept_customization: bool = False) -> tuple[PlanFile, Snapshot]:
        """Read the tenant and plan, both into the folder. Raises BadInput, Refused (with what refuses), and what reading raises."""
        text = intent_text(asked)
        self.place.make()
        system.write_private(self.place / SCOPE, text.encode("utf-8"), replace=True)
        intent = load_intent(self.place / SCOPE)
        with Connection(self.profile, self.clock, self.say) as connection:
            tenant = read_snapshot(connection, wanted=wanted_for(intent), progress=self.progress)
        snapshots.save(tenant, self.place / TENANT)
        try:
            data = dump_plan(plan_scope(tenant, intent, accept_customization=accept_customization))
        except BadInput as error:
            raise _of_options(error, error.next) from None
        system.write_private(self.place / PLAN, data)
        return load_plan(data, str(self.place / PLAN)), tenant

    def planned(self) -> tuple[PlanFile, Snapshot]:
        """What :meth:`plan` left. Raises BadInput, Refused ``plan-edited``."""
        self.place.need()
        path = self.place / PLAN
        # Somebody may go on with it unseen (--yes): a plan that others could have put there is not taken.
        return load_plan(system.read_private(path), str(path)), snapshots.load(self.place / TENANT)

    def run_id(self) -> str | None:
        """The run of the job, where it began."""
        try:
            return msgspec.json.decode((self.place / RUN).read_bytes(), type=RunAnswer).run
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as error:
            raise BadInput(f"{self.place / RUN} cannot be read: {error}") from None
        # A process that was killed had no time to note it.
        own = [each for each in self.desk.store.folders() if each.is_of(self.planned()[0].hash)]
        return own[-1].run if own else None

    def run(self, *, wait: float = 0.0, only: Service | None = None) -> RunAnswer:
        """Begin the run, or go on with it. What it was approved with is the caller's doing."""
        begun = self.run_id()
        if begun is None:
            answer = apply(self.planned()[0], self.desk, wait=wait, only=only)
        else:
            answer = resume(begun, self.desk, wait=wait, only=only)
        self._keep(answer)
        return answer

    def _keep(self, answer: RunAnswer) -> None:
        """The run's answer and a copy of its journal: the run itself lies in the state folder, with the tenant's lock."""
        journal = self.desk.store.find(answer.run).journal.read_bytes()
        system.write_private(self.place / RUN, msgspec.json.format(msgspec.json.encode(answer), indent=2), replace=True)
        system.write_private(self.place / JOURNAL, journal, replace=True)

    def prove(self, options: Options, *, wait: float = 0.0) -> Verification:
        """Prove the plan over a fresh reading, and write the evidence into the folder."""
        with Connection(lent(self.profile, self.desk.store.state), self.clock, self.say) as connection:
            done = verify(
                self.planned()[0],
                connection,
                self.desk.store,
                options=options,
                waits=self.desk.waits,
                lengthen=self.desk.lengthen,
                operator=self.desk.operator,
                clock=self.clock,
                wait=wait,
                say=self.say,
                progress=self.progress,
            )
        write_evidence(done, self.place / EVIDENCE)
        return done

    def answer(self, run: RunAnswer | None, done: Verification | None, *, only: Service | None = None) -> ScopeAnswer:
        """Where the job stands. ``only``: as it was gone on with, so that the next command says it too."""
        proof = None if done is None else done.proof
        again = f"exoscope scope --continue --folder {self.place.folder}" + (f" --only {only}" if only else "")
        over = run is not None and (run.outcome in ("stopped", "refused") or proof is not None)
        waits = proof is not None and proof.verdict in (Verdict.PENDING, Verdict.UNKNOWN)
        verdict: Literal[""] | str = "" if proof is None else f"The proof says {proof.verdict}."
        return ScopeAnswer(
            folder=str(self.place.folder),
            hash=self.planned()[0].hash,
            run=None if run is None else run.run,
            outcome=None if run is None else run.outcome,
            ready_at=proof.ready_at if proof is not None else None if run is None else run.ready_at,
            waiting_for=None if run is None else run.waiting_for,
            verdict=None if proof is None else proof.verdict,
            why=" ".join(each for each in ("The plan is not approved." if run is None else run.why, verdict) if each),
            evidence=None if proof is None else str(self.place / EVIDENCE),
            next=None if over and not waits else again,
        )


def exit_of_scope(run: RunAnswer, done: Verification | None, *, accept_configured: bool) -> Exit:
    """The run's exit while it is open or stopped, else the proof's."""
    if done is None:
        return exit_of(run)
    return verdict_exit(done.proof.verdict, accept_configured=accept_configured)
