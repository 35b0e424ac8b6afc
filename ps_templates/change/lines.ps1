
function Write-ExoscopeLine([string] $Text) {
    # Names come from the tenant: what cannot be printed must not draw lines of its own in a transcript.
    Write-Host ([datetime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ', [cultureinfo]::InvariantCulture) + ' ' + ($Text -replace '\p{C}', '?'))
}

function Get-ExoscopeNow {
    [datetime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ', [cultureinfo]::InvariantCulture)
}

function Get-ExoscopeError($Record) {
    $text = "$($Record.Exception.Message)"
    if ($null -ne $Record.ErrorDetails -and $Record.ErrorDetails.Message) { $text = "$($Record.ErrorDetails.Message)" }
    return $text
}
