"""A real PowerShell behind the sandbox's gateway: before anything connects it must load the sandbox's module, not Microsoft's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exoscope.exchange.roads import Tried
from exoscope.exchange.trying import module_folders, try_module
from exoscope.outcome import BadInput, ExoscopeError

if TYPE_CHECKING:
    from exoscope.twin.passthrough import Shells


def loads_ours(shells: Shells) -> str:
    """See to it that the gateway's PowerShell loads the sandbox's module; the version of that PowerShell.

    PowerShell puts its own folders first, and there Exchange's real module may stand; named behind ours they stay behind.
    Raises BadInput (code ``no-pwsh``: it serves no session; ``other-module``: it still loads another).
    """
    tried = try_module(shells.program, shells.environ())
    if not _is_ours(tried, shells.modules):
        try:
            shells.others = module_folders(shells.program)
        except ExoscopeError as error:
            raise _unfit(shells.program, error.message) from None
        tried = try_module(shells.program, shells.environ())
    if tried.engine is None:
        raise _unfit(shells.program, tried.why)
    if not _is_ours(tried, shells.modules):
        raise BadInput(
            f"{shells.program} loads ExchangeOnlineManagement from {tried.where}, not the sandbox's from {shells.modules}",
            code="other-module",
            next="Name another PowerShell, or go without --pwsh.",
        )
    return tried.engine


def _unfit(program: str, why: str) -> BadInput:
    return BadInput(
        f"{program} cannot stand behind the gateway: {why}", code="no-pwsh", next="Name another PowerShell."
    )


def _is_ours(tried: Tried, modules: Path) -> bool:
    return bool(tried.where) and Path(tried.where).resolve().is_relative_to(modules.resolve())
