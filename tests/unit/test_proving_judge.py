"""Verdicts from answers: the table of what each combination of witnesses means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exoscope.outcome import Verdict
from exoscope.proving.judge import (
    Circumstances,
    Witnessed,
    check_verdict,
    exchange_answer,
    leak_bound,
    permission_verdict,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SETTLED = Circumstances(now=NOW, graph_unasked=None, carried=(), settled_at=NOW - timedelta(minutes=1), rbac=True)
SETTLING = Circumstances(now=NOW, graph_unasked=None, carried=(), settled_at=NOW + timedelta(hours=1), rbac=True)
UNTOLD = Circumstances(now=NOW, graph_unasked=None, carried=(), settled_at=None, rbac=True)
CARRYING = Circumstances(now=NOW, graph_unasked=None, carried=("Mail.Read",), settled_at=NOW, rbac=True)


def seen(predicted: str, scope: str = "not-asked", test: str = "not-asked", graph: str = "not-asked") -> Witnessed:
    return Witnessed(predicted=predicted, scope=scope, test=test, graph=graph)  # type: ignore[arg-type]  # a table of words


A, D, U, N = "allowed", "denied", "unknown", "not-asked"


@pytest.mark.parametrize(
    ("expected", "answers", "about", "verdict"),
    [
        (A, (A, A, A, A), SETTLED, Verdict.PROVEN),
        (D, (D, D, D, D), SETTLED, Verdict.PROVEN),
        (D, (A, D, D, D), SETTLED, Verdict.VIOLATED),  # the prediction alone is enough
        (D, (D, A, A, D), SETTLED, Verdict.VIOLATED),
        (D, (D, D, D, A), SETTLED, Verdict.VIOLATED),
        (A, (D, A, A, A), SETTLED, Verdict.VIOLATED),
        (A, (A, A, A, D), SETTLED, Verdict.VIOLATED),
        (A, (A, A, A, D), SETTLING, Verdict.PENDING),  # a cached denial
        (D, (D, D, D, A), SETTLING, Verdict.PENDING),  # a cached permission, inside a window we know
        (A, (A, A, A, D), UNTOLD, Verdict.PENDING),
        (D, (D, D, D, A), UNTOLD, Verdict.VIOLATED),  # no known window excuses a leak
        (D, (D, D, D, A), CARRYING, Verdict.PENDING),
        (A, (A, A, A, D), CARRYING, Verdict.VIOLATED),
        (A, (U, A, A, A), SETTLED, Verdict.UNKNOWN),
        (D, (D, D, N, U), SETTLED, Verdict.UNKNOWN),
        (D, (D, D, A, D), SETTLED, Verdict.UNKNOWN),  # Exchange against itself
        (D, (U, D, D, A), SETTLED, Verdict.VIOLATED),  # a seen leak is worse than not knowing
    ],
)
def test_one_mailbox(expected: Any, answers: tuple[str, ...], about: Circumstances, verdict: Verdict) -> None:
    assert check_verdict(expected, seen(*answers), about) is verdict


@pytest.mark.parametrize(
    ("expected", "answers", "verdict"),
    [
        (A, (A, A, A, D), Verdict.PENDING),
        (D, (D, D, D, A), Verdict.PENDING),
        (A, (A, A, A, A), Verdict.PROVEN),
        (A, (A, D, D, D), Verdict.VIOLATED),  # Exchange itself says so, and does not cache
        (D, (A, D, D, D), Verdict.VIOLATED),
        (D, (U, D, D, A), Verdict.VIOLATED),  # nobody says that it is only cached
        (D, (D, D, A, A), Verdict.VIOLATED),
    ],
)
def test_of_who_joined_or_left_lately_graph_may_answer_from_before(
    expected: Any, answers: tuple[str, ...], verdict: Verdict
) -> None:
    assert check_verdict(expected, replace(seen(*answers), lately=True), SETTLED) is verdict


@pytest.mark.parametrize(
    ("scope", "test", "answer"),
    [(A, A, A), (A, N, A), (N, D, D), (A, D, U), (U, D, U), (D, U, U), (N, N, N)],
)
def test_exchange_speaks_with_one_voice(scope: Any, test: Any, answer: str) -> None:
    assert exchange_answer(scope, test) == answer


INSIDE = (A, seen(A, A, A, A))
OUTSIDE = (D, seen(D, D, D, D))


@pytest.mark.parametrize(
    ("rows", "about", "scoped", "verdict", "why"),
    [
        ([INSIDE, OUTSIDE], SETTLED, True, Verdict.PROVEN, ""),
        ([], SETTLED, True, Verdict.UNKNOWN, "nothing was checked"),
        ([INSIDE], SETTLED, True, Verdict.CONFIGURED, "no evidence outside"),
        ([OUTSIDE], SETTLED, True, Verdict.CONFIGURED, "no evidence inside"),
        ([INSIDE, OUTSIDE], SETTLED, False, Verdict.VIOLATED, "not scoped"),
        ([INSIDE, OUTSIDE], SETTLED, None, Verdict.UNKNOWN, "cannot be told"),
        ([INSIDE, OUTSIDE], CARRYING, True, Verdict.PENDING, "still carries Mail.Read"),
        ([INSIDE, (D, seen(D, D, D))], SETTLED, True, Verdict.CONFIGURED, "graph has no evidence outside"),
        ([(A, seen(A, N, N, A)), (D, seen(D, N, N, D))], SETTLED, True, Verdict.UNKNOWN, "Exchange was not asked"),
        ([INSIDE, (D, seen(D, D, D, U))], SETTLED, True, Verdict.UNKNOWN, "could not tell"),
    ],
)
def test_one_permission(rows: Any, about: Circumstances, scoped: bool | None, verdict: Verdict, why: str) -> None:
    got, said = permission_verdict(rows, about, scoped=scoped)
    assert got is verdict
    assert why in said


def test_where_graph_cannot_be_asked_the_verdict_is_configured() -> None:
    about = Circumstances(now=NOW, graph_unasked="Mail.Send has no safe call", carried=(), settled_at=NOW, rbac=True)
    rows = [(A, seen(A, A, A)), (D, seen(D, D, D))]
    assert permission_verdict(rows, about, scoped=True) == (Verdict.CONFIGURED, "Mail.Send has no safe call")  # type: ignore[arg-type]  # words


answers = st.sampled_from([A, D, U, N])


@given(
    st.sampled_from([A, D]), answers, answers, answers, answers, st.sampled_from([SETTLED, SETTLING, UNTOLD, CARRYING])
)
def test_nothing_is_proven_unless_nobody_disagrees(
    expected: Any, predicted: str, scope: str, test: str, graph: str, about: Circumstances
) -> None:
    if check_verdict(expected, seen(predicted, scope, test, graph), about) is Verdict.PROVEN:
        assert {predicted, scope, test, graph} <= {expected, N}


def test_the_bound_of_a_sample() -> None:
    assert leak_bound(300, 41_000) == pytest.approx(0.00994, abs=1e-5)
    assert leak_bound(10, 10) == 0.0
    assert leak_bound(0, 10) is None
    assert leak_bound(0, 0) == 0.0
