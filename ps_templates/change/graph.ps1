
function Get-ExoscopePages([string] $Path) {
    $next = $Path
    while ($next) {
        $page = Invoke-ExoscopeGraph 'GET' $next
        if ($null -eq $page.value) { throw 'ExoscopeAnswer: Graph answered no list.' }
        $page.value
        $next = $page.'@odata.nextLink'
    }
}

function Test-ExoscopeTenant {
    $found = @(Get-ExoscopePages '/organization?$select=id')
    if ($found.Count -ne 1 -or "$($found[0].id)" -ne $ExoscopeData['tenant']['id']) {
        throw "this session is in the tenant $($found[0].id); meant is $($ExoscopeData['tenant']['id'])."
    }
}

function Get-ExoscopeApp([string] $Kind, [string] $AppId, [string] $Select) {
    # One application or service principal by appId; null where it is not there.
    try { $found = Invoke-ExoscopeGraph 'GET' ('/' + $Kind + "(appId='" + $AppId + "')?`$select=" + $Select) }
    catch {
        if ((Get-ExoscopeStatus $_) -eq 404) { return $null }
        throw
    }
    if ("$($found.appId)" -ne $AppId) { throw "ExoscopeAnswer: Graph answered another app than $AppId." }
    return $found
}

function Read-ExoscopeObject($Step) {
    $key = $Step['key']
    if ($Step['kind'] -eq 'consent') {
        $resource = Get-ExoscopeApp 'servicePrincipals' $key['resource'] 'id,appId'
        if ($null -eq $resource) { throw "the tenant has no service principal of the resource $($key['resource'])." }
        $seen = @{ 'resource_id' = "$($resource.id)"; 'id' = ''; 'there' = $false }
        $app = Get-ExoscopeApp 'servicePrincipals' $key['app_id'] 'id,appId'
        if ($null -eq $app) { return $seen }
        foreach ($row in @(Get-ExoscopePages "/servicePrincipals/$($app.id)/appRoleAssignments")) {
            if ($row.resourceId -eq $resource.id -and $row.appRoleId -eq $key['app_role_id']) {
                $seen['there'] = $true
                $seen['id'] = "$($row.id)"
            }
        }
        return $seen
    }
    if ($Step['kind'] -ne 'request') { throw "ExoscopeFrame: there is no object of the kind $($Step['kind'])." }
    $application = Get-ExoscopeApp 'applications' $key['app_id'] 'id,appId,requiredResourceAccess'
    if ($null -eq $application) { return @{ 'there' = $false; 'required' = @() } }
    $there = $false
    $required = @()
    foreach ($entry in @($application.requiredResourceAccess)) {
        $access = @()
        foreach ($one in @($entry.resourceAccess)) {
            if ($entry.resourceAppId -eq $key['resource'] -and $one.type -ceq 'Role' -and $one.id -eq $key['app_role_id']) { $there = $true }
            $access += [ordered]@{ 'id' = "$($one.id)"; 'type' = "$($one.type)" }
        }
        $required += [ordered]@{ 'resourceAppId' = "$($entry.resourceAppId)"; 'resourceAccess' = @($access) }
    }
    return @{ 'there' = $there; 'required' = @($required) }
}

function ConvertTo-ExoscopeSeen($Seen) { return $Seen }

function Test-ExoscopeState($Step, $Seen, $Expected) {
    if ($Seen['there'] -eq ($null -ne $Expected)) { return 'yes' }
    return 'no'
}

function Test-ExoscopeYields($Step, $Seen) {
    # A consent's id is what takes it back.
    return @($Step['yields']) -notcontains 'id' -or $Seen['id'] -ne ''
}

function Test-ExoscopeOwn($Step, $Seen) {
    # Is the consent that is there the very one that the plan takes away?
    if ($Step['request']['method'] -ne 'DELETE') { return $true }
    return $Step['request']['path'].EndsWith('/' + [uri]::EscapeDataString($Seen['id']), [System.StringComparison]::Ordinal)
}

function Test-ExoscopeFills {
    # A Graph script holds nothing that an earlier one gave.
    return ''
}

function Get-ExoscopeRequired($Step, $Seen) {
    # Graph replaces the whole list, so it is written back as it was read but for this one entry.
    $key = $Step['key']
    $kept = @()
    $added = $null -eq $Step['after']
    foreach ($entry in $Seen['required']) {
        $access = @($entry['resourceAccess'])
        if ($entry['resourceAppId'] -eq $key['resource']) {
            $access = @($access | Where-Object { -not ($_['type'] -ceq 'Role' -and $_['id'] -eq $key['app_role_id']) })
            if (-not $added) {
                $access += [ordered]@{ 'id' = $key['app_role_id']; 'type' = 'Role' }
                $added = $true
            }
        }
        # Graph takes no entry with nothing in it.
        if ($access.Count -gt 0) { $kept += [ordered]@{ 'resourceAppId' = $entry['resourceAppId']; 'resourceAccess' = @($access) } }
    }
    if (-not $added) {
        $kept += [ordered]@{ 'resourceAppId' = $key['resource']; 'resourceAccess' = @([ordered]@{ 'id' = $key['app_role_id']; 'type' = 'Role' }) }
    }
    return , @($kept)
}

function Write-ExoscopeObject($Step, $Seen) {
    $request = $Step['request']
    $own = "<$($Step['id'])."
    if ($request['method'] -eq 'DELETE') {
        if (-not (Test-ExoscopeOwn $Step $Seen)) { throw "the consent has another id ($($Seen['id'])) than the plan knows." }
        $null = Invoke-ExoscopeGraph 'DELETE' $request['path']
        return
    }
    $body = [ordered]@{}
    foreach ($name in @($request['body'].Keys)) {
        $value = $request['body'][$name]
        if ($value -ceq "${own}resource_id>") { $value = $Seen['resource_id'] }
        elseif ($value -ceq "${own}required_resource_access>") { $value = Get-ExoscopeRequired $Step $Seen }
        $body[$name] = $value
    }
    $null = Invoke-ExoscopeGraph $request['method'] $request['path'] $body
}
