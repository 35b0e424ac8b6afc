
function ConvertTo-ExoscopeWords($Value) {
    # A value as text, times in UTC.
    if ($Value -is [datetime]) { return $Value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', $ExoscopeInvariant) }
    if ($Value -is [System.DateTimeOffset]) { return $Value.UtcDateTime.ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', $ExoscopeInvariant) }
    return "$Value"
}

function ConvertTo-ExoscopeCell($Value) {
    # A cell as exoscope's own session sends it: null, true, false, a number, a text, or a list of texts.
    if ($null -eq $Value) { return 'null' }
    if ($Value -is [string]) { return (ConvertTo-ExoscopeText $Value) }
    if ($Value -is [bool]) { if ($Value) { return 'true' } else { return 'false' } }
    $number = ConvertTo-ExoscopeNumber $Value
    if ($number) { return $number }
    if ($Value -is [System.Collections.IEnumerable] -and $Value -isnot [System.Collections.IDictionary]) {
        $texts = foreach ($element in $Value) {
            if ($null -ne $element) { ConvertTo-ExoscopeText (ConvertTo-ExoscopeWords $element) }
        }
        return '[' + (@($texts) -join ',') + ']'
    }
    return (ConvertTo-ExoscopeText (ConvertTo-ExoscopeWords $Value))
}

function Get-ExoscopeOperation([string] $Name, $Holes) {
    # The operation as it stands above, its holes filled: each is a whole text, and what fills it can end no text.
    $text = $ExoscopeOperations[$Name].ToString().Trim()
    foreach ($hole in @($Holes.Keys)) {
        $value = "$($Holes[$hole])"
        if (-not $value -or $value -ceq '--%') { throw "ExoscopeFrame: nothing can stand for $hole." }
        $doubled = [regex]::Replace($value, '[''\u2018\u2019\u201A\u201B]', '$0$0')
        $text = $text.Replace("'$hole'", "'$doubled'")
    }
    return $text
}

function Test-ExoscopePassing($Record) {
    # The module puts the type of Exchange's error into the text.
    $told = "$($Record.FullyQualifiedErrorId) $($Record.Exception.GetType().FullName) $($Record.Exception.Message)"
    if ((Test-ExoscopeNotFound $Record) -or $told -match 'CommandNotFound|NamedParameterNotFound|AccessDenied|Unauthorized') { return $false }
    return $told -match 'Throttl|OverBudget|Micro ?Delay|Too ?Many ?Requests|concurrent requests|ResourceUnhealthy|Transient|Timeout|timed out|TaskCanceled|ServiceUnavailable|ServerBusy|server is too busy|try again later|temporarily unavailable|server side error'
}

function Write-ExoscopeFailure([int] $Number, $Record) {
    $types = @()
    for ($type = $Record.Exception.GetType(); $null -ne $type; $type = $type.BaseType) { $types += $type.FullName }
    Write-ExoscopeEntry (ConvertTo-ExoscopeJson ([ordered]@{
                'kind'     = 'failed'
                'n'        = $Number
                'message'  = "$($Record.Exception.Message)"
                'error_id' = "$($Record.FullyQualifiedErrorId)"
                'category' = "$($Record.CategoryInfo.Category)"
                'types'    = $types
                'activity' = "$($Record.CategoryInfo.Activity)"
            }))
}

$ExoscopeReads = 0

function Write-ExoscopeRows {
    # Notes rows as they come, five hundred a line; gives their number at the end. -Keep takes a row and gives what the script
    # itself needs of it, which is added to -Kept. -Without are columns that are not noted.
    param(
        [Parameter(ValueFromPipeline = $true)] [AllowNull()] $Row,
        [string] $Name,
        [int] $Number,
        [string[]] $Without,
        $Keep,
        $Kept,
        [regex] $Odd
    )
    begin {
        $count = 0
        $names = $null
        $failed = $null
        $batch = [System.Collections.Generic.List[string]]::new()
    }
    process {
        # Thrown here it would come out of the cmdlet that wrote it, as an error of another kind.
        if ($null -eq $failed -and $Row -is [System.Management.Automation.ErrorRecord]) { $failed = $Row }
        if ($null -ne $failed -or $null -eq $Row) { return }
        if ($null -eq $names) {
            $names = [string[]] @(foreach ($property in $Row.PSObject.Properties) { if ($Without -notcontains $property.Name) { $property.Name } })
            $head = '{"kind":"rows","n":' + $Number + ',"columns":' + (ConvertTo-ExoscopeJson $names) + ',"rows":['
            $cells = [string[]]::new($names.Count)
        }
        for ($at = 0; $at -lt $names.Count; $at++) {
            $value = $Row.($names[$at])
            if ($value -is [string] -and -not $Odd.IsMatch($value)) { $cells[$at] = '"' + $value + '"' }
            else { $cells[$at] = ConvertTo-ExoscopeCell $value }
        }
        $batch.Add('[' + [string]::Join(',', $cells) + ']')
        $count += 1
        if ($null -ne $Keep) {
            $wanted = & $Keep $Row
            if ($null -ne $wanted) { $Kept.Add($wanted) }
        }
        if ($batch.Count -ge 500) {
            Write-ExoscopeEntry ($head + [string]::Join(',', $batch) + ']}')
            $batch.Clear()
            if ($count % 10000 -eq 0) { Write-ExoscopeLine "${Name}: $count so far" }
        }
    }
    end {
        if ($null -ne $failed) { throw $failed }
        if ($batch.Count -gt 0) { Write-ExoscopeEntry ($head + [string]::Join(',', $batch) + ']}') }
        $count
    }
}

# Runs one operation and notes what it answers; see Write-ExoscopeRows. True when it was read.
function Read-ExoscopeRows([string] $Name, $Holes = @{}, [string[]] $Without = @(), $Keep = $null, $Kept = $null) {
    $text = Get-ExoscopeOperation $Name $Holes
    $operation = [scriptblock]::Create($text)
    for ($attempt = 1; ; $attempt++) {
        $script:ExoscopeReads += 1
        $number = $ExoscopeReads
        Write-ExoscopeEntry ('{"kind":"read","n":' + $number + ',"script":' + (ConvertTo-ExoscopeText $text) + '}')
        if ($null -ne $Kept) { $Kept.Clear() }
        try {
            # Functions of a module do not see a script's ErrorActionPreference: their error records are caught as output.
            $count = & $operation 2>&1 | Write-ExoscopeRows -Name $Name -Number $number -Without $Without -Keep $Keep -Kept $Kept -Odd $ExoscopeOdd
            Write-ExoscopeEntry ('{"kind":"read-end","n":' + $number + ',"count":' + $count + '}')
            return $true
        }
        catch {
            # Rows that came before the error are no answer: what reads the result leaves them out.
            Write-ExoscopeFailure $number $_
            if ($null -ne $Kept) { $Kept.Clear() }
            if ($attempt -ge 4 -or -not (Test-ExoscopePassing $_)) {
                $script:ExoscopeFailed = $_
                return $false
            }
            Write-ExoscopeLine "${Name}: $($_.Exception.Message): asked again in $($RetrySeconds * $attempt) s"
            Start-Sleep -Seconds ($RetrySeconds * $attempt)
        }
    }
}

function Read-ExoscopePart([string] $Name, [string[]] $Without = @(), $Keep = $null, $Kept = $null) {
    # One part of the inventory, told on the host.
    Write-ExoscopeLine "reading $Name"
    if (Read-ExoscopeRows $Name @{} $Without $Keep $Kept) { return }
    if ($Name -eq 'policies' -and (Test-ExoscopeNotFound $ExoscopeFailed)) {
        # Exchange's way of saying that there is none.
        return
    }
    $script:ExoscopeUnread += 1
    Write-ExoscopeLine "${Name}: $($ExoscopeFailed.Exception.Message)"
}

function Get-ExoscopeTenant {
    # The tenant of this session. All of its connections to Exchange must be in one.
    $found = @(& $ExoscopeOperations['connection'] 2>&1)
    foreach ($item in $found) { if ($item -is [System.Management.Automation.ErrorRecord]) { throw $item } }
    $ids = @($found | Where-Object { "$($_.State)" -eq 'Connected' } | ForEach-Object { "$($_.TenantID)".ToLowerInvariant() })
    if ($ids.Count -eq 0) { throw 'this session is not connected to Exchange Online: run Connect-ExchangeOnline first.' }
    foreach ($id in $ids) {
        if ($id -ne $ids[0]) { throw "this session is connected to several tenants: $($ids -join ', ')." }
        if ($ExoscopeData['tenant'] -and $id -ne $ExoscopeData['tenant']) { throw "this session is connected to the tenant $id; meant is $($ExoscopeData['tenant'])." }
    }
    if ($ids[0] -notmatch $ExoscopeGuid) { throw 'Exchange does not say which tenant this session is in.' }
    return $ids[0]
}

function Get-ExoscopeSqueezed([string] $Text) {
    # A filter or a distinguished name without what may be written in several ways.
    return [regex]::Replace($Text.ToLowerInvariant(), '[\s''"\\]', '')
}

function Test-ExoscopeNamed([string] $Name, [string] $Text) {
    return [regex]::IsMatch($Text, '(?<![A-Za-z0-9])' + $Name + '(?![A-Za-z0-9])', [System.Text.RegularExpressions.RegexOptions]::IgnoreCase)
}

function Get-ExoscopeGuids($Value) {
    foreach ($found in [regex]::Matches("$Value", '[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}')) { $found.Value.ToLowerInvariant() }
}

function Add-ExoscopeGroup($Groups, $Row, [string] $Address) {
    $guid = "$($Row.Guid)".ToLowerInvariant()
    if (-not $Groups.ContainsKey($guid)) {
        $Groups[$guid] = @{
            'guid'  = "$($Row.Guid)"
            'id'    = "$($Row.ExternalDirectoryObjectId)".ToLowerInvariant()
            'kind'  = "$($Row.RecipientTypeDetails)".ToLowerInvariant()
            'name'  = "$($Row.DisplayName)"
            'dn'    = "$($Row.DistinguishedName)"
            'words' = @("$($Row.WindowsEmailAddress)".ToLowerInvariant())
        }
    }
    if ($Address) { $Groups[$guid]['words'] += $Address.ToLowerInvariant() }
}

function Test-ExoscopeNeeded($Group, [string] $Filters, $Ids, $Wanted) {
    # Groups that a filter, a policy, an assignment or whoever wrote this file names, and those that exoscope made.
    if ($Ids.Contains($Group['guid'].ToLowerInvariant()) -or ($Group['id'] -and $Ids.Contains($Group['id']))) { return $true }
    $words = @($Group['words']) + $Group['guid'].ToLowerInvariant() + $Group['id'] + $Group['dn'].ToLowerInvariant() + $Group['name'].ToLowerInvariant()
    foreach ($word in $words) { if ($word -and $Wanted -contains $word) { return $true } }
    if ($Group['name'].StartsWith('exoscope ', [System.StringComparison]::OrdinalIgnoreCase)) { return $true }
    return $Group['dn'] -and $Filters.Contains((Get-ExoscopeSqueezed $Group['dn']))
}

# Members of the needed groups, and of the groups inside them at any depth. What Exchange does not know the members of is for Graph.
function Read-ExoscopeMembers($Groups, $Needed, $Members, $ForGraph) {
    $waiting = [System.Collections.Generic.Queue[string]]::new()
    foreach ($guid in @($Needed.Keys)) { $waiting.Enqueue($guid) }
    $done = 0
    while ($waiting.Count -gt 0) {
        $guid = $waiting.Dequeue()
        $group = $Groups[$guid]
        $operation = ''
        if ($group['kind'] -eq 'groupmailbox') { $operation = 'unified_group_members' }
        elseif (@('mailuniversaldistributiongroup', 'mailuniversalsecuritygroup', 'mailnonuniversalgroup', 'roomlist') -contains $group['kind']) { $operation = 'distribution_group_members' }
        if (-not $operation) {
            if ($group['kind'] -ne 'dynamicdistributiongroup' -and $group['id'] -match $ExoscopeGuid) { $ForGraph.Add($group['id']) }
            continue
        }
        $kept = [System.Collections.Generic.List[object]]::new()
        $read = Read-ExoscopeRows $operation @{ '<group.guid>' = $group['guid'] } @() { param($row) "$($row.Guid)".ToLowerInvariant() } $kept
        if (-not $read) {
            $script:ExoscopeUnread += 1
            Write-ExoscopeLine "members of $($group['name']): $($ExoscopeFailed.Exception.Message)"
            continue
        }
        $Members[$guid] = $kept
        foreach ($member in $kept) {
            if ($Groups.ContainsKey($member) -and -not $Needed.ContainsKey($member)) {
                $Needed[$member] = $true
                $waiting.Enqueue($member)
            }
        }
        $done += 1
        if ($done % 50 -eq 0) { Write-ExoscopeLine "members of $done groups so far" }
    }
}
