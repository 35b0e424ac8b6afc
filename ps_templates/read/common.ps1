
# ---- The rest is the frame: it asks, notes each answer as a line of the result, and changes nothing.

$ExoscopeUtf8 = [System.Text.UTF8Encoding]::new($false, $true)
$ExoscopeInvariant = [cultureinfo]::InvariantCulture
# What cannot stand in a JSON text as it is.
$ExoscopeOdd = [regex]::new('[\x00-\x1F"\\]')
$ExoscopeGuid = '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$'
$ExoscopeFile = $null
$ExoscopeHash = [System.Security.Cryptography.SHA256]::Create()
$ExoscopeLines = 0
$ExoscopeUnread = 0
$ExoscopeResultFile = "$PSCommandPath.result.jsonl"
if ($ResultPath) { $ExoscopeResultFile = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($ResultPath) }

# JSON by hand: what ConvertTo-Json makes of times, lists and odd texts is not the same in every PowerShell.
function ConvertTo-ExoscopeText([string] $Text) {
    if (-not $ExoscopeOdd.IsMatch($Text)) { return '"' + $Text + '"' }
    $made = [System.Text.StringBuilder]::new()
    foreach ($character in $Text.ToCharArray()) {
        $code = [int] $character
        if ($code -eq 0x22 -or $code -eq 0x5C) { [void] $made.Append('\').Append($character) }
        elseif ($code -lt 0x20) { [void] $made.Append('\u').Append($code.ToString('x4', $ExoscopeInvariant)) }
        else { [void] $made.Append($character) }
    }
    return '"' + $made.ToString() + '"'
}

function ConvertTo-ExoscopeNumber($Value) {
    # A number as JSON, or an empty text for what is none.
    if ($Value -is [int] -or $Value -is [long] -or $Value -is [byte] -or $Value -is [int16] -or $Value -is [uint16] -or $Value -is [uint32]) {
        return ([long] $Value).ToString($ExoscopeInvariant)
    }
    if ($Value -is [double] -or $Value -is [single]) {
        if (-not [double]::IsNaN($Value) -and -not [double]::IsInfinity($Value)) { return ([double] $Value).ToString('R', $ExoscopeInvariant) }
    }
    return ''
}

function ConvertTo-ExoscopeJson($Value) {
    if ($null -eq $Value) { return 'null' }
    if ($Value -is [string]) { return (ConvertTo-ExoscopeText $Value) }
    if ($Value -is [bool]) { if ($Value) { return 'true' } else { return 'false' } }
    $number = ConvertTo-ExoscopeNumber $Value
    if ($number) { return $number }
    if ($Value -is [datetime]) {
        # PowerShell 7 makes a time of every text in an answer that looks like one: back to what it was.
        if ($Value.Kind -eq [System.DateTimeKind]::Unspecified) { return '"' + $Value.ToString('yyyy-MM-ddTHH:mm:ss.FFFFFFF', $ExoscopeInvariant) + '"' }
        return '"' + $Value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.FFFFFFF', $ExoscopeInvariant) + 'Z"'
    }
    if ($Value -is [System.Collections.IDictionary]) {
        $parts = foreach ($key in @($Value.Keys)) { (ConvertTo-ExoscopeText "$key") + ':' + (ConvertTo-ExoscopeJson $Value[$key]) }
        return '{' + (@($parts) -join ',') + '}'
    }
    if ($Value -is [System.Collections.IEnumerable]) {
        $parts = foreach ($element in $Value) { ConvertTo-ExoscopeJson $element }
        return '[' + (@($parts) -join ',') + ']'
    }
    if ($Value -is [System.Management.Automation.PSCustomObject]) {
        $parts = foreach ($property in $Value.PSObject.Properties) {
            # Nothing of a credential but its names and times.
            if (@('secretText', 'hint', 'key') -contains $property.Name) { continue }
            (ConvertTo-ExoscopeText $property.Name) + ':' + (ConvertTo-ExoscopeJson $property.Value)
        }
        return '{' + (@($parts) -join ',') + '}'
    }
    return (ConvertTo-ExoscopeText "$Value")
}

function Write-ExoscopeEntry([string] $Json) {
    $bytes = $ExoscopeUtf8.GetBytes($Json + [char] 10)
    $null = $ExoscopeHash.TransformBlock($bytes, 0, $bytes.Length, $null, 0)
    $ExoscopeFile.Write($bytes, 0, $bytes.Length)
    $script:ExoscopeLines += 1
}

function Open-ExoscopeResult([string] $Tenant) {
    # Written beside the old one and put in its place at the end: what is there is always the result of a whole run.
    if ([System.IO.File]::Exists($ExoscopeResultFile)) {
        $reader = [System.IO.StreamReader]::new($ExoscopeResultFile)
        try { $first = "$($reader.ReadLine())" } finally { $reader.Dispose() }
        if (-not $first.StartsWith('{"format":"exoscope/script-reading@1",', [System.StringComparison]::Ordinal)) {
            Stop-ExoscopeReading "$ExoscopeResultFile is no result of a reading: name another -ResultPath." 4
        }
    }
    $script:ExoscopeFile = [System.IO.File]::Create("$ExoscopeResultFile.partial")
    $app = $null
    if ($ExoscopeData['part'] -eq 'app') { $app = $ExoscopeData['apps'][0]['app_id'] }
    Write-ExoscopeEntry (ConvertTo-ExoscopeJson ([ordered]@{
                'format'     = 'exoscope/script-reading@1'
                'script'     = $ExoscopeData['script']
                'part'       = $ExoscopeData['part']
                'purpose'    = $ExoscopeData['purpose']
                'plan'       = $ExoscopeData['plan']
                'tenant'     = $Tenant.ToLowerInvariant()
                'cloud'      = $ExoscopeData['cloud']
                'graph'      = $ExoscopeData['graph']
                'app_id'     = $app
                'seed'       = $ExoscopeData['seed']
                'started_at' = $ExoscopeStarted
            }))
}

function Close-ExoscopeResult {
    Write-ExoscopeEntry ('{"kind":"finished","at":"' + (Get-ExoscopeNow) + '"}')
    $null = $ExoscopeHash.TransformFinalBlock([byte[]] @(), 0, 0)
    $sum = (@(foreach ($byte in $ExoscopeHash.Hash) { $byte.ToString('x2', $ExoscopeInvariant) }) -join '')
    Write-ExoscopeLast ('{"kind":"end","lines":' + $ExoscopeLines + ',"sha256":"' + $sum + '"}')
    $ExoscopeFile.Dispose()
    $script:ExoscopeFile = $null
    if ([System.IO.File]::Exists($ExoscopeResultFile)) { [System.IO.File]::Delete($ExoscopeResultFile) }
    [System.IO.File]::Move("$ExoscopeResultFile.partial", $ExoscopeResultFile)
    Write-ExoscopeLine "The result is in $ExoscopeResultFile."
    if ($ExoscopeUnread -gt 0) {
        Write-ExoscopeLine "NOT ALL READ: $ExoscopeUnread thing(s) could not be read; the result says what and why."
        exit 6
    }
    Write-ExoscopeLine 'READ: nothing was changed.'
    exit 0
}

function Write-ExoscopeLast([string] $Json) {
    # Not through the sum, which stands in it.
    $bytes = $ExoscopeUtf8.GetBytes($Json + [char] 10)
    $ExoscopeFile.Write($bytes, 0, $bytes.Length)
}

function Stop-ExoscopeReading([string] $Why, [int] $Code) {
    # Nothing runs after this, and there is no result: a part of one could be taken for the whole.
    if ($null -ne $ExoscopeFile) {
        $ExoscopeFile.Dispose()
        [System.IO.File]::Delete("$ExoscopeResultFile.partial")
    }
    $word = 'NOT READ'
    if ($Code -eq 4) { $word = 'REFUSED' }
    Write-ExoscopeLine "${word}: $Why There is no new result, and nothing was changed."
    exit $Code
}

function Read-ExoscopeEarlier([string] $Path) {
    # What later scripts need of the Exchange script's result: its header, and the lines that name groups and mailboxes.
    $found = @{ 'header' = $null; 'groups' = @(); 'asked' = @(); 'ended' = $false }
    $reader = [System.IO.StreamReader]::new($Path, $ExoscopeUtf8)
    try {
        while ($null -ne ($line = $reader.ReadLine())) {
            if ($null -eq $found['header']) { $found['header'] = ConvertFrom-Json $line }
            elseif ($line.StartsWith('{"kind":"groups",', [System.StringComparison]::Ordinal)) { $found['groups'] = @((ConvertFrom-Json $line).ids) }
            elseif ($line.StartsWith('{"kind":"asked",', [System.StringComparison]::Ordinal)) { $found['asked'] += ConvertFrom-Json $line }
            $found['ended'] = $line.StartsWith('{"kind":"end",', [System.StringComparison]::Ordinal)
        }
    }
    finally { $reader.Dispose() }
    $header = $found['header']
    if ($null -eq $header -or "$($header.format)" -cne 'exoscope/script-reading@1' -or "$($header.script)" -cne $ExoscopeData['after']) {
        Stop-ExoscopeReading "$Path is not the result of $($ExoscopeData['after'])." 4
    }
    if (-not $found['ended']) { Stop-ExoscopeReading "$Path is not whole." 4 }
    if ("$($header.plan)" -cne "$($ExoscopeData['plan'])") { Stop-ExoscopeReading "$Path is about another plan." 4 }
    return $found
}

function Get-ExoscopeEarlier {
    # The result of the Exchange script: as it was named, else beside this file; null where there is none.
    if ($AfterResult) { $path = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($AfterResult) }
    else { $path = [System.IO.Path]::Combine([System.IO.Path]::GetDirectoryName($PSCommandPath), "$($ExoscopeData['after']).result.jsonl") }
    if ([System.IO.File]::Exists($path)) {
        Write-ExoscopeLine "after $path"
        return (Read-ExoscopeEarlier $path)
    }
    if ($AfterResult) { Stop-ExoscopeReading "there is no file $path." 4 }
    return $null
}

$ExoscopeStarted = Get-ExoscopeNow
Write-ExoscopeLine "exoscope script $($ExoscopeData['script']): it reads, and changes nothing"
if ($ExoscopeData['plan']) { Write-ExoscopeLine "to check plan $($ExoscopeData['plan'])" }
foreach ($app in $ExoscopeData['apps']) { Write-ExoscopeLine "app $($app['name']) ($($app['app_id']))" }
