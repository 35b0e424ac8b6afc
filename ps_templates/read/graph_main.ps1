
try {
    $found = @((Invoke-ExoscopeGraph 'GET' $ExoscopeRequests['organization']).value)
    if ($found.Count -ne 1 -or "$($found[0].id)" -notmatch $ExoscopeGuid) { throw 'Graph does not say which tenant this session is in.' }
    $ExoscopeTenant = "$($found[0].id)".ToLowerInvariant()
    if ($ExoscopeData['tenant'] -and $ExoscopeTenant -ne $ExoscopeData['tenant']) { throw "this session is in the tenant $ExoscopeTenant; meant is $($ExoscopeData['tenant'])." }
}
catch { Stop-ExoscopeReading (Get-ExoscopeError $_) 6 }
Write-ExoscopeLine "tenant $ExoscopeTenant"
$earlier = Get-ExoscopeEarlier
if ($null -ne $earlier -and "$($earlier['header'].tenant)" -ne $ExoscopeTenant) {
    Stop-ExoscopeReading "the result of $($ExoscopeData['after']) is of the tenant $($earlier['header'].tenant)." 4
}
Open-ExoscopeResult $ExoscopeTenant
try {
    $null = @(Read-ExoscopeList $ExoscopeRequests['organization'])
    Write-ExoscopeLine 'reading administrative units'
    foreach ($unit in @(Read-ExoscopeList $ExoscopeRequests['units'])) {
        $null = @(Read-ExoscopeList (Get-ExoscopePath 'unit_members' "$($unit.id)"))
    }
    Write-ExoscopeLine 'reading service principals'
    $principals = @(Read-ExoscopeList $ExoscopeRequests['principals'])
    Write-ExoscopeLine "reading registrations and grants of $($principals.Count)"
    $resources = [ordered]@{}
    foreach ($id in $ExoscopeData['resources']) { $resources[$id] = $true }
    $applications = @(Read-ExoscopeList $ExoscopeRequests['applications'])
    foreach ($application in $applications) {
        foreach ($entry in @($application.requiredResourceAccess)) {
            $id = "$($entry.resourceAppId)".ToLowerInvariant()
            if ($id -match $ExoscopeGuid) { $resources[$id] = $true }
        }
    }
    foreach ($id in @($resources.Keys)) {
        $resource = Read-ExoscopeOne (Get-ExoscopePath 'resource' $id)
        if ($null -ne $resource -and $ExoscopeData['resources'] -contains $id) {
            $null = @(Read-ExoscopeList (Get-ExoscopePath 'assigned' "$($resource.id)"))
        }
    }
    Write-ExoscopeLine "reading token lifetimes of $($principals.Count) and $($applications.Count)"
    $null = @(Read-ExoscopeList $ExoscopeRequests['lifetimes'])
    Read-ExoscopeMany @(foreach ($principal in $principals) { Get-ExoscopePath 'principal_lifetimes' "$($principal.id)" }) @(200) { param($body) $body }
    Read-ExoscopeMany @(foreach ($application in $applications) { Get-ExoscopePath 'registration_lifetimes' "$($application.id)" }) @(200) { param($body) $body }
    if ($null -ne $earlier) {
        foreach ($id in @($earlier['groups'])) { $null = @(Read-ExoscopeList (Get-ExoscopePath 'group_members' "$id")) }
    }
    else { Write-ExoscopeLine "no result of $($ExoscopeData['after']) is at hand: members of groups that Exchange does not know are left out" }
}
catch { Stop-ExoscopeReading (Get-ExoscopeError $_) 6 }
Close-ExoscopeResult
