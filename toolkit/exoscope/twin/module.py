"""The twin's stand-in for the ExchangeOnlineManagement module: PowerShell functions made from the carried table of cmdlets,
which call the twin's admin API. With it any script can be tried in the admin's own PowerShell against the twin.

What is generated is the cmdlets' surface: names, parameters, types, parameter sets, what is mandatory, ShouldProcess. What a
cmdlet does is the twin's; the constant part between the two is ``data/sandbox_module.psm1``.
"""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

import msgspec

from exoscope.outcome import BadInput
from exoscope.powershell import literal
from exoscope.powershell.cmdlets import SELECT, SWITCH, Cmdlet, Parameter, catalogue
from exoscope.system import make_private_dir, write_private

NAME = "ExchangeOnlineManagement"
VERSION = "3.9.2"
_GUID = "5d0f6c1e-6e0c-4c53-9a57-0d3d2a4c7f10"
_OWN = {
    "connect-exchangeonline": "Connect-Sandbox $PSCmdlet $PSBoundParameters",
    "disconnect-exchangeonline": "if ($PSCmdlet.ShouldProcess('the sandbox', 'Disconnect-ExchangeOnline')) { Disconnect-Sandbox }",
    "get-connectioninformation": "Get-SandboxConnection",
    "get-exomailbox": "Invoke-SandboxExo $PSCmdlet 'Get-EXOMailbox' 'Get-Mailbox' $PSBoundParameters",
    "get-exorecipient": "Invoke-SandboxExo $PSCmdlet 'Get-EXORecipient' 'Get-Recipient' $PSBoundParameters",
}
_READING = ("Get", "Test", "Connect")
# Beside -Identity everywhere: what the reference pages give the first position, and what they let come down the pipeline.
_FIRST = frozenset(
    [
        ("New-DistributionGroup", "Name"),
        ("New-ManagementRoleAssignment", "Name"),
        ("New-ManagementScope", "Name"),
    ]
)
_PIPED = frozenset([("Add-DistributionGroupMember", "Member"), ("Remove-DistributionGroupMember", "Member")])
# Types that PowerShell itself has. Exchange's own (identities, enumerations, Unlimited) take what converts to text.
_TYPES = {
    SWITCH: "switch",
    "Boolean": "bool",
    "String": "string",
    "String[]": "string[]",
    "Fqdn": "string",
    "Guid": "guid",
    "SecureString": "securestring",
    "SmtpAddress": "string",
    "UInt32": "uint32",
}
_COMMON = (
    "Verbose",
    "Debug",
    "ErrorAction",
    "WarningAction",
    "InformationAction",
    "ErrorVariable",
    "WarningVariable",
    "InformationVariable",
    "OutVariable",
    "OutBuffer",
    "PipelineVariable",
    "ProgressAction",
    "WhatIf",
    "Confirm",
)


class Place(msgspec.Struct, frozen=True):
    """Where the twin is: ``origin`` of Exchange, the tenant's Guid and initial domain, and the PEM file of its authority.

    ``operator`` signs in where a script names no access token: its app id, with the secret that lies in the file ``secret``,
    at ``authority`` (the tenant's address there). Without a file only access tokens are taken.
    """

    origin: str
    tenant: str
    domain: str
    ca: Path
    authority: str = ""
    operator: str = ""
    secret: Path | None = None


def write_module(folder: Path, place: Place) -> Path:
    """Write the module into ``folder`` (to be named in PSModulePath), replacing one of ours; the module's own folder.

    Raises BadInput when a module of that name is there which no sandbox wrote, or when it cannot be written.
    """
    own = folder / NAME
    manifest = own / f"{NAME}.psd1"
    if own.exists() and not (manifest.is_file() and _GUID in manifest.read_text(encoding="utf-8-sig")):
        raise BadInput(f"{own} is there already and no sandbox wrote it", code="exists", next="Name another folder.")
    make_private_dir(own)
    # with a byte order mark: Windows PowerShell 5.1 reads a file without one in the machine's own code page
    _put(own / f"{NAME}.psm1", module_text(place))
    _put(manifest, manifest_text())
    return own


def manifest_text() -> str:
    """The module's manifest."""
    names = ", ".join(literal(cmdlet.name) for cmdlet in _cmdlets())
    return (
        "@{\n"
        f"    RootModule = '{NAME}.psm1'\n    ModuleVersion = '{VERSION}'\n    GUID = '{_GUID}'\n    Author = 'exoscope'\n"
        "    Description = 'The exoscope sandbox in the place of Exchange Online. Not a module of Microsoft.'\n"
        f"    PowerShellVersion = '5.1'\n    FunctionsToExport = @({names})\n"
        "    CmdletsToExport = @()\n    AliasesToExport = @()\n    VariablesToExport = @()\n}\n"
    )


