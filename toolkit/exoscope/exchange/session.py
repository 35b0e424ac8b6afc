"""What a session with Exchange is, whatever road it takes: scripts in, rows out, one family of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from exoscope.model import Noun
from exoscope.outcome import ServiceError

Row = dict[str, Any]
"""One row: column → null, boolean, number, string or list of strings. Columns as the server spells them; compare without case."""

DEADLINE = 120.0
"""Seconds one call may take unless told otherwise. Exchange's own REST cmdlets give up after 15 minutes."""

LONG = 900.0
"""Seconds for reads of a whole tenant: the 15 minutes after which Exchange's cmdlets give up themselves."""

BATCH = 500
"""Rows that a read brings back in one text unless told otherwise."""


class Result(Noun, frozen=True):
    """A completed call without an error record: its rows (empty: read and empty) and its warnings."""

    rows: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()


class ExchangeSession(Protocol):
    """A session in one tenant, proven before its first operation. Use it from one thread at a time."""

    @property
    def road(self) -> str:
        """How it reaches Exchange (``gateway``, ``pwsh``, ``admin-api``)."""
        ...

    @property
    def tenant_id(self) -> str:
        """The tenant's Guid as Exchange said and the session proved it, lower case."""
        ...

    def run(self, script: str, *, deadline: float = DEADLINE, batch: int | None = None) -> Result:
        """Run an operation script after the guard has read it.

        A script of reads (Get-, Test-) comes back as texts of ``batch`` rows each; a write's own output is not looked at.
        A read is repeated after a lost session, throttling or a passing fault, within ``deadline`` seconds; a write never.

        Raises the ServiceError family: ObjectNotFound, AlreadyExists, AccessDenied, Throttled, Transient; LostSession and
        Deadline (the outcome of a write is then unknown); GuardRefused; SignInFailed and WrongTenant (nothing ran).
        """
        ...

    def close(self) -> None:
        """End the session; never raises."""
        ...


@runtime_checkable
class EndsAnytime(Protocol):
    """What a session also is where another thread may end it in the middle of a call."""

    def abandon(self) -> None:
        """End it for good, at once; the call under way fails, or is left alone until it ends by itself. Never raises."""
        ...


@runtime_checkable
class TellsCmdlets(Protocol):
    """What a session also is where it can tell which cmdlets it has."""

    def offered(self, *, deadline: float = DEADLINE) -> frozenset[str]:
        """The cmdlets, lower case, of those that templates use, which Exchange gives this operator: what its roles allow.

        Raises the ServiceError family.
        """
        ...


@runtime_checkable
class ReadsTogether(Protocol):
    """What a session also is where its road takes several reads in one request (the admin API)."""

    def run_each(
        self, scripts: Sequence[str], *, deadline: float = DEADLINE, batch: int | None = None
    ) -> tuple[Result | ServiceError, ...]:
        """Run reads of one pipeline each: each one's result, or the error it answered.

        Raises SignInFailed, WrongTenant and GuardRefused; BadInput when one of them is no read.
        """
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """What a session also is where it has several connections (:mod:`exoscope.exchange.parallel`)."""

    def ahead(
        self, scripts: Iterable[str], *, deadline: float = LONG
    ) -> AbstractContextManager[Callable[[Iterable[str]], None]]:
        """In this context these reads are under way, each as :meth:`ExchangeSession.run` does it; a ``run`` of the same text
        gives out what came, once: the result, or its error. Yields what takes more of them.
        """
        ...
