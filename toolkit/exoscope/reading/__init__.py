"""Exchange and Graph together: a connection to one proven tenant, and the whole tenant read into one snapshot."""

from __future__ import annotations

from exoscope.reading.connection import Connection
from exoscope.reading.read import read_snapshot
from exoscope.reading.source import Source
from exoscope.reading.wanted import Wanted, wanted_for

__all__ = ["Connection", "Source", "Wanted", "read_snapshot", "wanted_for"]
