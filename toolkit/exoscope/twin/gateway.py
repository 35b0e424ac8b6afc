"""What stands in front of the twin's PSRP: who may come in, and which token opens Exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from exoscope.twin.faults import Faults
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.tokens import Tokens
from exoscope.twin.web import App


def exchange_app(
    tenant: TwinTenant, tokens: Tokens, faults: Faults, *, user: str, password: str, certificate: bytes
) -> tuple[App, Callable[[], None]]:
    """The WSGI application of ``/wsman``, and what to call at the end."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("503 Service Unavailable", [("Content-Length", "0")])
        return [b""]

    return app, lambda: None
