# Reads scripts with PowerShell's own parser, for tests. In: a file of base64 lines (UTF-8 scripts). Out: a file of JSON lines, each
# null where the parser finds an error, else statements -> commands -> elements, as tests/powershell_oracles.py describes them.
param([string] $In, [string] $Out)
$ErrorActionPreference = 'Stop'

function Read-Value($ast) {
    switch ($ast.GetType().Name) {
        'StringConstantExpressionAst' { return @{ s = $ast.Value } }
        'ConstantExpressionAst' {
            if ($ast.Value -is [int] -or $ast.Value -is [long]) { return @{ i = [long] $ast.Value } }
            return @{ other = $ast.Value.GetType().Name }
        }
        'VariableExpressionAst' {
            $name = $ast.VariablePath.UserPath.ToLowerInvariant()
            if (-not $ast.Splatted -and @('true', 'false', 'null') -contains $name) { return @{ c = $name } }
        }
        'ArrayLiteralAst' { return @{ a = @(foreach ($each in $ast.Elements) { Read-Value $each }) } }
        'ArrayExpressionAst' {
            $found = [System.Collections.Generic.List[object]]::new()
            foreach ($statement in $ast.SubExpression.Statements) {
                $value = Read-Statement $statement
                if ($value.ContainsKey('a') -and $statement.PipelineElements[0].Expression.GetType().Name -eq 'ArrayLiteralAst') {
                    foreach ($each in $value.a) { $found.Add($each) }
                }
                else { $found.Add($value) }
            }
            return @{ a = $found.ToArray() }
        }
        'HashtableAst' {
            return @{ h = @(foreach ($pair in $ast.KeyValuePairs) { @{ k = (Read-Value $pair.Item1); v = (Read-Statement $pair.Item2) } }) }
        }
    }
    return @{ other = $ast.GetType().Name }
}

function Read-Statement($statement) {
    if ($statement.GetType().Name -ne 'PipelineAst' -or $statement.PipelineElements.Count -ne 1) { return @{ other = 'statement' } }
    $element = $statement.PipelineElements[0]
    if ($element.GetType().Name -ne 'CommandExpressionAst' -or $element.Redirections.Count) { return @{ other = 'command' } }
    return (Read-Value $element.Expression)
}

function Read-Command($command) {
    if ($command.GetType().Name -ne 'CommandAst' -or $command.Redirections.Count -or "$($command.InvocationOperator)" -ne 'Unknown') {
        return @{ other = $command.GetType().Name }
    }
    $found = [System.Collections.Generic.List[object]]::new()
    foreach ($element in $command.CommandElements) {
        if ($element.GetType().Name -eq 'CommandParameterAst') {
            if ($element.Argument) { $found.Add(@{ p = $element.ParameterName; v = (Read-Value $element.Argument) }) }
            else { $found.Add(@{ p = $element.ParameterName }) }
        }
        else { $found.Add((Read-Value $element)) }
    }
    return @{ e = $found.ToArray() }
}

$lines = [System.Collections.Generic.List[string]]::new()
foreach ($line in [System.IO.File]::ReadAllLines($In)) {
    $text = [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($line))
    $tokens = $null
    $problems = $null
    $tree = [System.Management.Automation.Language.Parser]::ParseInput($text, [ref] $tokens, [ref] $problems)
    $strange = $tree.ParamBlock -or $tree.BeginBlock -or $tree.ProcessBlock -or $tree.DynamicParamBlock -or $tree.UsingStatements.Count -or
    $tree.ScriptRequirements -or -not $tree.EndBlock.Unnamed
    if ($problems.Count -or $strange) { $lines.Add('null'); continue }
    $statements = [System.Collections.Generic.List[object]]::new()
    foreach ($statement in $tree.EndBlock.Statements) {
        if ($statement.GetType().Name -ne 'PipelineAst' -or $statement.Background) { $statements.Add(@(@{ other = $statement.GetType().Name })) }
        else {
            $commands = [System.Collections.Generic.List[object]]::new()
            foreach ($each in $statement.PipelineElements) { $commands.Add((Read-Command $each)) }
            $statements.Add($commands.ToArray())
        }
    }
    $lines.Add((ConvertTo-Json -InputObject $statements.ToArray() -Compress -Depth 20))
}
[System.IO.File]::WriteAllLines($Out, $lines.ToArray())
