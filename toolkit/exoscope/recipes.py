"""Recipes: what common connectors really need, carried as data (data/recipes.json). ``exoscope onboard`` fills permissions and
notes from one, ``exoscope recipes`` prints them.

Each is written from the vendor's public guide, whose address it names with the day it was read: nothing stands in it that the guide
does not say, but for what Microsoft documents of the permissions themselves.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import msgspec

from exoscope.model import Mechanism, Noun
from exoscope.outcome import NotFound

FORMAT = "exoscope/recipes@1"
Over = Literal["graph", "ews", "imap-smtp"]


class Recipe(Noun, frozen=True):
    """One connector: ``name`` as it is typed, ``title`` as its vendor calls it, the vendor's ``guide`` (an address; ``also``
    further ones), ``read`` on that day (ISO). ``over``: what it reaches mailboxes by.

    ``asks``: the permissions as the guide names them; ``permissions``: those that matter here and are really needed, in their
    own spelling. ``limited_by``: mechanisms that keep it to its mailboxes with all of them (none: something else does, as
    ``mechanisms`` says). ``notes`` are sentences for the admin, ``wrong`` what the guide gets wrong or leaves out,
    ``mechanisms`` one sentence for each mechanism that needs one.
    """

    name: str
    title: str
    guide: str
    read: str
    over: Over
    asks: tuple[str, ...]
    permissions: tuple[str, ...]
    limited_by: tuple[Mechanism, ...]
    also: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    mechanisms: Mapping[Mechanism, str] = {}

    def told(self, mechanism: Mechanism | None) -> tuple[str, ...]:
        """What an admin should read who onboards it with this mechanism (None: it is not known which)."""
        own = self.mechanisms.get(mechanism) if mechanism is not None else None
        wrong = (f"Of its guide: {each}" for each in self.wrong)
        return (*self.notes, *wrong, *((own,) if own else ()), f"The vendor's guide for {self.title}: {self.guide}")


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


def named(name: str) -> Recipe:
    """The recipe of this name, without case. Raises NotFound naming near ones."""
    found = recipe(name)
    if found is None:
        names = [each.name for each in every()]
        near = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.5)
        raise NotFound(
            f"there is no recipe {name!r}" + (f"; near: {', '.join(near)}" if near else ""),
            next="See exoscope recipes.",
        )
    return found
