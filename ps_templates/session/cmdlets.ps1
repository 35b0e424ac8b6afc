# Which of these cmdlets Exchange gave this session: it gives only those that its roles allow. Constant; it takes names.
# Runs on Windows PowerShell 5.1 and PowerShell 7. Only what is loaded counts, so that nothing else is found by the name.
param(
    [Parameter(Mandatory = $true)] [string[]] $CommandName
)
Get-Command -Name $CommandName -CommandType Cmdlet, Function -ListImported -ErrorAction SilentlyContinue | ForEach-Object { "$($_.Name)" }
