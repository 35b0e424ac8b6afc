"""The demo: the main job on the sample tenant's twin, from a connector that reads every mailbox to a proof, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exoscope import system
from exoscope.checking import verify
from exoscope.clock import Clock
from exoscope.intent import loads_intent
from exoscope.model import Noun, PlanFile, Snapshot
from exoscope.outcome import ExoscopeError, Verdict
from exoscope.planning import dump_plan, load_plan, plan_scope
from exoscope.profile import load_profile
from exoscope.proving import Options
from exoscope.reach import Reach
from exoscope.reading import Connection, read_snapshot, wanted_for
from exoscope.rehearsing.sandbox import sample_tenant
from exoscope.rehearsing.shells import loads_ours
from exoscope.reporting import evidence_of, to_html, to_json
from exoscope.running import Desk, Event, RunAnswer, Store, apply, undo
from exoscope.running.ports import Progress
from exoscope.running.tenancy import desk_for

INTENT = """\
version: 1
apps:
  - app: Omniscope Email Connector (App-Only)
    permissions: [Mail.Read]
    mechanism: rbac
    scope:
      group: omniscope-mailboxes@contoso.com
"""
APP = "Omniscope Email Connector (App-Only)"
PERMISSION = "Mail.Read"
PATIENCE = 120.0
"""Seconds the demo waits at gates at most; the twin's own waits are a few."""

OPERATOR_LIFETIME = 900.0

Tell = Callable[[str], None]


class DemoAnswer(Noun, frozen=True):
    """``before`` and ``after``: mailboxes the connector reaches; ``steps`` that were done; ``evidence`` is the page's path.

    ``undone``: after the undo it reaches what it reached before. ``powershell``: the version of the one behind the gateway; None:
    the twin's own shell.
    """

    verdict: Verdict
    before: int
    after: int
    steps: int
    evidence: str
    undone: bool
    run: str
    powershell: str | None = None


def demo(clock: Clock, tell: Tell, *, pwsh: str | None = None) -> DemoAnswer:
    """Run it all, on loopback. Evidence stays in a temporary folder of its own. Raises ExoscopeError where a part fails.

    ``pwsh``: a PowerShell to stand behind the gateway, in the place of the twin's own shell.
    """
    from exoscope.twin.server import serve

    folder = system.private_temporary_dir("exoscope-demo-")
    # Its own folder, with its secrets, goes when it ends. The operator's tokens outlive a slow machine's PowerShell.
    with serve(sample_tenant(), operator_lifetime=OPERATOR_LIFETIME, pwsh=pwsh) as twin:
        engine = loads_ours(twin.shells) if twin.shells is not None else None
        profile = load_profile(Path(twin.ready["profile"]), {})
        store = Store(twin.folder.state)
        desk = desk_for(profile, store, clock=clock, progress=_progress(tell))
        tell(f"The twin of {twin.ready['authority'].rsplit('/', 1)[-1]} serves PSRP, OAuth and Graph on this machine.")
        if engine is not None:
            tell(f"Behind its gateway each shell is a process of {pwsh}, PowerShell {engine}.")
        intent = loads_intent(INTENT, "the demo's intent")
        with Connection(
            profile, clock
        ) as connection:  # one for all that is read: a real PowerShell takes its time to start

            def read() -> Snapshot:
                return read_snapshot(connection, wanted=wanted_for(intent), progress=lambda text: None)

            snapshot = read()
            before = _reach(snapshot)
            everyone = len(Reach(snapshot).mailboxes)
            tell(f"{APP} can read {before} of {everyone} mailboxes. It should read those of one group.")
            file = _plan(snapshot, tell)
            tell("Applying it over PSRP, through every gate:")
            run = apply(file, desk, wait=PATIENCE)
            _must(run, "apply")
            done = verify(
                file,
                connection,
                store,
                options=Options(),
                waits=desk.waits,
                lengthen=desk.lengthen,
                operator=desk.operator,
                clock=clock,
                wait=PATIENCE,
                say=lambda text: None,
                progress=lambda text: None,
            )
            after = len(done.claims[0].claims[0].expected)
            evidence = evidence_of(done)
            page = folder / "evidence.html"
            system.write_private(page, to_html(evidence).encode("utf-8"))
            system.write_private(folder / "evidence.json", to_json(evidence))
            tell(f"Verdict: {done.proof.verdict}. It reads {after} of {everyone} mailboxes. Evidence: {page}")
            tell("Undoing it, in the safe order:")
            undone = _undo(desk, run)
            again = _reach(read())
            tell(f"Undone: {APP} can read {again} mailboxes again, as before.")
    return DemoAnswer(
        verdict=done.proof.verdict,
        before=before,
        after=after,
        steps=run.done,
        evidence=str(page),
        undone=undone and again == before,
        run=run.run,
        powershell=engine,
    )


def _plan(snapshot: Snapshot, tell: Tell) -> PlanFile:
    plan = plan_scope(snapshot, loads_intent(INTENT, "the demo's intent"))
    tell("The intent:")
    for line in INTENT.splitlines():
        tell(f"    {line}")
    tell(f"The plan, {len(plan.steps)} steps:")
    for step in plan.steps:
        tell(f"  {step.stage}: {step.title}")
        if step.script is not None:
            for line in step.script.splitlines():
                if line and not line.startswith("#"):
                    tell(f"    {line}")
        elif step.request is not None:
            tell(f"    {step.request.method} {step.request.path}")
    return load_plan(dump_plan(plan))


def _undo(desk: Desk, run: RunAnswer) -> bool:
    answer = undo(run.run, desk, approve=lambda plan: None, wait=PATIENCE)
    _must(answer, "undo")
    return answer.outcome == "done"


def _must(answer: RunAnswer, what: str) -> None:
    if answer.outcome != "done":
        raise ExoscopeError(f"the demo's {what} ended {answer.outcome}: {answer.why}", code="demo-failed")


def _reach(snapshot: Snapshot) -> int:
    return len(Reach(snapshot).of(APP, PERMISSION).allowed)


def _progress(tell: Tell) -> Progress:
    def progress(event: Event) -> None:
        if event.step is not None or event.kind in ("wait", "evidence", "stop", "step-back"):
            tell(f"  {event.text}")

    return progress
