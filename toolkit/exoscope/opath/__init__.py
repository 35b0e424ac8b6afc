"""Recipient filters (OPATH): parse, print, compare and evaluate.

A filter is a frozen tree of `And`, `Or`, `Not`, `Compare` and `Mixed` (see `nodes`); ``str`` prints it canonically.
Evaluation is three-valued, and what no document settles is unknown: see `evaluate`, `compare`, `flags`, `scope_problem`.
"""

from __future__ import annotations

from .building import member_of, not_member_of
from .comparing import UNREAD, Partial, Unread, Value, all_of, any_of, compare, found_in, negated, reads
from .dn import dn_under, normal_dn
from .evaluating import atoms, dns, evaluate, flags, fold, is_mixed, properties, readings, scope_problem
from .nodes import And, Compare, Filter, Mixed, Not, OpathError, Operator, Or
from .parser import MAX_DEPTH, parse
from .sameness import same
from .table import Property, lookup, spelling

__all__ = [
    "MAX_DEPTH",
    "UNREAD",
    "And",
    "Compare",
    "Filter",
    "Mixed",
    "Not",
    "OpathError",
    "Operator",
    "Or",
    "Partial",
    "Property",
    "Unread",
    "Value",
    "all_of",
    "any_of",
    "atoms",
    "compare",
    "dn_under",
    "dns",
    "evaluate",
    "flags",
    "fold",
    "found_in",
    "is_mixed",
    "lookup",
    "member_of",
    "negated",
    "normal_dn",
    "not_member_of",
    "parse",
    "properties",
    "readings",
    "reads",
    "same",
    "scope_problem",
    "spelling",
]
