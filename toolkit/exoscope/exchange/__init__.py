"""Exchange: sessions, inventory readers, single objects, Exchange's own tests."""

from __future__ import annotations

from exoscope.exchange.connect import connect
from exoscope.exchange.objects import Ids, read_object
from exoscope.exchange.parallel import connect_several
from exoscope.exchange.session import BATCH, DEADLINE, LONG, ExchangeSession, Result, Row

__all__ = [
    "BATCH",
    "DEADLINE",
    "LONG",
    "ExchangeSession",
    "Ids",
    "Result",
    "Row",
    "connect",
    "connect_several",
    "read_object",
]
