
if ($PSVersionTable.PSVersion.Major -lt 6) {
    # Windows PowerShell may still offer Graph what it no longer takes.
    [System.Net.ServicePointManager]::SecurityProtocol = [System.Net.ServicePointManager]::SecurityProtocol -bor [System.Net.SecurityProtocolType]::Tls12
}

function Get-ExoscopeStatus($Record) {
    # The HTTP status of an error, 0 where there was none.
    foreach ($holder in @($Record.Exception.Response, $Record.Exception)) {
        if ($null -ne $holder -and $null -ne $holder.StatusCode) { return [int] $holder.StatusCode }
    }
    return 0
}

function Invoke-ExoscopeGraph([string] $Method, [string] $Path, $Body = $null) {
    $uri = $Path
    if ($Path.StartsWith('/')) { $uri = $ExoscopeData['graph'] + $Path }
    # The token goes to Graph and to nothing else, links to further pages included.
    if (-not $uri.StartsWith($ExoscopeData['graph'] + '/', [System.StringComparison]::Ordinal)) { throw "ExoscopeOrigin: Graph answered a link to another place." }
    $call = @{ 'Method' = $Method; 'Uri' = $uri }
    if ($null -ne $Body) {
        $call['Body'] = ConvertTo-Json -InputObject $Body -Depth 8 -Compress
        $call['ContentType'] = 'application/json'
    }
    for ($attempt = 1; ; $attempt++) {
        try {
            if ($null -eq $AccessToken) { return Invoke-MgGraphRequest @call -OutputType PSObject }
            $plain = [System.Management.Automation.PSCredential]::new('token', $AccessToken).GetNetworkCredential().Password
            return Invoke-RestMethod @call -UseBasicParsing -Headers @{ 'Authorization' = "Bearer $plain" }
        }
        catch {
            $status = Get-ExoscopeStatus $_
            # A call that was not let in did nothing; a reading may be asked again anyway. A write is settled by reading.
            $again = $status -eq 429 -or ($Method -eq 'GET' -and @(502, 503, 504) -contains $status)
            if (-not $again -or $attempt -ge 4) { throw }
            Start-Sleep -Seconds (10 * $attempt)
        }
    }
}
