
function Get-ExoscopeText($Row, [string] $Name) {
    # A cell as text; empty for null and for what is not set.
    $value = $Row.$Name
    if ($value -is [System.Collections.IEnumerable] -and $value -isnot [string]) {
        $list = @($value)
        if ($list.Count -gt 1) { throw "ExoscopeAnswer: $Name holds several values." }
        if ($list.Count -eq 0) { return '' }
        $value = $list[0]
    }
    return "$value"
}

function Get-ExoscopeFlag($Row, [string] $Name) {
    $text = "$($Row.$Name)"
    if ($text -eq 'True') { return $true }
    if ($text -eq 'False') { return $false }
    throw "ExoscopeAnswer: Exchange answered a row without $Name."
}

function Invoke-ExoscopeOperation([scriptblock] $Operation) {
    # Functions of a module do not see a script's ErrorActionPreference: their error records are caught as output.
    foreach ($item in @(& $Operation 2>&1)) {
        if ($item -is [System.Management.Automation.ErrorRecord]) { throw $item }
        $item
    }
}

function Test-ExoscopeTenant {
    $found = @(Invoke-ExoscopeOperation $ExoscopeConnection | Where-Object { "$($_.State)" -eq 'Connected' })
    if ($found.Count -eq 0) { throw 'this session is not connected to Exchange Online: run Connect-ExchangeOnline first.' }
    foreach ($connection in $found) {
        if ("$($connection.TenantID)" -ne $ExoscopeData['tenant']['id']) {
            throw "this session is connected to the tenant $($connection.TenantID); meant is $($ExoscopeData['tenant']['id'])."
        }
    }
}

function Read-ExoscopeObject($Step) { Read-ExoscopeRows $ExoscopeOperations[$Step['id']]['read'] }

function Read-ExoscopeRows($Reads) {
    $seen = @{}
    foreach ($name in @($Reads.Keys)) {
        try { $seen[$name] = @(Invoke-ExoscopeOperation $Reads[$name]) }
        catch {
            if (-not (Test-ExoscopeNotFound $_)) { throw }
            $seen[$name] = @()
        }
    }
    return $seen
}

function Write-ExoscopeObject($Step, $Seen) {
    Invoke-ExoscopeOperation $ExoscopeOperations[$Step['id']]['write'] | ForEach-Object { }
}

function ConvertTo-ExoscopeSeen($Seen) {
    # Rows as they came, in texts, flags, numbers and lists of texts.
    $tables = [ordered]@{}
    foreach ($name in @($Seen.Keys)) {
        $rows = @()
        foreach ($row in $Seen[$name]) {
            $cells = [ordered]@{}
            foreach ($property in $row.PSObject.Properties) {
                $value = $property.Value
                if ($null -eq $value -or $value -is [bool] -or $value -is [int] -or $value -is [long]) { $cells[$property.Name] = $value }
                elseif ($value -is [datetime]) {
                    $cells[$property.Name] = $value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', [cultureinfo]::InvariantCulture)
                }
                elseif ($value -is [System.Collections.IEnumerable] -and $value -isnot [string]) {
                    $cells[$property.Name] = @(foreach ($element in $value) { "$element" })
                }
                else { $cells[$property.Name] = "$value" }
            }
            $rows += $cells
        }
        $tables[$name] = @($rows)
    }
    return $tables
}

function Get-ExoscopeOnly($Rows, [string] $What) {
    # No row, or one; Exchange answers some unknown identities with everything, so the rows were compared before.
    $list = @($Rows)
    if ($list.Count -gt 1) { throw "ExoscopeAnswer: Exchange answered $($list.Count) objects for $What." }
    if ($list.Count -eq 1) { return $list[0] }
}

function Find-ExoscopeGroup($Seen, [string] $Id) {
    Get-ExoscopeOnly @($Seen['group'] | Where-Object { $_.Guid -eq $Id -or $_.ExternalDirectoryObjectId -eq $Id }) "the group $Id"
}

