"""The one type that holds a secret. Its repr, str, format, pickle and copy give nothing away."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

HIDDEN = "<secret>"


class Secret:
    """A secret text. Only :meth:`reveal` gives it, at the one place that hands it to a library.

    ``origin`` is the reference it came from (``env:NAME``, ``file:PATH``), safe to print.
    """

    __slots__ = ("_text", "origin")

    def __init__(self, text: str, origin: str = "") -> None:
        self._text = text
        self.origin = origin

    def reveal(self) -> str:
        """The secret itself. Never pass the result to a log, an exception or an argument list."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would let a secret be tested by guessing

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self
