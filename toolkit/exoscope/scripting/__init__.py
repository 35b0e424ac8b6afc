"""A plan as PowerShell files for people: fixed frames around a data block of literals and rendered operations.

Write with :func:`parts_of` and :func:`text_of`; read what a file would do with :func:`explain`. Nothing here does I/O but
reading the frames.
"""

from __future__ import annotations

from exoscope.scripting.data import ScriptData, ScriptStep
from exoscope.scripting.explaining import Explained, explain
from exoscope.scripting.frames import bytes_of, text_of
from exoscope.scripting.parts import LeftOut, Part, graph_root, parts_of, root_in
from exoscope.scripting.read_data import CheckedApp, ReadData
from exoscope.scripting.read_frames import bytes_of as read_bytes_of
from exoscope.scripting.read_parts import Asking, check_parts, read_parts
from exoscope.scripting.read_results import Reading, is_reading, load_reading
from exoscope.scripting.recorded import Recorded, recorded
from exoscope.scripting.results import ScriptResult, load_result
from exoscope.scripting.undoing import only_known_by_running, undo_of

__all__ = [
    "Asking",
    "CheckedApp",
    "Explained",
    "LeftOut",
    "Part",
    "ReadData",
    "Reading",
    "Recorded",
    "ScriptData",
    "ScriptResult",
    "ScriptStep",
    "bytes_of",
    "check_parts",
    "explain",
    "graph_root",
    "is_reading",
    "load_reading",
    "load_result",
    "only_known_by_running",
    "parts_of",
    "read_bytes_of",
    "read_parts",
    "recorded",
    "root_in",
    "text_of",
    "undo_of",
]
