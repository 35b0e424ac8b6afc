"""Which road to Exchange, where the profile names none: deciding from what is at hand, and saying why. No I/O.

A PowerShell of this machine that loads Exchange's module, best first; else Exchange's admin API, which Microsoft does not
document, after a yes. Never a gateway: that is somebody's machine, and only its owner can name it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from exoscope.model import Noun
from exoscope.outcome import BadInput
from exoscope.profile import AdminApiRoad, LocalPwsh, Profile

LEAST = "3.2.0"
"""The oldest ExchangeOnlineManagement that can be used; session/module.ps1 asks for it."""

UNDOCUMENTED = "Microsoft does not document it, and may change it without notice"


class Tried(Noun, frozen=True):
    """A PowerShell of this machine, tried. ``engine`` and ``module``: versions, where it loaded the module, from the folder
    ``where``; else ``why`` not, with the error's ``code`` and advice where there was one.
    """

    program: str
    engine: str | None = None
    module: str | None = None
    why: str = ""
    where: str = ""
    code: str = ""
    next: str = ""


class Choice(Noun, frozen=True):
    """A road, and in words why it is this one. ``asks``: it is taken only after a yes."""

    transport: LocalPwsh | AdminApiRoad
    reason: str
    asks: bool = False


def choose(tried: Sequence[Tried]) -> Choice:
    """The road, from every PowerShell that was tried, best first. An empty sequence: there is none."""
    useless = [each for each in tried if each.module is None]
    failed = "; ".join(f"{each.program}: {each.why}" for each in useless)
    for each in tried:
        if each.module is not None:
            reason = f"{each.program} (PowerShell {each.engine}) loads ExchangeOnlineManagement {each.module}"
            return Choice(
                LocalPwsh(kind="pwsh", path=Path(each.program)), f"{reason}, not so {failed}" if failed else reason
            )
    none = f"no PowerShell of this machine loads ExchangeOnlineManagement {LEAST} or newer"
    return Choice(AdminApiRoad(kind="admin-api"), f"{none} ({failed or 'there is no pwsh on PATH'})", asks=True)


def settled(
    profile: Profile,
    *,
    look: Callable[[], Sequence[Tried]],
    approve: Callable[[Choice], None],
    say: Callable[[str], None],
) -> Profile:
    """The profile with a road: its own, or the one that is chosen, which is said with its reason.

    ``look`` tries what is at hand. ``approve`` is shown a road that is taken only after a yes, and raises to say no.
    """
    if profile.transport is not None:
        return profile
    choice = choose(look())
    if choice.asks:
        approve(choice)
    warning = f" {UNDOCUMENTED}." if choice.asks else ""
    say(f'Road to Exchange: "{choice.transport.kind}". The profile names none, and {choice.reason}.{warning}')
    return msgspec.structs.replace(profile, transport=choice.transport)


def not_approved(choice: Choice, yes: str) -> BadInput:
    """Nobody said yes to this road, and nobody can be asked. ``yes``: how to say it."""
    return BadInput(
        f"the profile names no road to Exchange, and {choice.reason}",
        code="no-road",
        next=f"Install that module for PowerShell 7, or name the road in [transport]. {yes} takes Exchange's admin API: "
        f"{UNDOCUMENTED}.",
    )
