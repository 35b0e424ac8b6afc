# Load Exchange's module as the connecting prelude does, connect nowhere, and say which PowerShell loaded which version of it
# from where. Constant; it takes no data. Runs on Windows PowerShell 5.1 and PowerShell 7.
if ("$($ExecutionContext.SessionState.LanguageMode)" -ne 'FullLanguage') {
    throw "its language mode is $($ExecutionContext.SessionState.LanguageMode), and connecting needs FullLanguage"
}
$ErrorActionPreference = 'Stop'
$module = Import-Module -Name ExchangeOnlineManagement -MinimumVersion 3.2.0 -PassThru
"$($PSVersionTable.PSVersion)"
"$($module.Version)"
"$($module.ModuleBase)"
