"""``exoscope guard``: what PowerShell scripts would do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from exoscope.cli import frame
from exoscope.outcome import Exit, GuardRefused


@frame.command("guard", short_help="Show what PowerShell scripts would do, or why they are refused.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@frame.json_option
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Show what PowerShell scripts would do, or why they are refused.

    Files are UTF-8, with a byte order mark or without. With --json one line a file: the pipelines, or the refusal
    with line and column from 1, in characters; for a file of `exoscope script` its Graph requests too, and it is refused
    unless it is byte for byte what this version writes. Nothing runs. Exit 4 if any file is refused, 2 if one cannot be opened.
    """
    contents = [(path, frame.read_file(path)) for path in files]
    refused = False
    for path, content in contents:
        result = _read(content)
        refused |= "refused" in result
        if as_json:
            frame.answer({"file": os.fsencode(path).decode("utf-8", "replace"), **result})
        else:
            _print(path, result)
    if refused:
        frame.finish(Exit.REFUSED)


def _read(content: bytes) -> dict[str, Any]:
    from exoscope.powershell import read
    from exoscope.scripting import explain

    try:
        ours = explain(content)
        if ours is not None:
            return {"pipelines": ours.pipelines, "requests": ours.requests}
        return {"pipelines": read(_text(content))}
    except GuardRefused as error:
        return {"refused": error.message, "line": error.line, "column": error.column}


def _text(content: bytes) -> str:
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        from exoscope.powershell.characters import place

        before = content[: error.start].decode("utf-8")
        line, column = place(before, len(before))
        raise GuardRefused("the file is not UTF-8", line=line, column=column) from None


def _print(path: Path, result: dict[str, Any]) -> None:
    if "refused" in result:
        click.echo(f"{path}:{result['line']}:{result['column']}: refused: {result['refused']}")
        return
    click.echo(f"{path}: {len(result['pipelines'])} pipeline(s)")
    for pipeline in result["pipelines"]:
        for position, operation in enumerate(pipeline):
            click.echo(f"  {'| ' if position else ''}{operation.cmdlet}")
            for name, value in operation.parameters.items():
                click.echo(f"      -{name}: {_shown(value)}")
    for request in result.get("requests", ()):
        click.echo(f"  {request['method']} {_shown(request['path'])}")
        if request["body"] is not None:
            click.echo(f"      {_shown(request['body'])}")


def _shown(value: Any) -> str:
    import json

    # As JSON, and what cannot be seen by code point: a value must not draw lines of its own on a terminal.
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
