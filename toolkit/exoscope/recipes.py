"""Recipes: what common connectors really need, carried as data (data/recipes.json). ``exoscope onboard`` fills permissions and
notes from one.

Each is written from the vendor's public guide, whose address it names; what the guide gets wrong is said in ``notes``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import msgspec

from exoscope.model import Mechanism, Noun

FORMAT = "exoscope/recipes@1"


class Recipe(Noun, frozen=True):
    """One connector: ``name`` as it is typed, ``title`` as its vendor calls it, the vendor's ``guide`` (an address).

    ``permissions`` are Graph application permissions; ``notes`` sentences for the admin, ``mechanisms`` one for each mechanism
    that needs one.
    """

    name: str
    title: str
    guide: str
    permissions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    mechanisms: Mapping[Mechanism, str] = {}

    def told(self, mechanism: Mechanism) -> tuple[str, ...]:
        """What an admin should read who onboards it with this mechanism."""
        own = self.mechanisms.get(mechanism)
        return (*self.notes, *((own,) if own else ()), f"The vendor's guide for {self.title}: {self.guide}")


class _File(Noun, frozen=True):
    format: Literal["exoscope/recipes@1"]
    recipes: tuple[Recipe, ...]


@lru_cache(maxsize=1)
def every() -> tuple[Recipe, ...]:
    """All recipes, by name."""
    text = (files("exoscope") / "data" / "recipes.json").read_text(encoding="utf-8")
    found = msgspec.convert(json.loads(text), _File).recipes
    return tuple(sorted(found, key=lambda each: each.name))


def recipe(name: str) -> Recipe | None:
    """The recipe of this name, without case; None: there is none."""
    return next((each for each in every() if each.name == name.casefold()), None)
