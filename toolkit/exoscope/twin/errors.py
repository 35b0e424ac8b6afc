"""What the twin answers when it will not answer: both halves (Exchange and Graph) turn these into their own errors."""

from __future__ import annotations


class NotModelled(Exception):
    """The real service's behaviour is not documented well enough; the twin refuses rather than invents (Graph: HTTP 501)."""


class Unread(Exception):
    """The snapshot does not hold this, so the twin has nothing to show: reads of it answer access denied."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} was not read into the snapshot this twin was made from")
        self.what = what