function Get-ExoscopeScope($Row, $Seen) {
    $kind = Get-ExoscopeText $Row 'RecipientWriteScope'
    $resource = Get-ExoscopeText $Row 'CustomResourceScope'
    $recipient = Get-ExoscopeText $Row 'CustomRecipientWriteScope'
    if ($kind -eq 'Group' -and $resource) {
        # The scope that Exchange makes for a group is named <group name>_<Guid>; a group has two Guids.
        $id = $resource
        if ($resource.Length -gt 36) { $id = $resource.Substring($resource.Length - 36) }
        $group = Find-ExoscopeGroup $Seen $id
        if ($null -ne $group) { $id = "$($group.Guid)" }
        return "group $id"
    }
    if ($kind -eq 'AdministrativeUnit' -and $recipient) {
        $named = @($Seen['units'] | Where-Object {
                $_.ExternalDirectoryObjectId -eq $recipient -or $_.Guid -eq $recipient -or (Test-ExoscopeSame $_.Name $recipient) -or
                (Test-ExoscopeSame $_.DisplayName $recipient) -or (Test-ExoscopeSame $_.DistinguishedName $recipient)
            })
        if ($named.Count -ne 1) { return "administrative_unit $recipient" }
        $id = Get-ExoscopeText $named[0] 'ExternalDirectoryObjectId'
        if (-not $id) { $id = "$($named[0].Guid)" }
        return "administrative_unit $id"
    }
    if ($resource -and -not $recipient) { return "management_scope $resource" }
    if ($kind -eq 'Organization' -and -not $resource -and -not $recipient) { return 'organization' }
    return 'not understood'
}

function Get-ExoscopeExpectedScope($Scope) {
    if ($Scope['kind'] -eq 'organization') { return 'organization' }
    if ($Scope['kind'] -eq 'management_scope') { return "management_scope $($Scope['name'])" }
    return "$($Scope['kind']) $($Scope['id'])"
}

function Get-ExoscopeAssignee($Row, $Seen) {
    $told = Get-ExoscopeText $Row 'RoleAssigneeName'
    if (-not $told) { $told = Get-ExoscopeText $Row 'RoleAssignee' }
    foreach ($pointer in $Seen['pointers']) { if ($pointer.ObjectId -eq $told) { return "$($pointer.ObjectId)" } }
    $named = @($Seen['pointers'] | Where-Object { $_.AppId -eq $told -or (Test-ExoscopeSame $_.DisplayName $told) })
    if ($named.Count -eq 1) { return "$($named[0].ObjectId)" }
    return $told
}

function Find-ExoscopeRow($Step, $Seen) {
    # The one row that shows a group or a policy, named as the plan names it; null where it is not there.
    $key = $Step['key']
    if ($Step['kind'] -eq 'group') {
        return Get-ExoscopeOnly @($Seen['distribution_group'] | Where-Object { Test-ExoscopeSame $_.Name $key['name'] }) "the group $($key['name'])"
    }
    if ($Step['kind'] -eq 'access_policy') {
        $ids = @($key['group'])
        $group = Find-ExoscopeGroup $Seen $key['group']
        if ($null -ne $group) { $ids += "$($group.Guid)", "$($group.ExternalDirectoryObjectId)" }
        return Get-ExoscopeOnly @($Seen['policies'] | Where-Object {
                $raw = Get-ExoscopeText $_ 'ScopeIdentityRaw'
                if (-not $raw) { $raw = Get-ExoscopeText $_ 'Identity' }
                $_.AppId -eq $key['app_id'] -and "$($_.AccessRight)" -eq $key['access_right'] -and $ids -contains $raw.Substring($raw.LastIndexOf(';') + 1)
            }) 'the policy'
    }
}

function Test-ExoscopeYields($Step, $Seen) {
    # Does the object show all that later scripts must know of it? Some of it may come later than the object itself.
    if ($Step['yields'].Count -eq 0) { return $true }
    $row = Find-ExoscopeRow $Step $Seen
    foreach ($name in $Step['yields']) { if (-not (Get-ExoscopeText $row ($name.Replace('_', '')))) { return $false } }
    return $true
}

