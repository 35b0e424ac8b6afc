"""One object of the tenant as it reads now: what a step's precondition, check and settling rest on."""

from __future__ import annotations

from typing import Any

from msgspec import field

from exoscope.model.plan import State
from exoscope.model.tenant import Noun


class Observed(Noun, frozen=True):
    """An object as read, in the fields that :mod:`exoscope.model.plan` lists for its kind.

    ``state`` None: absent (a reader may say so by answering None instead, where an absent object yields nothing).
    ``yields``: values that only reading gives (``distinguished_name``, ``id``, ``required_resource_access`` …).
    """

    state: State
    yields: dict[str, Any] = field(default_factory=dict)
