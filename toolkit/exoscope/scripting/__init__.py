"""A plan as PowerShell files for people: fixed frames around a data block of literals and rendered operations.

Write with :func:`parts_of` and :func:`text_of`; read what a file would do with :func:`explain`. Nothing here does I/O but
reading the frames.
"""

from __future__ import annotations

from exoscope.scripting.data import ScriptData, ScriptStep
from exoscope.scripting.explaining import Explained, explain
from exoscope.scripting.frames import bytes_of, text_of
from exoscope.scripting.parts import LeftOut, Part, graph_root, parts_of
from exoscope.scripting.results import ScriptResult, load_result
from exoscope.scripting.undoing import only_known_by_running, undo_of

__all__ = [
    "Explained",
    "LeftOut",
    "Part",
    "ScriptData",
    "ScriptResult",
    "ScriptStep",
    "bytes_of",
    "explain",
    "graph_root",
    "load_result",
    "only_known_by_running",
    "parts_of",
    "text_of",
    "undo_of",
]
