"""The sandbox's module in a real PowerShell, on both roads: the child of this machine, and the gateway with real shells."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

import exoscope.twin
from exoscope import exchange
from exoscope.catalog import EXCHANGE
from exoscope.clock import SystemClock
from exoscope.entra import Tokens
from exoscope.exchange import ExchangeSession
from exoscope.exchange.inventory import read_management_scopes
from exoscope.outcome import (
    AlreadyExists,
    Deadline,
    LostSession,
    ObjectNotFound,
    ServiceError,
    Throttled,
    Transient,
)
from exoscope.powershell import render_guarded
from exoscope.powershell.cmdlets import SELECT, catalogue
from exoscope.profile import LocalPwsh, load_profile
from exoscope.twin.passthrough import ChildPool
from exoscope.twin.server import Twin
from powershell_oracles import pwsh as named
from pwsh_fakes import gone
from twin_fixtures import load_sample, token

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
    pytest.mark.timeout(240),
]
ROADS = ("pwsh", "gateway")
Connect = Callable[..., ExchangeSession]


class QuickClock(SystemClock):
    """The machine's time, without waiting between tries."""

    def sleep(self, seconds: float) -> None:
        del seconds


@pytest.fixture(scope="module")
def served() -> Iterator[Twin]:
    """A twin whose gateway is real PowerShell; its tokens live ten minutes."""
    program = named()
    assert program
    with exoscope.twin.serve(load_sample(), propagation=0.1, token_lifetime=600.0, pwsh=program) as twin:
        yield twin


