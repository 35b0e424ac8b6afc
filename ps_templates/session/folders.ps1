# The folders in which this PowerShell looks for modules, in its order. Constant; it takes no data.
"$env:PSModulePath"
