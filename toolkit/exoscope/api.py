"""The public API for migration scripts: what ``import exoscope`` offers beside the nouns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from exoscope import snapshot as snapshots
from exoscope.checking import verify as _verify
from exoscope.checking.passes import Passes
from exoscope.clock import Clock, SystemClock
from exoscope.exchange import roads, trying
from exoscope.intent import load_intent
from exoscope.model import Intent, Plan, PlanFile, Proof, Snapshot
from exoscope.planning import load_plan, plan_hash, plan_scope
from exoscope.planning.migration import plan_migration
from exoscope.planning.migration.asking import ask
from exoscope.profile import Profile, load_profile, state_dir
from exoscope.proving import Options
from exoscope.reading import Connection, Wanted, read_snapshot, wanted_for
from exoscope.running import Desk, Event, RunAnswer, Service, Store
from exoscope.running import apply as _apply
from exoscope.running import resume as _resume
from exoscope.running import undo as _undo
from exoscope.running.handing import lent
from exoscope.running.tenancy import desk_for

Progress = Callable[[str], None]


def plan(snapshot: Snapshot | Path | str, intent: Intent | Path | str, *, accept_customization: bool = False) -> Plan:
    """The plan from a snapshot (or its file) to an intent (or its scope.yaml). Pure but for reading the files.

    Apps that are refused stand in ``.refusals`` of the plan. Raises :class:`~exoscope.outcome.Refused`, carrying the refusals,
    when nothing can be planned; BadInput (NotFound, Ambiguous) naming the line; Unreadable.
    """
    tenant = snapshot if isinstance(snapshot, Snapshot) else snapshots.load(Path(snapshot))
    return plan_scope(tenant, _intent(intent), accept_customization=accept_customization)


def migrate(
    snapshot: Snapshot | Path | str,
    apps: Sequence[str] = (),
    *,
    nested: str = "auto",
    compact: bool = False,
    also_scope: bool = False,
    drop_dead: bool = False,
    accept_customization: bool = False,
    accept: Iterable[str] = (),
    accept_loss: Iterable[str] = (),
) -> Plan:
    """The plan from access policies to roles, for ``apps`` or for all that policies govern. Options as of ``exoscope migrate``:
    ``accept`` takes ``CODE:APP``, ``accept_loss`` ``APP:ADDRESS``. Pure but for reading the file.

    Apps that are refused stand in ``.refusals`` of the plan. Raises :class:`~exoscope.outcome.Refused`, carrying the refusals,
    when nothing can be planned; BadInput (NotFound, Ambiguous); Unreadable.
    """
    tenant = snapshot if isinstance(snapshot, Snapshot) else snapshots.load(Path(snapshot))
    asked = ask(
        tenant,
        nested=nested,
        compact=compact,
        also_scope=also_scope,
        drop_dead=drop_dead,
        accept_customization=accept_customization,
        accept=accept,
        accept_loss=accept_loss,
    )
    return plan_migration(tenant, apps, asked)


class Tenant:
    """A tenant by its profile: ``with Tenant.connect("exoscope.toml") as tenant: …``. Use it from one thread.

    Nothing is opened before it is needed; every method raises the :class:`~exoscope.outcome.ExoscopeError` family. ``progress``
    gets a line now and then.
    """

    def __init__(
        self,
        profile: Profile,
        state: Path,
        clock: Clock,
        progress: Progress,
        *,
        admin_api: bool = False,
        environ: Mapping[str, str] = os.environ,
        parallel: int = 1,
        unseen_ok: bool = False,
    ) -> None:
        self.profile = profile
        self._admin_api = admin_api
        self._parallel = parallel
        self._unseen_ok = unseen_ok
        self._environ = environ
        self._clock = clock
        self._progress = progress
        self._store = Store(state)
        self._connection: Connection | None = None

    @classmethod
    def connect(
        cls,
        profile: Path | str | None = None,
        *,
        state: Path | str | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        progress: Progress | None = None,
        admin_api: bool = False,
        parallel: int = 1,
        unseen_ok: bool = False,
    ) -> Tenant:
        """A tenant by a profile's file (else EXOSCOPE_PROFILE, else ./exoscope.toml); ``state``: where journals lie.

        Where the profile names no road to Exchange, one is chosen when it is needed, and told to ``progress``: a PowerShell of
        this machine that loads Exchange's module, else, with ``admin_api``, Exchange's admin API, which Microsoft does not
        document; without it that is BadInput (code ``no-road``). ``profile`` then names the road.

        ``parallel``: over how many sessions with Exchange (1 to 8) ``snapshot`` and ``verify`` read; another number is BadInput
        when they would be opened.

        ``unseen_ok``: ``apply`` and ``resume`` go on in a tenant whose answers were never met, or are not as expected; without it
        they raise Refused (code ``first-contact``), and nothing was changed.
        """
        loaded = load_profile(Path(profile) if profile is not None else None, environ)
        place = state_dir(Path(state) if state is not None else None, environ, loaded)
        return cls(
            loaded,
            place,
            clock or SystemClock(),
            progress or (lambda text: None),
            admin_api=admin_api,
            environ=environ,
            parallel=parallel,
            unseen_ok=unseen_ok,
        )

    def __enter__(self) -> Tenant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all sessions; never raises."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def snapshot(self, intent: Intent | Path | str | None = None) -> Snapshot:
        """Read the tenant; ``intent`` names groups whose members must be read too. What could not be read is in ``unread``."""
        wanted = Wanted() if intent is None else wanted_for(_intent(intent))
        return read_snapshot(self._open(), wanted=wanted, progress=self._progress)

    def apply(
        self,
        plan: Plan | PlanFile | Path | str,
        *,
        wait: float = 0.0,
        until: str | None = None,
        only: Service | None = None,
        everything: bool = False,
    ) -> RunAnswer:
        """Run a plan up to the first gate that is not open, waiting ``wait`` seconds in all. Approval is the caller's.

        ``until``: the last stage to run, with its gate. ``only``: change nothing but this service; where the other one comes next
        the app waits (``waiting_for``) for whoever does it. ``everything``: gates ask every witness about every
        mailbox, not about a sample.
        """
        return _apply(_file(plan), self._desk(everything=everything), wait=wait, until=until, only=only)

    def resume(
        self,
        run: str = "last",
        *,
        wait: float = 0.0,
        until: str | None = None,
        only: Service | None = None,
        everything: bool = False,
    ) -> RunAnswer:
        """Go on with a run."""
        return _resume(run, self._desk(everything=everything), wait=wait, until=until, only=only)

    def carry_through(
        self,
        plan: Plan | PlanFile | Path | str,
        at_gate: Callable[[RunAnswer], bool],
        *,
        until: str | None = None,
        everything: bool = False,
    ) -> RunAnswer:
        """Run a plan stage by stage. ``at_gate`` is called each time the run waits (``ready_at`` says until when, ``waiting_for``
        for what) and answers whether to go on now: it waits as it likes, or says no, and :meth:`resume` goes on another day.
        """
        answer = self.apply(plan, until=until, everything=everything)
        while answer.outcome == "waiting" and at_gate(answer):
            answer = self.resume(answer.run, until=until, everything=everything)
        return answer

    def undo(
        self,
        run: str = "last",
        *,
        approve: Callable[[Plan], None],
        app: str | None = None,
        to: str | None = None,
        wait: float = 0.0,
        only: Service | None = None,
    ) -> RunAnswer:
        """Take a run back. ``approve`` is shown the undo plan, with every mailbox that opens again, and raises to say no."""
        return _undo(run, self._desk(back=True), approve=approve, app=app, to=to, wait=wait, only=only)

    def verify(
        self,
        subject: Plan | PlanFile | Intent | Path | str,
        *,
        wait: float = 0.0,
        options: Options | None = None,
        say: Progress | None = None,
    ) -> Proof:
        """Prove a plan (or an intent) over a fresh reading. ``say`` gets what will be asked, before it is."""
        desk = self._desk()
        done = _verify(
            subject if isinstance(subject, Intent) else _subject(subject),
            self._open(),
            self._store,
            options=options or Options(),
            waits=desk.waits,
            lengthen=desk.lengthen,
            operator=desk.operator,
            clock=self._clock,
            wait=wait,
            say=say or self._progress,
            progress=self._progress,
        )
        return done.proof

    def _open(self) -> Connection:
        if self._connection is None:
            profile = lent(self._with_road(), self._store.state)
            self._connection = Connection(profile, self._clock, self._progress, parallel=self._parallel)
        return self._connection

    def _with_road(self) -> Profile:
        def approve(choice: roads.Choice) -> None:
            if not self._admin_api:
                raise roads.not_approved(choice, "Tenant.connect(…, admin_api=True)")

        self.profile = roads.settled(
            self.profile, look=lambda: trying.look(self._environ), approve=approve, say=self._progress
        )
        return self.profile

    def _desk(self, *, everything: bool = False, back: bool = False) -> Desk:
        """``back``: only for a way back, for which the tenant need not have been met."""

        def progress(event: Event) -> None:
            self._progress(event.text)

        require = partial(Passes(self._store.state, self._clock).require, unseen_ok=self._unseen_ok)
        return desk_for(
            self._with_road(),
            self._store,
            clock=self._clock,
            progress=progress,
            everything=everything,
            condition=None if back else require,
        )


def _intent(intent: Intent | Path | str) -> Intent:
    return intent if isinstance(intent, Intent) else load_intent(Path(intent))


def _file(plan: Plan | PlanFile | Path | str) -> PlanFile:
    if isinstance(plan, PlanFile):
        return plan
    if isinstance(plan, Plan):
        return PlanFile("exoscope/plan@1", plan_hash(plan), plan)
    return load_plan(Path(plan).read_bytes(), str(plan))


def _subject(subject: Plan | PlanFile | Path | str) -> PlanFile | Intent:
    if isinstance(subject, Path | str) and Path(subject).suffix.casefold() in (".yaml", ".yml"):
        return load_intent(Path(subject))
    return _file(subject)
