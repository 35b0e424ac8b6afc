"""Ctrl-C: at once where nothing can tear, at the step's end where it could, at once when pressed again."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from exoscope.running.interrupts import Interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no SIGINT there")


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_outside_a_held_part_it_is_raised_at_once() -> None:
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt), Interrupts(lambda: told.append("told")):
        press()
    assert told == []


def test_inside_a_held_part_the_part_is_finished_first() -> None:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), Interrupts(lambda: said.append("told")) as interrupts:
        with interrupts.held():
            press()
            said.append("finished")
        said.append("never")
    assert said == ["told", "finished"]


def test_pressed_twice_it_does_not_wait() -> None:
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), Interrupts(lambda: said.append("told")) as interrupts, interrupts.held():
        press()
        press()
        said.append("never")
    assert said == ["told"]


def test_afterwards_the_former_handler_is_back() -> None:
    former = signal.getsignal(signal.SIGINT)
    with Interrupts(lambda: None):
        assert signal.getsignal(signal.SIGINT) != former
    assert signal.getsignal(signal.SIGINT) == former


def test_in_another_thread_signals_are_left_alone() -> None:
    former = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with Interrupts(lambda: None) as interrupts, interrupts.held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [former]
