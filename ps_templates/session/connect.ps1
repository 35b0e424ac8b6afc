# Connect this session to Exchange Online with a token, and make ready to send large reads back as JSON.
# Constant: its data comes as typed parameters, the token as a SecureString. Runs on Windows PowerShell 5.1 and PowerShell 7.
param(
    [Parameter(Mandatory = $true)] [securestring] $AccessToken,
    [Parameter(Mandatory = $true)] [string[]] $CommandName,
    [string] $Organization = '',
    [string] $UserPrincipalName = '',
    [string] $DelegatedOrganization = '',
    [string] $ExchangeEnvironmentName = 'O365Default',
    [string] $ModuleBasePath = ''
)

$global:ExoscopeConnected = $false

# Pass rows on in batches of -Size: JSON, compressed, in base64. One such text is far cheaper to send than its rows.
# Values become null, boolean, number, text or a list of texts; times are ISO 8601 in UTC; one row is still a list.
# The JSON is written here: ConvertTo-Json takes longer, and each PowerShell's writes some values in a way of its own.
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
        $invariant = [System.Globalization.CultureInfo]::InvariantCulture
        # What must not stand in JSON as it is, and halves of surrogate pairs, which UTF-8 has not.
        $odd = '[\x00-\x1f"\\\ud800-\udfff]'
        $escape = [System.Text.RegularExpressions.MatchEvaluator] { param($match) '\u{0:x4}' -f [int] $match.Value[0] }
        $quote = {
            param([string] $text)
            '"' + [regex]::Replace($text, $odd, $escape) + '"'
        }
        $text = {
            param($value)
            if ($value -is [datetime]) { return $value.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', $invariant) }
            if ($value -is [System.DateTimeOffset]) { return $value.UtcDateTime.ToString('yyyy-MM-ddTHH:mm:ss.fffffffZ', $invariant) }
            return "$value"
        }
        $plain = {
            param($value)
            if ($value -is [bool]) { return ([string] $value).ToLowerInvariant() }
            if ($value -is [byte] -or $value -is [int16] -or $value -is [uint16] -or $value -is [int] -or $value -is [uint32] -or $value -is [long]) {
                return ([long] $value).ToString($invariant)
            }
            if (($value -is [double] -or $value -is [single]) -and -not [double]::IsNaN($value) -and -not [double]::IsInfinity($value)) {
                return ([double] $value).ToString('R', $invariant)
            }
            return & $quote (& $text $value)
        }
        $pack = {
            $bytes = [System.Text.Encoding]::UTF8.GetBytes('[' + $json.ToString() + ']')
            $memory = [System.IO.MemoryStream]::new()
            $zip = [System.IO.Compression.GZipStream]::new($memory, [System.IO.Compression.CompressionLevel]::Fastest)
            $zip.Write($bytes, 0, $bytes.Length)
            $zip.Dispose()
            [System.Convert]::ToBase64String($memory.ToArray())
        }
        $heads = @{}
        $json = [System.Text.StringBuilder]::new()
        $count = 0
    }
    process {
        if ($null -eq $InputObject) { return }
        $row = ''
        $before = '{'
        if ($count) { $before = ',{' }
        foreach ($property in $InputObject.PSObject.Properties) {
            $name = $property.Name
            $head = $heads[$name]
            if ($null -eq $head) {
                $head = (& $quote $name) + ':'
                $heads[$name] = $head
            }
            $row += $before + $head
            $before = ','
            $value = $property.Value
            # Texts are written without a call: nearly every value is one.
            if ($null -eq $value) { $row += 'null' }
            elseif ($value -is [string]) {
                if ($value -match $odd) { $row += & $quote $value } else { $row += '"' + $value + '"' }
            }
            elseif ($value -is [System.Collections.IEnumerable] -and $value -isnot [System.Collections.IDictionary]) {
                $list = ''
                foreach ($element in $value) {
                    if ($null -eq $element) { continue }
                    if ($element -isnot [string]) { $element = & $text $element }
                    if ($list) { $list += ',' }
                    if ($element -match $odd) { $list += & $quote $element } else { $list += '"' + $element + '"' }
                }
                $row += '[' + $list + ']'
            }
            else { $row += & $plain $value }
        }
        if ($before -ne ',') { $row = $before }
        [void] $json.Append($row + '}')
        $count += 1
        if ($count -ge $Size) {
            & $pack
            [void] $json.Clear()
            $count = 0
        }
    }
    end {
        if ($count) { & $pack }
    }
}

# In a scope of its own, so that neither the settings nor the token in clear outlive it.
& {
    $ErrorActionPreference = 'Stop'
    Import-Module -Name ExchangeOnlineManagement -MinimumVersion 3.2.0
    $connection = @{
        AccessToken             = [System.Management.Automation.PSCredential]::new('token', $AccessToken).GetNetworkCredential().Password
        CommandName             = $CommandName
        ExchangeEnvironmentName = $ExchangeEnvironmentName
        SkipLoadingFormatData   = $true
        ShowBanner              = $false
    }
    # Whose the token is: of an application, of a person, or of a partner's person in a customer's organization.
    if ($DelegatedOrganization) { $connection['DelegatedOrganization'] = $DelegatedOrganization }
    elseif ($UserPrincipalName) { $connection['UserPrincipalName'] = $UserPrincipalName }
    else { $connection['Organization'] = $Organization }
    if ($ModuleBasePath) { $connection['EXOModuleBasePath'] = $ModuleBasePath }
    Connect-ExchangeOnline @connection
    $global:ExoscopeConnected = $true
} | ForEach-Object { }
