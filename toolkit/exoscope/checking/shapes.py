"""The shapes of first contact: a table of what every answer that a plan decides from must look like.

Sources of the words: the RecipientTypeDetails and RecipientType enumerations (Exchange Server's managed API reference) with those
that Exchange Online added (Get-Recipient, -RecipientTypeDetails); Get-ManagementRoleAssignment, New-ManagementRoleAssignment and
Get-ManagementScope; Test-ServicePrincipalAuthorization and Test-ApplicationAccessPolicy; Graph's resource types. Where no source
tells a word (the ScopeType of a group's scope), none is in the table, and a tenant that has one says so.
"""

from __future__ import annotations

from typing import Final

from exoscope.checking.contact import Column, Shape
from exoscope.exchange.inventory import (
    RawAssignment,
    parse_assignment,
    parse_management_scope,
    parse_organization,
    parse_policy,
    parse_role,
    parse_service_principal,
    parse_unit,
)
from exoscope.exchange.recipients import parse_group, parse_restrictions
from exoscope.exchange.rows import Cells
from exoscope.exchange.tests import parse_authorization
from exoscope.model import ManagementScopeScope
from exoscope.outcome import ServiceError

MAILBOXES: Final = ("UserMailbox", "SharedMailbox", "RoomMailbox", "EquipmentMailbox")
OTHERS: Final = ("MailUser", "GuestMailUser", "MailContact")
GROUPS: Final = (
    "MailUniversalDistributionGroup",
    "MailUniversalSecurityGroup",
    "DynamicDistributionGroup",
    "GroupMailbox",
    "RoomList",
)
KINDS: Final = (*MAILBOXES, *OTHERS, *GROUPS)
"""The kinds of recipients of which one each is asked for: by kind, since Get-Recipient answers Microsoft 365 groups only so."""

DETAILS: Final = (
    *KINDS,
    "ArbitrationMailbox",
    "AuditLogMailbox",
    "AuxAuditLogMailbox",
    "Computer",
    "Contact",
    "DisabledUser",
    "DiscoveryMailbox",
    "LegacyMailbox",
    "LinkedMailbox",
    "LinkedRoomMailbox",
    "LinkedUser",
    "MailboxPlan",
    "MailForestContact",
    "MailNonUniversalGroup",
    "MicrosoftExchange",
    "MonitoringMailbox",
    "NonUniversalGroup",
    "PublicFolder",
    "PublicFolderMailbox",
    "RemoteEquipmentMailbox",
    "RemoteRoomMailbox",
    "RemoteSharedMailbox",
    "RemoteTeamMailbox",
    "RemoteUserMailbox",
    "RoleGroup",
    "SchedulingMailbox",
    "SharedWithMailUser",
    "SupervisoryReviewPolicyMailbox",
    "SystemAttendantMailbox",
    "SystemMailbox",
    "TeamMailbox",
    "UniversalDistributionGroup",
    "UniversalSecurityGroup",
    "User",
)
TYPES: Final = (
    "UserMailbox",
    "MailUser",
    "MailContact",
    "MailUniversalDistributionGroup",
    "MailUniversalSecurityGroup",
    "MailNonUniversalGroup",
    "DynamicDistributionGroup",
    "Contact",
    "Group",
    "MicrosoftExchange",
    "PublicFolder",
    "SystemAttendantMailbox",
    "SystemMailbox",
    "User",
)
SCOPES: Final = (
    "Organization",
    "CustomRecipientScope",
    "AdministrativeUnit",
    "Group",
    "None",
    "NotApplicable",
    "OU",
    "Self",
    "MyGAL",
    "MyDirectReports",
    "MyDistributionGroups",
    "MyExecutive",
    "MailboxICanDelegate",
    "ExclusiveRecipientScope",
)
"""What RecipientWriteScope may say (New-ManagementRoleAssignment). Which of them an application's assignment has no source tells in
full; so what counts is that the scope is understood from all of its columns together.
"""
_RESTRICTIONS = ("Open", "Closed", "ApprovalRequired")


def _assignment(cells: Cells) -> RawAssignment | None:
    """An assignment whose scope is understood."""
    read = parse_assignment(cells)
    if read is not None and isinstance(read.scope, ManagementScopeScope) and read.scope.name.startswith("("):
        kind = cells.optional("RecipientWriteScope")
        raise ServiceError(f"the scope of an assignment is not understood (RecipientWriteScope {kind})")
    return read


