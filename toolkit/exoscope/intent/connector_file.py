"""connector.yaml, version 1: a connector to be registered and handed over scoped, read strictly. Every error names its line."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from exoscope import recipes
from exoscope.intent.nodes import Reader, line_of, read_text
from exoscope.intent.scope_file import MECHANISMS
from exoscope.model import Connector, CredentialKind, CredentialWish, HandOverKind, Prove

if TYPE_CHECKING:
    import yaml

_KEYS = ("version", "name", "recipe", "permissions", "mechanism", "scope", "prove", "credential", "consent")
_KINDS: tuple[CredentialKind, ...] = ("secret", "certificate")
_PLACES: tuple[HandOverKind, ...] = ("file", "keyring", "terminal")
_CREDENTIAL_KEYS = ("kind", "lifetime", *_PLACES)
_LIFETIME = re.compile(r"([0-9]{1,4})([dw])")
_DAYS = {"d": 1, "w": 7}
LONGEST = 730
"""Days: what the portal offers at most for a client secret, and what Graph gives where no end is named (two years)."""
NAME = 120
"""Characters of an app's display name that Entra takes (application resource type)."""


def load_connector(path: Path) -> Connector:
    """Read connector.yaml; a ``file`` in it is relative to its folder. Raises BadInput naming file and line."""
    return loads_connector(read_text(path), str(path), path.parent)


def loads_connector(text: str, name: str = "connector.yaml", base: Path = Path()) -> Connector:
    """Read the text of a connector.yaml; ``name`` stands in messages. Raises BadInput naming the line."""
    return _ConnectorFile(name, base).connector(text)


class _ConnectorFile(Reader):
    """Walks the node tree of one connector.yaml."""

    def __init__(self, name: str, base: Path) -> None:
        super().__init__(name)
        self.base = base

    def connector(self, text: str) -> Connector:
        root = self.compose(text)
        if root is None:
            raise self.fail(1, f"the file is empty; it needs {', '.join(_KEYS)}")
        keys = self.mapping(root, "the file", _KEYS)
        self.version(keys, root)
        recipe = self.optional(keys, "recipe", self._recipe, None)
        permissions = self.optional(
            keys,
            "permissions",
            lambda n: self.texts(n, "permissions", "permission"),
            () if recipe is None else recipe.permissions,
        )
        if not permissions:
            raise self.fail(line_of(root), "permissions is missing, and no recipe gives them")
        mechanism = self.one_of(self.required(keys, "mechanism", root), "mechanism", MECHANISMS)
        scope_node = self.required(keys, "scope", root)
        scope = self.scope(scope_node)
        if mechanism == "access-policy":
            self.scope_of_policy(scope_node, scope)
        return Connector(
            version=1,
            name=self._name(self.required(keys, "name", root)),
            permissions=permissions,
            mechanism=mechanism,
            scope=scope,
            credential=self._credential(self.required(keys, "credential", root)),
            consent=self.optional(keys, "consent", lambda n: self.boolean(n, "consent"), mechanism == "access-policy"),
            prove=self.optional(keys, "prove", self.prove, Prove()),
            recipe=None if recipe is None else recipe.name,
            notes=() if recipe is None else recipe.told(mechanism),
            line=line_of(root),
        )

    def _name(self, node: yaml.Node) -> str:
        name = self.text(node, "name")
        if len(name) > NAME:
            raise self.fail(line_of(node), f"name has {len(name)} characters; Entra takes {NAME}")
        return name

    def _recipe(self, node: yaml.Node) -> recipes.Recipe | None:
        text = self.text(node, "recipe")
        found = recipes.recipe(text)
        if found is None:
            known = [each.name for each in recipes.every()]
            close = difflib.get_close_matches(text.casefold(), known, n=3)
            near = f"; near: {', '.join(close)}" if close else f"; there are {', '.join(known)}"
            raise self.fail(line_of(node), f"there is no recipe {text}{near}")
        return found

    def _credential(self, node: yaml.Node) -> CredentialWish:
        keys = self.mapping(node, "credential", _CREDENTIAL_KEYS)
        kind = self.optional(keys, "kind", lambda n: self.one_of(n, "kind", _KINDS), _KINDS[0])
        days = self._days(self.required(keys, "lifetime", node))
        given = [place for place in _PLACES if place in keys]
        if len(given) != 1:
            raise self.fail(
                line_of(node),
                f"a credential goes to exactly one of {', '.join(_PLACES)}; given: {', '.join(given) or 'none'}",
            )
        (place,) = given
        value = keys[place]
        if kind == "certificate" and place != "file":
            raise self.fail(line_of(value), f"a certificate and its key go to a file, not to the {place}")
        if place == "terminal":
            if not self.boolean(value, place):
                raise self.fail(line_of(value), "terminal is true or not given")
            return CredentialWish(kind, days, place)
        where = self.text(value, place)
        if place == "keyring" and not all(where.partition("/")[::2]):
            raise self.fail(line_of(value), f"keyring is SERVICE/USER, not {where}")
        return CredentialWish(kind, days, place, str((self.base / where).absolute()) if place == "file" else where)

    def _days(self, node: yaml.Node) -> int:
        text = self.text(node, "lifetime")
        found = _LIFETIME.fullmatch(text)
        if found is None:
            raise self.fail(line_of(node), f"lifetime is a duration in days or weeks, such as 180d, not {text}")
        days = int(found.group(1)) * _DAYS[found.group(2)]
        if not 0 < days <= LONGEST:
            raise self.fail(line_of(node), f"lifetime is between 1d and {LONGEST}d, not {text}")
        return days
