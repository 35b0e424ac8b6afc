"""PowerShell: values to literals, templates to scripts, scripts back to operations (the guard).

Write with :func:`render_guarded`; read what others wrote with :func:`read`. Nothing here does I/O but reading the
templates.
"""

from __future__ import annotations

from exoscope.outcome import GuardRefused
from exoscope.powershell.batches import pack, unpack
from exoscope.powershell.guarding import Script, guard, render_guarded
from exoscope.powershell.holes import HOLE, HoleError, fill, fill_pipelines, holes
from exoscope.powershell.literals import LiteralError, Value, literal
from exoscope.powershell.operations import Operation, Pipeline, read
from exoscope.powershell.preludes import (
    BATCH,
    BATCH_SIZE,
    CMDLETS,
    CONNECT,
    FOLDERS,
    MODULE,
    Prelude,
    PreludeParameter,
    known_prelude,
    prelude,
    preludes,
)
from exoscope.powershell.rendering import (
    TemplateError,
    cmdlet_names,
    render,
    sample_values,
    template_dir,
    template_values,
    templates,
)

__all__ = [
    "BATCH",
    "BATCH_SIZE",
    "CMDLETS",
    "CONNECT",
    "FOLDERS",
    "HOLE",
    "MODULE",
    "GuardRefused",
    "HoleError",
    "LiteralError",
    "Operation",
    "Pipeline",
    "Prelude",
    "PreludeParameter",
    "Script",
    "TemplateError",
    "Value",
    "cmdlet_names",
    "fill",
    "fill_pipelines",
    "guard",
    "holes",
    "known_prelude",
    "literal",
    "pack",
    "prelude",
    "preludes",
    "read",
    "render",
    "render_guarded",
    "sample_values",
    "template_dir",
    "template_values",
    "templates",
    "unpack",
]
