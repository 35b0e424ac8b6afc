
$ExoscopeResult = $null
$ExoscopeResultFile = "$PSCommandPath.result.json"
if ($ResultPath) { $ExoscopeResultFile = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($ResultPath) }

Write-ExoscopeLine "exoscope script $($ExoscopeData['script']): stage $($ExoscopeData['stage']) of plan $($ExoscopeData['plan'])"
Write-ExoscopeLine "tenant $($ExoscopeData['tenant']['domain']) ($($ExoscopeData['tenant']['id'])), $($ExoscopeData['steps'].Count) step(s)"
foreach ($app in $ExoscopeData['apps']) { Write-ExoscopeLine "app $($app['name']) ($($app['app_id']))" }
foreach ($note in $ExoscopeData['notes']) { Write-ExoscopeLine "note: $note" }

Test-ExoscopeFollows

# What an interrupted run of this same script noted.
$ExoscopeEarlier = @{}
if ([System.IO.File]::Exists($ExoscopeResultFile)) {
    $old = $null
    try { $old = Read-ExoscopeFile $ExoscopeResultFile } catch { $old = $null }
    if ($null -eq $old -or "$($old.plan)" -cne $ExoscopeData['plan'] -or "$($old.script)" -cne $ExoscopeData['script']) {
        Stop-ExoscopeRun 'refused' "$ExoscopeResultFile is no result of this script: name another -ResultPath. Nothing was changed." 4
    }
    foreach ($entry in $old.steps) { $ExoscopeEarlier["$($entry.id)"] = "$($entry.outcome)" }
}

# First every object is read, so that nothing is begun that could not be ended.
$ExoscopeTouched = @()
$ExoscopeFound = @{}
$trouble = ''
try {
    Test-ExoscopeTenant
    $trouble = Test-ExoscopeFills
}
catch { Stop-ExoscopeRun 'unknown' "$(Get-ExoscopeError $_) Nothing was changed." 6 }
if ($trouble) { Stop-ExoscopeRun 'refused' "$trouble Nothing was changed." 4 }
foreach ($step in $ExoscopeData['steps']) {
    try {
        Test-ExoscopeTenant
        $seen = Read-ExoscopeObject $step
        $place = Get-ExoscopePlace $step $seen
    }
    catch { Stop-ExoscopeRun 'unknown' "$($step['id']): $(Get-ExoscopeError $_) Nothing was changed." 6 }
    $chained = $false
    foreach ($id in $ExoscopeTouched) { if ($id -ceq $step['id']) { $chained = $true } }
    $ExoscopeTouched += @($step['later'])
    $ExoscopeFound[$step['id']] = ConvertTo-ExoscopeSeen $seen
    if (-not $chained -and $place -eq 'other') { Stop-ExoscopeRun 'refused' "$($step['id']) $($step['title']): changed by somebody else since the plan. Nothing was changed." 4 }
    if (-not $chained -and $place -eq 'unclear') { Stop-ExoscopeRun 'unknown' "$($step['id']) $($step['title']): cannot tell how it stands. Nothing was changed." 6 }
    Write-ExoscopeLine "checked $($step['id']) $($step['title']): stands as $place the step"
}

if ($WhatIfPreference) {
    foreach ($step in $ExoscopeData['steps']) { $null = $PSCmdlet.ShouldProcess($step['object'], $step['title']) }
    Write-ExoscopeLine 'what if: nothing was changed, and no result was written'
    exit 0
}

