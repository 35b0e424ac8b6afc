"""The sandbox's PowerShell module as text: the surface of each cmdlet, what stands around it, where it may be written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from exoscope.outcome import BadInput
from exoscope.powershell import read, render, sample_values, templates
from exoscope.powershell.cmdlets import SELECT, find
from exoscope.twin.module import NAME, Place, function_text, manifest_text, module_text, write_module

PLACE = Place(
    origin="https://127.0.0.1:8443",
    tenant="11111111-1111-1111-1111-111111111111",
    domain="contoso.onmicrosoft.com",
    ca=Path("here") / "it’s $(ca).pem",
)


def text_of(name: str) -> str:
    cmdlet = find(name)
    assert cmdlet is not None
    return function_text(cmdlet)


def test_the_surface_is_the_reference_pages() -> None:
    scope = text_of("New-ManagementScope")
    # the sets that only exist on premises are gone, and so are their parameters
    assert "Database" not in scope
    assert "[Parameter(Mandatory = $true)] [string] $RecipientRestrictionFilter" in scope
    assert "[Parameter()] [switch] $Exclusive" in scope
    assert "SupportsShouldProcess = $true" in scope
    assert "$Confirm" not in scope, "ShouldProcess gives it"
    assignment = text_of("New-ManagementRoleAssignment")
    assert "[Parameter(ParameterSetName = 'App', Mandatory = $true)] [object] $App" in assignment
    assert "[Parameter(Position = 0)] [string] $Name" in assignment
    assert "ParameterSetName = 'User', Mandatory = $true" in assignment
    policy = text_of("New-ApplicationAccessPolicy")
    assert "[ValidateSet('RestrictAccess', 'DenyAccess')] [string] $AccessRight" in policy
    assert "DefaultParameterSetName = 'Identity'" in text_of("Get-Recipient")
    assert "ShouldProcess" not in text_of("Get-Recipient")
    assert "SupportsShouldProcess" in text_of("Test-ServicePrincipalAuthorization"), "its page has -Confirm"
    assert "ConfirmImpact = 'High'" in text_of("Remove-ManagementScope")


def test_every_cmdlet_is_exported_once() -> None:
    exported = re.findall(r"'([A-Za-z]+-[A-Za-z]+)'", manifest_text())
    defined = re.findall(r"^function ([A-Z][a-z]+-[A-Za-z]+) ", module_text(PLACE), re.M)
    assert len(exported) == len(set(exported)) == 40
    assert set(exported) <= set(defined)
    assert len(defined) == len(set(defined))
    assert {name for name in set(defined) - set(exported) if "Sandbox" not in name} == {"Write-ErrorMessage"}


def test_its_place_stands_in_literals_only(tmp_path: Path) -> None:
    written = write_module(tmp_path, PLACE)
    script = (written / f"{NAME}.psm1").read_bytes()
    assert script.startswith(b"\xef\xbb\xbf"), "Windows PowerShell 5.1 reads anything else in the machine's code page"
    assert "it’’s $(ca).pem'" in script.decode("utf-8-sig")
    constant = Path(sys.modules["exoscope"].__file__ or "").parent / "data" / "sandbox_module.psm1"
    assert constant.read_bytes().isascii()


def test_only_our_own_module_is_replaced(tmp_path: Path) -> None:
    first = write_module(tmp_path, PLACE)
    assert write_module(tmp_path, PLACE) == first
    foreign = tmp_path / "other" / NAME
    foreign.mkdir(parents=True)
    (foreign / f"{NAME}.psd1").write_text("@{ GUID = 'b5eced50-afa4-455b-847a-d8fb64140a22' }", encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        write_module(tmp_path / "other", PLACE)
    assert refused.value.code == "exists"
    assert list(foreign.iterdir()) == [foreign / f"{NAME}.psd1"]


def test_every_template_finds_its_parameters() -> None:
    """A parameter that a template uses is offered, or comes with ShouldProcess or CmdletBinding."""
    common = {"ErrorAction", "WarningAction", "Verbose"}
    for name in templates():
        for pipeline in read(render(name, sample_values(name))):
            for operation in pipeline:
                if operation.cmdlet == SELECT:
                    continue
                text = text_of(operation.cmdlet)
                given = set(re.findall(r"\] \$([A-Za-z0-9]+)", text)) | common
                given |= {"WhatIf", "Confirm"} if "SupportsShouldProcess" in text else set()
                assert set(operation.parameters) <= given, name
