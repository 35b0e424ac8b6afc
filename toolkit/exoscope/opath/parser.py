"""Text to filter. Strict: what exchange.md §3 does not show is refused, with its position.

One pass with an explicit stack, so neither a thousand parentheses nor a hostile text can exhaust Python's own.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import NoReturn, cast

import msgspec

from exoscope.opath.nodes import INT64, OPERATORS, And, Compare, Filter, Join, Mixed, Not, OpathError, Or, value_problem
from exoscope.opath.table import spelling

# Levels of -and, -or and -not in one another once redundant parentheses are gone; what walks a filter may recurse this deep.
MAX_DEPTH = 100

_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DASHED = re.compile(r"-[A-Za-z]+")
_NUMBER = re.compile(r"-?[0-9]+")
_SINGLE = re.compile(r"'([^']*(?:''[^']*)*)'")
_DOUBLE = re.compile(r'"([^"]*)"')
_VARIABLE = re.compile(r"\$[A-Za-z]+")
_SYSTEM = {"$true": True, "$false": False, "$null": None}
_ENDS = frozenset(" \t\r\n(){}")


@lru_cache(maxsize=4096)
def parse(text: str) -> Filter:
    """The filter a text means. Raises `OpathError`, which holds the position, where it is not one.

    Known are -and, -or, -not (with or without parentheses: it binds to the next term alone, as in the documented
    ``… -and -not DisplayName -like 'CAS_{*'``), -eq, -ne, -lt, -gt, -le, -ge, -like and -notlike in any case, ``'…'`` with
    ``''`` for a quote, ``"…"``, whole numbers, ``$true``, ``$false``, ``$null``, parentheses, and braces around it all.
    -and and -or side by side without parentheses give a `Mixed` node.
    """
    return _Parser(text).run()


class _Chain:
    """Operands of one kind of join, still growing: nested joins of one kind melt into it without copying."""

    def __init__(self, join: Join, items: deque[Filter], depth: int) -> None:
        self.join, self.items, self.depth = join, items, depth


class _Term(msgspec.Struct, frozen=True):
    node: Filter
    depth: int


class _Group:
    """What stands between two parentheses, as far as it is read."""

    def __init__(self, opener: str, position: int) -> None:
        self.opener, self.position = opener, position
        self.operands: list[_Term | _Chain] = []
        self.joins: list[Join] = []
        self.negations = 0


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def run(self) -> Filter:
        self._blank()
        if self.at == len(self.text):
            self._fail("the filter is empty")
        braces = self.text[self.at] == "{"
        groups = [_Group("{" if braces else "", self.at)]
        self.at += braces
        while True:
            self._blank()
            if self._term(groups):
                continue
            while True:
                self._blank()
                if self.at < len(self.text) and self.text[self.at] == ")" and groups[-1].opener == "(":
                    self.at += 1
                    closed = groups.pop()
                    self._add(groups[-1], self._close(closed))
                else:
                    break
            if self._joined(groups[-1]):
                continue
            return self._end(groups)

    def _term(self, groups: list[_Group]) -> bool:
        """Read one step towards a term: true where an operand must still follow."""
        char = self._peek()
        if char == "(":
            groups.append(_Group("(", self.at))
            self.at += 1
            return True
        dashed = self._dashed()
        if dashed == "not":
            groups[-1].negations += 1
            self.at += 4
            return True
        if not _WORD.match(char):
            self._fail(f"a property name, -not or '(' must stand here, not {self._here()}")
        self._add(groups[-1], _Term(self._comparison(), 1))
        return False

    def _joined(self, group: _Group) -> bool:
        dashed = self._dashed()
        if dashed in ("and", "or"):
            group.joins.append(cast(Join, dashed))
            self.at += len(dashed) + 1
            return True
        return False

    def _end(self, groups: list[_Group]) -> Filter:
        group = groups[-1]
        if group.opener == "(":
            if self.at == len(self.text):
                self._fail("this parenthesis is never closed", group.position)
            self._fail(f"-and, -or or ')' must stand here, not {self._here()}")
        if group.opener == "{":
            if self._peek() != "}":
                if self.at == len(self.text):
                    self._fail("this brace is never closed", group.position)
                self._fail(f"-and, -or or '}}' must stand here, not {self._here()}")
            self.at += 1
            self._blank()
        if self.at != len(self.text):
            what = "the end" if group.opener == "{" else "-and, -or or the end"
            self._fail(f"{what} must stand here, not {self._here()}")
        return _finished(self._close(group)).node

    # -- comparisons ---------------------------------------------------------------------------------------------------

    def _comparison(self) -> Compare:
        word = _WORD.match(self.text, self.at)
        if word is None:
            self._fail("a property name must stand here")
        self.at = word.end()
        if self.at < len(self.text) and self.text[self.at] not in " \t\r\n":
            self._fail(f"a blank must follow the property name, not {self._here()}")
        self._blank()
        operator = self._dashed()
        if operator not in OPERATORS:
            self._fail(f"a comparison operator (-eq, -like …) must stand here, not {self._here()}")
        self.at += len(operator) + 1
        self._blank()
        start = self.at
        value = self._value()
        problem = value_problem(operator, value)
        if problem:
            self._fail(problem, start)
        return Compare(spelling(word.group()), operator, value)

    def _value(self) -> str | int | bool | None:
        char = self._peek()
        if char == "'":
            found = _SINGLE.match(self.text, self.at)
            if found is None:
                self._fail("this text has no closing quote")
            self.at = found.end()
            return found.group(1).replace("''", "'")
        if char == '"':
            found = _DOUBLE.match(self.text, self.at)
            if found is None:
                self._fail("this text has no closing double quote")
            self.at = found.end()
            if self._peek() == '"':
                self._fail("a doubled double quote is not documented: put the text in single quotes")
            return found.group(1)
        if char == "$":
            return self._system()
        return self._number()

    def _system(self) -> bool | None:
        found = _VARIABLE.match(self.text, self.at)
        name = found.group().lower() if found else ""
        end = found.end() if found else self.at
        if name not in _SYSTEM or (end < len(self.text) and self.text[end] not in _ENDS):
            self._fail("only $true, $false and $null mean something here: variables are PowerShell's, not the filter's")
        self.at = end
        return _SYSTEM[name]

    def _number(self) -> int:
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            self._fail(f"a value ('text', a number, $true, $false or $null) must stand here, not {self._here()}")
        digits = found.group().lstrip("-")
        if found.end() < len(self.text) and self.text[found.end()] not in _ENDS:
            self._fail("a value without quotes is a whole number and nothing else")
        if len(digits) > 1 and digits.startswith("0"):
            self._fail("whether a number keeps its leading zeros is not documented: put it in quotes")
        if len(digits) > 19 or int(found.group()) not in INT64:
            self._fail("a number in a filter has at most 64 bits")
        self.at = found.end()
        return int(found.group())

    # -- building ------------------------------------------------------------------------------------------------------

    def _add(self, group: _Group, term: _Term | _Chain) -> None:
        if group.negations:
            done = _finished(term)
            node, depth = done.node, done.depth + group.negations
            self._bound(depth, group.position)
            for _ in range(group.negations):
                node = Not(node)
            term = _Term(node, depth)
            group.negations = 0
        group.operands.append(term)

    def _close(self, group: _Group) -> _Term | _Chain:
        operands = group.operands
        if not group.joins:
            return operands[0]
        if len(set(group.joins)) == 2:
            terms = [_finished(operand) for operand in operands]
            depth = 2 + max(term.depth for term in terms)  # its readings are one level deeper than it is
            self._bound(depth, group.position)
            return _Term(Mixed(tuple(term.node for term in terms), tuple(group.joins)), depth)
        join = group.joins[0]
        chains = [
            index for index, operand in enumerate(operands) if isinstance(operand, _Chain) and operand.join == join
        ]
        base = max(chains, key=lambda index: _size(operands[index]), default=None)
        start = operands[base] if base is not None else None
        chain = start if isinstance(start, _Chain) else _Chain(join, deque(), 2)
        before, after = (operands[:base], operands[base + 1 :]) if base is not None else ([], operands)
        for operand in reversed(before):
            nodes, depth = _parts(operand, join)
            chain.items.extendleft(reversed(nodes))
            chain.depth = max(chain.depth, depth)
        for operand in after:
            nodes, depth = _parts(operand, join)
            chain.items.extend(nodes)
            chain.depth = max(chain.depth, depth)
        self._bound(chain.depth, group.position)
        return chain

    def _bound(self, depth: int, position: int) -> None:
        if depth > MAX_DEPTH:
            self._fail(f"-and, -or and -not are nested more than {MAX_DEPTH} deep", position)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _blank(self) -> None:
        self.at = cast("re.Match[str]", _BLANK.match(self.text, self.at)).end()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _dashed(self) -> str:
        """The operator at this place, in lower case without its hyphen; '' where there is none."""
        found = _DASHED.match(self.text, self.at)
        if found is None:
            return ""
        following = self.text[found.end() : found.end() + 1]
        return "" if following.isalnum() or following in {"_", "-"} else found.group()[1:].lower()

    def _here(self) -> str:
        if self.at >= len(self.text):
            return "the end of the text"
        found = _DASHED.match(self.text, self.at) or _WORD.match(self.text, self.at)
        return ascii(found.group()[:40] if found else self.text[self.at])

    def _fail(self, message: str, position: int | None = None) -> NoReturn:
        raise OpathError(message, self.at if position is None else position)


def _size(operand: _Term | _Chain) -> int:
    return len(operand.items) if isinstance(operand, _Chain) else 1


def _parts(operand: _Term | _Chain, join: Join) -> tuple[list[Filter], int]:
    """The operands this one brings into a chain of ``join``, and the depth the chain then has at least."""
    if isinstance(operand, _Chain) and operand.join == join:
        return list(operand.items), operand.depth
    done = _finished(operand)
    return [done.node], done.depth + 1


def _finished(operand: _Term | _Chain) -> _Term:
    if isinstance(operand, _Term):
        return operand
    kind = And if operand.join == "and" else Or
    return _Term(kind(tuple(operand.items)), operand.depth)
