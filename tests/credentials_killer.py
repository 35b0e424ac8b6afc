"""A process of exoscope that kills itself at a moment of making a credential. ``python credentials_killer.py N COMMAND…``.

N: 1 before Entra makes it, 2 after, 3 before it is put into its place, 4 after; 5 while
a temporary certificate is lent for a proof. Only tests use it: the product has no such hook.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from exoscope import cli
from exoscope.cli.frame import run
from exoscope.running import credentials


def killing(real: Callable[..., Any], before: int, number: int) -> Callable[..., Any]:
    def wrapped(*given: Any, **named: Any) -> Any:
        if number == before:
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*given, **named)
        if number == before + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return wrapped


def main() -> None:
    number, words = int(sys.argv[1]), sys.argv[2:]
    credentials.add_secret = killing(credentials.add_secret, 1, number)
    credentials.put = killing(credentials.put, 3, number)
    verify = importlib.import_module("exoscope.checking.verify")  # the room's own name is the function
    verify.prove = killing(verify.prove, 5, number)
    run(cli.program, words)


if __name__ == "__main__":
    main()
