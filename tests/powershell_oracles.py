"""Other readers of the same scripts, not written by us: tree-sitter-powershell, and PowerShell's own parser where
there is one.

Each view of a script is None (not understood, or not only literals) or a list of pipelines of ``(cmdlet, ((parameter,
value or ABSENT), …))`` as written, before any catalogue. Values: ``("s", text)``, ``("i", number)``, ``("c",
"true|false|null")``, ``("a", values)``, ``("h", ((key, value), …))``.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_powershell

from exoscope.outcome import GuardRefused
from exoscope.powershell.characters import DASHES, DOUBLE_QUOTES, SINGLE_QUOTES, is_blank
from exoscope.powershell.reader import Reader

ABSENT = ("absent",)
DRIVER = Path(__file__).resolve().parent / "pwsh" / "read_scripts.ps1"


# -- ours ----------------------------------------------------------------------------------------------------------


def reader_view(text: str) -> list[Any] | None:
    """What our reader makes of a script."""
    try:
        pipelines = Reader(text).pipelines()
    except GuardRefused:
        return None
    return [
        [(each.name, tuple((a.name, tag(a.value) if a.given else ABSENT) for a in each.arguments)) for each in pipeline]
        for pipeline in pipelines
    ]


def tag(value: object) -> tuple[Any, ...]:
    """A value as the views tell it."""
    if value is None or isinstance(value, bool):
        return ("c", {True: "true", False: "false", None: "null"}[value])
    if isinstance(value, str):
        return ("s", value)
    if isinstance(value, int):
        return ("i", value)
    if isinstance(value, dict):
        return ("h", tuple((key, tag(each)) for key, each in value.items()))
    return ("a", tuple(tag(each) for each in value))


# -- PowerShell's own parser -----------------------------------------------------------------------------------------


def pwsh() -> str | None:
    """A PowerShell: EXOSCOPE_PWSH, else one on PATH, else None."""
    return os.environ.get("EXOSCOPE_PWSH") or shutil.which("pwsh")


def engine_views(program: str, scripts: list[str]) -> list[list[Any] | None]:
    """What PowerShell's parser makes of each script."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.write_text(
            "".join(base64.b64encode(each.encode()).decode() + "\n" for each in scripts), encoding="ascii"
        )
        words = [program, "-NoProfile", "-File", str(DRIVER), "-In", str(source), "-Out", str(target)]
        subprocess.run(words, check=True, capture_output=True, timeout=600)
        answers = [json.loads(line) for line in target.read_text(encoding="utf-8").split("\n") if line]
    assert len(answers) == len(scripts)
    return [None if each is None else [[_engine_command(c) for c in pipeline] for pipeline in each] for each in answers]


def _engine_command(command: dict[str, Any]) -> tuple[Any, ...]:
    if "e" not in command:
        return ("no command", command)
    first, *rest = command["e"]
    found: list[Any] = []
    for element in rest:
        if "p" in element:
            found.append((element["p"], _engine_value(element["v"]) if "v" in element else ABSENT))
        elif found and found[-1][1] == ABSENT:
            found[-1] = (found[-1][0], _engine_value(element))
        else:
            found.append(("positional", _engine_value(element)))
    return (first.get("s"), tuple(found))


def _engine_value(value: dict[str, Any]) -> tuple[Any, ...]:
    (kind,) = value
    if kind == "a":
        return ("a", tuple(_engine_value(each) for each in value["a"]))
    if kind == "h":
        return ("h", tuple((each["k"].get("s"), _engine_value(each["v"])) for each in value["h"]))
    return (kind, value[kind])


# -- tree-sitter -----------------------------------------------------------------------------------------------------

# The grammar knows none of PowerShell's own quotes, dashes and blanks: each is mapped to ASCII, one for one, before
# parsing, and texts are read back from the original by their place.
_MAP = {**dict.fromkeys(SINGLE_QUOTES, "'"), **dict.fromkeys(DOUBLE_QUOTES, '"'), **dict.fromkeys(DASHES, "-")}
_WRAPPERS = (
    "pipeline",
    "pipeline_chain",
    "logical_expression",
    "bitwise_expression",
    "comparison_expression",
    "additive_expression",
    "multiplicative_expression",
    "format_expression",
    "range_expression",
)