@pytest.fixture
def connect(served: Twin, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    served.faults.clear()
    with ExitStack() as stack:

        def start(road: str, twin: Twin = served) -> ExchangeSession:
            monkeypatch.setenv("PSModulePath", twin.ready["module"])
            profile = load_profile(Path(twin.ready["profile"]), os.environ)
            if road == "pwsh":
                profile = msgspec.structs.replace(profile, transport=LocalPwsh(kind="pwsh", path=Path(str(named()))))
            clock = QuickClock()
            session = exchange.connect(profile, Tokens(profile, clock), clock=clock)
            stack.callback(session.close)
            return session

        yield start
        served.faults.clear()


def names(session: ExchangeSession) -> set[str]:
    return {scope.name for scope in read_management_scopes(session)}


def new(name: str) -> str:
    return render_guarded("rbac/new_management_scope", {"name": name, "filter": "Department -eq 'Sales'"}).text


def remove(name: str) -> str:
    return render_guarded("rbac/remove_management_scope", {"name": name}).text


def child_of(session: Any, twin: Twin) -> int:
    """The process id of the PowerShell that the session talks to."""
    if session.road == "pwsh":
        return int(session._pool.pid)
    pool = list(twin.wsman._pools.values())[-1]
    assert isinstance(pool, ChildPool)
    return pool.pid


@pytest.mark.parametrize("road", ROADS)
def test_real_powershell_reads_and_writes_the_twin(connect: Connect, served: Twin, road: str) -> None:
    session = connect(road)
    assert (session.road, session.tenant_id) == (road, served.tenant.state.tenant.id.casefold())
    name = f"Fré’sh “{road}” 😀"
    session.run(new(name))
    assert name in names(session)
    with pytest.raises(AlreadyExists):
        session.run(new(name))
    session.run(remove(name))
    assert name not in names(session)
    with pytest.raises(ObjectNotFound, match="ManagementObjectNotFoundException"):
        session.run(remove("Absent"))
    with pytest.raises(ServiceError, match="ParsingException"):
        session.run(render_guarded("rbac/new_management_scope", {"name": "Odd", "filter": "Nonsense -eq 'x'"}).text)


@pytest.mark.parametrize("road", ["pwsh", pytest.param("gateway", marks=pytest.mark.long)])
def test_a_killed_powershell(connect: Connect, served: Twin, road: str) -> None:
    session = connect(road)
    before = names(session)
    first = child_of(session, served)
    os.kill(first, signal.SIGKILL)
    assert names(session) == before, "a read goes on in a new one"
    second = child_of(session, served)
    assert second != first
    os.kill(second, signal.SIGKILL)
    with pytest.raises(LostSession):
        session.run(new(f"Never {road}"))
    assert names(session) == before
    third = child_of(session, served)
    session.close()
    assert gone(third)


@pytest.mark.parametrize("road", ROADS)
def test_a_call_that_hangs_is_stopped_and_the_session_serves_on(connect: Connect, served: Twin, road: str) -> None:
    session = connect(road)
    names(session)
    child = child_of(session, served)
    served.faults.hang("New-ManagementScope")
    began = time.monotonic()
    with pytest.raises(Deadline):
        session.run(new(f"Hangs {road}"), deadline=1.5)
    assert time.monotonic() - began < 12
    assert f"Hangs {road}" not in names(session)
    assert child_of(session, served) == child


@pytest.mark.parametrize("road", ROADS)
def test_throttling_and_a_connection_that_is_cut(connect: Connect, served: Twin, road: str) -> None:
    session = connect(road)
    before = names(session)
    served.faults.throttle("Get-ManagementScope", times=2)
    assert names(session) == before
    served.faults.throttle("New-ManagementScope")
    with pytest.raises(Throttled):
        session.run(new(f"Later {road}"))
    served.faults.drop("New-ManagementScope", act=True)
    with pytest.raises(Transient, match="connection to the server was lost"):
        session.run(new(f"Cut {road}"))
    assert names(session) == before | {f"Cut {road}"}, "it was done, and its caller must look"
    session.run(remove(f"Cut {road}"))


@pytest.mark.long
@pytest.mark.parametrize("road", ROADS)
def test_a_token_that_ends_in_the_middle(connect: Connect, served: Twin, road: str) -> None:
    """A write is told that the session is lost, and not done; a read goes on in a new one, with a new token."""
    session: Any = connect(road)
    before = session._pool
    served.entra.tokens.end_all(EXCHANGE)
    with pytest.raises(LostSession, match="the access token has expired"):
        session.run(new(f"With an old token {road}"))
    assert f"With an old token {road}" not in names(session)
    between = session._pool
    assert between is not before
    served.entra.tokens.end_all(EXCHANGE)
    assert names(session)
    assert session._pool is not between


def run_file(folder: Path, module: str, script: str) -> subprocess.CompletedProcess[str]:
    path = folder / "run.ps1"
    path.write_text(script, encoding="utf-8-sig")
    return subprocess.run(
        [str(named()), "-NoProfile", "-File", str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env={**os.environ, "PSModulePath": module},
    )


def test_anybodys_script_runs_against_the_twin(served: Twin, tmp_path: Path) -> None:
    access = token(served, scope="https://outlook.office365.com/.default")
    script = f"""
Import-Module ExchangeOnlineManagement -MinimumVersion 3.2.0
try {{ Get-ManagementScope -ErrorAction Stop }} catch {{ "before: $($_.Exception.Message)" }}
Connect-ExchangeOnline -AccessToken '{access}' -Organization '{served.tenant.state.tenant.domain}' -ShowBanner:$false
"tenant: $((Get-ConnectionInformation).TenantID)"
foreach ($n in 1..2) {{
    $made = New-ManagementScope -Name "Loop $n" -RecipientRestrictionFilter "Department -eq 'S'" -WhatIf:($n -eq 2) -Confirm:$false
}}
"made: $(@(Get-ManagementScope | Where-Object {{ $_.Name -like 'Loop *' }}).Count)"
Get-ManagementScope -Identity 'Loop 1' | Remove-ManagementScope -Confirm:$false
"left: $(@(Get-ManagementScope | Where-Object {{ $_.Name -like 'Loop *' }}).Count)"
try {{ Get-ManagementScope -Identity 'Absent' -ErrorAction Stop }}
catch {{
    "category: $($_.CategoryInfo.Category) $($_.CategoryInfo.Reason) $($_.CategoryInfo.Activity)"
    "id: $($_.FullyQualifiedErrorId)"
}}
try {{ New-ManagementScope -Name 'x' -ServerList 'y' }} catch {{ "unknown: $($_.FullyQualifiedErrorId)" }}
try {{ New-ApplicationAccessPolicy -AppId 'a' -AccessRight 'Maybe' -PolicyScopeGroupId 'g' }}
catch {{ "choice: $($_.FullyQualifiedErrorId)" }}
"recipients: $(@(Get-Recipient -ResultSize Unlimited).Count -gt 50)"
Disconnect-ExchangeOnline -Confirm:$false
"after: $(@(Get-ConnectionInformation).Count)"
"""
    done = run_file(tmp_path, served.ready["module"], script)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert told["before"].startswith("You must call the Connect-ExchangeOnline cmdlet")
    assert told["tenant"] == served.tenant.state.tenant.id
    assert (told["made"], told["left"], told["after"]) == ("1", "0", "0"), done.stdout
    assert told["category"] == "NotSpecified ManagementObjectNotFoundException Get-ManagementScope"
    assert told["id"].startswith("[Server=TWIN,RequestId=") and told["id"].endswith(" GMT],Write-ErrorMessage")
    assert told["unknown"].startswith("NamedParameterNotFound")
    assert "ParameterArgumentValidationError" in told["choice"] or "ValidateSet" in told["choice"]
    assert told["recipients"] == "True"
    assert access not in done.stdout + done.stderr


ASKING = {"WhatIf", "Confirm"}  # which ShouldProcess gives
_SURFACE = """
Import-Module ExchangeOnlineManagement
$found = foreach ($command in Get-Command -Module ExchangeOnlineManagement) {
    foreach ($set in $command.ParameterSets) {
        foreach ($parameter in $set.Parameters) {
            $type = $parameter.ParameterType.Name
            '{0}|{1}|{2}|{3}|{4}' -f $command.Name, $set.Name, $parameter.Name, $parameter.IsMandatory, $type
        }
    }
}
$found
"""


def test_the_binder_sees_the_table_of_cmdlets(served: Twin, tmp_path: Path) -> None:
    """Names, sets, what is mandatory, switches and ShouldProcess as PowerShell itself understands the module."""
    done = run_file(tmp_path, served.ready["module"], _SURFACE)
    assert done.returncode == 0, done.stderr
    seen: dict[str, dict[str, dict[str, tuple[str, str]]]] = {}
    for line in done.stdout.splitlines():
        command, where, parameter, mandatory, kind = line.split("|")
        seen.setdefault(command, {}).setdefault(where, {})[parameter] = (mandatory, kind)
    table = {each.name: each for each in catalogue().values() if each.name != SELECT}
    assert seen.keys() == table.keys()
    for name, cmdlet in table.items():
        parameters = [each for each in cmdlet.parameters.values() if each.online is not False and cmdlet.has(each.name)]
        switches = {each.name: str(each.is_switch) for each in parameters}
        changes = cmdlet.has("Confirm") or not name.startswith(("Get-", "Test-", "Connect-"))
        assert all(("WhatIf" in shown) == changes for shown in seen[name].values()), name
        wanted = [
            {
                each: (str(each in where.mandatory), switches[each])
                for each in (where.allowed & switches.keys()) - ASKING
            }
            for where in cmdlet.sets
            if where.mandatory <= switches.keys()
        ]
        bound = [
            {
                each: (mandatory, str(kind == "SwitchParameter"))
                for each, (mandatory, kind) in shown.items()
                if each in switches.keys() - ASKING
            }
            for shown in seen[name].values()
        ]
        assert all(each in wanted for each in bound), name
        # a set that is nothing but a part of another is none of its own
        assert all(any(want.items() <= each.items() for each in bound) for want in wanted), name


def test_a_wrong_token_and_a_wrong_organization_connect_to_nothing(served: Twin, tmp_path: Path) -> None:
    access = token(served, scope="https://outlook.office365.com/.default")
    for given, organization, words in (
        ("nonsense", served.tenant.state.tenant.domain, "UnAuthorized"),
        (access, "fabrikam.onmicrosoft.com", "isn't the organization of the access token"),
    ):
        script = (
            "Import-Module ExchangeOnlineManagement\n"
            f"try {{ Connect-ExchangeOnline -AccessToken '{given}' -Organization '{organization}' }}\n"
            'catch { "refused: $($_.Exception.Message)" }\n"connections: $(@(Get-ConnectionInformation).Count)"\n'
        )
        done = run_file(tmp_path, served.ready["module"], script)
        assert words in done.stdout, done.stderr
        assert "connections: 0" in done.stdout


def test_the_module_speaks_windows_powershell_too(served: Twin) -> None:
    """PowerShell's own parser finds no error in it, and nothing that 5.1 lacks."""
    import json

    script = (Path(served.ready["module"]) / "ExchangeOnlineManagement" / "ExchangeOnlineManagement.psm1").read_text(
        encoding="utf-8-sig"
    )
    done = subprocess.run(
        [str(named()), "parse"],
        input=json.dumps({"script": script}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        pytest.skip("this PowerShell has no parse command: only the engine for checks has")
    found = json.loads(done.stdout)
    assert (found["errors"], found["newer"]) == ([], [])
