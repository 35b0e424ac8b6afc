"""What stands in front of the twin's PSRP: who may come in, and which token opens Exchange."""

from __future__ import annotations

from collections.abc import Callable

from exoscope.catalog import EXCHANGE
from exoscope.twin.faults import Faults
from exoscope.twin.tenant import TwinTenant
from exoscope.twin.tokens import Principal, TokenRefused, Tokens
from exoscope.twin.web import App
from exoscope.twin.wsman import Wsman


def exchange_app(
    tenant: TwinTenant,
    tokens: Tokens,
    faults: Faults,
    *,
    user: str,
    password: str,
    certificate: bytes,
    read_only: Callable[[str], bool] | None = None,
) -> tuple[App, Callable[[], None]]:
    """The WSGI application of ``/wsman``, and what to call at the end.

    ``certificate`` (DER) is the client certificate let in beside ``user`` and ``password``. Only the sandbox's own operator
    has an administrator's role: the token of any other app opens nothing, whatever app roles it carries.
    """

    def validate(token: str) -> Principal | None:
        try:
            principal = tokens.read(token, EXCHANGE)
        except TokenRefused:
            return None
        return principal if principal.operator else None

    app = Wsman(
        tenant,
        validate,
        credentials={user: password},
        certificates=(certificate,),
        faults=faults,
        read_only=read_only,
    )
    return app, app.close
