"""``exoscope recipes``: what common connectors really need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.printing import block, line

if TYPE_CHECKING:
    from exoscope.recipes import Recipe

_OVER = {"graph": "Microsoft Graph", "ews": "Exchange Web Services", "imap-smtp": "IMAP, POP or SMTP"}
_MECHANISMS = {"rbac": "role assignments (rbac)", "access-policy": "access policies (access-policy)"}


@frame.command("recipes", short_help="Say what common connectors really need, and what their guides get wrong.")
@click.argument("name", required=False, metavar="[NAME]")
@frame.json_option
def command(name: str | None, as_json: bool) -> None:
    """Say what common connectors really need, and what their guides get wrong.

    Each recipe is written from its vendor's public guide, whose address it names with the day it was read. A connector.yaml
    names one under `recipe`. Nothing is asked of anybody. Exit 2 where there is no such recipe.
    """
    from exoscope import recipes

    if name is None:
        if as_json:
            frame.answer({"recipes": recipes.every()})
            return
        for each in recipes.every():
            line(f"{each.name:18} {each.title}: {', '.join(each.permissions)}")
        frame.say("exoscope recipes NAME prints one.")
        return
    found = recipes.named(name)
    if as_json:
        frame.answer(found)
    else:
        _print(found)


def _print(recipe: Recipe) -> None:
    line(f"{recipe.title} ({recipe.name}), over {_OVER[recipe.over]}")
    line(f"  needs       {', '.join(recipe.permissions)}")
    line(f"  guide asks  {', '.join(recipe.asks)}")
    limits = ", ".join(_MECHANISMS[each] for each in recipe.limited_by)
    line(f"  limited by  {limits or 'neither role assignments nor access policies'}")
    for mechanism, text in recipe.mechanisms.items():
        line(f"  {mechanism}: {text}")
    block("Notes", recipe.notes)
    block("What the guide gets wrong, or leaves out", recipe.wrong)
    block(f"Guide (read {recipe.read})", (recipe.guide, *recipe.also))
