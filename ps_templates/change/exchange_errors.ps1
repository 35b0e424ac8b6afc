
function Test-ExoscopeNotFound($Record) {
    $names = "$($Record.FullyQualifiedErrorId) $($Record.Exception.GetType().FullName)"
    $text = "$($Record.Exception.Message)"
    # A cmdlet that the operator's roles do not give is not an object that is missing.
    if ($names -match 'CommandNotFound|NamedParameterNotFound|AccessDenied|Unauthorized') { return $false }
    if ($names -match 'ManagementObjectNotFound|MemberNotFoundException|MapiObjectNotFound|RecipientNotFoundException') { return $true }
    return $text -match 'ManagementObjectNotFound|couldn.t be found|could not be found|isn.t a member of' -or "$($Record.CategoryInfo.Category)" -eq 'ObjectNotFound'
}
