# A stand-in for the module: the few cmdlets that a grant needs (a group is there, or is not), over one JSON file, each call noted.
# EXO_DIE names a cmdlet after whose work the process is gone; EXO_FAIL one that answers an error and does nothing;
# EXO_LOST one that does its work and answers an error.
function Use-State([scriptblock] $Change) {
    $state = [System.IO.File]::ReadAllText($env:EXO_STATE) | ConvertFrom-Json
    $answer = & $Change $state
    [System.IO.File]::WriteAllText($env:EXO_STATE, (ConvertTo-Json -InputObject $state -Depth 8))
    $answer
}
function Write-Call([string] $Name, [string] $About) {
    $null = Use-State { param($state) $state.calls = @($state.calls) + "$Name $About" }
}
function Write-Missing([string] $Cmdlet, [string] $Identity) {
    Write-Error -Message "Ex6F9304|Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException|The operation couldn't be performed because object '$Identity' couldn't be found." -ErrorId 'ManagementObjectNotFoundException' -Category 'NotSpecified'
}
function Find-Row([string] $Table, [string] $Column, [string] $Identity, [string] $Cmdlet) {
    $rows = Use-State { param($state) $state.$Table }
    if (-not $Identity) { return $rows }
    $found = @($rows | Where-Object { $_.$Column -eq $Identity })
    if ($found.Count) { return $found }
    Write-Missing $Cmdlet $Identity
}
function Add-Row([string] $Cmdlet, [string] $Table, $Row) {
    Write-Call $Cmdlet "$($Row.Name)$($Row.DisplayName)"
    if ($env:EXO_FAIL -eq $Cmdlet) { Write-Error -Message 'Ex1|InvalidOperation|It did not work out.'; return }
    $null = Use-State { param($state) $state.$Table = @($state.$Table) + $Row }
    if ($env:EXO_DIE -eq $Cmdlet) { [Environment]::Exit(9) }
    if ($env:EXO_LOST -eq $Cmdlet) { Write-Error -Message 'The operation has timed out.'; return }
    $Row
}
function Get-ConnectionInformation { [CmdletBinding()] param()
    [pscustomobject]@{ ConnectionId = 'c'; State = 'Connected'; TokenStatus = 'Active'; TenantID = (Use-State { param($state) $state.tenant }) } }
function Get-ServicePrincipal { [CmdletBinding()] param([string] $Identity) Find-Row 'pointers' 'ObjectId' $Identity 'Get-ServicePrincipal' }
function Get-ManagementScope { [CmdletBinding()] param([string] $Identity) Find-Row 'scopes' 'Name' $Identity 'Get-ManagementScope' }
function Get-ManagementRoleAssignment { [CmdletBinding()] param([string] $Identity) Find-Row 'assignments' 'Name' $Identity 'Get-ManagementRoleAssignment' }
function New-ServicePrincipal { [CmdletBinding(SupportsShouldProcess = $true)] param([string] $AppId, [string] $ObjectId, [string] $DisplayName)
    Add-Row 'New-ServicePrincipal' 'pointers' ([pscustomobject]@{ AppId = $AppId; ObjectId = $ObjectId; DisplayName = $DisplayName }) }
function New-ManagementScope { [CmdletBinding(SupportsShouldProcess = $true)] param([string] $Name, [string] $RecipientRestrictionFilter)
    # Exchange gives a filter back in its own spelling.
    $filter = '((' + $RecipientRestrictionFilter.Replace(' -eq ', '   -eq ').Replace('MemberOfGroup', 'memberofgroup') + '))'
    Add-Row 'New-ManagementScope' 'scopes' ([pscustomobject]@{ Name = $Name; ScopeRestrictionType = 'RecipientScope'; Exclusive = $false; RecipientRoot = $null; RecipientFilter = $filter }) }
function New-ManagementRoleAssignment { [CmdletBinding(SupportsShouldProcess = $true)] param([string] $Name, [string] $Role, [string] $App, [string] $CustomResourceScope)
    Add-Row 'New-ManagementRoleAssignment' 'assignments' ([pscustomobject]@{ Name = $Name; Role = $Role; RoleAssigneeName = $App; RoleAssigneeType = 'ServicePrincipal'
            Enabled = $true; RecipientWriteScope = 'CustomRecipientScope'; CustomResourceScope = $CustomResourceScope; CustomRecipientWriteScope = $null }) }
function Get-DistributionGroup { [CmdletBinding()] param([string] $Identity, [string] $ResultSize) Find-Row 'groups' 'Name' $Identity 'Get-DistributionGroup' }
function Get-Group { [CmdletBinding()] param([string] $Identity, [string] $ResultSize) Find-Row 'groups' 'Name' $Identity 'Get-Group' }
function Get-DistributionGroupMember { [CmdletBinding()] param([string] $Identity, [string] $ResultSize)
    $group = Find-Row 'groups' 'Name' $Identity 'Get-DistributionGroupMember'
    foreach ($guid in $group.Members) { [pscustomobject]@{ Guid = $guid } } }
function Set-DistributionGroup { [CmdletBinding(SupportsShouldProcess = $true)]
    param([string] $Identity, [bool] $HiddenFromAddressListsEnabled, [string] $MemberJoinRestriction, [string] $MemberDepartRestriction, [switch] $BypassSecurityGroupManagerCheck)
    Write-Call 'Set-DistributionGroup' $Identity
    $null = Use-State { param($state) foreach ($group in $state.groups) { if ($group.Guid -eq $Identity) { $group.HiddenFromAddressListsEnabled = $HiddenFromAddressListsEnabled } } } }
Export-ModuleMember -Function Get-ConnectionInformation, Get-ServicePrincipal, Get-ManagementScope, Get-ManagementRoleAssignment, New-ServicePrincipal, New-ManagementScope, New-ManagementRoleAssignment, Get-DistributionGroup, Get-Group, Get-DistributionGroupMember, Set-DistributionGroup
