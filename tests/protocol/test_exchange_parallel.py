"""Reads over several sessions of a real road: the same file as over one, whatever fails, each session proven by itself."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from exoscope import Tenant
from exoscope import snapshot as snapshots
from exoscope.cli import program
from exoscope.clock import SystemClock
from exoscope.exchange.parallel import ParallelSession
from exoscope.model import Snapshot
from exoscope.outcome import BadInput, Throttled
from exoscope.profile import AdminApiRoad, LocalPwsh, Profile, load_profile
from exoscope.reading import Connection, read_snapshot
from exoscope.twin.server import Twin
from pwsh_fakes import FakePwsh, gone
from running_roads import INTENT, Bench, bench, planned
from twin_fixtures import sample, serve, shared_twin

__all__ = ["sample", "serve", "shared_twin"]
ROADS = [pytest.param(road, id=f"{road}'s road") for road in ("gateway", "pwsh", "admin-api")]
ONE_SOON = [
    pytest.param(road, id=f"{road}'s road", marks=() if road == "gateway" else pytest.mark.long)
    for road in ("gateway", "pwsh", "admin-api")
]
"""What is the reading's doing, not the road's: over one road in make test, over the others in make long."""
COUNT = 3

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pwsh is a script with a first line")
ProfileOn = Callable[[str, Twin], Profile]


@pytest.fixture
def profile_on(tmp_path: Path) -> Iterator[ProfileOn]:
    with ExitStack() as stack:

        def made(road: str, twin: Twin) -> Profile:
            profile = load_profile(Path(twin.ready["profile"]), os.environ)
            if road == "pwsh":
                fake = FakePwsh(tmp_path, twin)
                stack.callback(fake.close)
                return msgspec.structs.replace(profile, transport=LocalPwsh(kind="pwsh", path=fake.path))
            if road == "admin-api":
                return msgspec.structs.replace(profile, transport=AdminApiRoad(kind="admin-api"))
            return profile

        yield made


def read(profile: Profile, parallel: int) -> Snapshot:
    with Connection(profile, SystemClock(), parallel=parallel) as connection:
        return read_snapshot(connection)


def same(one: Snapshot, other: Snapshot) -> bool:
    return msgspec.structs.replace(one, read_at=other.read_at) == other


@pytest.mark.parametrize("road", ROADS)
def test_a_tenant_reads_as_over_one_session(
    shared_twin: Twin, profile_on: ProfileOn, caplog: pytest.LogCaptureFixture, road: str
) -> None:
    caplog.set_level(logging.INFO, "exoscope.exchange")
    profile = profile_on(road, shared_twin)
    alone = read(profile, 1)
    caplog.clear()
    assert same(read(profile, COUNT), alone)
    assert f"{COUNT} sessions are open" in caplog.text
    assert len({record.threadName for record in caplog.records if ": " in record.getMessage()}) > 1
    assert shared_twin.wsman.shells == 0, "all are closed again"


@pytest.mark.parametrize("road", ONE_SOON)
def test_what_cannot_be_read_is_unread_as_over_one_session(
    serve: Callable[..., Twin], sample: Snapshot, profile_on: ProfileOn, road: str
) -> None:
    assert isinstance(sample.groups, tuple)
    closed = tuple(msgspec.structs.replace(each, members=None) for each in sample.groups)
    twin = serve(msgspec.structs.replace(sample, access_policies=msgspec.UNSET, groups=closed), token_lifetime=600.0)
    profile = profile_on(road, twin)
    alone = read(profile, 1)
    assert len(alone.unread) > 3
    assert same(read(profile, COUNT), alone)


@pytest.mark.parametrize("road", ONE_SOON)
def test_a_worker_that_loses_its_session_goes_on_in_a_new_one(
    serve: Callable[..., Twin], sample: Snapshot, profile_on: ProfileOn, road: str
) -> None:
    twin = serve(sample, token_lifetime=600.0)
    profile = profile_on(road, twin)
    alone = read(profile, 1)
    for cmdlet in ("Get-ManagementRole", "Get-DistributionGroupMember", "Get-Recipient"):
        twin.faults.drop(cmdlet)
    twin.faults.throttle("Get-ApplicationAccessPolicy")
    assert same(read(profile, COUNT), alone)
    assert twin.faults.planned == 0


def test_a_gateway_with_too_little_room_says_so(
    serve: Callable[..., Twin], sample: Snapshot, profile_on: ProfileOn
) -> None:
    twin = serve(sample, token_lifetime=600.0)
    with Connection(profile_on("gateway", twin), SystemClock(), parallel=COUNT) as connection:
        assert isinstance(connection.exchange, ParallelSession)
        assert twin.wsman.shells == COUNT
    create = twin.faults.take_full
    room = [True]
    twin.faults.take_full = lambda: not room or not room.pop()  # type: ignore[method-assign]  # room for one
    with Connection(profile_on("gateway", twin), SystemClock(), parallel=COUNT) as connection:
        with pytest.raises(Throttled, match="30 concurrent shells") as full:
            _ = connection.exchange
        assert full.value.next.endswith("3 sessions were to be opened at once: fewer may do.")
    twin.faults.take_full = create  # type: ignore[method-assign]
    assert twin.wsman.shells == 0


def exoscope(here: Bench, *words: str) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "exoscope", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=here.folder,
        env={
            **os.environ,
            "EXOSCOPE_PROFILE": here.twin.ready["profile"],
            "EXOSCOPE_STATE": str(here.folder / "state"),
        },
    )
    lines = done.stdout.splitlines()
    return done.returncode, json.loads(lines[-1]) if lines else None, done.stderr


@pytest.mark.long
@pytest.mark.timeout(240)
def test_snapshot_plan_and_verify_take_the_option(tmp_path: Path) -> None:
    with bench("gateway", tmp_path, processes=True) as here:
        (tmp_path / "scope.yaml").write_text(INTENT, encoding="utf-8")
        asked = ("-v", "--parallel", "2")
        code, _, talk = exoscope(here, "snapshot", "-o", "one.json", "--for", "scope.yaml", *asked)
        assert code == 0, talk
        assert "2 sessions are open" in talk
        code, plan, talk = exoscope(here, "plan", "scope.yaml", "-o", "plan.json", *asked)
        assert code == 0, talk
        assert "2 sessions are open" in talk
        one = snapshots.load(tmp_path / "one.json")
        assert same(one, snapshots.load(tmp_path / "plan.snapshot.json"))
        assert plan["hash"] == planned(one).hash
        assert here.process("apply")[0] == 0, here.output
        code, proof, talk = exoscope(here, "verify", "plan.json", *asked)
        assert (code, proof["verdict"]) == (0, "proven"), talk
        assert talk.count("Test-ServicePrincipalAuthorization: ") == 4
        assert here.twin.wsman.shells == 0


@pytest.mark.parametrize(
    "words",
    [
        ("snapshot", "-o", "x.json", "--parallel", "9"),
        ("snapshot", "-o", "x.json", "--parallel", "0"),
        ("snapshot", "-o", "x.json", "--parallel", "2", "--from-script", "result.json"),
        ("plan", "scope.yaml", "-o", "x.json", "--snapshot", "one.json", "--parallel", "2"),
        ("migrate", "--snapshot", "one.json", "--parallel", "2"),
        ("verify", "--from-script", "result.json", "--parallel", "2"),
    ],
)
def test_where_no_sessions_are_opened_their_number_is_refused(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(program, words)
    assert done.exit_code == 2
    assert "parallel" in done.output or "no option of asking" in done.output


def test_a_script_of_the_python_api_reads_so_too(shared_twin: Twin, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "exoscope.exchange")
    with Tenant.connect(shared_twin.ready["profile"], parallel=2) as tenant:
        assert tenant.snapshot().unread == ()
    assert "2 sessions are open" in caplog.text
    with Tenant.connect(shared_twin.ready["profile"], parallel=9) as tenant, pytest.raises(BadInput, match="between"):
        tenant.snapshot()


def test_an_interrupted_reading_leaves_no_child(tmp_path: Path) -> None:
    with bench("pwsh", tmp_path, processes=True) as here:
        here.twin.faults.hang("Get-ManagementRole", times=4)
        process = subprocess.Popen(
            [sys.executable, "-m", "exoscope", "snapshot", "-o", str(tmp_path / "x.json"), "--parallel", "2", "-v"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "EXOSCOPE_PROFILE": here.twin.ready["profile"]},
            # Whoever runs the tests in the background has them ignore SIGINT, and a child inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "Get-Recipient: " in line:  # it comes behind the one that hangs, and that is waited for now
                    break
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=100)
            assert process.returncode == 130
        finally:
            process.kill()
        assert here.fake is not None
        assert len(here.fake.pids) == 2
        assert all(gone(pid) for pid in here.fake.pids)
