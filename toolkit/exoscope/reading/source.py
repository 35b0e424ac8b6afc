"""What a tenant is read from: a connection, or what scripts noted of it."""

from __future__ import annotations

from typing import Protocol

from exoscope.clock import Clock
from exoscope.entra import GraphClient
from exoscope.exchange import ExchangeSession
from exoscope.model import Tenant


class Source(Protocol):
    """Exchange and Graph of one tenant. ``clock`` says when it is read; each property raises the ServiceError family."""

    @property
    def clock(self) -> Clock: ...

    @property
    def exchange(self) -> ExchangeSession: ...

    @property
    def graph(self) -> GraphClient: ...

    def prove_tenant(self, meant: Tenant | None = None) -> Tenant:
        """The tenant, proven. Raises WrongTenant."""
        ...