function Test-ExoscopeOwn($Step, $Seen) {
    # Is the object that is there the very one that the operation names by its Guid or identity?
    $name = @{ 'group' = 'group'; 'access_policy' = 'identity' }[$Step['kind']]
    if (-not $name -or $null -eq $Step['before'] -or -not $Step['values'].ContainsKey($name)) { return $true }
    $row = Find-ExoscopeRow $Step $Seen
    $column = 'Identity'
    if ($name -eq 'group') { $column = 'Guid' }
    return (Get-ExoscopeText $row $column) -eq $Step['values'][$name]
}

function Test-ExoscopeFills {
    # What an earlier script's result gave must be what the object that the plan names reads as now. Empty, or what differs.
    foreach ($fill in $ExoscopeData['fills']) {
        $seen = Read-ExoscopeRows $ExoscopeFilled[$fill['step']]['read']
        $row = Find-ExoscopeRow $fill $seen
        if ($null -eq $row) { return "$($fill['object']), which $($fill['step']) made, is not there." }
        foreach ($name in @($fill['values'].Keys)) {
            $read = Get-ExoscopeText $row ($name.Replace('_', ''))
            if (-not (Test-ExoscopeSame $read $fill['values'][$name])) { return "$($fill['object']), which $($fill['step']) made, has the $name $read; this file was written for $($fill['values'][$name])." }
        }
    }
    return ''
}

function Find-ExoscopeState($Step, $Seen) {
    # The object's state as it reads, or null where it is not there.
    $key = $Step['key']
    switch ($Step['kind']) {
        'organization' {
            $row = Get-ExoscopeOnly $Seen['organization'] 'the organisation'
            if ($null -eq $row) { throw 'ExoscopeAnswer: Exchange answered no organisation.' }
            return @{ 'is_dehydrated' = (Get-ExoscopeFlag $row 'IsDehydrated') }
        }
        'pointer' {
            $row = Get-ExoscopeOnly @($Seen['pointer'] | Where-Object { $_.ObjectId -eq $key['object_id'] -and $_.AppId -eq $key['app_id'] }) 'the pointer'
            if ($null -eq $row) { return $null }
            return @{ 'display_name' = (Get-ExoscopeText $row 'DisplayName') }
        }
        'management_scope' {
            $row = Get-ExoscopeOnly @($Seen['scope'] | Where-Object { Test-ExoscopeSame $_.Name $key['name'] }) "the scope $($key['name'])"
            if ($null -eq $row) { return $null }
            return @{
                'recipient_filter' = (Get-ExoscopeText $row 'RecipientFilter')
                'recipient_root'   = (Get-ExoscopeText $row 'RecipientRoot')
                'exclusive'        = (Get-ExoscopeFlag $row 'Exclusive')
            }
        }
        'role_assignment' {
            $row = Get-ExoscopeOnly @($Seen['assignment'] | Where-Object { Test-ExoscopeSame $_.Name $key['name'] }) "the assignment $($key['name'])"
            if ($null -eq $row) { return $null }
            $type = Get-ExoscopeText $row 'RoleAssigneeType'
            if ($type -and $type -ne 'ServicePrincipal') { throw "ExoscopeAnswer: the assignment $($key['name']) is not given to a service principal." }
            return @{
                'role'     = (Get-ExoscopeText $row 'Role')
                'assignee' = (Get-ExoscopeAssignee $row $Seen)
                'enabled'  = (Get-ExoscopeFlag $row 'Enabled')
                'scope'    = (Get-ExoscopeScope $row $Seen)
            }
        }
        'access_policy' {
            $row = Find-ExoscopeRow $Step $Seen
            if ($null -eq $row) { return $null }
            return @{ 'description' = "$($row.Description)" }
        }
        'group' {
            $row = Find-ExoscopeRow $Step $Seen
            if ($null -eq $row) { return $null }
            $detail = Find-ExoscopeGroup $Seen "$($row.Guid)"
            if ($null -eq $detail) { throw "ExoscopeAnswer: Exchange lists the group $($key['name']) but does not show it." }
            $type = 'Distribution'
            if ("$($detail.RecipientTypeDetails)" -eq 'MailUniversalSecurityGroup') { $type = 'Security' }
            return @{
                'alias'              = (Get-ExoscopeText $row 'Alias')
                'display_name'       = (Get-ExoscopeText $row 'DisplayName')
                'notes'              = (Get-ExoscopeText $detail 'Notes')
                'hidden'             = (Get-ExoscopeFlag $row 'HiddenFromAddressListsEnabled')
                'join_restriction'   = (Get-ExoscopeText $row 'MemberJoinRestriction')
                'depart_restriction' = (Get-ExoscopeText $row 'MemberDepartRestriction')
                'type'               = $type
                'owners'             = @(foreach ($owner in @($row.ManagedBy)) { if ("$owner") { "$owner" } })
                'members'            = @(foreach ($member in @($Seen['members'])) { "$($member.Guid)" })
            }
        }
        'group_member' {
            if ($null -eq (Find-ExoscopeGroup $Seen $key['group'])) { return $null }
            foreach ($member in $Seen['members']) { if ($member.Guid -eq $key['member']) { return @{} } }
            return $null
        }
    }
    throw "ExoscopeFrame: there is no object of the kind $($Step['kind'])."
}

