"""The catalogue of cmdlets: what each takes, and which parameters go together. Loaded from the carried table, strictly.

Source: ``data/cmdlets.json``, made from Microsoft's reference pages (its ``_meta`` says which). Exoscope speaks to
Exchange Online, so parameters that only exist on premises are known by name, to say so, and refused.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

SELECT = "Select-Object"
SWITCH = "SwitchParameter"
# Every cmdlet has these; Verbose, WhatIf and Confirm are switches.
COMMON = {"ErrorAction": "ActionPreference", "WarningAction": "ActionPreference", "Verbose": SWITCH}
WRITE_COMMON = {"WhatIf": SWITCH, "Confirm": SWITCH}
ACTION_PREFERENCES = ("Stop", "Continue", "SilentlyContinue", "Ignore", "Inquire")


class Parameter(msgspec.Struct, frozen=True):
    """A parameter: its name as documented, its type, and whether Exchange Online has it (None: not stated)."""

    name: str
    type: str
    online: bool | None = True

    @property
    def is_switch(self) -> bool:
        return self.type == SWITCH


class ParameterSet(msgspec.Struct, frozen=True):
    """Parameters that go together. ``allowed`` includes ``mandatory``; common parameters stand in neither."""

    name: str
    mandatory: frozenset[str]
    allowed: frozenset[str]


class Cmdlet(msgspec.Struct, frozen=True):
    """A cmdlet; ``parameters`` by folded name, the common ones included."""

    name: str
    parameters: dict[str, Parameter]
    sets: tuple[ParameterSet, ...]

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this exact name, whatever its case; None for abbreviations and unknown names."""
        return self.parameters.get(name.casefold())

    def has(self, name: str) -> bool:
        """Is this a parameter of the cmdlet's own (not one that only the common ones give it)?"""
        return any(name in each.allowed for each in self.sets)


class _RawParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    exchange_online: bool | None


class _RawSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mandatory: list[str]
    optional: list[str]


class _RawCmdlet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parameter_sets: dict[str, _RawSet]
    parameters: dict[str, _RawParameter]


@cache
def catalogue() -> dict[str, Cmdlet]:
    """Every known cmdlet, by folded name; Select-Object among them, with the parameters that only choose."""
    raw: dict[str, Any] = msgspec.json.decode(files("exoscope").joinpath("data/cmdlets.json").read_bytes())
    raw.pop("_meta")
    table = msgspec.convert(raw, dict[str, _RawCmdlet])
    known = {name.casefold(): _cmdlet(name, entry) for name, entry in table.items()}
    known[SELECT.casefold()] = _select()
    return known


def find(name: str) -> Cmdlet | None:
    """The cmdlet of this exact name, whatever its case; None for aliases and unknown names."""
    return catalogue().get(name.casefold())


def _cmdlet(name: str, entry: _RawCmdlet) -> Cmdlet:
    parameters = {
        parameter.casefold(): Parameter(parameter, each.type, each.exchange_online)
        for parameter, each in entry.parameters.items()
    }
    for common, kind in {**COMMON, **WRITE_COMMON}.items():
        parameters.setdefault(common.casefold(), Parameter(common, kind))
    sets = []
    for set_name, each in entry.parameter_sets.items():
        missing = {*each.mandatory, *each.optional} - set(entry.parameters)
        if missing:
            raise ValueError(f"{name}, set {set_name}: {sorted(missing)} are in no table of parameters")
        sets.append(ParameterSet(set_name, frozenset(each.mandatory), frozenset([*each.mandatory, *each.optional])))
    return Cmdlet(name, parameters, tuple(sets))


def _select() -> Cmdlet:
    own = (Parameter("Property", "String[]"), Parameter("ExpandProperty", "String"), Parameter("First", "Int32"))
    common = (Parameter(name, kind) for name, kind in COMMON.items())
    names = frozenset(each.name for each in own)
    return Cmdlet(
        SELECT,
        {each.name.casefold(): each for each in (*own, *common)},
        (ParameterSet("Choose", frozenset(), names),),
    )
