"""Several sessions with one tenant, for reads that need not wait for each other.

Each session is opened and proven by itself before the first read: connections of one process are kept apart by being
processes (a PowerShell each) or by having no state (the admin API). A session is used by one thread at a time. What is read
ahead is given out where it would have been read, so whoever reads sees the same rows and the same errors, in the same order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from exoscope.clock import Clock
from exoscope.exchange.connect import TokenSource, connect
from exoscope.exchange.session import DEADLINE, LONG, EndsAnytime, ExchangeSession, ReadsAhead, ReadsTogether, Result
from exoscope.outcome import BadInput, GuardRefused, ServiceError, SignInFailed, WrongTenant
from exoscope.powershell import render_guarded
from exoscope.profile import Profile

log = logging.getLogger("exoscope.exchange")

MOST = 8
TOGETHER = 10  # reads that the admin API takes in one request
GRACE = 2.0  # seconds that closing waits for a session that is in the middle of a read

Reading = tuple[str, Mapping[str, Any]]
"""A read template and its values."""


def connect_several(profile: Profile, tokens: TokenSource, *, clock: Clock, count: int) -> ExchangeSession:
    """``count`` sessions in the profile's tenant (1 to 8), all open and proven, as one.

    Raises BadInput for another number, and what :func:`exoscope.exchange.connect` raises for any of them; none stays open then.
    """
    if not 1 <= count <= MOST:
        raise BadInput(f"{count} sessions at once: between 1 and {MOST} can be opened")
    # The first one alone finds out what is wrong with the road or the sign-in; only then come the others, at once.
    first = connect(profile, tokens, clock=clock)
    if count == 1:
        return first
    try:
        others = _at_once(count - 1, lambda: connect(profile, tokens, clock=clock))
    except BaseException:
        first.close()
        raise
    sessions = [first, *(each for each in others if not isinstance(each, BaseException))]
    errors = [each for each in others if isinstance(each, BaseException)]
    if len({session.tenant_id for session in sessions}) != 1:
        errors.append(WrongTenant("the sessions are in different tenants", next="Compare [operator] and tenant."))
    if not errors:
        log.info("%d sessions are open", count)
        return ParallelSession(sessions)
    for session in sessions:
        session.close()
    if isinstance(errors[0], ServiceError):
        errors[0].next = f"{errors[0].next} {count} sessions were to be opened at once: fewer may do.".strip()
    raise errors[0]


def _at_once(count: int, open_one: Callable[[], ExchangeSession]) -> list[ExchangeSession | BaseException]:
    """So many sessions, or what kept each from being opened."""
    futures = [Future[ExchangeSession]() for _ in range(count)]

    def work(future: Future[ExchangeSession]) -> None:
        try:
            future.set_result(open_one())
        except BaseException as error:  # noqa: BLE001 - told to the caller's thread
            future.set_exception(error)

    for future in futures:
        threading.Thread(target=work, args=(future,), name="exoscope-open", daemon=True).start()
    return [future.exception() or future.result() for future in futures]


class _Job:
    """Reads that one session does in one go, and where their results go."""

    def __init__(self, scripts: Sequence[str], deadline: float) -> None:
        self.scripts = tuple(scripts)
        self.deadline = deadline
        self.futures = tuple(Future[Result]() for _ in scripts)

    def run(self, session: ExchangeSession) -> None:
        try:
            if len(self.scripts) > 1 and isinstance(session, ReadsTogether):
                results = session.run_each(self.scripts, deadline=self.deadline)
            else:
                results = tuple(_outcome(session, script, self.deadline) for script in self.scripts)
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            for future in self.futures:
                future.set_exception(error)
            return
        for future, result in zip(self.futures, results, strict=True):
            if isinstance(result, ServiceError):
                future.set_exception(result)
            else:
                future.set_result(result)


class ParallelSession:
    """An :class:`~exoscope.exchange.session.ExchangeSession` over several, for use from one thread, and
    :class:`~exoscope.exchange.session.ReadsAhead` and :class:`~exoscope.exchange.session.ReadsTogether` besides.

    What is not read ahead, writes among it, runs on the first session.
    """

    def __init__(self, sessions: Sequence[ExchangeSession]) -> None:
        self._sessions = tuple(sessions)
        self._busy = tuple(threading.Lock() for _ in sessions)
        self._waiting: dict[str, Future[Result]] = {}

    @property
    def road(self) -> str:
        return self._sessions[0].road

    @property
    def tenant_id(self) -> str:
        return self._sessions[0].tenant_id

    def run(self, script: str, *, deadline: float = DEADLINE, batch: int | None = None) -> Result:
        ahead = self._waiting.pop(script, None)
        if ahead is not None:
            return ahead.result()
        with self._busy[0]:
            return self._sessions[0].run(script, deadline=deadline, batch=batch)

    def run_each(
        self, scripts: Sequence[str], *, deadline: float = DEADLINE, batch: int | None = None
    ) -> tuple[Result | ServiceError, ...]:
        del batch  # rows of one JSON text: nobody who reads several things at once has a wish there
        size = TOGETHER if isinstance(self._sessions[0], ReadsTogether) else 1
        jobs = [_Job(scripts[at : at + size], deadline) for at in range(0, len(scripts), size)]
        with self._working(jobs):
            found = [_told(future) for job in jobs for future in job.futures]
        for each in found:
            if isinstance(each, SignInFailed | WrongTenant | GuardRefused):
                raise each
        return tuple(found)

    @contextmanager
    def ahead(self, scripts: Iterable[str], *, deadline: float = LONG) -> Iterator[Callable[[Iterable[str]], None]]:
        """See :meth:`exoscope.exchange.session.ReadsAhead.ahead`."""
        with self._working(()) as add:

            def more(these: Iterable[str]) -> None:
                jobs = [_Job([script], deadline) for script in dict.fromkeys(these) if script not in self._waiting]
                self._waiting.update({job.scripts[0]: job.futures[0] for job in jobs})
                add(jobs)

            try:
                more(scripts)
                yield more
            finally:
                self._waiting.clear()

    @contextmanager
    def _working(self, jobs: Iterable[_Job]) -> Iterator[Callable[[Iterable[_Job]], None]]:
        """The jobs are done, in their order, by as many threads as there are sessions. Those not begun at the end never are."""
        left: deque[_Job] = deque()
        news = threading.Condition()
        over = False

        def add(more: Iterable[_Job]) -> None:
            with news:
                left.extend(more)
                news.notify_all()

        def work(number: int) -> None:
            while True:
                with news:
                    while not left and not over:
                        news.wait()
                    if over:
                        return
                    job = left.popleft()
                with self._busy[number]:
                    job.run(self._sessions[number])

        add(jobs)
        for number in range(len(self._sessions)):
            # Daemons: whoever is interrupted does not wait for a read of minutes.
            threading.Thread(target=work, args=(number,), name=f"exoscope-read-{number}", daemon=True).start()
        try:
            yield add
        finally:
            with news:
                over = True
                news.notify_all()

    def close(self) -> None:
        """End all sessions; never raises. One that is in the middle of a read is given a moment."""
        end = time.monotonic() + GRACE
        for session, busy in zip(self._sessions, self._busy, strict=True):
            if busy.acquire(timeout=max(0.0, end - time.monotonic())):
                try:
                    session.close()
                finally:
                    busy.release()
            elif isinstance(session, EndsAnytime):
                session.abandon()


@contextmanager
def reading_ahead(
    session: ExchangeSession, reads: Iterable[Reading] = (), *, deadline: float = LONG
) -> Iterator[Callable[[Iterable[Reading]], None]]:
    """In this context these reads are under way where the session can do that (else they are done when they are asked for).

    Yields what takes more of them.
    """
    if not isinstance(session, ReadsAhead):
        yield lambda more: None
        return
    with session.ahead(_scripts(reads), deadline=deadline) as add:
        yield lambda more: add(_scripts(more))


def _scripts(reads: Iterable[Reading]) -> list[str]:
    return [render_guarded(template, values).text for template, values in reads]


def _outcome(session: ExchangeSession, script: str, deadline: float) -> Result | ServiceError:
    try:
        return session.run(script, deadline=deadline)
    except ServiceError as error:
        return error


def _told(future: Future[Result]) -> Result | ServiceError:
    try:
        return future.result()
    except ServiceError as error:
        return error
