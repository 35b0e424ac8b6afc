"""``verify --wait``: a proof that is asked for again keeps what was done to the tenant for the asking before it."""

from __future__ import annotations

import importlib
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from exoscope.clock import iso
from exoscope.outcome import Verdict
from exoscope.proving import Options
from running_fakes import HandClock

VERIFY = importlib.import_module("exoscope.checking.verify")  # the room's own name is the function


class Proof(msgspec.Struct, frozen=True):
    verdict: Verdict
    ready_at: str | None
    notes: tuple[str, ...]


class Done(msgspec.Struct, frozen=True):
    proof: Proof


def test_notes_of_every_asking_are_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    soon = iso(clock.now() + timedelta(hours=1))
    asked = iter([Done(Proof(Verdict.PENDING, soon, ("first",))), Done(Proof(Verdict.PROVEN, None, ("second",)))])
    monkeypatch.setattr(VERIFY, "_once", lambda *_, **__: next(asked))
    nothing: Any = None
    done = VERIFY.verify(
        nothing,
        nothing,
        nothing,
        options=Options(),
        waits={},
        lengthen=False,
        operator="",
        clock=clock,
        wait=7200.0,
        say=lambda text: None,
        progress=lambda text: None,
    )
    assert (done.proof.verdict, done.proof.notes) == (Verdict.PROVEN, ("first", "second"))
