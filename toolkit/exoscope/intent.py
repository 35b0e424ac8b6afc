"""scope.yaml, version 1: what an admin wants, read strictly. Every error names its line.

The file is read through PyYAML's node tree, not its constructors: so only ``true`` and ``false`` are booleans (``yes``, ``on``
and dates stay text), a key given twice is an error, and each node still knows its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from exoscope.model import Intent, IntentEntry, IntentScope, Mechanism, OnLeftover, Prove, ScopeKind
from exoscope.outcome import BadInput

if TYPE_CHECKING:
    import yaml

SCOPE_KINDS: tuple[ScopeKind, ...] = (
    "group",
    "filter",
    "administrative-unit",
    "group-scope",
    "mailboxes",
    "organization",
)
_ENTRY_KEYS = ("app", "permissions", "mechanism", "scope", "on-leftover-consent", "also-holds", "no-cae", "prove")
_MECHANISMS: tuple[Mechanism, ...] = ("rbac", "access-policy")
_LEFTOVER: tuple[OnLeftover, ...] = ("remove", "refuse", "keep")
_POLICY_SCOPES: tuple[ScopeKind, ...] = ("group", "mailboxes")
_NONE: tuple[str, ...] = ()
_T = TypeVar("_T")


def load_intent(path: Path) -> Intent:
    """Read scope.yaml. Raises BadInput naming file and line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", next="Name a file that exists.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte {error.start})", next="Save it as UTF-8.") from None
    return loads_intent(text, str(path))


def loads_intent(text: str, name: str = "scope.yaml") -> Intent:
    """Read the text of a scope.yaml; ``name`` stands in messages. Raises BadInput naming the line."""
    return _Reader(name).intent(text)


