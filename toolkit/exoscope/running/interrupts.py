"""Ctrl-C without a torn call: while a step runs, the first one waits for its end; a second one does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """A context in which SIGINT is ours. Outside a held part it raises KeyboardInterrupt at once, as ever.

    ``told`` is called once when an interrupt has to wait. Only the main thread can take signals; elsewhere this does nothing.
    """

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._holding = False
        self._asked = 0
        self._former: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
            self._former = None

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if not self._holding or self._asked > 1:
            raise KeyboardInterrupt
        self._told()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A part that an interrupt does not tear: it is raised at the end, or before the next part if this one ends in an error."""
        if self._asked:
            raise KeyboardInterrupt
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._asked:
            raise KeyboardInterrupt
