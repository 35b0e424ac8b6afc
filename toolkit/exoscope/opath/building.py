"""Filters that exoscope itself makes."""

from __future__ import annotations

from exoscope.opath.dn import normal_dn
from exoscope.opath.nodes import Compare, Filter, Not, Or


def member_of(*dns: str) -> Filter:
    """Direct members of any of these groups: ``MemberOfGroup -eq '<dn>'``, several joined with -or in the order given.

    A DN given twice, in whatever spelling, stands once. Raises ValueError without any, or for an empty one: a scope over
    no group is nobody's intent.
    """
    found: dict[str, str] = {}
    for dn in dns:
        if not dn.strip():
            raise ValueError("an empty name is no group's distinguished name")
        found.setdefault(normal_dn(dn) or dn, dn)
    if not found:
        raise ValueError("at least one distinguished name is needed")
    atoms = [Compare("MemberOfGroup", "eq", dn) for dn in found.values()]
    return atoms[0] if len(atoms) == 1 else Or(tuple(atoms))


def not_member_of(*dns: str) -> Filter:
    """Everyone but the direct members of these groups. Raises ValueError as `member_of` does."""
    return Not(member_of(*dns))
