"""The node tree of a YAML file, read strictly: what every reader of such a file shares.

A file is read through PyYAML's node tree, not its constructors: so only ``true`` and ``false`` are booleans (``yes``, ``on``
and dates stay text), a key given twice is an error, and each node still knows its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from exoscope.model import IntentScope, Prove, ScopeKind
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
POLICY_SCOPES: tuple[ScopeKind, ...] = ("group", "mailboxes")
NONE: tuple[str, ...] = ()
_T = TypeVar("_T")


def read_text(path: Path) -> str:
    """The text of a file. Raises BadInput naming it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", next="Name a file that exists.") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte {error.start})", next="Save it as UTF-8.") from None


class Reader:
    """Walks the node tree of one file, called ``name`` in messages. Every method raises BadInput naming the line."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fail(self, line: int, message: str) -> BadInput:
        return BadInput(f"{self.name}:{line}: {message}", next="Correct the file; nothing was tried.")

    def compose(self, text: str) -> yaml.Node | None:
        """The tree's root; None: the file is empty."""
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

    def version(self, keys: dict[str, yaml.Node], root: yaml.Node) -> None:
        """The file's version, which is 1."""
        version = self.required(keys, "version", root)
        if self.tag(version) != "int" or version.value != "1":
            raise self.fail(line_of(version), f"version is {shown(version)}; this exoscope reads version 1")

    # -- what a scope.yaml and a connector.yaml both say -----------------------------------------------------------------

    def scope(self, node: yaml.Node) -> IntentScope:
        """Where an app may reach."""
        keys = self.mapping(node, "scope", SCOPE_KINDS)
        if len(keys) != 1:
            given = ", ".join(keys) or "none"
            raise self.fail(line_of(node), f"a scope is exactly one of {', '.join(SCOPE_KINDS)}; given: {given}")
        ((name, value),) = keys.items()
        kind = cast(ScopeKind, name)
        if kind == "mailboxes":
            return IntentScope(kind, mailboxes=self.texts(value, "mailboxes", "mailbox"))
        if kind == "organization":
            if not self.boolean(value, "organization"):
                raise self.fail(line_of(value), "organization is true or not given")
            return IntentScope(kind)
        return IntentScope(kind, value=self.text(value, kind))

    def scope_of_policy(self, node: yaml.Node, scope: IntentScope) -> None:
        """An access policy does not take every scope."""
        if scope.kind not in POLICY_SCOPES:
            raise self.fail(line_of(node), f"an access policy takes group or mailboxes as its scope, not {scope.kind}")

    def prove(self, node: yaml.Node) -> Prove:
        """Who must be among the proofs."""
        keys = self.mapping(node, "prove", ("reach", "never"))
        reach = self.optional(keys, "reach", lambda n: self.texts(n, "reach", "mailbox"), NONE)
        never = self.optional(keys, "never", lambda n: self.texts(n, "never", "mailbox"), NONE)
        both = {a.casefold() for a in reach} & {a.casefold() for a in never}
        if both:
            raise self.fail(line_of(node), f"{sorted(both)[0]} stands under reach and under never")
        return Prove(reach, never)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def mapping(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> dict[str, yaml.Node]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise self.fail(line_of(node), f"{what} is a mapping with {', '.join(known)}, not {shown(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name not in known:
                raise self.fail(line_of(key), f"{what} has no key {shown(key)}; it has {', '.join(known)}")
            if name in found:
                raise self.fail(line_of(key), f"{name} is given twice")
            found[name] = value
        return found

    def required(self, keys: dict[str, yaml.Node], name: str, parent: yaml.Node) -> yaml.Node:
        if name not in keys:
            raise self.fail(line_of(parent), f"{name} is missing")
        return keys[name]

    def optional(self, keys: dict[str, yaml.Node], name: str, read: Callable[[yaml.Node], _T], default: _T) -> _T:
        return read(keys[name]) if name in keys else default

    def items(self, node: yaml.Node, what: str) -> Iterator[yaml.Node]:
        import yaml

        if not isinstance(node, yaml.SequenceNode):
            raise self.fail(line_of(node), f"{what} is a list, not {shown(node)}")
        if not node.value:
            raise self.fail(line_of(node), f"{what} is empty")
        return iter(node.value)

    def texts(self, node: yaml.Node, what: str, each: str) -> tuple[str, ...]:
        texts: dict[str, str] = {}
        for item in self.items(node, what):
            text = self.text(item, f"a {each}")
            if text.casefold() in texts:
                raise self.fail(line_of(item), f"{text} stands in {what} twice")
            texts[text.casefold()] = text
        return tuple(texts.values())

    def text(self, node: yaml.Node, what: str) -> str:
        import yaml

        # A Guid such as 00000000-… or an address never reads as a number; a bare number, boolean or null is a slip.
        if not isinstance(node, yaml.ScalarNode) or self.tag(node) != "str":
            raise self.fail(line_of(node), f"{what} is text, not {shown(node)}")
        text = cast(str, node.value).strip()
        if not text:
            raise self.fail(line_of(node), f"{what} is empty")
        if any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
            raise self.fail(line_of(node), f"{what} holds a control character")
        return text

    def boolean(self, node: yaml.Node, what: str) -> bool:
        if self.tag(node) != "bool":
            raise self.fail(line_of(node), f"{what} is true or false, not {shown(node)}")
        return bool(node.value == "true")

    def one_of(self, node: yaml.Node, what: str, known: tuple[_T, ...]) -> _T:
        text = self.text(node, what)
        for value in known:
            if value == text:
                return value
        raise self.fail(line_of(node), f"{what} is one of {', '.join(str(value) for value in known)}, not {text}")

    def tag(self, node: yaml.Node) -> str:
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


def line_of(node: yaml.Node) -> int:
    """The line, from 1, on which a node begins."""
    return int(node.start_mark.line) + 1


def shown(node: yaml.Node) -> str:
    """A node in a message."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        return repr(text if len(text) <= 60 else text[:57] + "...") if text else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
