"""What the twin does where Microsoft's pages and those who tried it disagree: either way, as it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from msgspec.structs import fields

from exoscope.model import Noun
from exoscope.outcome import BadInput

Word = Literal["counted", "ignored"]


class Behaviour(Noun, frozen=True):
    """``nested_members``: whether access policies count the members of nested mail-enabled security groups.
    (New-ApplicationAccessPolicy says so since November 2024; tests of 2019 to 2022 in microsoft-graph-docs #6018 and #19315 say
    not.) ``wildcard``: whether a policy with app id ``*`` counts for every app (likely; no page says it of the third rule).
    """

    nested_members: Word = "counted"
    wildcard: Word = "counted"


NAMES = tuple(each.name.replace("_", "-") for each in fields(Behaviour))


def behaviour_of(given: Iterable[str]) -> Behaviour:
    """From words like ``nested-members=ignored``. Raises BadInput for any other word, and one given twice."""
    chosen: dict[str, str] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in NAMES or value not in get_args(Word):
            known = " or ".join(f"{each}={'|'.join(get_args(Word))}" for each in NAMES)
            raise BadInput(f"{text} is no behaviour of the twin: name {known}")
        if name in chosen:
            raise BadInput(f"the behaviour {name} is given twice")
        chosen[name] = value
    return Behaviour(**{name.replace("-", "_"): value for name, value in chosen.items()})  # type: ignore[arg-type]  # looked at above
