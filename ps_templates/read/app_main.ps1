
function Get-ExoscopeIdentity {
    # As whom Graph is asked: appId, tenant and application permissions, as the token itself says them.
    if ($null -eq $AccessToken) {
        $context = Get-MgContext
        if ($null -eq $context -or "$($context.AuthType)" -ne 'AppOnly') { throw 'this session is not connected as an application: run Connect-MgGraph with -ClientId and -CertificateThumbprint, or give -AccessToken.' }
        return @{ 'app_id' = "$($context.ClientId)"; 'tenant' = "$($context.TenantId)"; 'roles' = @($context.Scopes | Where-Object { $_ }); 'expires_at' = $null }
    }
    $parts = [System.Management.Automation.PSCredential]::new('token', $AccessToken).GetNetworkCredential().Password.Split('.')
    if ($parts.Count -ne 3) { throw 'the token cannot be read, so it does not say whose it is.' }
    $text = $parts[1].Replace('-', '+').Replace('_', '/')
    while ($text.Length % 4 -ne 0) { $text += '=' }
    try { $claims = ConvertFrom-Json $ExoscopeUtf8.GetString([Convert]::FromBase64String($text)) }
    catch { throw 'the token cannot be read, so it does not say whose it is.' }
    $app = "$($claims.appid)"
    if (-not $app) { $app = "$($claims.azp)" }
    if ($claims.scp) { throw 'this is the token of a user, not of the application itself.' }
    $ends = [datetime]::new(1970, 1, 1, 0, 0, 0, [System.DateTimeKind]::Utc).AddSeconds([double] $claims.exp)
    return @{ 'app_id' = $app; 'tenant' = "$($claims.tid)"; 'roles' = @($claims.roles | Where-Object { $_ }); 'expires_at' = $ends }
}

$app = $ExoscopeData['apps'][0]
try {
    $identity = Get-ExoscopeIdentity
    if ($identity['tenant'] -ne $ExoscopeData['tenant']) { throw "this is the tenant $($identity['tenant']); meant is $($ExoscopeData['tenant'])." }
    if ($identity['app_id'] -ne $app['app_id']) { throw "this is the application $($identity['app_id']); meant is $($app['app_id'])." }
}
catch { Stop-ExoscopeReading "$($_.Exception.Message)" 6 }
$earlier = Get-ExoscopeEarlier
if ($null -eq $earlier) { Stop-ExoscopeReading "give -AfterResult, the result file of $($ExoscopeData['after']): it names the mailboxes to ask about." 4 }
$ids = [System.Collections.Generic.List[string]]::new()
foreach ($asked in $earlier['asked']) {
    if ("$($asked.app_id)" -ne $app['app_id']) { continue }
    # A mailbox that Entra does not know cannot be named to Graph.
    foreach ($mailbox in @($asked.probed)) { if ("$($mailbox.id)" -match $ExoscopeGuid) { $ids.Add("$($mailbox.id)") } }
}
Open-ExoscopeResult $identity['tenant']
try {
    Write-ExoscopeEntry (ConvertTo-ExoscopeJson ([ordered]@{ 'kind' = 'token'; 'app_id' = $app['app_id']; 'roles' = @($identity['roles']); 'expires_at' = $identity['expires_at'] }))
    foreach ($name in @($ExoscopeRequests.Keys)) {
        Write-ExoscopeLine "asking about $($ids.Count) mailboxes: $name"
        # Only whether it answered, and the error's code: nothing of a mailbox.
        Read-ExoscopeMany @(foreach ($id in $ids) { Get-ExoscopePath $name $id }) @(200, 403, 404) { param($body) if ($null -ne $body.error) { @{ 'error' = @{ 'code' = "$($body.error.code)" } } } else { @{} } }
    }
}
catch { Stop-ExoscopeReading (Get-ExoscopeError $_) 6 }
Close-ExoscopeResult
