"""scope.yaml, version 1: what an admin wants, read strictly. Every error names its line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exoscope.intent.nodes import NONE, Reader, line_of, read_text
from exoscope.model import Intent, IntentEntry, Mechanism, OnLeftover, Prove

if TYPE_CHECKING:
    import yaml

_ENTRY_KEYS = ("app", "permissions", "mechanism", "scope", "on-leftover-consent", "also-holds", "no-cae", "prove")
MECHANISMS: tuple[Mechanism, ...] = ("rbac", "access-policy")
_LEFTOVER: tuple[OnLeftover, ...] = ("remove", "refuse", "keep")


def load_intent(path: Path) -> Intent:
    """Read scope.yaml. Raises BadInput naming file and line."""
    return loads_intent(read_text(path), str(path))


def loads_intent(text: str, name: str = "scope.yaml") -> Intent:
    """Read the text of a scope.yaml; ``name`` stands in messages. Raises BadInput naming the line."""
    return _ScopeFile(name).intent(text)


class _ScopeFile(Reader):
    """Walks the node tree of one scope.yaml."""

    def intent(self, text: str) -> Intent:
        root = self.compose(text)
        if root is None:
            raise self.fail(1, "the file is empty; it needs version and apps")
        keys = self.mapping(root, "the file", ("version", "apps"))
        self.version(keys, root)
        apps = self.required(keys, "apps", root)
        return Intent(version=1, apps=tuple(self._entry(node) for node in self.items(apps, "apps")))

    def _entry(self, node: yaml.Node) -> IntentEntry:
        keys = self.mapping(node, "an entry of apps", _ENTRY_KEYS)
        app = self.text(self.required(keys, "app", node), "app")
        permissions = self.texts(self.required(keys, "permissions", node), "permissions", "permission")
        mechanism = self.one_of(self.required(keys, "mechanism", node), "mechanism", MECHANISMS)
        scope_node = self.required(keys, "scope", node)
        scope = self.scope(scope_node)
        if mechanism == "access-policy":
            self.scope_of_policy(scope_node, scope)
        leftover = self.optional(
            keys, "on-leftover-consent", lambda n: self.one_of(n, "on-leftover-consent", _LEFTOVER), _LEFTOVER[0]
        )
        if mechanism == "access-policy" and leftover != "remove":
            raise self.fail(
                line_of(keys["on-leftover-consent"]),
                f"on-leftover-consent: {leftover} belongs to rbac; a policy rests on the consent",
            )
        also = self.optional(keys, "also-holds", lambda n: self.texts(n, "also-holds", "permission"), NONE)
        both = {p.casefold() for p in permissions} & {p.casefold() for p in also}
        if both:
            raise self.fail(line_of(keys["also-holds"]), f"{sorted(both)[0]} stands in permissions and in also-holds")
        return IntentEntry(
            app=app,
            permissions=permissions,
            mechanism=mechanism,
            scope=scope,
            on_leftover_consent=leftover,
            also_holds=also,
            no_cae=self.optional(keys, "no-cae", lambda n: self.boolean(n, "no-cae"), False),
            prove=self.optional(keys, "prove", self.prove, Prove()),
            line=line_of(node),
        )
