"""A process of exoscope that kills itself at its N-th journal record, before or after the record is on the disk.

``python running_killer.py before|after N COMMAND…``. Only tests use it: the product has no such hook.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from exoscope import cli
from exoscope.cli.frame import run
from exoscope.running.journal import Journal


def main() -> None:
    how, number, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    append = Journal.append
    count = 0

    def killing(self: Journal, record: Any) -> Any:
        nonlocal count
        count += 1
        if count == number and how == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        written = append(self, record)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return written

    Journal.append = killing  # type: ignore[method-assign]  # that is what this file is for
    run(cli.program, words)


if __name__ == "__main__":
    main()