_ID = Column("Guid", "guid")
_DIRECTORY_ID = Column("ExternalDirectoryObjectId", "guid", null=True)
_DN = Column("DistinguishedName", "dn")
_DETAILS = Column("RecipientTypeDetails", "word", words=DETAILS)
_RECIPIENT = (
    _ID,
    _DIRECTORY_ID,
    Column("Name"),
    Column("DisplayName", null=True),
    Column("PrimarySmtpAddress", null=True),
    Column("EmailAddresses", "texts", null=True),
    _DN,
    Column("RecipientType", "word", words=TYPES),
    _DETAILS,
)
_MEMBER = (_ID, Column("RecipientType", "word", words=TYPES), _DETAILS)
_AUTHORIZATION = (
    Column("RoleName"),
    Column("GrantedPermissions", "texts"),
    Column("AllowedResourceScope"),
    Column("ScopeType", "word", words=("CustomRecipientScope", "AdministrativeUnit", "Organization")),
)

ORGANIZATION: Final = Shape(
    "organization",
    "exchange",
    (
        Column("Guid", "guid"),
        Column("ExternalDirectoryOrganizationId", "guid"),
        Column("IsDehydrated", "flag"),
        Column("EwsEnabled", "flag", null=True),
        Column("EwsAllowedAppIDs", "texts", null=True, absent=True),
        Column("EnforceExoAppRbacPermissions", "flag", null=True, absent=True),
    ),
    parse_organization,
)
SERVICE_PRINCIPAL: Final = Shape(
    "service-principal",
    "exchange",
    (
        Column("AppId", "guid"),
        Column("ObjectId", "guid"),
        Column("DisplayName", null=True),
        Column("OverrideEnforceExoAppRbacPermissions", "flag", null=True, absent=True),
    ),
    parse_service_principal,
)
MANAGEMENT_SCOPE: Final = Shape(
    "management-scope",
    "exchange",
    (
        Column("Name"),
        Column(
            "ScopeRestrictionType",
            "word",
            words=(
                "RecipientScope",
                "ServerScope",
                "DatabaseScope",
                "PartnerDelegatedTenantScope",
                "DomainScope",
                "NotApplicable",
            ),
        ),
        Column("Exclusive", "flag"),
        Column("RecipientRoot", null=True),
        Column("RecipientFilter", null=True),
    ),
    parse_management_scope,
)
ROLE: Final = Shape("role", "exchange", (Column("Name"),), parse_role)
ROLE_ASSIGNMENT: Final = Shape(
    "role-assignment",
    "exchange",
    (
        Column("Name"),
        Column("Role"),
        Column("RoleAssigneeName"),
        Column("RoleAssigneeType", "word", words=("ServicePrincipal", "RoleGroup", "User", "SecurityGroup")),
        Column("RoleAssignmentDelegationType", "word", words=("Regular", "Delegating", "DelegatingOrgWide")),
        Column("Enabled", "flag"),
        Column("RecipientWriteScope", "word", words=SCOPES),
        Column("CustomRecipientWriteScope", null=True),
        Column("CustomResourceScope", null=True),
    ),
    _assignment,
)
ACCESS_POLICY: Final = Shape(
    "access-policy",
    "exchange",
    (
        Column("Identity"),
        Column("AppId"),
        Column("AccessRight", "word", words=("RestrictAccess", "DenyAccess")),
        Column("ScopeName", null=True),
        Column("ScopeIdentityRaw", "policy-scope"),
        Column("Description", null=True),
        Column("IsValid", "flag"),
    ),
    parse_policy,
)
EXCHANGE_UNIT: Final = Shape(
    "exchange-administrative-unit",
    "exchange",
    (_ID, Column("ExternalDirectoryObjectId", "guid"), Column("DisplayName", null=True)),
    parse_unit,
)
RECIPIENT: Final = Shape("recipient", "exchange", _RECIPIENT)
KIND: Final = {kind: Shape(f"recipient-{kind}", "exchange", _RECIPIENT, decides=False) for kind in KINDS}
"""A recipient of each kind. That none of a kind could be read is told; the recipients as a whole must be readable."""
GROUP: Final = Shape(
    "group",
    "exchange",
    (
        _ID,
        _DIRECTORY_ID,
        Column("Sid", null=True),
        Column("Name"),
        Column("WindowsEmailAddress", null=True),
        _DN,
        _DETAILS,
        Column("ManagedBy", "texts", null=True),
    ),
    parse_group,
)
DISTRIBUTION_GROUP: Final = Shape(
    "distribution-group",
    "exchange",
    (
        _ID,
        _DETAILS,
        Column("MemberJoinRestriction", "word", null=True, words=_RESTRICTIONS),
        Column("MemberDepartRestriction", "word", null=True, words=_RESTRICTIONS),
    ),
    parse_restrictions,
)
GROUP_MEMBER: Final = Shape("distribution-group-member", "exchange", _MEMBER)
UNIFIED_MEMBER: Final = Shape("unified-group-member", "exchange", _MEMBER)
AUTHORIZATION: Final = Shape(
    "test-authorization",
    "exchange",
    (*_AUTHORIZATION, Column("InScope", "word", words=("True", "False"))),
    parse_authorization,
)
AUTHORIZATIONS: Final = Shape(
    "test-authorizations",
    "exchange",
    (*_AUTHORIZATION, Column("InScope", "word", words=("Not Run",))),
    parse_authorization,
)
POLICY_TEST: Final = Shape(
    "test-access-policy",
    "exchange",
    (Column("AppId", "guid"), Column("AccessCheckResult", "word", words=("Granted", "Denied"))),
)

