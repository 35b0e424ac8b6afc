"""A short run over each road: a tenant of few objects, a plan of three steps and one gate.

With a clock turned by hand what a run waits for passes in no time, so the waits are the documented ones: a gate of two hours,
tokens of one. Runs in processes of their own live by the machine's clock, and wait a fifth of a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from msgspec.structs import replace

import exoscope.twin
from exoscope.clock import Clock, SystemClock
from exoscope.exchange.local import PwshPool
from exoscope.intent import loads_intent
from exoscope.model import PlanFile, Snapshot
from exoscope.planning import dump_plan, plan_hash, plan_scope
from exoscope.planning.effect import apply_steps
from exoscope.planning.states import agrees, shown
from exoscope.profile import load_profile
from exoscope.running import Desk, RunAnswer, Store, apply, resume
from exoscope.running.journal import Journal, read_journal
from exoscope.running.records import AnyRecord, Record, StepDone, StepIntent
from exoscope.running.tenancy import desk_for
from exoscope.twin.passthrough import ChildPool
from exoscope.twin.server import Twin
from powershell_oracles import pwsh as named
from pwsh_fakes import FakePwsh
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, TurnedClock, decisions, load_sample, watching

OWN = ("gateway", "pwsh", "admin-api")
"""The roads of a profile: over the twin's own shell, a stand-in for pwsh, and the admin API."""

REAL = {"gateway-powershell": "gateway", "real-pwsh": "pwsh"}
"""The same with a real PowerShell in the middle, behind the gateway or as the child."""

INSIDE, OUTSIDE = ("ada@contoso.com", "grace@contoso.com"), ("ceo@contoso.com", "admin@contoso.com")
POINTER, SCOPE, ASSIGNMENT = "New-ServicePrincipal", "New-ManagementScope", "New-ManagementRoleAssignment"
"""What the plan's three steps call, in order."""

KILLER = Path(__file__).with_name("running_killer.py")
CACHE, TOKEN = 7200.0, 3600.0


def tiny() -> Snapshot:
    """The sample tenant, of which one app without any access, one group and four mailboxes are left."""
    tenant = load_sample()
    assert isinstance(tenant.apps, tuple)
    assert isinstance(tenant.groups, tuple)
    assert isinstance(tenant.recipients, tuple)
    kept = [each for each in tenant.recipients if each.primary_smtp_address in INSIDE + OUTSIDE]
    inside = tuple(each.guid for each in kept if each.primary_smtp_address in INSIDE)
    return replace(
        tenant,
        apps=tuple(replace(each, consents=(), requested=()) for each in tenant.apps if each.display_name == OMNISCOPE),
        groups=tuple(
            replace(each, members=inside) for each in tenant.groups if each.primary_smtp_address == OMNISCOPE_GROUP
        ),
        recipients=tuple(kept),
        service_principals=(),
        management_scopes=(),
        role_assignments=(),
        access_policies=(),
        administrative_units=(),
        unread=(),
    )


INTENT = (
    f"version: 1\napps:\n  - app: {OMNISCOPE}\n    permissions: [Mail.Read]\n    mechanism: rbac\n"
    f"    scope:\n      group: {OMNISCOPE_GROUP}\n"
)


def planned(tenant: Snapshot) -> PlanFile:
    """The connector let into the group's mailboxes: pointer, scope, assignment, and a gate."""
    plan = plan_scope(tenant, loads_intent(INTENT, "scope.yaml"))
    return PlanFile("exoscope/plan@1", plan_hash(plan), plan)