function Test-ExoscopeState($Step, $Seen, $Expected) {
    # Is what was read what was expected: yes, no, or unclear?
    $observed = Find-ExoscopeState $Step $Seen
    if ($null -eq $observed -and $null -eq $Expected) { return 'yes' }
    if ($null -eq $observed -or $null -eq $Expected) { return 'no' }
    $answer = 'yes'
    $moved = @(Get-ExoscopeMoved $Step $Seen)
    foreach ($name in @($Expected.Keys)) {
        $same = Test-ExoscopeField $Step['kind'] $name $observed[$name] $Expected[$name] $moved
        if ($same -eq 'no') { return 'no' }
        if ($same -eq 'unclear') { $answer = 'unclear' }
    }
    return $answer
}

function Get-ExoscopeMoved($Step, $Seen) {
    # Who the steps of this script put into a group or take out of it: after an interruption they may have been moved already.
    if ($Step['kind'] -ne 'group') { return }
    $guid = "$((Find-ExoscopeRow $Step $Seen).Guid)"
    foreach ($other in $ExoscopeData['steps']) {
        if ($other['kind'] -eq 'group_member' -and $other['key']['group'] -eq $guid) { $other['key']['member'] }
    }
}

function Test-ExoscopeField([string] $Kind, [string] $Name, $Observed, $Expected, $Moved) {
    $same = $false
    switch ("$Kind.$Name") {
        'management_scope.recipient_filter' {
            if ([string]::Equals("$Observed", "$Expected")) { return 'yes' }
            $one = Get-ExoscopeFilter $Observed
            $other = Get-ExoscopeFilter $Expected
            if ($null -eq $one -or $null -eq $other -or -not (Test-ExoscopeSame $one $other)) { return 'unclear' }
            return 'yes'
        }
        'role_assignment.scope' { $same = Test-ExoscopeSame $Observed (Get-ExoscopeExpectedScope $Expected) }
        'group.members' { $same = Test-ExoscopeSet @($Observed | Where-Object { $Moved -notcontains $_ }) @($Expected | Where-Object { $Moved -notcontains $_ }) }
        'group.owners' {
            # A role group that owns it (the operator's, by its name) is no person. Other names cannot be told here.
            $people = @($Observed | Where-Object { $_ -ne 'Organization Management' })
            foreach ($each in $people) { if ($each -notmatch '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$') { return 'unclear' } }
            $same = Test-ExoscopeSet $people $Expected
        }
        { $_ -eq 'access_policy.description' -or $_ -eq 'group.notes' } {
            # Text for people: Exchange may end it with a line break.
            $same = [string]::Equals((("$Observed" -split '\s+') -join ' ').Trim(), (("$Expected" -split '\s+') -join ' ').Trim())
        }
        default { $same = Test-ExoscopeSame "$Observed" "$Expected" }
    }
    if ($same) { return 'yes' }
    return 'no'
}

