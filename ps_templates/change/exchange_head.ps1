# exoscope: a change to Exchange Online, for Windows PowerShell 5.1 and PowerShell 7.
#
# The frame of this file is the same in every script of this version of exoscope; only the data block and the operations
# that follow it are of this change. `exoscope guard FILE` shows both, and refuses a file whose frame was changed.
# It connects to nothing by itself and holds no secret. Connect first:
# Connect-ExchangeOnline, as somebody who holds the roles that each step names.
# Run with -WhatIf to see what it would do, with -Confirm to be asked before each change.
# Exit codes: 0 done, 3 too early, 4 refused (nothing was changed), 5 stopped part-way, 6 could not tell (nothing was changed).
#Requires -Version 5.1
#Requires -Modules ExchangeOnlineManagement
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'Medium')]
param(
    # The result file of the script before this one. Needed by every script of a plan but the first.
    [string] $AfterResult = '',
    # The stage whose evidence you have seen since its wait was over. Needed where the data block's 'after' names evidence.
    [string] $EvidenceSeen = '',
    # Where the result goes; beside this file without it. Run again with the same one after an interruption.
    [string] $ResultPath = '',
    # How long a write may take to read back, in seconds.
    [int] $ReadBackSeconds = 90
)
if ('é漢' -cne ([string] [char] 0x00E9 + [string] [char] 0x6F22)) { throw 'ExoscopeDecoding: this file was decoded wrongly: save it as UTF-8 with a byte order mark. Nothing was changed.' }
$ExoscopeBytes = [System.IO.File]::ReadAllBytes($PSCommandPath)
if ($ExoscopeBytes.Length -lt 3 -or $ExoscopeBytes[0] -ne 0xEF -or $ExoscopeBytes[1] -ne 0xBB -or $ExoscopeBytes[2] -ne 0xBF) {
    throw 'ExoscopeDecoding: this file has lost its byte order mark: save it as UTF-8 with one. Nothing was changed.'
}
$ErrorActionPreference = 'Stop'
# Services leave out what is not set; whoever runs this may have made that an error.
Set-StrictMode -Off

