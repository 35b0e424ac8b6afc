"""``check``: what a connector will meet, asked with its own credential alone; with a profile, what Exchange says of it."""

from __future__ import annotations

from exoscope.checking.connector.checking import Question, Side, check
from exoscope.checking.connector.judge import EXITS, judged
from exoscope.checking.connector.nouns import Answers, ConnectorCheck, Line

__all__ = ["EXITS", "Answers", "ConnectorCheck", "Line", "Question", "Side", "check", "judged"]
