"""What an operator needs, for what, and what stands for it: tables, and what of them one plan needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from exoscope import powershell
from exoscope.model import Noun, Plan

SELECT: Final = "Select-Object"
GIVES: Final = "New-ManagementRoleAssignment"
CUSTOMISE: Final = "Enable-OrganizationCustomization"
CUSTOM: Final = frozenset({"management_scope", "role_assignment"})
"""Kinds of objects that Exchange makes only in an organisation that has been customised (Enable-OrganizationCustomization)."""


class CmdletNeed(Noun, frozen=True):
    """Cmdlets for one purpose. ``role``: the management role that templates name for them; which roles of a tenant hold a cmdlet is
    the tenant's own word. ``always``: asked of every operator; else only of one who changes the tenant.
    """

    purpose: str
    role: str
    cmdlets: tuple[str, ...]
    always: bool = False


class GraphNeed(Noun, frozen=True):
    """A Graph permission, what for, and the wider ones that do as well (Graph's permissions reference). ``perhaps``: one that does
    only for apps which the operator owns. ``always`` as above.
    """

    permission: str
    purpose: str
    wider: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    always: bool = True


_DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All")

READING: Final = (
    CmdletNeed(
        "reading the configuration",
        "View-Only Configuration",
        (
            "Get-AdministrativeUnit",
            "Get-ApplicationAccessPolicy",
            "Get-ManagementRole",
            "Get-ManagementRoleAssignment",
            "Get-ManagementScope",
            "Get-OrganizationConfig",
            "Get-ServicePrincipal",
        ),
        always=True,
    ),
    CmdletNeed(
        "reading recipients",
        "View-Only Recipients",
        (
            "Get-DistributionGroup",
            "Get-DistributionGroupMember",
            "Get-Group",
            "Get-Recipient",
            "Get-UnifiedGroupLinks",
        ),
        always=True,
    ),
)
TESTING: Final = (
    CmdletNeed(
        "Exchange's test of role assignments", "Role Management", ("Test-ServicePrincipalAuthorization",), always=True
    ),
    CmdletNeed(
        "Exchange's test of access policies", "View-Only Configuration", ("Test-ApplicationAccessPolicy",), always=True
    ),
)
CHANGING: Final = (
    CmdletNeed(
        "pointers, scopes and assignments",
        "Role Management",
        (
            "New-ManagementRoleAssignment",
            "New-ManagementScope",
            "New-ServicePrincipal",
            "Remove-ManagementRoleAssignment",
            "Remove-ManagementScope",
            "Remove-ServicePrincipal",
            "Set-ManagementRoleAssignment",
            "Set-ManagementScope",
        ),
    ),
    CmdletNeed(
        "access policies",
        "Organization Configuration",
        ("New-ApplicationAccessPolicy", "Remove-ApplicationAccessPolicy"),
    ),
    CmdletNeed("customising the organisation", "Organization Configuration", (CUSTOMISE,)),
    CmdletNeed(
        "making managed groups",
        "Security Group Creation and Membership",
        (
            "Add-DistributionGroupMember",
            "New-DistributionGroup",
            "Remove-DistributionGroup",
            "Remove-DistributionGroupMember",
        ),
    ),
    CmdletNeed("settings of managed groups", "Distribution Groups", ("Set-DistributionGroup",)),
)
EVERY_CMDLET: Final = (*READING, *TESTING, *CHANGING)

GRAPH_READING: Final = (
    GraphNeed("Application.Read.All", "apps and what they hold", ("Application.ReadWrite.All", *_DIRECTORY)),
    GraphNeed("User.Read.All", "members who are users", ("User.ReadWrite.All", *_DIRECTORY)),
    GraphNeed(
        "GroupMember.Read.All",
        "members of groups that Exchange does not tell",
        ("GroupMember.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All", *_DIRECTORY),
    ),
    GraphNeed(
        "AdministrativeUnit.Read.All",
        "administrative units and their members",
        ("AdministrativeUnit.ReadWrite.All", *_DIRECTORY),
    ),
    GraphNeed("Organization.Read.All", "proof of the tenant", ("Organization.ReadWrite.All", *_DIRECTORY)),
    GraphNeed(
        "Policy.Read.All",
        "token-lifetime policies, which lengthen waits",
        ("Policy.Read.ApplicationConfiguration", "Policy.ReadWrite.ApplicationConfiguration"),
    ),
)
GRAPH_CHANGING: Final = (
    GraphNeed("AppRoleAssignment.ReadWrite.All", "consents", always=False),
    GraphNeed(
        "Application.ReadWrite.All",
        "what apps request",
        perhaps=("Application.ReadWrite.OwnedBy",),
        always=False,
    ),
)

# Roles of Entra that Exchange knows, by template id. Sources: Entra's built-in roles reference for the ids; "App-only
# authentication for unattended scripts in Exchange Online PowerShell", its table of roles, for what Exchange makes of them.
ADMINISTRATORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "29232cdf-9323-42fd-ade2-1d097af3e4de": "Exchange Administrator",
        "62e90394-69f5-4237-9190-012177145e10": "Global Administrator",
    }
)
READERS: Final[Mapping[str, str]] = MappingProxyType({"f2ef992c-3afb-46b9-b7cf-a126ee74c451": "Global Reader"})
ALL_POWERFUL: Final = "Organization Management"
"""The role group of Exchange Administrators; it has delegating assignments of the application roles (application-rbac)."""


class Needs(Noun, frozen=True):
    """What is asked of the operator. ``gives``: application roles that a plan assigns; ``custom``: a plan makes what needs a
    customised organisation, ``customises``: it has the step for that. ``apps``: the apps it is about. ``plan``: its hash; None: no
    plan was named, so what only changes need is told and is no failure.
    """

    cmdlets: tuple[CmdletNeed, ...]
    graph: tuple[GraphNeed, ...]
    gives: tuple[str, ...] = ()
    custom: bool = False
    customises: bool = False
    apps: tuple[str, ...] = ()
    plan: str | None = None


EVERYTHING: Final = Needs(EVERY_CMDLET, (*GRAPH_READING, *GRAPH_CHANGING))


def needs_of(plan: Plan, hash: str) -> Needs:
    """Exactly what one plan needs: what every command reads, the tests of its gates, and what its steps say they need."""
    used: dict[tuple[str, ...], dict[str, None]] = {}
    for step in plan.steps:
        if step.script is not None:
            used.setdefault(step.needs, {}).update(dict.fromkeys(_cmdlets(step.script)))
    permissions = {each for step in plan.steps if step.script is None for each in step.needs}
    asked = {evidence for stage in plan.stages for gate in stage.gates for evidence in gate.evidence}
    tests = [each for each, wanted in zip(TESTING, ("exchange", "policy"), strict=True) if wanted in asked]
    known = {need.permission: need for need in GRAPH_CHANGING}
    return Needs(
        cmdlets=(
            *READING,
            *tests,
            *(
                CmdletNeed(_purpose(names), " and ".join(roles), tuple(sorted(names)))
                for roles, names in sorted(used.items())
            ),
        ),
        graph=(
            *GRAPH_READING,
            *(known.get(each) or GraphNeed(each, "its steps", always=False) for each in sorted(permissions)),
        ),
        gives=tuple(sorted({str(step.values["role"]) for step in plan.steps if _gives(step.script, step.values)})),
        custom=any(step.target.kind in CUSTOM and step.after is not None for step in plan.steps),
        customises=any(step.target.kind == "organization" for step in plan.steps),
        apps=tuple(app.app_id for app in plan.apps),
        plan=hash,
    )


def documented(cmdlet: str) -> str | None:
    """The management role that templates name for a cmdlet."""
    folded = cmdlet.casefold()
    return next((need.role for need in EVERY_CMDLET if folded in map(str.casefold, need.cmdlets)), None)


def _purpose(names: Iterable[str]) -> str:
    """What these cmdlets are for, in the words of the table."""
    held = {name.casefold() for name in names}
    found = [need.purpose for need in CHANGING if held & {name.casefold() for name in need.cmdlets}]
    return ", ".join(found) or "its steps"


def _gives(script: str | None, values: Mapping[str, object]) -> bool:
    return script is not None and "role" in values and GIVES in _cmdlets(script)


def _cmdlets(script: str) -> list[str]:
    return [each.cmdlet for pipeline in powershell.read(script) for each in pipeline if each.cmdlet != SELECT]