def module_text(place: Place) -> str:
    """The module's script: where the twin is, the constant part, one function a cmdlet."""
    constant = files("exoscope").joinpath("data/sandbox_module.psm1").read_text(encoding="utf-8")
    here = (
        f"$Sandbox = @{{ Origin = {literal(place.origin)}; Tenant = {literal(place.tenant)}; "
        f"Domain = {literal(place.domain)}; Ca = {literal(str(place.ca))}; Authority = {literal(place.authority)}; "
        f"Operator = {literal(place.operator)}; Secret = {literal('' if place.secret is None else str(place.secret))} }}\n"
        f"$Common = @({', '.join(literal(name) for name in _COMMON)})\n"
    )
    return "\n".join([here, constant, *(function_text(cmdlet) for cmdlet in _cmdlets())])


def function_text(cmdlet: Cmdlet) -> str:
    """A cmdlet as a function with the surface that the reference pages give it in Exchange Online."""
    shown = [each for each in cmdlet.parameters.values() if each.online is not False and cmdlet.has(each.name)]
    offered = {each.name for each in shown}
    sets = [each for each in cmdlet.sets if each.mandatory <= offered]
    # a Test- may have -Confirm too; a cmdlet that changes something has it even where its page forgot
    changes = cmdlet.has("Confirm") or cmdlet.name.partition("-")[0] not in _READING
    settings = ["PositionalBinding = $false"]
    if len(sets) > 1:
        settings.append(f"DefaultParameterSetName = {literal(_default(cmdlet))}")
    if changes:
        impact = "High" if cmdlet.name.startswith(("Remove-", "Disconnect-")) else "Medium"
        settings.append(f"SupportsShouldProcess = $true, ConfirmImpact = '{impact}'")
    lines: list[str] = []
    for parameter in shown:
        if parameter.name in ("WhatIf", "Confirm"):
            continue
        held = [each for each in sets if parameter.name in each.allowed]
        if not held:
            continue
        everywhere = len(held) == len(sets) and len({parameter.name in each.mandatory for each in sets}) == 1
        attributes = [
            _attribute(cmdlet, parameter, "" if everywhere else _bare(each.name), parameter.name in each.mandatory)
            for each in (held[:1] if everywhere else held)
        ]
        lines.append(f"        {' '.join([*attributes, _type(parameter)])} ${parameter.name}")
    body = _OWN.get(cmdlet.name.casefold())
    if body is None:
        call = f"Invoke-SandboxCmdlet $PSCmdlet {literal(cmdlet.name)} $PSBoundParameters"
        body = (
            f"if ($PSCmdlet.ShouldProcess({_target(offered)}, {literal(cmdlet.name)})) {{ {call} }}"
            if changes
            else call
        )
    return (
        f"function {cmdlet.name} {{\n    [CmdletBinding({', '.join(settings)})]\n    param(\n"
        + ",\n".join(lines)
        + f"\n    )\n    process {{ {body} }}\n}}\n"
    )


def _cmdlets() -> list[Cmdlet]:
    return [cmdlet for cmdlet in catalogue().values() if cmdlet.name != SELECT]


def _bare(name: str) -> str:
    return name.removesuffix(" (Default)")


def _default(cmdlet: Cmdlet) -> str:
    named = [each for each in cmdlet.sets if each.name.endswith(" (Default)")]
    named += [each for each in cmdlet.sets if each.name == "Identity"]
    # PowerShell takes the default where several sets would do: the one that asks for least never asks in vain
    return _bare((named or sorted(cmdlet.sets, key=lambda each: len(each.mandatory)))[0].name)


def _attribute(cmdlet: Cmdlet, parameter: Parameter, parameter_set: str, mandatory: bool) -> str:
    said = [f"ParameterSetName = {literal(parameter_set)}"] if parameter_set else []
    if mandatory:
        said.append("Mandatory = $true")
    if parameter.name == "Identity":
        said.append("Position = 0, ValueFromPipeline = $true, ValueFromPipelineByPropertyName = $true")
    elif (cmdlet.name, parameter.name) in _FIRST:
        said.append("Position = 0")
    elif (cmdlet.name, parameter.name) in _PIPED:
        said.append("ValueFromPipeline = $true")
    return f"[Parameter({', '.join(said)})]"


def _type(parameter: Parameter) -> str:
    choices = re.search(r"\((\w+(?: \| \w+)+)\)", parameter.type)
    if choices:
        return f"[ValidateSet({', '.join(literal(each) for each in choices[1].split(' | '))})] [string]"
    return f"[{_TYPES.get(parameter.type, 'object')}]"


def _target(offered: set[str]) -> str:
    named = next((name for name in ("Identity", "Name", "AppId") if name in offered), None)
    return "'the organization'" if named is None else f"(ConvertTo-SandboxValue ${named})"


def _put(path: Path, text: str) -> None:
    write_private(path, b"\xef\xbb\xbf" + text.replace("\n", os.linesep).encode(), replace=True)
