# The constant part of the sandbox's stand-in for ExchangeOnlineManagement: it sends each cmdlet to the twin's admin API and
# answers as Exchange's own module does. Runs on Windows PowerShell 5.1 and PowerShell 7.
# Above it stands $Sandbox (address, tenant, domain, CA), below it one function a cmdlet.

$Connected = $null
$Transient = 429, 503, 504
$Categories = @{
    ManagementObjectNotFoundException  = 'InvalidData'
    ManagementObjectAmbiguousException = 'InvalidData'
    DataValidationException            = 'InvalidData'
    ParsingException                   = 'InvalidData'
    ADObjectAlreadyExistsException     = 'InvalidOperation'
    TaskInvalidOperationException      = 'InvalidOperation'
    ParameterBindingException          = 'InvalidArgument'
    UnauthorizedAccessException        = 'PermissionDenied'
    NotImplementedException            = 'NotImplemented'
    ResourceUnhealthyException         = 'LimitsExceeded'
    HttpRequestException               = 'ConnectionError'
}

function New-SandboxClient {
    # A client that trusts the sandbox's own authority and no other.
    $ca = [System.Security.Cryptography.X509Certificates.X509Certificate2]::new($Sandbox.Ca)
    if ($PSVersionTable.PSEdition -eq 'Core') {
        $policy = [System.Security.Cryptography.X509Certificates.X509ChainPolicy]::new()
        $policy.TrustMode = 'CustomRootTrust'
        $policy.RevocationMode = 'NoCheck'
        [void] $policy.CustomTrustStore.Add($ca)
        $handler = [System.Net.Http.SocketsHttpHandler]::new()
        $handler.SslOptions.CertificateChainPolicy = $policy
        $handler.ConnectTimeout = [timespan]::FromSeconds(30)
    }
    else {
        Add-Type -AssemblyName System.Net.Http
        if (-not ('Exoscope.SandboxTrust' -as [type])) {
            # Compiled: a script block cannot be called on the thread that asks.
            Add-Type -ReferencedAssemblies System.Net.Http -TypeDefinition @'
namespace Exoscope {
    using System.Net.Security;
    using System.Security.Cryptography.X509Certificates;
    public class SandboxTrust {
        private readonly X509Certificate2 ca;
        public SandboxTrust(X509Certificate2 ca) { this.ca = ca; }
        public bool Check(System.Net.Http.HttpRequestMessage request, X509Certificate2 shown, X509Chain built, SslPolicyErrors errors) {
            if ((errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0) return false;
            var chain = new X509Chain();
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.VerificationFlags = X509VerificationFlags.AllowUnknownCertificateAuthority;
            chain.ChainPolicy.ExtraStore.Add(ca);
            if (!chain.Build(shown)) return false;
            return chain.ChainElements[chain.ChainElements.Count - 1].Certificate.Thumbprint == ca.Thumbprint;
        }
        public static System.Net.Http.HttpClientHandler Handler(X509Certificate2 ca) {
            var handler = new System.Net.Http.HttpClientHandler();
            handler.ServerCertificateCustomValidationCallback = new SandboxTrust(ca).Check;
            return handler;
        }
    }
}
'@
        }
        [System.Net.ServicePointManager]::SecurityProtocol = [System.Net.ServicePointManager]::SecurityProtocol -bor [System.Net.SecurityProtocolType]::Tls12
        $handler = [Exoscope.SandboxTrust]::Handler($ca)
    }
    $handler.UseProxy = $false
    $handler.AllowAutoRedirect = $false
    $client = [System.Net.Http.HttpClient]::new($handler)
    $client.Timeout = [timespan]::FromMinutes(15)
    $client
}

function Send-Sandbox($Connection, [string] $Method, [string] $Address, [string] $Body, [string] $Cmdlet) {
    # One request: its status, text and headers. In steps, so that a stop is heard.
    $request = [System.Net.Http.HttpRequestMessage]::new([System.Net.Http.HttpMethod]::new($Method), $Address)
    [void] $request.Headers.TryAddWithoutValidation('Authorization', 'Bearer ' + [System.Net.NetworkCredential]::new('', $Connection.Token).Password)
    [void] $request.Headers.TryAddWithoutValidation('X-AnchorMailbox', 'APP:SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}@' + $Sandbox.Tenant)
    [void] $request.Headers.TryAddWithoutValidation('Prefer', 'odata.maxpagesize=1000')
    [void] $request.Headers.TryAddWithoutValidation('X-ResponseFormat', 'json')
    [void] $request.Headers.TryAddWithoutValidation('X-CmdletName', $Cmdlet)
    [void] $request.Headers.TryAddWithoutValidation('client-request-id', [string] [guid]::NewGuid())
    if ($Method -eq 'POST') {
        $request.Content = [System.Net.Http.StringContent]::new($Body, [System.Text.Encoding]::UTF8, 'application/json')
    }
    $stop = [System.Threading.CancellationTokenSource]::new()
    try {
        $sent = $Connection.Client.SendAsync($request, $stop.Token)
        while (-not ([System.IAsyncResult] $sent).AsyncWaitHandle.WaitOne(50)) { }
        if ($sent.IsFaulted) { throw $sent.Exception.GetBaseException() }
        if ($sent.IsCanceled) { throw [System.TimeoutException]::new('The operation has timed out.') }
        $answer = $sent.Result
        $diagnostics = ''
        if ($answer.Headers.Contains('x-ms-diagnostics')) { $diagnostics = @($answer.Headers.GetValues('x-ms-diagnostics')) -join ' ' }
        $after = ''
        if ($answer.Headers.Contains('Retry-After')) { $after = @($answer.Headers.GetValues('Retry-After')) -join ' ' }
        @{
            Status      = [int] $answer.StatusCode
            Text        = $answer.Content.ReadAsStringAsync().Result
            Diagnostics = $diagnostics
            RetryAfter  = $after
        }
    }
    finally {
        $stop.Cancel()
        $request.Dispose()
    }
}

function ConvertFrom-SandboxElement($Element) {
    # Most values are texts, in objects: those are read where they stand, and a value's type beside it is left out.
    $kind = [string] $Element.ValueKind
    if ($kind -eq 'String') { return $Element.GetString() }
    if ($kind -eq 'Object') {
        $made = [ordered] @{}
        foreach ($each in $Element.EnumerateObject()) {
            $name = $each.Name
            if ($name.EndsWith('@data.type') -or $name.EndsWith('@odata.type')) { continue }
            $value = $each.Value
            $inner = $value.ValueKind
            if ($inner -eq 'String') { $made[$name] = $value.GetString() }
            elseif ($inner -eq 'Null') { $made[$name] = $null }
            else { $made[$name] = ConvertFrom-SandboxElement $value }
        }
        return [pscustomobject] $made
    }
    if ($kind -eq 'Array') {
        $list = [System.Collections.Generic.List[object]]::new()
        foreach ($each in $Element.EnumerateArray()) { $list.Add((ConvertFrom-SandboxElement $each)) }
        return , $list.ToArray()
    }
    if ($kind -eq 'Number') {
        $whole = [long] 0
        if ($Element.TryGetInt64([ref] $whole)) { return $whole }
        return $Element.GetDouble()
    }
    if ($kind -eq 'True') { return $true }
    if ($kind -eq 'False') { return $false }
    return $null
}

function ConvertFrom-SandboxJson([string] $Text) {
    # PowerShell 7's ConvertFrom-Json makes a time of every text that looks like one, names among them.
    if ($PSVersionTable.PSEdition -ne 'Core') { return ConvertFrom-Json -InputObject $Text }
    $read = [System.Text.Json.JsonDocument]::Parse($Text)
    try { ConvertFrom-SandboxElement $read.RootElement }
    finally { $read.Dispose() }
}

function ConvertTo-SandboxValue($Value) {
    # What a parameter's value is in JSON. Strings are made anew: one with notes of its own would become an object.
    if ($null -eq $Value) { return $null }
    if ($Value -is [System.Management.Automation.SwitchParameter]) { return [bool] $Value }
    if ($Value -is [bool]) { return [bool] $Value }
    if ($Value -is [int] -or $Value -is [long] -or $Value -is [uint32]) { return [long] $Value }
    if ($Value -is [System.Management.Automation.PSCustomObject]) {
        # An object of ours that was piped on stands for its identity.
        foreach ($name in 'Identity', 'Guid', 'Name') { if ($Value.$name) { return ConvertTo-SandboxValue $Value.$name } }
    }
    if ($Value -is [System.Collections.IDictionary]) {
        $made = [ordered] @{ '@odata.type' = '#Exchange.GenericHashTable' }
        foreach ($key in $Value.Keys) { $made[[string] $key] = ConvertTo-SandboxValue $Value[$key] }
        return $made
    }
    if ($Value -is [System.Collections.IEnumerable] -and $Value -isnot [string]) {
        $list = [System.Collections.Generic.List[object]]::new()
        foreach ($each in $Value) { $list.Add((ConvertTo-SandboxValue $each)) }
        return , $list.ToArray()
    }
    return [string]::new(([string] $Value).ToCharArray())
}

function New-SandboxRecord([string] $Kind, [string] $Text, [string] $Target, [string] $Category) {
    # An error record with the type, category and id that Exchange's module gives.
    $short = $Kind.Substring($Kind.LastIndexOf('.') + 1)
    $type = $Kind -as [type]
    $exception = [System.Exception]::new($Text)
    if ($null -ne $type -and [System.Exception].IsAssignableFrom($type)) { $exception = $type::new($Text) }
    if ($Kind -like 'Microsoft.Exchange.*') { $exception.PSObject.TypeNames.Insert(0, $Kind) }
    if (-not $Category) { $Category = $Categories[$short] }
    if (-not $Category) { $Category = 'NotSpecified' }
    $id = $short
    if ($Kind -like 'Microsoft.Exchange.*') {
        $id = '[Server=TWIN,RequestId={0},TimeStamp={1:MM/dd/yyyy HH:mm:ss}] [FailureCategory=Cmdlet-{2}]' -f [guid]::NewGuid(), [datetime]::UtcNow, $short
    }
    $record = [System.Management.Automation.ErrorRecord]::new($exception, $id, $Category, $Target)
    $record.CategoryInfo.Reason = $short
    $record
}

function New-SandboxRefusal($Answer, [string] $Target) {
    # The error record for an answer that is none.
    if ($Answer.Status -eq 401) {
        $text = 'UnAuthorized'
        # It was good when the connection was made.
        if ($null -ne $script:Connected) { $text = 'UnAuthorized: the access token has expired.' }
        return New-SandboxRecord 'System.Exception' $text $Target 'AuthenticationError'
    }
    if ($Answer.Status -eq 403) {
        # The body of a 403 is empty or nothing but NULs; where there is a reason, it stands in a header.
        $text = 'Access is denied.'
        if ($Answer.Diagnostics -match 'reason="([^"]*)"') { $text = $Matches[1] }
        return New-SandboxRecord 'System.UnauthorizedAccessException' $text $Target ''
    }
    $told = $null
    $body = $Answer.Text.Trim([char] 0).Trim()
    if ($body.StartsWith('{')) { $told = (ConvertFrom-SandboxJson $body).error }
    $detail = ''
    if ($null -ne $told -and @($told.details).Count -gt 0) { $detail = [string] @($told.details)[0].message }
    $parts = $detail.Split([char[]] '|', 3)
    if ($parts.Count -eq 3) {
        $text = $parts[2]
        # The module's own messages carry all three; errors of PowerShell and .NET their text alone.
        if ($parts[1] -like 'Microsoft.Exchange.*') { $text = $detail }
        return New-SandboxRecord $parts[1] $text $Target ''
    }
    $text = "The server answered HTTP $($Answer.Status)."
    if ($null -ne $told -and $told.message) { $text = [string] $told.message }
    $category = 'NotSpecified'
    if ($Transient -contains $Answer.Status) {
        $category = 'ResourceUnavailable'
        if ($Answer.Status -eq 429) { $category = 'LimitsExceeded' }
        if ($Answer.RetryAfter) { $text += " Retry-After: $($Answer.RetryAfter) seconds." }
    }
    New-SandboxRecord 'System.Exception' $text $Target $category
}

function Invoke-SandboxCmdlet($Caller, [string] $Name, $Bound) {
    # One call of a cmdlet: rows to the pipeline, warnings and errors to their streams.
    $connection = $script:Connected
    $target = ''
    foreach ($candidate in 'Identity', 'Name', 'AppId') { if (-not $target -and $Bound.ContainsKey($candidate)) { $target = [string] (ConvertTo-SandboxValue $Bound[$candidate]) } }
    if ($null -eq $connection) {
        $text = 'You must call the Connect-ExchangeOnline cmdlet before calling any other cmdlets.'
        return $Caller.WriteError((New-SandboxRecord 'System.Exception' $text '' ''))
    }
    if ($connection.CommandName.Count -and -not @($connection.CommandName | Where-Object { $Name -like $_ }).Count) {
        $text = "The term '$Name' is not recognized as a name of a cmdlet, function, script file, or executable program."
        return $Caller.WriteError((New-SandboxRecord 'System.Management.Automation.CommandNotFoundException' $text $Name 'ObjectNotFound'))
    }
    $parameters = [ordered] @{}
    foreach ($key in $Bound.Keys) {
        if ($Common -notcontains $key) { $parameters[$key] = ConvertTo-SandboxValue $Bound[$key] }
    }
    $body = ConvertTo-Json -InputObject ([ordered] @{ CmdletInput = [ordered] @{ CmdletName = $Name; Parameters = $parameters } }) -Compress -Depth 8
    $address = $Sandbox.Origin + '/adminapi/beta/' + $Sandbox.Tenant + '/InvokeCommand'
    while ($address) {
        try {
            $answer = Send-Sandbox $connection 'POST' $address $body $Name
            $page = $null
            if ($answer.Status -ge 200 -and $answer.Status -lt 300 -and $answer.Text.Trim()) { $page = ConvertFrom-SandboxJson $answer.Text }
        }
        catch [System.Management.Automation.PipelineStoppedException] { throw }
        catch {
            $text = 'The connection to the server was lost: ' + $_.Exception.Message
            return $Caller.WriteError((New-SandboxRecord 'System.Net.Http.HttpRequestException' $text $target 'ConnectionError'))
        }
        if ($answer.Status -lt 200 -or $answer.Status -ge 300) { return $Caller.WriteError((New-SandboxRefusal $answer $target)) }
        $address = ''
        if ($null -eq $page) { continue }
        foreach ($warning in @($page.'@adminapi.warnings')) { if ($null -ne $warning) { $Caller.WriteWarning([string] $warning) } }
        foreach ($row in @($page.value)) {
            if ($null -eq $row) { continue }
            if ($PSVersionTable.PSEdition -eq 'Core') { $Caller.WriteObject($row); continue }
            $made = [ordered] @{}
            foreach ($property in $row.PSObject.Properties) {
                if ($property.Name -notlike '*@odata.type' -and $property.Name -notlike '*@data.type') { $made[$property.Name] = $property.Value }
            }
            $Caller.WriteObject([pscustomobject] $made)
        }
        $next = [string] $page.'@odata.nextLink'
        if ($next) {
            if (-not $next.StartsWith($Sandbox.Origin + '/')) {
                return $Caller.WriteError((New-SandboxRecord 'System.Exception' 'The next page is on another server.' $target ''))
            }
            $address = $next
        }
    }
}

function Connect-Sandbox($Caller, $Bound) {
    # Connect-ExchangeOnline with an access token; no other way of signing in.
    $script:Connected = $null
    foreach ($need in 'AccessToken', 'Organization') {
        if (-not $Bound[$need]) { throw "The sandbox needs -${need}: it takes an application's access token and no other way of signing in." }
    }
    if ($Bound['Organization'] -ne $Sandbox.Domain -and $Bound['Organization'] -ne $Sandbox.Tenant) {
        throw "The organization '$($Bound['Organization'])' isn't the organization of the access token."
    }
    $token = [securestring]::new()
    foreach ($character in ([string] $Bound['AccessToken']).ToCharArray()) { $token.AppendChar($character) }
    $expires = [datetime]::MaxValue
    $parts = ([string] $Bound['AccessToken']).Split('.')
    if ($parts.Count -eq 3) {
        $middle = $parts[1].Replace('-', '+').Replace('_', '/')
        $middle += '=' * ((4 - $middle.Length % 4) % 4)
        $claims = ConvertFrom-SandboxJson ([System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($middle)))
        if ($claims.exp) { $expires = [datetime]::new(1970, 1, 1, 0, 0, 0, [System.DateTimeKind]::Utc).AddSeconds([double] $claims.exp) }
    }
    $connection = @{
        Id          = [guid]::NewGuid()
        Token       = $token
        Expires     = $expires
        CommandName = @(@($Bound['CommandName']) | Where-Object { $_ })
        Client      = New-SandboxClient
    }
    $answer = Send-Sandbox $connection 'GET' ($Sandbox.Origin + '/AdminApi/v1.0/' + $Sandbox.Tenant + '/EXOModuleFile?Version=3.9.2') '' 'Connect-ExchangeOnline'
    if ($answer.Status -lt 200 -or $answer.Status -ge 300) { $Caller.ThrowTerminatingError((New-SandboxRefusal $answer '')) }
    $script:Connected = $connection
}

function Get-SandboxConnection {
    $connection = $script:Connected
    if ($null -eq $connection) { return }
    $status = 'Active'
    if ([datetime]::UtcNow -ge $connection.Expires) { $status = 'Expired' }
    [pscustomobject] [ordered] @{
        ConnectionId       = [string] $connection.Id
        State              = 'Connected'
        Name               = 'ExchangeOnline_1'
        TokenStatus        = $status
        TokenExpiryTimeUTC = $connection.Expires
        TenantID           = $Sandbox.Tenant
        Organization       = $Sandbox.Domain
        ConnectionUri      = $Sandbox.Origin
        ModuleName         = $PSScriptRoot
    }
}

function Disconnect-Sandbox {
    if ($null -ne $script:Connected) { $script:Connected.Client.Dispose() }
    $script:Connected = $null
}
