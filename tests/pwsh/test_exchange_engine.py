"""The child's road on a real PowerShell engine: what arrives, what errors say, what stops, what ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from exoscope.exchange.local import PwshPool
from exoscope.model import Secret
from exoscope.outcome import AccessDenied, Deadline, LostSession, ServiceError
from exoscope.powershell import CMDLETS, literal, prelude
from powershell_oracles import pwsh as named
from pwsh_fakes import gone

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]
SECONDS = 60.0


@pytest.fixture
def pool() -> Iterator[PwshPool]:
    program = named()
    assert program
    made = PwshPool(program)
    made.open(deadline=SECONDS)
    yield made
    made.close()


def test_objects_warnings_and_parameters(pool: PwshPool) -> None:
    given = pool.invoke("Write-Warning 'mind'; 'a'; 1; $null; $true", deadline=SECONDS)
    assert given.objects == ("a", 1, None, True)
    assert given.warnings == ("mind",)
    secret = "tok’en 😀 " * 150
    script = (
        "param([securestring] $Token, [string[]] $Names)\n"
        "[System.Management.Automation.PSCredential]::new('t', $Token).GetNetworkCredential().Password; $Names"
    )
    given = pool.invoke(script, {"Token": Secret(secret, "t"), "Names": ("one", "it’s")}, deadline=SECONDS)
    assert given.objects == (secret, "one", "it’s")


def test_of_the_cmdlets_that_are_asked_about_those_are_told_that_are_loaded(pool: PwshPool) -> None:
    ask = prelude(CMDLETS).text
    names = {"CommandName": ("Get-Recipient", "New-ManagementScope", "Get-ManagementScope")}
    assert pool.invoke(ask, names, deadline=SECONDS).objects == (), "none is an answer, and no error"
    pool.invoke("function global:Get-Recipient { }; function global:get-managementscope { }", deadline=SECONDS)
    found = pool.invoke(ask, names, deadline=SECONDS).objects
    assert {str(each).casefold() for each in found} == {"get-recipient", "get-managementscope"}


def test_an_error_is_told_wherever_it_stands(pool: PwshPool) -> None:
    with pytest.raises(AccessDenied, match="Get-Nothing"):
        pool.invoke("'before'; Get-Nothing -Identity 'x'", deadline=SECONDS)
    with pytest.raises(ServiceError, match="thrown"):
        pool.invoke("throw 'thrown'", deadline=SECONDS)
    with pytest.raises(ServiceError, match="not terminating"):
        pool.invoke("Write-Error 'not terminating'; 'after'", deadline=SECONDS)
    with pytest.raises(ServiceError) as hidden:
        pool.invoke(
            "param([securestring] $T) throw [System.Management.Automation.PSCredential]::new('t', $T)"
            ".GetNetworkCredential().Password",
            {"T": Secret("hunter2-token", "t")},
            deadline=SECONDS,
        )
    assert "hunter2-token" not in str(hidden.value)
    assert pool.invoke("exit 3; 'on'", deadline=SECONDS).objects == ()
    assert pool.invoke("'on'", deadline=SECONDS).objects == ("on",)


def test_an_endless_script_is_stopped_and_the_runspace_serves_on(pool: PwshPool) -> None:
    pool.invoke("$global:kept = 7", deadline=SECONDS)
    began = time.monotonic()
    with pytest.raises(Deadline):
        pool.invoke("while ($true) { }", deadline=0.5)
    assert time.monotonic() - began < 5
    assert pool.invoke("$global:kept", deadline=SECONDS).objects == (7,)


def test_hostile_names_arrive_unchanged(pool: PwshPool) -> None:
    rng = random.Random(7)  # noqa: S311 - repeatable on purpose
    alphabet = "'‘’‚‛\"“”„–—`$;|{}()#@ \t\r\n\u00a0\u2028😀é_x000A_<>&%abc"
    names = ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 30))) for _ in range(400)]
    names += ["--%", "x" * 100_000]
    script = "\n".join(f"Write-Output -InputObject:{literal(name)}" for name in names)
    assert list(pool.invoke(script, deadline=SECONDS).objects) == names


def test_a_killed_child_is_a_lost_session_at_once(pool: PwshPool) -> None:
    assert pool.pid is not None
    os.kill(pool.pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(LostSession):
        pool.invoke("'on'", deadline=SECONDS)
    assert time.monotonic() - began < 5
    assert pool.broken


HOLDER = """
import os, sys, threading, time
from exoscope.exchange.local import PwshPool
pool = PwshPool(sys.argv[1])
pool.open(deadline=60)
print(pool.pid, flush=True)
if sys.argv[2] == "working":
    threading.Thread(target=lambda: pool.invoke("while ($true) { }", deadline=60), daemon=True).start()
    time.sleep(1)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("doing", ["resting", "working"])
def test_a_killed_parent_leaves_no_child(doing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLDER, str(named()), doing], capture_output=True, text=True, timeout=90, check=False
    )
    assert gone(int(done.stdout), 20), done.stderr
