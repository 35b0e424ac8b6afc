"""Running: a plan applied stage by stage, journalled so that any end of the process can be gone on from or taken back."""

from __future__ import annotations

from exoscope.running.advancing import Approval, advance
from exoscope.running.answer import AdvanceAnswer, AppAnswer, RunAnswer, RunLine, exit_of
from exoscope.running.apply import apply, resume
from exoscope.running.desk import Desk, Opened
from exoscope.running.exporting import Export, export
from exoscope.running.ports import Event, Evidence, Service, Survey, Tenancy
from exoscope.running.returning import plan_back
from exoscope.running.status import runs, status
from exoscope.running.store import Store
from exoscope.running.taking import take_result
from exoscope.running.undo import undo

__all__ = [
    "AdvanceAnswer",
    "AppAnswer",
    "Approval",
    "Desk",
    "Event",
    "Evidence",
    "Export",
    "Opened",
    "RunAnswer",
    "RunLine",
    "Service",
    "Store",
    "Survey",
    "Tenancy",
    "advance",
    "apply",
    "exit_of",
    "export",
    "plan_back",
    "resume",
    "runs",
    "status",
    "take_result",
    "undo",
]
