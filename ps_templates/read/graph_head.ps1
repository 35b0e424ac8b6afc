# exoscope: a reading of Entra through Microsoft Graph, for Windows PowerShell 5.1 and PowerShell 7.
#
# The frame of this file is the same in every script of this version of exoscope; only the data block and the requests
# that follow it are of this reading. `exoscope guard FILE` shows both, and refuses a file whose frame was changed.
# It reads and changes nothing, connects to nothing by itself and holds no secret. Connect first:
# Connect-MgGraph, or give a token with -AccessToken, as somebody who may read what the requests name.
# Exit codes: 0 read, 4 refused (no result), 6 not everything could be read (the result says what), or nothing (no result).
#Requires -Version 5.1
[CmdletBinding()]
param(
    # A Graph token. Without it the session that Connect-MgGraph opened is used.
    [securestring] $AccessToken = $null,
    # The result file of the Exchange script of the same folder; the one beside this file without it.
    [string] $AfterResult = '',
    # Where the result goes; beside this file without it.
    [string] $ResultPath = '',
    # How long to wait before what was throttled is asked again, in seconds; longer each time.
    [int] $RetrySeconds = 15
)
if ('é漢' -cne ([string] [char] 0x00E9 + [string] [char] 0x6F22)) { throw 'ExoscopeDecoding: this file was decoded wrongly: save it as UTF-8 with a byte order mark. Nothing was read.' }
$ExoscopeBytes = [System.IO.File]::ReadAllBytes($PSCommandPath)
if ($ExoscopeBytes.Length -lt 3 -or $ExoscopeBytes[0] -ne 0xEF -or $ExoscopeBytes[1] -ne 0xBB -or $ExoscopeBytes[2] -ne 0xBF) {
    throw 'ExoscopeDecoding: this file has lost its byte order mark: save it as UTF-8 with one. Nothing was read.'
}
$ErrorActionPreference = 'Stop'
# Services leave out what is not set; whoever runs this may have made that an error.
Set-StrictMode -Off

