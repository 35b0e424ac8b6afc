"""One Graph call and its answer, the same whether it came alone or in a ``$batch``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from exoscope.twin.graph.errors import bad_request, no_privilege
from exoscope.twin.tokens import Principal


class Call(msgspec.Struct, frozen=True):
    """``path`` is relative to the version root and decoded; ``query`` decoded; ``headers`` in lower case; ``body`` JSON or None.

    ``base`` is the absolute address of the version root, for links.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    principal: Principal
    base: str
    in_batch: bool = False

    def needs(self, *any_of: str) -> None:
        """Raises a 403 unless the token carries one of these permissions."""
        if not set(any_of) & set(self.principal.roles):
            raise no_privilege()

    def object(self) -> dict[str, Any]:
        """The body, which must be a JSON object."""
        if not isinstance(self.body, dict):
            raise bad_request("The request body is missing or is no JSON object.", code="BadRequest")
        return self.body


class Reply(msgspec.Struct, frozen=True):
    """``body`` None: an empty answer."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


def context(call: Call, name: str) -> str:
    """An ``@odata.context`` address."""
    return f"{call.base}/$metadata#{name}"
