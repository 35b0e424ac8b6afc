# Scope the Omniscope connector to the mailboxes of a group.
# As a vendor might send it: it knows nothing of any sandbox, and uses what an admin's scripts use.
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [string] $AppId,
    [Parameter(Mandatory = $true)] [string] $ObjectId,
    [Parameter(Mandatory = $true)] [string] $Admin,
    [string] $GroupName = 'Omniscope mailboxes',
    [string] $ScopeName = 'Omniscope scope'
)
$ErrorActionPreference = 'Stop'
function Tell([string] $What, $Value) { Write-Output "told $What = $Value" }

Import-Module ExchangeOnlineManagement
Connect-ExchangeOnline -UserPrincipalName $Admin -ShowBanner:$false
Tell 'connected' (Get-ConnectionInformation).State

$group = Get-DistributionGroup -Identity $GroupName | Select-Object DisplayName, PrimarySmtpAddress, DistinguishedName
Tell 'group' $group.PrimarySmtpAddress
Tell 'members' @(Get-DistributionGroupMember $GroupName -ResultSize Unlimited | Where-Object RecipientTypeDetails -eq 'UserMailbox').Count

# The pointer, unless it is there.
try {
    $pointer = Get-ServicePrincipal -Identity $ObjectId -ErrorAction Stop
}
catch {
    if ($_.Exception.Message -notmatch "couldn't be found") { throw }
    $pointer = New-ServicePrincipal -AppId $AppId -ObjectId $ObjectId -DisplayName 'Omniscope'
    Tell 'pointer made' $pointer.DisplayName
}

# The scope: tried, then done.
$filter = "MemberOfGroup -eq '$($group.DistinguishedName)'"
New-ManagementScope -Name $ScopeName -RecipientRestrictionFilter $filter -WhatIf
Tell 'scopes after what if' @(Get-ManagementScope | Where-Object { $_.Name -eq $ScopeName }).Count
$null = New-ManagementScope $ScopeName -RecipientRestrictionFilter $filter
try { New-ManagementScope $ScopeName -RecipientRestrictionFilter $filter -ErrorAction Stop }
catch {
    Tell 'again' $_.CategoryInfo.Reason
    Tell 'again, text' ($_.Exception.Message -split '\|')[-1]
}
Tell 'last worked' $EXO_LastExecutionStatus

foreach ($role in 'Application Mail.Read', 'Application Calendars.Read') {
    $null = New-ManagementRoleAssignment -App $pointer.AppId -Role $role -CustomResourceScope $ScopeName
}
$assigned = Get-ManagementRoleAssignment -RoleAssignee $pointer.ObjectId
Tell 'roles' (($assigned | Sort-Object Role | ForEach-Object { $_.Role }) -join ', ')
Tell 'scope of roles' (@($assigned | Select-Object -ExpandProperty CustomResourceScope)[0])

$inside = 0
foreach ($mailbox in Get-Mailbox -ResultSize 12 -WarningAction SilentlyContinue) {
    $rows = Test-ServicePrincipalAuthorization -Identity $pointer.ObjectId -Resource $mailbox.Guid
    if (@($rows | Where-Object { $_.InScope -eq $true }).Count -eq 2) { $inside++ }
}
Tell 'inside' $inside
Test-ServicePrincipalAuthorization $pointer.ObjectId | ft
Tell 'not run' ((Test-ServicePrincipalAuthorization $pointer.ObjectId)[0].InScope)
Tell 'preview' @(Get-Recipient -Filter $filter -ResultSize Unlimited).Count

# The older way, and back.
$policy = New-ApplicationAccessPolicy -AppId $AppId -PolicyScopeGroupId $group.PrimarySmtpAddress -AccessRight RestrictAccess -Description "Omniscope's"
Tell 'ada' (Test-ApplicationAccessPolicy -Identity 'ada@contoso.com' -AppId $AppId).AccessCheckResult
Tell 'ceo' (Test-ApplicationAccessPolicy -Identity 'ceo@contoso.com' -AppId $AppId).AccessCheckResult
Get-ApplicationAccessPolicy -Identity $policy.Identity | Remove-ApplicationAccessPolicy -Confirm:$false
Tell 'policies' @(Get-ApplicationAccessPolicy | Where-Object AppId -eq $AppId).Count

# What an admin's scripts rest on.
$missing = Get-Mailbox -Identity 'nobody@contoso.com' -ErrorAction SilentlyContinue -ErrorVariable problem
Tell 'nobody' "$($null -eq $missing) $(@($problem).Count) $EXO_LastExecutionStatus"
Get-Mailbox -Filter "CustomAttribute1 -eq 'omniscope'" | Add-DistributionGroupMember -Identity 'Nobody yet' -BypassSecurityGroupManagerCheck
Tell 'piped members' @(Get-DistributionGroupMember 'Nobody yet').Count
Get-ManagementScope 'Unused since 2023' | Remove-ManagementScope -Confirm:$false
Tell 'unused' @(Get-ManagementScope | Where-Object { $_.Name -like 'Unused*' }).Count
$ada = Get-EXOMailbox -UserPrincipalName 'ada@contoso.com' -Properties CustomAttribute1
Tell 'types' "$($ada.Guid.GetType().Name) $($ada.ExternalDirectoryObjectId.GetType().Name) $(@($ada.EmailAddresses)[0].GetType().Name)"
Tell 'property sets' "$($ada.CustomAttribute1) $($null -eq $ada.Department) $((Get-Mailbox $ada.Guid.Guid).Department)"
Tell 'user' (Get-User $ada.UserPrincipalName).Department
Tell 'aliases' (Get-DistributionGroup -ResultSize Unlimited | Where-Object { $_.ManagedBy -contains 'Tenant Admin' } | Measure-Object).Count
Disconnect-ExchangeOnline -Confirm:$false
try { Get-Mailbox -ErrorAction Stop } catch { Tell 'disconnected' $_.Exception.Message }