class NotUnderstood(Exception):
    """The tree holds something that is no literal-only operation."""


@cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))


def tree_sitter_view(text: str) -> list[Any] | None:
    """What tree-sitter-powershell makes of a script."""
    mapped = "".join(_mapped(each) for each in text)
    if "`\r\n" in text:
        return None  # the map cannot keep its width and its meaning
    root = _parser().parse(mapped.encode()).root_node
    if root.has_error:
        return None
    try:
        return _Tree(text, mapped).script(root)
    except NotUnderstood:
        return None


def _mapped(character: str) -> str:
    if character in _MAP:
        return _MAP[character]
    if character == "\r":
        return "\n"
    if is_blank(character):
        return " " if character != "\t" else character
    return character if character.isascii() else "\x01"  # one byte each; outside texts it is refused


class _Tree:
    def __init__(self, text: str, mapped: str) -> None:
        self.text = text
        self.mapped = mapped

    def of(self, node: tree_sitter.Node) -> str:
        return self.text[node.start_byte : node.end_byte]

    def script(self, root: tree_sitter.Node) -> list[Any]:
        found = []
        for child in root.children:
            if child.type == "statement_list":
                found += self.script(child)
            elif child.type == "pipeline":
                found.append(self.pipeline(child))
            elif child.type not in ("comment", "empty_statement"):
                raise NotUnderstood(child.type)
            elif child.type == "comment":
                self.comment(child)
        return found

    def comment(self, node: tree_sitter.Node) -> None:
        words = "".join(self.of(node).split()).casefold()
        if words.startswith(("#requires", "#sig#")):
            raise NotUnderstood("a comment that is none")

    def pipeline(self, node: tree_sitter.Node) -> list[Any]:
        (chain,) = [each for each in node.children if each.type != "comment"]
        if chain.type != "pipeline_chain":
            raise NotUnderstood(chain.type)
        commands = []
        for child in chain.children:
            if child.type == "command":
                commands.append(self.command(child))
            elif child.type == "comment":
                self.comment(child)
            elif child.type != "|":
                raise NotUnderstood(child.type)
        return commands

    def command(self, node: tree_sitter.Node) -> tuple[Any, ...]:
        name, *rest = [each for each in node.children if each.type != "comment"]
        if name.type != "command_name" or not re.fullmatch(r"[A-Za-z]+-[A-Za-z]+", self.of(name)):
            raise NotUnderstood("name")
        found: list[Any] = []
        colon = False
        for elements in rest:
            if elements.type != "command_elements":
                raise NotUnderstood(elements.type)
            for child in elements.children:
                if child.type == "command_argument_sep":
                    colon = self.mapped[child.start_byte : child.end_byte].startswith(":")
                elif child.type == "comment":
                    self.comment(child)
                elif child.type == "command_parameter":
                    word = self.of(child)
                    if not re.fullmatch(r".[A-Za-z]+", word) or word[0] not in DASHES:
                        raise NotUnderstood(word)
                    found.append((word[1:], ABSENT))
                else:
                    if not found or found[-1][1] != ABSENT:
                        raise NotUnderstood("positional")
                    value = self.argument(child)
                    if "--%" in self.of(child) and not colon and child.type != "array_expression" and _stops(value):
                        raise NotUnderstood("--%")
                    found[-1] = (found[-1][0], value)
        return (self.of(name), tuple(found))

    def argument(self, node: tree_sitter.Node) -> tuple[Any, ...]:
        if node.type == "generic_token":
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.@-]*", self.of(node)):
                raise NotUnderstood(self.of(node))
            return ("s", self.of(node))
        return self.value(node)

    def value(self, node: tree_sitter.Node) -> tuple[Any, ...]:
        if node.type in _WRAPPERS or node.type in ("unary_expression", "string_literal", "integer_literal"):
            children = [each for each in node.children if each.type != "comment"]
            if len(children) != 1:
                raise NotUnderstood(node.type)
            return self.value(children[0])
        if node.type == "array_literal_expression":
            values = [self.value(each) for each in node.children if each.type not in (",", "comment")]
            return values[0] if len(values) == 1 else ("a", tuple(values))
        if node.type == "array_expression":
            return ("a", tuple(self.elements(node)))
        if node.type == "hash_literal_expression":
            return ("h", tuple(self.entries(node)))
        if node.type == "variable" and self.of(node).casefold() in ("$true", "$false", "$null"):
            return ("c", self.of(node)[1:].casefold())
        if node.type == "decimal_integer_literal" and re.fullmatch("[0-9]{1,18}", self.of(node)):
            return ("i", int(self.of(node)))
        if node.type == "verbatim_string_characters":
            return ("s", _unquote(self.of(node), SINGLE_QUOTES))
        if node.type == "expandable_string_literal" and not re.search("[$`]", self.of(node)):
            return ("s", _unquote(self.of(node).rstrip(), DOUBLE_QUOTES))
        raise NotUnderstood(node.type)

    def elements(self, node: tree_sitter.Node) -> list[Any]:
        found: list[Any] = []
        for child in node.children:
            if child.type == "statement_list":
                found += self.elements(child)
            elif child.type == "pipeline":
                value = self.value(child)
                found += value[1] if value[0] == "a" and not self.of(child).startswith("@") else [value]
            elif child.type == "comment":
                self.comment(child)
            elif child.type not in ("@(", ")", "empty_statement"):
                raise NotUnderstood(child.type)
        return found

    def entries(self, node: tree_sitter.Node) -> list[Any]:
        found: list[Any] = []
        for child in node.children:
            if child.type == "hash_literal_body":
                found += self.entries(child)
            elif child.type == "hash_entry":
                key, value = (
                    each for each in child.children if each.type not in ("=", ";", "comment", "empty_statement")
                )
                name = (
                    self.of(key)
                    if key.children and key.children[0].type == "simple_name"
                    else self.value(key.children[0])[1]
                )
                found.append((name, self.value(value)))
            elif child.type not in ("@{", "}", ";", "comment", "empty_statement"):
                raise NotUnderstood(child.type)
        return found


