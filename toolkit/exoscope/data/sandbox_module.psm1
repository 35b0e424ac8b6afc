# The constant part of the sandbox's stand-in for ExchangeOnlineManagement: it sends each cmdlet to the twin's admin API and
# answers as Exchange's own module does. Runs on Windows PowerShell 5.1 and PowerShell 7.
# Above it stands $Sandbox (address, tenant, domain, CA, who signs in), below it one function a cmdlet.

$Connected = $null
$Transient = 429, 503, 504
# What Exchange itself says is NotSpecified, as its own module has it.
$Categories = @{
    ParameterBindingException   = 'InvalidArgument'
    UnauthorizedAccessException = 'PermissionDenied'
    NotImplementedException     = 'NotImplemented'
    CommandNotFoundException    = 'ObjectNotFound'
    HttpRequestException        = 'ConnectionError'
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
    # One request to the admin API.
    $request = [System.Net.Http.HttpRequestMessage]::new([System.Net.Http.HttpMethod]::new($Method), $Address)
    [void] $request.Headers.TryAddWithoutValidation('Authorization', 'Bearer ' + [System.Net.NetworkCredential]::new('', $Connection.Token).Password)
    [void] $request.Headers.TryAddWithoutValidation('X-AnchorMailbox', 'APP:SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}@' + $Sandbox.Tenant)
    [void] $request.Headers.TryAddWithoutValidation('Prefer', 'odata.maxpagesize=1000')
    [void] $request.Headers.TryAddWithoutValidation('X-ResponseFormat', 'clixml')
    [void] $request.Headers.TryAddWithoutValidation('X-CmdletName', $Cmdlet)
    [void] $request.Headers.TryAddWithoutValidation('client-request-id', [string] [guid]::NewGuid())
    if ($Method -eq 'POST') {
        $request.Content = [System.Net.Http.StringContent]::new($Body, [System.Text.Encoding]::UTF8, 'application/json')
    }
    Receive-Sandbox $Connection.Client $request
}

function Receive-Sandbox($Client, $Request) {
    # A request's answer: status, text and headers. In steps, so that a stop is heard.
    $stop = [System.Threading.CancellationTokenSource]::new()
    try {
        $sent = $Client.SendAsync($Request, $stop.Token)
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
        $Request.Dispose()
    }
}