class Bench:
    """One road to a served tenant, and the run of the plan on it."""

    def __init__(self, road: str, folder: Path, twin: Twin, clock: Clock, start: Snapshot) -> None:
        self.road, self.folder, self.twin, self.clock, self.start = road, folder, twin, clock, start
        self.kind = REAL.get(road, road)
        self.file = planned(start)
        self.children: list[int] = []
        self.fake: FakePwsh | None = None
        self.output = ""

    def apply(self, wait: float = 0.0) -> RunAnswer:
        """Run the plan up to its gate, or through it."""
        return apply(self.file, self._desk(), wait=wait)

    def resume(self, wait: float = 0.0) -> RunAnswer:
        """Go on with the run."""
        return resume("last", self._desk(), wait=wait)

    def _desk(self) -> Desk:
        profile = load_profile(Path(self.twin.ready["profile"]), os.environ)
        return desk_for(profile, Store(self.folder / "state"), clock=self.clock, progress=lambda event: None)

    def process(self, command: str, kill: tuple[str, int] | None = None) -> tuple[int, Any]:
        """Exit code and JSON answer of ``apply`` or ``resume`` in a process of its own; ``kill``: see the killer."""
        plan = self.folder / "plan.json"
        plan.write_bytes(dump_plan(self.file.plan))
        subject = {"apply": str(plan), "resume": "last"}[command]
        start = ["-m", "exoscope"] if kill is None else [str(KILLER), kill[0], str(kill[1])]
        environment = {"EXOSCOPE_PROFILE": self.twin.ready["profile"], "EXOSCOPE_STATE": str(self.folder / "state")}
        ended = subprocess.run(
            [sys.executable, *start, command, subject, "--yes", "--json", "--wait", "60s"],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={**os.environ, **environment},
        )
        self.output += ended.stdout + ended.stderr
        lines = ended.stdout.strip().splitlines()
        return ended.returncode, json.loads(lines[-1]) if lines else None

    def journal(self) -> list[AnyRecord]:
        """The run's records."""
        (folder,) = Store(self.folder / "state").folders()
        return read_journal(folder.journal)

    def lose(self) -> None:
        """The session is gone: the gateway's shells, or the PowerShell itself. The admin API's road has none to lose."""
        pools = list(self.twin.wsman._pools.values())
        pid = self.children[-1] if self.children else None
        if pools and isinstance(pools[-1], ChildPool):
            pid = pools[-1].pid
        if pid is None:
            self.twin.faults.lose_shells = True
            return
        with contextlib.suppress(ProcessLookupError):  # lost already, and no call came since
            os.kill(pid, signal.SIGKILL)

    def lost_at(self, *numbers: int, wait: float = 0.0) -> RunAnswer:
        """A run whose session is lost right behind each of these records."""

        def written(number: int) -> Callable[[AnyRecord], bool]:
            return lambda record: record.n == number

        with self.when(*map(written, numbers), act=self.lose):
            return self.apply(wait)

    def killed(self, *kills: tuple[str, int]) -> bool:
        """A run, each of its processes killed as said, while somebody calls Graph as the app all the time; then to its end.

        Whether they all were killed: a run may be over before.
        """
        app = self.file.plan.apps[0].app_id
        code, answer = -signal.SIGKILL, None
        with watching(self.twin, app, *OUTSIDE):
            for number, kill in enumerate(kills):
                code, answer = self.process("resume" if number else "apply", kill)
                if code != -signal.SIGKILL:
                    break
            all_killed = code == -signal.SIGKILL
            if all_killed:
                code, answer = self.process("resume")
        assert (code, answer and answer.get("outcome")) == (0, "done"), self.output
        seen = [(each["mailbox"], each["answer"]) for each in decisions(self.twin) if each["app_id"] == app]
        assert {(address, "denied") for address in OUTSIDE} <= set(seen)
        assert not {(address, "allowed") for address in OUTSIDE} & set(seen), "a moment of wider access"
        return all_killed

    @contextlib.contextmanager
    def when(self, *times: Callable[[AnyRecord], bool], act: Callable[[], None]) -> Iterator[None]:
        """``act`` right after the first record for which it is time was written, once for each of ``times``."""
        append, left = Journal.append, list(times)

        def watching(journal: Journal, record: Record) -> AnyRecord:
            written = append(journal, record)
            for is_time in [each for each in left if each(written)]:
                left.remove(is_time)
                act()
            return written

        with mock.patch.object(Journal, "append", watching):
            yield
        assert not left, "it was never time"

    def before_second_write(self, act: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """``act`` between the second step's intent and its call."""
        second = self.file.plan.steps[1].id
        return self.when(lambda record: isinstance(record, StepIntent) and record.step == second, act=act)

    def assert_as_planned(self) -> None:
        """The tenant stands as the plan says, nothing was done twice, and the journal says of each step that it landed once."""
        end = apply_steps(self.start, self.file.plan.steps)
        now = self.twin.tenant.snapshot()
        for step in self.file.plan.steps:
            assert agrees(step.target.kind, shown(now, step.target), shown(end, step.target)), step.title
        assert len(self.twin.tenant.log) == len(self.file.plan.steps), [each.what for each in self.twin.tenant.log]
        done = Counter(record.step for record in self.journal() if isinstance(record, StepDone) and not record.already)
        assert done == Counter(step.id for step in self.file.plan.steps)


@contextlib.contextmanager
def bench(road: str, folder: Path, *, token: float = TOKEN, processes: bool = False) -> Iterator[Bench]:
    """Serve the tenant at the end of a road; ``token``: seconds that tokens live; ``processes``: by the machine's clock."""
    start, program = tiny(), named()
    clock: Clock = SystemClock() if processes else TurnedClock()
    behind = program if road == "gateway-powershell" else None
    propagation = 0.2 if processes else CACHE
    with (
        exoscope.twin.serve(start, propagation=propagation, token_lifetime=token, clock=clock, pwsh=behind) as twin,
        contextlib.ExitStack() as stack,
    ):
        made = Bench(road, folder, twin, clock, start)
        if road == "admin-api":
            _lead(twin, 'kind = "admin-api"')
        elif made.kind == "pwsh":
            path = Path(str(program))
            if road == "pwsh":
                fake = FakePwsh(folder, twin)
                stack.callback(fake.close)
                made.fake, path = fake, fake.path
            else:
                stack.enter_context(mock.patch.dict(os.environ, {"PSModulePath": twin.ready["module"]}))
            _lead(twin, f'kind = "pwsh"\npath = {json.dumps(str(path))}')
            stack.enter_context(mock.patch.object(PwshPool, "open", _telling(PwshPool.open, made.children)))
        yield made


def _lead(twin: Twin, transport: str) -> None:
    """Write another road into the sandbox's profile."""
    path = Path(twin.ready["profile"])
    table = re.compile(r"^\[transport\]\n(?:[^\[\n].*\n|\n)*", re.MULTILINE)
    text = path.read_text(encoding="utf-8")
    assert table.search(text)
    path.write_text(table.sub(f"[transport]\n{transport}\n\n", text), encoding="utf-8")


def _telling(opening: Any, children: list[int]) -> Any:
    def telling(self: PwshPool, *, deadline: float) -> None:
        opening(self, deadline=deadline)
        assert self.pid is not None
        children.append(self.pid)

    return telling
