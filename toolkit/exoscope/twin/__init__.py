"""The embedded tenant: a snapshot brought to life behind real protocols, on loopback only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exoscope.twin.server import Twin, serve

__all__ = ["Twin", "serve"]


def __getattr__(name: str) -> Any:
    # the web side is loaded when it is asked for: the evaluator alone needs none of it
    if name in __all__:
        from exoscope.twin import server

        return getattr(server, name)
    raise AttributeError(name)