function ConvertTo-SandboxValue($Value) {
    # What a parameter's value is in JSON. Strings are made anew: one with notes of its own would become an object.
    if ($null -eq $Value) { return $null }
    if ($Value -is [System.Management.Automation.SwitchParameter]) { return [bool] $Value }
    if ($Value -is [bool]) { return [bool] $Value }
    if ($Value -is [int] -or $Value -is [long] -or $Value -is [uint32]) { return [long] $Value }
    if ($Value -is [System.Management.Automation.PSCustomObject]) {
        # An object of ours that was piped on stands for its identity.
        foreach ($name in 'Guid', 'Identity', 'Name') { if ($Value.$name) { return ConvertTo-SandboxValue $Value.$name } }
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
    # An error record as Exchange's module writes them: its own exceptions are no types here, and stand in text and reason.
    $short = $Kind.Substring($Kind.LastIndexOf('.') + 1)
    $type = $Kind -as [type]
    $exception = [System.Exception]::new($Text)
    if ($null -ne $type -and [System.Exception].IsAssignableFrom($type)) { $exception = $type::new($Text) }
    if (-not $Category) { $Category = $Categories[$short] }
    if (-not $Category) { $Category = 'NotSpecified' }
    $id = $short
    if ($Kind -like 'Microsoft.Exchange.*') {
        $id = '[Server=TWIN,RequestId={0},TimeStamp={1}]' -f [guid]::NewGuid(), [datetime]::UtcNow.ToString('R', [cultureinfo]::InvariantCulture)
        $Target = ''
    }
    $record = [System.Management.Automation.ErrorRecord]::new($exception, $id, $Category, $Target)
    $record.CategoryInfo.Reason = $short
    $record
}

function Write-ErrorMessage {
    # Named as in Exchange's module: the ids of its error records end in it.
    [CmdletBinding()]
    param([string] $Cmdlet, $Record)
    $global:EXO_LastExecutionStatus = $false
    if ($Cmdlet) { $Record.CategoryInfo.Activity = $Cmdlet }
    $PSCmdlet.WriteError($Record)
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
    if ($body.StartsWith('{')) { $told = (ConvertFrom-Json -InputObject $body).error }
    $detail = ''
    if ($null -ne $told -and @($told.details).Count -gt 0) { $detail = [string] @($told.details)[0].message }
    if ($detail.Split([char[]] '|', 3).Count -eq 3) { return New-SandboxDetail $detail $Target }
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

function New-SandboxDetail([string] $Detail, [string] $Target) {
    # The error record for Code|Full.Exception.Type|Text. Of errors of PowerShell and .NET the text alone is shown.
    $parts = $Detail.Split([char[]] '|', 3)
    if ($parts.Count -lt 3) { return New-SandboxRecord 'System.Exception' $Detail $Target '' }
    if ($parts[1] -like 'Microsoft.Exchange.*') { return New-SandboxRecord $parts[1] $Detail $Target '' }
    New-SandboxRecord $parts[1] $parts[2] $Target ''
}

function Invoke-SandboxExo($Caller, [string] $Name, [string] $Older, $Bound) {
    # Get-EXOMailbox, Get-EXORecipient: the older cmdlet's rows, cut to the property set Minimum (and what is its own identity),
    # and to those that -Properties names. Source: cmdlet-property-sets.
    $parameters = @{}
    foreach ($key in $Bound.Keys) {
        if ($key -eq 'Properties') { continue }
        if ('ExternalDirectoryObjectId', 'PrimarySmtpAddress', 'UserPrincipalName' -contains $key) { $parameters['Identity'] = $Bound[$key] }
        else { $parameters[$key] = $Bound[$key] }
    }
    $shown = @('ExternalDirectoryObjectId', 'Identity', 'Name', 'RecipientType', 'RecipientTypeDetails')
    if ($Older -eq 'Get-Mailbox') {
        $shown += 'Alias', 'DisplayName', 'DistinguishedName', 'EmailAddresses', 'Guid', 'PrimarySmtpAddress', 'UserPrincipalName'
    }
    $wanted = @(@($Bound['Properties']) | Where-Object { $_ })
    Invoke-SandboxCmdlet $Caller $Older $parameters $Name ($shown + $wanted) | ForEach-Object {
        foreach ($property in $wanted) {
            if ($null -ne $_.PSObject.Properties[$property]) { continue }
            $text = "Access is denied: the property $property of recipients."
            return Write-ErrorMessage $Name (New-SandboxRecord 'System.UnauthorizedAccessException' $text '' '')
        }
        $_
    }
}

function Invoke-SandboxCmdlet($Caller, [string] $Cmdlet, $Bound, [string] $Name = $Cmdlet, $Shown) {
    # One call of a cmdlet: rows to the pipeline, warnings and errors to their streams. Name: under which it was called.
    $connection = $script:Connected
    $global:EXO_LastExecutionStatus = $true
    $target = ''
    foreach ($candidate in 'Identity', 'Name', 'AppId') { if (-not $target -and $Bound.ContainsKey($candidate)) { $target = [string] (ConvertTo-SandboxValue $Bound[$candidate]) } }
    if ($null -eq $connection) {
        $text = 'You must call the Connect-ExchangeOnline cmdlet before calling any other cmdlets.'
        return Write-ErrorMessage $Name (New-SandboxRecord 'System.Exception' $text '' '')
    }
    if ($connection.CommandName.Count -and -not @($connection.CommandName | Where-Object { $Name -like $_ }).Count) {
        $text = "The term '$Name' is not recognized as a name of a cmdlet, function, script file, or executable program."
        return Write-ErrorMessage $Name (New-SandboxRecord 'System.Management.Automation.CommandNotFoundException' $text $Name '')
    }
    $parameters = [ordered] @{}
    foreach ($key in $Bound.Keys) {
        if ($Common -notcontains $key) { $parameters[$key] = ConvertTo-SandboxValue $Bound[$key] }
    }
    $body = ConvertTo-Json -InputObject ([ordered] @{ CmdletInput = [ordered] @{ CmdletName = $Cmdlet; Parameters = $parameters } }) -Compress -Depth 8
    $address = $Sandbox.Origin + '/adminapi/beta/' + $Sandbox.Tenant + '/InvokeCommand'
    while ($address) {
        try {
            $answer = Send-Sandbox $connection 'POST' $address $body $Cmdlet
            $page = $null
            if ($answer.Status -ge 200 -and $answer.Status -lt 300 -and $answer.Text.Trim()) { $page = ConvertFrom-Json -InputObject $answer.Text }
        }
        catch [System.Management.Automation.PipelineStoppedException] { throw }
        catch {
            $text = 'The connection to the server was lost: ' + $_.Exception.Message
            return Write-ErrorMessage $Name (New-SandboxRecord 'System.Net.Http.HttpRequestException' $text $target '')
        }
        if ($answer.Status -lt 200 -or $answer.Status -ge 300) { return Write-ErrorMessage $Name (New-SandboxRefusal $answer $target) }
        $address = ''
        if ($null -eq $page) { continue }
        foreach ($warning in @($page.'@adminapi.warnings')) { if ($null -ne $warning) { $Caller.WriteWarning([string] $warning) } }
        foreach ($text in @($page.value)) {
            if (-not $text) { continue }
            $rows = [System.Management.Automation.PSSerializer]::DeserializeAsList($text)
            if ($Shown) { $rows | Select-Object -Property @($rows[0].PSObject.Properties.Name | Where-Object { $Shown -contains $_ }) }
            else { $rows }
        }
        foreach ($told in @($page.'@adminapi.errors')) { if ($null -ne $told) { Write-ErrorMessage $Name (New-SandboxDetail $told $target) } }
        $next = [string] $page.'@odata.nextLink'
        if ($next) {
            if (-not $next.StartsWith($Sandbox.Origin + '/')) {
                return Write-ErrorMessage $Name (New-SandboxRecord 'System.Exception' 'The next page is on another server.' $target '')
            }
            $address = $next
        }
    }
}

function Get-SandboxToken($Client) {
    # A token of the sandbox's own operator, whose secret lies in the sandbox's folder and stays there.
    $form = [System.Collections.Generic.Dictionary[string, string]]::new()
    $form['grant_type'] = 'client_credentials'
    $form['client_id'] = $Sandbox.Operator
    $form['client_secret'] = [System.IO.File]::ReadAllText($Sandbox.Secret)
    $form['scope'] = 'https://outlook.office365.com/.default'
    $request = [System.Net.Http.HttpRequestMessage]::new([System.Net.Http.HttpMethod]::Post, $Sandbox.Authority + '/oauth2/v2.0/token')
    $request.Content = [System.Net.Http.FormUrlEncodedContent]::new($form)
    $answer = Receive-Sandbox $Client $request
    $told = ConvertFrom-Json -InputObject $answer.Text
    if ($answer.Status -ne 200) { throw [string] $told.error_description }
    [string] $told.access_token
}

function Connect-Sandbox($Caller, $Bound) {
    # Connect-ExchangeOnline: with an access token, or as the sandbox's operator, whatever other way of signing in was named.
    $script:Connected = $null
    $global:EXO_LastExecutionStatus = $true
    foreach ($missing in 'Prefix', 'UseRPSSession') {
        if ($Bound[$missing]) { throw "The sandbox has no -$missing." }
    }
    if ($Bound['AccessToken'] -and -not $Bound['Organization'] -and -not $Bound['DelegatedOrganization'] -and -not $Bound['UserPrincipalName']) {
        throw 'Either one of Organization, DelegatedOrganization or UserPrincipalName should be provided with the AccessToken'
    }
    foreach ($named in 'Organization', 'DelegatedOrganization') {
        if ($Bound[$named] -and $Bound[$named] -ne $Sandbox.Domain -and $Bound[$named] -ne $Sandbox.Tenant) {
            throw "The organization '$($Bound[$named])' isn't the organization of the access token."
        }
    }
    $client = New-SandboxClient
    $given = [string] $Bound['AccessToken']
    if (-not $given) {
        if (-not $Sandbox.Secret) { throw "The sandbox needs -AccessToken: its profile holds no secret of its operator." }
        $Caller.WriteWarning('This is a sandbox, not Exchange Online: it signs in as its own operator, whoever is named.')
        $given = Get-SandboxToken $client
    }
    $token = [securestring]::new()
    foreach ($character in $given.ToCharArray()) { $token.AppendChar($character) }
    $expires = [datetime]::MaxValue
    $parts = $given.Split('.')
    if ($parts.Count -eq 3) {
        $middle = $parts[1].Replace('-', '+').Replace('_', '/')
        $middle += '=' * ((4 - $middle.Length % 4) % 4)
        $claims = ConvertFrom-Json -InputObject ([System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($middle)))
        if ($claims.exp) { $expires = [datetime]::new(1970, 1, 1, 0, 0, 0, [System.DateTimeKind]::Utc).AddSeconds([double] $claims.exp) }
    }
    $connection = @{
        Id          = [guid]::NewGuid()
        Token       = $token
        Expires     = $expires
        CommandName = @(@($Bound['CommandName']) | Where-Object { $_ })
        Client      = $client
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
        Id                 = 1
        Name               = 'ExchangeOnline_1'
        UserPrincipalName  = $null
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
