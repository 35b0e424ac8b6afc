"""The strict reader against PowerShell's own parser, and the session prelude on a real engine."""

from __future__ import annotations

import base64
import itertools
import json
import random
import subprocess
from pathlib import Path

import pytest

from exoscope.powershell import prelude, preludes, render, sample_values, template_dir, templates, unpack
from fuzz.scripts import differ, seeds
from fuzz.values import carried, stream
from powershell_oracles import engine_views, mutate, pwsh, reader_view

PROGRAM = pwsh()
pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.skipif(PROGRAM is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]


def program() -> str:
    assert PROGRAM
    return PROGRAM


def test_every_template_and_every_good_script_means_the_same_to_powershell() -> None:
    scripts = seeds()
    assert engine_views(program(), scripts) == [reader_view(each) for each in scripts]


@pytest.mark.long
def test_mutated_scripts_mean_the_same_to_powershell() -> None:
    rng = random.Random(42)  # noqa: S311 - repeatable on purpose
    base = seeds()
    problems, accepted, _ = differ([mutate(rng.choice(base), base, rng) for _ in range(3000)], PROGRAM)
    assert not problems
    assert accepted > 500


def test_quoted_stop_parsing_swallows_the_scope_which_is_why_we_glue_it() -> None:
    swallowed, glued = engine_views(
        program(),
        [
            "New-ManagementRoleAssignment -App '--%' -Role 'r' -CustomResourceScope 'these'",
            render(
                "rbac/new_role_assignment_management_scope", {"name": "n", "role": "r", "app": "--%", "scope": "these"}
            ),
        ],
    )
    assert swallowed and "CustomResourceScope" not in dict(swallowed[0][0][1])
    assert glued and dict(glued[0][0][1])["CustomResourceScope"] == ("s", "these")


