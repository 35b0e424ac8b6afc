"""Which mailboxes are asked about. Pure, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

ALL_UP_TO = 5_000
"""Tenants of up to this many mailboxes are asked as a whole."""
SAMPLE = 300
"""Mailboxes outside the scope that are asked in larger tenants: 0 leaks in 300 bound the rest below 1 % at 95 %."""


class Selection(NamedTuple):
    """``test``: mailboxes for Exchange's test cmdlet; ``graph``: for calls as the app; ``outside`` of how many are outside."""

    test: tuple[str, ...]
    graph: tuple[str, ...]
    outside: int


def select(
    inside: Collection[str],
    outside: Sequence[str],
    near: Collection[str],
    *,
    seed: int,
    sample: int | None,
    everything: bool,
    limit_refusals: int | None,
) -> Selection:
    """Everything inside, each boundary, and a seeded sample outside; everything where the tenant is small or it is asked for.

    ``sample`` (None: 300) counts mailboxes outside beside the boundaries. ``limit_refusals`` bounds the calls as the app
    whose expected answer is a refusal.
    """
    boundary = [address for address in outside if address in near]
    rest = [address for address in outside if address not in near]
    chosen = random.Random(seed)  # noqa: S311 - a sample that can be drawn again, not a secret
    tested = boundary + _drawn(chosen, rest, None if everything else (SAMPLE if sample is None else sample))
    whole = everything or (sample is None and len(inside) + len(outside) <= ALL_UP_TO)
    probed = list(outside) if whole else list(tested)
    if limit_refusals is not None and len(probed) > limit_refusals:
        first = [address for address in probed if address in near][:limit_refusals]
        others = [address for address in probed if address not in near]
        probed = first + _drawn(chosen, others, limit_refusals - len(first))
    return Selection((*inside, *tested), (*inside, *probed), len(outside))


def _drawn(chosen: random.Random, these: Sequence[str], count: int | None) -> list[str]:
    if count is None or count >= len(these):
        return list(these)
    return sorted(chosen.sample(list(these), count), key=str.casefold)
