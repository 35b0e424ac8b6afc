"""What an admin writes: scope.yaml (an intent) and connector.yaml (a connector to be registered), read strictly."""

from __future__ import annotations

from exoscope.intent.connector_file import load_connector, loads_connector
from exoscope.intent.nodes import SCOPE_KINDS
from exoscope.intent.scope_file import load_intent, loads_intent

__all__ = ["SCOPE_KINDS", "load_connector", "load_intent", "loads_connector", "loads_intent"]
