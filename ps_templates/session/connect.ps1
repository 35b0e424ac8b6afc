# Connect this session to Exchange Online as an application, and make ready to send large reads back as JSON.
# Constant: its data comes as typed parameters, the token as a SecureString. Runs on Windows PowerShell 5.1 and PowerShell 7.
param(
    [Parameter(Mandatory = $true)] [securestring] $AccessToken,
    [Parameter(Mandatory = $true)] [string] $Organization,
    [Parameter(Mandatory = $true)] [string[]] $CommandName,
    [string] $ExchangeEnvironmentName = 'O365Default',
    [string] $ModuleBasePath = ''
)

$global:ExoscopeConnected = $false

# Pass rows on as JSON texts of -Size rows each: one text is far cheaper to send than its rows.
# Values become null, boolean, number, text or a list of texts; times are ISO 8601 in UTC; one row is still a list.
function global:ConvertTo-ExoscopeBatch {
    [CmdletBinding()]
    param(
        [Parameter(ValueFromPipeline = $true)] [AllowNull()] [object] $InputObject,
        [int] $Size = 500
    )
    begin {
        if (-not $global:ExoscopeConnected) {
            throw 'ExoscopeNotConnected: this session is not connected to Exchange Online.'
        }
        $plain = {
            param($value)
            if ($null -eq $value) { return $null }
            if ($value -is [bool]) { return [bool] $value }
            if ($value -is [datetime]) {
                return $value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', [System.Globalization.CultureInfo]::InvariantCulture)
            }
            if ($value -is [System.DateTimeOffset]) {
                return $value.UtcDateTime.ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', [System.Globalization.CultureInfo]::InvariantCulture)
            }
            if ($value -is [byte] -or $value -is [int16] -or $value -is [uint16] -or $value -is [int] -or $value -is [uint32] -or $value -is [long]) {
                return [long] $value
            }
            if ($value -is [double] -or $value -is [single]) {
                if ([double]::IsNaN($value) -or [double]::IsInfinity($value)) { return "$value" }
                return [double] $value
            }
            return "$value"
        }
        $rows = [System.Collections.Generic.List[object]]::new()
    }
    process {
        if ($null -eq $InputObject) { return }
        $row = [ordered]@{}
        foreach ($property in $InputObject.PSObject.Properties) {
            $value = $property.Value
            if ($value -is [System.Collections.IEnumerable] -and $value -isnot [string] -and $value -isnot [System.Collections.IDictionary]) {
                $list = [System.Collections.Generic.List[object]]::new()
                foreach ($element in $value) {
                    if ($null -ne $element) { $list.Add([string] (& $plain $element)) }
                }
                $row[$property.Name] = $list.ToArray()
            }
            else {
                $row[$property.Name] = & $plain $value
            }
        }
        $rows.Add($row)
        if ($rows.Count -ge $Size) {
            ConvertTo-Json -InputObject $rows.ToArray() -Compress -Depth 3
            $rows.Clear()
        }
    }
    end {
        if ($rows.Count -gt 0) {
            ConvertTo-Json -InputObject $rows.ToArray() -Compress -Depth 3
        }
    }
}

# In a scope of its own, so that neither the settings nor the token in clear outlive it.
& {
    $ErrorActionPreference = 'Stop'
    Import-Module -Name ExchangeOnlineManagement -MinimumVersion 3.2.0
    $connection = @{
        AccessToken             = [System.Management.Automation.PSCredential]::new('token', $AccessToken).GetNetworkCredential().Password
        Organization            = $Organization
        CommandName             = $CommandName
        ExchangeEnvironmentName = $ExchangeEnvironmentName
        SkipLoadingFormatData   = $true
        ShowBanner              = $false
    }
    if ($ModuleBasePath) { $connection['EXOModuleBasePath'] = $ModuleBasePath }
    Connect-ExchangeOnline @connection
    $global:ExoscopeConnected = $true
} | ForEach-Object { }