function Test-ExoscopeSet($One, $Other) {
    foreach ($each in @($One)) { if (@($Other) -notcontains $each) { return $false } }
    foreach ($each in @($Other)) { if (@($One) -notcontains $each) { return $false } }
    return $true
}

# A recipient filter in one spelling: Exchange gives filters back with its own blanks, parentheses, quotes and case. What this
# small reader does not understand is null, and never the same as anything.
function Get-ExoscopeFilter([string] $Text) {
    $pattern = '\G\s*(\(|\)|!|''(?:[^'']|'''')*''|"[^"]*"|[^\s()''"!]+)'
    $script:ExoscopeTokens = @()
    $at = 0
    while ($at -lt $Text.TrimEnd().Length) {
        $found = [regex]::new($pattern).Match($Text, $at)
        if (-not $found.Success) { return $null }
        $script:ExoscopeTokens += $found.Groups[1].Value
        $at = $found.Index + $found.Length
    }
    $script:ExoscopeAt = 0
    try { $node = Read-ExoscopeAny } catch { return $null }
    if ($script:ExoscopeAt -ne $script:ExoscopeTokens.Count) { return $null }
    return (Get-ExoscopeNode $node).ToLowerInvariant()
}

function Get-ExoscopeNode($Node) {
    if ($Node['kind'] -eq 'leaf') { return $Node['parts'][0] }
    return '(' + $Node['kind'] + ' ' + ($Node['parts'] -join ' ') + ')'
}

function Step-ExoscopeToken {
    if ($script:ExoscopeAt -ge $script:ExoscopeTokens.Count) { throw 'the filter ends too early' }
    $script:ExoscopeTokens[$script:ExoscopeAt]
    $script:ExoscopeAt += 1
}

function Read-ExoscopeAny {
    $first = Read-ExoscopeTerm
    $kind = ''
    $parts = @()
    while ($script:ExoscopeAt -lt $script:ExoscopeTokens.Count -and $script:ExoscopeTokens[$script:ExoscopeAt] -match '^-(and|or)$') {
        $word = (Step-ExoscopeToken).Substring(1).ToLowerInvariant()
        # How -and and -or bind without parentheses is not documented: such a filter is not understood.
        if ($kind -and $kind -ne $word) { throw 'mixed without parentheses' }
        if (-not $kind) {
            $kind = $word
            if ($first['kind'] -eq $kind) { $parts += $first['parts'] } else { $parts += Get-ExoscopeNode $first }
        }
        $next = Read-ExoscopeTerm
        if ($next['kind'] -eq $kind) { $parts += $next['parts'] } else { $parts += Get-ExoscopeNode $next }
    }
    if (-not $kind) { return $first }
    return @{ 'kind' = $kind; 'parts' = $parts }
}

function Read-ExoscopeTerm {
    $word = Step-ExoscopeToken
    if ($word -eq '(') {
        $node = Read-ExoscopeAny
        if ((Step-ExoscopeToken) -ne ')') { throw 'a parenthesis does not end' }
        return $node
    }
    if ($word -eq '-not' -or $word -eq '!') {
        $node = Read-ExoscopeTerm
        return @{ 'kind' = 'leaf'; 'parts' = @("(not $(Get-ExoscopeNode $node))") }
    }
    $operator = Step-ExoscopeToken
    $value = Step-ExoscopeToken
    if ($word -notmatch '^[A-Za-z][A-Za-z0-9]*$' -or $operator -notmatch '^-[A-Za-z]+$') { throw 'not understood' }
    if ($value.StartsWith("'")) { $value = $value.Substring(1, $value.Length - 2).Replace("''", "'") }
    elseif ($value.StartsWith('"')) { $value = $value.Substring(1, $value.Length - 2) }
    elseif ($value -notmatch '^[$A-Za-z0-9_.@:-]+$') { throw 'not understood' }
    return @{ 'kind' = 'leaf'; 'parts' = @("$word $operator '" + $value.Replace("'", "''") + "'") }
}
