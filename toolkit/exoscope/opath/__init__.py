"""Recipient filters (OPATH): parse, print, compare and evaluate.

A filter is a frozen tree of `And`, `Or`, `Not`, `Compare` and `Mixed` (see `nodes`); ``str`` prints it canonically.
Evaluation is three-valued, and what no document settles is unknown: see `evaluate`, `compare`, `flags`, `scope_problem`.
"""

from __future__ import annotations

from exoscope.opath.building import member_of, not_member_of
from exoscope.opath.comparing import UNREAD, Partial, Unread, Value, all_of, any_of, compare, found_in, negated, reads
from exoscope.opath.dn import dn_under, normal_dn
from exoscope.opath.evaluating import (
    atoms,
    dns,
    evaluate,
    excluded_dns,
    flags,
    fold,
    is_mixed,
    properties,
    readings,
    scope_problem,
)
from exoscope.opath.nodes import And, Compare, Filter, Mixed, Not, OpathError, Operator, Or
from exoscope.opath.parser import MAX_DEPTH, parse
from exoscope.opath.sameness import same
from exoscope.opath.table import Property, lookup, spelling

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
    "excluded_dns",
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