class _Reader:
    """Walks the node tree of one file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fail(self, line: int, message: str) -> BadInput:
        return BadInput(f"{self.name}:{line}: {message}", next="Correct the file; nothing was tried.")

    def intent(self, text: str) -> Intent:
        root = self._compose(text)
        if root is None:
            raise self.fail(1, "the file is empty; it needs version and apps")
        keys = self._mapping(root, "the file", ("version", "apps"))
        version = self._required(keys, "version", root)
        if self._tag(version) != "int" or version.value != "1":
            raise self.fail(_line(version), f"version is {_shown(version)}; this exoscope reads version 1")
        apps = self._required(keys, "apps", root)
        entries = tuple(self._entry(node) for node in self._list(apps, "apps"))
        return Intent(version=1, apps=entries)

    def _compose(self, text: str) -> yaml.Node | None:
        import yaml

        try:
            # Composing constructs nothing: what a scalar means is decided by _tag, from its text and quotes alone.
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.fail(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise self.fail(1, f"not YAML: {str(error).splitlines()[0]}") from None
        except RecursionError:
            raise self.fail(1, "nested too deeply") from None

    def _entry(self, node: yaml.Node) -> IntentEntry:
        keys = self._mapping(node, "an entry of apps", _ENTRY_KEYS)
        app = self._text(self._required(keys, "app", node), "app")
        permissions = self._texts(self._required(keys, "permissions", node), "permissions", "permission")
        mechanism = self._one_of(self._required(keys, "mechanism", node), "mechanism", _MECHANISMS)
        scope_node = self._required(keys, "scope", node)
        scope = self._scope(scope_node)
        if mechanism == "access-policy" and scope.kind not in _POLICY_SCOPES:
            raise self.fail(
                _line(scope_node), f"an access policy takes group or mailboxes as its scope, not {scope.kind}"
            )
        leftover = self._optional(
            keys, "on-leftover-consent", lambda n: self._one_of(n, "on-leftover-consent", _LEFTOVER), _LEFTOVER[0]
        )
        if mechanism == "access-policy" and leftover != "remove":
            raise self.fail(
                _line(keys["on-leftover-consent"]),
                f"on-leftover-consent: {leftover} belongs to rbac; a policy rests on the consent",
            )
        also = self._optional(keys, "also-holds", lambda n: self._texts(n, "also-holds", "permission"), _NONE)
        both = {p.casefold() for p in permissions} & {p.casefold() for p in also}
        if both:
            raise self.fail(_line(keys["also-holds"]), f"{sorted(both)[0]} stands in permissions and in also-holds")
        return IntentEntry(
            app=app,
            permissions=permissions,
            mechanism=mechanism,
            scope=scope,
            on_leftover_consent=leftover,
            also_holds=also,
            no_cae=self._optional(keys, "no-cae", lambda n: self._boolean(n, "no-cae"), False),
            prove=self._optional(keys, "prove", self._prove, Prove()),
            line=_line(node),
        )

    def _scope(self, node: yaml.Node) -> IntentScope:
        keys = self._mapping(node, "scope", SCOPE_KINDS)
        if len(keys) != 1:
            given = ", ".join(keys) or "none"
            raise self.fail(_line(node), f"a scope is exactly one of {', '.join(SCOPE_KINDS)}; given: {given}")
        ((name, value),) = keys.items()
        kind = cast(ScopeKind, name)
        if kind == "mailboxes":
            return IntentScope(kind, mailboxes=self._texts(value, "mailboxes", "mailbox"))
        if kind == "organization":
            if not self._boolean(value, "organization"):
                raise self.fail(_line(value), "organization is true or not given")
            return IntentScope(kind)
        return IntentScope(kind, value=self._text(value, kind))

    def _prove(self, node: yaml.Node) -> Prove:
        keys = self._mapping(node, "prove", ("reach", "never"))
        reach = self._optional(keys, "reach", lambda n: self._texts(n, "reach", "mailbox"), _NONE)
        never = self._optional(keys, "never", lambda n: self._texts(n, "never", "mailbox"), _NONE)
        both = {a.casefold() for a in reach} & {a.casefold() for a in never}
        if both:
            raise self.fail(_line(node), f"{sorted(both)[0]} stands under reach and under never")
        return Prove(reach, never)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _mapping(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise self.fail(_line(node), f"{what} is a mapping with {', '.join(known)}, not {_shown(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name not in known:
                raise self.fail(_line(key), f"{what} has no key {_shown(key)}; it has {', '.join(known)}")
            if name in found:
                raise self.fail(_line(key), f"{name} is given twice")
            found[name] = value
        return found

    def _required(self, keys: dict[str, yaml.Node], name: str, parent: yaml.Node) -> yaml.Node:
        if name not in keys:
            raise self.fail(_line(parent), f"{name} is missing")
        return keys[name]

    def _optional(self, keys: dict[str, yaml.Node], name: str, read: Callable[[yaml.Node], _T], default: _T) -> _T:
        return read(keys[name]) if name in keys else default

    def _list(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        import yaml

        if not isinstance(node, yaml.SequenceNode):
            raise self.fail(_line(node), f"{what} is a list, not {_shown(node)}")
        if not node.value:
            raise self.fail(_line(node), f"{what} is empty")
        return iter(node.value)

    def _texts(self, node: yaml.Node, what: str, each: str) -> tuple[str, ...]:
        texts: dict[str, str] = {}
        for item in self._list(node, what):
            text = self._text(item, f"a {each}")
            if text.casefold() in texts:
                raise self.fail(_line(item), f"{text} stands in {what} twice")
            texts[text.casefold()] = text
        return tuple(texts.values())

    def _text(self, node: yaml.Node, what: str) -> str:
        import yaml

        # A Guid such as 00000000-… or an address never reads as a number; a bare number, boolean or null is a slip.
        if not isinstance(node, yaml.ScalarNode) or self._tag(node) != "str":
            raise self.fail(_line(node), f"{what} is text, not {_shown(node)}")
        text = cast(str, node.value).strip()
        if not text:
            raise self.fail(_line(node), f"{what} is empty")
        if any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
            raise self.fail(_line(node), f"{what} holds a control character")
        return text

    def _boolean(self, node: yaml.Node, what: str) -> bool:
        if self._tag(node) != "bool":
            raise self.fail(_line(node), f"{what} is true or false, not {_shown(node)}")
        return bool(node.value == "true")

    def _one_of(self, node: yaml.Node, what: str, known: tuple[_T, ...]) -> _T:
        text = self._text(node, what)
        for value in known:
            if value == text:
                return value
        raise self.fail(_line(node), f"{what} is one of {', '.join(str(value) for value in known)}, not {text}")

    def _tag(self, node: yaml.Node) -> str:
        """``str``, ``int``, ``bool``, ``null`` or ``other``: what a plain scalar means here, and nothing YAML 1.1 adds."""
        import yaml

        if not isinstance(node, yaml.ScalarNode):
            return "other"
        if node.style is not None:
            return "str"  # quoted and block scalars are text, whatever they look like
        if node.value in ("true", "false"):
            return "bool"
        if node.value in ("", "~", "null", "Null", "NULL"):
            return "null"
        return "int" if node.value.lstrip("+-").isdigit() else "str"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(node: yaml.Node) -> str:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        return repr(text if len(text) <= 60 else text[:57] + "...") if text else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