GRAPH_ORGANIZATION: Final = Shape(
    "graph-organization", "graph", (Column("id", "guid"), Column("verifiedDomains", "list"))
)
APPLICATION: Final = Shape(
    "application",
    "graph",
    (
        Column("id", "guid"),
        Column("appId", "guid"),
        Column("requiredResourceAccess", "list"),
        Column("passwordCredentials", "list"),
        Column("keyCredentials", "list"),
    ),
)
PRINCIPAL: Final = Shape(
    "graph-service-principal",
    "graph",
    (
        Column("id", "guid"),
        Column("appId", "guid"),
        Column("displayName", null=True),
        Column(
            "servicePrincipalType",
            "word",
            words=("Application", "ManagedIdentity", "Legacy", "SocialIdp", "ServiceIdentity"),
        ),
        Column("accountEnabled", "flag"),
        Column("appOwnerOrganizationId", "guid", null=True),
        Column("passwordCredentials", "list"),
        Column("keyCredentials", "list"),
    ),
)
RESOURCE: Final = Shape(
    "graph-resource", "graph", (Column("id", "guid"), Column("appId", "guid"), Column("appRoles", "list"))
)
APP_ROLE: Final = Shape("app-role", "graph", (Column("id", "guid"), Column("value", null=True)))
APP_ROLE_ASSIGNMENT: Final = Shape(
    "app-role-assignment",
    "graph",
    (
        Column("id"),
        Column("principalId", "guid"),
        Column("principalType", "word", words=("ServicePrincipal", "User", "Group")),
        Column("resourceId", "guid"),
        Column("appRoleId", "guid"),
    ),
)
USER: Final = Shape("user", "graph", (Column("id", "guid"), Column("userPrincipalName")), decides=False)
GRAPH_GROUP: Final = Shape("graph-group", "graph", (Column("id", "guid"), Column("groupTypes", "list")), decides=False)
GRAPH_GROUP_MEMBER: Final = Shape("graph-group-member", "graph", (Column("id", "guid"),), decides=False)
UNIT: Final = Shape("administrative-unit", "graph", (Column("id", "guid"), Column("displayName", null=True)))
UNIT_MEMBER: Final = Shape("administrative-unit-member", "graph", (Column("id", "guid"),))

EVERY: Final = (
    ORGANIZATION,
    SERVICE_PRINCIPAL,
    MANAGEMENT_SCOPE,
    ROLE,
    ROLE_ASSIGNMENT,
    ACCESS_POLICY,
    EXCHANGE_UNIT,
    RECIPIENT,
    *KIND.values(),
    GROUP,
    DISTRIBUTION_GROUP,
    GROUP_MEMBER,
    UNIFIED_MEMBER,
    AUTHORIZATIONS,
    AUTHORIZATION,
    POLICY_TEST,
    GRAPH_ORGANIZATION,
    APPLICATION,
    PRINCIPAL,
    RESOURCE,
    APP_ROLE,
    APP_ROLE_ASSIGNMENT,
    USER,
    GRAPH_GROUP,
    GRAPH_GROUP_MEMBER,
    UNIT,
    UNIT_MEMBER,
)