$ExoscopeResult = [ordered]@{
    'format'      = 'exoscope/script-result@1'
    'plan'        = $ExoscopeData['plan']
    'tenant'      = $ExoscopeData['tenant']['id']
    'script'      = $ExoscopeData['script']
    'stage'       = $ExoscopeData['stage']
    'started_at'  = Get-ExoscopeNow
    'finished_at' = $null
    'outcome'     = 'running'
    'why'         = ''
    'steps'       = @(foreach ($step in $ExoscopeData['steps']) {
            [ordered]@{ 'id' = $step['id']; 'outcome' = 'open'; 'at' = $null; 'found' = $ExoscopeFound[$step['id']]; 'seen' = $null; 'error' = '' }
        })
}
# What was sent before an interruption stays noted as sent until it is read as landed.
foreach ($entry in $ExoscopeResult['steps']) {
    if ($ExoscopeEarlier[$entry['id']] -eq 'done' -or $ExoscopeEarlier[$entry['id']] -eq 'sent') { $entry['outcome'] = 'sent' }
}
Save-ExoscopeResult

foreach ($step in $ExoscopeData['steps']) {
    $name = "$($step['id']) $($step['title'])"
    $entry = Get-ExoscopeEntry $step['id']
    $ours = $entry['outcome'] -eq 'sent'
    try {
        Test-ExoscopeTenant
        $trouble = Test-ExoscopeFills
        $seen = Read-ExoscopeObject $step
        $place = Get-ExoscopePlace $step $seen
    }
    catch { Stop-ExoscopeStep "${name}: $(Get-ExoscopeError $_)" }
    if ($trouble) { Stop-ExoscopeStep "${name}: $trouble" }
    $entry['found'] = ConvertTo-ExoscopeSeen $seen
    if ($place -eq 'after') {
        $entry['outcome'] = 'already'
        if ($ours) { $entry['outcome'] = 'done' }
        $entry['seen'] = $entry['found']
        $entry['at'] = Get-ExoscopeNow
        Write-ExoscopeLine "${name}: is so already"
        Save-ExoscopeResult
        continue
    }
    if ($place -ne 'before') { Stop-ExoscopeStep "${name}: does not stand as the plan found it ($place)." }
    $entry['outcome'] = 'open'
    if (-not $PSCmdlet.ShouldProcess($step['object'], $step['title'])) { Stop-ExoscopeStep "${name}: was declined." }
    # Noted before it is sent: whoever finds this file after an interruption knows that it may have been.
    $entry['outcome'] = 'sent'
    $entry['at'] = Get-ExoscopeNow
    Save-ExoscopeResult
    Write-ExoscopeLine "${name}: sending"
    try { Write-ExoscopeObject $step $seen }
    catch {
        # Whatever it says, reading tells whether it did its work all the same.
        $entry['error'] = Get-ExoscopeError $_
        Write-ExoscopeLine "${name}: $($entry['error'])"
    }
    $until = [datetime]::UtcNow.AddSeconds($ReadBackSeconds)
    if ($entry['error']) { $until = [datetime]::UtcNow.AddSeconds([math]::Min(15, $ReadBackSeconds)) }
    $pause = 1
    $unread = ''
    while ($true) {
        $place = 'unread'
        try {
            $seen = Read-ExoscopeObject $step
            $place = Get-ExoscopePlace $step $seen
            $entry['seen'] = ConvertTo-ExoscopeSeen $seen
        }
        catch { $unread = Get-ExoscopeError $_ }
        if ($place -eq 'after' -or [datetime]::UtcNow -ge $until) { break }
        Start-Sleep -Seconds $pause
        $pause = [math]::Min(8, 2 * $pause)
    }
    if ($place -eq 'before' -and $entry['error']) {
        $entry['outcome'] = 'failed'
        Stop-ExoscopeStep "${name}: failed, and reads as before it: $($entry['error'])"
    }
    if ($place -ne 'after') { Stop-ExoscopeStep "${name}: was sent, and does not read back as it should ($place). $unread" }
    $entry['outcome'] = 'done'
    $entry['at'] = Get-ExoscopeNow
    Save-ExoscopeResult
    Write-ExoscopeLine "${name}: done, and read back"
}
Stop-ExoscopeRun 'done' "every step of $($ExoscopeData['script']) stands." 0
