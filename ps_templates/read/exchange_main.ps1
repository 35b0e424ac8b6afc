
if ($WhatIfPreference) { Stop-ExoscopeReading 'a session that only says what it would do (WhatIfPreference) runs no test, and no test would look like no access.' 4 }
try { $ExoscopeTenant = Get-ExoscopeTenant }
catch { Stop-ExoscopeReading (Get-ExoscopeError $_) 6 }
Write-ExoscopeLine "tenant $ExoscopeTenant"
Open-ExoscopeResult $ExoscopeTenant
try {
    $scopes = [System.Collections.Generic.List[object]]::new()
    $pointers = [System.Collections.Generic.List[object]]::new()
    $assignments = [System.Collections.Generic.List[object]]::new()
    $ids = [System.Collections.Generic.HashSet[string]]::new()
    $named = [System.Collections.Generic.List[object]]::new()
    Read-ExoscopePart 'organization'
    Read-ExoscopePart 'pointers' @() { param($row) $row } $pointers
    Read-ExoscopePart 'scopes' @() { param($row) @{ 'name' = "$($row.Name)"; 'filter' = "$($row.RecipientFilter)" } } $scopes
    Read-ExoscopePart 'roles'
    Read-ExoscopePart 'policies' @() { param($row) "$($row.ScopeIdentityRaw) $($row.Identity)" } $named
    foreach ($text in $named) { foreach ($id in @(Get-ExoscopeGuids $text)) { [void] $ids.Add($id) } }
    Read-ExoscopePart 'assignments' @() { param($row) if ("$($row.Role)".StartsWith('Application ', [System.StringComparison]::OrdinalIgnoreCase)) { $row } } $assignments
    # Exchange has names of its own for administrative units; they are asked for only where one is used.
    if (@($assignments | Where-Object { "$($_.RecipientWriteScope)" -eq 'AdministrativeUnit' }).Count -gt 0) { Read-ExoscopePart 'units' }
    foreach ($row in $assignments) { foreach ($id in @(Get-ExoscopeGuids $row.CustomResourceScope)) { [void] $ids.Add($id) } }

    # The properties that filters use are noted of every recipient, the others are not.
    $text = @(foreach ($scope in $scopes) { $scope['filter'] }) -join [char] 10
    $reading = 'recipients'
    $without = @()
    foreach ($found in [regex]::Matches($ExoscopeOperations['recipients_all'].ToString(), '''([A-Za-z0-9]+)''')) {
        $name = $found.Groups[1].Value
        if ($ExoscopeData['columns'] -notcontains $name -and -not (Test-ExoscopeNamed $name $text)) { $without += $name }
        elseif (-not (Test-ExoscopeNamed $name $ExoscopeOperations['recipients'].ToString())) { $reading = 'recipients_all' }
    }
    $groups = [System.Collections.Generic.Dictionary[string, object]]::new()
    $mailboxes = [System.Collections.Generic.Dictionary[string, object]]::new()
    $addresses = [System.Collections.Generic.Dictionary[string, string]]::new()
    $others = [System.Collections.Generic.List[object]]::new()
    Read-ExoscopePart $reading $without {
        param($row)
        $kind = "$($row.RecipientType)"
        if ($kind -match 'Group$') { return $row }
        if ($kind -eq 'UserMailbox' -and $ExoscopeData['apps'].Count -gt 0) { Add-ExoscopeMailbox $mailboxes $addresses $row }
    } $others
    $kept = [System.Collections.Generic.List[object]]::new()
    Read-ExoscopePart 'groups' @() { param($row) $row } $kept
    foreach ($row in $kept) { Add-ExoscopeGroup $groups $row '' }
    foreach ($row in $others) { Add-ExoscopeGroup $groups $row "$($row.PrimarySmtpAddress)" }

    $squeezed = Get-ExoscopeSqueezed $text
    $wanted = @(foreach ($name in $ExoscopeData['groups']) { $name.ToLowerInvariant() })
    $needed = [System.Collections.Generic.Dictionary[string, bool]]::new()
    foreach ($guid in @($groups.Keys)) { if (Test-ExoscopeNeeded $groups[$guid] $squeezed $ids $wanted) { $needed[$guid] = $true } }
    Write-ExoscopeLine "reading members of $($needed.Count) of $($groups.Count) groups"
    $members = [System.Collections.Generic.Dictionary[string, object]]::new()
    $forGraph = [System.Collections.Generic.List[string]]::new()
    Read-ExoscopeMembers $groups $needed $members $forGraph
    Write-ExoscopeEntry ('{"kind":"groups","ids":' + (ConvertTo-ExoscopeJson $forGraph) + '}')

    Write-ExoscopeLine 'reading distribution_groups'
    if (-not (Read-ExoscopeRows 'distribution_groups')) {
        # One group that may not be read takes the list down: those that matter are asked for one by one.
        Write-ExoscopeLine "distribution_groups: $($ExoscopeFailed.Exception.Message)"
        foreach ($guid in @($needed.Keys)) {
            if ($groups[$guid]['kind'] -notmatch '^(mail|roomlist)') { continue }
            if (-not (Read-ExoscopeRows 'distribution_group' @{ '<group.guid>' = $groups[$guid]['guid'] })) { $script:ExoscopeUnread += 1 }
        }
    }
    foreach ($app in $ExoscopeData['apps']) { Test-ExoscopeApp $app }
    if ((Get-ExoscopeTenant) -ne $ExoscopeTenant) { throw 'the session is in another tenant than it was when this began.' }
}
catch { Stop-ExoscopeReading (Get-ExoscopeError $_) 6 }
Close-ExoscopeResult