def _stops(value: tuple[Any, ...]) -> bool:
    return value == ("s", "--%") or (value[0] == "a" and ("s", "--%") in value[1])


def _unquote(text: str, quotes: str) -> str:
    if text[0] not in quotes or text[-1] not in quotes or len(text) < 2:
        raise NotUnderstood("string")
    return re.sub(f"[{quotes}]([{quotes}])", r"\1", text[1:-1])


# -- mutations ---------------------------------------------------------------------------------------------------------

ALPHABET = (
    "'\u2018\u2019\u201a\u201b\"\u201c\u201d\u201e-\u2013\u2014\u2015 \t\u00a0\u0085\u2028\u2029\u3000\r\n"
    "`$;|&{}()[]<>#@,:.=%!^~+*/\\\ufeff\u200b0579aZ_é😀"
)
PIECES = (
    "--%",
    "'--%'",
    "-Confirm:$false",
    "@('a')",
    "@{a='b'}",
    "<# #>",
    "#x\n",
    "`\n",
    "''",
    "’’",
    "$true",
    "| Select-Object -Property 'a'",
    "; Remove-Y -Id 'b'",
    "\r\n",
    "-2",
    "007",
    "'a','b'",
    ": ",
)


def mutate(script: str, others: list[str], rng: random.Random) -> str:
    """A script with a few random changes, most of them small and nasty."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(script))
        kind = rng.randrange(6)
        if kind <= 1:
            script = script[:at] + rng.choice(ALPHABET) + script[at:]
        elif kind == 2:
            script = script[:at] + rng.choice(PIECES) + script[at:]
        elif kind == 3:
            script = script[:at] + script[at + rng.randint(1, 3) :]
        elif kind == 4:
            script = script[:at] + rng.choice(ALPHABET) + script[at + 1 :]
        else:
            other = rng.choice(others)
            start = rng.randint(0, len(other))
            script = script[:at] + other[start : start + rng.randint(1, 20)] + script[at:]
    return script
