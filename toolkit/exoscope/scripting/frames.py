"""The text of a script: the fixed frame of ``ps_templates/change`` around a data block and the operations it names."""

from __future__ import annotations

from exoscope.outcome import GuardRefused
from exoscope.powershell import TemplateError, literal, render_guarded, template_dir
from exoscope.scripting.data import ScriptData, ScriptStep, write_data
from exoscope.scripting.reads import Read, read_of_fill, reads_of

BOM = b"\xef\xbb\xbf"
MARK = "\u00e9\u6f22"
"""The one text of the frame that is not ASCII: the first statement compares it with its code points."""
_DATA = "# ---- The data block: what this change is about.\n$ExoscopeData = "
_OPERATIONS = "\n\n# ---- The operations: every command that can run, reading and writing.\n"


def head_of(part: str) -> str:
    """Everything before the data block's literal."""
    return frame(f"change/{part}_head") + _DATA


def bytes_of(data: ScriptData) -> bytes:
    """The file: UTF-8 with a byte order mark, which Windows PowerShell 5.1 needs to read it as it was written."""
    return BOM + text_of(data).encode("utf-8")


def text_of(data: ScriptData) -> str:
    """The whole script, line ends LF. Raises GuardRefused, LiteralError or TemplateError; then there is no script."""
    operations = _operations(data) if data.part == "exchange" else ""
    shared = "graph_calls" if data.part == "graph" else "exchange_errors"
    body = "".join(frame(f"change/{name}") for name in ("common", "lines", shared, data.part, "main"))
    return head_of(data.part) + write_data(data) + (_OPERATIONS if operations else "\n") + operations + body


def operations_of(data: ScriptData) -> tuple[str, ...]:
    """Every operation of an Exchange script, in the order of the file."""
    found = [_connection(), *(_text(read_of_fill(fill)) for fill in data.fills)]
    for step in data.steps:
        found += [_text(read) for read in reads_of(step)]
        found.append(_write(step))
    return tuple(found)


def _operations(data: ScriptData) -> str:
    filled = "".join(f"    {literal(fill.step)} = @{{\n{_reads((read_of_fill(fill),))}    }}\n" for fill in data.fills)
    steps = "".join(
        f"    {literal(step.id)} = @{{\n{_reads(reads_of(step))}"
        f"        'write' = {{\n{_write(step)}        }}\n    }}\n"
        for step in data.steps
    )
    return (
        f"$ExoscopeConnection = {{\n{_connection()}}}\n"
        f"$ExoscopeFilled = @{{\n{filled}}}\n"
        f"$ExoscopeOperations = @{{\n{steps}}}\n"
    )


def _connection() -> str:
    return rendered("session/connection", {})


def _reads(reads: tuple[Read, ...]) -> str:
    each = "".join(f"            {literal(read[0])} = {{\n{_text(read)}            }}\n" for read in reads)
    return f"        'read'  = [ordered]@{{\n{each}        }}\n"


def _text(read: Read) -> str:
    return rendered(read[1], read[2])


def _write(step: ScriptStep) -> str:
    if step.template is None:
        raise GuardRefused(f"{step.id} names no operation")
    return rendered(step.template, step.values)


def rendered(template: str, values: dict[str, object]) -> str:
    """An operation as it stands in a script. Raises GuardRefused, LiteralError or TemplateError."""
    # Read back by the guard, so it is whole statements: nothing in it can leave the block it stands in. It ends its last
    # line, so a comment cannot reach what follows.
    text = render_guarded(template, values).text
    return text if text.endswith("\n") else text + "\n"


def frame(name: str) -> str:
    """One fixed piece of a script (``change/main``). Raises TemplateError when it is not ASCII where it must be."""
    path = template_dir() / f"{name}.ps1"
    # Line ends are made one kind, so that a script is the same whatever a checkout did to the frame.
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    if not text.replace(MARK, "").isascii() or text.count(MARK) != name.endswith("_head"):
        raise TemplateError(f"the frame {name} is not ASCII")
    return text
