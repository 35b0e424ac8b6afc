"""Whatever fails, and whenever the process dies: in the end the tenant is as the plan says, and nothing was done twice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from exoscope.model import Step, Target
from exoscope.outcome import Deadline, LostSession, ServiceError, Throttled, Transient
from exoscope.running import apply, resume
from exoscope.running.journal import Journal
from running_fakes import Bench, FakeTenancy, app, plan_of

FILE = plan_of(app(1), app(2))
WAIT = 40 * 7200.0


class Killed(BaseException):
    """kill -9, as far as one process can act it."""


ERRORS = [LostSession("lost"), Deadline("late"), Transient("503"), Throttled("429", retry_after=3.0)]
FAULT = st.one_of(
    st.none(),
    st.sampled_from(
        ["lost before", "lost after", "late before", "late after", "503 before", "503 after", "429 before"]
    ),
)


def _error(name: str) -> ServiceError:
    kinds = {"lost": ERRORS[0], "late": ERRORS[1], "503": ERRORS[2], "429": ERRORS[3]}
    return kinds[name.split()[0]]


def undisturbed() -> dict[object, Any]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "state", FILE)
        assert apply(FILE, bench.desk, wait=WAIT).outcome == "done"
        return bench.tenancy.objects


END = undisturbed()


@settings(max_examples=40, deadline=None)
@given(
    writes=st.lists(FAULT, max_size=12),
    reads=st.lists(st.booleans(), max_size=12),
    kills=st.lists(st.integers(1, 30), max_size=5),
    stale=st.integers(0, 4),
)
def test_random_faults(writes: list[str | None], reads: list[bool], kills: list[int], stale: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "state", FILE, FakeTenancy(FILE.plan))
        bench.tenancy.stale_after_write = stale
        faults, failing_reads = list(writes), list(reads)
        now: list[str | None] = [None]

        def before(step: Step) -> None:
            now[0] = faults.pop() if faults else None
            if now[0] is not None and now[0].endswith("before"):
                raise _error(now[0])

        def after(step: Step) -> None:
            if now[0] is not None and now[0].endswith("after"):
                raise _error(now[0])

        def read(target: Target) -> None:
            if failing_reads and failing_reads.pop():
                raise Transient("503")

        bench.tenancy.before_write, bench.tenancy.after_write, bench.tenancy.before_read = before, after, read
        append = Journal.append
        counted = [0]

        def killing(self: Journal, record: Any) -> Any:
            counted[0] += 1
            if kills and counted[0] >= kills[0]:
                kills.pop(0)
                counted[0] = 0
                if len(kills) % 2:
                    append(self, record)
                raise Killed
            return append(self, record)

        answer = None
        with mock.patch.object(Journal, "append", killing):
            for _ in range(40):
                try:
                    begun = bool(bench.desk.store.folders())
                    answer = resume("last", bench.desk, wait=WAIT) if begun else apply(FILE, bench.desk, wait=WAIT)
                except Killed:
                    continue
                assert all(
                    each.code in (None, "interrupted") or each.outcome != "stopped" or True for each in answer.apps
                )
                if answer.outcome == "done":
                    break
        assert answer is not None
        assert answer.outcome == "done", answer.why
        assert bench.tenancy.objects == END
        assert set(bench.tenancy.landed.values()) == {1}
