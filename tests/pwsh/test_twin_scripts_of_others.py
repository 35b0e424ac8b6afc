"""Scripts that know nothing of the twin, run by a real PowerShell with the sandbox's module in the place of Exchange's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import exoscope.twin
from exoscope.profile import load_profile
from exoscope.rehearsing import sandbox
from exoscope.twin.server import Twin
from powershell_oracles import pwsh as named
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, app_named, load_sample

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(named() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
    pytest.mark.timeout(240),
]
VENDOR = Path(__file__).parents[1] / "data" / "vendor" / "scope-connector.ps1"


@pytest.fixture
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(load_sample(), propagation=0.0, token_lifetime=3600.0) as twin:
        yield twin


def run(folder: Path, modules: str, words: str) -> subprocess.CompletedProcess[str]:
    path = folder / "session.ps1"
    path.write_text(words, encoding="utf-8-sig")
    return subprocess.run(
        [str(named()), "-NoProfile", "-File", str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=200,
        check=False,
        env={**os.environ, "PSModulePath": modules},
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    lines = [line.removeprefix("told ") for line in done.stdout.splitlines() if line.startswith("told ")]
    return {name: value for name, _, value in (line.partition(" = ") for line in lines)}


def test_a_vendors_script_runs_as_it_came(served: Twin, tmp_path: Path) -> None:
    sample = load_sample()
    app, group = (
        app_named(sample, OMNISCOPE),
        next(
            each
            for each in sample.groups
            if each.primary_smtp_address == OMNISCOPE_GROUP  # type: ignore[union-attr]  # read whole
        ),
    )
    mailboxes = [each.guid for each in sample.recipients if each.recipient_type == "UserMailbox"]  # type: ignore[union-attr]  # as above
    inside = len(set(mailboxes[:12]) & set(group.members or ()))
    words = f"& '{VENDOR}' -AppId '{app.app_id}' -ObjectId '{app.object_id}' -Admin 'admin@contoso.com'\n"
    done = run(tmp_path, served.ready["module"], words)
    assert told(done) == {
        "connected": "Connected",
        "group": OMNISCOPE_GROUP,
        "members": "6",
        "pointer made": "Omniscope",
        "scopes after what if": "0",
        "again": "ADObjectAlreadyExistsException",
        "again, text": "The object 'Omniscope scope' already exists. Please use a different name.",
        "last worked": "False",
        "roles": "Application Calendars.Read, Application Mail.Read",
        "scope of roles": "Omniscope scope",
        "inside": str(inside),
        "not run": "Not Run",
        "preview": "9",
        "ada": "Granted",
        "ceo": "Denied",
        "policies": "0",
        "nobody": "True 1 False",
        "piped members": "4",
        "unused": "0",
        "types": "Guid String String",
        "property sets": "omniscope True Engineering",
        "user": "Engineering",
        "aliases": "12",
        "disconnected": "You must call the Connect-ExchangeOnline cmdlet before calling any other cmdlets.",
    }, done.stdout + done.stderr
    assert "it signs in as its own operator" in done.stdout + done.stderr
    state = served.tenant.state
    assert "Omniscope scope" in {each.name for each in state.management_scopes}  # type: ignore[union-attr]  # the sample was read whole
    assert {each.role for each in state.role_assignments if each.assignee == app.object_id} == {  # type: ignore[union-attr]  # as above
        "Application Mail.Read",
        "Application Calendars.Read",
    }


def test_every_way_of_signing_in_leads_to_the_sandbox_and_no_other_tenant(served: Twin, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    profile = load_profile(Path(served.ready["profile"]), os.environ)
    sandbox.module(modules, profile)
    domain = served.tenant.state.tenant.domain
    ways = {
        "nothing": "",
        "thumbprint": f"-AppId 'x' -CertificateThumbprint 'AB12' -Organization '{domain}'",
        "identity": f"-ManagedIdentity -Organization '{domain}'",
        "delegated": "-UserPrincipalName 'me@fabrikam.com' -DelegatedOrganization 'fabrikam.onmicrosoft.com'",
        "other": "-AppId 'x' -CertificateThumbprint 'AB12' -Organization 'fabrikam.onmicrosoft.com'",
        "prefix": "-Prefix 'Cloud'",
        "token": "-AccessToken 'nonsense'",
    }
    lines = [
        f"try {{ Connect-ExchangeOnline {words} -WarningAction SilentlyContinue }} catch {{ $why = $_.Exception.Message }}\n"
        f'"told {name} = $(@(Get-ConnectionInformation).Count) $why"; $why = $null; Disconnect-ExchangeOnline -Confirm:$false\n'
        for name, words in ways.items()
    ]
    found = told(run(tmp_path, str(modules), "Import-Module ExchangeOnlineManagement\n" + "".join(lines)))
    assert {name: text.split(" ")[0] for name, text in found.items()} == {
        **dict.fromkeys(("nothing", "thumbprint", "identity"), "1"),
        **dict.fromkeys(("delegated", "other", "prefix", "token"), "0"),
    }, found
    assert "isn't the organization" in found["other"] + found["delegated"]
    assert "-Prefix" in found["prefix"] and "should be provided with the AccessToken" in found["token"]
    secret = (served.folder.secrets / "operator").read_text()
    script = (modules / "ExchangeOnlineManagement" / "ExchangeOnlineManagement.psm1").read_text(encoding="utf-8-sig")
    assert secret not in script, "the module names the file, and reads it when it signs in"
