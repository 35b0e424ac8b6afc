
# ---- The rest is the frame: it reads, compares, asks, writes once, reads back, and stops at the first surprise.

function Read-ExoscopeFile([string] $Path) {
    [System.IO.File]::ReadAllText($ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)) | ConvertFrom-Json
}

function Save-ExoscopeResult {
    # Written whole beside the old one, then put in its place: an interruption leaves one or the other.
    $json = ConvertTo-Json -InputObject $ExoscopeResult -Depth 9
    [System.IO.File]::WriteAllText("$ExoscopeResultFile.partial", $json)
    if ([System.IO.File]::Exists($ExoscopeResultFile)) { [System.IO.File]::Delete($ExoscopeResultFile) }
    [System.IO.File]::Move("$ExoscopeResultFile.partial", $ExoscopeResultFile)
}

function Stop-ExoscopeRun([string] $Outcome, [string] $Why, [int] $Code) {
    # Nothing runs after this: the number is the exit code of the script.
    Write-ExoscopeLine "$($Outcome.ToUpperInvariant()): $Why"
    if ($null -ne $ExoscopeResult) {
        $ExoscopeResult['outcome'] = $Outcome
        $ExoscopeResult['why'] = $Why
        $ExoscopeResult['finished_at'] = Get-ExoscopeNow
        Save-ExoscopeResult
        Write-ExoscopeLine "The result is in $ExoscopeResultFile."
    }
    exit $Code
}

function Test-ExoscopeChanged {
    foreach ($entry in $ExoscopeResult['steps']) {
        if ($entry['outcome'] -eq 'done' -or $entry['outcome'] -eq 'sent') { return $true }
    }
    return $false
}

function Stop-ExoscopeStep([string] $Why) {
    # Before anything was sent this is a refusal; afterwards a run that stands part-way.
    if ($null -ne $ExoscopeResult -and (Test-ExoscopeChanged)) { Stop-ExoscopeRun 'stopped' "$Why What was done before stays; run this script again once it is put right." 5 }
    Stop-ExoscopeRun 'refused' "$Why Nothing was changed." 4
}

function Test-ExoscopeFollows {
    # The script before this one must have ended well, and its stage's wait must be over.
    $after = $ExoscopeData['after']
    if ($null -eq $after) { return }
    if ($after['script']) {
        if (-not $AfterResult) { Stop-ExoscopeRun 'refused' "give -AfterResult, the result file of $($after['script']). Nothing was changed." 4 }
        $earlier = Read-ExoscopeFile $AfterResult
        if ("$($earlier.plan)" -cne $ExoscopeData['plan'] -or "$($earlier.script)" -cne $after['script']) {
            Stop-ExoscopeRun 'refused' "$AfterResult is not the result of $($after['script']) of this plan. Nothing was changed." 4
        }
        if ("$($earlier.outcome)" -cne 'done') { Stop-ExoscopeRun 'refused' "$($after['script']) has not ended: its result says $($earlier.outcome). Nothing was changed." 4 }
        # PowerShell 7 makes a time of what looks like one; Windows PowerShell leaves the text.
        $ended = $earlier.finished_at
        if ($ended -isnot [datetime]) {
            $ended = [datetime]::Parse("$ended", [cultureinfo]::InvariantCulture, [System.Globalization.DateTimeStyles]::RoundtripKind)
        }
        $ready = $ended.ToUniversalTime().AddSeconds([double] $after['seconds'])
        if ([datetime]::UtcNow -lt $ready) {
            $at = $ready.ToString('yyyy-MM-ddTHH:mm:ssZ', [cultureinfo]::InvariantCulture)
            Stop-ExoscopeRun 'waiting' "the wait of stage $($after['stage']) is over at $at; run this script then. Nothing was changed." 3
        }
    }
    if ($after['evidence'].Count -gt 0 -and $EvidenceSeen -cne $after['stage']) {
        Stop-ExoscopeRun 'refused' "stage $($after['stage']) ends with evidence ($($after['evidence'] -join ', ')): see it with exoscope verify --stage $($after['stage']), then give -EvidenceSeen $($after['stage']). Nothing was changed." 4
    }
}

function Get-ExoscopePlace($Step, $Seen) {
    # Where the object stands between the two states of its step: before, after, other or unclear.
    $answers = @(Test-ExoscopeState $Step $Seen $Step['after'])
    foreach ($id in $Step['later']) {
        # A later step on the same object may have been done before an interruption.
        foreach ($other in $ExoscopeData['steps']) {
            if ($other['id'] -ceq $id) { $answers += Test-ExoscopeState $other $Seen $other['after'] }
        }
    }
    if ($answers -contains 'yes') {
        if (Test-ExoscopeYields $Step $Seen) { return 'after' }
        return 'unclear'
    }
    $before = Test-ExoscopeState $Step $Seen $Step['before']
    if ($before -eq 'yes') {
        if (Test-ExoscopeOwn $Step $Seen) { return 'before' }
        return 'other'
    }
    if ($before -eq 'unclear' -or $answers -contains 'unclear') { return 'unclear' }
    return 'other'
}

function Get-ExoscopeEntry([string] $Id) {
    foreach ($entry in $ExoscopeResult['steps']) { if ($entry['id'] -ceq $Id) { return $entry } }
}

function Test-ExoscopeSame([string] $One, [string] $Other) {
    # Names and filters without case, but character by character: -eq compares as a language does (InvariantCulture), and passes
    # over what nobody sees. Source: about_Comparison_Operators; PowerShell-Docs #9982.
    [string]::Equals($One, $Other, [System.StringComparison]::OrdinalIgnoreCase)
}
