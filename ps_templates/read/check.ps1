
function Add-ExoscopeMailbox($Mailboxes, $Addresses, $Row) {
    $guid = "$($Row.Guid)".ToLowerInvariant()
    $Mailboxes[$guid] = "$($Row.ExternalDirectoryObjectId)".ToLowerInvariant()
    foreach ($address in @($Row.PrimarySmtpAddress) + @($Row.EmailAddresses)) {
        $text = "$address".ToLowerInvariant()
        if ($text.StartsWith('smtp:', [System.StringComparison]::Ordinal)) { $text = $text.Substring(5) }
        if ($text) { $Addresses[$text] = $guid }
    }
}

function Get-ExoscopeFilters($App) {
    # The filters that decide for this app: those of its assignments as they stand now, and those of the plan.
    $names = @($App['object_id'], $App['app_id'])
    foreach ($pointer in $pointers) {
        if ("$($pointer.ObjectId)" -eq $App['object_id'] -or "$($pointer.AppId)" -eq $App['app_id']) { $names += "$($pointer.DisplayName)" }
    }
    $found = @($App['filters'])
    foreach ($row in $assignments) {
        if ("$($row.Enabled)" -ne 'True' -or -not "$($row.CustomResourceScope)") { continue }
        if ($names -notcontains "$($row.RoleAssigneeName)" -and $names -notcontains "$($row.RoleAssignee)") { continue }
        foreach ($scope in $scopes) { if ($scope['name'] -eq "$($row.CustomResourceScope)") { $found += $scope['filter'] } }
    }
    $seen = @()
    foreach ($filter in $found) {
        if ($filter -and $seen -cnotcontains $filter) {
            $seen += $filter
            $filter
        }
    }
}

function Get-ExoscopeAround($App) {
    # Everybody in the groups that the plan rests on, and in the groups inside them.
    $waiting = [System.Collections.Generic.Queue[string]]::new()
    $filters = Get-ExoscopeSqueezed ($App['filters'] -join [char] 10)
    foreach ($guid in @($groups.Keys)) {
        $group = $groups[$guid]
        $named = $App['groups'] -contains $guid -or ($group['id'] -and $App['groups'] -contains $group['id'])
        if ($named -or ($group['dn'] -and $filters.Contains((Get-ExoscopeSqueezed $group['dn'])))) { $waiting.Enqueue($guid) }
    }
    $seen = [System.Collections.Generic.HashSet[string]]::new()
    while ($waiting.Count -gt 0) {
        $guid = $waiting.Dequeue()
        if (-not $seen.Add($guid) -or -not $members.ContainsKey($guid)) { continue }
        foreach ($member in $members[$guid]) {
            if ($groups.ContainsKey($member)) { $waiting.Enqueue($member) }
            elseif ($mailboxes.ContainsKey($member)) { $member }
        }
    }
}

function Select-ExoscopeSample([string[]] $These, [int] $Count) {
    # A sample that the same seed draws again.
    if ($Count -ge $These.Count) { return $These }
    $list = [string[]] @($These)
    [array]::Sort($list, [System.StringComparer]::Ordinal)
    $random = [System.Random]::new($ExoscopeData['seed'])
    for ($at = 0; $at -lt $Count; $at++) {
        $other = $random.Next($at, $list.Count)
        $held = $list[$at]
        $list[$at] = $list[$other]
        $list[$other] = $held
        $list[$at]
    }
}

# Exchange's own evaluation of what decides for one app, and its test of every mailbox that may be inside, of those that must be
# outside, and of a sample of the others.
function Test-ExoscopeApp($App) {
    Write-ExoscopeLine "checking $($App['name']) ($($App['app_id']))"
    $inside = [System.Collections.Generic.HashSet[string]]::new()
    $near = [System.Collections.Generic.HashSet[string]]::new()
    foreach ($address in $App['inside']) {
        $key = $address.ToLowerInvariant()
        if ($addresses.ContainsKey($key)) { [void] $inside.Add($addresses[$key]) }
    }
    foreach ($address in $App['outside']) {
        $key = $address.ToLowerInvariant()
        if ($addresses.ContainsKey($key)) { [void] $near.Add($addresses[$key]) }
    }
    if ($App['everyone']) { foreach ($guid in @($mailboxes.Keys)) { [void] $inside.Add($guid) } }
    foreach ($filter in @(Get-ExoscopeFilters $App)) {
        Write-ExoscopeLine "Exchange's own evaluation of $filter"
        $kept = [System.Collections.Generic.List[object]]::new()
        if (-not (Read-ExoscopeRows 'scope_preview' @{ '<scope.filter>' = $filter } @() { param($row) "$($row.Guid)".ToLowerInvariant() } $kept)) {
            $script:ExoscopeUnread += 1
            Write-ExoscopeLine "it could not be evaluated: $($ExoscopeFailed.Exception.Message)"
        }
        foreach ($guid in $kept) { if ($mailboxes.ContainsKey($guid)) { [void] $inside.Add($guid) } }
    }
    foreach ($guid in @(Get-ExoscopeAround $App)) {
        if ($App['policies']) { [void] $inside.Add($guid) } else { [void] $near.Add($guid) }
    }
    $near.ExceptWith($inside)
    $rest = [string[]] @(foreach ($guid in @($mailboxes.Keys)) { if (-not $inside.Contains($guid) -and -not $near.Contains($guid)) { $guid } })
    $count = $rest.Count
    if (-not $ExoscopeData['everything']) { $count = $ExoscopeData['sample'] }
    $drawn = @(Select-ExoscopeSample $rest $count)
    $tested = @($inside) + @($near) + $drawn
    # As the app, everybody in a small tenant is asked about: such a call is cheap.
    $probed = @($near) + $drawn
    if ($ExoscopeData['everything'] -or ($ExoscopeData['whole'] -and $mailboxes.Count -le 5000)) { $probed = @($near) + $rest }
    if ($null -ne $ExoscopeData['limit_refusals'] -and $probed.Count -gt $ExoscopeData['limit_refusals']) {
        $first = @(@($near) | Select-Object -First $ExoscopeData['limit_refusals'])
        $left = $ExoscopeData['limit_refusals'] - $first.Count
        $probed = $first + @(Select-ExoscopeSample ([string[]] $rest) $left)
    }
    $probed = @($inside) + $probed
    Write-ExoscopeEntry (ConvertTo-ExoscopeJson ([ordered]@{
                'kind'   = 'asked'
                'app_id' = $App['app_id']
                'tested' = @($tested)
                'probed' = @(foreach ($guid in $probed) { [ordered]@{ 'guid' = $guid; 'id' = $mailboxes[$guid] } })
            }))
    Write-ExoscopeLine "Exchange's test of $($tested.Count) mailboxes"
    $done = 0
    foreach ($guid in $tested) {
        $failed = -not (Read-ExoscopeRows 'authorization' @{ '<app.object_id>' = $App['object_id']; '<mailbox.guid>' = $guid })
        # An app without a pointer is an answer too.
        if ($failed -and -not (Test-ExoscopeNotFound $ExoscopeFailed)) { $script:ExoscopeUnread += 1 }
        if ($App['policies'] -and -not (Read-ExoscopeRows 'access_policy' @{ '<mailbox.guid>' = $guid; '<app.app_id>' = $App['app_id'] })) { $script:ExoscopeUnread += 1 }
        $done += 1
        if ($done % 50 -eq 0) { Write-ExoscopeLine "$done of $($tested.Count)" }
    }
}
