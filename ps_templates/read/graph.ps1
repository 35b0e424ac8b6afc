
function Write-ExoscopeAnswer([string] $Path, [int] $Status, $Body, [string] $Text, $RequestId) {
    Write-ExoscopeEntry (ConvertTo-ExoscopeJson ([ordered]@{
                'kind'       = 'get'
                'path'       = $Path
                'status'     = $Status
                'body'       = $Body
                'text'       = $Text
                'request_id' = $RequestId
            }))
}

function Get-ExoscopePath([string] $Name, [string] $Id) {
    if ($Id -notmatch $ExoscopeGuid) { throw "ExoscopeAnswer: $Id is no id." }
    return $ExoscopeRequests[$Name].Replace('{id}', $Id)
}

function Read-ExoscopeOne([string] $Path) {
    # One GET, its answer noted; null where Graph answered an error. What is not there is an answer too.
    try { $body = Invoke-ExoscopeGraph 'GET' $Path }
    catch {
        $status = Get-ExoscopeStatus $_
        if ("$($_.Exception.Message)".StartsWith('ExoscopeOrigin', [System.StringComparison]::Ordinal)) { throw }
        Write-ExoscopeAnswer $Path $status $null (Get-ExoscopeError $_) $null
        if ($status -ne 404) {
            $script:ExoscopeUnread += 1
            Write-ExoscopeLine "not read: ${Path}: $($_.Exception.Message)"
        }
        return $null
    }
    Write-ExoscopeAnswer $Path 200 $body '' $null
    return $body
}

function Read-ExoscopeList([string] $Path) {
    # Every page of a list, each noted; its rows.
    $next = $Path
    $seen = @()
    while ($next) {
        if ($seen -ccontains $next) { throw "ExoscopeAnswer: Graph's pages of $Path lead in a circle." }
        $seen += $next
        $page = Read-ExoscopeOne $next
        if ($null -eq $page) { return }
        foreach ($row in @($page.value)) { if ($null -ne $row) { $row } }
        $next = $page.'@odata.nextLink'
    }
}

function Send-ExoscopeBatch($Requests) {
    # Twenty GETs in one call. Asking again changes nothing, so whatever went wrong is asked again.
    for ($attempt = 1; ; $attempt++) {
        try { return (Invoke-ExoscopeGraph 'POST' '/$batch' @{ 'requests' = @($Requests) }) }
        catch {
            $status = Get-ExoscopeStatus $_
            if ($attempt -ge 4 -or (@(401, 403) -contains $status) -or "$($_.Exception.Message)".StartsWith('ExoscopeOrigin', [System.StringComparison]::Ordinal)) { throw }
            Write-ExoscopeLine "$($_.Exception.Message): asked again in $($RetrySeconds * $attempt) s"
            Start-Sleep -Seconds ($RetrySeconds * $attempt)
        }
    }
}

# Many GETs, twenty in a call; of each answer what -Keep makes of its body. Those that were throttled are asked again.
# -Answers are the statuses that answer the question.
function Read-ExoscopeMany([string[]] $Paths, [int[]] $Answers, [scriptblock] $Keep) {
    if ($Paths.Count -eq 0) { return }
    $waiting = @(0..($Paths.Count - 1))
    for ($attempt = 1; $waiting.Count -gt 0; $attempt++) {
        $late = @()
        for ($at = 0; $at -lt $waiting.Count; $at += 20) {
            $now = @($waiting[$at..([math]::Min($at + 19, $waiting.Count - 1))])
            $requests = @(foreach ($number in $now) { [ordered]@{ 'id' = "$number"; 'method' = 'GET'; 'url' = $Paths[$number] } })
            $answer = Send-ExoscopeBatch $requests
            $answered = @{}
            foreach ($reply in @($answer.responses)) { $answered["$($reply.id)"] = $reply }
            foreach ($number in $now) {
                $reply = $answered["$number"]
                if ($null -eq $reply) { throw 'ExoscopeAnswer: Graph left a request of a batch without an answer.' }
                $status = [int] $reply.status
                if ((@(429, 503, 504) -contains $status) -and $attempt -lt 6) {
                    $late += $number
                    continue
                }
                $id = $reply.headers.'request-id'
                if (-not $id) { $id = $reply.body.error.innerError.'request-id' }
                if ($Answers -notcontains $status) { $script:ExoscopeUnread += 1 }
                Write-ExoscopeAnswer $Paths[$number] $status (& $Keep $reply.body) '' $id
            }
            if (($at / 20) % 25 -eq 24) { Write-ExoscopeLine "$($at + 20) of $($waiting.Count)" }
        }
        $waiting = $late
        if ($waiting.Count -gt 0) {
            Write-ExoscopeLine "$($waiting.Count) were throttled: asked again in $($RetrySeconds * $attempt) s"
            Start-Sleep -Seconds ($RetrySeconds * $attempt)
        }
    }
}
