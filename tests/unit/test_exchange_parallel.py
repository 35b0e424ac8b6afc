"""Several sessions as one: what runs beside what, whose errors are told where, what is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from exoscope.clock import SystemClock
from exoscope.exchange import parallel
from exoscope.exchange.parallel import ParallelSession, connect_several, reading_ahead
from exoscope.exchange.session import ReadsAhead, ReadsTogether, Result
from exoscope.outcome import (
    BadInput,
    GuardRefused,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.powershell import render_guarded

LIMIT = 30.0
"""Seconds after which a test that hangs fails; nothing is proven by waiting for them."""


class One:
    """A session that answers each script by its text, with what ``answer`` says."""

    road = "gateway"

    def __init__(self, answer: Callable[[str], object] = lambda script: script, tenant: str = "here") -> None:
        self.tenant_id = tenant
        self.answer = answer
        self.ran: list[str] = []
        self.closed = self.abandoned = 0
        self.inside = threading.Lock()

    def run(self, script: str, *, deadline: float = 0, batch: int | None = None) -> Result:
        assert self.inside.acquire(blocking=False), "a session is used by one thread at a time"
        try:
            self.ran.append(script)
            said = self.answer(script)
        finally:
            self.inside.release()
        if isinstance(said, BaseException):
            raise said
        return Result(rows=({"Is": said},))

    def close(self) -> None:
        self.closed += 1

    def abandon(self) -> None:
        self.abandoned += 1


class Ten(One):
    """One that takes several reads in a request."""

    road = "admin-api"

    def run_each(self, scripts: Sequence[str], *, deadline: float = 0, batch: int | None = None) -> tuple[Any, ...]:
        assert 1 < len(scripts) <= 10
        found: list[Any] = []
        for script in scripts:
            try:
                found.append(self.run(script))
            except ServiceError as error:
                found.append(error)
        return tuple(found)


def said(result: Any) -> Any:
    return result.rows[0]["Is"] if isinstance(result, Result) else result


def test_reads_run_beside_each_other_and_come_back_in_their_order() -> None:
    met = threading.Barrier(3)

    def answer(script: str) -> str:
        met.wait(LIMIT)  # passes only while three sessions are at work
        return f"of {script}"

    sessions = [One(answer) for _ in range(3)]
    several = ParallelSession(sessions)
    assert isinstance(several, ReadsAhead)
    assert isinstance(several, ReadsTogether)
    scripts = [f"read {number}" for number in range(6)]
    assert [said(each) for each in several.run_each(scripts)] == [f"of {script}" for script in scripts]
    assert sorted(script for session in sessions for script in session.ran) == scripts
    assert all(len(session.ran) == 2 for session in sessions)


def test_what_is_read_ahead_is_given_out_once_where_it_is_asked_for() -> None:
    sessions = [One() for _ in range(2)]
    several = ParallelSession(sessions)
    with several.ahead(["a", "b", "a"]) as more:
        more(["c", "a"])
        assert said(several.run("b")) == "b"
        assert said(several.run("c")) == "c"
        assert said(several.run("a")) == "a"
        assert sorted(script for session in sessions for script in session.ran) == ["a", "b", "c"]
        assert said(several.run("a")) == "a", "asked for again it is read again"
        more(["left"])
    before = len(sessions[0].ran)
    several.run("left")
    assert sessions[0].ran[before:] == ["left"], "what is left over of one context is not given out in another"


def test_an_error_is_told_where_its_read_is_asked_for() -> None:
    def answer(script: str) -> object:
        return ObjectNotFound(f"no {script}") if script in ("b", "d") else script

    for kind in (One, Ten):
        several = ParallelSession([kind(answer) for _ in range(2)])
        with several.ahead(["a", "b", "c"]):
            assert said(several.run("a")) == "a"
            with pytest.raises(ObjectNotFound, match="no b"):
                several.run("b")
            assert said(several.run("c")) == "c"
        found = several.run_each([*"abcd", *"efghijklmnop"])
        assert [said(each) for each in found if isinstance(each, Result)] == [*"ac", *"efghijklmnop"]
        assert [str(each) for each in found if isinstance(each, ObjectNotFound)] == ["no b", "no d"]


@pytest.mark.parametrize("fatal", [SignInFailed("no"), WrongTenant("no"), GuardRefused("no")])
def test_what_ends_a_sequence_of_reads_ends_reads_together(fatal: ServiceError) -> None:
    several = ParallelSession([One(lambda script: fatal if script == "b" else script) for _ in range(2)])
    with pytest.raises(type(fatal)):
        several.run_each(["a", "b", "c"])
    lost = LostSession("gone")
    several = ParallelSession([One(lambda script: lost if script == "b" else script) for _ in range(2)])
    assert several.run_each(["a", "b", "c"])[1] is lost


def test_what_nobody_foresaw_is_raised_and_not_swallowed() -> None:
    several = ParallelSession([One(lambda script: ZeroDivisionError()) for _ in range(2)])
    with several.ahead(["a"]), pytest.raises(ZeroDivisionError):
        several.run("a")
    with pytest.raises(ZeroDivisionError):
        several.run_each(["a", "b"])


def test_what_was_not_begun_when_the_context_ends_never_is() -> None:
    begun, go = threading.Event(), threading.Event()

    def answer(script: str) -> str:
        begun.set()
        assert go.wait(LIMIT)
        return script

    sessions = [One(answer), One(answer)]
    several = ParallelSession(sessions)
    with several.ahead([f"read {number}" for number in range(9)]):
        assert begun.wait(LIMIT)
    go.set()
    several.close()
    assert sum(len(session.ran) for session in sessions) <= 2
    assert [session.closed for session in sessions] == [1, 1]


def test_closing_does_not_wait_for_a_session_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "GRACE", 0.05)
    begun, never = threading.Event(), threading.Event()

    def stuck(script: str) -> str:
        begun.set()
        never.wait(LIMIT)
        return script

    sessions = [One(stuck), One(stuck)]
    several = ParallelSession(sessions)
    with several.ahead(["a"]):
        assert begun.wait(LIMIT)
    several.close()
    ends = [(session.closed, session.abandoned) for session in sessions]
    never.set()
    assert sorted(ends) == [(0, 1), (1, 0)]


def test_everything_else_runs_on_the_first_session() -> None:
    sessions = [One(), One()]
    several = ParallelSession(sessions)
    assert (several.road, several.tenant_id) == ("gateway", "here")
    several.run("a write")
    with several.ahead([]):
        several.run("another")
    assert [session.ran for session in sessions] == [["a write", "another"], []]


def test_a_single_session_reads_nothing_ahead() -> None:
    one = One()
    with reading_ahead(one, [("inventory/organization", {})]) as more:
        more([("inventory/roles", {})])
        assert one.ran == []
    script = render_guarded("inventory/organization", {}).text
    sessions = [One(), One()]
    with reading_ahead(ParallelSession(sessions), [("inventory/organization", {})]):
        end = time.monotonic() + LIMIT
        while not (sessions[0].ran or sessions[1].ran) and time.monotonic() < end:
            time.sleep(0.01)
    assert [*sessions[0].ran, *sessions[1].ran] == [script]


def several_of(monkeypatch: pytest.MonkeyPatch, opened: list[Any], count: int) -> Any:
    """Connect, with sessions and errors in the place of what would be opened, in this order."""
    lock, left = threading.Lock(), list(opened)

    def connect(profile: object, tokens: object, *, clock: object) -> Any:
        with lock:
            found = left.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setattr(parallel, "connect", connect)
    nobody: Any = None
    return connect_several(nobody, nobody, clock=SystemClock(), count=count)


def test_each_session_is_opened_before_the_first_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [One() for _ in range(4)]
    assert several_of(monkeypatch, sessions, 1) is sessions[0]
    several = several_of(monkeypatch, sessions, 4)
    assert isinstance(several, ParallelSession)
    several.close()
    assert [session.closed for session in sessions] == [1] * 4
    for count in (0, 9, -1):
        with pytest.raises(BadInput, match="between 1 and 8"):
            several_of(monkeypatch, sessions, count)


def test_one_that_cannot_be_opened_closes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (Throttled("full", next="Wait."), Transient("away"), WrongTenant("there"), ValueError("odd")):
        sessions = [One() for _ in range(3)]
        with pytest.raises(type(error)) as raised:
            several_of(monkeypatch, [*sessions[:2], error, sessions[2]], 4)
        assert [session.closed for session in sessions] == [1] * 3
        if isinstance(raised.value, ServiceError):
            assert raised.value.next.endswith("4 sessions were to be opened at once: fewer may do.")
    with pytest.raises(SignInFailed):
        several_of(monkeypatch, [SignInFailed("no")], 4)


def test_sessions_of_two_tenants_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [One(), One(tenant="there")]
    with pytest.raises(WrongTenant, match="different tenants"):
        several_of(monkeypatch, sessions, 2)
    assert [session.closed for session in sessions] == [1, 1]
