"""Reduced ordered binary decision diagrams: the proof engine behind `same`.

Nodes are numbers; 0 and 1 are false and true. Everything is iterative, so thousands of variables need no deep stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

FALSE, TRUE = 0, 1


class TooLarge(Exception):
    """The diagram passed its bound of nodes: what was asked stays undecided."""


class Bdd:
    """Diagrams over variables 0, 1, 2 …, the smallest on top. Equal functions are the same number."""

    def __init__(self, bound: int) -> None:
        leaf = 1 << 60
        self._var, self._low, self._high = [leaf, leaf], [0, 1], [0, 1]
        self._unique: dict[tuple[int, int, int], int] = {}
        self._done: dict[tuple[str, int, int], int] = {}
        self._bound = bound

    def variable(self, number: int) -> int:
        """The function that is this variable."""
        return self.node(number, FALSE, TRUE)

    def node(self, variable: int, low: int, high: int) -> int:
        """``high`` where the variable is true, else ``low``. Raises `TooLarge` past the bound."""
        if low == high:
            return low
        key = (variable, low, high)
        found = self._unique.get(key)
        if found is None:
            found = len(self._var)
            if found > self._bound:
                raise TooLarge
            self._var.append(variable)
            self._low.append(low)
            self._high.append(high)
            self._unique[key] = found
        return found

    def both(self, left: int, right: int) -> int:
        return self._apply("and", left, right)

    def either(self, left: int, right: int) -> int:
        return self._apply("or", left, right)

    def differ(self, left: int, right: int) -> int:
        return self._apply("xor", left, right)

    def negate(self, function: int) -> int:
        return self._apply("xor", function, TRUE)

    def join(self, op: Callable[[int, int], int], start: int, functions: Iterable[int]) -> int:
        """All functions joined by `both` or `either`, the lowest variables first: long plain lists then stay linear."""
        result = start
        for function in sorted(set(functions), key=self._var.__getitem__, reverse=True):
            result = op(function, result)
        return result

    def reaches_true(self, function: int, below: int) -> bool:
        """Whether some values of the variables below this number make it true whatever all the others are."""
        seen, stack = {function}, [function]
        while stack:
            at = stack.pop()
            if at == TRUE:
                return True
            if self._var[at] < below:
                for following in (self._low[at], self._high[at]):
                    if following not in seen:
                        seen.add(following)
                        stack.append(following)
        return False

    def _apply(self, op: str, left: int, right: int) -> int:
        done, var = self._done, self._var
        stack = [(left, right)]
        result = FALSE
        while stack:
            left, right = stack[-1]
            key = (op, left, right) if left <= right else (op, right, left)
            known = done.get(key)
            if known is None:
                known = _terminal(op, left, right)
            if known is not None:
                result = done[key] = known
                stack.pop()
                continue
            if len(done) > 8 * self._bound:
                raise TooLarge
            top = min(var[left], var[right])
            sides = []
            for branch in (self._low, self._high):
                pair = (branch[left] if var[left] == top else left, branch[right] if var[right] == top else right)
                ordered = (op, *pair) if pair[0] <= pair[1] else (op, pair[1], pair[0])
                side = done.get(ordered)
                if side is None:
                    side = _terminal(op, *pair)
                if side is None:
                    stack.append(pair)
                else:
                    sides.append(side)
            if len(sides) == 2:
                result = done[key] = self.node(top, sides[0], sides[1])
                stack.pop()
        return result


def _terminal(op: str, left: int, right: int) -> int | None:
    if op == "xor":
        if left == right:
            return FALSE
        return right if left == FALSE else left if right == FALSE else None
    absorbing, neutral = (FALSE, TRUE) if op == "and" else (TRUE, FALSE)
    if absorbing in (left, right):
        return absorbing
    if left in (neutral, right):
        return right
    return left if right == neutral else None