# A stand-in for the module: it notes what it was called with and hands out rows of every kind of value.
MODULE = r"""
function Connect-ExchangeOnline {
    [CmdletBinding()] param([string]$AccessToken, [string]$Organization, [string[]]$CommandName,
        [string]$ExchangeEnvironmentName, [string]$UserPrincipalName, [string]$DelegatedOrganization,
        [switch]$SkipLoadingFormatData, [switch]$ShowBanner, [string]$EXOModuleBasePath)
    if ($Organization -eq 'fails') { throw 'no connection today' }
    $global:Called = $PSBoundParameters
    'talk that must not reach the caller'
}
function Get-Rows {
    [CmdletBinding()] param([int]$Count = 1)
    foreach ($n in 1..$Count) {
        [pscustomobject]@{ Name = "n$n"; On = $true; Off = $false; Nothing = $null; Number = $n
            Guid = [guid]'11111111-2222-3333-4444-555555555555'
            When = [datetime]::new(2026, 11, 23, 9, 0, 0, [System.DateTimeKind]::Utc)
            Kind = [System.DayOfWeek]::Friday; Text = "it's ‘so’ `r`n😀 `"<>"
            List = @('a', 'b'); One = @('a'); Empty = @(); Inner = [pscustomobject]@{ a = 1 }; Real = 1.5 }
    }
}
Export-ModuleMember -Function *
"""
MANIFEST = "@{ RootModule = 'ExchangeOnlineManagement.psm1'; ModuleVersion = '3.9.2'; FunctionsToExport = '*' }"


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    module = folder / "modules" / "ExchangeOnlineManagement"
    module.mkdir(parents=True, exist_ok=True)
    (module / "ExchangeOnlineManagement.psm1").write_text(MODULE, encoding="utf-8-sig")
    (module / "ExchangeOnlineManagement.psd1").write_text(MANIFEST, encoding="utf-8")
    (folder / "run.ps1").write_text(
        f"$env:PSModulePath = '{module.parent}' + [System.IO.Path]::PathSeparator + $env:PSModulePath\n"
        "$token = [securestring]::new(); 'secret-token'.ToCharArray() | ForEach-Object { $token.AppendChar($_) }\n"
        f"$connect = '{template_dir() / 'session' / 'connect.ps1'}'\n" + script,
        encoding="utf-8-sig",
    )
    return subprocess.run(
        [program(), "-NoProfile", "-File", str(folder / "run.ps1")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


CONNECT = ". $connect -AccessToken $token -Organization 'contoso.onmicrosoft.com' -CommandName @('Get-Group','Get-Recipient')\n"


def test_the_prelude_connects_and_batches(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        CONNECT + "Get-Rows -Count 3 | ConvertTo-ExoscopeBatch -Size 2\n",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [len(unpack(line)) for line in lines] == [2, 1]
    (row,) = unpack(lines[1])
    assert row == {
        "Name": "n3",
        "On": True,
        "Off": False,
        "Nothing": None,
        "Number": 3,
        "Guid": "11111111-2222-3333-4444-555555555555",
        "When": "2026-11-23T09:00:00.0000000Z",
        "Kind": "Friday",
        "Text": "it's ‘so’ \r\n😀 \"<>",
        "List": ["a", "b"],
        "One": ["a"],
        "Empty": [],
        "Inner": "@{a=1}",
        "Real": 1.5,
    }


def test_the_prelude_says_nothing_and_leaves_no_token(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        CONNECT
        + "$global:Called['AccessToken'] -eq 'secret-token'\n$global:Called['ExchangeEnvironmentName']\n"
        + "$global:Called['CommandName'].Count\n$global:Called['SkipLoadingFormatData'].IsPresent\n"
        + "$global:Called['ShowBanner'].IsPresent\n"
        + "$global:Called.ContainsKey('EXOModuleBasePath')\n$null -eq $connection\n$ErrorActionPreference\n",
    )
    assert done.stdout.split() == ["True", "O365Default", "2", "True", "False", "False", "True", "Continue"], (
        done.stderr
    )


def test_the_prelude_says_whose_the_token_is(tmp_path: Path) -> None:
    names = "$global:Called.Keys -like '*Organization*'; $global:Called.Keys -like 'User*'\n"
    given = "-AccessToken $token -CommandName @('Get-Group')"
    done = run(
        tmp_path,
        f". $connect {given} -Organization 'c.example'\n{names}"
        f". $connect {given} -UserPrincipalName 'a@c.example'\n{names}"
        f". $connect {given} -DelegatedOrganization 'd.example'\n{names}",
    )
    assert done.stdout.split() == ["Organization", "UserPrincipalName", "DelegatedOrganization"], done.stderr


def test_any_text_comes_back_out_of_a_batch(tmp_path: Path) -> None:
    """As a value, in a list and as the name of a property; numbers and booleans in lists are texts there."""
    texts = [text for text in itertools.islice(stream(20261126), 400) if carried(text)]
    texts += [*map(chr, range(1, 0x20)), "\x7f\x9f\u2028\ufffe\uffff", 'a"b\\c', "\U0001f600\ud7ff\ue000"]
    (tmp_path / "texts").write_text(
        "\n".join(base64.b64encode(text.encode()).decode() for text in texts), encoding="ascii"
    )
    script = (
        f"$texts = foreach ($each in [System.IO.File]::ReadAllLines('{tmp_path / 'texts'}')) "
        "{ [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($each)) }\n"
        "$(foreach ($each in $texts) { [pscustomobject]@{ Text = $each; List = @($each, $null, 7, $true, $each) } }\n"
        '[pscustomobject]@{ "it\'s `"`\\" = [decimal]1.5; Big = [long]::MaxValue; Small = -0.5; Huge = 1e300\n'
        "    No = [double]::NaN }\n"
        "[pscustomobject]@{}) | ConvertTo-ExoscopeBatch -Size 100\n"
    )
    done = run(tmp_path, CONNECT + script)
    rows = [row for line in done.stdout.splitlines() for row in unpack(line)]
    *found, last, empty = rows
    assert [row["Text"] for row in found] == texts, done.stderr
    assert all(row["List"] == [text, "7", "True", text] for row, text in zip(found, texts, strict=True))
    assert last == {"it's \"\\": "1.5", "Big": 2**63 - 1, "Small": -0.5, "Huge": 1e300, "No": "NaN"}
    assert empty == {}


def test_no_rows_give_no_batch(tmp_path: Path) -> None:
    done = run(tmp_path, CONNECT + "@() | ConvertTo-ExoscopeBatch\n'end'\n")
    assert done.stdout.split() == ["end"]


def test_a_session_that_is_not_connected_answers_with_an_error(tmp_path: Path) -> None:
    script = (
        "try { " + CONNECT.replace("contoso.onmicrosoft.com", "fails").strip() + " } catch { 'connect: ' + $_ }\n"
        "try { Get-Rows | ConvertTo-ExoscopeBatch } catch { 'batch: ' + $_ }\n"
    )
    done = run(tmp_path, script)
    assert done.stdout.splitlines() == [
        "connect: no connection today",
        "batch: ExoscopeNotConnected: this session is not connected to Exchange Online.",
    ], done.stderr


def test_a_failed_second_connection_does_not_pass_for_the_first(tmp_path: Path) -> None:
    again = CONNECT.replace("contoso.onmicrosoft.com", "fails").strip()
    script = (
        CONNECT + "try { " + again + " } catch { }\ntry { Get-Rows | ConvertTo-ExoscopeBatch } catch { 'refused' }\n"
    )
    assert run(tmp_path, script).stdout.split() == ["refused"]


def test_windows_powershell_5_could_read_all_of_it() -> None:
    """Where the engine at hand can tell (its ``parse`` mode), no script uses syntax that 5.1 lacks."""
    scripts = [each.text for each in preludes()] + [render(name, sample_values(name)) for name in templates()]
    asked = "".join(json.dumps({"script": each}) + "\n" for each in scripts)
    try:
        done = subprocess.run(
            [program(), "parse"], input=asked, capture_output=True, text=True, timeout=60, check=False
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
    except (ValueError, subprocess.TimeoutExpired):
        answers = []
    if len(answers) != len(scripts):
        pytest.skip("this PowerShell has no parse mode")
    assert all(answer["errors"] == [] and answer["newer"] == [] for answer in answers)
    assert prelude().text in scripts
